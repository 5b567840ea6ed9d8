"""What Prometheus and OpenTelemetry are told of a record: what is known, and why the rest is not."""

import time
from collections.abc import Mapping
from typing import Any

import pytest

from realtime_metrics.records import TOKEN_FIELDS, ConnectionRecord, ResponseRecord, SessionRecord, utc_iso
from realtime_metrics.sinks import AnyRecord, figures
from realtime_metrics.sinks.figures import Figure, expected, measurements
from realtime_metrics.sinks.prometheus import metric_name

ORIGIN: dict[str, Any] = {
    "timestamp": utc_iso(time.time()),
    "session_id": "AJ_1",
    "room": "kitchen",
    "agent_name": "agent",
    "provider": "Gemini",
    "model": "gemini-live",
    "voice": "Puck",
}
COUNTED = dict.fromkeys(TOKEN_FIELDS, 0) | {"input_tokens": 12, "input_audio_tokens": 12, "total_tokens": 12}
UNCOUNTED = dict.fromkeys(TOKEN_FIELDS)


def response(tokens: Mapping[str, int | None] = COUNTED, **known: Any) -> ResponseRecord:
    nothing: dict[str, Any] = {
        "time_to_first_audio_s": None,
        "time_to_first_audio_from": None,
        "time_to_first_audio_reason": None,
        "time_to_generation_s": None,
        "generation_to_audio_s": None,
        "playback_latency_s": None,
        "over_latency_budget": None,
        "duration_s": None,
        "duration_reason": None,
        "framework_duration_s": None,
        "tokens_per_second": None,
        "interrupted": False,
    }
    return ResponseRecord(
        **ORIGIN, turn=1, request_id="GR_1", label="label", usage_messages=1, **{**nothing, **tokens, **known}
    )


def told(record: AnyRecord) -> dict[tuple[str, ...], float]:
    return {(metric_name(figure), *labels): value for figure, value, labels in measurements(record)}


def test_a_response_of_which_everything_is_known() -> None:
    record = response(
        time_to_first_audio_s=0.6,
        time_to_first_audio_from="user_speech_end",
        over_latency_budget=True,
        interrupted=True,
        cost_usd=0.25,
    )
    assert told(record) == {
        ("realtime_responses",): 1,
        ("realtime_interrupted_responses",): 1,
        ("realtime_over_budget_responses",): 1,
        ("realtime_time_to_first_audio_seconds", "user_speech_end"): 0.6,
        ("realtime_tokens", "input", "audio"): 12,
        ("realtime_cost_usd",): 0.25,
    }


def test_what_is_unknown_is_counted_under_its_reason_and_never_as_0() -> None:
    record = response(
        UNCOUNTED,
        time_to_first_audio_reason="no audio: the response was a tool call",
        usage_reason="no usage message arrived",
        cost_reason="no usage message arrived",
    )
    assert told(record) == {
        ("realtime_responses",): 1,
        ("realtime_time_to_first_audio_unknown", "no audio: the response was a tool call"): 1,
        ("realtime_usage_unknown", "no usage message arrived"): 1,
        ("realtime_cost_unknown", "no usage message arrived"): 1,
    }


def test_a_reason_does_not_carry_a_single_case_into_a_label() -> None:
    reason = "malformed usage message: prompt_token_count is -5"
    record = response(UNCOUNTED, time_to_first_audio_s=1.0, usage_reason=reason, cost_reason=reason)
    assert ("realtime_usage_unknown", "malformed usage message") in told(record)
    assert ("realtime_cost_unknown", "malformed usage message") in told(record)


def test_a_wait_of_0_s_is_a_wait() -> None:
    record = response(time_to_first_audio_s=0.0, time_to_first_audio_from="reply_requested")
    assert told(record)["realtime_time_to_first_audio_seconds", "reply_requested"] == 0.0


@pytest.mark.parametrize(("go_away", "reason"), [(True, "go_away"), (False, "connection_lost"), (None, "unknown")])
def test_a_reconnect_is_counted_by_why_it_was_needed(go_away: bool | None, reason: str) -> None:
    record = ConnectionRecord(**ORIGIN, connection_s=0.3, reconnect=True, resumed=None, go_away=go_away)
    assert told(record) == {("realtime_connection_seconds",): 0.3, ("realtime_reconnects", reason): 1}


def test_a_session_tells_its_end_its_cost_and_its_faults() -> None:
    counts: dict[str, Any] = {
        "responses": 3,
        "interrupted": 1,
        "silent": 2,
        "without_usage": 0,
        "connections": 1,
        "reconnects": 0,
    }
    unknown: dict[str, Any] = dict.fromkeys(
        [
            *("over_latency_budget", "latency_budget_s", "go_aways", "resumptions", "context_compression"),
            *(f"time_to_first_audio_{what}" for what in ("p50_s", "p95_s", "max_s", "reason")),
        ]
    )
    record = SessionRecord(
        **ORIGIN,
        **counts,
        **unknown,
        context_compressions_seen=0,
        errors={"rate_limited": 2},
        unbooked_total_tokens=7,
        duration_s=61.5,
        end_reason="user_initiated",
        cost_usd=0.5,
        price_data="genai-prices",
        sinks={"jsonl": {"written": 4, "failed": 1, "dropped": 0}},
    )
    assert told(record) == {
        ("realtime_sessions", "user_initiated"): 1,
        ("realtime_session_duration_seconds",): 61.5,
        ("realtime_session_cost_usd",): 0.5,
        ("realtime_silent_responses",): 2,
        ("realtime_errors", "rate_limited"): 2,
        ("realtime_unbooked_tokens",): 7,
        ("realtime_lost_records", "jsonl failed"): 1,
        ("realtime_lost_records", "jsonl too slow"): 0,
    }


def test_every_figure_that_needs_no_reason_is_there_from_the_first_connection_on() -> None:
    without_reason = {
        figure for figure in vars(figures).values() if isinstance(figure, Figure) and "reason" not in figure.labels
    }
    assert {figure for figure, _ in expected()} | {figures.CONNECTION} == without_reason
