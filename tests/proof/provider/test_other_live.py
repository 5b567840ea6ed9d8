"""A second provider is one new file and the line that chooses: all else of the reporting works with it as it is."""

import asyncio

import pytest
from livekit.agents import llm

from realtime_metrics import startup
from realtime_metrics.settings import SettingsError
from tests.fakes.call import FakeCall, until
from tests.fakes.realtime import FakeGeneration, FakeRealtimeModel, FakeRealtimeSession, Reply, Usage
from tests.proof.provider.other_live import OtherLive


class OtherModel(FakeRealtimeModel):
    """Its generations end in silence; `input_speech_stopped` comes when the user has stopped."""

    def __init__(self) -> None:
        super().__init__(provider="Other")

    @property
    def model(self) -> str:
        return "gpt-realtime"


def end(session: FakeRealtimeSession, generation: FakeGeneration, ttft: float) -> None:
    """The generation ends as this plugin ends one: with metrics, and no event of its own."""
    emit = session.emit
    session.emit = lambda name, *args: None if name == "input_speech_stopped" else emit(name, *args)  # type: ignore[method-assign]
    generation.end()
    session.emit = emit  # type: ignore[method-assign]
    generation.report(Usage(), ttft=ttft)


async def test_its_responses_are_recorded_with_their_waits_and_their_price() -> None:
    async with FakeCall(model=OtherModel(), provider=OtherLive()) as call:
        await until(lambda: bool(call.model.requests))
        greeting = call.model.begin()
        greeting.say("Hello.", 0.1)
        end(call.model, greeting, ttft=0.2)
        await call.reported(1)
        await until(lambda: call.session.agent_state == "listening")
        await call.user_speaks(speech_s=0.8)
        call.model.emit("input_speech_stopped", llm.InputSpeechStoppedEvent(user_transcription_enabled=False))
        answer = call.model.begin()
        answer.say("Fine.", 0.2)
        await asyncio.sleep(0.4)
        end(call.model, answer, ttft=0.3)
        record = await call.reported(2)
        session = await call.end()
    assert record.origin.provider == "Other"
    assert record.wait.time_to_first_audio_from == "user_speech_end", record.wait.time_to_first_audio_reason
    assert record.wait.duration_s == pytest.approx((record.framework_duration_s or 0) - 0.3, abs=0.001)
    assert record.cost_usd is not None
    assert record.tokens["total_tokens"] == Usage().total
    assert (session.sums.responses, session.sums.unanswered, session.end_reason) == (2, 0, "user_initiated")
    assert session.tokens["total_tokens"] == 2 * Usage().total


async def test_without_audio_its_own_time_to_first_token_is_the_wait() -> None:
    async with FakeCall(audio=False, model=OtherModel(), provider=OtherLive()) as call:
        generation = call.model.begin()
        generation.say("Hello.", 0)
        end(call.model, generation, ttft=0.4)
        record = await call.reported()
    assert (record.wait.time_to_first_audio_s, record.wait.time_to_first_audio_from) == (0.4, "model")


async def test_its_failures_are_told_in_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeCall(Reply(), model=OtherModel(), provider=OtherLive()) as call:
        call.model.fail(ConnectionError("session_expired: 60 minutes"), recoverable=True)
        call.model.fail(OSError("no route"), recoverable=True)
        session = await call.end()
    assert session.sums.errors == {"session_expired": 1, "unreachable": 1}
    said = [entry.message for entry in caplog.records if entry.name == "livekit.agents.realtime_metrics"]
    assert said == [
        "Other Live ends a session after an hour: session_expired: 60 minutes; reconnecting",
        "Other Live cannot be reached: no route; reconnecting",
    ]


def test_its_key_and_its_voices_are_checked_before_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PROVIDER", OtherLive())
    with pytest.raises(SettingsError) as refused:
        startup.checked_settings({"AGENT_VOICE": "Puck"}, ["agent.py", "console", "--connect-addr=127.0.0.1:1"])
    assert refused.value.problems == [
        "AGENT_VOICE='Puck': there is no 'Puck': choose from alloy, sage",
        "OTHER_API_KEY is not set: put it into .env.local",
    ]
