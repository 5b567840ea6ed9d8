"""The open responses: each waits until its usage and its speech are both there; then exactly one record is made of it.

A response is recorded when its usage has come and it was played, at the latest `SETTLE_S` after the later of two ends:
the generation's and the playback's; in the order in which responses were created; and all that are open when the call
ends.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from livekit.agents.llm import ChatMessage
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.voice import SpeechHandle

from .ears import Playback
from .usage import PUBLIC_ONLY, WITH_ANSWER, Tokens, UsageBook, UsageMessage, is_newer, subtracted

if TYPE_CHECKING:
    from .records import Origin

SETTLE_S = 2.0
"""How long a response waits for its other half."""
EARLY_S = 5.0
"""How long usage that came before its response waits for one."""
_REMEMBERED = 8
"""Recorded responses whose late usage is still told apart from a repeat; more would only hold memory."""


@dataclass(slots=True, eq=False)
class Response:
    """What is known of one response so far."""

    request_id: str
    turn: int = 0
    """Its number in the session."""
    timestamp: float = field(default_factory=time.time)
    """When its generation was created, as `time.time()`."""
    created_at: float = field(default_factory=time.monotonic)
    """The same, and all moments below, as `time.monotonic()`."""
    requested_at: float | None = None
    """When the program asked for it, or the user typed."""
    completed_at: float | None = None
    """When the model had generated all of it."""
    speech: SpeechHandle | None = None
    """What plays it; `None` where the framework plays nothing of it."""
    has_audio_output: bool = True
    answers_typed: bool = False
    """Whether it is the answer to what the user typed."""
    origin: "Origin | None" = None
    """Who made it, where that is known: the agent may be another when it is recorded."""
    comes_first: bool = False
    """Whether the user had not said anything before it."""
    tool_calls_have_usage: bool = False
    """See `ProviderSession`."""
    metrics: RealtimeModelMetrics | None = None
    """The last that arrived."""
    usage: UsageBook = field(default_factory=UsageBook)
    usage_problem: str | None = None
    playbacks: list[Playback] = field(default_factory=list)
    generation_ended: bool = False
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
        # of one that the model made up there is only the result: an error
        calls = (item for item in items if item.type in ("function_call", "function_call_output"))
        return list({call.call_id: call.name for call in calls}.values())

    @property
    def is_whole(self) -> bool:
        """Whether it ended by itself, not with its connection."""
        return self.generation_ended and self.completed_at is not None

    @property
    def is_played(self) -> bool:
        """Whether nothing of it is left to be heard."""
        return self.speech is None or self.speech.done()

    @property
    def is_playing(self) -> bool:
        return bool(self.playbacks) and self.playbacks[-1].ended_at is None

    @property
    def had_its_turn(self) -> bool:
        """Whether its playback had its turn; it may still be queued behind another speech."""
        if self.called_tools and (self.usage.messages or not self.tool_calls_have_usage):
            return True  # its speech is done when the tool is
        return self.is_played or bool(self.playbacks)

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
        if self.called_tools and not self.playbacks:
            return False  # what the framework interrupts is its waiting for the tool
        if self.playbacks and not self.is_playing:
            return any(each.interrupted for each in self.playbacks)
        return self.speech is not None and self.speech.interrupted

    @property
    def asked_by_program(self) -> bool:
        """Whether the program asked for it by itself, not on behalf of what the user said."""
        speech = self.speech
        return self.requested_at is not None and speech is not None and speech.input_details.modality == "text"

    @property
    def is_extra(self) -> bool:
        """Whether it answers nothing that the user said or typed."""
        return self.asked_by_program and not self.answers_typed

    @property
    def left_user_waiting(self) -> bool:
        """Whether what the user said got no answer from it: it is over, nothing was heard, no tool goes on, and its
        connection held: else the next one may bring the answer."""
        heard = self.first_sound_at is not None or (self.messages and not self.has_audio_output)
        return not (heard or self.interrupted or self.called_tools or self.is_extra or self.connection_lost)

    @property
    def is_text_only(self) -> bool:
        """Whether it was to be heard, and had text only."""
        return bool(self.messages) and self.has_audio_output and not self.playbacks

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
        if self.called_tools and not self.tool_calls_have_usage:
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
        self._newest: Response | None = None
        self._recorded: deque[tuple[str, UsageBook]] = deque(maxlen=_REMEMBERED)
        self._early: deque[Tokens] = deque()
        self._usage_alone = UsageBook()
        """What has come without a response since the newest one."""

    def created(self, response: Response) -> None:
        """A response begins."""
        self._turns += 1
        response.turn = self._turns
        response.request_id = response.request_id or f"response {response.turn}"
        while self._early:
            response.usage.book(self._early.popleft())
        self._open.append(response)
        self._newest, self._usage_alone = response, UsageBook()

    @property
    def newest_called_tools(self) -> bool:
        """Whether the next response that nobody asks for answers a tool, and not the user."""
        return self._newest is not None and bool(self._newest.called_tools)

    # -- usage

    def used(self, metrics: RealtimeModelMetrics, message: UsageMessage) -> None:
        """Usage of a response has come."""
        newest, response = self._newest, self._of_request(metrics.request_id)
        if message.problem is not None:
            if response is not None:
                response.metrics, response.usage_problem = metrics, message.problem
                self._look_at(response)
            return
        if message.of_next_response and not (newest and newest.usage.counted_last(message.tokens)):
            self._used_early(message.tokens)
            return
        if response is None:
            recorded = next((book for request_id, book in self._recorded if request_id == metrics.request_id), None)
            if recorded is not None:
                self._used_late(recorded, message.tokens)
                return
            response = Response(metrics.request_id, timestamp=metrics.timestamp)
            self.created(response)  # no event announced it
        response.metrics = metrics
        if message.is_empty:
            return
        response.usage.book(message.tokens)
        if message.public_only:
            response.usage_problem = PUBLIC_ONLY
        self._look_at(response)

    def used_alone(self, message: UsageMessage) -> None:
        """Usage has come that the plugin has no response for."""
        if message.of_next_response:
            self._used_early(message.tokens)
        elif not message.is_empty:
            self._used_late(self._usage_alone, message.tokens)

    def _of_request(self, request_id: str) -> Response | None:
        return next((each for each in self._open if each.request_id == request_id), None)

    def _used_early(self, tokens: Tokens) -> None:
        """Usage has come whose response is still to begin, if it does within `EARLY_S`."""
        if self._early and is_newer(tokens, self._early[-1]):
            self._early.pop()
        self._early.append(tokens)
        asyncio.get_running_loop().call_later(EARLY_S, self._expire_early, tokens)

    def _expire_early(self, tokens: Tokens) -> None:
        if self._early and self._early[0] is tokens:  # else its response has begun
            self._unbooked(self._early.popleft(), None)

    def _used_late(self, book: UsageBook, tokens: Tokens) -> None:
        """No record will hold it: what it adds to the book is told."""
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
            response.generation_ended, response.finish_reason = True, finish_reason
            response.connection_lost = response.connection_lost or not whole
            self._look_at(response)

    def tool_updated(self) -> None:
        """Only now is it known of a response that has ended that it has called a tool, and has nothing to play."""
        for response in list(self._open):
            if response.generation_ended and response.timer is None:
                self._look_at(response)

    def playback_began(self, speech: SpeechHandle | None, playback: Playback) -> None:
        """Audio of a speech goes to the output: it is of the newest response that this speech plays."""
        responses = [each for each in self._open if speech is not None and each.speech is speech]
        if responses:
            responses[-1].playbacks.append(playback)

    def playback_ended(self, playback: Playback) -> None:
        """It was played, or cut off."""
        for response in list(self._open):
            if playback in response.playbacks:
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
            if not response.is_whole:
                response.connection_lost = True

    # -- from open to recorded

    def _look_at(self, response: Response) -> None:
        """Records the response if both halves are there, else gives the missing one `SETTLE_S` from the last end on."""
        if response.usage.messages and response.is_played:
            self._settle(response)
        elif response.generation_ended and not response.is_playing and response.had_its_turn:
            if response.timer is not None:
                response.timer.cancel()
            response.timer = asyncio.get_running_loop().call_later(SETTLE_S, self._time_is_up, response)

    def _time_is_up(self, response: Response) -> None:
        if not response.is_playing:  # when that ends, it gets its time again
            self._settle(response)

    def _settle(self, response: Response) -> None:
        """Waits for nothing more of it, and records all whose turn it is. More than once is like once."""
        response.settled = True
        while self._open and self._open[0].settled:
            first = self._open.popleft()
            self._recorded.appendleft((first.request_id, first.usage))
            self._record(first)

    def close(self) -> None:
        """Records all that is open."""
        while self._early:
            self._unbooked(self._early.popleft(), None)
        for response in list(self._open):
            self._settle(response)
