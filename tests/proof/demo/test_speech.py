"""The demo's speech, as the real VAD hears it."""

import numpy as np
import pytest
from livekit import rtc
from livekit.agents.vad import VADEventType
from livekit.plugins import silero

from demo.hearing import Hearing
from demo.speech import COUGH, WAV_SAMPLE_RATE, Samples, utterances

SECOND = np.zeros(WAV_SAMPLE_RATE, np.int16)


@pytest.mark.parametrize("name", [name for name in utterances() if name != COUGH])
async def test_silero_hears_one_utterance_and_its_end_within_100_ms(name: str) -> None:
    utterance = utterances()[name]
    stream = silero.VAD.load().stream()
    for piece in pieces(np.concatenate([SECOND, utterance.samples, SECOND])):
        stream.push_frame(rtc.AudioFrame(piece.tobytes(), WAV_SAMPLE_RATE, 1, len(piece)))
    stream.end_input()
    events = [event async for event in stream if event.type == VADEventType.END_OF_SPEECH]
    ends = [event.timestamp - event.silence_duration for event in events]
    assert ends == [pytest.approx(1 + utterance.duration_s, abs=0.1)]


@pytest.mark.parametrize("name", utterances())
def test_the_server_hears_one_utterance(name: str) -> None:
    hearing = Hearing()
    audio = np.concatenate([SECOND, utterances()[name].samples, SECOND])
    changes = [change for piece in pieces(audio) if (change := hearing.hear(piece.tobytes()))]
    assert changes == ["started", "ended"]


def pieces(samples: Samples) -> list[Samples]:
    size = WAV_SAMPLE_RATE // 20
    return [samples[start : start + size] for start in range(0, len(samples), size)]
