"""The open responses: each waits until its usage and its speech are both there; then exactly one record is made of it.

A response is recorded when its usage has come and it was played, at the latest `SETTLE_S` after the later of two ends:
the generation's and the playback's; in the order in which responses were created; and all that are open when the call
ends.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from livekit.agents.llm import ChatMessage
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.voice import SpeechHandle

from .ears import Playback
from .usage import PUBLIC_ONLY, WITH_ANSWER, MalformedUsageError, Tokens, UsageBook, UsageMessage, subtracted

SETTLE_S = 2.0
"""How long a response waits for its other half."""
EARLY_S = 5.0
"""How long usage that came before its response waits for one."""
_REMEMBERED = 8
"""Recorded responses whose late usage is still told apart from a repeat; more would only hold memory."""


@dataclass(slots=True, eq=False)
class Response:
    """What is known of one response so far."""

    turn: int
    request_id: str
    timestamp: float
    """When its generation was created, as `time.time()`."""
    created_at: float
    """The same, and all moments below, as `time.monotonic()`."""
    requested_at: float | None = None
    """When the program asked for it, or the user typed."""
    completed_at: float | None = None
    """When the model had generated all of it."""
    speech: SpeechHandle | None = None
    """What plays it; `None` where the framework plays nothing of it."""
    has_audio_output: bool = True
    metrics: RealtimeModelMetrics | None = None
    """The last that arrived."""
    usage: UsageBook = field(default_factory=UsageBook)
    usage_problem: str | None = None
    playbacks: list[Playback] = field(default_factory=list)
    generation_ended: bool = False
    is_whole: bool = False
    """Whether it ended by itself, not with its connection."""
    finish_reason: str | None = None
    connection_lost: bool = False
    timer: asyncio.TimerHandle | None = None
    settled: bool = False
    """Whether nothing more is waited for."""

    @property
    def messages(self) -> list[ChatMessage]:
        """What of it went into the conversation once it was played."""
        items = self.speech.chat_items if self.speech else ()
        return [item for item in items if isinstance(item, ChatMessage) and self._holds(item)]

    @property
    def called_tools(self) -> list[str]:
        items = self.speech.chat_items if self.speech else ()
        return [item.name for item in items if item.type == "function_call"]

    @property
    def is_played(self) -> bool:
        """Whether nothing of it is left to be heard."""
        return self.speech is None or self.speech.done()

    @property
    def is_playing(self) -> bool:
        return bool(self.playbacks) and self.playbacks[-1].ended_at is None

    @property
    def captured_at(self) -> float | None:
        """When its first frame went to the audio output."""
        return self.playbacks[0].captured_at if self.playbacks else None

    @property
    def first_sound_at(self) -> float | None:
        return next((each.first_sound_at for each in self.playbacks if each.first_sound_at is not None), None)

    @property
    def audio_s(self) -> float | None:
        """How much audio went to the output; unknown where there is none."""
        return sum((each.audio_s for each in self.playbacks), 0.0) if self.has_audio_output else None

    @property
    def heard_s(self) -> float | None:
        """How much of it was played; unknown where there is no output, or it still plays."""
        if not self.has_audio_output or self.is_playing:
            return None
        return sum((each.heard_s or 0.0 for each in self.playbacks), 0.0)

    @property
    def interrupted(self) -> bool:
        """Whether the user or the program cut it short; the plugin's metrics never say so."""
        if messages := self.messages:
            return any(message.interrupted for message in messages)
        return self.speech is not None and self.speech.interrupted

    @property
    def asked_by_program(self) -> bool:
        """Whether the program asked for it by itself, not on behalf of what the user said."""
        speech = self.speech
        return self.requested_at is not None and speech is not None and speech.input_details.modality == "text"

    @property
    def left_user_waiting(self) -> bool:
        """Whether what the user said got no answer from it: it is over, nothing was heard, and no tool goes on."""
        heard = self.first_sound_at is not None or (self.messages and not self.has_audio_output)
        return not (heard or self.interrupted or self.called_tools or self.asked_by_program)

    @property
    def is_text_only(self) -> bool:
        """Whether it was to be heard, and had text only."""
        return bool(self.messages) and self.has_audio_output and self.first_sound_at is None

    @property
    def framework_latency_s(self) -> float | None:
        return next((message.metrics.get("e2e_latency") for message in self.messages), None)

    @property
    def silent_because(self) -> str:
        """Why nothing of it was heard."""
        if self.speech is None:
            return "the framework did not play this response"
        if not self.has_audio_output:
            return "the session has no audio output"
        if self.called_tools and not self.messages:
            return "no audio: the response was a tool call"
        if self.interrupted:
            return "interrupted before any audio was played"
        return "no audio: the response was text only" if self.messages else "no audio was played"

    @property
    def usage_reason(self) -> str | None:
        """Why counts are missing; `None` where they are not."""
        if self.usage_problem is not None:
            return self.usage_problem
        if self.usage.messages:
            return None
        if self.connection_lost:
            return "the connection ended before usage arrived"
        if self.called_tools and not self.playbacks:
            return WITH_ANSWER
        return "no usage message arrived"

    def _holds(self, message: ChatMessage) -> bool:
        return self.request_id in (message.id, *message.metrics.get("provider_request_ids", ()))


class Responses:
    """The open responses of one session.

    Args:
        record: makes the record of a response; called once for each, in order.
        unbooked: takes usage that no response's record holds: how much, and what it adds to (`None`: to nothing).
    """

    def __init__(self, record: Callable[[Response], None], unbooked: Callable[[Tokens, Tokens | None], None]) -> None:
        self._record = record
        self._unbooked = unbooked
        self._turns = 0
        self._open: deque[Response] = deque()
        self._recorded: OrderedDict[str, UsageBook] = OrderedDict()
        self._early: list[tuple[Tokens, asyncio.TimerHandle]] = []

    def created(
        self,
        request_id: str,
        *,
        speech: SpeechHandle | None = None,
        requested_at: float | None = None,
        has_audio_output: bool = True,
        timestamp: float | None = None,
    ) -> Response:
        """A response begins."""
        self._turns += 1
        response = Response(
            turn=self._turns,
            request_id=request_id or f"response {self._turns}",
            timestamp=time.time() if timestamp is None else timestamp,
            created_at=time.monotonic(),
            requested_at=requested_at,
            speech=speech,
            has_audio_output=has_audio_output,
        )
        for tokens, timer in self._early:
            timer.cancel()
            response.usage.book(tokens)
        self._early.clear()
        self._open.append(response)
        return response

    # -- usage

    def used(self, metrics: RealtimeModelMetrics, message: UsageMessage) -> None:
        """Usage of a response has come."""
        if message.of_next_response:
            self._used_early(message.tokens)
            return
        response = self._of_request(metrics.request_id)
        if response is None and (book := self._recorded.get(metrics.request_id)) is not None:
            self._used_late(book, message.tokens)
            return
        if response is None:  # no event announced it
            response = self.created(metrics.request_id, timestamp=metrics.timestamp)
        response.metrics = metrics
        if message.is_empty:
            return
        response.usage.book(message.tokens)
        if message.public_only:
            response.usage_problem = PUBLIC_ONLY
        self._look_at(response)

    def used_malformed(self, metrics: RealtimeModelMetrics, problem: MalformedUsageError) -> None:
        """Usage of a response has come that cannot be booked."""
        response = self._of_request(metrics.request_id)
        if response is not None:
            response.metrics = metrics
            response.usage_problem = str(problem)
            self._look_at(response)

    def _of_request(self, request_id: str) -> Response | None:
        return next((each for each in self._open if each.request_id == request_id), None)

    def used_alone(self, message: UsageMessage) -> None:
        """Usage has come that the plugin has no response for."""
        if message.of_next_response:
            self._used_early(message.tokens)
        elif not message.is_empty:
            self._unbooked(message.tokens, None)

    def _used_early(self, tokens: Tokens) -> None:
        """Usage has come whose response is still to begin, if it does within `EARLY_S`."""
        timer = asyncio.get_running_loop().call_later(EARLY_S, self._expire_early, tokens)
        self._early.append((tokens, timer))

    def _expire_early(self, tokens: Tokens) -> None:
        self._early = [(early, timer) for early, timer in self._early if early is not tokens]
        self._unbooked(tokens, None)

    def _used_late(self, book: UsageBook, tokens: Tokens) -> None:
        before = book.total()
        book.book(tokens)
        after = book.total() or tokens
        self._unbooked(after if before is None else subtracted(after, before), before)

    # -- speech

    def completed(self, at: float) -> None:
        """The newest response is generated as a whole."""
        if self._open and self._open[-1].completed_at is None:
            self._open[-1].completed_at = at

    def generation_ended(self, at: float, finish_reason: str | None, whole: bool) -> None:
        """Nothing more comes of the newest response."""
        if self._open and not self._open[-1].generation_ended:
            response = self._open[-1]
            if whole:
                self.completed(at)
            response.generation_ended, response.is_whole, response.finish_reason = True, whole, finish_reason
            self._look_at(response)

    def playback_began(self, speech: SpeechHandle | None, playback: Playback) -> None:
        """Audio of a speech goes to the output: it is of the newest response that this speech plays."""
        responses = [each for each in self._open if speech is not None and each.speech is speech]
        if responses:
            responses[-1].playbacks.append(playback)

    def playback_ended(self, playback: Playback) -> None:
        """It was played, or cut off."""
        for response in [each for each in self._open if playback in each.playbacks]:
            self._look_at(response)

    def speech_done(self, speech: SpeechHandle) -> list[Response]:
        """A speech was played, cut off, or has failed; its responses."""
        responses = [each for each in self._open if each.speech is speech]
        for response in responses:
            self._look_at(response)
        return responses

    def connection_lost(self) -> None:
        """What was on the way when the connection ended does not arrive on the next one."""
        for response in self._open:
            response.connection_lost = response.connection_lost or not response.is_whole

    # -- from open to recorded

    def _look_at(self, response: Response) -> None:
        """Records the response if both halves are there, else gives the missing one `SETTLE_S` from the last end on."""
        if response.usage.messages and response.is_played:
            self._settle(response)
        elif response.generation_ended and not response.is_playing and self._was_its_turn(response):
            if response.timer is not None:
                response.timer.cancel()
            response.timer = asyncio.get_running_loop().call_later(SETTLE_S, self._settle_later, response)

    def _was_its_turn(self, response: Response) -> bool:
        """Whether its playback has had its turn; it may still be queued behind another speech."""
        return response.is_played or bool(response.playbacks) or bool(response.called_tools)

    def _settle_later(self, response: Response) -> None:
        response.timer = None
        if not response.is_playing:  # when that ends, it gets its time again
            self._settle(response)

    def _settle(self, response: Response) -> None:
        response.settled = True
        if response.timer is not None:
            response.timer.cancel()
            response.timer = None
        while self._open and self._open[0].settled:
            self._record_now(self._open.popleft())

    def _record_now(self, response: Response) -> None:
        self._recorded[response.request_id] = response.usage
        if len(self._recorded) > _REMEMBERED:
            self._recorded.popitem(last=False)
        self._record(response)

    def close(self) -> None:
        """Records all that is open."""
        for tokens, timer in self._early:
            timer.cancel()
            self._unbooked(tokens, None)
        self._early.clear()
        for response in list(self._open):
            self._settle(response)
