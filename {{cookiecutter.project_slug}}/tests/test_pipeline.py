"""Records reach every sink, in order; and the loop never waits for them."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from realtime_metrics import pipeline as pipeline_module
from realtime_metrics.pipeline import Pipeline, Reading
from realtime_metrics.records import ResponseRecord, SessionRecord
from realtime_metrics.sinks import AnyRecord, Sink
from tests.fakes.call import KeptRecords, until
from tests.fakes.samples import connection_record, response_record, session_record


class HeldSink(KeptRecords):
    """Writes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, record: AnyRecord) -> None:
        self.let_go.wait()
        super().write(record)


class RaisingSink(KeptRecords):
    """Fails the first `times` writes."""

    def __init__(self, times: int = 10**9) -> None:
        super().__init__()
        self._left = times

    def write(self, record: AnyRecord) -> None:
        if self._left:
            self._left -= 1
            raise OSError("no space left")
        super().write(record)


def pipeline_to(*, capacity: int = 100, **sinks: Sink) -> Pipeline:
    return Pipeline(dict(sinks), capacity)


def note_of(make: Callable[..., AnyRecord], **changes: Any) -> Reading:
    """A note that one record is made of."""

    def note() -> list[AnyRecord]:
        return [make(**changes)]

    return note


async def test_every_sink_gets_every_record_in_order_and_the_session_last() -> None:
    first, second = KeptRecords(), KeptRecords()
    pipeline = pipeline_to(first=first, second=second)
    pipeline.emit(note_of(connection_record))
    for turn in (1, 2, 3):
        pipeline.emit(note_of(response_record, turn=turn))
    pipeline.close(note_of(session_record))
    await pipeline.drained()
    assert first.records == second.records
    assert [record.kind for record in first.records] == ["connection", *["response"] * 3, "session"]
    assert [record.turn for record in first.records if isinstance(record, ResponseRecord)] == [1, 2, 3]
    assert first.closed
    assert second.closed


async def test_a_record_that_cannot_be_made_costs_no_other_record(caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptRecords()
    pipeline = pipeline_to(kept=kept)
    pipeline.emit(note_of(response_record, no_such_field=1))
    pipeline.emit(note_of(response_record))
    pipeline.close(note_of(session_record))
    await pipeline.drained()
    assert [record.kind for record in kept.records] == ["response", "session"]
    assert [entry.message for entry in caplog.records] == ["the metrics recorder failed in note; the call goes on"]


async def test_a_sink_that_fails_costs_no_other_sink_a_record(caplog: pytest.LogCaptureFixture) -> None:
    kept, failing = KeptRecords(), RaisingSink(times=2)
    pipeline = pipeline_to(failing=failing, kept=kept)
    for turn in (1, 2, 3):
        pipeline.emit(note_of(response_record, turn=turn))
    pipeline.close(note_of(session_record))
    await pipeline.drained()
    session = kept.records[-1]
    assert isinstance(session, SessionRecord)
    assert session.sinks == {
        "failing": {"written": 1, "failed": 2, "dropped": 0},
        "kept": {"written": 3, "failed": 0, "dropped": 0},
    }
    assert len(failing.records) == 2, "one response and the session"
    told = [entry.message for entry in caplog.records]
    assert told == ["metrics sink failing fails: OSError: no space left (said once; failures are counted)"]


async def test_handing_over_never_waits_for_a_sink() -> None:
    held = HeldSink()
    pipeline = pipeline_to(held=held, capacity=5000)
    began = time.perf_counter()
    for _ in range(1000):
        pipeline.emit(note_of(response_record))
    per_record_s = (time.perf_counter() - began) / 1000
    held.let_go.set()
    pipeline.close(note_of(session_record))
    await pipeline.drained()
    assert len(held.records) == 1001
    assert per_record_s < 0.001


async def test_what_is_more_than_fits_is_dropped_and_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    held = HeldSink()
    pipeline = pipeline_to(held=held, capacity=10)
    pipeline.emit(note_of(response_record, turn=0))
    await until(lambda: not pipeline._notes)
    for turn in range(1, 15):
        pipeline.emit(note_of(response_record, turn=turn))
    held.let_go.set()
    pipeline.close(note_of(session_record))
    await pipeline.drained()
    session = held.records[-1]
    assert isinstance(session, SessionRecord)
    assert session.sinks == {"held": {"written": 11, "failed": 0, "dropped": 4}}
    told = [entry.message for entry in caplog.records]
    assert told == ["metrics records come faster than the sinks take them: dropping what is over"]


async def test_what_the_thread_is_not_woken_for_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "LOOK_S", 0.01)
    kept = KeptRecords()
    pipeline = pipeline_to(kept=kept)
    pipeline.note(note_of(response_record))
    await until(lambda: bool(kept.records))
    pipeline.note(note_of(response_record))
    pipeline.emit(note_of(connection_record))
    await until(lambda: len(kept.records) == 3)
    assert [record.kind for record in kept.records] == ["response", "response", "connection"], (
        "in the order of the notes"
    )


async def test_what_is_overdue_is_written_at_its_time_though_no_note_comes() -> None:
    kept = KeptRecords()
    pipeline = pipeline_to(kept=kept)
    due_at = time.monotonic() + 0.2

    def overdue() -> tuple[list[AnyRecord], float | None]:
        return ([response_record()], None) if time.monotonic() >= due_at else ([], due_at)

    pipeline.when_all_is_read(overdue)
    pipeline.emit(note_of(connection_record))
    await until(lambda: len(kept.records) == 1)
    assert time.monotonic() < due_at
    await until(lambda: len(kept.records) == 2)
    assert due_at <= time.monotonic() < due_at + 0.2


async def test_the_sessions_record_stays_the_last_though_notes_come_after_it() -> None:
    held = HeldSink()
    pipeline = pipeline_to(held=held)
    pipeline.emit(note_of(connection_record))
    pipeline.close(note_of(session_record))
    pipeline.emit(note_of(response_record))
    held.let_go.set()
    await pipeline.drained()
    assert [record.kind for record in held.records] == ["connection", "session"]


async def test_the_end_waits_for_a_slow_sink_but_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    held = HeldSink()
    pipeline = pipeline_to(held=held)
    for _ in range(3):
        pipeline.emit(note_of(response_record))
    pipeline.close(note_of(session_record))
    loop_went_on = asyncio.ensure_future(asyncio.sleep(0.01))
    await pipeline.drained(timeout_s=0.1)
    assert loop_went_on.done()
    (told,) = [entry.message for entry in caplog.records]
    assert "metrics records are still not written: giving up" in told
    held.let_go.set()


async def test_a_sink_that_waits_does_not_keep_the_process_alive() -> None:
    pipeline = pipeline_to(held=HeldSink())
    pipeline.emit(note_of(response_record))
    (thread,) = [thread for thread in threading.enumerate() if thread is pipeline._thread]
    assert thread.daemon


async def test_two_sessions_do_not_mix_their_records() -> None:
    first, second = KeptRecords(), KeptRecords()
    pipelines = [pipeline_to(kept=first), pipeline_to(kept=second)]
    for number, pipeline in enumerate(pipelines):
        pipeline.emit(note_of(response_record, session_id=f"AJ_{number}"))
        pipeline.close(note_of(session_record, session_id=f"AJ_{number}"))
    await asyncio.gather(*(pipeline.drained() for pipeline in pipelines))
    for number, kept in enumerate((first, second)):
        assert {record.session_id for record in kept.records} == {f"AJ_{number}"}
