"""By the ear: over many spoken turns, the reported waits are those of a stopwatch at the user's end, in noise, too."""

import asyncio
import statistics
from itertools import cycle, islice

import pytest

from demo.call import Record
from demo.scenario import Scenario, Turn
from demo.speech import utterances
from tests.proof.counts import SPOKEN_TURNS
from tests.proof.wire.finished import FinishedCall, finished_call

pytestmark = pytest.mark.timing

LATENCIES_S = (0.1, 0.35, 0.6, 0.9, 1.4)
VOICE_RMS = 3250
"""Of the utterances, of 32768."""
BIAS_S = 0.03
WORST_S = 0.08
WORST_IN_NOISE_S = 0.15


def conversation(number: int, noise_rms: float = 0.0) -> list[tuple[float, Record]]:
    """Waits by the stopwatch, each beside the record of the same answer. Two calls at once: most of it is waiting."""

    async def both() -> list[FinishedCall]:
        said = islice(zip(cycle(utterances()), cycle(LATENCIES_S), strict=False), number // 2)
        turns = tuple(Turn(user=user, text="Yes.", audio_s=0.4, latency_s=latency_s) for user, latency_s in said)
        scenario = Scenario(turns=turns)
        return await asyncio.gather(*(finished_call(scenario, noise_rms=noise_rms) for _ in range(2)))

    pairs = []
    for done in asyncio.run(both()):
        assert done.problems == []
        answers = done.responses[1:]
        assert len(answers) == len(done.spoken) == number // 2
        for spoken, heard, record in zip(done.spoken, done.heard[1:], answers, strict=True):
            pairs.append((heard.first_audio_at - (spoken.ended_at or 0), record))
    return pairs


def test_waits_are_those_of_a_stopwatch() -> None:
    pairs = conversation(SPOKEN_TURNS)
    assert {record["time_to_first_audio_by"] for _, record in pairs} == {"audio"}
    errors_s = [record["time_to_first_audio_s"] - waited_s for waited_s, record in pairs]
    bias_s = statistics.mean(errors_s)
    print(f"clean: {len(pairs)} turns, bias {bias_s * 1e3:+.0f} ms, worst {worst_s(errors_s) * 1e3:.0f} ms")  # noqa: T201
    assert abs(bias_s) <= BIAS_S, errors_s
    assert worst_s(errors_s) <= WORST_S, errors_s


def test_in_steady_noise_20_db_below_the_voice_waits_are_near_or_say_that_the_voice_detection_told_them() -> None:
    pairs = conversation(SPOKEN_TURNS // 2, noise_rms=VOICE_RMS / 10)
    by_ear_s = [
        record["time_to_first_audio_s"] - waited_s
        for waited_s, record in pairs
        if record["time_to_first_audio_by"] == "audio"
    ]
    print(f"noise: {len(pairs)} turns, {len(by_ear_s)} by the ear, worst {worst_s(by_ear_s) * 1e3:.0f} ms")  # noqa: T201
    assert {record["time_to_first_audio_by"] for _, record in pairs} <= {"audio", "voice_detection"}
    assert worst_s(by_ear_s) <= WORST_IN_NOISE_S, by_ear_s


def worst_s(errors_s: list[float]) -> float:
    return max((abs(error_s) for error_s in errors_s), default=0.0)
