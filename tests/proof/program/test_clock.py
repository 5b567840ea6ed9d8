"""A clock that is set in a call, as by NTP or a person, changes no figure: none is negative, none an hour long."""

import asyncio
import time

import pytest

from tests.fakes.call import FakeCall, until
from tests.fakes.realtime import Reply

HOUR_S = 3600.0


class Clock:
    """`time.time()`, to be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real, self.off_s = time.time, 0.0
        monkeypatch.setattr(time, "time", lambda: self._real() + self.off_s)


@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
@pytest.mark.parametrize("when", ["the user speaks", "the user waits", "the agent speaks", "nobody answers"])
async def test_a_clock_that_is_set_changes_no_figure(by_s: float, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def now(moment: str) -> None:
        if moment == when:
            clock.off_s = by_s

    async with FakeCall(Reply(audio_s=0.1)) as call:
        await call.reported()
        call.vad.speech_began()
        await until(lambda: call.session.user_state == "speaking")
        await asyncio.sleep(0.6)
        now("the user speaks")
        call.vad.speech_ended(0.05)
        await until(lambda: call.session.user_state == "listening")
        now("the user waits")
        await asyncio.sleep(0.2)
        generation = call.model.begin()
        generation.say("Yes.", 0.3)
        await asyncio.sleep(0.1)
        now("the agent speaks")
        generation.end()
        generation.report()
        answer = await call.reported(2)
        call.vad.speech_began()
        await until(lambda: call.session.user_state == "speaking")
        await asyncio.sleep(0.6)
        call.vad.speech_ended(0.05)
        await until(lambda: call.session.user_state == "listening")
        now("nobody answers")
        await asyncio.sleep(0.2)
        session = await call.end()

    assert answer.wait.time_to_first_audio_s == pytest.approx(0.25, abs=0.2)
    (unanswered,) = call.unanswered
    assert unanswered.waited_s == pytest.approx(0.25, abs=0.2)
    assert session.sums.user_turns == 2
    for record in call.kept.records:
        for name, value in record.as_dict().items():
            if name.endswith("_s") and value is not None:
                assert 0 <= value < 20, f"{record.kind}: {name} = {value}"
