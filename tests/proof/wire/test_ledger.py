"""The server keeps the ledger of every usage message it sent: what the records say is what was sent, exactly."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from demo.gemini_server import GeminiLiveServer
from demo.scenario import Fault, Reply, Scenario, ToolCall, Turn, Usage
from realtime_metrics.prices import Prices
from realtime_metrics.settings import Settings
from realtime_metrics.startup import PROVIDER
from realtime_metrics.usage import OUTPUT_UNCOUNTED, TOKEN_FIELDS, Tokens
from tests.proof.counts import FUZZED_CALLS
from tests.proof.wire.in_process import WireSession, led_to, recorded, sent

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Not shrinking: each try takes seconds, and the sessions of a failure are told one by one."""
SESSIONS = 25
"""Sessions at once."""

counts = st.integers(0, 10**9)
details = st.lists(
    st.fixed_dictionaries(
        {"modality": st.sampled_from(["AUDIO", "TEXT", "IMAGE", "VIDEO", "DOCUMENT"]), "tokenCount": counts}
    ),
    max_size=5,
)
payloads = st.fixed_dictionaries(
    {"promptTokenCount": counts, "responseTokenCount": counts, "totalTokenCount": counts},
    optional={
        "thoughtsTokenCount": counts,
        "toolUsePromptTokenCount": counts,
        "cachedContentTokenCount": st.integers(1, 10**9),
        "promptTokensDetails": details,
        "responseTokensDetails": details,
        "toolUsePromptTokensDetails": details,
    },
)
moments = st.sampled_from(["before", "early", "with", "late"])
readable = st.one_of(
    st.just(()),
    st.builds(lambda when: (Usage(when=when, late_s=0.02),), moments),
    st.builds(lambda when, payload: (Usage(when=when, late_s=0.02, counts=payload),), moments, payloads),
    # a repeat, growing snapshots, and what is neither
    st.builds(lambda payload: (Usage(when="early", counts=payload), Usage(counts=payload)), payloads),
    st.builds(lambda share: (Usage(when="early", share=share), Usage()), st.floats(0, 1)),
    st.builds(lambda one, other: (Usage(when="early", counts=one), Usage(counts=other)), payloads, payloads),
)
unreadable = st.just((Usage(counts={"promptTokenCount": "many", "totalTokenCount": 5}),))
faults = st.one_of(
    st.none(),
    st.none(),
    st.builds(lambda code: Fault(kind="close", code=code, after_audio_s=0.02), st.sampled_from([1000, 1008, 1011])),
    st.just(Fault(kind="go_away", after_audio_s=0.02)),
    st.just(Fault(kind="garbage", after_audio_s=0.02)),
)


def reply(make: type[Reply], **more: Any) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda text, audio_s, usage, fault: make(
            text=text, audio_s=audio_s, latency_s=0.0, usage=usage, fault=fault, **more
        ),
        st.sampled_from(["Yes.", "", "A longer answer, of many words."]),
        st.sampled_from([0.0, 0.04, 0.1]),
        readable | unreadable,
        faults,
    ).filter(lambda made: bool(made.text or made.audio_s))


# the call and its usage are one message: where that cannot be read, there is no call either, and no generation
tool_call = st.builds(
    lambda usage: Turn(tool=ToolCall(name="get_weather", args={"city": "Rome"}), latency_s=0, usage=usage, pause_s=0),
    readable,
)
turns = st.one_of(reply(Turn, pause_s=0.0, heard="hello"), tool_call)
scenarios = st.builds(
    lambda greeting, turns: Scenario(greeting=greeting, turns=turns, pace=100.0, waits_for_playback=False),
    reply(Reply),
    st.lists(turns, max_size=4).map(tuple),
)


@settings(
    max_examples=FUZZED_CALLS // SESSIONS,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
)
@given(st.lists(scenarios, min_size=SESSIONS, max_size=SESSIONS))
def test_the_records_of_random_sessions_sum_to_the_providers_ledger(several: list[Scenario]) -> None:
    asyncio.run(play_all(several))


async def play_all(several: list[Scenario]) -> None:
    async with GeminiLiveServer() as server:
        with led_to(server):
            sessions = [WireSession(server, scenario) for scenario in several]
            await asyncio.gather(*(session.start() for session in sessions))
            await asyncio.gather(*(session.play(timeout_s=3) for session in sessions))
            await asyncio.gather(*(session.read() for session in sessions))
            records = await asyncio.gather(*(session.end() for session in sessions))
    for session, record in zip(sessions, records, strict=True):
        ledger = sent(session.ledger)
        assert recorded(record) == ledger, "the session's record is the bill"
        costs = [response.cost_usd for response in session.responses if response.usage_messages]
        if record.cost_usd is not None and record.unbooked_cost_usd is not None and None not in costs:
            known = sum(cost for cost in costs if cost is not None) + record.unbooked_cost_usd
            assert record.cost_usd == pytest.approx(known, rel=1e-12)
            assert record.cost_usd == pytest.approx(float(priced(ledger)), rel=1e-12)
        uncounted = [each for each in session.responses if each.usage_reason == OUTPUT_UNCOUNTED]
        if not uncounted:
            summed = sum(response.tokens["total_tokens"] or 0 for response in session.responses)
            assert summed + record.unbooked_total_tokens == ledger["total_tokens"]
        turns = [response.turn for response in session.responses]
        assert turns == list(range(1, session.agent.generations + 1))


def priced(ledger: dict[str, int]) -> Decimal:
    """What the tokens of a ledger cost."""
    settings = Settings()
    tokens: Tokens = {**dict.fromkeys(TOKEN_FIELDS, 0), **ledger}
    usd = Prices().cost(tokens, settings.model, PROVIDER.price_list, time.time()).usd
    assert usd is not None
    return usd
