"""Whatever JSON comes down the wire: no exception reaches the call, every line of the records parses, no sink stops."""

import asyncio
import json
import logging
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livekit.agents import APIConnectOptions
from websockets.asyncio.server import ServerConnection

from demo.gemini_server import GeminiLiveServer
from demo.gemini_session import GeminiConnection
from demo.scenario import Scenario
from realtime_metrics.records import AnyRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.base import Sink
from realtime_metrics.sinks.jsonl import JsonlSink
from tests.fakes.call import until
from tests.proof.counts import RANDOM_MESSAGES
from tests.proof.wire.in_process import WireSession, led_to

AT_ONCE = 10
"""Sessions."""
OF_EACH = 10
"""Random messages of one session."""
KEYS = (
    *("serverContent", "usageMetadata", "toolCall", "toolCallCancellation", "goAway", "sessionResumptionUpdate"),
    *("setupComplete", "voiceActivity", "interactionStatus", "modelTurn", "parts", "inlineData", "data", "mimeType"),
    *("text", "thought", "inputTranscription", "outputTranscription", "generationComplete", "turnComplete"),
    *("interrupted", "turnCompleteReason", "groundingMetadata", "functionCalls", "id", "name", "args", "timeLeft"),
    *("newHandle", "resumable", "promptTokenCount", "responseTokenCount", "totalTokenCount", "thoughtsTokenCount"),
    *("cachedContentTokenCount", "toolUsePromptTokenCount", "promptTokensDetails", "responseTokensDetails"),
    *("cacheTokensDetails", "toolUsePromptTokensDetails", "modality", "tokenCount", "waitingForInput"),
)
HUGE = 10**400
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([HUGE, -HUGE, 2**53, 2**53 + 1, 2**63, -1, 0]),
    st.floats(),
    st.sampled_from(["AUDIO", "TEXT", "RESPONSE_REJECTED", "NaN", "\ud800", "\x1b[2J\r\nforged\u202e", "A" * 10_000]),
    st.text(st.characters(), max_size=20),
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), inner, max_size=6),
    ),
    max_leaves=25,
)
DETAILS = st.lists(st.fixed_dictionaries({}, optional={"modality": LEAVES, "tokenCount": LEAVES}), max_size=3)
COUNTS = [key for key in KEYS if "Token" in key and key != "tokenCount"]
USAGE = st.fixed_dictionaries({}, optional={key: DETAILS if key.endswith("Details") else LEAVES for key in COUNTS})
PART = st.fixed_dictionaries({}, optional={"text": LEAVES, "thought": LEAVES, "inlineData": ANYTHING})
CONTENT = st.fixed_dictionaries(
    {},
    optional={
        "modelTurn": st.one_of(ANYTHING, st.fixed_dictionaries({"parts": st.lists(PART, max_size=3)})),
        "inputTranscription": st.fixed_dictionaries({}, optional={"text": LEAVES, "finished": LEAVES}),
        "outputTranscription": st.fixed_dictionaries({}, optional={"text": LEAVES}),
        **dict.fromkeys(("generationComplete", "turnComplete", "interrupted", "turnCompleteReason"), LEAVES),
    },
)
CALLS = st.lists(st.fixed_dictionaries({}, optional={"id": LEAVES, "name": LEAVES, "args": ANYTHING}), max_size=3)
DEEP = st.integers(1, 3000).map(lambda depth: "[" * depth + "]" * depth)
MESSAGE = st.one_of(
    ANYTHING.map(json.dumps),
    DEEP,
    DEEP.map(lambda deep: f'{{"serverContent":{{"modelTurn":{deep}}}}}'),
    st.fixed_dictionaries(
        {},
        optional={
            "serverContent": CONTENT,
            "usageMetadata": st.one_of(USAGE, LEAVES),
            "toolCall": st.fixed_dictionaries({}, optional={"functionCalls": CALLS}),
            "goAway": st.fixed_dictionaries({}, optional={"timeLeft": LEAVES}),
            "sessionResumptionUpdate": ANYTHING,
        },
    ).map(json.dumps),
    st.text(max_size=30),
)
"""As text, for what is no JSON (`NaN` is none either) and for what only a dump of ours would refuse."""
GOOD = {"promptTokenCount": 10, "responseTokenCount": 5, "totalTokenCount": 15}


class RandomConnection(GeminiConnection):
    """Sends random messages once it is set up, each followed by a whole turn of the real protocol."""

    async def _answer_setup(self) -> None:
        await super()._answer_setup()
        messages = RandomServer.messages[self._client.key]
        while messages:
            await self._websocket.send(messages.pop().encode("utf-8", "surrogatepass"))
            for content in ({"outputTranscription": {"text": "So."}}, {"generationComplete": True}):
                await self._write({"serverContent": content})
            await self._write({"serverContent": {"turnComplete": True}, "usageMetadata": GOOD})


class RandomServer(GeminiLiveServer):
    messages: ClassVar[dict[str, list[str]]] = {}
    """Those of each client that are still to be sent."""

    async def _serve(self, websocket: ServerConnection) -> None:
        connection = self._expected.pop(websocket)
        connection.__class__ = RandomConnection
        await connection.run()


class FlakySink(Sink):
    """Fails at every second record."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []

    def write(self, record: AnyRecord) -> None:
        self.records.append(record)
        if len(self.records) % 2:
            raise OSError("no space left")


@settings(
    max_examples=RANDOM_MESSAGES // (AT_ONCE * OF_EACH),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(messages=st.lists(MESSAGE, min_size=AT_ONCE * OF_EACH, max_size=AT_ONCE * OF_EACH))
def test_no_message_of_the_provider_costs_the_call_a_record_or_a_sink(
    messages: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.unlink(missing_ok=True)
    caplog.clear()
    with caplog.at_level(logging.WARNING), pytest.MonkeyPatch.context() as patch:
        patch.setattr(APIConnectOptions, "_interval_for_retry", lambda *_: 0.0)  # else it takes an hour
        flaky = asyncio.run(_play(messages, path))
    ours = [entry for entry in caplog.records if entry.name == "livekit.agents.realtime_metrics" and entry.exc_info]
    assert not ours, f"the recorder failed: {ours}"
    _assert_every_line_parses(path)
    assert len(flaky.records) == len(path.read_text("utf-8").splitlines()), "every sink got every record"


async def _play(messages: list[str], path: Path) -> FlakySink:
    flaky, raised = FlakySink(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    server = RandomServer()
    async with server:
        with led_to(server):
            await asyncio.gather(*(_sessions(server, messages[n::AT_ONCE], path, flaky) for n in range(AT_ONCE)))
    assert not raised, raised
    return flaky


async def _sessions(server: RandomServer, messages: list[str], path: Path, flaky: FlakySink) -> None:
    """Sends the messages, in as many sessions as the plugin gives up on the way."""
    settings = Settings(metrics_jsonl_path=path)
    while messages:
        before = len(messages)
        session = WireSession(server, Scenario(greeting=None), settings)
        session.more_sinks = {"jsonl": JsonlSink(settings), "flaky": flaky}
        RandomServer.messages[session.key] = messages
        await session.start()
        closed = session.closed.is_set
        await until(lambda closed=closed: not messages or closed(), 60)  # type: ignore[misc]
        await asyncio.sleep(0.05)
        record = await session.end()
        assert record.sinks["jsonl"]["failed"] == 0
        assert len(messages) < before


def _assert_every_line_parses(path: Path) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    for line in path.read_text("utf-8").splitlines():
        record = json.loads(line, parse_constant=refuse)
        assert record["kind"] in ("connection", "response", "unanswered", "session")
        for value in record.values():
            assert not isinstance(value, float) or (math.isfinite(value) and value >= 0)
