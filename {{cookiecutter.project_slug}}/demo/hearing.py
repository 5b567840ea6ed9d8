"""When somebody speaks, and when they stopped: by energy, as the local Gemini Live server hears it."""

import numpy as np

SAMPLE_RATE = 16000
LOUD = 600
"""Root mean square, of 32768; below is silence."""
START_S = 0.1
END_S = 0.3
"""How long it must be loud, or silent, until it counts. Gemini waits about as long."""


class Hearing:
    """Tells the start and the end of speech in PCM16 audio that comes piece by piece."""

    def __init__(self) -> None:
        self.speaking = False
        self._changed_s = 0.0

    def hear(self, pcm: bytes) -> str | None:
        """Takes the next piece; `"started"`, `"ended"`, or None where nothing changed."""
        samples = np.frombuffer(pcm, np.int16)
        if not len(samples):
            return None
        is_loud = float(np.std(samples)) > LOUD
        if is_loud == self.speaking:
            self._changed_s = 0.0
            return None
        self._changed_s += len(samples) / SAMPLE_RATE
        if self._changed_s < (END_S if self.speaking else START_S) - 0.001:
            return None
        self.speaking, self._changed_s = is_loud, 0.0
        return "started" if is_loud else "ended"
