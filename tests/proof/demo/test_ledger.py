"""The ledger knows what the plugin books where, whatever the server sends when."""

import asyncio

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from demo.gemini_server import GeminiLiveServer
from demo.scenario import Fault, Scenario, Turn, Usage
from tests.proof.counts import LONG, PLUGIN_CALLS
from tests.proof.demo.conftest import connect

CALLS = 5
"""At once."""

counts = st.fixed_dictionaries({"totalTokenCount": st.integers(0, 5)}) | st.just({"totalTokenCount": "many"})
usages = st.builds(
    Usage, when=st.sampled_from(["before", "early", "with", "late"]), late_s=st.sampled_from([0, 0.01]), counts=counts
)
faults = st.builds(
    Fault, kind=st.sampled_from(["close", "go_away", "garbage"]), after_audio_s=st.sampled_from([0, 0.1, 0.2])
)
turns = st.builds(
    Turn,
    heard=st.sampled_from(["", "go on"]),
    text=st.sampled_from(["", "yes"]),
    audio_s=st.sampled_from([0, 0.2]),
    latency_s=st.just(0),
    pause_s=st.just(0),
    usage=st.lists(usages, max_size=3).map(tuple),
    fault=st.none() | faults,
)
scenarios = st.builds(
    Scenario,
    greeting=st.none(),
    turns=st.lists(turns, min_size=1, max_size=4).map(tuple),
    waits_for_playback=st.just(False),
    pace=st.just(1000),
)


@settings(
    max_examples=PLUGIN_CALLS // CALLS,
    deadline=None,
    derandomize=not LONG,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(scenarios, min_size=CALLS, max_size=CALLS))
def test_the_plugin_books_exactly_what_the_ledger_says(played: list[Scenario]) -> None:
    asyncio.run(_play_all(played))


async def _play_all(played: list[Scenario]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with GeminiLiveServer() as server:
            await asyncio.gather(*(_play(server, scenario, patch) for scenario in played))


async def _play(server: GeminiLiveServer, scenario: Scenario, patch: pytest.MonkeyPatch) -> None:
    key = server.add(scenario)
    heard = connect(server, patch, key)
    failed = asyncio.Event()
    heard.session.on("error", lambda error: None if error.recoverable else failed.set())
    ends = {asyncio.create_task(server.wait_for_end(key)), asyncio.create_task(failed.wait())}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.1)
    await heard.session.aclose()
    for end in ends:
        end.cancel()
    booked: dict[str, list[int]] = {}
    for metrics in heard.responses:
        booked.setdefault(metrics.request_id, []).append(metrics.total_tokens)
    expected: dict[int, list[int]] = {}
    for entry in server.ledger.of(key):
        if entry.lost is None:
            expected.setdefault(entry.generation, []).append(entry.payload["totalTokenCount"])
    assert list(booked.values()) == list(expected.values()), server.ledger.of(key)
