"""Events of one session -> records.

A response has two halves: its usage (`metrics_collected` of the realtime session) and its speech (the `AgentSession`'s
speech handle, state changes and assistant message). The recorder joins them by the response's id and emits exactly one
record per response, in order: when both halves are there, when its speech is done, or when the session closes; at most
`SETTLE_S` after generation and playing ended. It runs on the audio loop: it takes notes and hands over drafts, no I/O
here, and nothing raises out of it.
"""

import asyncio
import functools
import inspect
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeVar

from livekit.agents import (
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    ConversationItemAddedEvent,
    ErrorEvent,
    SpeechCreatedEvent,
    UserStateChangedEvent,
)
from livekit.agents.llm import ChatMessage, GenerationCreatedEvent, RealtimeModel, RealtimeSession
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.voice import SpeechHandle

from . import errors
from .google_private import GooglePrivate
from .logger import logger
from .pipeline import Pipeline
from .records import ConnectionRecord, ResponseRecord, SessionRecord, utc_iso
from .response import OpenResponse
from .settings import Settings
from .totals import Totals
from .usage import UsageBook

SETTLE_S = 2.0
"""How long a response waits for its other half."""

_REMEMBERED = 8
"""Recorded responses whose late usage is still told apart from a repeat; more would only hold memory."""

Event = TypeVar("Event")
Handler = Callable[["Recorder", Event], None]


def _out_of_the_call(handler: Handler[Event]) -> Handler[Event]:
    """An error in a handler is logged, once per handler and session, and never reaches the call."""

    @functools.wraps(handler)
    def guarded(self: "Recorder", event: Event) -> None:
        try:
            handler(self, event)
        except Exception:
            if handler.__name__ not in self._failed:
                logger.exception("the metrics recorder failed in %s; the call goes on", handler.__name__)
            self._failed.add(handler.__name__)

    return guarded


def _listener(handler: Callable[[Any], None]) -> Callable[[Any], None]:
    """The handler, with its signature at hand.

    The framework's emitter asks for it at every event; finding a method's takes longer than our handlers do (measured).
    """
    listener = functools.partial(handler)
    listener.__signature__ = _ANY_EVENT  # type: ignore[attr-defined]
    return listener


_ANY_EVENT = inspect.Signature([inspect.Parameter("event", inspect.Parameter.VAR_POSITIONAL)])


class Recorder:
    """Watches one session.

    Args:
        pipeline: where the records go.
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
        self._origin: dict[str, Any] = {
            "session_id": session_id,
            "room": room,
            "agent_name": settings.name,
            "provider": "",
            "model": settings.model,
            "voice": settings.voice,
        }
        self._budget_s = settings.metrics_latency_budget_s
        self._session: AgentSession[Any] | None = None
        self._private: GooglePrivate | None = None
        self._taken: RealtimeModelMetrics | None = None
        self._started_at = time.time()
        self._closed = False
        self._failed: set[str] = set()

        self._open: deque[OpenResponse] = deque()
        self._recorded: OrderedDict[str, UsageBook] = OrderedDict()
        self._connections = 0
        self._go_aways_seen = 0
        self._turns = 0
        self._requested_at: dict[str, float] = {}
        self._unbound_speech: SpeechHandle | None = None
        self._user_speech: deque[tuple[float, float | None]] = deque(maxlen=64)
        self._answered_at = 0.0

        self._totals = Totals()

    # -- what to watch

    def watch_session(self, session: AgentSession[Any]) -> None:
        """Listens to the session: speech, states, messages, errors, close. Call before `session.start`."""
        self._session = session
        if isinstance(session.llm, RealtimeModel):
            self._origin |= {"provider": session.llm.provider, "model": session.llm.model}
        errors.say_failures_plainly()
        session.on("speech_created", _listener(self._on_speech_created))
        session.on("user_state_changed", _listener(self._on_user_state_changed))
        session.on("agent_state_changed", _listener(self._on_agent_state_changed))
        session.on("conversation_item_added", _listener(self._on_conversation_item_added))
        session.on("error", _listener(self._on_error))
        session.on("close", _listener(self._on_close))

    def watch_model(self, realtime_session: RealtimeSession[Any]) -> None:
        """Listens to the realtime session's generations. Usage comes in by `add`, which the agent calls."""
        before = self._private
        if before is not None and before.session is realtime_session:
            return  # the agents of a call can share it
        self._private = GooglePrivate(realtime_session)
        if before is not None and before.go_aways and self._private.go_aways is not None:
            self._private.go_aways += before.go_aways
        realtime_session.on("generation_created", _listener(self._on_generation_created))
        realtime_session.on("input_speech_stopped", _listener(self._on_generation_ended))

    # -- usage

    @_out_of_the_call
    def add(self, metrics: RealtimeModelMetrics) -> None:
        """Takes the metrics that the realtime session emits: of a connect, or of a response."""
        if metrics is self._taken:
            return  # two agents that share the session pass on the same
        self._taken = metrics
        if not metrics.request_id:
            self._add_connection(metrics)
            return
        if (response := self._find(metrics.request_id)) is not None:
            self._take_usage(response, metrics)
        elif (book := self._recorded.get(metrics.request_id)) is not None:
            self._pipeline.then(functools.partial(self._totals.used_late, book, metrics, self._raw_usage))
        else:  # a response that no event announced
            response = self._open_response(metrics.request_id, metrics.timestamp, handle=None)
            self._take_usage(response, metrics)

    def _add_connection(self, metrics: RealtimeModelMetrics) -> None:
        private = self._private
        go_aways = private.go_aways if private else None
        reconnect = self.connected
        record = ConnectionRecord(
            **self._origin,
            timestamp=utc_iso(metrics.timestamp),
            connection_s=metrics.acquire_time,
            reconnect=reconnect,
            resumed=(private.resumption_handle if private else None) if reconnect else False,
            go_away=None if go_aways is None else go_aways > self._go_aways_seen,
        )
        self._connections += 1
        self._go_aways_seen = go_aways or 0
        self._connection_is_lost()
        self._pipeline.emit(functools.partial(self._connected, record))

    def _connected(self, record: ConnectionRecord) -> ConnectionRecord:
        self._totals.connected(record)
        return record

    def _connection_is_lost(self) -> None:
        """What was on the way when the connection ended does not arrive on the next one."""
        for response in self._open:
            response.connection_lost = response.connection_lost or response.completed_at is None

    def _take_usage(self, response: OpenResponse, metrics: RealtimeModelMetrics) -> None:
        private = self._private
        response.usage.append((metrics, self._raw_usage))
        if private is None or private.generation_complete is not False:
            response.completed_at = metrics.timestamp + metrics.duration
        self._settle(response)

    @property
    def _raw_usage(self) -> Any:
        return self._private.usage if self._private else None

    # -- speech

    @_out_of_the_call
    def _on_speech_created(self, event: SpeechCreatedEvent) -> None:
        if event.user_initiated:
            self._requested_at[event.speech_handle.id] = event.created_at
        else:
            self._unbound_speech = event.speech_handle
        event.speech_handle.add_done_callback(self._on_speech_done)

    @_out_of_the_call
    def _on_generation_created(self, event: GenerationCreatedEvent) -> None:
        # the framework makes the speech of a reply that the user provoked while it handles this very event, before us
        session = self._session
        current = session.current_speech if session else None
        handle = current if event.user_initiated else self._unbound_speech
        self._unbound_speech = None
        self._open_response(event.response_id or "", time.time(), handle)

    def _open_response(self, request_id: str, created_at: float, handle: SpeechHandle | None) -> OpenResponse:
        self._turns += 1
        output = self._session.output if self._session else None
        response = OpenResponse(
            turn=self._turns,
            request_id=request_id or f"response {self._turns}",
            created_at=created_at,
            handle=handle,
            requested_at=self._requested_at.get(handle.id) if handle else None,
            has_audio_output=output is not None and output.audio is not None and output.audio_enabled,
        )
        self._open.append(response)
        return response

    @_out_of_the_call
    def _on_generation_ended(self, _: object) -> None:
        # Gemini's plugin emits `input_speech_stopped` when a generation ends
        if self._open:
            self._settle_later(self._open[-1])

    @_out_of_the_call
    def _on_user_state_changed(self, event: UserStateChangedEvent) -> None:
        if event.new_state == "speaking":
            self._user_speech.append((event.created_at, None))
        elif event.old_state == "speaking" and self._user_speech:
            started_at, _ = self._user_speech.pop()
            self._user_speech.append((started_at, event.created_at))

    @_out_of_the_call
    def _on_agent_state_changed(self, event: AgentStateChangedEvent) -> None:
        if event.new_state != "speaking" or self._session is None:
            return
        response = self._spoken_by(self._session.current_speech)
        if response is not None and response.first_audio_at is None and response.has_audio_output:
            response.first_audio_at = event.created_at

    @_out_of_the_call
    def _on_conversation_item_added(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if not isinstance(item, ChatMessage) or item.role != "assistant":
            return
        for request_id in (item.id, *item.metrics.get("provider_request_ids", ())):
            if (response := self._find(request_id)) is not None:
                response.take_message(item)
                self._settle(response)
                return

    @_out_of_the_call
    def _on_speech_done(self, handle: SpeechHandle) -> None:
        self._requested_at.pop(handle.id, None)
        if (error := handle.exception()) is not None:
            self._say_failure(error, recoverable=False)
        for response in [open for open in self._open if open.handle is handle]:
            self._settle(response)

    def _find(self, request_id: str) -> OpenResponse | None:
        for response in self._open:
            if response.request_id == request_id:
                return response
        return None

    def _spoken_by(self, handle: SpeechHandle | None) -> OpenResponse | None:
        for response in reversed(self._open):
            if response.handle is handle:
                return response
        return None

    # -- from open to recorded

    def _settle(self, response: OpenResponse) -> None:
        """Records the response if nothing more is to come, else gives its other half `SETTLE_S`."""
        spoken = response.message or response.handle is None or response.handle.done()
        if response.usage and spoken:
            response.ready = True
            self._emit_ready()
        else:
            self._settle_later(response)

    def _settle_later(self, response: OpenResponse) -> None:
        asyncio.get_running_loop().call_later(SETTLE_S, self._expire, response)

    @_out_of_the_call
    def _expire(self, response: OpenResponse) -> None:
        if not self._still_to_be_heard(response):
            response.ready = True
            self._emit_ready()

    def _still_to_be_heard(self, response: OpenResponse) -> bool:
        """Whether the response plays or waits for its turn; its speech's end will settle it."""
        handle, session = response.handle, self._session
        if handle is None or handle.done() or response.message:
            return False
        speaking = session is not None and session.current_speech is handle and session.agent_state == "speaking"
        return speaking or not response.called_tool

    def _emit_ready(self) -> None:
        while self._open and self._open[0].ready:
            self._emit(self._open.popleft())

    def _emit(self, response: OpenResponse) -> None:
        response.fix()
        draft = functools.partial(self._responded, response, *self._answered_speech(response))
        if response.first_audio_at is not None:
            self._answered_at = response.first_audio_at
        self._recorded[response.request_id] = response.book
        if len(self._recorded) > _REMEMBERED:
            self._recorded.popitem(last=False)
        self._pipeline.emit(draft)

    def _responded(self, response: OpenResponse, speech_end: float | None, why_not: str) -> ResponseRecord:
        origin = {**self._origin, "timestamp": utc_iso(response.created_at)}
        record = response.record(speech_end, why_not, self._budget_s, **origin)
        self._totals.responded(record, response)
        return record

    def _answered_speech(self, response: OpenResponse) -> tuple[float | None, str]:
        """End of the user's speech that the response answers, else why there is none."""
        first_audio_at = response.first_audio_at
        if first_audio_at is None or response.answers_program:
            return None, ""
        before = next((speech for speech in reversed(self._user_speech) if speech[0] <= first_audio_at), None)
        if before is None or (before[1] or first_audio_at) <= self._answered_at:
            return None, "no end of user speech was seen since the agent's last reply"
        ended_at = before[1]
        if ended_at is None or ended_at > first_audio_at:
            return None, "the user was still speaking when the audio began"
        return ended_at, ""

    # -- faults and the end

    @_out_of_the_call
    def _on_error(self, event: ErrorEvent) -> None:
        error = getattr(event.error, "error", event.error)
        if isinstance(error, Exception):
            self._connection_is_lost()
            self._say_failure(error, recoverable=getattr(event.error, "recoverable", False))

    def _say_failure(self, error: BaseException, *, recoverable: bool) -> None:
        failure = errors.describe(error, connected=self.connected)
        count = self._totals.error(failure.kind)
        if not recoverable:
            logger.error(failure.happened)
            logger.error(failure.todo)
        elif count == 1:
            logger.warning("%s; reconnecting", failure.happened)
        elif math.log10(count).is_integer():  # a connection can close many times a second
            logger.warning("%s; reconnecting, %d times by now. %s", failure.happened, count, failure.todo)

    @_out_of_the_call
    def _on_close(self, event: CloseEvent) -> None:
        error = getattr(event.error, "error", None)
        self.close(errors.describe(error).kind if isinstance(error, Exception) else event.reason.value)

    @property
    def connected(self) -> bool:
        """Whether there was a connection to the provider."""
        return self._connections > 0

    @_out_of_the_call
    def close(self, end_reason: str) -> None:
        """Records what is still open, then the session, and lets the pipeline drain. Only the first call counts."""
        if self._closed:
            return
        self._closed = True
        for response in self._open:
            response.ready = True
        self._emit_ready()
        self._pipeline.close(functools.partial(self._session_record, end_reason, time.time()))

    def _session_record(self, end_reason: str, ended_at: float) -> SessionRecord:
        private, totals = self._private, self._totals
        return SessionRecord(
            **self._origin,
            timestamp=utc_iso(ended_at),
            duration_s=ended_at - self._started_at,
            end_reason=end_reason,
            latency_budget_s=self._budget_s,
            over_latency_budget=None if self._budget_s is None else totals.over_budget,
            go_aways=private.go_aways if private else None,
            context_compression=private.context_compression if private else None,
            **totals.as_fields(),
        )

    async def aclose(self, reason: str = "") -> None:
        """`close`, then waits until every record is written, at most `pipeline.DRAIN_S`. A job's shutdown callback."""
        self.close(reason or "job_shutdown")
        await self._pipeline.drained()
