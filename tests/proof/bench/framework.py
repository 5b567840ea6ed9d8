"""The framework's and the Google plugin's part in a spoken turn, as far as it can be had in microseconds."""

import time
from types import SimpleNamespace
from typing import Any

from google.genai.types import LiveServerContent, MediaModality, ModalityTokenCount, UsageMetadata
from livekit import rtc
from livekit.agents import (
    NOT_GIVEN,
    AgentStateChangedEvent,
    SpeechCreatedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
)
from livekit.agents.llm import (
    ChatMessage,
    GenerationCreatedEvent,
    InputSpeechStartedEvent,
    InputSpeechStoppedEvent,
)
from livekit.agents.voice import SpeechHandle, io

from tests.fakes.realtime import FakeRealtimeModel, FakeRealtimeSession, Usage, metrics
from tests.fakes.stage import StagedSession
from tests.fakes.vad import FakeVad

LABEL = "livekit.plugins.google.realtime.realtime_api.RealtimeModel"


def frame(seconds: float, level: int = 3000, sample_rate: int = 24_000) -> rtc.AudioFrame:
    """Audio that can be heard."""
    samples = round(sample_rate * seconds)
    return rtc.AudioFrame(level.to_bytes(2, "little") * samples, sample_rate, 1, samples)


class Wall(io.AudioOutput):
    """Takes audio and plays nothing."""

    def __init__(self) -> None:
        super().__init__(label="wall", capabilities=io.AudioOutputCapabilities(pause=True), sample_rate=24_000)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)

    def flush(self) -> None:
        super().flush()

    def clear_buffer(self) -> None:
        """Nothing is kept."""


class PluginSession(FakeRealtimeSession):
    """With those methods of the Google plugin's session that `google_live` listens in on."""

    def __init__(self) -> None:
        super().__init__(FakeRealtimeModel())
        self._current_generation = SimpleNamespace(_done=False)
        self.request_id = ""

    def _handle_usage_metadata(self, raw: UsageMetadata) -> None:
        usage = Usage(output_audio=raw.response_token_count or 0)
        of = metrics(self.request_id, usage, timestamp=time.time() - 1, duration=1.0, label=LABEL)
        self.emit("metrics_collected", of)

    def _handle_server_content(self, _: LiveServerContent) -> None: ...

    def _handle_go_away(self, _: object) -> None: ...


PluginSession.__module__ = "livekit.plugins.google.realtime"


class CallSession(StagedSession):
    """A session that one agent speaks in."""

    def __init__(self, model: PluginSession) -> None:
        super().__init__(llm=model.realtime_model, vad=FakeVad())
        self._speaks: Any = SimpleNamespace(realtime_llm_session=model, tools=[], vad=NOT_GIVEN)
        self.output.audio = Wall()

    @property
    def current_agent(self) -> Any:
        return self._speaks


class Framework:
    """One call's events, and the framework's own listeners to them: `SessionHost`'s and `AgentActivity`'s."""

    def __init__(self) -> None:
        self.model = PluginSession()
        self.session = CallSession(self.model)
        self._frame = frame(0.01)
        self._turns = 0
        self.session.on("user_state_changed", self._hear)
        self.session.on("agent_state_changed", self._hear)
        self.model.on("generation_created", self._make_speech)
        self.model.on("input_speech_stopped", self._hear)

    def _hear(self, event: object) -> None:
        """Less than the framework does: it tells the console, or the room, of each."""

    def _make_speech(self, _: GenerationCreatedEvent) -> None:
        handle = self.session.speech
        assert handle is not None
        created = SpeechCreatedEvent(speech_handle=handle, user_initiated=False, source="generate_reply")
        self.session.emit("speech_created", created)

    async def turn(self) -> None:
        """All that happens when the user asks something and the agent answers; nothing in it waits."""
        self._turns += 1
        self.model.request_id = request_id = f"GR_{self._turns}"
        now, session, model = time.time(), self.session, self.model
        session.speech = handle = SpeechHandle.create()
        session.emit("user_state_changed", _user("speaking", now - 2))
        session.emit("user_input_transcribed", UserInputTranscribedEvent(transcript="What now?", is_final=True))
        model.emit("input_speech_started", InputSpeechStartedEvent())
        model.emit("generation_created", _generation(request_id))
        session.emit("user_state_changed", _user("listening", now - 1))

        output = session.output.audio
        assert output is not None
        await output.capture_frame(self._frame)
        wall = output.next_in_chain or output
        wall.on_playback_started(created_at=time.time())
        session.emit("agent_state_changed", AgentStateChangedEvent(old_state="listening", new_state="speaking"))

        model._handle_server_content(LiveServerContent(generation_complete=True))
        model.emit("input_speech_stopped", InputSpeechStoppedEvent(user_transcription_enabled=False))
        model._handle_usage_metadata(_usage(self._turns))
        model._handle_server_content(LiveServerContent(turn_complete=True))

        output.flush()
        wall.on_playback_finished(playback_position=0.01, interrupted=False)
        session.emit("agent_state_changed", AgentStateChangedEvent(old_state="speaking", new_state="listening"))
        handle._item_added([ChatMessage(role="assistant", content=["Hello."], id=request_id)])
        handle._mark_done()


def _user(state: Any, at: float) -> UserStateChangedEvent:
    before: Any = "listening" if state == "speaking" else "speaking"
    return UserStateChangedEvent(old_state=before, new_state=state, created_at=at)


def _generation(request_id: str) -> GenerationCreatedEvent:
    streams: Any = None
    return GenerationCreatedEvent(
        message_stream=streams, function_stream=streams, user_initiated=False, response_id=request_id
    )


def _usage(output: int) -> UsageMetadata:
    def of(modality: MediaModality, count: int) -> list[ModalityTokenCount]:
        return [ModalityTokenCount(modality=modality, token_count=count)]

    return UsageMetadata(
        prompt_token_count=300,
        prompt_tokens_details=of(MediaModality.AUDIO, 260) + of(MediaModality.TEXT, 40),
        response_token_count=output,
        response_tokens_details=of(MediaModality.AUDIO, output),
        total_token_count=300 + output,
    )
