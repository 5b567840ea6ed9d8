"""What monitoring systems are told of a record: counters and histograms, the same for Prometheus and OpenTelemetry.

Labels are of bounded number: no room, no session, no request id. An unknown figure is not observed, never as 0: it is
counted under its reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import get_args

from ..records import MODALITIES, ConnectionRecord, CountedRecord, FirstAudioFrom, ResponseRecord, SessionRecord
from . import AnyRecord

ORIGIN = ("agent", "provider", "model")
"""Labels that every figure has: the name LiveKit dispatches by, and what the plugin says it talks to."""

WAIT_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7.5, 10)
"""Resolve 0.2 to 3 s, where a user notices the difference."""
_CONNECTION_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
_SESSION_BUCKETS_S = (10, 30, 60, 120, 300, 600, 900, 1800, 3600)
_SESSION_BUCKETS_USD = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)


@dataclass(frozen=True, slots=True, eq=False)  # looked up many times a record: by identity
class Figure:
    """A counter; with buckets, a histogram."""

    name: str
    about: str
    unit: str = ""
    """`seconds`, `usd` or `tokens`; empty: a number of things."""
    labels: tuple[str, ...] = ()
    """Beyond `ORIGIN`."""
    buckets: tuple[float, ...] = ()


CONNECTION = Figure(
    "connection",
    "From dialling the provider until its handshake was done; the count is the number of connections.",
    "seconds",
    buckets=_CONNECTION_BUCKETS_S,
)
RECONNECTS = Figure("reconnects", "Connections after a session's first one, by why it was needed.", labels=("reason",))

RESPONSES = Figure("responses", "Responses of the realtime model.")
INTERRUPTED = Figure("interrupted_responses", "Responses that the user or the program cut short.")
OVER_BUDGET = Figure("over_budget_responses", "Responses whose wait exceeded METRICS_LATENCY_BUDGET_S.")
TIME_TO_FIRST_AUDIO = Figure(
    "time_to_first_audio",
    "How long was waited until the first audio began to play, by what the wait is counted from.",
    "seconds",
    labels=("since",),
    buckets=WAIT_BUCKETS_S,
)
TIME_TO_FIRST_AUDIO_UNKNOWN = Figure(
    "time_to_first_audio_unknown", "Responses without a time to first audio.", labels=("reason",)
)
TOKENS = Figure("", "Tokens as the provider counted them.", "tokens", labels=("direction", "modality"))
CACHED = Figure("cached_input", "Part of the input tokens read from the provider's cache.", "tokens", ("modality",))
THOUGHTS = Figure("thoughts", "Tokens of the model's thinking; not among the output tokens.", "tokens")
TOOL_USE = Figure("tool_use", "Prompt tokens of tool results; not among the input tokens.", "tokens", ("modality",))
USAGE_UNKNOWN = Figure(
    "usage_unknown", "Responses whose token counts are missing in whole or part.", labels=("reason",)
)
COST = Figure("cost", "Price of the responses.", "usd")
COST_UNKNOWN = Figure("cost_unknown", "Responses without a price.", labels=("reason",))

SESSIONS = Figure("sessions", "Sessions that have ended, by why they did.", labels=("reason",))
SESSION_DURATION = Figure(
    "session_duration", "From a session's start to its end.", "seconds", buckets=_SESSION_BUCKETS_S
)
SESSION_COST = Figure("session_cost", "Price of a whole session.", "usd", buckets=_SESSION_BUCKETS_USD)
SESSION_COST_UNKNOWN = Figure("session_cost_unknown", "Sessions without a price.", labels=("reason",))
SILENT = Figure("silent_responses", "Responses with text but no audio; counted when their session ends.")
ERRORS = Figure(
    "errors", "What failed between agent and provider, by kind; counted when the session ends.", labels=("reason",)
)
UNBOOKED = Figure("unbooked", "Tokens that arrived after their response had been recorded.", "tokens")
LOST_RECORDS = Figure("lost_records", "Records that a sink did not get, or failed to write.", labels=("reason",))

Measurement = tuple[Figure, float, tuple[str, ...]]
"""A figure, its value, and the values of its own labels."""


def origin(record: AnyRecord) -> tuple[str, ...]:
    """The values of `ORIGIN`."""
    return record.agent_name, record.provider, record.model


def expected() -> Iterator[tuple[Figure, tuple[str, ...]]]:
    """What every session may come to, with the values of its own labels: Prometheus sees an increase from 0 only if the
    0 was there before."""
    for figure in (
        RESPONSES,
        INTERRUPTED,
        OVER_BUDGET,
        COST,
        THOUGHTS,
        SILENT,
        UNBOOKED,
        SESSION_DURATION,
        SESSION_COST,
    ):
        yield figure, ()
    for since in get_args(FirstAudioFrom):
        yield TIME_TO_FIRST_AUDIO, (since,)
    for modality in (*MODALITIES, "unknown"):
        yield CACHED, (modality,)
        yield TOOL_USE, (modality,)
        for direction in ("input", "output"):
            yield TOKENS, (direction, modality)


@singledispatch
def measurements(record: AnyRecord) -> Iterator[Measurement]:
    """What a record tells."""
    raise NotImplementedError(f"no figures of {record!r}")


@measurements.register
def _(record: ConnectionRecord) -> Iterator[Measurement]:
    yield CONNECTION, record.connection_s, ()
    if record.reconnect:
        why = {True: "go_away", False: "connection_lost", None: "unknown"}[record.go_away]
        yield RECONNECTS, 1, (why,)


@measurements.register
def _(record: ResponseRecord) -> Iterator[Measurement]:
    yield RESPONSES, 1, ()
    if record.interrupted:
        yield INTERRUPTED, 1, ()
    if record.over_latency_budget:
        yield OVER_BUDGET, 1, ()
    if record.time_to_first_audio_s is not None:
        yield TIME_TO_FIRST_AUDIO, record.time_to_first_audio_s, (record.time_to_first_audio_from or "unknown",)
    else:
        yield TIME_TO_FIRST_AUDIO_UNKNOWN, 1, (record.time_to_first_audio_reason or "unknown",)
    yield from _tokens(record)
    if record.usage_reason is not None:
        yield USAGE_UNKNOWN, 1, (_bounded(record.usage_reason),)
    if record.cost_usd is not None:
        yield COST, record.cost_usd, ()
    else:
        yield COST_UNKNOWN, 1, (_bounded(record.cost_reason),)


@measurements.register
def _(record: SessionRecord) -> Iterator[Measurement]:
    yield SESSIONS, 1, (record.end_reason,)
    yield SESSION_DURATION, record.duration_s, ()
    if record.cost_usd is not None:
        yield SESSION_COST, record.cost_usd, ()
    else:
        yield SESSION_COST_UNKNOWN, 1, (_bounded(record.cost_reason),)
    yield SILENT, record.silent, ()
    for kind, count in record.errors.items():
        yield ERRORS, count, (kind,)
    yield UNBOOKED, record.unbooked_total_tokens, ()
    for sink, counts in record.sinks.items():
        yield LOST_RECORDS, counts["failed"], (f"{sink} failed",)
        yield LOST_RECORDS, counts["dropped"], (f"{sink} too slow",)


def _tokens(record: CountedRecord) -> Iterator[Measurement]:
    for modality in (*MODALITIES, "unknown"):
        for direction in ("input", "output"):
            yield from _known(TOKENS, getattr(record, f"{direction}_{modality}_tokens"), direction, modality)
        yield from _known(CACHED, getattr(record, f"input_cached_{modality}_tokens"), modality)
        yield from _known(TOOL_USE, getattr(record, f"tool_use_{modality}_tokens"), modality)
    yield from _known(THOUGHTS, record.thoughts_tokens)


def _known(figure: Figure, value: int | None, *labels: str) -> Iterator[Measurement]:
    if value:
        yield figure, value, labels


def _bounded(reason: str | None) -> str:
    """The reason without what follows a colon, which is of the single case."""
    return (reason or "unknown").split(":")[0]
