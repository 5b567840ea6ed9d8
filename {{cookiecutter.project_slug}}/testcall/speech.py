"""What the caller says: the demo's utterances, or those of a WAV file, cut where it is silent."""

import wave
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from testcall.stopwatch import BLOCK, BLOCK_S, SAMPLE_RATE, Samples, is_loud

CUT_S = 0.5
"""Where a WAV file is silent for so long, one thing that the caller says ends."""


class SpeechError(Exception):
    """There is nothing to say; the text says why."""


@dataclass(frozen=True)
class Utterance:
    """One thing that the caller says: mono PCM16 at `SAMPLE_RATE`."""

    text: str
    samples: Samples


def utterances(wav: Path | None) -> list[Utterance]:
    """What there is to say.

    Raises:
        SpeechError: there is nothing.
    """
    if wav is not None:
        return _of_wav(wav)
    try:
        demo = import_module("demo.speech")  # not by a statement: mypy would miss it where demo/ was deleted
    except ImportError:
        raise SpeechError("demo/ was deleted, and with it what the caller says: give --wav FILE") from None
    return [Utterance(each.text, each.resampled(SAMPLE_RATE)) for each in demo.utterances().values()]


def _of_wav(path: Path) -> list[Utterance]:
    try:
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                raise SpeechError(f"--wav {path}: its samples have {8 * file.getsampwidth()} bits; 16 are needed")
            channels, rate = file.getnchannels(), file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)[::channels]
    except (OSError, EOFError, wave.Error) as error:
        raise SpeechError(f"--wav {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    positions = np.arange(len(samples) * SAMPLE_RATE // rate) * rate / SAMPLE_RATE
    samples = np.interp(positions, np.arange(len(samples)), samples).astype(np.int16)
    spoken = [Utterance(f"{path.name}, part {number}", part) for number, part in enumerate(_parts(samples), 1)]
    if not spoken:
        raise SpeechError(f"--wav {path}: nothing in it can be heard")
    return spoken


def _parts(samples: Samples) -> list[Samples]:
    loud = [start for start in range(0, len(samples), BLOCK) if is_loud(samples[start : start + BLOCK])]
    parts: list[tuple[int, int]] = []
    for start in loud:
        if parts and start - parts[-1][1] < CUT_S / BLOCK_S * BLOCK:
            parts[-1] = (parts[-1][0], start + BLOCK)
        else:
            parts.append((start, start + BLOCK))
    return [samples[start:end] for start, end in parts]
