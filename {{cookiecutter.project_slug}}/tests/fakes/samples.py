"""Records as sinks get them."""

from dataclasses import replace
from typing import Any

from realtime_metrics.records import TOKEN_FIELDS, ConnectionRecord, ResponseRecord, SessionRecord

ORIGIN: dict[str, Any] = {
    "timestamp": "2026-11-23T12:00:00.000+00:00",
    "session_id": "AJ_1",
    "room": "kitchen",
    "agent_name": "my-agent",
    "provider": "Gemini",
    "model": "gemini-2.5-flash-native-audio-preview-12-2025",
    "voice": "Puck",
}
TOKENS: dict[str, Any] = {
    **dict.fromkeys(TOKEN_FIELDS, 0),
    "input_tokens": 140,
    "input_audio_tokens": 100,
    "input_text_tokens": 40,
    "output_tokens": 65,
    "output_audio_tokens": 60,
    "output_text_tokens": 5,
    "total_tokens": 205,
}


def connection_record(**changes: Any) -> ConnectionRecord:
    """The model was connected."""
    record = ConnectionRecord(**ORIGIN, connection_s=0.123, reconnect=False, resumed=False, go_away=False)
    return replace(record, **changes)


def response_record(**changes: Any) -> ResponseRecord:
    """An answer, before it is priced."""
    record = ResponseRecord(
        **ORIGIN,
        **TOKENS,
        turn=2,
        request_id="GR_db6e71952540",
        label="livekit.plugins.google.realtime.realtime_api.RealtimeModel",
        time_to_first_audio_s=0.616,
        time_to_first_audio_from="user_speech_end",
        time_to_first_audio_reason=None,
        time_to_generation_s=0.4,
        generation_to_audio_s=0.2,
        playback_latency_s=0.016,
        over_latency_budget=None,
        duration_s=2.4,
        duration_reason=None,
        framework_duration_s=2.6,
        tokens_per_second=27.1,
        usage_messages=1,
        interrupted=False,
    )
    return replace(record, **changes)


def session_record(**changes: Any) -> SessionRecord:
    """A session of one answer."""
    record = SessionRecord(
        **ORIGIN,
        **TOKENS,
        responses=1,
        interrupted=0,
        silent=0,
        without_usage=0,
        over_latency_budget=None,
        latency_budget_s=None,
        connections=1,
        reconnects=0,
        go_aways=0,
        resumptions=0,
        context_compression=True,
        context_compressions_seen=0,
        errors={"reply_timeout": 1},
        unbooked_total_tokens=0,
        time_to_first_audio_p50_s=0.616,
        time_to_first_audio_p95_s=0.616,
        time_to_first_audio_max_s=0.616,
        time_to_first_audio_reason=None,
        duration_s=30.0,
        price_data="genai-prices",
        end_reason="user_initiated",
        sinks={"console": {"written": 2, "failed": 0, "dropped": 0}},
    )
    return replace(record, **changes)
