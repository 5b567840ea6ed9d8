"""A silence is an event, over the real wire, with the real voice detection: told once, as soon as it is certain."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from demo.scenario import Scenario
from tests.proof.scenarios import load
from tests.proof.wire.finished import FinishedCall, finished_call

LIMIT_S = 4.0
AT_ONCE = 4
"""Calls that share the cores; most of a call is waiting."""

SILENT = {
    "ignored": "no_response",
    "transcription-only": "no_response",
    "empty-turn": "response_without_audio",
    "empty-turn-no-usage": "no_response",
    "rejected": "response_rejected",
    "text-only": "response_without_audio",
}
"""Scenarios in which one turn is not answered, and why."""
ANSWERED = ("normal", "interrupted", "interrupted-complete", "barge-in", "tool-call-slow", "cough", "typed")


def shortened(scenario: Scenario) -> Scenario:
    """With the pauses of somebody who does not wait for 8 s."""
    turns = (turn.model_copy(update={"pause_s": min(turn.pause_s, LIMIT_S + 0.7)}) for turn in scenario.turns)
    return scenario.model_copy(update={"turns": tuple(turns)})


@pytest.fixture(scope="module")
def calls() -> Mapping[str, FinishedCall]:
    """Each scenario, played once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def play(name: str) -> FinishedCall:
        async with room:
            return await finished_call(shortened(load(name)), env={"METRICS_ANSWER_LIMIT_S": str(LIMIT_S)})

    async def all_of_them() -> list[FinishedCall]:
        return await asyncio.gather(*(play(name) for name in (*SILENT, *ANSWERED)))

    return dict(zip((*SILENT, *ANSWERED), asyncio.run(all_of_them()), strict=True))


def unanswered(call: FinishedCall) -> list[Any]:
    return [record for record in call.records if record["kind"] == "unanswered"]


@pytest.mark.parametrize("name", SILENT)
def test_a_turn_that_nobody_answers_is_told_once(calls: Mapping[str, FinishedCall], name: str) -> None:
    call = calls[name]
    (record,) = unanswered(call)
    assert record["reason"] == SILENT[name]
    assert call.session["unanswered"] == 1
    assert sum("nobody answered the caller" in line for line in call.reports) == 1
    assert sum("and heard nothing" in line for line in call.log) == 1
    if name in ("ignored", "transcription-only"):
        assert record["waited_s"] == pytest.approx(LIMIT_S, abs=0.3)
    else:
        assert record["waited_s"] < LIMIT_S - 1, "as soon as it is certain"


@pytest.mark.parametrize("name", ANSWERED)
def test_a_call_whose_turns_are_answered_has_none(calls: Mapping[str, FinishedCall], name: str) -> None:
    call = calls[name]
    assert unanswered(call) == []
    assert call.session["unanswered"] == 0
    turns = {"normal": 4, "interrupted": 2, "interrupted-complete": 2, "barge-in": 1, "tool-call-slow": 1}
    if name in turns:
        assert call.session["user_turns"] == turns[name]
