"""Makes `speech.wav` and `speech.toml` again: `python -m tests.proof.speech` (needs espeak-ng; see README.md)."""

import io
import json
import subprocess
import wave

import numpy as np
from livekit import rtc

from demo.speech import TABLE, WAV, WAV_SAMPLE_RATE, Samples

TEXTS = {
    "rain": "Will it rain this afternoon?",
    "moon": "How far away is the moon?",
    "tune": "Please play me a tune.",
    "wait": "Wait, is it warm in Spain?",
}
"""All end in a sound whose end Silero's VAD hears within 60 ms (others: 140 ms): a stopwatch can be exact."""
HEAD = """\
# Where each utterance lies in speech.wav: 16 kHz, mono, PCM16. Nobody's voice: espeak-ng computed it (en-us+f3).
"""
GAP = np.zeros(WAV_SAMPLE_RATE // 20, np.int16)
WINDOW = WAV_SAMPLE_RATE // 100
AUDIBLE = 200
"""Root mean square of a 10 ms window, of 32768; what is below is the tail of a sound, no speech."""


def speak(text: str) -> Samples:
    """The text, as espeak-ng says it, without the silence around it."""
    command = ["espeak-ng", "-v", "en-us+f3", "-s", "185", "--stdout", text]
    spoken = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(spoken)) as file:
        rate, data = file.getframerate(), file.readframes(file.getnframes())
    frame = rtc.AudioFrame(data[: len(data) // 2 * 2], rate, 1, len(data) // 2)
    resampler = rtc.AudioResampler(rate, WAV_SAMPLE_RATE)
    frames = [*resampler.push(frame), *resampler.flush()]
    samples = np.concatenate([np.frombuffer(frame.data, np.int16) for frame in frames])
    loud = [i for i in range(0, len(samples), WINDOW) if np.std(samples[i : i + WINDOW]) > AUDIBLE]
    return samples[loud[0] : loud[-1] + WINDOW]


def main() -> None:
    pieces: list[Samples] = [GAP]
    table = HEAD
    for name, text in TEXTS.items():
        start, samples = sum(map(len, pieces)), speak(text)
        pieces += [samples, GAP]
        table += f"\n[{name}]\ntext = {json.dumps(text)}\nstart_sample = {start}\nend_sample = {start + len(samples)}\n"
    with wave.open(str(WAV), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(WAV_SAMPLE_RATE)
        file.writeframes(np.concatenate(pieces).tobytes())
    TABLE.write_text(table, "utf-8", newline="\n")


if __name__ == "__main__":
    main()
