"""The contract with the Google plugin's private API: these fail when a new version of the plugin changes it."""

import asyncio
from typing import Any

import pytest
from google.genai import types
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.plugins import google

from demo.gemini_server import GeminiLiveServer
from demo.scenario import Fault, Scenario, Turn, Usage
from realtime_metrics.google_private import GO_AWAY_HANDLER, USAGE_HANDLER, GooglePrivate
from realtime_metrics.usage import PUBLIC_ONLY
from tests.fakes import realtime
from tests.fakes.call import FakeCall

THINKING = {"promptTokenCount": 10, "responseTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 22}
SLIDING_WINDOW = types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow())


class Listener:
    """A session of the real plugin that answers the local server, and what is known while it emits metrics."""

    def __init__(self, server: GeminiLiveServer, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        self.session = google.realtime.RealtimeModel(**options).session()
        self.private = GooglePrivate(self.session)
        self.metrics: list[RealtimeModelMetrics] = []
        self.raw: list[Any] = []
        self.complete: list[bool | None] = []
        self.session.on("metrics_collected", self._on_metrics)

    def _on_metrics(self, metrics: RealtimeModelMetrics) -> None:
        if metrics.request_id:
            self.metrics.append(metrics)
            self.raw.append(self.private.usage)
            self.complete.append(self.private.generation_complete)


async def listen(monkeypatch: pytest.MonkeyPatch, *turns: Turn, **options: Any) -> Listener:
    scenario = Scenario(greeting=None, turns=turns, waits_for_playback=False, pace=1000)
    async with GeminiLiveServer(scenario) as server:
        listener = Listener(server, monkeypatch, **options)
        try:
            await server.wait_for_end()
            await asyncio.sleep(0.1)
        finally:
            await listener.session.aclose()
    return listener


def turn(**options: Any) -> Turn:
    return Turn(**{"heard": "go on", "text": "Yes.", "audio_s": 0.1, "latency_s": 0, "pause_s": 0, **options})


async def test_the_raw_usage_is_there_while_the_plugin_emits_what_it_made_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = await listen(monkeypatch, turn(usage=(Usage(counts=THINKING),)))
    (raw,) = listener.raw
    assert isinstance(raw, types.UsageMetadata)
    assert (raw.prompt_token_count, raw.response_token_count, raw.thoughts_token_count) == (10, 5, 7)
    assert listener.private.usage is None, "and only then"


async def test_it_is_known_whether_the_generation_was_complete_when_its_usage_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = (Usage(when="early", counts=THINKING), Usage(when="with", counts=THINKING))
    listener = await listen(monkeypatch, turn(usage=usage))
    assert listener.complete == [False, True]


async def test_an_announced_end_and_the_handle_to_resume_with_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await listen(monkeypatch, turn(audio_s=0.4, fault=Fault(kind="go_away", after_audio_s=0.2)), turn())
    assert listener.private.go_aways == 1
    assert listener.private.resumption_handle is True


@pytest.mark.parametrize(("asked_for", "known"), [({"context_window_compression": SLIDING_WINDOW}, True), ({}, False)])
async def test_whether_context_compression_was_asked_for_is_known(
    monkeypatch: pytest.MonkeyPatch, asked_for: dict[str, Any], known: bool
) -> None:
    listener = await listen(monkeypatch, turn(), **asked_for)
    assert listener.private.context_compression is known


async def test_the_plugin_still_drops_what_the_raw_usage_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, the plugin has learned to report thoughts, and `google_private` may not be needed any more."""
    listener = await listen(monkeypatch, turn(usage=(Usage(counts=THINKING),)))
    (metrics,) = listener.metrics
    assert metrics.ttft == -1
    assert "thought" not in metrics.model_dump_json()


# -- another version of the plugin


def test_a_plugin_without_the_private_api_is_told_of_once_for_each_missing_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class RealtimeSession:
        __module__ = "livekit.plugins.google.realtime.of_tomorrow"

    private = GooglePrivate(RealtimeSession())
    assert (private.usage, private.go_aways, private.resumption_handle, private.context_compression) == (None,) * 4
    assert [entry.message for entry in caplog.records] == [
        f"this version of livekit-plugins-google has no {name}: reporting its public figures only"
        for name in (USAGE_HANDLER, GO_AWAY_HANDLER)
    ]


async def test_with_a_plugin_without_the_private_api_the_agent_runs_on_with_public_figures(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(realtime.FakeRealtimeSession, "__module__", "livekit.plugins.google.realtime.of_tomorrow")
    async with FakeCall(realtime.Reply()) as call:
        call.model.connect()
        record = await call.reported()
        call.model.connect()
        session = await call.end()
    assert record.total_tokens == realtime.Usage().total
    assert (record.thoughts_tokens, record.usage_reason) == (None, PUBLIC_ONLY)
    assert [connection.go_away for connection in call.connections] == [None, None]
    assert (session.go_aways, session.resumptions, session.context_compression) == (None, None, None)
    assert sum("reporting its public figures only" in entry.message for entry in caplog.records) == 2


def test_another_providers_session_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class RealtimeSession:
        __module__ = "livekit.plugins.openai.realtime"

    session = RealtimeSession()
    private = GooglePrivate(session)
    assert vars(session) == {}
    assert private.go_aways is None
    assert not caplog.records
