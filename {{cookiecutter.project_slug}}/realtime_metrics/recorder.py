"""Events of one session -> notes of them.

This is the part that runs on the audio loop, so it does as little as can be: it writes down what an event says, and
what will have changed by the time somebody reads it, and hands the note over. The pipeline's thread has the `journal`
make records of the notes. No I/O here, and nothing raises out of it.
"""

import functools
import inspect
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    ErrorEvent,
    SpeechCreatedEvent,
)
from livekit.agents.llm import GenerationCreatedEvent, RealtimeSession
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.voice import SpeechHandle

from . import errors
from .google_private import GooglePrivate
from .journal import Journal
from .logger import OwnFailures
from .pipeline import Pipeline, Reading
from .settings import Settings

Event = TypeVar("Event")
Handler = Callable[["Recorder", Event], None]


def _out_of_the_call(handler: Handler[Event]) -> Handler[Event]:
    """An error in a handler is logged, once per handler and session, and never reaches the call."""

    @functools.wraps(handler)
    def guarded(self: "Recorder", event: Event) -> None:
        try:
            handler(self, event)
        except Exception:
            self._failures.log(handler.__name__)

    return guarded


def _listener(handler: Callable[[Any], None]) -> Callable[[Any], None]:
    """The handler, with its signature at hand.

    The framework's emitter asks for it at every event; finding a method's takes longer than our handlers do (measured).
    """
    listener = partial(handler)
    listener.__signature__ = _ANY_EVENT  # type: ignore[attr-defined]
    return listener


_ANY_EVENT = inspect.Signature([inspect.Parameter("event", inspect.Parameter.VAR_POSITIONAL)])


class Recorder:
    """Watches one session.

    Args:
        pipeline: where the notes go, and the records made of them.
        settings: what the agent is, and its latency budget.
        session_id: the job's id.
        room: the room's name.

    Example:
        recorder = Recorder(Pipeline.from_settings(settings), settings, session_id=ctx.job.id, room=ctx.room.name)
        recorder.watch_session(session)
        recorder.watch_model(agent.realtime_llm_session)   # in `Agent.on_enter`
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, *, session_id: str, room: str) -> None:
        self._pipeline = pipeline
        self._journal = Journal(settings, session_id=session_id, room=room)
        pipeline.when_all_is_read(self._journal.overdue)
        self._generation_created = _listener(self._on_generation_created)
        self._speech_done = partial(pipeline.emit, self._journal.speech_done)
        self._failures = OwnFailures()
        self._session: AgentSession[Any] | None = None
        self._private: GooglePrivate | None = None
        self._taken: RealtimeModelMetrics | None = None
        self._newest_speech: SpeechHandle | None = None
        self._unbound_speech: SpeechHandle | None = None
        self._connected = False
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether there was a connection to the provider."""
        return self._connected

    # -- what to watch

    def watch_session(self, session: AgentSession[Any]) -> None:
        """Listens to the session: speech, states, errors, close. Call before `session.start`."""
        self._session = session
        self._pipeline.note(self._journal.watch, session)
        errors.say_failures_plainly()
        session.on("speech_created", _listener(self._on_speech_created))
        session.on("user_state_changed", self._noted(self._journal.user_state_changed))
        session.on("agent_state_changed", _listener(self._on_agent_state_changed))
        session.on("error", _listener(self._on_error))
        session.on("close", _listener(self._on_close))

    def watch_model(self, realtime_session: RealtimeSession[Any]) -> None:
        """Listens to the realtime session's generations. Usage comes in by `add`, which the agent calls."""
        before = self._private
        if before is not None and before.session is realtime_session:  # the agents of a call can share it
            # the framework listens anew, and has to come before us: see `_on_generation_created`
            realtime_session.off("generation_created", self._generation_created)
            realtime_session.on("generation_created", self._generation_created)
            return
        self._private = GooglePrivate(realtime_session)
        if before is not None and before.go_aways and self._private.go_aways is not None:
            self._private.go_aways += before.go_aways
        realtime_session.on("generation_created", self._generation_created)
        realtime_session.on("input_speech_stopped", _listener(self._on_generation_ended))

    def _noted(self, read: Reading) -> Callable[[Any], None]:
        """A listener to an event that says it all itself."""
        return _listener(partial(self._pipeline.note, read))

    # -- notes of what else has to be written down now; those that can complete a record wake the thread

    @_out_of_the_call
    def add(self, metrics: RealtimeModelMetrics) -> None:
        """Takes the metrics that the realtime session emits: of a connect, or of a response."""
        if metrics is self._taken:
            return  # two agents that share the session pass on the same
        self._taken = metrics
        private = self._private
        if not metrics.request_id:
            self._connected = True
            told = (private.go_aways, private.resumption_handle) if private else (None, None)
            self._pipeline.emit(self._journal.connected, metrics, *told)
            return
        told = (private.usage, private.generation_complete) if private else (None, None)
        speaking = self._newest_speech is not None and not self._newest_speech.done()
        hand_over = self._pipeline.note if speaking else self._pipeline.emit  # the speech's end wakes the thread, too
        hand_over(self._journal.used, metrics, time.monotonic(), *told)

    @_out_of_the_call
    def _on_speech_created(self, event: SpeechCreatedEvent) -> None:
        self._newest_speech = event.speech_handle
        event.speech_handle.add_done_callback(self._speech_done)
        if event.user_initiated:
            self._pipeline.note(self._journal.reply_requested, event)
        else:
            self._unbound_speech = event.speech_handle

    @_out_of_the_call
    def _on_generation_created(self, event: GenerationCreatedEvent) -> None:
        # the framework makes the speech of a reply that the user provoked while it handles this very event, before us
        session = self._session
        plays = session is not None and session.output.audio is not None and session.output.audio_enabled
        handle = self._unbound_speech
        if event.user_initiated:
            handle = session.current_speech if session is not None else None
        self._unbound_speech = None
        done = handle is None or handle.done()
        self._pipeline.note(self._journal.generation_created, event.response_id, time.time(), handle, done, plays)

    @_out_of_the_call
    def _on_generation_ended(self, _: object) -> None:
        # Gemini's plugin emits `input_speech_stopped` when a generation ends
        self._pipeline.note(self._journal.generation_ended, time.monotonic())

    @_out_of_the_call
    def _on_agent_state_changed(self, event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking" and self._session is not None:
            self._pipeline.note(self._journal.agent_spoke, self._session.current_speech, event.created_at)

    @_out_of_the_call
    def _on_error(self, event: ErrorEvent) -> None:
        error = getattr(event.error, "error", event.error)
        if isinstance(error, Exception):
            self._pipeline.emit(self._journal.failed, error, getattr(event.error, "recoverable", False))

    # -- the end

    @_out_of_the_call
    def _on_close(self, event: CloseEvent) -> None:
        error = getattr(event.error, "error", None)
        self.close(errors.describe(error).kind if isinstance(error, Exception) else event.reason.value)

    @_out_of_the_call
    def close(self, end_reason: str) -> None:
        """Records what is still open, then the session, and lets the pipeline drain. Only the first call counts."""
        if self._closed:
            return
        self._closed = True
        private = self._private
        told = (private.go_aways, private.context_compression) if private else (None, None)
        self._pipeline.close(self._journal.closed, end_reason, time.time(), *told)

    async def aclose(self, reason: str = "") -> None:
        """`close`, then waits until every record is written, at most `pipeline.DRAIN_S`. A job's shutdown callback."""
        self.close(reason or "job_shutdown")
        await self._pipeline.drained()
