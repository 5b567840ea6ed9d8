"""A stage for the recorder alone: the test emits the events of a session itself, in any order it likes."""

import time
from types import SimpleNamespace
from typing import Any, Literal

from livekit.agents import (
    AgentSession,
    CloseEvent,
    CloseReason,
    SpeechCreatedEvent,
    UserStateChangedEvent,
    llm,
)
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.events import AgentState
from livekit.agents.voice.speech_handle import InputDetails

from realtime_metrics.ears import Playback
from realtime_metrics.recorder import Recorder
from realtime_metrics.records import ResponseRecord, SessionRecord
from realtime_metrics.settings import Settings
from realtime_metrics.waits import monotonic
from realtime_metrics.writer import Writer
from tests.fakes.call import GEMINI, KeptRecords, made
from tests.fakes.realtime import FakeRealtimeModel, FakeRealtimeSession, Usage, metrics
from tests.fakes.speaker import Speaker
from tests.fakes.vad import FakeVad

VAD = FakeVad()


class StagedSession(AgentSession[None]):
    """A session that is not started: what it does is the test's to say."""

    speech: SpeechHandle | None = None
    state: AgentState = "listening"

    @property
    def current_speech(self) -> SpeechHandle | None:
        return self.speech

    @property
    def agent_state(self) -> AgentState:
        return self.state


class Stage:
    """A session's events, one by one. Must be made while an event loop runs."""

    def __init__(self, settings: Settings | None = None, writer: Writer | None = None, vad: Any = VAD) -> None:
        model = FakeRealtimeModel()
        self.session = StagedSession(llm=model, vad=vad)
        self.session.output.audio = Speaker()
        self.model: FakeRealtimeSession = model.session()
        self._handles: dict[str, SpeechHandle] = {}
        self._playbacks: dict[SpeechHandle, Playback] = {}
        self.kept = KeptRecords()
        self._writer = writer or Writer(made({"kept": self.kept}))
        self.recorder = Recorder(
            self.session, settings or Settings(), self._writer, GEMINI, session_id="AJ_1", room="kitchen"
        )
        self.recorder.watch_model(self.model)
        self.model.on("metrics_collected", self.recorder.add)

    @property
    def responses(self) -> list[ResponseRecord]:
        return self.kept.responses

    def user(self, state: Literal["speaking", "listening"], at: float) -> None:
        """The user begins or stops to speak."""
        old: Literal["speaking", "listening"] = "listening" if state == "speaking" else "speaking"
        self.session.emit("user_state_changed", UserStateChangedEvent(old_state=old, new_state=state, created_at=at))

    def request(self, at: float, modality: Literal["text", "audio"] = "text") -> SpeechHandle:
        """The program asks for a reply, by itself or (`audio`) to what the user said."""
        handle = SpeechHandle.create(input_details=InputDetails(modality=modality))
        event = SpeechCreatedEvent(speech_handle=handle, user_initiated=True, source="generate_reply", created_at=at)
        self.session.emit("speech_created", event)
        return handle

    def generate(self, request_id: str, requested: SpeechHandle | None = None) -> SpeechHandle:
        """A generation begins, of a reply that was requested or of an answer to the user; its speech."""
        handle = requested or SpeechHandle.create()
        if requested is None:
            event = SpeechCreatedEvent(speech_handle=handle, user_initiated=False, source="generate_reply")
            self.session.emit("speech_created", event)
        self.session.speech = self._handles[request_id] = handle
        generation: Any = SimpleNamespace(response_id=request_id, user_initiated=requested is not None)
        self.model.emit("generation_created", generation)
        return handle

    def end_generation(self) -> None:
        """The model has generated everything."""
        self.model.emit("input_speech_stopped", llm.InputSpeechStoppedEvent(user_transcription_enabled=False))

    def speak(self, handle: SpeechHandle, at: float, *, seconds: float = 1.0) -> None:
        """A speech's audio begins to play, with a sound."""
        self.session.speech, self.session.state = handle, "speaking"
        playback = Playback(captured_at=monotonic(at), started_at=monotonic(at), silence_s=0.0, audio_s=seconds)
        self._playbacks[handle] = playback
        self.recorder._on_playback_began(playback)
        self.recorder._on_agent_heard(playback)

    def end_playback(self, handle: SpeechHandle, *, interrupted: bool = False) -> None:
        """What a speech plays is over, or cut off."""
        playback = self._playbacks.pop(handle, None)
        if playback is not None:
            playback.heard_s, playback.interrupted, playback.ended_at = playback.audio_s, interrupted, time.monotonic()
            self.recorder._on_playback_ended(playback)

    def message(self, request_id: str, *, interrupted: bool = False) -> None:
        """What was said goes into the conversation, once it was played."""
        item = llm.ChatMessage(role="assistant", content=["Hello."], id=request_id, interrupted=interrupted)
        self._handles[request_id]._item_added([item])

    def usage(self, request_id: str, usage: Usage | None = None, *, ttft: float = -1.0, duration: float = 1.0) -> None:
        """A usage message comes."""
        self.model.emit(
            "metrics_collected",
            metrics(request_id, usage, timestamp=time.time() - duration, duration=duration, ttft=ttft),
        )

    def end_speech(self, handle: SpeechHandle, error: Exception | None = None) -> None:
        """A speech is played, cut short, or has failed."""
        self.end_playback(handle)
        self.session.state = "listening"
        handle._mark_done(error=error)

    async def end(self, reason: CloseReason = CloseReason.USER_INITIATED) -> SessionRecord:
        """The session closes; the record that closes it."""
        self.session.emit("close", CloseEvent(error=None, reason=reason))
        await self._writer.drained()
        return self.kept.session
