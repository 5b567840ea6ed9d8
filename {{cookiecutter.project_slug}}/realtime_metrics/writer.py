"""Records -> sinks. Each sink has a thread and a queue of its own: it costs no other sink a record, and never the call.

`write` never blocks and never raises. A sink that cannot be made, raises anything, blocks, or has no `close` is said
once in the log and counted in the session's record.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from queue import Full, Queue

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
        """Hands over the session's record, with the sinks' counts, after all others. Returns at once."""
        if self._closed:
            return
        self._closed = True
        closer = threading.Thread(target=self._close, args=(last,), name="metrics-close", daemon=True)
        try:
            closer.start()
        except RuntimeError:  # the process may have no more threads; the call has ended
            self._close(last)
        else:
            self._closer = closer

    async def drained(self) -> None:
        """Returns when everything is written, at the latest `DRAIN_S` after `close`."""
        if self._closer is not None:
            await asyncio.to_thread(self._closer.join)

    def _close(self, last: SessionRecord) -> None:
        began = time.monotonic()
        for lane in self._lanes:
            lane.wait_until_idle(began + SETTLE_S)
        whole = replace(last, sinks={lane.name: lane.counts for lane in self._lanes})
        for lane in self._lanes:
            lane.put(whole)
            lane.put(None)
        for lane in self._lanes:
            if lane.thread.is_alive():
                lane.thread.join(max(0.0, began + DRAIN_S - time.monotonic()))
            if lane.thread.is_alive():
                logger.error("metrics sink %s does not end: giving up on %d records", lane.name, lane.waiting)


class _Lane:
    """The queue and the thread of one sink."""

    def __init__(self, name: str, make: Callable[[], Sink], capacity: int) -> None:
        self.name = name
        self._make = make
        self._queue: Queue[AnyRecord | None] = Queue(capacity)
        self._written = self._failed = self._dropped = 0
        self.thread = threading.Thread(target=self._run, name=f"metrics-{name}", daemon=True)
        try:
            self.thread.start()
        except RuntimeError as error:
            self._complain(error)

    @property
    def waiting(self) -> int:
        return self._queue.unfinished_tasks

    @property
    def counts(self) -> dict[str, int]:
        """What became of the records so far; those that the sink holds up count as dropped."""
        return {"written": self._written, "failed": self._failed, "dropped": self._dropped + self.waiting}

    def put(self, record: AnyRecord | None) -> None:
        """Hands a record over; `None` is the end."""
        try:
            self._queue.put_nowait(record)
        except Full:
            self._dropped += 1
            if self._dropped == 1:
                logger.error("metrics sink %s is too slow or stuck: dropping what is over (said once)", self.name)

    def wait_until_idle(self, give_up_at: float) -> None:
        with self._queue.all_tasks_done:
            self._queue.all_tasks_done.wait_for(self._is_idle, max(0.0, give_up_at - time.monotonic()))

    def _is_idle(self) -> bool:
        return not self.waiting or not self.thread.is_alive()

    def _run(self) -> None:
        sink = self._made()
        while (record := self._queue.get()) is not None:
            self._write(sink, record)
            self._queue.task_done()
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
