"""What monitoring systems are told of a record: counters and histograms, the same for Prometheus and OpenTelemetry.

Labels are of bounded number: no room, session, request, customer, revision or tool. An unknown figure is not observed,
never as 0: it is counted under its reason.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from ..records import AnyRecord, ConnectionRecord, ResponseRecord, SessionRecord, Unanswered, UnansweredRecord
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

_DIRECTIONS = ("input", "output")
_KINDS = (*MODALITIES, "unknown")
_RECONNECTS = {True: "go_away", False: "connection_lost", None: "unknown"}
_LOSSES = {"failed": "failed", "dropped": "too slow"}

Value = float | None
"""Nothing is told of `None`."""
Values = Mapping[str, Value] | Mapping[tuple[str, str], Value]
"""Label, or two labels -> value."""


@dataclass(frozen=True, slots=True, eq=False)  # looked up many times a record: by identity
class Figure:
    """A counter; with buckets, a histogram."""

    name: str
    about: str
    of: Callable[[Any], Value | Values]
    """What a record says of it."""
    unit: str = ""
    """`seconds`, `usd` or `tokens`; empty: a number of things."""
    labels: Mapping[str, Collection[str]] = field(default_factory=dict)
    """Beyond `ORIGIN`; and of each, the values that it can have, where these are known."""
    buckets: tuple[float, ...] = ()


def _seconds(name: str, about: str, of: Callable[[Any], Value], buckets: tuple[float, ...] = WAIT_BUCKETS_S) -> Figure:
    """A histogram of how long something took."""
    return Figure(name, about, of, "seconds", buckets=buckets)


def _by_reason(name: str, about: str, of: Callable[[Any], Values], known: Sequence[str] = ()) -> Figure:
    """A counter of reasons; those that are known are there from the beginning, at 0."""
    return Figure(name, about, of, labels={"reason": known})


def _by_modality(name: str, about: str, group: str) -> Figure:
    def tokens(record: ResponseRecord) -> Values:
        return {kind: record.tokens[f"{group}_{kind}_tokens"] for kind in _KINDS}

    return Figure(name, about, tokens, "tokens", {"modality": _KINDS})


def _tokens(record: ResponseRecord) -> Values:
    labels = itertools.product(_DIRECTIONS, _KINDS)
    return {(direction, kind): record.tokens[f"{direction}_{kind}_tokens"] for direction, kind in labels}


def _counted(reason: str | None) -> Values:
    """Counts a reason, cut at the first colon: what follows would make endless labels."""
    return {reason.split(":")[0]: 1} if reason else {}


def _unknown(value: Value, reason: str | None) -> Values:
    return _counted(reason or "unknown") if value is None else {}


def _lost_records(record: SessionRecord) -> Values:
    return {(sink, why): counts[what] for sink, counts in record.sinks.items() for what, why in _LOSSES.items()}


TOKENS = Figure(
    "",
    "Tokens as the provider counted them.",
    _tokens,
    "tokens",
    {"direction": _DIRECTIONS, "modality": _KINDS},
)
CACHED = _by_modality("cached_input", "Input tokens from the cache.", "input_cached")
TOOL_USE = _by_modality("tool_use", "Prompt tokens of tool results; no input.", "tool_use")
THOUGHTS = Figure("thoughts", "Tokens of thinking; no output.", lambda r: r.tokens["thoughts_tokens"], "tokens")

FIGURES: dict[type[Any], tuple[Figure, ...]] = {
    ConnectionRecord: (
        _seconds(
            "connection",
            "From dialling the provider until its handshake was done; the count is the number of connections.",
            lambda r: r.connection_s,
            _CONNECTION_BUCKETS_S,
        ),
        _by_reason(
            "reconnects",
            "Connections after a session's first one, by why.",
            lambda r: _counted(_RECONNECTS[r.go_away]) if r.reconnect else {},
        ),
    ),
    ResponseRecord: (
        Figure("responses", "Responses of the realtime model.", lambda r: 1),
        Figure("interrupted_responses", "Responses that the user or the program cut short.", lambda r: r.interrupted),
        Figure("over_budget_responses", "Waits above METRICS_LATENCY_BUDGET_S.", lambda r: r.over_latency_budget),
        _by_reason("finished_responses", "Responses that the provider ended.", lambda r: _counted(r.finish_reason)),
        Figure(
            "time_to_first_audio",
            "How long was waited for the agent's first sound.",
            lambda r: {r.wait.time_to_first_audio_from or "unknown": r.wait.time_to_first_audio_s},
            "seconds",
            {"since": get_args(FirstAudioFrom)},
            WAIT_BUCKETS_S,
        ),
        _by_reason(
            "time_to_first_audio_unknown",
            "Responses without a known wait.",
            lambda r: _unknown(r.wait.time_to_first_audio_s, r.wait.time_to_first_audio_reason),
        ),
        _seconds("network_round_trip", "To the LiveKit server and back.", lambda r: r.network_round_trip_s),
        _seconds("tool_wait", "Part of the waits in which tools ran.", lambda r: r.wait.tools_s or None),
        Figure("audio", "Audio of the agent that went to the output.", lambda r: r.audio_s, "seconds"),
        Figure("heard_audio", "Part of that audio that was played.", lambda r: r.heard_s, "seconds"),
        _seconds("talk_over", "From an interruption until the agent is silent.", lambda r: r.talk_over_s),
        *(TOKENS, CACHED, TOOL_USE, THOUGHTS),
        _by_reason("usage_unknown", "Responses without token counts.", lambda r: _counted(r.usage_reason)),
        Figure("cost", "Price of the responses.", lambda r: r.cost_usd, "usd"),
        _by_reason("cost_unknown", "Responses without a price.", lambda r: _unknown(r.cost_usd, r.cost_reason)),
    ),
    UnansweredRecord: (
        _by_reason("unanswered_turns", "Turns without an answer.", lambda r: {r.reason: 1}, get_args(Unanswered)),
    ),
    SessionRecord: (
        _by_reason("sessions", "Sessions that have ended, by why.", lambda r: {r.end_reason: 1}),
        _seconds("session_duration", "Length of a session.", lambda r: r.duration_s, _SESSION_BUCKETS_S),
        Figure("session_cost", "Price of a whole session.", lambda r: r.cost_usd, "usd", buckets=_SESSION_BUCKETS_USD),
        _by_reason("session_cost_unknown", "Sessions without a price.", lambda r: _unknown(r.cost_usd, r.cost_reason)),
        _seconds("session_longest_wait", "Longest wait of a session.", lambda r: r.sums.longest_wait_s),
        _seconds(
            "session_first_audio", "From the job's start to the first sound.", lambda r: r.sums.first_audio_after_s
        ),
        Figure("user_turns", "Turns of the caller; counted when their session ends.", lambda r: r.sums.user_turns),
        Figure("silent_responses", "Responses with text but no audio, of ended sessions.", lambda r: r.sums.silent),
        _by_reason("errors", "What failed between agent and provider, of ended sessions.", lambda r: r.sums.errors),
        Figure("unbooked", "Tokens that no response's record holds.", lambda r: r.unbooked_total_tokens, "tokens"),
        Figure(
            "lost_records",
            "Records that a sink did not get.",
            _lost_records,
            labels={"sink": SINKS.keys(), "reason": tuple(_LOSSES.values())},
        ),
    ),
}
"""What is told of each kind of record."""


def origin(record: AnyRecord) -> tuple[str, ...]:
    """The values of `ORIGIN`."""
    return record.origin.agent_name, record.origin.provider, record.origin.model


def expected() -> Iterator[tuple[Figure, tuple[str, ...]]]:
    """What every session may come to, with the values of its own labels: Prometheus sees an increase from 0 only if the
    0 was there before."""
    for figure in itertools.chain.from_iterable(FIGURES.values()):
        for labels in itertools.product(*figure.labels.values()):
            yield figure, labels


def measurements(record: AnyRecord) -> Iterator[tuple[Figure, float, tuple[str, ...]]]:
    """What a record tells: a figure, its value, and the values of its own labels. Counters are told of no 0, and nobody
    of what cannot be: one infinity would stay in a sum for good."""
    for figure in FIGURES[type(record)]:
        told = figure.of(record)
        for labels, value in told.items() if isinstance(told, Mapping) else [((), told)]:
            if value is not None and 0 <= value <= MOST and (value or figure.buckets):
                yield figure, value, (labels,) if isinstance(labels, str) else labels
