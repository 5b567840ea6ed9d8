"""How long somebody waited for a response: from when, to when, its parts, and why it is unknown.

    user's last sound ──▶ generation created ──▶ first frame to the output ──▶ first sound of the agent
    └ time_to_generation_s ┘└── generation_to_audio_s ──┘└──── playback_latency_s ────┘
    └───────────────────────────── time_to_first_audio_s ─────────────────────────────┘

All moments are `time.monotonic()`: a clock that is set in a call changes no wait. They come from `ears` (sounds),
`turns` (which speech is answered) and `responses`.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .responses import Response

_RECENT_S = 10.0
"""A mark that is older, or lies in the future, is the clock's doing: it was set in between."""
_LONG_S = 600.0
"""The same for a figure of the framework."""

FirstAudioFrom = Literal["user_speech_end", "reply_requested", "model"]
FirstAudioBy = Literal["audio", "voice_detection"]


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The end of what the user said, and what marked it; or the `reason` why there is none."""

    at: float | None = None
    by: FirstAudioBy | None = None
    reason: str = ""


@dataclass(slots=True)
class ToolRun:
    """A tool at work."""

    name: str
    call_id: str
    began_at: float
    ended_at: float | None = None


@dataclass(slots=True, kw_only=True)
class Wait:
    """The wait for a response, as its record has it."""

    time_to_first_audio_s: float | None = None
    """From `time_to_first_audio_from` until the first sound of the agent."""
    time_to_first_audio_from: FirstAudioFrom | None = None
    """`user_speech_end`: the user's last sound. `reply_requested`: the program asked for the reply, or the user typed.
    `model`: the plugin's `ttft`, from the response's creation."""
    time_to_first_audio_by: FirstAudioBy | None = None
    """What marked the end of the user's speech. `audio`: its level. `voice_detection`: the VAD's mark."""
    time_to_first_audio_reason: str | None = None
    """Why it is unknown."""
    framework_latency_s: float | None = None
    """The framework's own figure for the same wait (`e2e_latency`); unknown where it has none."""
    time_to_generation_s: float | None = None
    """First part of the wait. Unknown where the wait began after it."""
    generation_to_audio_s: float | None = None
    """Second part: from then, or the wait's begin if that is later. Unknown where the wait is."""
    playback_latency_s: float | None = None
    """Third part, with the silence that the answer begins with. Unknown where the wait is."""
    tools: list[str] = field(default_factory=list)
    """Names of the tools that ran inside the wait; of a response without a wait, those that it called."""
    tools_s: float | None = None
    """How long these ran inside the wait; unknown without a wait."""
    duration_s: float | None = None
    """How long the model generated what was heard: from the first frame to the output until it was complete."""
    duration_reason: str | None = None
    """Why that is unknown."""

    def over(self, budget_s: float | None) -> bool | None:
        """Whether it is over the budget; unknown without a budget or a wait."""
        wait_s = self.time_to_first_audio_s
        return None if wait_s is None or budget_s is None else wait_s > budget_s


def wait_of(response: "Response", answered: SpeechEnd, tools: Iterable[ToolRun]) -> Wait:
    """The wait for a response.

    Args:
        response: what happened of it, and when.
        answered: the end of the user's speech that it answers, or why there is none.
        tools: the tools that ran in the call.
    """
    wait = Wait(framework_latency_s=by_the_clock(response.framework_latency_s))
    heard_at = response.first_sound_at
    began_at, began_with, marked_by = _begin(response, answered)
    ttft_s = response.metrics.ttft if response.metrics and response.metrics.ttft >= 0 else None
    if heard_at is not None and began_at is not None:
        wait.time_to_first_audio_s = max(0.0, heard_at - began_at)
        wait.time_to_first_audio_from, wait.time_to_first_audio_by = began_with, marked_by
        if response.created_at >= began_at:
            wait.time_to_generation_s = response.created_at - began_at
        if response.captured_at is not None:
            wait.generation_to_audio_s = max(0.0, response.captured_at - max(response.created_at, began_at))
            wait.playback_latency_s = max(0.0, heard_at - response.captured_at)
        inside = [run for run in tools if run.began_at < heard_at and (run.ended_at or heard_at) > began_at]
        wait.tools, wait.tools_s = list(dict.fromkeys(run.name for run in inside)), _time_of(inside, began_at, heard_at)
    elif ttft_s is not None:
        wait.time_to_first_audio_s, wait.time_to_first_audio_from = ttft_s, "model"
    else:
        wait.time_to_first_audio_reason = response.silent_because if heard_at is None else answered.reason
    wait.tools = wait.tools or response.called_tools

    model_s = by_the_clock(response.metrics.duration) if response.metrics else None
    if ttft_s is not None and model_s is not None and model_s > ttft_s:
        wait.duration_s = model_s - ttft_s
    else:
        wait.duration_s, wait.duration_reason = _duration(response)
    return wait


def _begin(response: "Response", answered: SpeechEnd) -> tuple[float | None, FirstAudioFrom, FirstAudioBy | None]:
    """When the wait for a response begins, what begins it, and what marked that."""
    requested_at = response.requested_at
    # a user who spoke before the greeting had begun is answered by what is generated then
    if answered.at is not None and (
        not response.asked_by_program or (requested_at or 0.0) < answered.at <= response.created_at
    ):
        return answered.at, "user_speech_end", answered.by
    return requested_at, "reply_requested", None


def monotonic(timestamp: float) -> float:
    """A moment of the recent past, given as `time.time()`, as `time.monotonic()`; now, if the clock was set since."""
    ago_s = time.time() - timestamp
    return time.monotonic() - (ago_s if 0 <= ago_s <= _RECENT_S else 0)


def by_the_clock(seconds: float | None) -> float | None:
    """A figure of the framework, which counts with `time.time()`; unknown where the clock was set in between."""
    return seconds if seconds is not None and 0 <= seconds <= _LONG_S else None


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """By nearest rank: a value that was measured, not one between two. Unknown where there is none."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _time_of(runs: Iterable[ToolRun], since: float, until: float) -> float:
    """How much of the time from `since` to `until` a tool ran; tools can run at once."""
    total_s = 0.0
    for run in sorted(runs, key=lambda run: run.began_at):
        ended_at = min(run.ended_at or until, until)
        total_s += max(0.0, ended_at - max(run.began_at, since))
        since = max(since, ended_at)
    return total_s


def _duration(response: "Response") -> tuple[float | None, str | None]:
    """How long the model generated, or why that is unknown."""
    captured_at, completed_at = response.captured_at, response.completed_at
    if captured_at is None:
        return None, response.silent_because
    if completed_at is None:
        return None, "nobody told when the generation was complete"
    if completed_at <= captured_at:
        return None, "the audio was held back until the generation was complete"
    return completed_at - captured_at, None
