"""A call that costs more than `METRICS_COST_LIMIT_USD`, over the real wire."""

import pytest

from demo.scenario import Expect
from tests.proof.scenarios import load
from tests.proof.wire.finished import finished_call


async def test_the_agent_says_goodbye_and_ends_the_call() -> None:
    scenario = load("cost-limit")
    ended = await finished_call(scenario)
    *answers, goodbye = ended.responses
    limit_usd = scenario.cost_limit_usd
    assert limit_usd is not None
    assert ended.left
    assert ended.returncode == 0
    assert ended.session["end_reason"] == "cost_limit"
    costs_usd = [answer["cost_usd"] for answer in answers]
    assert sum(costs_usd[:-1]) <= limit_usd < sum(costs_usd)
    assert goodbye["time_to_first_audio_from"] == "reply_requested"
    assert goodbye["cost_usd"], "it comes on top"
    assert ended.session["cost_usd"] == pytest.approx(sum(response["cost_usd"] for response in ended.responses))
    assert [heard.cleared for heard in ended.heard] == [False] * 4, "the goodbye is heard to its end"
    told = [line for line in ended.problems if "METRICS_COST_LIMIT_USD" in line]
    assert ["above it the call ends" in line for line in told] == [True, False]
    assert "says goodbye" in told[1]


async def test_a_call_that_costs_less_goes_on() -> None:
    cheap = load("cost-limit").model_copy(update={"turns": (), "expect": Expect()})
    ended = await finished_call(cheap)
    assert not ended.left
    assert ended.session["end_reason"] != "cost_limit"
    assert not ended.problems
