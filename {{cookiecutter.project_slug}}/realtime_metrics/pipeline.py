"""Records -> sinks, off the audio loop: one thread a session makes and prices each record and hands it to every sink.

`emit` never blocks and never raises. It takes drafts, that which makes a record: to make one costs more time than the
loop has. A sink that fails costs no other sink a record; failures and drops are counted in the session record and said
once in the log.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from queue import SimpleQueue

from .logger import logger
from .pricing import Cost, PriceList
from .records import TOKEN_FIELDS, ConnectionRecord, ResponseRecord, SessionRecord
from .settings import Settings
from .sinks import AnyRecord, Sink, make_sinks

CAPACITY = 10_000
"""Records that wait for the thread at most; about an hour of a busy session, a few MB."""

DRAIN_S = 5.0
"""How long the end of a session waits for its records; the framework gives a job 10 s to end."""


Draft = Callable[[], ConnectionRecord | ResponseRecord]


class Pipeline:
    """The way of one session's records to the sinks.

    Args:
        sinks: name -> sink; each gets every record, in order.
        prices: what tokens cost.
        capacity: how many records may wait.
    """

    def __init__(self, sinks: dict[str, Sink], prices: PriceList, capacity: int = CAPACITY) -> None:
        self._outlets = [_Outlet(name, sink) for name, sink in sinks.items()]
        self._cashier = _Cashier(prices)
        self._queue: SimpleQueue[Callable[[], AnyRecord | None] | None] = SimpleQueue()
        self._making = threading.Lock()
        self._capacity = capacity
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="realtime-metrics", daemon=True)
        self._thread.start()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Pipeline":
        """A pipeline to the sinks, and with the prices, that the settings name."""
        return cls(make_sinks(settings), PriceList(settings.metrics_prices_path))

    def emit(self, draft: Draft) -> None:
        """Hands a record over; where too many wait, drops and counts it."""
        if self._queue.qsize() < self._capacity:
            self._queue.put(draft)
            return
        if not self._dropped:
            logger.error("metrics records come faster than the sinks take them: dropping what is over")
        self._dropped += 1
        self._made(draft)  # for the session's sums

    def then(self, work: Callable[[], None]) -> None:
        """Has the thread do this after what was handed over before."""
        self._queue.put(work)

    def close(self, session_draft: Callable[[], SessionRecord]) -> None:
        """Lets the thread write what waits, then the session's record, and end. Returns at once."""
        self._queue.put(session_draft)
        self._queue.put(None)

    async def drained(self, timeout_s: float = DRAIN_S) -> None:
        """Returns when everything is written, at the latest after `timeout_s`."""
        await asyncio.to_thread(self._thread.join, timeout_s)
        if self._thread.is_alive():
            logger.error(
                "after %.0f s %d metrics records are still not written: giving up", timeout_s, self._queue.qsize()
            )

    def _run(self) -> None:
        while (draft := self._queue.get()) is not None:
            if (record := self._made(draft)) is not None:
                self._write(self._priced(record))
        for outlet in self._outlets:
            outlet.close()

    def _made(self, draft: Callable[[], AnyRecord | None]) -> AnyRecord | None:
        try:
            with self._making:
                return draft()
        except Exception:
            logger.exception("a metrics record could not be made; the others go on")
            return None

    def _priced(self, record: AnyRecord) -> AnyRecord:
        if not isinstance(record, SessionRecord):
            return self._cashier.priced(record)
        counts = {outlet.name: {**outlet.counts, "dropped": self._dropped} for outlet in self._outlets}
        return self._cashier.totalled(replace(record, sinks=counts))

    def _write(self, record: AnyRecord) -> None:
        for outlet in self._outlets:
            outlet.write(record)


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


class _Cashier:
    """Prices responses and keeps the session's sum."""

    def __init__(self, prices: PriceList) -> None:
        self._prices = prices
        self._sum = Decimal(0)
        self._unpriced: list[str] = []
        self._notes = 0
        self._responses = 0
        self._price_date: str | None = None

    def priced(self, record: ConnectionRecord | ResponseRecord) -> AnyRecord:
        if not isinstance(record, ResponseRecord):
            return record
        self._responses += 1
        at = datetime.fromisoformat(record.timestamp)
        tokens = {name: getattr(record, name) for name in TOKEN_FIELDS}
        try:
            cost = self._prices.cost(tokens, record.model, record.provider, at)
        except Exception as error:  # a record is worth more than its price
            cost = Cost(None, f"pricing failed: {type(error).__name__}: {error}")
        self._price_date = at.date().isoformat()
        if cost.usd is None:
            reason = record.usage_reason or cost.reason if record.total_tokens is None else cost.reason
            self._unpriced.append(reason or "unknown")
            return replace(record, cost_reason=reason)
        self._sum += cost.usd
        self._notes += cost.note is not None
        return replace(record, cost_usd=float(cost.usd), cost_note=cost.note)

    def totalled(self, record: SessionRecord) -> SessionRecord:
        record = replace(record, price_data=self._prices.source, price_date=self._price_date)
        if self._unpriced and len(self._unpriced) == self._responses:
            return replace(record, cost_reason=self._unpriced[-1])
        return replace(record, cost_usd=float(self._sum), cost_note=self._note(record))

    def _note(self, record: SessionRecord) -> str | None:
        notes = []
        if (dropped := record.responses - self._responses) > 0:
            notes.append(f"leaves out {dropped} responses that were dropped")
        if self._unpriced:
            notes.append(f"leaves out {len(self._unpriced)} of {self._responses} responses: {self._unpriced[-1]}")
        if unbooked := record.unbooked_total_tokens:
            notes.append(f"leaves out {unbooked} tokens that arrived after their response was recorded")
        if self._notes:
            notes.append(f"in {self._notes} responses, tokens of unknown modality are priced as text")
        return "; ".join(notes) or None
