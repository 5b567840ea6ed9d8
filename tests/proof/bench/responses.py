"""Responses as a session tells of them, reported by this project or by the recipe."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Protocol

from livekit.agents import CloseEvent, CloseReason
from livekit.agents.metrics import RealtimeModelMetrics

from realtime_metrics.pipeline import Pipeline
from realtime_metrics.settings import Settings
from realtime_metrics.sinks import AnyRecord, make_sinks
from tests.fakes.call import until
from tests.fakes.realtime import FakeRealtimeModel, Usage, metrics
from tests.fakes.stage import Stage, StagedSession
from tests.proof.bench.framework import Framework, Step

WARM_UP = 10
"""Rounds that do not count."""

# the CPU time of the loop's thread alone, where the system has a clock for it that is fine enough
clock = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter


class Reporting(Protocol):
    """Something that reports responses."""

    def response(self) -> list[Step]:
        """One more response, event by event. The metrics go to their handler directly: how the framework's emitter
        finds it is the same for both."""

    async def settled(self) -> None:
        """Returns when what was reported is written."""

    async def end(self) -> None:
        """Ends the session."""


class Written:
    """A sink that counts what has passed the others."""

    def __init__(self) -> None:
        self.records = 0

    def write(self, record: AnyRecord) -> None:
        self.records += 1

    def close(self) -> None:
        """Nothing is held."""


class ProjectReporting:
    """This project's recorder, with every event of a spoken turn that it listens to."""

    def __init__(self, settings: Settings) -> None:
        self._written = Written()
        self._emitted = 0
        self._pipeline = Pipeline({**make_sinks(settings), "written": self._written})
        self._stage = Stage(settings, self._pipeline)
        self._framework = Framework(self._stage.session, self._stage.model)
        self._stage.recorder.watch_model(self._stage.model)  # to come after the framework, as in a call

    def response(self) -> list[Step]:
        self._emitted += 1
        usage = _metrics(f"GR_{self._emitted}", self._emitted)
        return self._framework.turn(self._emitted, lambda: self._stage.recorder.add(usage))

    async def settled(self) -> None:
        await until(lambda: self._written.records >= self._emitted)

    async def end(self) -> None:
        self._stage.session.emit("close", CloseEvent(error=None, reason=CloseReason.USER_INITIATED))
        await self._pipeline.drained()


class Unreported:
    """The same events, with nobody but the framework that listens: what every response costs anyway."""

    def __init__(self) -> None:
        model = FakeRealtimeModel()
        self._framework = Framework(StagedSession(llm=model, vad=None), model.session())
        self._numbers = count(1)

    def response(self) -> list[Step]:
        return self._framework.turn(next(self._numbers))

    async def settled(self) -> None:
        """Nothing is written."""

    async def end(self) -> None:
        """There is nothing to end."""


class RecipeReporting:
    """The recipe's handler, which listens to the metrics alone."""

    def __init__(self, handler: Callable[[RealtimeModelMetrics], None]) -> None:
        self._handler = handler
        self._numbers = count(1)

    def response(self) -> list[Step]:
        number = next(self._numbers)
        usage = _metrics(f"GR_{number}", number)
        return [lambda: self._handler(usage)]

    async def settled(self) -> None:
        """It is written already."""

    async def end(self) -> None:
        """There is nothing to end."""


class Silence:
    """Nothing is reported: what the machine and the clock alone do."""

    def response(self) -> list[Step]:
        return []

    async def settled(self) -> None:
        """Nothing is written."""

    async def end(self) -> None:
        """There is nothing to end."""


def _metrics(request_id: str, number: int) -> RealtimeModelMetrics:
    label = "livekit.plugins.google.realtime.realtime_api.RealtimeModel"
    return metrics(request_id, Usage(output_audio=number), timestamp=time.time() - 1, duration=1.0, label=label)


async def times_on_the_loop_s(reportings: Mapping[str, Reporting], rounds: Iterable[object]) -> dict[str, list[float]]:
    """What a response costs the event loop's thread with each reporting, the loop's own turns included.

    In turns, in an order that changes: what else the machine does touches all alike, and nobody finds the caches warm,
    as nobody does in a call, where seconds of audio are worked on between two responses.
    """
    spent: dict[str, list[float]] = {name: [] for name in reportings}
    for _ in range(WARM_UP):
        for reporting in reportings.values():
            await _time_of_a_response_s(reporting)
    for _ in rounds:
        for name in random.sample(list(reportings), len(reportings)):
            spent[name].append(await _time_of_a_response_s(reportings[name]))
    for reporting in reportings.values():
        await reporting.end()
    return spent


async def _time_of_a_response_s(reporting: Reporting) -> float:
    steps = reporting.response()
    began = clock()
    for step in steps:
        step()
    await asyncio.sleep(0)  # tasks and callbacks that the steps have scheduled
    await asyncio.sleep(0)
    spent = clock() - began
    await asyncio.sleep(0.001)
    await reporting.settled()
    return spent


async def delays_of_the_loop_s(reporting: Reporting, per_second: float, seconds: float) -> list[float]:
    """How much too late the event loop wakes a sleeper while responses are reported."""
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
        for step in reporting.response():
            step()
    sleeper.cancel()
    await reporting.end()
    return delays
