"""What is reported: one record per connection, per response and per session.

Records are flat (only `SessionRecord` nests, one level) and carry the same field names in every sink.
Units are in the names. `None` means unknown, and the field's `…_reason` says why; there is no -1, no made-up 0.
No record holds what anybody said.
"""

import functools
import operator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

SCHEMA = 1

MODALITIES = ("audio", "text", "image", "video", "document")
"""Modalities that Gemini counts tokens by (google-genai, `MediaModality`)."""

FirstAudioFrom = Literal["user_speech_end", "reply_requested", "model"]


def utc_iso(timestamp: float) -> str:
    """A `time.time()` as UTC in ISO 8601, to the millisecond."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every record says of its origin."""

    kind: str
    """`connection`, `response` or `session`."""
    schema: int = SCHEMA
    """Version of the field names."""
    timestamp: str
    """UTC, ISO 8601. Of a response: when its generation was created. Else: when the record was made."""
    session_id: str
    """The LiveKit job's id."""
    room: str
    agent_name: str
    """The name LiveKit dispatches by; empty: automatic dispatch."""
    provider: str
    """As the plugin names it, e.g. `Gemini` or `Vertex AI`."""
    model: str
    voice: str

    def as_dict(self) -> dict[str, Any]:
        """The record as plain data, in the order of its fields."""
        # all fields are plain already: `dataclasses.asdict` would copy each, at ten times the cost
        values = _values_of(type(self))(self)  # type: ignore[arg-type]  # mypy mistakes the class for its instance
        return dict(zip(self.__dataclass_fields__, values, strict=True))


@functools.cache
def _values_of(kind: Any) -> "operator.attrgetter[tuple[Any, ...]]":
    return operator.attrgetter(*kind.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord(Record):
    """The realtime model was connected or reconnected. Not a response: nothing was said and nothing is billed."""

    kind: Literal["connection"] = "connection"
    connection_s: float
    """From dialling until the provider's handshake was done (`RealtimeModelMetrics.acquire_time`)."""
    reconnect: bool
    """Whether the session had been connected before."""
    resumed: bool | None
    """Whether the provider was asked to resume the conversation; unknown where the plugin does not tell."""
    go_away: bool | None
    """Whether the provider had announced the end of the connection before; unknown where the plugin does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRecord(Record):
    """A record with token counts, as the provider sent them; none is derived from others, but for `…_unknown_tokens`.

    A message that leaves a count out means 0: Gemini's JSON omits zeros (the proto3 JSON mapping).
    All are `None` while no usage arrived; some are where the plugin does not pass them on. `usage_reason` says which.
    """

    input_tokens: int | None = None
    """Prompt tokens. Gemini bills the whole conversation again at every response."""
    input_audio_tokens: int | None = None
    input_text_tokens: int | None = None
    input_image_tokens: int | None = None
    input_video_tokens: int | None = None
    input_document_tokens: int | None = None
    input_unknown_tokens: int | None = None
    """Part of `input_tokens` that the provider's details do not name a known modality for."""
    input_cached_tokens: int | None = None
    """Part of `input_tokens` read from the provider's cache."""
    input_cached_audio_tokens: int | None = None
    input_cached_text_tokens: int | None = None
    input_cached_image_tokens: int | None = None
    input_cached_video_tokens: int | None = None
    input_cached_document_tokens: int | None = None
    input_cached_unknown_tokens: int | None = None
    output_tokens: int | None = None
    """Response tokens, without thoughts."""
    output_audio_tokens: int | None = None
    output_text_tokens: int | None = None
    output_image_tokens: int | None = None
    output_video_tokens: int | None = None
    output_document_tokens: int | None = None
    output_unknown_tokens: int | None = None
    """Part of `output_tokens` that the provider's details do not name a known modality for."""
    thoughts_tokens: int | None = None
    """Tokens of the model's thinking; billed as output text, see `pricing`."""
    tool_use_tokens: int | None = None
    """Prompt tokens of tool results (`toolUsePromptTokenCount`)."""
    tool_use_audio_tokens: int | None = None
    tool_use_text_tokens: int | None = None
    tool_use_image_tokens: int | None = None
    tool_use_video_tokens: int | None = None
    tool_use_document_tokens: int | None = None
    tool_use_unknown_tokens: int | None = None
    total_tokens: int | None = None
    """The provider's own total; it does not always hold the thoughts."""
    usage_reason: str | None = None
    """Why token counts are missing."""
    cost_usd: float | None = None
    """Price of the tokens, see `pricing`."""
    cost_reason: str | None = None
    """Why `cost_usd` is unknown."""
    cost_note: str | None = None
    """What `cost_usd` assumes or leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRecord(CountedRecord):
    """One response of the realtime model: what it cost and how long the user waited for it."""

    kind: Literal["response"] = "response"
    turn: int
    """Number of the response in its session; the greeting is 1."""
    request_id: str
    """The plugin's id of the response (`RealtimeModelMetrics.request_id`)."""
    label: str
    """The realtime model's class, as the framework names it."""
    type: str = "realtime_model_metrics"
    """The framework's name of the metrics behind this record."""

    time_to_first_audio_s: float | None
    """How long was waited: from `time_to_first_audio_from` until the first audio frame began to play."""
    time_to_first_audio_from: FirstAudioFrom | None
    """`user_speech_end`: the user stopped speaking (the VAD's mark, backdated by its silence).
    `reply_requested`: the program asked for the reply. `model`: the plugin's `ttft`, from the response's creation."""
    time_to_first_audio_reason: str | None
    """Why `time_to_first_audio_s` is unknown."""
    time_to_generation_s: float | None
    """First part of the wait: until the plugin created the generation. Unknown where the wait began after that."""
    generation_to_audio_s: float | None
    """Second part: from then (or the wait's begin, if later) until the first frame went to the audio output.
    Unknown where the wait or the third part is."""
    playback_latency_s: float | None
    """Third part: from the first frame going to the audio output until it began to play. Unknown where the framework
    does not tell: nothing was played, or it had no transcript."""
    over_latency_budget: bool | None
    """Whether the wait exceeded `METRICS_LATENCY_BUDGET_S`; unknown without a budget or a wait."""

    duration_s: float | None
    """How long the model spoke: from the first frame going to the audio output until the generation was complete."""
    duration_reason: str | None
    """Why `duration_s` is unknown."""
    framework_duration_s: float | None
    """The framework's `duration`: from the generation's creation, which the user's first word can cause, to its end.
    Unknown where no usage message arrived."""
    tokens_per_second: float | None
    """`output_tokens` per `duration_s`; unknown where one of these is."""

    usage_messages: int
    """How many usage messages arrived for this response before it was recorded."""
    interrupted: bool
    """Whether the user or the program cut the response short (`ChatMessage.interrupted`)."""
    connection_lost: bool = False
    """Whether the connection to the provider ended before the response was complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord(CountedRecord):
    """A whole session. Token counts and cost are sums over its responses; written last, however the session ends."""

    kind: Literal["session"] = "session"
    responses: int
    interrupted: int
    """Responses that were cut short."""
    silent: int
    """Responses with text but no audio."""
    without_usage: int
    """Responses that no usage arrived for: their tokens and cost are missing from the sums."""
    over_latency_budget: int | None
    """Responses that took longer than `latency_budget_s`; unknown without a budget."""
    latency_budget_s: float | None
    """`METRICS_LATENCY_BUDGET_S`; `None` where none is set."""
    connections: int
    reconnects: int
    go_aways: int | None
    """How often the provider announced the end of a connection; unknown where the plugin does not tell."""
    resumptions: int | None
    """How often a conversation was resumed on a new connection; unknown where the plugin does not tell."""
    context_compression: bool | None
    """Whether context-window compression was on; unknown where the plugin does not tell."""
    context_compressions_seen: int
    """How often `input_tokens` fell from one response to the next: the trace of a compression, Gemini tells of none."""
    errors: dict[str, int]
    """Kind -> count, see `errors`."""
    unbooked_total_tokens: int
    """`total_tokens` of usage that arrived after its response had been recorded."""
    time_to_first_audio_p50_s: float | None
    time_to_first_audio_p95_s: float | None
    time_to_first_audio_max_s: float | None
    time_to_first_audio_reason: str | None
    """Why the percentiles are unknown."""
    duration_s: float
    """From the session's start to its end."""
    end_reason: str
    """The framework's reason for the close, or the kind of the error that ended the session."""
    price_data: str
    """Where the prices come from: package and version, and the team's own file, if any."""
    price_date: str | None = None
    """The day whose prices were taken from `price_data`; `None` where there was no response to price."""
    sinks: dict[str, dict[str, int]] = field(default_factory=dict)
    """Per sink: records `written`, `failed` and `dropped`; this record not counted."""


TOKEN_FIELDS = tuple(name for name in CountedRecord.__dataclass_fields__ if name.endswith("_tokens"))
"""Names of all token counts, in the order of the records."""
