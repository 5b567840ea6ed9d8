"""What the user said, and whether it was answered.

A turn is a stretch of the caller's speech between two sounds of the agent, or what the caller typed. The wait begins
when its first utterance ends; if the caller speaks again within 2 s, it begins anew when that ends. It is unanswered as
soon as that is certain: a response to it has ended without a sound, or the limit has passed, or the call has ended. All
moments are `time.monotonic()`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from livekit.agents.voice.events import ToolExecutionUpdatedEvent

from .ears import PAUSE_S, Ears, Playback
from .records import Unanswered
from .session import Sums
from .waits import SpeechEnd, ToolRun

SAME_THOUGHT_S = 2.0
"""A longer pause begins a new utterance ("hello?"); the wait still counts from the one before."""
SURE_S = 0.6
"""After so long a silence, a sound that the voice detection missed has ended."""
SHORT_S = 0.5
"""A shorter sound of the user is a turn only if the provider took it for speech."""
REJECTED = "RESPONSE_REJECTED"


@dataclass(slots=True)
class Utterance:
    """What the user said in one go, by the voice detection's marks and the ear."""

    began_at: float
    over: Playback | None = None
    """What the agent was saying when it began."""
    end: SpeechEnd = field(default_factory=SpeechEnd)
    by_ear: bool = False
    """Whether the voice detection missed it."""
    is_turn: bool = False


@dataclass(slots=True)
class Waiting:
    """A turn that has not been answered."""

    since: float
    spoke_until: float
    connection_lost: bool = False
    reported: bool = False


@dataclass(frozen=True, slots=True)
class SilentResponse:
    """A response that has ended without a sound."""

    ended_at: float
    reason: Unanswered
    request_id: str | None


class Turns:
    """The turns of one session.

    Args:
        ears: when the user could be heard.
        sums: where turns and waits are counted.
        limit_s: `METRICS_ANSWER_LIMIT_S`.
        on_unanswered: called once for each turn that is not answered in time: how long the user has waited, why, and
            the response that was silent, if there is one.
    """

    def __init__(
        self, ears: Ears, sums: Sums, limit_s: float, on_unanswered: Callable[[float, Unanswered, str | None], None]
    ) -> None:
        self.tools: deque[ToolRun] = deque(maxlen=64)
        self._ears = ears
        self._limit_s = limit_s
        self._on_unanswered = on_unanswered
        self._sums = sums
        # with one from before the call: there is always a last one
        self._utterances = deque([Utterance(0.0, end=SpeechEnd(0.0), is_turn=True)], maxlen=64)
        self._recognised_at = 0.0
        self._answer_began_at = 0.0
        self._playback: Playback | None = None
        self._heard_at = 0.0
        self._heard: Playback | None = None
        self._heard_was_answer = False
        self._answers = deque[float](maxlen=64)
        """When the agent was heard, but for what it says while a tool is at work."""
        self._answered_until = 0.0
        self._waiting: Waiting | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._silent_response: SilentResponse | None = None

    # -- the user

    def user_began(self, marked_at: float) -> None:
        """The voice detection hears the user."""
        began_at, last = self._ears.user_began(marked_at), self._utterances[-1]
        if last.by_ear and last.end.at is None:
            last.by_ear = False
        else:
            self._begin(began_at)
        if self._waiting is not None and self._speaks_on(self._waiting):
            self._stop_timer()

    def user_stopped(self, marked_at: float) -> None:
        """The voice detection is sure that the user has stopped; the agent may have begun to answer by then."""
        last = self._utterances[-1]
        if last.end.at is None:
            self._end(last, self._ears.user_ended(marked_at), marked_at)
        self._start_timer()

    def _end(self, utterance: Utterance, end: SpeechEnd, marked_at: float) -> None:
        utterance.end = end
        ended_at = end.at or marked_at
        began_before = utterance.over is None and utterance.began_at <= self._heard_at < ended_at
        if began_before and not utterance.is_turn and self._heard is not None and self._heard.ended_at is None:
            utterance.is_turn = True  # both began at once, and the agent, who speaks on, was noticed first
            self._sums.user_turns += not self._heard_was_answer
        if utterance.is_turn and ended_at <= self._heard_at:
            self._keep_longest(self._heard_at - ended_at)
        elif utterance.is_turn:  # the agent answered too early: what was said from then on is a second utterance
            self._utterances.append(Utterance(self._heard_at, self._heard, end))
        self._decide()

    def user_transcribed(self, *, is_new: bool) -> None:
        """The provider wrote down what it heard: something new, or more of the same."""
        if is_new:
            self._look_for_what_was_missed()
        self._recognised_at = time.monotonic()
        self._decide()

    def answer_began(self) -> None:
        """The provider began a response to the user."""
        if self._waiting is None:
            self._look_for_what_was_missed()
        self._recognised_at = self._answer_began_at = time.monotonic()
        self._decide()

    def _look_for_what_was_missed(self) -> None:
        """The provider took something for speech: that is what the ear alone has heard, if there is such a sound."""
        last = self._utterances[-1]
        sound, said_until = self._ears.last_sound, last.end.at
        is_old = said_until is not None and time.monotonic() - said_until > SAME_THOUGHT_S
        if self._recognised_at < last.began_at and (last.is_turn or (last.over is None and not is_old)):
            return  # it is this
        if sound is not None and said_until is not None and sound.began_at > said_until:
            utterance = self._begin(sound.began_at)
            utterance.by_ear = True
            self._look_for_end(utterance)

    def _begin(self, at: float) -> Utterance:
        self._silent_response = None
        playback = self._playback
        was_playing = playback is not None and playback.captured_at <= at <= (playback.ended_at or at)
        self._utterances.append(Utterance(at, playback if was_playing else None))
        return self._utterances[-1]

    def _look_for_end(self, utterance: Utterance) -> None:
        """Looks from time to time whether what the ear alone heard is over."""
        self._end_by_ear(utterance, time.monotonic() - SURE_S)
        if utterance.by_ear and utterance.end.at is None:
            asyncio.get_running_loop().call_later(SURE_S / 2, self._look_for_end, utterance)

    def _end_by_ear(self, utterance: Utterance, by: float) -> None:
        """Ends what the ear alone heard, if the last sound was over by then."""
        sound = self._ears.last_sound
        if utterance.by_ear and utterance.end.at is None and sound is not None and sound.ended_at <= by:
            self._end(utterance, SpeechEnd(sound.ended_at, "audio"), sound.ended_at)

    def user_typed(self, at: float) -> None:
        """The user sent a text; who lets the agent speak on waits from its end."""
        self._silent_response = None
        at = self._silent_from(at)
        self._wait_from(at, at)

    def _decide(self) -> None:
        """Decides, as soon as it can, whether what the user said last is a turn that waits for an answer."""
        utterance = self._utterances[-1]
        ended_at, over = utterance.end.at, utterance.over
        if utterance.is_turn or ended_at is None:
            return
        if ended_at - utterance.began_at < SHORT_S and self._recognised_at < utterance.began_at:
            return
        if over is not None:
            if over.ended_at is None:
                return  # when it is interrupted, or ends, this is asked again
            was_heard = over.interrupted or self._answer_began_at >= over.ended_at
            if over.ended_at >= ended_at and not was_heard:
                return  # the agent spoke on
        utterance.is_turn = True
        if self._heard_at >= ended_at:  # its answer began before the voice detection was sure
            self._sums.user_turns += 1
            self._keep_longest(self._heard_at - ended_at)
        else:
            self._wait_from(ended_at, utterance.began_at)

    # -- the agent

    def playback_began(self, playback: Playback) -> None:
        """Audio of the agent goes to the output."""
        self._playback = playback

    def agent_heard(self, at: float, playback: Playback | None = None) -> None:
        """The agent's first sound of a playback is at this moment, or its text is shown where it has no audio."""
        last = self._utterances[-1]
        self._end_by_ear(last, at - PAUSE_S)  # else it may go on
        if last.end.at is None and last.over is None and not last.is_turn:
            last.is_turn = True
            self._sums.user_turns += self._waiting is None
        if self._waiting is not None and not self._speaks_on(self._waiting):  # else `user_stopped` knows
            self._keep_longest(at - self._waiting.since)
        self._heard_at, self._heard, self._heard_was_answer = at, playback, self._waiting is not None
        if not self._tool_runs:
            self._answers.append(at)
        self._silent_response = None
        self._waiting = None
        self._stop_timer()

    def playback_ended(self) -> None:
        """The agent's audio was played, or cut off."""
        self._decide()

    def response_was_silent(
        self, finish_reason: str | None, request_id: str | None = None, ended_at: float | None = None
    ) -> None:
        """A response has ended without a sound, not because the user went on.

        Without a `request_id` the provider ended its turn with no response at all, now.
        """
        if self._tool_runs:
            return  # the limit watches that
        reason: Unanswered = "no_response" if request_id is None else "response_without_audio"
        if finish_reason == REJECTED:
            reason = "response_rejected"
        self._silent_response = SilentResponse(ended_at or time.monotonic(), reason, request_id)
        if self._waiting is not None:
            self._report_silence(self._waiting)

    def _report_silence(self, waiting: Waiting) -> None:
        """Reports a silent response, if it was to all that the user said: not while they speak on, or have done so."""
        silent = self._silent_response
        is_over = self._utterances[-1].end.at is not None
        if silent is not None and is_over and silent.ended_at >= waiting.spoke_until - SHORT_S:
            self._report(silent.reason, silent.request_id)

    def connection_lost(self) -> None:
        """What the user waits for may not come any more."""
        if self._waiting is not None:
            self._waiting.connection_lost = True

    @property
    def _tool_runs(self) -> bool:
        return any(run.ended_at is None for run in self.tools)

    def tool_updated(self, event: ToolExecutionUpdatedEvent) -> None:
        """A tool has begun, has ended, or holds up nobody any more."""
        update = event.update
        if update.type == "tool_call_started":
            self.tools.append(ToolRun(update.function_call.name, update.function_call.call_id, time.monotonic()))
        elif update.type in ("tool_call_updated", "tool_call_ended"):  # with an update it goes on in the background
            for run in self.tools:
                if run.call_id == update.call_id and run.ended_at is None:
                    run.ended_at = time.monotonic()

    # -- what a response answers

    def answered_by(self, first_sound_at: float | None) -> SpeechEnd:
        """The end of the speech that the response answers whose first sound was then, or why there is none."""
        if first_sound_at is None:
            return SpeechEnd()
        self._end_by_ear(self._utterances[-1], time.monotonic() - PAUSE_S)
        said = (each for each in reversed(self._utterances) if each.began_at <= first_sound_at)
        end = next((each.end for each in said if each.is_turn or each.end.at is None), SpeechEnd(0.0))
        heard = max((at for at in self._answers if at < first_sound_at), default=0.0)
        if end.at is not None and (end.at <= self._answered_until or end.at <= heard):
            return SpeechEnd(reason="no end of user speech was seen since the agent's last reply")
        if end.at is None or end.at > first_sound_at:
            return SpeechEnd(reason="the user was still speaking when the audio began")
        return end

    def answered(self, at: float) -> None:
        """What the user had said by then has its answer."""
        self._answered_until = max(self._answered_until, at)

    def talk_over_s(self, playbacks: Iterable[Playback]) -> float | None:
        """From the first sound that interrupted one of the playbacks until the agent was silent, where the user did."""
        for playback in playbacks:
            heard_at, ended_at = playback.first_sound_at, playback.ended_at
            if playback.interrupted and heard_at is not None and ended_at is not None:
                for utterance in reversed(self._utterances):
                    if heard_at <= utterance.began_at <= ended_at < (utterance.end.at or ended_at) + SAME_THOUGHT_S:
                        return ended_at - utterance.began_at
        return None

    # -- the waiting

    def close(self) -> None:
        """The call has ended: who still waits was not answered."""
        self._stop_timer()
        for utterance in self._utterances:
            utterance.by_ear = False  # nobody looks for its end any more
        if self._waiting is not None:
            self._report("connection_lost" if self._waiting.connection_lost else "call_ended", None)
            self._keep_longest(time.monotonic() - self._waiting.since)
            self._waiting = None

    def _speaks_on(self, waiting: Waiting) -> bool:
        """Whether the user goes on with what waits for an answer."""
        last = self._utterances[-1]
        return last.end.at is None and last.began_at - waiting.spoke_until < SAME_THOUGHT_S

    def _wait_from(self, ended_at: float, began_at: float) -> None:
        waiting = self._waiting
        if waiting is None:
            self._sums.user_turns += 1
            waiting = self._waiting = Waiting(ended_at, ended_at)
        elif began_at - waiting.spoke_until < SAME_THOUGHT_S and not waiting.reported:
            waiting.since = ended_at
        waiting.spoke_until = ended_at
        self._start_timer()
        self._report_silence(waiting)

    def _silent_from(self, at: float) -> float:
        """That moment, or the end of the agent's last playback, if it spoke on."""
        ended_at = self._playback.ended_at if self._playback is not None else None
        return at if ended_at is None else max(at, ended_at)

    def _start_timer(self) -> None:
        self._stop_timer()
        if self._waiting is not None and not self._waiting.reported:
            left_s = self._silent_from(self._waiting.since) + self._limit_s - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left_s), self._limit_passed)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _limit_passed(self) -> None:
        if self._tool_runs:
            self._report("tool_running", None)
        elif self._waiting is not None:
            self._report("connection_lost" if self._waiting.connection_lost else "no_response", None)

    def _report(self, reason: Unanswered, request_id: str | None) -> None:
        waiting = self._waiting
        if waiting is None or waiting.reported:
            return
        waiting.reported = True
        self._stop_timer()
        self._sums.unanswered += 1
        self._on_unanswered(max(0.0, time.monotonic() - waiting.since), reason, request_id)

    def _keep_longest(self, waited_s: float) -> None:
        self._sums.longest_wait_s = max(self._sums.longest_wait_s or 0.0, waited_s)
