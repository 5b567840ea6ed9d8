"""What Prometheus and OpenTelemetry are told of a record: what is known, and why the rest is not."""

from decimal import Decimal
from typing import Any

import pytest

from realtime_metrics.prices import Cost
from realtime_metrics.records import AnyRecord, ResponseRecord
from realtime_metrics.session import Bill, Sums
from realtime_metrics.sinks.monitoring import FIGURES, expected, measurements
from realtime_metrics.sinks.prometheus import metric_name
from realtime_metrics.usage import TOKEN_FIELDS, Tokens
from realtime_metrics.waits import Wait
from tests.fakes.samples import connection_record, response_record, session_record, unanswered_record

COUNTED: Tokens = {**dict.fromkeys(TOKEN_FIELDS, 0), "input_tokens": 12, "input_audio_tokens": 12, "total_tokens": 12}
UNCOUNTED = dict.fromkeys(TOKEN_FIELDS)


def response(**known: Any) -> ResponseRecord:
    """A response of which hardly anything is known, but for these."""
    nothing = {"wait": Wait(), "tokens": COUNTED, "audio_s": None, "heard_s": None}
    return response_record(**{**nothing, **known})


def told(record: AnyRecord) -> dict[tuple[str, ...], float]:
    return {(metric_name(figure), *labels): value for figure, value, labels in measurements(record)}


def test_a_response_of_which_everything_is_known() -> None:
    record = response(
        wait=Wait(time_to_first_audio_s=0.6, time_to_first_audio_from="user_speech_end", tools_s=0.3),
        over_latency_budget=True,
        interrupted=True,
        cost_usd=0.25,
        network_round_trip_s=0.05,
        audio_s=2.5,
        heard_s=1.5,
        talk_over_s=0.4,
        finish_reason="RESPONSE_REJECTED",
    )
    assert told(record) == {
        ("realtime_responses",): 1,
        ("realtime_interrupted_responses",): 1,
        ("realtime_over_budget_responses",): 1,
        ("realtime_time_to_first_audio_seconds", "user_speech_end"): 0.6,
        ("realtime_tokens", "input", "audio"): 12,
        ("realtime_cost_usd",): 0.25,
        ("realtime_network_round_trip_seconds",): 0.05,
        ("realtime_tool_wait_seconds",): 0.3,
        ("realtime_audio_seconds",): 2.5,
        ("realtime_heard_audio_seconds",): 1.5,
        ("realtime_talk_over_seconds",): 0.4,
        ("realtime_finished_responses", "RESPONSE_REJECTED"): 1,
    }


def test_what_is_unknown_is_counted_under_its_reason_and_never_as_0() -> None:
    record = response(
        tokens=UNCOUNTED,
        wait=Wait(time_to_first_audio_reason="no audio: the response was a tool call"),
        usage_reason="no usage message arrived",
        cost_reason="no usage message arrived",
    )
    assert told(record) == {
        ("realtime_responses",): 1,
        ("realtime_time_to_first_audio_unknown", "no audio"): 1,
        ("realtime_usage_unknown", "no usage message arrived"): 1,
        ("realtime_cost_unknown", "no usage message arrived"): 1,
    }


def test_a_reason_does_not_carry_a_single_case_into_a_label() -> None:
    reason = "malformed usage message: input_tokens is -5"
    record = response(tokens=UNCOUNTED, usage_reason=reason, cost_reason=reason)
    assert ("realtime_usage_unknown", "malformed usage message") in told(record)
    assert ("realtime_cost_unknown", "malformed usage message") in told(record)


def test_how_many_responses_lack_usage_is_no_label() -> None:
    bill, sums = Bill(), Sums(responses=4, without_usage=3)
    usage_reason = bill.usage_reason(sums)
    cost_usd, cost_reason, _ = bill.cost(usage_reason)
    record = session_record(cost_usd=cost_usd, cost_reason=cost_reason)
    assert cost_reason == "responses came without usage: 3 of 4"
    assert ("realtime_session_cost_unknown", "responses came without usage") in told(record)


def test_counts_that_contradict_each_other_in_ever_new_numbers_are_one_note() -> None:
    bill = Bill()
    for number in range(1000):
        bill.book(COUNTED, Cost(None, f"the provider's counts contradict each other: {number} is too many"))
    bill.book(COUNTED, Cost(Decimal(1)))
    _, _, note = bill.cost(None)
    assert note == "leaves out a call of the model: the provider's counts contradict each other (1000 times)"


def test_a_wait_of_0_s_is_a_wait() -> None:
    record = response(wait=Wait(time_to_first_audio_s=0.0, time_to_first_audio_from="reply_requested"))
    assert told(record)["realtime_time_to_first_audio_seconds", "reply_requested"] == 0.0


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0, 1e300])
def test_what_no_figure_can_be_reaches_no_sum(value: float) -> None:
    before = told(response())
    assert told(response(cost_usd=value, audio_s=value, talk_over_s=value)) == {
        name: count for name, count in before.items() if name[0] != "realtime_cost_unknown"
    }


@pytest.mark.parametrize(("go_away", "reason"), [(True, "go_away"), (False, "connection_lost"), (None, "unknown")])
def test_a_reconnect_is_counted_by_why_it_was_needed(go_away: bool | None, reason: str) -> None:
    record = connection_record(connection_s=0.3, reconnect=True, resumed=None, go_away=go_away)
    assert told(record) == {("realtime_connection_seconds",): 0.3, ("realtime_reconnects", reason): 1}


def test_a_turn_that_nobody_answered_is_counted_by_why() -> None:
    assert told(unanswered_record(reason="tool_running")) == {("realtime_unanswered_turns", "tool_running"): 1}


def test_a_session_tells_its_end_its_cost_and_its_faults() -> None:
    record = session_record(
        silent=2,
        errors={"rate_limited": 2},
        user_turns=3,
        longest_wait_s=8.5,
        first_audio_after_s=1.25,
        unbooked_total_tokens=7,
        duration_s=61.5,
        end_reason="user_initiated",
        cost_usd=0.5,
        sinks={"jsonl": {"written": 4, "failed": 1, "dropped": 0}},
    )
    assert told(record) == {
        ("realtime_sessions", "user_initiated"): 1,
        ("realtime_session_duration_seconds",): 61.5,
        ("realtime_session_cost_usd",): 0.5,
        ("realtime_session_longest_wait_seconds",): 8.5,
        ("realtime_session_first_audio_seconds",): 1.25,
        ("realtime_user_turns",): 3,
        ("realtime_silent_responses",): 2,
        ("realtime_errors", "rate_limited"): 2,
        ("realtime_unbooked_tokens",): 7,
        ("realtime_lost_records", "jsonl", "failed"): 1,
    }


def test_every_figure_that_needs_no_reason_is_there_from_the_first_connection_on() -> None:
    every = {figure for figures in FIGURES.values() for figure in figures}
    without_reason = {figure for figure in every if "reason" not in figure.labels}
    known_reasons = {"unanswered_turns", "lost_records"}
    assert {figure for figure, _ in expected() if figure.name not in known_reasons} == without_reason
    assert known_reasons <= {figure.name for figure, _ in expected()}


def test_no_figure_has_a_label_that_grows_with_the_calls() -> None:
    endless = {"room", "session_id", "request_id", "customer", "revision", "tools", "tool"}
    assert not [figure.name for figures in FIGURES.values() for figure in figures if endless & set(figure.labels)]
