"""Notes of one session -> records.

A response has two halves: its usage (`metrics_collected` of the realtime session) and its speech (the `AgentSession`'s
speech handle, with its messages, and state changes). The journal joins them by the response's id and makes exactly one
record per response, in order: when its usage is there and its speech is done, or when the session closes; at most
`SETTLE_S` after generation and playing ended.

It works in the pipeline's thread, note by note, in the order in which the recorder took them.
"""

import math
import time
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from livekit.agents import AgentSession, SpeechCreatedEvent, UserStateChangedEvent
from livekit.agents.llm import RealtimeModel
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.voice import SpeechHandle

from . import errors
from .cashier import Cashier
from .logger import OwnFailures, logger
from .pricing import price_list
from .records import ConnectionRecord, ResponseRecord, SessionRecord, utc_iso
from .response import OpenResponse
from .settings import Settings
from .totals import Totals
from .usage import UsageBook

SETTLE_S = 2.0
"""How long a response waits for its other half."""

_REMEMBERED = 8
"""Recorded responses whose late usage is still told apart from a repeat; more would only hold memory."""

Records = Sequence[ConnectionRecord | ResponseRecord | SessionRecord]
NONE: Records = ()


class Journal:
    """One session's. Each public method reads a note and returns the records that it completes.

    Args:
        settings: what the agent is, its latency budget, and its own prices.
        session_id: the job's id.
        room: the room's name.
    """

    def __init__(self, settings: Settings, *, session_id: str, room: str) -> None:
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
        self._started_at = time.time()

        self._failures = OwnFailures()
        self._open: deque[OpenResponse] = deque()
        self._waiting: list[tuple[float, OpenResponse]] = []
        self._recorded: OrderedDict[str, UsageBook] = OrderedDict()
        self._connections = 0
        self._go_aways_seen = 0
        self._turns = 0
        self._requested_at: dict[str, float] = {}
        self._user_speech: deque[tuple[float, float | None]] = deque(maxlen=64)
        self._answered_at = 0.0

        self._totals = Totals()
        self._cashier = Cashier(price_list(settings.metrics_prices_path))

    def watch(self, session: AgentSession[Any]) -> Records:
        self._session = session
        if isinstance(session.llm, RealtimeModel):
            self._origin |= {"provider": session.llm.provider, "model": session.llm.model}
        return NONE

    # -- usage

    def connected(self, metrics: RealtimeModelMetrics, go_aways: int | None, resumption_handle: bool | None) -> Records:
        reconnect = self._connections > 0
        record = ConnectionRecord(
            **self._origin,
            timestamp=utc_iso(metrics.timestamp),
            connection_s=metrics.acquire_time,
            reconnect=reconnect,
            resumed=resumption_handle if reconnect else False,
            go_away=None if go_aways is None else go_aways > self._go_aways_seen,
        )
        self._connections += 1
        self._go_aways_seen = go_aways or 0
        self._connection_is_lost()
        self._totals.connected(record)
        return (record,)

    def _connection_is_lost(self) -> None:
        """What was on the way when the connection ended does not arrive on the next one."""
        for response in self._open:
            response.connection_lost = response.connection_lost or response.completed_at is None

    def used(self, metrics: RealtimeModelMetrics, at: float, raw: Any, complete: bool | None) -> Records:
        """Usage that came `at` a `time.monotonic()`, with the provider's own message and whether the generation was
        complete, where these are known."""
        response = self._find(metrics.request_id)
        if response is None and (book := self._recorded.get(metrics.request_id)) is not None:
            self._totals.used_late(book, metrics, raw)
            return NONE
        if response is None:  # no event announced it
            response = self._open_response(metrics.request_id, metrics.timestamp)
        response.take_usage(metrics, raw, complete)
        return self._settle(response, at)

    # -- speech

    def reply_requested(self, event: SpeechCreatedEvent) -> Records:
        self._requested_at[event.speech_handle.id] = event.created_at
        return NONE

    def generation_created(
        self, request_id: str | None, created_at: float, handle: SpeechHandle | None, done: bool, plays: bool
    ) -> Records:
        """A response begins, whose speech may be `done` already, in a session that `plays` audio or not."""
        response = self._open_response(request_id or "", created_at, handle, has_audio_output=plays)
        response.spoken = done
        return NONE

    def _open_response(
        self,
        request_id: str,
        created_at: float,
        handle: SpeechHandle | None = None,
        *,
        has_audio_output: bool = True,
    ) -> OpenResponse:
        self._turns += 1
        response = OpenResponse(
            turn=self._turns,
            request_id=request_id or f"response {self._turns}",
            created_at=created_at,
            handle=handle,
            requested_at=self._requested_at.get(handle.id) if handle else None,
            has_audio_output=has_audio_output,
        )
        self._open.append(response)
        return response

    def generation_ended(self, at: float) -> Records:
        """`at` is a `time.monotonic()`."""
        if self._open:
            self._settle_later(self._open[-1], at)
        return NONE

    def user_state_changed(self, event: UserStateChangedEvent) -> Records:
        if event.new_state == "speaking":
            self._user_speech.append((event.created_at, None))
        elif event.old_state == "speaking" and self._user_speech:
            started_at, _ = self._user_speech.pop()
            self._user_speech.append((started_at, event.created_at))
        return NONE

    def agent_spoke(self, handle: SpeechHandle | None, at: float) -> Records:
        response = next((response for response in reversed(self._open) if handle and response.handle is handle), None)
        if response is not None and response.spoke_at is None and response.has_audio_output:
            response.spoke_at = at
        return NONE

    def speech_done(self, handle: SpeechHandle) -> Records:
        self._requested_at.pop(handle.id, None)
        if (error := handle.exception()) is not None:
            self._say_failure(error, recoverable=False)
        records: list[ResponseRecord] = []
        for response in [response for response in self._open if response.handle is handle]:
            response.spoken = True
            records += self._settle(response)
        return records

    def _find(self, request_id: str) -> OpenResponse | None:
        return next((response for response in self._open if response.request_id == request_id), None)

    # -- from open to recorded

    def _settle(self, response: OpenResponse, since: float | None = None) -> Sequence[ResponseRecord]:
        """Records the response if nothing more is to come, else gives the rest `SETTLE_S` from now, or `since`."""
        if response.metrics is not None and response.spoken:
            response.ready = True
            return self._ready()
        self._settle_later(response, time.monotonic() if since is None else since)
        return ()

    def _settle_later(self, response: OpenResponse, since: float) -> None:
        # in the order of their times: a note can be read long after it was taken
        insort(self._waiting, (since + SETTLE_S, response), key=itemgetter(0))

    def overdue(self) -> tuple[Records, float | None]:
        """Records of the responses that have waited long enough, and when others will have (`time.monotonic()`)."""
        now = time.monotonic()
        while self._waiting and (self._waiting[0][1].ready or self._waiting[0][0] <= now):
            _, response = self._waiting.pop(0)
            if not response.ready and self._still_to_be_heard(response):
                self._settle_later(response, now)
            else:
                response.ready = True
        return self._ready(), self._waiting[0][0] if self._waiting else None

    def _still_to_be_heard(self, response: OpenResponse) -> bool:
        """Whether the response plays or waits for its turn."""
        response.take_messages()
        if response.spoken or response.messages:
            return False
        session = self._session
        if session is not None and session.current_speech is response.handle and session.agent_state == "speaking":
            return True
        return not response.called_tool

    def _ready(self) -> Sequence[ResponseRecord]:
        records = []
        while self._open and self._open[0].ready:
            try:
                records.append(self._recorded_now(self._open.popleft()))
            except Exception:  # costs no other record
                self._failures.log("recording a response")
        return records

    def _recorded_now(self, response: OpenResponse) -> ResponseRecord:
        response.take_messages()
        speech_end, why_not = self._answered_speech(response)
        cost = self._cashier.price(
            response.tokens,
            self._origin["model"],
            self._origin["provider"],
            response.created_at,
            response.usage_reason,
        )
        others = {**self._origin, "timestamp": utc_iso(response.created_at), **cost}
        record = response.record(speech_end, why_not, self._budget_s, **others)
        if response.first_audio_at is not None:
            self._answered_at = response.first_audio_at
        self._recorded[response.request_id] = response.book
        if len(self._recorded) > _REMEMBERED:
            self._recorded.popitem(last=False)
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

    def failed(self, error: Exception, recoverable: bool) -> Records:
        self._connection_is_lost()
        self._say_failure(error, recoverable=recoverable)
        return NONE

    def _say_failure(self, error: BaseException, *, recoverable: bool) -> None:
        failure = errors.describe(error, connected=self._connections > 0)
        count = self._totals.error(failure.kind)
        if not recoverable:
            logger.error(failure.happened)
            logger.error(failure.todo)
        elif count == 1:
            logger.warning("%s; reconnecting", failure.happened)
        elif math.log10(count).is_integer():  # a connection can close many times a second
            logger.warning("%s; reconnecting, %d times by now. %s", failure.happened, count, failure.todo)

    def closed(
        self, end_reason: str, ended_at: float, go_aways: int | None, context_compression: bool | None
    ) -> Records:
        """The records of all that is open, and of the session."""
        for response in self._open:
            response.ready = True
        responses = self._ready()
        session = SessionRecord(
            **self._origin,
            timestamp=utc_iso(ended_at),
            duration_s=ended_at - self._started_at,
            end_reason=end_reason,
            latency_budget_s=self._budget_s,
            over_latency_budget=None if self._budget_s is None else self._totals.over_budget,
            go_aways=go_aways,
            context_compression=context_compression,
            **self._totals.as_fields(),
            **self._cashier.as_fields(self._totals.unbooked_total_tokens),
        )
        return (*responses, session)
