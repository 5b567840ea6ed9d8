"""What monitoring systems are told of a record: counters and histograms, the same for Prometheus and OpenTelemetry.

Labels are of bounded number: no room, session, request, customer, revision or tool. An unknown figure is not observed,
never as 0: it is counted under its reason.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from ..records import (
    AnyRecord,
    ConnectionRecord,
    CountedRecord,
    ResponseRecord,
    SessionRecord,
    Unanswered,
    UnansweredRecord,
)
from ..usage import MODALITIES, MOST
from ..waits import FirstAudioFrom
from . import SINKS

ORIGIN = ("agent", "provider", "model")
"""Labels that every figure has: the name LiveKit dispatches by, and what the plugin says it talks to."""

WAIT_BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 30)
"""Resolve 0.2 to 3 s, where a caller notices the difference."""
_CONNECTION_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
_SESSION_BUCKETS_S = (10, 30, 60, 120, 300, 600, 900, 1800, 3600)
_SESSION_BUCKETS_USD = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
_KINDS = (*MODALITIES, "unknown")

Labelled = tuple[float | None, tuple[str, ...]]
"""A value and its labels; nothing is told of `None`."""


@dataclass(frozen=True, slots=True, eq=False)  # looked up many times a record: by identity
class Figure:
    """A counter; with buckets, a histogram."""

    name: str
    about: str
    of: Callable[[Any], float | Iterable[Labelled] | None]
    """What a record says of it: a value, or values with labels."""
    unit: str = ""
    """`seconds`, `usd` or `tokens`; empty: a number of things."""
    labels: tuple[str, ...] = ()
    """Beyond `ORIGIN`."""
    buckets: tuple[float, ...] = ()


def _reason(unknown: bool, reason: str | None) -> Iterable[Labelled]:
    """Counts something unknown under its reason, cut at the first colon: what follows would make endless labels."""
    return [(1, ((reason or "unknown").split(":")[0],))] if unknown else []


def _wait(record: ResponseRecord) -> Iterable[Labelled]:
    return [(record.wait.time_to_first_audio_s, (record.wait.time_to_first_audio_from or "unknown",))]


def _unknown_wait(record: ResponseRecord) -> Iterable[Labelled]:
    return _reason(record.wait.time_to_first_audio_s is None, record.wait.time_to_first_audio_reason)


def _unknown_usage(record: ResponseRecord) -> Iterable[Labelled]:
    return _reason(record.usage_reason is not None, record.usage_reason)


def _unknown_cost(record: CountedRecord) -> Iterable[Labelled]:
    return _reason(record.cost_usd is None, record.cost_reason)


def _finish(record: ResponseRecord) -> Iterable[Labelled]:
    return _reason(record.finish_reason is not None, record.finish_reason)


def _tokens(record: ResponseRecord) -> Iterator[Labelled]:
    for direction in ("input", "output"):
        for kind in _KINDS:
            yield record.tokens[f"{direction}_{kind}_tokens"], (direction, kind)


def _of(group: str) -> Callable[[ResponseRecord], Iterable[Labelled]]:
    return lambda record: [(record.tokens[f"{group}_{kind}_tokens"], (kind,)) for kind in _KINDS]


def _reconnect(record: ConnectionRecord) -> Iterable[Labelled]:
    why = {True: "go_away", False: "connection_lost", None: "unknown"}[record.go_away]
    return [(1, (why,))] if record.reconnect else []


def _errors(record: SessionRecord) -> Iterable[Labelled]:
    return [(count, (kind,)) for kind, count in record.sums.errors.items()]


def _lost_records(record: SessionRecord) -> Iterator[Labelled]:
    for sink, counts in record.sinks.items():
        yield from zip((counts["failed"], counts["dropped"]), _losses(sink), strict=True)


def _losses(sink: str) -> tuple[tuple[str], tuple[str]]:
    return (f"{sink} failed",), (f"{sink} too slow",)


TOKENS = Figure("", "Tokens as the provider counted them.", _tokens, "tokens", ("direction", "modality"))
CACHED = Figure("cached_input", "Input tokens from the cache.", _of("input_cached"), "tokens", ("modality",))
TOOL_USE = Figure("tool_use", "Prompt tokens of tool results; no input.", _of("tool_use"), "tokens", ("modality",))
THOUGHTS = Figure("thoughts", "Tokens of thinking; no output.", lambda r: r.tokens["thoughts_tokens"], "tokens")

FIGURES: dict[type[Any], tuple[Figure, ...]] = {
    ConnectionRecord: (
        Figure(
            "connection",
            "From dialling the provider until its handshake was done; the count is the number of connections.",
            lambda r: r.connection_s,
            "seconds",
            buckets=_CONNECTION_BUCKETS_S,
        ),
        Figure("reconnects", "Connections after a session's first one, by why.", _reconnect, "", ("reason",)),
    ),
    ResponseRecord: (
        Figure("responses", "Responses of the realtime model.", lambda r: 1),
        Figure("interrupted_responses", "Responses that the user or the program cut short.", lambda r: r.interrupted),
        Figure("over_budget_responses", "Waits above METRICS_LATENCY_BUDGET_S.", lambda r: r.over_latency_budget),
        Figure("finished_responses", "Responses that the provider ended with a reason.", _finish, "", ("reason",)),
        Figure(
            "time_to_first_audio",
            "How long was waited for the agent's first sound.",
            _wait,
            "seconds",
            ("since",),
            WAIT_BUCKETS_S,
        ),
        Figure("time_to_first_audio_unknown", "Responses without a known wait.", _unknown_wait, "", ("reason",)),
        Figure(
            "network_round_trip",
            "To the LiveKit server and back.",
            lambda r: r.network_round_trip_s,
            "seconds",
            buckets=WAIT_BUCKETS_S,
        ),
        Figure(
            "tool_wait",
            "Part of the waits in which tools ran.",
            lambda r: r.wait.tools_s or None,
            "seconds",
            buckets=WAIT_BUCKETS_S,
        ),
        Figure("audio", "Audio of the agent that went to the output.", lambda r: r.audio_s, "seconds"),
        Figure("heard_audio", "Part of that audio that was played.", lambda r: r.heard_s, "seconds"),
        Figure(
            "talk_over",
            "From the first sound of a user who interrupts until the agent is silent.",
            lambda r: r.talk_over_s,
            "seconds",
            buckets=WAIT_BUCKETS_S,
        ),
        *(TOKENS, CACHED, TOOL_USE, THOUGHTS),
        Figure("usage_unknown", "Responses whose token counts are missing.", _unknown_usage, "", ("reason",)),
        Figure("cost", "Price of the responses.", lambda r: r.cost_usd, "usd"),
        Figure("cost_unknown", "Responses without a price.", _unknown_cost, "", ("reason",)),
    ),
    UnansweredRecord: (
        Figure(
            "unanswered_turns", "Turns of the caller without an answer.", lambda r: [(1, (r.reason,))], "", ("reason",)
        ),
    ),
    SessionRecord: (
        Figure("sessions", "Sessions that have ended, by why.", lambda r: [(1, (r.end_reason,))], "", ("reason",)),
        Figure("session_duration", "Length of a session.", lambda r: r.duration_s, "seconds", (), _SESSION_BUCKETS_S),
        Figure("session_cost", "Price of a whole session.", lambda r: r.cost_usd, "usd", (), _SESSION_BUCKETS_USD),
        Figure("session_cost_unknown", "Sessions without a price.", _unknown_cost, "", ("reason",)),
        Figure("session_longest_wait", "Longest wait.", lambda r: r.longest_wait_s, "seconds", (), WAIT_BUCKETS_S),
        Figure(
            "session_first_audio",
            "From the job's start to the agent's first sound.",
            lambda r: r.first_audio_after_s,
            "seconds",
            buckets=WAIT_BUCKETS_S,
        ),
        Figure("user_turns", "Turns of the caller; counted when their session ends.", lambda r: r.user_turns),
        Figure("silent_responses", "Responses with text but no audio, of ended sessions.", lambda r: r.sums.silent),
        Figure("errors", "What failed between agent and provider, of ended sessions.", _errors, "", ("reason",)),
        Figure("unbooked", "Tokens that no response's record holds.", lambda r: r.unbooked_total_tokens, "tokens"),
        Figure("lost_records", "Records that a sink did not get.", _lost_records, "", ("reason",)),
    ),
}
"""What is told of each kind of record."""


def origin(record: AnyRecord) -> tuple[str, ...]:
    """The values of `ORIGIN`."""
    return record.origin.agent_name, record.origin.provider, record.origin.model


def expected() -> Iterator[tuple[Figure, tuple[str, ...]]]:
    """What every session may come to, with the values of its own labels: Prometheus sees an increase from 0 only if the
    0 was there before."""
    known: dict[tuple[str, ...], list[tuple[str, ...]]] = {
        ("since",): [(since,) for since in get_args(FirstAudioFrom)],
        ("modality",): [(kind,) for kind in _KINDS],
        ("direction", "modality"): [(direction, kind) for direction in ("input", "output") for kind in _KINDS],
        (): [()],
    }
    reasons: dict[str, list[tuple[str, ...]]] = {
        "unanswered_turns": [(reason,) for reason in get_args(Unanswered)],
        "lost_records": [loss for sink in SINKS for loss in _losses(sink)],
    }
    for figure in itertools.chain.from_iterable(FIGURES.values()):
        for labels in known.get(figure.labels) or reasons.get(figure.name, []):
            yield figure, labels


def measurements(record: AnyRecord) -> Iterator[tuple[Figure, float, tuple[str, ...]]]:
    """What a record tells: a figure, its value, and the values of its own labels. Counters are told of no 0, and nobody
    of what cannot be: one infinity would stay in a sum for good."""
    for figure in FIGURES[type(record)]:
        of_it = figure.of(record)
        values: Iterable[Labelled]
        values = [(of_it, ())] if of_it is None or isinstance(of_it, int | float) else of_it
        for value, labels in values:
            if value is not None and 0 <= value <= MOST and (value or figure.buckets):
                yield figure, value, labels
