"""When something could be heard: by the level of the audio alone. Nothing that the agent says of itself goes in."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 48000
BLOCK_S = 0.01
BLOCK = round(SAMPLE_RATE * BLOCK_S)
LOUD = 0.005 * 32768
"""Root mean square above which a block can be heard: -46 dB of full scale."""
PAUSE_S = 0.35
"""A shorter silence is inside a sound: between words."""

Samples = npt.NDArray[np.int16]


@dataclass
class Sound:
    """A stretch in which something could be heard; `time.monotonic()`."""

    began_at: float
    ended_at: float


class Ear:
    """Hears what a loudspeaker would play."""

    def __init__(self) -> None:
        self.sounds: list[Sound] = []
        self._played_until = 0.0

    def hear(self, samples: Samples, arrived_at: float) -> None:
        """Takes the next piece of audio, which plays from when it has arrived."""
        # a busy machine notices pieces late, several at once: they play one after the other all the same
        late_s = arrived_at - self._played_until
        began_at = self._played_until + 0.005 * late_s if 0 < late_s < 0.2 else arrived_at  # clocks drift apart
        self._played_until = began_at + len(samples) / SAMPLE_RATE
        for start in range(0, len(samples), BLOCK):
            if is_loud(samples[start : start + BLOCK]):
                self._add(began_at + start / SAMPLE_RATE)

    def sound_after(self, moment: float) -> Sound | None:
        """The first sound that began after a moment."""
        return next((sound for sound in self.sounds if sound.began_at > moment), None)

    def sound_at(self, moment: float) -> Sound | None:
        """The sound that could be heard at a moment."""
        return next((sound for sound in self.sounds if sound.began_at <= moment <= sound.ended_at + BLOCK_S), None)

    def quiet_s(self, now: float) -> float:
        """For how long nothing has been heard."""
        return now - self.sounds[-1].ended_at if self.sounds else now

    def _add(self, began_at: float) -> None:
        ended_at = began_at + BLOCK_S
        if self.sounds and began_at - self.sounds[-1].ended_at < PAUSE_S:
            self.sounds[-1].ended_at = ended_at
        else:
            self.sounds.append(Sound(began_at, ended_at))


def is_loud(block: Samples) -> bool:
    """Whether a block can be heard."""
    return bool(len(block)) and float(np.sqrt(np.mean(block.astype(np.float32) ** 2))) > LOUD
