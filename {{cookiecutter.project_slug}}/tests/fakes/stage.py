"""A stage for the recorder alone: the test emits the events of a session itself, in any order it likes."""

import time
from types import SimpleNamespace
from typing import Any, Literal

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    CloseReason,
    SpeechCreatedEvent,
    UserStateChangedEvent,
    llm,
)
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.events import AgentState
from livekit.agents.voice.speech_handle import InputDetails

from realtime_metrics.pipeline import Pipeline
from realtime_metrics.recorder import Recorder
from realtime_metrics.records import ResponseRecord, SessionRecord
from realtime_metrics.settings import Settings
from tests.fakes.call import KeptRecords
from tests.fakes.realtime import FakeRealtimeModel, FakeRealtimeSession, Usage, metrics
from tests.fakes.speaker import Speaker


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

    def __init__(self, settings: Settings | None = None, pipeline: Pipeline | None = None) -> None:
        model = FakeRealtimeModel()
        self.session = StagedSession(llm=model, vad=None)
        self.session.output.audio = Speaker()
        self.model: FakeRealtimeSession = model.session()
        self._handles: dict[str, SpeechHandle] = {}
        self.kept = KeptRecords()
        self._pipeline = pipeline or Pipeline({"kept": self.kept})
        self.recorder = Recorder(
            self._pipeline, settings or Settings(metrics_latency_budget_s=None), session_id="AJ_1", room="kitchen"
        )
        self.recorder.watch_session(self.session)
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

    def speak(self, handle: SpeechHandle, at: float) -> None:
        """A speech's audio begins to play."""
        self.session.speech, self.session.state = handle, "speaking"
        self.session.emit(
            "agent_state_changed",
            AgentStateChangedEvent(old_state="listening", new_state="speaking", created_at=at),
        )

    def message(self, request_id: str, audio_at: float | None = None, *, interrupted: bool = False) -> None:
        """What was said goes into the conversation, with the framework's marks of its audio."""
        item = llm.ChatMessage(role="assistant", content=["Hello."], id=request_id, interrupted=interrupted)
        if audio_at is not None:
            item.metrics = {"started_speaking_at": audio_at, "playback_latency": 0.0}
        self._handles[request_id]._item_added([item])

    def usage(self, request_id: str, usage: Usage | None = None, *, ttft: float = -1.0, duration: float = 1.0) -> None:
        """A usage message comes."""
        self.model.emit(
            "metrics_collected",
            metrics(request_id, usage, timestamp=time.time() - duration, duration=duration, ttft=ttft),
        )

    def end_speech(self, handle: SpeechHandle, error: Exception | None = None) -> None:
        """A speech is played, cut short, or has failed."""
        self.session.state = "listening"
        handle._mark_done(error=error)

    async def end(self, reason: CloseReason = CloseReason.USER_INITIATED) -> SessionRecord:
        """The session closes; the record that closes it."""
        self.session.emit("close", CloseEvent(error=None, reason=reason))
        await self._pipeline.drained()
        return self.kept.session
