"""How long somebody waited for a response: from when, to when, its parts, and why it is unknown.

    user's last sound ──▶ generation created ──▶ first frame to the output ──▶ first sound of the agent
    └ time_to_generation_s ┘└── generation_to_audio_s ──┘└──── playback_latency_s ────┘
    └───────────────────────────── time_to_first_audio_s ─────────────────────────────┘

All moments are `time.monotonic()`: a clock that is set in a call changes no wait. They come from `ears` (sounds),
`turns` (which speech is answered) and `responses`.
"""

import math
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """When what happened of one response; `None`: it did not, or nobody saw it."""

    created_at: float
    requested_at: float | None
    """When the program asked for the reply, or the user typed."""
    speech_end: SpeechEnd
    """What the response answers."""
    captured_at: float | None
    """When its first frame went to the audio output."""
    first_sound_at: float | None
    completed_at: float | None
    """When the model had generated all of it."""
    silent_because: str
    """Why there was no sound, if there was none."""


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


def wait_of(marks: Marks, tools: Iterable[ToolRun], ttft_s: float | None, model_s: float | None) -> Wait:
    """The wait for a response.

    Args:
        marks: what happened when.
        tools: the tools that ran in the call.
        ttft_s: the plugin's own time from the response's creation to its first token, if it tells one.
        model_s: the plugin's own time from then until everything was generated, if it tells one.
    """
    wait, model_s = Wait(), by_the_clock(model_s)
    heard_at, began_at = marks.first_sound_at, marks.speech_end.at
    if began_at is not None:
        wait.time_to_first_audio_from, wait.time_to_first_audio_by = "user_speech_end", marks.speech_end.by
    elif marks.requested_at is not None:
        wait.time_to_first_audio_from, began_at = "reply_requested", marks.requested_at

    if heard_at is not None and began_at is not None:
        wait.time_to_first_audio_s = max(0.0, heard_at - began_at)
        _split(wait, marks, began_at, heard_at)
        inside = [run for run in tools if run.began_at < heard_at and (run.ended_at or heard_at) > began_at]
        wait.tools, wait.tools_s = list(dict.fromkeys(run.name for run in inside)), _time_of(inside, began_at, heard_at)
    elif ttft_s is not None:
        wait.time_to_first_audio_s, wait.time_to_first_audio_from = ttft_s, "model"
    else:
        wait.time_to_first_audio_from = wait.time_to_first_audio_by = None
        wait.time_to_first_audio_reason = marks.silent_because if heard_at is None else marks.speech_end.reason

    if ttft_s is not None and model_s is not None and model_s > ttft_s:
        wait.duration_s = model_s - ttft_s
    else:
        wait.duration_s, wait.duration_reason = _duration(marks)
    return wait


def monotonic(timestamp: float) -> float:
    """A moment of the recent past, given as `time.time()`, as `time.monotonic()`; now, if the clock was set since."""
    ago_s = time.time() - timestamp
    return time.monotonic() - (ago_s if 0 <= ago_s <= _RECENT_S else 0)


def by_the_clock(seconds: float | None) -> float | None:
    """A figure of the framework, which counts with `time.time()`; unknown where the clock was set in between."""
    return seconds if seconds is not None and 0 <= seconds <= _LONG_S else None


class WaitStatistics:
    """The waits of a session for answers to the user."""

    def __init__(self) -> None:
        self.over_budget = 0
        self._seconds = array("d")  # a long session has many: 8 bytes each

    def add(self, wait: Wait, budget_s: float | None) -> bool | None:
        """Whether it is over the budget; unknown without a budget or a wait."""
        wait_s = wait.time_to_first_audio_s
        if wait_s is not None and wait.time_to_first_audio_from == "user_speech_end":
            self._seconds.append(wait_s)
        if wait_s is None or budget_s is None:
            return None
        self.over_budget += wait_s > budget_s
        return wait_s > budget_s

    def percentiles_s(self) -> tuple[float | None, float | None, float | None]:
        """p50, p95 and the longest."""
        ordered = sorted(self._seconds)
        return percentile(ordered, 0.50), percentile(ordered, 0.95), percentile(ordered, 1.0)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """By nearest rank: a value that was measured, not one between two. Unknown where there is none."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _split(wait: Wait, marks: Marks, began_at: float, heard_at: float) -> None:
    if marks.created_at >= began_at:
        wait.time_to_generation_s = marks.created_at - began_at
    if marks.captured_at is not None:
        wait.generation_to_audio_s = max(0.0, marks.captured_at - max(marks.created_at, began_at))
        wait.playback_latency_s = max(0.0, heard_at - marks.captured_at)


def _time_of(runs: Iterable[ToolRun], since: float, until: float) -> float:
    """How much of the time from `since` to `until` a tool ran; tools can run at once."""
    total_s = 0.0
    for run in sorted(runs, key=lambda run: run.began_at):
        ended_at = min(run.ended_at or until, until)
        total_s += max(0.0, ended_at - max(run.began_at, since))
        since = max(since, ended_at)
    return total_s


def _duration(marks: Marks) -> tuple[float | None, str | None]:
    """How long the model generated, or why that is unknown."""
    if marks.captured_at is None:
        return None, marks.silent_because
    if marks.completed_at is None:
        return None, "nobody told when the generation was complete"
    if marks.completed_at <= marks.captured_at:
        return None, "the audio was held back until the generation was complete"
    return marks.completed_at - marks.captured_at, None
