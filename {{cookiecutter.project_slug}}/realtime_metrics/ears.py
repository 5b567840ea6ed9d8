"""When the user and the agent could be heard, by the level of the audio itself. No audio is kept.

`Ears` puts itself first into the session's public audio input and output and lets every frame pass, as it is and at
once (about 10 µs a frame). A voice detection's mark of the end of speech lies about 0.1 s after the last sound, as it
smooths its probability (measured with Silero): the level tells better when that was, unless there is steady noise.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import io

from .log import OwnFailures
from .waits import SpeechEnd, monotonic

BLOCK_S = 0.01
"""The level is looked at in pieces of this length."""
SOUND = (0.005 * 32768) ** 2
"""Mean square above which a block can be heard: -46 dB of full scale."""
ABOVE_NOISE = 10 ** (8 / 10)
"""By this factor (8 dB) a sound is louder than the noise around it."""
LOUDEST_NOISE = (0.05 * 32768) ** 2
"""Steady noise above -26 dB of full scale hides the end of a voice."""
NOISE_MEMORY_S = 2.0
"""The noise is the quietest of the last 2 to 4 s."""
SMOOTHED = 0.3
"""Weight of a new block in the level that the noise is taken from."""
PAUSE_S = 0.25
"""A shorter silence is inside a sound."""
EARLIER_S = 0.6
"""The voice detection's mark comes at most this long after the sound's own begin or end."""
LATER_S = 0.1
"""And at most this long before it."""


@dataclass(slots=True)
class Sound:
    """A stretch in which something could be heard; `time.monotonic()`."""

    began_at: float
    ended_at: float


class SoundFinder:
    """Finds sounds in the frames of one direction."""

    def __init__(self) -> None:
        self.sounds: deque[Sound] = deque(maxlen=64)
        self._heard_until = 0.0
        self._level = 0.0
        self._noise = 0.0
        self._quietest = [np.inf, np.inf]
        self._noise_seen_s = 0.0

    def hear(self, frame: rtc.AudioFrame, arrived_at: float) -> None:
        """Takes the next frame, whose last sample was said just before it arrived."""
        # a late loop hands over several at once: their samples follow each other all the same
        expected = self._heard_until + frame.duration
        if arrived_at <= expected or arrived_at - expected > 0.2:
            ended_at = arrived_at
        else:
            ended_at = expected + 0.01 * (arrived_at - expected)  # clocks drift apart
        began_at, self._heard_until = ended_at - frame.duration, ended_at
        levels = _levels(frame)
        block_s = frame.duration / len(levels)
        for number, level in enumerate(levels):
            if self._is_sound(level):
                self._add(began_at + number * block_s, began_at + (number + 1) * block_s)

    @property
    def hides_ends(self) -> bool:
        """Whether there is steady noise in which the end of a voice cannot be heard."""
        return self._noise > LOUDEST_NOISE

    def _is_sound(self, level: float) -> bool:
        self._level += SMOOTHED * (level - self._level)
        self._quietest[1] = min(self._quietest[1], self._level)
        self._noise_seen_s += BLOCK_S
        if self._noise_seen_s >= NOISE_MEMORY_S:
            self._noise_seen_s = 0.0
            self._quietest = [self._quietest[1], self._level]
        self._noise = min(self._quietest)
        return level > max(SOUND, self._noise * ABOVE_NOISE)

    def _add(self, began_at: float, ended_at: float) -> None:
        if self.sounds and began_at - self.sounds[-1].ended_at < PAUSE_S:
            self.sounds[-1].ended_at = ended_at
        else:
            self.sounds.append(Sound(began_at, ended_at))


def _levels(frame: rtc.AudioFrame) -> list[float]:
    """The mean square of each of the frame's blocks, which are equally long, about `BLOCK_S`."""
    samples = np.frombuffer(frame.data, np.int16).astype(np.float32)
    count = max(1, round(frame.duration / BLOCK_S))
    length = len(samples) // count
    blocks = samples[: count * length].reshape(count, length)
    levels: list[float] = (np.vecdot(blocks, blocks) / max(1, length)).tolist()
    return levels


@dataclass(slots=True, eq=False)
class Playback:
    """One stretch of audio that goes to the output, and what becomes of it; `time.monotonic()`."""

    captured_at: float
    """When its first frame went to the output."""
    started_at: float | None = None
    """When it began to play."""
    silence_s: float | None = None
    """How much silence comes before its first sound; `None` while there was only silence."""
    audio_s: float = 0.0
    heard_s: float | None = None
    """How much of it was played; `None` while it plays."""
    ended_at: float | None = None
    interrupted: bool = False
    is_told: bool = False
    """Whether somebody was told that it is heard."""

    @property
    def first_sound_at(self) -> float | None:
        if self.started_at is None or self.silence_s is None:
            return None
        if self.heard_s is not None and self.heard_s <= self.silence_s:
            return None  # it was cut off before
        return self.started_at + self.silence_s


class Ears:
    """Both directions of one session: the user's sounds, and what becomes of the agent's audio.

    Args:
        on_began: called when the first frame of a playback goes to the output.
        on_heard: called when its first sound plays.
        on_ended: called when it was played, or cut off.
        failures: where our own failures are logged.
    """

    def __init__(
        self,
        on_began: Callable[[Playback], None],
        on_heard: Callable[[Playback], None],
        on_ended: Callable[[Playback], None],
        failures: OwnFailures,
    ) -> None:
        self.user = SoundFinder()
        self.on_began, self.on_heard, self.on_ended = on_began, on_heard, on_ended
        self.failures = failures

    def attach(self, session: AgentSession[Any]) -> None:
        """Puts the ears first into the session's audio, where there is some and they are not yet. May be called again
        and again: the framework can change the chain."""
        source, output = session.input.audio, session.output.audio
        if source is not None and not _holds(HearingInput, source, "source"):
            session.input.audio = HearingInput(source, self)
        if output is not None and not _holds(HearingOutput, output, "next_in_chain"):
            session.output.audio = HearingOutput(output, self)

    def user_began(self, marked_at: float) -> float:
        """When the user's first sound was, by the voice detection's mark of it and the level."""
        sound = self._sound_at(marked_at + LATER_S)
        if sound is None or sound.ended_at < marked_at - LATER_S or marked_at - sound.began_at >= EARLIER_S:
            return marked_at
        return sound.began_at

    def user_ended(self, marked_at: float) -> SpeechEnd:
        """When the user's last sound was, by the voice detection's mark of it and the level."""
        sound = self._sound_at(marked_at)
        if sound is None or self.user.hides_ends or not -EARLIER_S <= sound.ended_at - marked_at <= LATER_S:
            return SpeechEnd(marked_at, "voice_detection")
        return SpeechEnd(sound.ended_at, "audio")

    @property
    def last_sound(self) -> Sound | None:
        """The user's last sound so far; `None` where noise hides it."""
        return self.user.sounds[-1] if self.user.sounds and not self.user.hides_ends else None

    def _sound_at(self, at: float) -> Sound | None:
        """The last sound that began by then."""
        return next((sound for sound in reversed(self.user.sounds) if sound.began_at <= at), None)


def _holds(kind: type, part: Any, following: str) -> bool:
    """Whether a part of the chain is of this kind: an owner may have put a part of their own before ours."""
    while part is not None and not isinstance(part, kind):
        part = getattr(part, following)
    return part is not None


class HearingInput(io.AudioInput):
    """Passes on the user's audio, and listens."""

    def __init__(self, source: io.AudioInput, ears: Ears) -> None:
        super().__init__(label="RealtimeMetrics", source=source)
        self._ears = ears

    async def __anext__(self) -> rtc.AudioFrame:
        frame = await super().__anext__()
        self._ears.failures.guard(self._hear, frame)
        return frame

    def _hear(self, frame: rtc.AudioFrame) -> None:
        self._ears.user.hear(frame, time.monotonic())


class HearingOutput(io.AudioOutput):
    """Passes on the agent's audio, and listens."""

    def __init__(self, output: io.AudioOutput, ears: Ears) -> None:
        super().__init__(
            label="RealtimeMetrics", next_in_chain=output, capabilities=io.AudioOutputCapabilities(pause=True)
        )
        self._output = self.next_in_chain or output  # the framework wraps it
        self._ears = ears
        self._playback: Playback | None = None
        # a capture that is cancelled is told so, too, and by nothing else
        self.on("playback_finished", ears.failures.guarded(self._on_finished))

    @property
    def sample_rate(self) -> int | None:
        return self._output.sample_rate

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._ears.failures.guard(self._hear, frame)
        await self._output.capture_frame(frame)

    def flush(self) -> None:
        super().flush()
        self._output.flush()

    def clear_buffer(self) -> None:
        self._output.clear_buffer()

    def on_playback_started(self, *, created_at: float) -> None:
        super().on_playback_started(created_at=created_at)
        if self._playback is not None and self._playback.started_at is None:
            self._playback.started_at = monotonic(created_at)
            self._ears.failures.guard(self._tell_if_heard, self._playback)

    def _on_finished(self, event: io.PlaybackFinishedEvent) -> None:
        playback, self._playback = self._playback, None
        if playback is not None:
            playback.heard_s, playback.interrupted = event.playback_position, event.interrupted
            playback.ended_at = time.monotonic()
            self._tell_if_heard(playback)
            self._ears.on_ended(playback)

    def _hear(self, frame: rtc.AudioFrame) -> None:
        playback = self._playback
        if playback is None:
            playback = self._playback = Playback(captured_at=time.monotonic())
            self._ears.on_began(playback)
        if playback.silence_s is None:
            levels = _levels(frame)
            first = next((number for number, level in enumerate(levels) if level > SOUND), None)
            if first is not None:
                playback.silence_s = playback.audio_s + first * frame.duration / len(levels)
                self._tell_if_heard(playback)
        playback.audio_s += frame.duration

    def _tell_if_heard(self, playback: Playback) -> None:
        """Tells once that its first sound is heard: then, as it can be cut off before."""
        at = playback.first_sound_at
        if at is None or playback.is_told:
            return
        if (left_s := at - time.monotonic()) > 0 and playback.ended_at is None:
            asyncio.get_running_loop().call_later(left_s, self._tell_if_heard, playback)
        else:
            playback.is_told = True
            self._ears.on_heard(playback)
