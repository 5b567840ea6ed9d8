"""Speech of the owner's own: a WAV file, or a sentence, which espeak-ng speaks (`uv run --group speech …`)."""

import ctypes
import wave

import numpy as np

from demo.hearing import LOUD, SAMPLE_RATE
from demo.speech import Samples, Utterance

WINDOW_S = 0.01
VOICE = "en-us+f3"
RETRIEVAL, UTF8 = 2, 1  # espeak-ng's speak_lib.h


class SpeechError(ValueError):
    """What cannot be said; the text says why."""


def own_utterance(name: str) -> Utterance:
    """What a `.wav` file holds, whose words nobody knows; or a sentence, spoken.

    Raises:
        SpeechError: the file cannot be read, or nothing can be heard in it; or espeak-ng is not installed.
    """
    is_file = name.endswith(".wav")
    rate, samples = _read(name) if is_file else _speak(name)
    positions = np.arange(0, len(samples), rate / SAMPLE_RATE)
    speech = _without_silence(np.interp(positions, np.arange(len(samples)), samples).astype(np.int16))
    if not len(speech):
        raise SpeechError(f"{name!r}: nothing can be heard in it")
    return Utterance(name, "" if is_file else name, speech)


def _read(path: str) -> tuple[int, Samples]:
    try:
        with wave.open(path) as file:
            if file.getsampwidth() != 2:
                raise SpeechError(f"{path!r} has {8 * file.getsampwidth()} bits a sample: 16 are needed")
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
            return file.getframerate(), samples.reshape(-1, file.getnchannels())[:, 0]
    except (OSError, EOFError, wave.Error) as error:
        raise SpeechError(f"{path!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _speak(text: str) -> tuple[int, Samples]:
    try:
        import espeakng_loader
    except ImportError:
        raise SpeechError(
            f"{text!r} needs espeak-ng, which speaks it: uv run --group speech -m demo …; or name a .wav file"
        ) from None
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    pieces: list[bytes] = []

    def take(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _: int) -> int:
        if count:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    rate = library.espeak_Initialize(RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0)
    on_samples = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)(take)
    library.espeak_SetSynthCallback(on_samples)
    library.espeak_SetVoiceByName(VOICE.encode())
    words = text.encode() + b"\0"
    library.espeak_Synth(words, len(words), 0, 0, 0, UTF8, None, None)
    return rate, np.frombuffer(b"".join(pieces), np.int16)


def _without_silence(samples: Samples) -> Samples:
    """From the first to the last window that the local server would call loud."""
    size = round(WINDOW_S * SAMPLE_RATE)
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    loud = np.flatnonzero(windows.std(axis=1) > LOUD)
    return windows[loud[0] : loud[-1] + 1].reshape(-1) if len(loud) else samples[:0]
