"""What the demo's user can say: the utterances of `speech.wav` by name, or something of one's own."""

import tomllib
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent
WAV = FOLDER / "speech.wav"
TABLE = FOLDER / "speech.toml"
WAV_SAMPLE_RATE = 16000

COUGH = "cough"
COUGH_S = 0.25

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Utterance:
    """One thing that the user says.

    Attributes:
        name: how scenarios call it.
        text: the words.
        samples: mono PCM16 at `WAV_SAMPLE_RATE`, from the first to the last sample of real speech.
    """

    name: str
    text: str
    samples: Samples

    @property
    def duration_s(self) -> float:
        return len(self.samples) / WAV_SAMPLE_RATE

    def resampled(self, sample_rate: int) -> Samples:
        """The samples at a whole multiple of `WAV_SAMPLE_RATE`."""
        factor = sample_rate // WAV_SAMPLE_RATE
        positions = np.arange(len(self.samples) * factor) / factor
        return np.interp(positions, np.arange(len(self.samples)), self.samples).astype(np.int16)


@cache
def utterances() -> dict[str, Utterance]:
    """All utterances by name, in the order of the WAV file; then a cough, which is too short for a word."""
    with wave.open(str(WAV)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    table = tomllib.loads(TABLE.read_text("utf-8"))
    spoken = {
        name: Utterance(name, entry["text"], samples[entry["start_sample"] : entry["end_sample"]])
        for name, entry in table.items()
    }
    return {**spoken, COUGH: Utterance(COUGH, "", _noise(COUGH_S))}


@cache
def utterance(said: str) -> Utterance:
    """The utterance with this name, else what a `.wav` file holds, else the sentence itself, spoken.

    Raises:
        ValueError: there is none; the text says why.
    """
    if said in utterances():
        return utterances()[said]
    if not said.endswith(".wav") and " " not in said:
        names = ", ".join(utterances())
        raise ValueError(f"{said!r} is not an utterance; there are: {names}; or a .wav file, or a sentence")
    from demo.own_speech import own_utterance

    return own_utterance(said)


def _noise(duration_s: float) -> Samples:
    """A burst of noise that dies away."""
    fading = np.linspace(1, 0.2, round(duration_s * WAV_SAMPLE_RATE))
    return (np.random.default_rng(1).normal(0, 4000, len(fading)) * fading).astype(np.int16)
