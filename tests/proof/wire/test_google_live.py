"""The contract with the Google plugin's private API: these fail when a new version of the plugin changes it."""

import asyncio
from typing import Any

import pytest
from google.genai import types
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.plugins import google

from demo.gemini_server import GeminiLiveServer
from demo.scenario import Fault, Scenario, Turn, Usage
from realtime_metrics import provider
from realtime_metrics.google_live import GoogleLiveSession
from realtime_metrics.usage import PUBLIC_ONLY, UsageMessage
from tests.fakes import realtime
from tests.fakes.call import FakeCall

THINKING = {"promptTokenCount": 10, "responseTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 22}
SLIDING_WINDOW = types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow())


class Listening:
    """A session of the real plugin that answers the local server, and all that is told of it."""

    def __init__(self, server: GeminiLiveServer, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        self.session = google.realtime.RealtimeModel(**options).session()
        listener = provider.Listener(
            generation_completed=lambda _: self.told.append("completed"),
            generation_ended=self._on_generation_ended,
            turn_was_empty=lambda reason: self.told.append(f"empty {reason}" if reason else "empty"),
            usage_came_alone=lambda _: self.told.append("usage alone"),
            end_announced=lambda: self.told.append("end announced"),
        )
        self.tells = GoogleLiveSession(self.session, listener)
        self.metrics: list[RealtimeModelMetrics] = []
        self.usage: list[UsageMessage] = []
        self.told: list[str] = []
        self.session.on("generation_created", lambda _: self.told.append("created"))
        self.session.on("metrics_collected", self._on_metrics)

    def _on_metrics(self, metrics: RealtimeModelMetrics) -> None:
        if metrics.request_id:
            self.metrics.append(metrics)
            self.usage.append(self.tells.usage(metrics))
            self.told.append("usage")

    def _on_generation_ended(self, at: float, finish_reason: str | None, whole: bool) -> None:
        self.told.append(f"ended {finish_reason}" if finish_reason else "ended" if whole else "cut off")


async def listen(monkeypatch: pytest.MonkeyPatch, *turns: Turn, **options: Any) -> Listening:
    scenario = Scenario(greeting=None, turns=turns, waits_for_playback=False, pace=1000)
    async with GeminiLiveServer(scenario) as server:
        listener = Listening(server, monkeypatch, **options)
        try:
            await server.wait_for_end()
            await asyncio.sleep(0.1)
        finally:
            await listener.session.aclose()
    return listener


def turn(**options: Any) -> Turn:
    return Turn(**{"heard": "go on", "text": "Yes.", "audio_s": 0.1, "latency_s": 0, "pause_s": 0, **options})


async def test_the_raw_usage_is_known_while_the_plugin_emits_what_it_made_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = await listen(monkeypatch, turn(usage=(Usage(counts=THINKING),)))
    (message,) = listener.usage
    assert (message.tokens["input_tokens"], message.tokens["thoughts_tokens"]) == (10, 7)
    assert not message.public_only


async def test_a_generation_is_complete_when_it_is_generated_and_over_when_its_turn_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = await listen(monkeypatch, turn())
    assert listener.told == ["created", "completed", "ended", "usage"]


@pytest.mark.parametrize(("answer", "told"), [("empty", "empty"), ("rejected", "empty RESPONSE_REJECTED")])
async def test_a_turn_that_ends_with_nothing_in_it_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: str, told: str
) -> None:
    listener = await listen(monkeypatch, turn(answer=answer, heard="", usage=()))
    assert listener.told == [told]


async def test_why_the_provider_ended_its_turn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await listen(monkeypatch, turn(answer="rejected", usage=()))
    assert listener.told == ["created", "completed", "ended RESPONSE_REJECTED"]


async def test_a_reason_that_google_genai_does_not_know_is_one_of_a_bounded_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = await listen(monkeypatch, turn())
    made_up = types.LiveServerContent.model_validate({"turnComplete": True, "turnCompleteReason": "MADE_UP_\x1b[2J"})
    listener.session._handle_server_content(made_up)
    assert listener.told[-1] == "empty OTHER"


async def test_usage_before_any_generation_is_told_though_the_plugin_drops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await listen(monkeypatch, turn(usage=(Usage(when="before", counts=THINKING), Usage(counts=THINKING))))
    assert listener.told[0] == "usage alone"
    assert len(listener.metrics) == 1


async def test_a_prompt_between_two_turns_is_of_the_next_though_the_plugin_emits_it_for_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = await listen(monkeypatch, turn())
    listener.session._handle_server_content(types.LiveServerContent(input_transcription=types.Transcription()))
    listener.session._handle_usage_metadata(types.UsageMetadata(prompt_token_count=10, total_token_count=10))
    assert [message.of_next_response for message in listener.usage] == [False, True]


async def test_an_announced_end_and_the_handle_to_resume_with_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await listen(monkeypatch, turn(audio_s=0.4, fault=Fault(kind="go_away", after_audio_s=0.2)), turn())
    assert listener.tells.announces_ends
    assert listener.told.count("end announced") == 1
    assert listener.tells.can_resume is True


@pytest.mark.parametrize(("asked_for", "known"), [({"context_window_compression": SLIDING_WINDOW}, True), ({}, False)])
async def test_whether_context_compression_was_asked_for_is_known(
    monkeypatch: pytest.MonkeyPatch, asked_for: dict[str, Any], known: bool
) -> None:
    listener = await listen(monkeypatch, turn(), **asked_for)
    assert listener.tells.context_compression is known


async def test_the_plugin_still_drops_what_the_raw_usage_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, the plugin reports thoughts, and `google_live` may need its private parts no more."""
    listener = await listen(monkeypatch, turn(usage=(Usage(counts=THINKING),)))
    (metrics,) = listener.metrics
    assert metrics.ttft == -1
    assert "thought" not in metrics.model_dump_json()


# -- another version of the plugin


async def test_with_a_plugin_without_the_private_api_the_agent_runs_on_with_public_figures(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(realtime.FakeRealtimeSession, "__module__", "livekit.plugins.google.realtime.of_tomorrow")
    async with FakeCall(realtime.Reply()) as call:
        call.model.connect()
        record = await call.reported()
        call.model.connect()
        session = await call.end()
    assert record.tokens["total_tokens"] == realtime.Usage().total
    assert (record.tokens["thoughts_tokens"], record.usage_reason) == (None, PUBLIC_ONLY)
    assert [connection.go_away for connection in call.connections] == [None, None]
    assert (session.sums.go_aways, session.sums.resumptions, session.context_compression) == (None, None, None)
    assert [entry.message for entry in caplog.records if "public figures only" in entry.message] == [
        f"this version of livekit-plugins-google has no {name}: reporting its public figures only"
        for name in ("_handle_usage_metadata", "_handle_server_content", "_handle_go_away")
    ]


async def test_another_providers_session_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeCall(realtime.Reply()) as call:
        await call.reported()
        await call.end()
        assert not [name for name in vars(call.model) if name.startswith("_handle")]
    assert not [entry for entry in caplog.records if "public figures only" in entry.message]
