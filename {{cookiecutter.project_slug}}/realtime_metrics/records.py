"""What is reported: one record per connection, per response, per unanswered turn and per session.

A record is made of parts, each of the module that knows it (`waits.Wait`, `usage.Tokens`, `session.Sums`); `as_dict`
is flat. Units are in the names. `None` is unknown, and the field's `…_reason` says why: there is no -1, no made-up 0.
No record holds what anybody said. docs/reference.md explains every field in full.
"""

from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from .log import visible
from .session import Sums
from .usage import Tokens
from .waits import Wait

SCHEMA = 1

Unanswered = Literal[
    "no_response", "response_without_audio", "response_rejected", "tool_running", "connection_lost", "call_ended"
]


def utc_iso(timestamp: float) -> str:
    """A `time.time()` as UTC in ISO 8601, to the millisecond."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where every record of a session comes from."""

    session_id: str
    """The LiveKit job's id."""
    room: str
    agent_name: str
    """The name LiveKit dispatches by; empty: automatic dispatch."""
    customer: str | None
    """`customer` of the job's metadata (JSON); unknown without it."""
    revision: str
    """Changes with what the model is told, see `Settings.revision`."""
    provider: str
    """As the plugin names it, e.g. `Gemini` or `Vertex AI`."""
    model: str
    voice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every record has."""

    kind: str
    schema: int = SCHEMA
    """Version of the field names."""
    timestamp: str
    """UTC, ISO 8601. Of a response: when its generation was created. Else: when the record was made."""
    origin: Origin

    def as_dict(self) -> dict[str, Any]:
        """The record as plain data, its parts flat."""
        return _flat(self)


def _flat(part: Any) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name in (field.name for field in fields(part)):
        value = getattr(part, name)
        if name == "tokens":
            flat |= value
        elif is_dataclass(value):
            flat |= _flat(value)
        elif isinstance(value, list):
            flat[name] = [visible(each) for each in value]
        else:
            flat[name] = visible(value) if isinstance(value, str) else value
    return flat


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord(Record):
    """The realtime model was connected or reconnected. Not a response: nothing was said and nothing is billed."""

    kind: Literal["connection"] = "connection"
    connection_s: float
    """From dialling until the provider's handshake was done (`RealtimeModelMetrics.acquire_time`)."""
    reconnect: bool
    """Whether this realtime session had been connected before: an agent can bring one of its own."""
    resumed: bool | None
    """Whether the provider was asked to resume the conversation; unknown where the plugin does not tell."""
    go_away: bool | None
    """Whether the provider had announced the end of the connection before; unknown where the plugin does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRecord(Record):
    """A record with token counts, and their price."""

    tokens: Tokens
    usage_reason: str | None
    """Why token counts are missing."""
    cost_usd: float | None
    cost_reason: str | None
    """Why `cost_usd` is unknown."""
    cost_note: str | None
    """What `cost_usd` assumes or leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRecord(CountedRecord):
    """One response of the realtime model: what it cost and how long the caller waited for it."""

    kind: Literal["response"] = "response"
    turn: int
    """Number of the response in its session; the greeting is 1."""
    request_id: str
    """The plugin's id of the response (`RealtimeModelMetrics.request_id`)."""
    label: str
    """The realtime model's class, as the framework names it."""
    type: str = "realtime_model_metrics"
    """The framework's name of the metrics behind this record."""
    wait: Wait
    network_round_trip_s: float | None
    """To the LiveKit server and back, by the room's own statistics; unknown where there is no room (console)."""
    over_latency_budget: bool | None
    """Whether the wait exceeded `METRICS_LATENCY_BUDGET_S`; unknown without a budget or a wait."""
    framework_duration_s: float | None
    """The framework's `duration`: from the generation's creation, which the user's first word can cause, to its end.
    Unknown where no usage arrived."""
    tokens_per_second: float | None
    """`output_tokens` per `duration_s`; unknown where one of these is."""
    audio_s: float | None
    """How much audio went to the output; unknown where the session has none."""
    heard_s: float | None
    """How much of it was played before it ended or was interrupted; unknown where it still played."""
    talk_over_s: float | None
    """From the user's first sound until the agent was silent; `None` where the user did not interrupt."""
    finish_reason: str | None
    """Why the provider ended its turn, e.g. `RESPONSE_REJECTED`; `None` where it does not say."""
    usage_messages: int
    """How many usage messages arrived for this response before it was recorded."""
    interrupted: bool
    """Whether the user or the program cut the response short (`ChatMessage.interrupted`)."""
    connection_lost: bool
    """Whether the connection to the provider ended before the response was complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnansweredRecord(Record):
    """The caller spoke, and heard nothing."""

    kind: Literal["unanswered"] = "unanswered"
    user_speech_end: str
    """UTC, ISO 8601: the last sound of what was not answered, or when it was typed."""
    waited_s: float
    """From then until it was certain that no answer came in time."""
    reason: Unanswered
    request_id: str | None
    """The response that made no sound; `None` where there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord(CountedRecord):
    """A whole session, written last, however it ends. Its token counts and its cost are the bill: all usage that
    reached the process."""

    kind: Literal["session"] = "session"
    sums: Sums
    latency_budget_s: float | None
    """`METRICS_LATENCY_BUDGET_S`; `None` where none is set."""
    context_compression: bool | None
    """Whether context-window compression was on; unknown where the plugin does not tell."""
    unbooked_total_tokens: int
    """Part of `total_tokens` that no response's record holds: it came late, or without a response."""
    unbooked_cost_usd: float | None
    """Part of `cost_usd` that no response's record holds; unknown where its price is."""
    time_to_first_audio_p50_s: float | None
    """Percentiles of the waits for answers to the user, by nearest rank: waits that were measured."""
    time_to_first_audio_p95_s: float | None
    time_to_first_audio_max_s: float | None
    time_to_first_audio_reason: str | None
    """Why the percentiles are unknown."""
    duration_s: float
    """From `watch()` to the session's end."""
    end_reason: str
    """`room_deleted`, `participant_disconnected`, `server_lost`, `cost_limit`, the kind of the failure, or the
    framework's reason."""
    price_data: str
    """Where the prices come from: package and version, and the team's own file, if any."""
    sinks: dict[str, dict[str, int]]
    """Per sink: records `written`, `failed` and `dropped`; this record not counted."""


AnyRecord = ConnectionRecord | ResponseRecord | UnansweredRecord | SessionRecord
