"""Whatever a session emits, in any order, with any text and count: nothing raises, every line parses, no sink stops."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from livekit.agents import ErrorEvent, llm
from livekit.agents.voice import SpeechHandle

from realtime_metrics import responses
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.jsonl import JsonlSink
from realtime_metrics.sinks.log import LogSink
from realtime_metrics.writer import Writer
from tests.fakes.call import KeptRecords, made
from tests.fakes.realtime import Usage, metrics
from tests.fakes.stage import Stage
from tests.proof.counts import RANDOM_EVENTS

TEXT = st.one_of(
    st.sampled_from(["GR_1", "GR_2", "", "\ud800", "\x1b[2J\r\nforged\u202e", "x" * 5000, "Rejected"]),
    st.text(st.characters(), max_size=8),
)
COUNT = st.one_of(st.integers(0, 500), st.sampled_from([0, -1, 2**53, 2**53 + 1, 10**400, -(10**400)]))
USAGE = st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)
SECONDS = st.one_of(
    st.floats(-1, 2), st.sampled_from([0.0, -3600.0, 3600.0, float("nan"), float("inf"), -float("inf")])
)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("usage"), TEXT, USAGE, SECONDS),
        st.tuples(st.just("generate"), TEXT),
        st.tuples(st.just("speak"), SECONDS),
        st.tuples(st.just("user"), st.sampled_from(["speaking", "listening"]), SECONDS),
        st.tuples(st.just("message"), TEXT, st.booleans()),
        st.tuples(st.just("ended"), TEXT, st.booleans()),
        st.tuples(st.just("empty"), TEXT),
        st.tuples(st.just("error"), TEXT, st.booleans()),
        st.tuples(st.sampled_from(["done", "reconnect", "later", "interrupt", "request"])),
    ),
    max_size=25,
)


@settings(max_examples=RANDOM_EVENTS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, room=TEXT)
def test_no_event_costs_the_call_a_record_or_a_sink(
    events: list[tuple[Any, ...]], room: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.unlink(missing_ok=True)
    caplog.clear()
    kept = asyncio.run(_play(events, room, path))
    assert not [entry for entry in caplog.records if entry.levelno >= logging.ERROR and entry.exc_info]
    lines = path.read_text("utf-8").split("\n")[:-1]
    records = [json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) for line in lines]
    assert len(records) == len(kept.records)
    assert records[-1]["kind"] == "session"
    assert records[-1]["sinks"]["jsonl"]["failed"] == 0
    assert all(line.isprintable() for line in lines)


async def _play(events: list[tuple[Any, ...]], room: str, path: Path) -> KeptRecords:
    choice = Settings(metrics_jsonl_path=path)
    kept = KeptRecords()
    stage = Stage(choice, Writer(made({"jsonl": JsonlSink(choice), "kept": kept, "log": LogSink(choice)})))
    stage.kept = kept
    stage.recorder._origin = type(stage.recorder._origin)(**{**_fields(stage.recorder._origin), "room": room})
    handles: list[SpeechHandle] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(responses, "SETTLE_S", 0.001)
        for event in events:
            await _emit(stage, handles, *event)
        await stage.end()
    return kept


def _fields(origin: Any) -> dict[str, Any]:
    return {name: getattr(origin, name) for name in origin.__slots__}


async def _emit(stage: Stage, handles: list[SpeechHandle], what: str, *told: Any) -> None:
    now = time.time()
    last = handles[-1] if handles else None

    def usage(request_id: str, counted: Usage, seconds: float) -> None:
        event = metrics(request_id, timestamp=now, duration=seconds)
        counts = {"input_tokens": counted.input, "output_tokens": counted.output, "total_tokens": counted.total}
        stage.model.emit("metrics_collected", event.model_copy(update=counts))

    def generate(request_id: str) -> None:
        handles.append(stage.generate(request_id))

    def message(request_id: str, interrupted: bool) -> None:
        if request_id in stage._handles:
            stage.message(request_id, interrupted=interrupted)

    def error(text: str, recoverable: bool) -> None:
        failure = llm.RealtimeModelError(timestamp=now, label="", error=OSError(text), recoverable=recoverable)
        stage.session.emit("error", ErrorEvent(error=failure, source=stage.model))

    def with_last(action: Callable[[SpeechHandle], object]) -> None:
        if last is not None and not last.done():
            action(last)

    moves: dict[str, Callable[..., object]] = {
        "usage": usage,
        "generate": generate,
        "message": message,
        "error": error,
        "speak": lambda seconds: with_last(lambda speech: stage.speak(speech, now + seconds)),
        "user": lambda state, seconds: stage.user(state, now + seconds),
        "ended": lambda reason, whole: stage.recorder.listener.generation_ended(time.monotonic(), reason, whole),
        "empty": lambda reason: stage.recorder.listener.turn_was_empty(reason),
        "done": lambda: with_last(stage.end_speech),
        "interrupt": lambda: with_last(lambda speech: speech.interrupt(force=True)),
        "reconnect": lambda: stage.model.connect(),
        "request": lambda: handles.append(stage.request(now)),
        "later": lambda: None,
    }
    moves[what](*told)
    if what == "later":
        await asyncio.sleep(0.003)
