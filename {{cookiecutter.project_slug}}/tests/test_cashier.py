"""What responses cost together, and what is said where a part of that is unknown."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from realtime_metrics.cashier import Cashier
from realtime_metrics.pipeline import Pipeline
from realtime_metrics.pricing import PriceList
from realtime_metrics.records import TOKEN_FIELDS
from tests.fakes.call import KeptRecords, until
from tests.fakes.realtime import Usage
from tests.fakes.samples import ORIGIN, TOKENS
from tests.fakes.stage import Stage
from tests.test_pipeline import HeldSink

COST_USD = 100 * 3e-6 + 40 * 0.5e-6 + 60 * 12e-6 + 5 * 2e-6
"""Of the sample's tokens, at the prices of its model."""

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def cashier() -> Cashier:
    return Cashier(PriceList())


def price(cashier: Cashier, model: str = ORIGIN["model"], reason: str | None = None, **tokens: Any) -> dict[str, Any]:
    return cashier.price({**TOKENS, **tokens}, model, "Gemini", NOON, reason)


def test_a_session_costs_what_its_responses_cost(cashier: Cashier) -> None:
    for _ in range(2):
        assert price(cashier) == {"cost_usd": pytest.approx(COST_USD), "cost_note": None}
    session = cashier.as_fields(unbooked_total_tokens=0)
    assert session["cost_usd"] == pytest.approx(2 * COST_USD)
    assert session["cost_note"] is None
    assert session["price_data"] == PriceList().source
    assert session["price_date"] == "2026-11-23"


def test_a_session_of_which_a_part_has_no_price_says_what_its_cost_leaves_out(cashier: Cashier) -> None:
    price(cashier)
    price(cashier, model="gemini-of-tomorrow")
    session = cashier.as_fields(unbooked_total_tokens=7)
    assert session["cost_usd"] == pytest.approx(COST_USD)
    assert "leaves out 1 of 2 responses" in session["cost_note"]
    assert "has no price for model 'gemini-of-tomorrow'" in session["cost_note"]
    assert "leaves out 7 tokens that arrived after" in session["cost_note"]


def test_a_session_of_which_nothing_has_a_price_costs_nobody_knows_what(cashier: Cashier) -> None:
    price(cashier, model="gemini-of-tomorrow")
    session = cashier.as_fields(unbooked_total_tokens=0)
    assert "cost_usd" not in session
    assert "has no price for model 'gemini-of-tomorrow'" in session["cost_reason"]


def test_a_response_without_usage_has_no_cost_for_the_reason_that_it_has_no_usage(cashier: Cashier) -> None:
    nothing: dict[str, Any] = dict.fromkeys(TOKEN_FIELDS)
    assert price(cashier, reason="the line was cut", **nothing) == {"cost_reason": "the line was cut"}
    assert price(cashier, **nothing) == {"cost_reason": "no usage arrived"}


def test_a_session_says_in_how_many_responses_a_modality_was_unknown(cashier: Cashier) -> None:
    price(cashier, output_text_tokens=0, output_unknown_tokens=5)
    price(cashier)
    session = cashier.as_fields(unbooked_total_tokens=0)
    assert session["cost_note"] == "in 1 responses, tokens of unknown modality are priced as text"


async def test_prices_that_fail_cost_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no market today")

    monkeypatch.setattr(PriceList, "cost", fail)
    stage = Stage()
    stage.usage("GR_1")
    session = await stage.end()
    record = stage.responses[0]
    assert (record.cost_usd, record.cost_reason) == (None, "pricing failed: RuntimeError: no market today")
    assert (session.cost_usd, session.cost_reason) == (None, record.cost_reason)


async def test_what_a_slow_sink_made_the_pipeline_drop_is_in_the_sessions_sums_all_the_same() -> None:
    held, kept = HeldSink(), KeptRecords()
    pipeline = Pipeline({"held": held, "kept": kept}, capacity=3)
    stage = Stage(pipeline=pipeline)
    stage.usage("GR_0")
    await until(lambda: not pipeline._notes)
    for number in range(1, 10):
        stage.usage(f"GR_{number}")
    held.let_go.set()
    stage.recorder.close("over")
    began = time.monotonic()
    await pipeline.drained()
    assert time.monotonic() - began < 1
    assert [record.turn for record in kept.responses] == [1, 8, 9, 10]
    assert kept.session.sinks["kept"] == {"written": 4, "failed": 0, "dropped": 6}
    assert (kept.session.responses, kept.session.total_tokens) == (10, 10 * Usage().total)
    assert kept.session.cost_usd is not None
    assert kept.responses[0].cost_usd is not None
    assert kept.session.cost_usd == pytest.approx(10 * kept.responses[0].cost_usd)
