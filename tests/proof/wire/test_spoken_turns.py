"""A long conversation, spoken turn by turn: every reported wait is that of a stopwatch at the user's end."""

from itertools import cycle, islice

import pytest

from demo.scenario import Scenario, Turn
from demo.speech import utterances
from tests.proof.counts import SPOKEN_TURNS
from tests.proof.wire.finished import finished_call
from tests.proof.wire.test_conversation import STOPWATCH_S

LATENCIES_S = (0.1, 0.35, 0.6, 0.9, 1.4)


@pytest.mark.timing
@pytest.mark.skipif(not SPOKEN_TURNS, reason="takes minutes: make proof-long; test_conversation.py has four turns")
async def test_every_wait_is_that_of_a_stopwatch_at_the_users_end() -> None:
    said = islice(zip(cycle(utterances()), cycle(LATENCIES_S), strict=False), SPOKEN_TURNS)
    turns = tuple(Turn(user=user, text="Yes.", audio_s=0.5, latency_s=latency_s) for user, latency_s in said)
    done = await finished_call(Scenario(turns=turns))
    assert len(done.responses) == SPOKEN_TURNS + 1
    waits = [
        heard.first_audio_at - (spoken.ended_at or 0) for spoken, heard in zip(done.spoken, done.heard[1:], strict=True)
    ]
    reported = [record["time_to_first_audio_s"] for record in done.responses[1:]]
    assert reported == pytest.approx(waits, abs=STOPWATCH_S)
    assert done.problems == []
