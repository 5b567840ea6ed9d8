"""The ledger knows what the plugin books where, whatever the server sends when."""

import asyncio
import time
from typing import Any

import pytest
from google.genai import types
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from demo.gemini_server import GeminiLiveServer
from demo.ledger import NEXT_S, Entry, Ledger, is_malformed, is_readable
from demo.scenario import Fault, Scenario, Turn, Usage
from tests.proof.counts import LONG, PLUGIN_CALLS
from tests.proof.demo.conftest import connect

CALLS = 5
"""At once."""

prompts = st.integers(1, 3)
counts = st.one_of(
    st.builds(lambda prompt: {"promptTokenCount": prompt}, prompts),
    st.builds(lambda prompt, said: {"promptTokenCount": prompt, "responseTokenCount": said}, prompts, prompts),
    st.sampled_from([{}] * 4 + [{"promptTokenCount": "many"}]),
)
usages = st.builds(
    Usage,
    when=st.sampled_from(["before", "heard", "early", "with", "late"]),
    late_s=st.sampled_from([0, 0.01]),
    counts=counts,
)
faults = st.builds(
    Fault,
    kind=st.sampled_from(["close", "go_away", "garbage", "unknown_message"]),
    after_audio_s=st.sampled_from([0, 0.1, 0.2]),
)
turns = st.builds(
    Turn,
    answer=st.sampled_from(["speech", "speech", "nothing", "transcription", "empty", "rejected"]),
    heard=st.sampled_from(["", "go on"]),
    text=st.sampled_from(["", "yes"]),
    audio_s=st.sampled_from([0, 0.2]),
    latency_s=st.just(0),
    pause_s=st.just(0),
    usage=st.lists(usages, max_size=3).map(tuple),
    fault=st.one_of(st.none(), st.none(), st.none(), faults),
)
scenarios = st.builds(
    Scenario,
    greeting=st.none(),
    turns=st.lists(turns, min_size=4, max_size=8).map(tuple),
    waits_for_playback=st.just(False),
    pace=st.just(1000),
)

LEFT_BEFORE_THE_ANSWER_BEGAN = Scenario(
    greeting=None,
    turns=(
        Turn(heard="", text="yes", audio_s=0.2),
        Turn(heard="", audio_s=0.2, fault=Fault(kind="go_away")),
        Turn(answer="empty", heard="", usage=(Usage(when="before", counts={"promptTokenCount": 2}),)),
    ),
    waits_for_playback=False,
    pace=1000,
)


def entry(generation: int, at: float = 0.0, **counts: Any) -> Entry:
    return Entry("me", 0, generation, counts, at)


def bill(*entries: Entry) -> int:
    """The total of entries that were sent within generations."""
    ledger = Ledger()
    for each in entries:
        ledger.enter(each, in_generation=True)
    return ledger.total("me")["totalTokenCount"]


def test_a_newer_snapshot_of_a_call_replaces_the_one_before() -> None:
    growing = [entry(1, promptTokenCount=10, responseTokenCount=said, totalTokenCount=10 + said) for said in (2, 5, 5)]
    assert bill(*growing) == 15


@pytest.mark.parametrize(
    ("prompt", "response", "text"),
    [(11, 5, 10), (10, 4, 10), (10, 5, 9)],
    ids=["another prompt", "a response that shrank", "other details of the prompt"],
)
def test_everything_else_is_another_call_of_the_model_and_is_added(prompt: int, response: int, text: int) -> None:
    def call(prompt: int, response: int, text: int) -> Entry:
        details = [{"modality": "TEXT", "tokenCount": text}]
        total = prompt + response
        counts = {"promptTokenCount": prompt, "responseTokenCount": response, "totalTokenCount": total}
        return entry(1, **counts, promptTokensDetails=details)

    assert bill(call(10, 5, 10), call(prompt, response, text)) == 15 + prompt + response


def test_the_same_counts_of_two_generations_are_two_calls() -> None:
    assert bill(*(entry(number, promptTokenCount=10, totalTokenCount=10) for number in (1, 2))) == 20


def test_empty_usage_is_none() -> None:
    ledger = Ledger()
    ledger.enter(entry(1), in_generation=True)
    assert ledger.entries == []


@pytest.mark.parametrize(("waited_s", "generation"), [(4.9, 1), (5.1, 0)])
def test_prompt_only_usage_is_for_a_generation_that_begins_within_5_s(waited_s: float, generation: int) -> None:
    ledger = Ledger()
    ledger.enter(entry(0, at=100.0, promptTokenCount=10, totalTokenCount=10), in_generation=False)
    ledger.begin("somebody else", 7, 100.0)
    ledger.begin("me", 1, 100.0 + waited_s)
    assert ledger.by_generation("me") == {generation: {"promptTokenCount": 10, "totalTokenCount": 10}}


def test_what_the_client_could_not_read_is_in_no_bill() -> None:
    assert bill(entry(1, totalTokenCount=1), Entry("me", 0, 1, {"totalTokenCount": 2}, 0.0, lost="closed")) == 1


@pytest.mark.parametrize(
    ("payload", "readable", "malformed"),
    [
        ({"promptTokenCount": "many"}, False, True),
        ({"promptTokensDetails": 3}, False, True),
        ({"promptTokensDetails": [{"modality": "TEXT", "tokenCount": -1}]}, True, True),
        ({"promptTokenCount": 2**53 + 1}, True, True),
        ({"promptTokenCount": 2**53, "responseTokensDetails": [{"modality": "AUDIO"}]}, True, False),
        ({}, True, False),
    ],
)
def test_malformed_usage_is_told_apart(payload: dict[str, Any], readable: bool, malformed: bool) -> None:
    assert (is_readable(payload), is_malformed(payload)) == (readable, malformed)
    assert google_genai_reads(payload) == readable


def google_genai_reads(payload: dict[str, Any]) -> bool:
    try:
        types.UsageMetadata.model_validate(payload)
    except ValidationError:
        return False
    return True


@settings(
    max_examples=PLUGIN_CALLS // CALLS,
    deadline=None,
    derandomize=not LONG,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(scenarios, min_size=CALLS, max_size=CALLS))
@example([LEFT_BEFORE_THE_ANSWER_BEGAN])
def test_the_plugin_books_exactly_what_the_ledger_says(played: list[Scenario]) -> None:
    asyncio.run(_play_all(played))


async def _play_all(played: list[Scenario]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with GeminiLiveServer() as server:
            await asyncio.gather(*(_play(server, scenario, patch) for scenario in played))


async def _play(server: GeminiLiveServer, scenario: Scenario, patch: pytest.MonkeyPatch) -> None:
    key = server.add(scenario)
    heard = connect(server, patch, key)
    books = Books(heard.session)
    failed = asyncio.Event()
    heard.session.on("error", lambda error: None if error.recoverable else failed.set())
    ends = {asyncio.create_task(server.wait_for_end(key)), asyncio.create_task(failed.wait())}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.1)
    await heard.session.aclose()
    for end in ends:
        end.cancel()
    sent = [(entry.generation, entry.payload) for entry in server.ledger.of(key) if entry.lost is None]
    assert books.read == sent


class Books:
    """What reaches the plugin, and which generation it is for; `read` is to be what the ledger has."""

    def __init__(self, session: Any) -> None:
        self._generation = 0
        self._messages: list[tuple[list[int], dict[str, Any]]] = []
        self._ahead: list[tuple[float, list[int]]] = []
        self._between: Any = None
        self._is_new, self._handle = session._is_new_generation, session._handle_usage_metadata
        session.on("generation_created", self._begin)
        session._is_new_generation = self._ask
        session._handle_usage_metadata = self._keep

    @property
    def read(self) -> list[tuple[int, dict[str, Any]]]:
        return [(generation, payload) for (generation,), payload in self._messages]

    def _ask(self, message: Any) -> bool:
        """The plugin asks where no generation is open."""
        begins = bool(self._is_new(message))
        self._between = None if begins else message.usage_metadata
        return begins

    def _begin(self, _: object) -> None:
        self._generation += 1
        for at, generation in self._ahead:
            if time.monotonic() - at < NEXT_S:
                generation[0] = self._generation
        self._ahead.clear()

    def _keep(self, usage: Any) -> None:
        payload = usage.model_dump(mode="json", by_alias=True, exclude_none=True)
        generation = [self._generation]
        if payload:
            self._messages.append((generation, payload))
        if usage is self._between and not payload.get("responseTokenCount"):
            self._ahead.append((time.monotonic(), generation))
        self._handle(usage)
