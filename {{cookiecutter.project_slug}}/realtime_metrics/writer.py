"""Records -> sinks. Each sink has a thread and a queue of its own: it costs no other sink a record, and never the call.

`write` never blocks and never raises. A sink that cannot be made, raises anything, blocks, or has no `close` is said
once in the log and counted in the session's record.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from queue import SimpleQueue

from .log import in_a_line, logger
from .records import AnyRecord, SessionRecord
from .sinks.base import Sink

CAPACITY = 1_000
"""Records that wait for a sink at most; about an hour of a busy session."""
DRAIN_S = 5.0
"""How long the end of a session waits for its records; the framework gives a job 10 s to end."""
SETTLE_S = 3.0
"""How much of that the session's record waits for what comes before it, so its counts are complete."""


class Writer:
    """Hands each record to every sink, in order.

    Args:
        sinks: name -> what makes the sink, in its thread.
        capacity: how many records may wait for each.
    """

    def __init__(self, sinks: Mapping[str, Callable[[], Sink]], capacity: int = CAPACITY) -> None:
        self._lanes = [_Lane(name, make, capacity) for name, make in sinks.items()]
        self._closed = False
        self._closer: threading.Thread | None = None

    def write(self, record: AnyRecord) -> None:
        """Hands a record over; where too many wait for a sink, it is dropped there and counted."""
        if not self._closed:
            for lane in self._lanes:
                lane.put(record)

    def close(self, last: SessionRecord) -> None:
        """Hands over the session's record, with the sinks' counts, after all others. Returns at once,
        where the system has a thread for it."""
        if not self._closed:
            self._closed = True
            self._closer = threading.Thread(target=self._close, args=(last,), name="metrics-close", daemon=True)
            if not _has_started(self._closer):
                self._close(last)

    async def drained(self) -> None:
        """Returns when everything is written, at the latest `DRAIN_S` after `close`."""
        if self._closer is not None and self._closer.is_alive():
            await asyncio.to_thread(self._closer.join)

    def _close(self, last: SessionRecord) -> None:
        began = time.monotonic()
        for lane in self._lanes:
            _wait_until(lane.is_idle, began + SETTLE_S)
        whole = replace(last, sinks={lane.name: lane.counts for lane in self._lanes})
        for lane in self._lanes:
            lane.end(whole)
        for lane in self._lanes:
            if not _wait_until(lane.has_ended, began + DRAIN_S):
                logger.error("metrics sink %s does not end: giving up on %d records", lane.name, lane.waiting)


class _Lane:
    """The queue and the thread of one sink."""

    def __init__(self, name: str, make: Callable[[], Sink], capacity: int) -> None:
        self.name = name
        self._make = make
        self._capacity = capacity
        self._queue: SimpleQueue[AnyRecord | None] = SimpleQueue()
        self._taken = self._written = self._failed = self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"metrics-{name}", daemon=True)
        if not _has_started(self._thread):
            logger.error("metrics sink %s has no thread: its records are dropped", name)

    @property
    def waiting(self) -> int:
        return self._taken - self._written - self._failed

    @property
    def counts(self) -> dict[str, int]:
        """What became of the records so far; those that the sink holds up count as dropped."""
        return {"written": self._written, "failed": self._failed, "dropped": self._dropped + self.waiting}

    def is_idle(self) -> bool:
        return self.waiting == 0

    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def put(self, record: AnyRecord) -> None:
        """Hands a record over, if not too many wait."""
        if self.waiting < self._capacity:
            self._taken += 1
            self._queue.put(record)
        else:
            self._dropped += 1
            if self._dropped == 1:
                logger.error("metrics sink %s is too slow or stuck: dropping what is over (said once)", self.name)

    def end(self, last: SessionRecord) -> None:
        """Hands over the last one, however many wait."""
        self._taken += 1
        self._queue.put(last)
        self._queue.put(None)

    def _run(self) -> None:
        sink = self._made()
        while (record := self._queue.get()) is not None:
            self._write(sink, record)
        try:
            if sink is not None:
                sink.close()
        except BaseException as error:
            self._complain(error)

    def _made(self) -> Sink | None:
        try:
            return self._make()
        except BaseException as error:
            self._complain(error)
            return None

    def _write(self, sink: Sink | None, record: AnyRecord) -> None:
        if sink is None:
            self._failed += 1
            return
        try:
            sink.write(record)
            self._written += 1
        except BaseException as error:  # a sink may even want to exit: not from here
            self._complain(error)
            self._failed += 1

    def _complain(self, error: BaseException) -> None:
        if not self._failed:
            logger.error("metrics sink %s fails: %s (said once; failures are counted)", self.name, in_a_line(error))


def _has_started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:  # the system has no more for this process
        return False
    return True


def _wait_until(done: Callable[[], bool], give_up_at: float) -> bool:
    """Looks until it is done, or it is too late; whether it is done."""
    while not (is_done := done()) and time.monotonic() < give_up_at:
        time.sleep(0.005)
    return is_done
