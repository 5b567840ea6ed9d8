"""Records as sinks get them. A change names a field of the record, or of one of its parts, as the flat record does."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from realtime_metrics.records import (
    AnyRecord,
    ConnectionRecord,
    Origin,
    ResponseRecord,
    SessionRecord,
    UnansweredRecord,
)
from realtime_metrics.session import Sums
from realtime_metrics.usage import TOKEN_FIELDS, Tokens, UsageBook
from realtime_metrics.waits import Wait

AnyPart = TypeVar("AnyPart")

WHEN = "2026-11-23T12:00:00.000+00:00"
ORIGIN = Origin(
    session_id="AJ_1",
    room="kitchen",
    agent_name="my-agent",
    customer="acme",
    revision="0badcafe",
    provider="Gemini",
    model="gemini-2.5-flash-native-audio-preview-12-2025",
    voice="Puck",
)
TOKENS: Tokens = {
    **dict.fromkeys(TOKEN_FIELDS, 0),
    "input_tokens": 140,
    "input_audio_tokens": 100,
    "input_text_tokens": 40,
    "output_tokens": 65,
    "output_audio_tokens": 60,
    "output_text_tokens": 5,
    "total_tokens": 205,
}


def changed(part: AnyPart, **changes: Any) -> AnyPart:
    """A copy of a record, with changes at the top or in its parts.

    Raises:
        TypeError: a change names no field.
    """
    for field in fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if field.name in changes:
            continue
        if field.name == "tokens":
            changes["tokens"] = value | {name: changes.pop(name) for name in TOKEN_FIELDS if name in changes}
        elif is_dataclass(value):
            of_part = {each.name for each in fields(value)} & changes.keys()
            changes[field.name] = changed(value, **{name: changes.pop(name) for name in of_part})
    return replace(part, **changes)  # type: ignore[type-var]


def snapshot(*counts: int) -> Tokens:
    """A usage message that counts a prompt and a response, of no modality."""
    tokens: Tokens = dict.fromkeys(TOKEN_FIELDS, 0)
    tokens["input_tokens"], tokens["output_tokens"] = counts
    tokens["total_tokens"] = sum(counts)
    return tokens


def booked(*messages: Tokens) -> UsageBook:
    """The book of a response that these messages came for."""
    book = UsageBook()
    for message in messages:
        book.book(message)
    return book


def connection_record(**changes: Any) -> ConnectionRecord:
    """The model was connected."""
    record = ConnectionRecord(
        origin=ORIGIN, timestamp=WHEN, connection_s=0.123, reconnect=False, resumed=False, go_away=False
    )
    return changed(record, **changes)


def response_record(**changes: Any) -> ResponseRecord:
    """An answer, before it is priced."""
    record = ResponseRecord(
        origin=ORIGIN,
        timestamp=WHEN,
        tokens=TOKENS,
        usage_reason=None,
        cost_usd=None,
        cost_reason=None,
        cost_note=None,
        turn=2,
        request_id="GR_db6e71952540",
        label="livekit.plugins.google.realtime.realtime_api.RealtimeModel",
        wait=Wait(
            time_to_first_audio_s=0.616,
            time_to_first_audio_from="user_speech_end",
            time_to_first_audio_by="audio",
            framework_latency_s=0.5,
            time_to_generation_s=0.4,
            generation_to_audio_s=0.2,
            playback_latency_s=0.016,
            tools_s=0.0,
            duration_s=2.4,
        ),
        network_round_trip_s=None,
        over_latency_budget=None,
        framework_duration_s=2.6,
        tokens_per_second=27.1,
        audio_s=2.5,
        heard_s=2.5,
        talk_over_s=None,
        finish_reason=None,
        usage_messages=1,
        interrupted=False,
        connection_lost=False,
    )
    return changed(record, **changes)


def unanswered_record(**changes: Any) -> UnansweredRecord:
    """The caller spoke, and nothing came."""
    record = UnansweredRecord(
        origin=ORIGIN, timestamp=WHEN, user_speech_end=WHEN, waited_s=8.0, reason="no_response", request_id=None
    )
    return changed(record, **changes)


def session_record(**changes: Any) -> SessionRecord:
    """A session of one answer."""
    record = SessionRecord(
        origin=ORIGIN,
        timestamp=WHEN,
        tokens=TOKENS,
        usage_reason=None,
        cost_usd=None,
        cost_reason=None,
        cost_note=None,
        sums=Sums(
            responses=1,
            connections=1,
            errors={"reply_timeout": 1},
            greeting_s=0.4,
            user_turns=1,
            longest_wait_s=0.616,
            first_audio_after_s=1.2,
        ),
        latency_budget_s=None,
        context_compression=True,
        unbooked_total_tokens=0,
        unbooked_cost_usd=0.0,
        time_to_first_audio_p50_s=0.616,
        time_to_first_audio_p95_s=0.616,
        time_to_first_audio_max_s=0.616,
        time_to_first_audio_reason=None,
        duration_s=30.0,
        end_reason="user_initiated",
        price_data="genai-prices",
        sinks={"console": {"written": 2, "failed": 0, "dropped": 0}},
    )
    return changed(record, **changes)


EVERY_KIND: list[AnyRecord] = [connection_record(), response_record(), unanswered_record(), session_record()]
