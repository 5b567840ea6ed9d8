"""Records reach every sink, in order; and neither the call nor another sink ever waits for one."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from realtime_metrics import writer as writer_module
from realtime_metrics.records import AnyRecord, ResponseRecord
from realtime_metrics.sinks.base import Sink
from realtime_metrics.writer import Writer
from tests.fakes.call import KeptRecords, made, until
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

    def __init__(self, error: BaseException, times: int = 10**9) -> None:
        super().__init__()
        self._error = error
        self._left = times

    def write(self, record: AnyRecord) -> None:
        if self._left:
            self._left -= 1
            raise self._error
        super().write(record)


class SinkWithoutClose:
    """Only writes."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []

    def write(self, record: AnyRecord) -> None:
        self.records.append(record)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a call waits only a moment for a sink that is stuck."""
    monkeypatch.setattr(writer_module, "SETTLE_S", 0.05)
    monkeypatch.setattr(writer_module, "DRAIN_S", 1.0)


@contextmanager
def no_more_threads() -> Iterator[None]:
    """The system has no thread left for this process."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield


async def written(writer: Writer, turns: int = 3) -> None:
    for turn in range(1, turns + 1):
        writer.write(response_record(turn=turn))
    writer.close(session_record())
    await writer.drained()


async def test_every_sink_gets_every_record_in_order_and_the_session_last() -> None:
    first, second = KeptRecords(), KeptRecords()
    writer = Writer(made({"first": first, "second": second}))
    writer.write(connection_record())
    await written(writer)
    assert first.records == second.records
    assert [record.kind for record in first.records] == ["connection", *["response"] * 3, "session"]
    assert [record.turn for record in first.records if isinstance(record, ResponseRecord)] == [1, 2, 3]
    assert first.closed
    assert second.closed


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("no space left"), "OSError: no space left"),
        (SystemExit(1), "SystemExit: 1"),
        (asyncio.CancelledError("enough"), "asyncio.exceptions.CancelledError: enough"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
async def test_a_sink_that_raises_anything_costs_no_other_sink_a_record(
    error: BaseException, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept, failing = KeptRecords(), RaisingSink(error, times=2)
    await written(Writer(made({"failing": failing, "kept": kept})))
    assert kept.session.sinks == {
        "failing": {"written": 1, "failed": 2, "dropped": 0},
        "kept": {"written": 3, "failed": 0, "dropped": 0},
    }
    assert len(failing.records) == 2, "one response and the session"
    (said,) = [entry.message for entry in caplog.records]
    assert said == f"metrics sink failing fails: {told} (said once; failures are counted)"


async def test_a_sink_that_cannot_be_made_costs_no_other_sink_a_record_and_each_of_its_own_counts_as_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def make() -> Sink:
        raise ValueError("OTEL_METRIC_EXPORT_INTERVAL=0")

    kept = KeptRecords()
    await written(Writer({"unmade": make, **made({"kept": kept})}))
    assert kept.session.sinks["unmade"] == {"written": 0, "failed": 3, "dropped": 0}
    assert len(kept.records) == 4
    assert caplog.messages == [
        "metrics sink unmade fails: ValueError: OTEL_METRIC_EXPORT_INTERVAL=0 (said once; failures are counted)"
    ]


async def test_an_error_that_has_no_text_is_told_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    kept, failing = KeptRecords(), RaisingSink(Unprintable())
    await written(Writer(made({"failing": failing, "kept": kept})))
    assert kept.session.sinks["failing"]["failed"] == 3
    assert len(caplog.messages) == 1


async def test_where_no_more_threads_can_be_started_the_end_of_the_call_is_recorded_all_the_same() -> None:
    kept = KeptRecords()
    writer = Writer(made({"kept": kept}))
    with no_more_threads():
        writer.close(session_record())
    await writer.drained()
    assert kept.session.sinks == {"kept": {"written": 0, "failed": 0, "dropped": 0}}


async def test_a_sink_that_has_no_thread_is_told_and_never_raises_into_the_call(
    soon: None, caplog: pytest.LogCaptureFixture
) -> None:
    with no_more_threads():
        writer = Writer(made({"kept": KeptRecords()}))
    await written(writer)
    assert caplog.messages[0] == "metrics sink kept has no thread: its records are dropped"


async def test_a_sink_without_a_close_costs_nobody_a_record(caplog: pytest.LogCaptureFixture) -> None:
    kept, odd = KeptRecords(), SinkWithoutClose()
    sinks: Any = {"odd": odd, "kept": kept}
    await written(Writer(made(sinks)))
    assert odd.records == kept.records
    assert ["'SinkWithoutClose' object has no attribute 'close'" in entry.message for entry in caplog.records] == [True]


@pytest.mark.usefixtures("soon")
async def test_a_sink_that_is_stuck_for_ever_costs_no_other_sink_a_record_and_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck, kept = HeldSink(), KeptRecords()
    began = time.monotonic()
    await written(Writer(made({"stuck": stuck, "kept": kept})))
    assert time.monotonic() - began < 2, "the end of a call waits at most its bound"
    assert [record.kind for record in kept.records] == [*["response"] * 3, "session"]
    assert kept.session.sinks["stuck"] == {"written": 0, "failed": 0, "dropped": 3}
    assert [entry.message for entry in caplog.records] == ["metrics sink stuck does not end: giving up on 4 records"]
    stuck.let_go.set()


async def test_handing_over_never_waits_for_a_sink() -> None:
    held = HeldSink()
    writer = Writer(made({"held": held}), capacity=5000)
    began = time.perf_counter()
    for _ in range(1000):
        writer.write(response_record())
    per_record_s = (time.perf_counter() - began) / 1000
    held.let_go.set()
    await written(writer, turns=0)
    assert len(held.records) == 1001
    assert per_record_s < 0.001


@pytest.mark.usefixtures("soon")
async def test_what_is_more_than_fits_is_dropped_and_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    held, kept = HeldSink(), KeptRecords()
    writer = Writer(made({"held": held, "kept": kept}), capacity=10)
    writer.write(response_record(turn=0))
    await until(lambda: held.let_go.is_set() or writer._lanes[0]._queue.empty())
    for turn in range(1, 15):
        writer.write(response_record(turn=turn))
        await asyncio.sleep(0.01)
    held.let_go.set()
    await written(writer, turns=0)
    assert kept.session.sinks["held"] == {"written": 10, "failed": 0, "dropped": 5}
    assert kept.session.sinks["kept"] == {"written": 15, "failed": 0, "dropped": 0}
    (said,) = [entry.message for entry in caplog.records]
    assert said == "metrics sink held is too slow or stuck: dropping what is over (said once)"


async def test_the_sessions_record_stays_the_last_though_more_comes_after_it() -> None:
    kept = KeptRecords()
    writer = Writer(made({"kept": kept}))
    writer.close(session_record())
    writer.write(response_record())
    await writer.drained()
    assert [record.kind for record in kept.records] == ["session"]


async def test_a_sink_that_waits_does_not_keep_the_process_alive() -> None:
    held = HeldSink()
    writer = Writer(made({"held": held}))
    writer.write(response_record())
    assert all(lane._thread.daemon for lane in writer._lanes)
    held.let_go.set()


async def test_two_sessions_do_not_mix_their_records() -> None:
    first, second = KeptRecords(), KeptRecords()
    writers = [Writer(made({"kept": first})), Writer(made({"kept": second}))]
    for number, writer in enumerate(writers):
        writer.write(response_record(session_id=f"AJ_{number}"))
        writer.close(session_record(session_id=f"AJ_{number}"))
    await asyncio.gather(*(writer.drained() for writer in writers))
    for number, kept in enumerate((first, second)):
        assert {record.origin.session_id for record in kept.records} == {f"AJ_{number}"}
