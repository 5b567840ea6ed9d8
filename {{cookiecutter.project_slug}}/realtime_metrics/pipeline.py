"""Notes -> records -> sinks, off the audio loop: one thread a session reads the notes and hands the records to every
sink.

`note` and `emit` never block and never raise. A sink that fails costs no other sink a record; failures and drops are
counted in the session record and said once in the log.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from .logger import OwnFailures, logger
from .records import SessionRecord
from .settings import Settings
from .sinks import AnyRecord, Sink, make_sinks

CAPACITY = 10_000
"""Notes that wait for the thread at most; about an hour of a busy session, a few MB."""

LOOK_S = 2.0
"""So often the thread looks for notes that it was not woken for."""

DRAIN_S = 5.0
"""How long the end of a session waits for its records; the framework gives a job 10 s to end."""

Reading = Callable[..., Iterable[AnyRecord]]
"""Makes records of the facts in a note."""

Overdue = Callable[[], tuple[Iterable[AnyRecord], float | None]]
"""Makes the records that wait for no further note, and says when others will not (`time.monotonic()`), if any."""


class Pipeline:
    """The way of one session's records to the sinks.

    Args:
        sinks: name -> sink; each gets every record, in order.
        capacity: how many notes may wait.
    """

    def __init__(self, sinks: dict[str, Sink], capacity: int = CAPACITY) -> None:
        self._outlets = [_Outlet(name, sink) for name, sink in sinks.items()]
        self._overdue: Overdue = lambda: ((), None)
        self._notes: deque[tuple[Reading, tuple[Any, ...]]] = deque()
        self._awake: SimpleQueue[None] = SimpleQueue()
        self._reading = threading.Lock()
        self._capacity = capacity
        self._dropped = 0
        self._failures = OwnFailures()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="realtime-metrics", daemon=True)
        self._thread.start()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Pipeline":
        """A pipeline to the sinks that the settings name."""
        return cls(make_sinks(settings))

    def note(self, read: Reading, *facts: Any) -> None:
        """Hands a note over; where too many wait, reads the oldest here: its records are dropped and counted.

        The thread reads it, in its turn, when an `emit` wakes it, at the latest after `LOOK_S`: waking a thread costs
        the loop more than all else here.
        """
        self._notes.append((read, facts))
        if len(self._notes) > self._capacity:
            self._drop_oldest()

    def emit(self, read: Reading, *facts: Any) -> None:
        """Hands a note over that completes a record, and wakes the thread."""
        self.note(read, *facts)
        if self._awake.empty():
            self._awake.put(None)

    def when_all_is_read(self, overdue: Overdue) -> None:
        """Has the thread do this whenever it has read all notes, and when it said that something will be overdue."""
        self._overdue = overdue

    def close(self, read: Reading, *facts: Any) -> None:
        """Lets the thread read what waits, then this note, and end. Returns at once."""
        self._notes += ((read, facts), (self._end, ()))
        self._awake.put(None)

    async def drained(self, timeout_s: float = DRAIN_S) -> None:
        """Returns when everything is written, at the latest after `timeout_s`."""
        await asyncio.to_thread(self._thread.join, timeout_s)
        if self._thread.is_alive():
            logger.error(
                "after %.0f s metrics records are still not written: giving up (%d notes wait)",
                timeout_s,
                len(self._notes),
            )

    def _run(self) -> None:
        overdue_at = None
        while not self._closed:
            self._wait(overdue_at)
            while self._notes and not self._closed:  # what is noted after the end is nobody's
                self._write(self._read_next())
            overdue_at = self._write_overdue()
        for outlet in self._outlets:
            outlet.close()

    def _wait(self, overdue_at: float | None) -> None:
        longest_s = LOOK_S if overdue_at is None else min(LOOK_S, max(0.0, overdue_at - time.monotonic()))
        with contextlib.suppress(Empty):
            self._awake.get(timeout=longest_s)

    def _read_next(self, *, more_than: int = 0) -> Sequence[AnyRecord]:
        """The records of the oldest note, if so many wait: the loop may have taken it in between."""
        with self._reading:
            if len(self._notes) <= more_than:
                return ()
            read, facts = self._notes.popleft()
            try:
                return tuple(read(*facts))
            except Exception:
                self._failures.log(getattr(read, "__name__", "a note"))
                return ()

    def _write_overdue(self) -> float | None:
        """Writes what waits for no further note; when more of that will be due."""
        records, next_at = self._read_overdue()
        self._write(records)
        return next_at

    def _read_overdue(self) -> tuple[Iterable[AnyRecord], float | None]:
        with self._reading:
            try:
                return ((), None) if self._closed else self._overdue()
            except Exception:
                self._failures.log("overdue")
                return (), None

    def _drop_oldest(self) -> None:
        """Reads it in the thread's place, for the session's sums, while a sink holds the thread up."""
        records = [*self._read_next(more_than=self._capacity), *self._read_overdue()[0]]
        if records and not self._dropped:
            logger.error("metrics records come faster than the sinks take them: dropping what is over")
        self._dropped += len(records)

    def _end(self) -> Sequence[AnyRecord]:
        self._closed = True
        return ()

    def _write(self, records: Iterable[AnyRecord]) -> None:
        for record in records:
            told = self._with_counts(record) if isinstance(record, SessionRecord) else record
            for outlet in self._outlets:
                outlet.write(told)

    def _with_counts(self, record: SessionRecord) -> SessionRecord:
        return replace(
            record, sinks={outlet.name: {**outlet.counts, "dropped": self._dropped} for outlet in self._outlets}
        )


class _Outlet:
    """A sink, and how it does."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name = name
        self.counts = {"written": 0, "failed": 0}
        self._sink = sink

    def write(self, record: AnyRecord) -> None:
        self.counts["written" if self._try(lambda: self._sink.write(record)) else "failed"] += 1

    def close(self) -> None:
        self._try(self._sink.close)

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:
            if not self.counts["failed"]:
                logger.error(
                    "metrics sink %s fails: %s: %s (said once; failures are counted)",
                    self.name,
                    type(error).__name__,
                    error,
                )
            return False
        return True
