"""The real plugin on the real wire, with the project's agent and reporting, in this process and without a voice."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import ParamSpec

from livekit.agents import AgentSession
from livekit.agents.llm import ToolError, function_tool
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.plugins import google

from agent import MetricsAgent
from demo.gemini_server import GeminiLiveServer
from demo.ledger import Counts
from demo.scenario import Scenario
from realtime_metrics.recorder import Recorder
from realtime_metrics.records import ConnectionRecord, CountedRecord, ResponseRecord, SessionRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.base import Sink
from realtime_metrics.startup import PROVIDER
from realtime_metrics.writer import Writer
from tests.fakes.call import KeptRecords, made, until
from tests.fakes.speaker import Speaker
from tests.fakes.vad import FakeVad

P = ParamSpec("P")

DETAILS = {
    "input": "promptTokensDetails",
    "input_cached": "cacheTokensDetails",
    "output": "responseTokensDetails",
    "tool_use": "toolUsePromptTokensDetails",
}
TOTALS = {
    "input": "promptTokenCount",
    "input_cached": "cachedContentTokenCount",
    "output": "responseTokenCount",
    "tool_use": "toolUsePromptTokenCount",
    "thoughts": "thoughtsTokenCount",
    "total": "totalTokenCount",
}
MODALITIES = ("AUDIO", "TEXT", "IMAGE", "VIDEO", "DOCUMENT")


class WireAgent(MetricsAgent):
    """The project's agent, with the tool that scenarios call. Counts what the plugin announces."""

    generations = 0
    usage_messages = 0

    async def on_enter(self) -> None:
        self.realtime_llm_session.on("generation_created", self._count_generation)
        self.realtime_llm_session.on("metrics_collected", self._count_usage)
        await super().on_enter()

    def _count_generation(self, _: object) -> None:
        self.generations += 1

    def _count_usage(self, metrics: RealtimeModelMetrics) -> None:
        self.usage_messages += bool(metrics.request_id)

    @function_tool
    async def get_weather(self, city: str) -> str:
        """Tells the weather of a city."""
        if not city:
            raise ToolError("which city?")
        return f"sunny in {city}"

    @function_tool
    async def get_next_train(self, city: str) -> str:
        """Tells when the next train to a city leaves, after a while."""
        await asyncio.sleep(0.3)
        return f"to {city} at ten"


@contextmanager
def led_to(server: GeminiLiveServer) -> Iterator[None]:
    """Leads the Google plugin of this process to a local server."""
    before = {name: os.environ.get(name) for name in server.env}
    os.environ.update(server.env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class WireSession:
    """One session that plays a scenario and ends.

    Attributes:
        closed: set when the framework closed the session by itself.
        usage_alone: how many usage messages came that the plugin has no generation for.
    """

    def __init__(self, server: GeminiLiveServer, scenario: Scenario, settings: Settings | None = None) -> None:
        self.server = server
        self.key = server.add(scenario)
        self.kept = KeptRecords()
        self.closed = asyncio.Event()
        self.usage_alone = 0
        self.more_sinks: dict[str, Sink] = {}
        self._settings = settings or (Settings(model=scenario.model) if scenario.model else Settings())

    async def prepare(self) -> None:
        """Makes the session, for more to be listened to before `start`."""
        model = google.realtime.RealtimeModel(model=self._settings.model, api_key=self.key)
        self.session: AgentSession[None] = AgentSession(llm=model, vad=FakeVad())
        self.session.output.audio = Speaker(speed=20)
        writer = Writer(made({"kept": self.kept, **self.more_sinks}))
        self.recorder = Recorder(self.session, self._settings, writer, PROVIDER, session_id=self.key, room="wire")
        listener = self.recorder.listener
        self.recorder.listener = replace(
            listener,
            usage_came_alone=self._counted(listener.usage_came_alone),
        )
        self.session.on("close", lambda _: self.closed.set())
        self.agent = WireAgent(self.recorder)

    def _counted(self, action: Callable[P, None]) -> Callable[P, None]:
        def counted(*arguments: P.args, **named: P.kwargs) -> None:
            self.usage_alone += 1
            action(*arguments, **named)

        return counted

    async def start(self) -> None:
        if not hasattr(self, "session"):
            await self.prepare()
        await self.session.start(agent=self.agent)

    async def play(self, timeout_s: float = 20.0) -> None:
        """Until the scenario is at its end, or the framework gave the session up."""
        at_end = asyncio.ensure_future(self.server.wait_for_end(self.key, timeout_s=timeout_s))
        closed = asyncio.ensure_future(self.closed.wait())
        await asyncio.wait([at_end, closed], return_when=asyncio.FIRST_COMPLETED)
        for waiting in (at_end, closed):
            waiting.cancel()
        await asyncio.gather(at_end, closed, return_exceptions=True)

    async def read(self, timeout_s: float = 5.0) -> None:
        """Until the plugin has read every usage message that it can book, if it ever does."""
        sent = [entry for entry in self.server.ledger.of(self.key) if entry.lost is None]
        with contextlib.suppress(TimeoutError):  # the test will tell
            await until(lambda: self.agent.usage_messages + self.usage_alone >= len(sent), timeout_s)

    async def end(self) -> SessionRecord:
        """Ends the session; its record."""
        await self.session.aclose()
        await self.recorder.aclose()
        return self.kept.session

    @property
    def responses(self) -> list[ResponseRecord]:
        return self.kept.responses

    @property
    def connections(self) -> list[ConnectionRecord]:
        return self.kept.connections

    @property
    def ledger(self) -> Counts:
        """What the server's ledger says that this session used."""
        return self.server.ledger.total(self.key)


def sent(ledger: Mapping[str, int]) -> dict[str, int]:
    """What a ledger says, by the names of the records; without the remainders of unknown modality."""
    counts = {f"{group}_tokens": ledger.get(name, 0) for group, name in TOTALS.items()}
    for group, name in DETAILS.items():
        for modality in MODALITIES:
            counts[f"{group}_{modality.lower()}_tokens"] = ledger.get(f"{name}.{modality}", 0)
    return counts


def recorded(record: CountedRecord) -> dict[str, int]:
    """What a record says of the same counts; unknown counts as nothing."""
    return {name: record.tokens[name] or 0 for name in sent({})}
