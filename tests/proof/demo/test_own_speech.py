"""Speech of the owner's own: what a WAV file holds, and sentences."""

import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from demo.own_speech import SpeechError, own_utterance
from demo.speech import WAV_SAMPLE_RATE, Samples, utterance, utterances


def write(path: Path, samples: Samples, *, width: int = 2) -> str:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, width, WAV_SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return str(path)


def test_the_silence_around_a_recording_is_left_out(tmp_path: Path) -> None:
    rain, silence = utterances()["rain"], np.zeros(WAV_SAMPLE_RATE, np.int16)
    recorded = own_utterance(write(tmp_path / "own.wav", np.concatenate([silence, rain.samples, silence])))
    assert recorded.duration_s == pytest.approx(rain.duration_s, abs=0.1)
    assert recorded.text == ""


def test_silence_noise_and_other_formats_are_told(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="nothing can be heard"):
        own_utterance(write(tmp_path / "silent.wav", np.zeros(8000, np.int16)))
    with pytest.raises(SpeechError, match="8 bits a sample: 16 are needed"):
        own_utterance(write(tmp_path / "eight.wav", np.zeros(8000, np.int16), width=1))
    (tmp_path / "no.wav").write_text("no")
    with pytest.raises(SpeechError, match="cannot be read"):
        own_utterance(str(tmp_path / "no.wav"))


def test_a_sentence_needs_the_speech_group_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechError, match="uv run --group speech -m demo"):
        own_utterance("When do you open?")


def test_a_sentence_is_spoken() -> None:
    pytest.importorskip("espeakng_loader", reason="the group speech is not installed")
    spoken = own_utterance("When do you open on Sunday?")
    assert 0.8 < spoken.duration_s < 3
    assert spoken.text == "When do you open on Sunday?"


def test_a_name_that_is_none_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="'nobody' is not an utterance; there are: rain, "):
        utterance("nobody")
