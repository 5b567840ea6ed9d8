"""Spoken turns, reported by this project, by the recipe, or by nobody."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

from realtime_metrics.recorder import Recorder
from realtime_metrics.records import AnyRecord, ResponseRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks import sink_makers
from realtime_metrics.sinks.base import Sink
from realtime_metrics.startup import PROVIDER
from realtime_metrics.writer import Writer
from tests.fakes.call import until
from tests.proof.bench.framework import Framework
from tests.proof.bench.recipe import Recipe

WARM_UP = 10
"""Rounds that do not count."""

# the CPU time of the loop's thread alone, where the system has a clock for it that is fine enough
clock = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter


class Unreported:
    """A call that nobody but the framework listens to: what every turn costs anyway."""

    def __init__(self) -> None:
        self.call = Framework()

    async def settled(self) -> None:
        """Returns when what was reported is written."""

    async def end(self) -> None:
        """Ends the reporting."""


class RecipeReporting(Unreported):
    """The recipe's handler, which listens to the metrics alone."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self.call.model.on("metrics_collected", Recipe(file).on_metrics_collected)


class ProjectReporting(Unreported):
    """This project's recorder, with all that it listens to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        makers = sink_makers(settings)
        last, make = makers.popitem()  # a sink of our own would have a thread of its own, which costs the loop time
        self._written = Written(make)
        self._writer = Writer({**makers, last: self._written.made})
        self.recorder = Recorder(self.call.session, settings, self._writer, PROVIDER, session_id="AJ_1", room="kitchen")
        self.recorder.watch_model(self.call.model)
        self.call.model.on("metrics_collected", self.recorder.add)
        self._turns = 0

    async def settled(self) -> None:
        self._turns += 1
        await until(lambda: len(self._written.unpriced) + self._written.priced >= self._turns)
        assert not self._written.unpriced, self._written.unpriced

    async def end(self) -> None:
        await self.recorder.aclose()


class Written(Sink):
    """A sink that counts what another has written."""

    def __init__(self, make: Callable[[], Sink]) -> None:
        self._make = make
        self.priced = 0
        self.unpriced: list[str | None] = []

    def made(self) -> Sink:
        self._sink = self._make()
        return self

    def write(self, record: AnyRecord) -> None:
        self._sink.write(record)
        if isinstance(record, ResponseRecord) and record.cost_usd:
            self.priced += 1
        elif isinstance(record, ResponseRecord):
            self.unpriced.append(record.cost_reason)

    def close(self) -> None:
        self._sink.close()


async def times_on_the_loop_s(reportings: Mapping[str, Unreported], rounds: Iterable[object]) -> dict[str, list[float]]:
    """What a turn costs the event loop's thread with each reporting, the loop's own turns included.

    In turns, in an order that changes: what else the machine does touches all alike, and nobody finds the caches warm,
    as nobody does in a call, where seconds of audio are worked on between two responses.
    """
    spent: dict[str, list[float]] = {name: [] for name in reportings}
    for _ in range(WARM_UP):
        for reporting in reportings.values():
            await _time_of_a_turn_s(reporting)
    for _ in rounds:
        for name in random.sample(list(reportings), len(reportings)):
            spent[name].append(await _time_of_a_turn_s(reportings[name]))
    for reporting in reportings.values():
        await reporting.end()
    return spent


async def _time_of_a_turn_s(reporting: Unreported) -> float:
    began = clock()
    await reporting.call.turn()
    await asyncio.sleep(0)  # tasks and callbacks that the turn has scheduled
    await asyncio.sleep(0)
    spent = clock() - began
    await asyncio.sleep(0.001)
    await reporting.settled()
    return spent


async def delays_of_the_loop_s(reporting: Unreported, per_second: float, seconds: float) -> list[float]:
    """How much too late the event loop wakes a sleeper while turns are reported."""
    delays: list[float] = []

    async def sleep_and_wake() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            delays.append(time.perf_counter() - began - 0.001)

    sleeper = asyncio.create_task(sleep_and_wake())
    begin = time.perf_counter()
    for number in range(round(per_second * seconds)):
        await asyncio.sleep(begin + number / per_second - time.perf_counter())
        await reporting.call.turn()
    await asyncio.sleep(begin + seconds - time.perf_counter())
    sleeper.cancel()
    await reporting.end()
    return delays
