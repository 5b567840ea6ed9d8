"""`METRICS_COST_LIMIT_USD`: a warning at 80 %, above it a goodbye and the end; and what is unknown is told."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from realtime_metrics import limit
from realtime_metrics.limit import GOODBYE, CostLimit
from realtime_metrics.settings import Settings
from tests.fakes.call import FakeCall, until
from tests.fakes.realtime import FakeRealtimeModel, Reply, Usage

ONE_CENT = Usage(input_audio=3333)
"""At 3 USD per million audio tokens; what else it has costs little beside it."""
A_LITTLE = Usage(input_audio=10, input_text=0, output_audio=1, output_text=0)


class UnpricedModel(FakeRealtimeModel):
    @property
    def model(self) -> str:
        return "no-such-model"


@asynccontextmanager
async def limited_call(
    limit_usd: float, *replies: Reply, model: FakeRealtimeModel | None = None
) -> AsyncIterator[tuple[FakeCall, list[str]]]:
    """A call with a limit, and what ended it."""
    ends: list[str] = []
    model = model or FakeRealtimeModel()
    async with FakeCall(*replies, settings=Settings(model=model.model), model=model) as call:
        CostLimit(limit_usd, call.session, call.recorder, lambda: ends.append(call.recorder.end_reason or ""))
        yield call, ends


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    return [message for message in said if "METRICS_COST_LIMIT_USD" in message]


async def test_below_80_percent_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with limited_call(0.1, Reply("Hello.", usage=(ONE_CENT,))) as (call, ends):
        await call.reported()
    assert not warnings(caplog)
    assert not ends


async def test_at_80_percent_the_log_warns_once_and_the_call_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with limited_call(0.025, Reply("Hello.", usage=(ONE_CENT,))) as (call, ends):
        await call.reported(1)
        await call.model.play(Reply("Fine.", usage=(ONE_CENT,)))
        await call.reported(2)
        await call.model.play(Reply("Yes.", usage=(A_LITTLE,)))
        await call.reported(3)
    (warning,) = warnings(caplog)
    assert warning.startswith("this call has cost $0.02")
    assert warning.endswith("METRICS_COST_LIMIT_USD is 0.025: above it the call ends")
    assert not ends


async def test_above_the_limit_the_agent_says_goodbye_and_the_call_ends() -> None:
    async with limited_call(0.005, Reply("Hello.", usage=(ONE_CENT,)), Reply("Goodbye.")) as (call, ends):
        await until(lambda: bool(ends))
        assert GOODBYE in call.model.requests
        goodbye = await call.reported(2)
        session = await call.end()
    assert ends == ["cost_limit"]
    assert session.end_reason == "cost_limit"
    assert goodbye.cost_usd
    assert session.cost_usd == pytest.approx(sum(record.cost_usd or 0 for record in call.responses))


async def test_usage_that_no_response_holds_counts_too() -> None:
    async with limited_call(0.005, Reply("Hello.", usage=(A_LITTLE,))) as (call, ends):
        await call.reported()
        generation = await call.model.play(Reply("Fine.", usage=(A_LITTLE,)))
        await call.reported(2)
        assert GOODBYE not in call.model.requests
        generation.report(ONE_CENT)
        await until(lambda: GOODBYE in call.model.requests)
        await call.model.play(Reply("Goodbye."))
        await until(lambda: bool(ends))
        session = await call.end()
    assert session.unbooked_cost_usd == pytest.approx(0.011, rel=0.1)


async def test_without_a_goodbye_the_call_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "GOODBYE_S", 0.3)
    async with limited_call(0.005, Reply("Hello.", usage=(ONE_CENT,))) as (call, ends):
        await until(lambda: GOODBYE in call.model.requests)
        await asyncio.sleep(0.1)
        assert not ends, "it has its time"
        await until(lambda: bool(ends))


async def test_where_the_price_is_unknown_the_log_says_once_that_the_limit_cannot_be_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with limited_call(0.005, Reply("Hello.", usage=(ONE_CENT,)), model=UnpricedModel()) as (call, ends):
        assert len(warnings(caplog)) == 1, "before the first response"
        await call.reported(1)
        await call.model.play(Reply("Fine.", usage=(ONE_CENT,)))
        await call.reported(2)
    (warning,) = warnings(caplog)
    assert warning.startswith("METRICS_COST_LIMIT_USD cannot be kept, it counts what is known: ")
    assert "no-such-model" in warning
    assert not ends
