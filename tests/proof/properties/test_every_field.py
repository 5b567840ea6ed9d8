"""Every field of every record is shown by the console and told by monitoring, or was left out on purpose.

A field is shown if a change of it changes what is shown of some record.
"""

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import pytest
from rich.console import Console

from realtime_metrics.records import AnyRecord, Unanswered
from realtime_metrics.sinks.console import _shown, rendered
from realtime_metrics.sinks.monitoring import FIGURES, ORIGIN, measurements, origin
from realtime_metrics.usage import TOKEN_FIELDS
from realtime_metrics.waits import FirstAudioBy, FirstAudioFrom
from tests.fakes.samples import changed, connection_record, response_record, session_record, unanswered_record

RECORDS: dict[str, list[AnyRecord]] = {
    "connection": [connection_record(), connection_record(reconnect=True)],
    "response": [response_record(), response_record(tools=["get_weather"], tools_s=0.2, cost_usd=0.01)],
    "unanswered": [unanswered_record()],
    "session": [
        session_record(cost_usd=0.01, over_latency_budget=1, latency_budget_s=1.0),
        session_record(unbooked_total_tokens=7),
    ],
}
"""Records of each kind; together they have everything that another field's being shown can depend on."""

FORM = "the form of the JSON line"
ONE_CALL = "a terminal shows one call, of one agent"
RESPONSE_SAYS = "each response says it"
PRINTED_THEN = "it is printed when it happens"
PARTS = "for who looks for the cause of a long wait, in the JSON line"
FRAMEWORKS = "the framework's own figure, to compare ours with, in the JSON line"
OF_A_SUM = "the parts of a sum that is shown"
DETAILS = [name for name in TOKEN_FIELDS if name.startswith(("input_cached_", "tool_use_")) and name.count("_") > 2]

CONSOLE_LEAVES_OUT: dict[str, Mapping[str, str]] = {
    "every record": {
        **dict.fromkeys(("kind", "schema"), FORM),
        **dict.fromkeys(("session_id", "room", "agent_name", "customer", "revision"), ONE_CALL),
    },
    "connection": {"timestamp": PRINTED_THEN, "voice": RESPONSE_SAYS},
    "response": {
        **dict.fromkeys(DETAILS, OF_A_SUM),
        **dict.fromkeys(("time_to_generation_s", "generation_to_audio_s", "playback_latency_s"), PARTS),
        **dict.fromkeys(("framework_latency_s", "framework_duration_s"), FRAMEWORKS),
        "time_to_first_audio_by": "how the wait was measured, not how long it was",
        "network_round_trip_s": "on a terminal there is no room, so it is unknown",
        "usage_messages": "how the counts came, not what they are",
        "provider": "each connection says it",
    },
    "unanswered": {
        "timestamp": PRINTED_THEN,
        **dict.fromkeys(("provider", "model", "voice"), RESPONSE_SAYS),
        "user_speech_end": "it is printed when it happens, and says how long before that was",
        "request_id": "the response's own table says it",
    },
    "session": {
        "timestamp": PRINTED_THEN,
        **dict.fromkeys(("provider", "model", "voice"), RESPONSE_SAYS),
        **dict.fromkeys(DETAILS, OF_A_SUM),
        "context_compression": "a setting, which does not change in a call",
    },
}
"""Kind of record -> field -> why it is not shown."""

ENDLESS = "each call, customer or change would begin new series"
COUNTED_BEFORE = "the sum of what the session's other records told"
SCRAPE = "the scrape, or the export, has its own"
SUMMED_UP = "a sum over all sessions says nothing: the waits themselves are told"

MONITORING_LEAVES_OUT: dict[str, Mapping[str, str]] = {
    "every record": {
        **dict.fromkeys(("kind", "schema"), FORM),
        **dict.fromkeys(("session_id", "room", "customer", "revision"), ENDLESS),
        "timestamp": SCRAPE,
        "voice": "a setting, which would multiply all series",
    },
    "connection": {"resumed": "a reconnect is told, and why it was needed"},
    "response": {
        **dict.fromkeys(
            ("input_tokens", "input_cached_tokens", "output_tokens", "tool_use_tokens", "total_tokens"),
            "the sum of its modalities, which are told",
        ),
        **dict.fromkeys(("turn", "request_id", "label", "type"), "of the single response"),
        "tools": "an owner's own names, of any number; how long they took is told",
        **dict.fromkeys(("time_to_generation_s", "generation_to_audio_s", "playback_latency_s"), PARTS),
        **dict.fromkeys(("framework_latency_s", "framework_duration_s"), FRAMEWORKS),
        "time_to_first_audio_by": "how the wait was measured, not how long it was",
        **dict.fromkeys(
            ("duration_s", "duration_reason", "tokens_per_second"), "how long the model spoke; nobody waits for it"
        ),
        "usage_messages": "how the counts came, not what they are",
        "cost_note": "in words, of the single response",
        "connection_lost": "reconnects and errors are told",
    },
    "unanswered": {
        "user_speech_end": SCRAPE,
        "waited_s": "the answer limit, or less; the longest wait of a session is told",
        "request_id": "of the single response",
    },
    "session": {
        **dict.fromkeys((*TOKEN_FIELDS, "usage_reason"), COUNTED_BEFORE),
        **dict.fromkeys(("responses", "interrupted", "without_usage", "talk_overs", "unanswered"), COUNTED_BEFORE),
        **dict.fromkeys(("connections", "reconnects", "go_aways", "greeting_s", "over_latency_budget"), COUNTED_BEFORE),
        "resumptions": "a reconnect is told, and why it was needed",
        "unbooked_cost_usd": "its tokens are told, and the price of the whole session",
        "cost_note": "in words, of the single session",
        **dict.fromkeys(("latency_budget_s", "context_compression", "price_data", "price_date"), "a setting"),
        **dict.fromkeys((f"time_to_first_audio_{what}" for what in ("p50_s", "p95_s", "max_s", "reason")), SUMMED_UP),
    },
}
"""Kind of record -> field -> why no figure tells it."""


def on_the_console(record: AnyRecord) -> object:
    return rendered(_shown(record), Console(file=io.StringIO(), width=100))


def in_monitoring(record: AnyRecord) -> object:
    return [(figure.name, value, labels, origin(record)) for figure, value, labels in measurements(record)]


def variants(record: AnyRecord) -> Iterator[AnyRecord]:
    """The record, and all that have one field unknown, or known that was not: what is shown can depend on another."""
    yield record
    for name, value in record.as_dict().items():
        with contextlib.suppress(Exception):
            yield changed(record, **{name: None if value is not None else "why" if "reason" in name else 1})


def others(name: str, value: Any) -> Iterator[Any]:
    """Other values that the field can have."""
    literals = {
        "time_to_first_audio_from": FirstAudioFrom,
        "time_to_first_audio_by": FirstAudioBy,
        "reason": Unanswered,
        "sinks": None,
    }
    if name == "sinks":
        yield {"log": {"written": 1, "failed": 2, "dropped": 3}}
    elif name in literals:
        yield from get_args(literals[name])
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str):
        yield f"{value}x"
    elif isinstance(value, dict):
        yield {"rate_limited": 3}
    else:
        yield from (True, 1.5, "x", ["x"])


def is_shown(field: str, kind: str, show: Callable[[AnyRecord], object]) -> bool:
    for record in itertools.chain.from_iterable(map(variants, RECORDS[kind])):
        for value in others(field, record.as_dict()[field]):
            with contextlib.suppress(Exception):  # no such record can be
                if show(changed(record, **{field: value})) != show(record):
                    return True
    return False


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize(
    ("show", "left_out"),
    [(on_the_console, CONSOLE_LEAVES_OUT), (in_monitoring, MONITORING_LEAVES_OUT)],
    ids=["console", "monitoring"],
)
def test_every_field_is_shown_or_was_left_out_on_purpose(
    kind: str, show: Callable[[AnyRecord], object], left_out: Mapping[str, Mapping[str, str]]
) -> None:
    missing = {field for field in RECORDS[kind][0].as_dict() if not is_shown(field, kind, show)}
    assert missing == {*left_out["every record"], *left_out[kind]}


def test_no_label_names_a_call_a_customer_a_change_or_a_tool() -> None:
    labels = {label for figures in FIGURES.values() for figure in figures for label in figure.labels}
    assert {*ORIGIN, *labels} == {"agent", "provider", "model", "since", "reason", "sink", "direction", "modality"}
    whose = {"session_id": "AJ_secret", "room": "r-secret", "customer": "c-secret", "revision": "v-secret"}
    for record in (record for records in RECORDS.values() for record in records):
        of_somebody = changed(record, **whose)
        for field, value in {"request_id": "GR_secret", "tools": ["t-secret"]}.items():
            if field in record.as_dict():
                of_somebody = changed(of_somebody, **{field: value})
        assert "secret" not in str(in_monitoring(of_somebody))
