"""The framework's part in a spoken turn, as far as it can be had in microseconds."""

import time
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentStateChangedEvent, SpeechCreatedEvent, UserStateChangedEvent, llm
from livekit.agents.voice import SpeechHandle

from tests.fakes.realtime import FakeRealtimeSession
from tests.fakes.stage import StagedSession

Step = Callable[[], object]


class Framework:
    """Its events, and its own listeners to them: `SessionHost`'s to the session, `AgentActivity`'s to the model."""

    def __init__(self, session: StagedSession, model: FakeRealtimeSession) -> None:
        self._session = session
        self._model = model
        session.on("user_state_changed", self._hear)
        session.on("agent_state_changed", self._hear)
        model.on("generation_created", self._make_speech)
        model.on("input_speech_stopped", self._hear)

    def _hear(self, event: object) -> None:
        """Less than the framework does: it tells the console, or the room, of each."""

    def _make_speech(self, _: llm.GenerationCreatedEvent) -> None:
        handle = self._session.speech
        assert handle is not None
        created = SpeechCreatedEvent(speech_handle=handle, user_initiated=False, source="generate_reply")
        self._session.emit("speech_created", created)

    def turn(self, number: int, *on_usage: Step) -> list[Step]:
        """What happens, one by one, and when the response's usage comes."""
        request_id, now = f"GR_{number}", time.time()
        handle = SpeechHandle.create()
        generation: Any = llm.GenerationCreatedEvent(
            message_stream=None,  # type: ignore[arg-type]
            function_stream=None,  # type: ignore[arg-type]
            user_initiated=False,
            response_id=request_id,
        )
        item = llm.ChatMessage(role="assistant", content=["Hello."], id=request_id)
        item.metrics = {"started_speaking_at": now, "playback_latency": 0.01}
        self._session.speech = handle
        user_speaks = UserStateChangedEvent(old_state="listening", new_state="speaking", created_at=now - 2)
        user_listens = UserStateChangedEvent(old_state="speaking", new_state="listening", created_at=now - 1)
        agent_speaks = AgentStateChangedEvent(old_state="listening", new_state="speaking", created_at=now)
        generated = llm.InputSpeechStoppedEvent(user_transcription_enabled=False)
        agent_listens = AgentStateChangedEvent(old_state="speaking", new_state="listening", created_at=now)
        return [
            lambda: self._session.emit("user_state_changed", user_speaks),
            lambda: self._model.emit("generation_created", generation),
            lambda: self._session.emit("user_state_changed", user_listens),
            lambda: self._session.emit("agent_state_changed", agent_speaks),
            lambda: self._model.emit("input_speech_stopped", generated),
            *on_usage,
            lambda: self._session.emit("agent_state_changed", agent_listens),
            lambda: handle._item_added([item]),
            handle._mark_done,
        ]
