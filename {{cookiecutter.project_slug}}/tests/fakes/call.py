"""A call in this process: the project's agent and reporting, a fake model, a fake user."""

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from livekit.agents import AgentSession

from agent import MetricsAgent
from realtime_metrics.google_live import GoogleLive
from realtime_metrics.provider import Provider
from realtime_metrics.recorder import Recorder
from realtime_metrics.records import AnyRecord, ConnectionRecord, ResponseRecord, SessionRecord, UnansweredRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.base import Sink
from realtime_metrics.writer import Writer
from tests.fakes.realtime import FakeRealtimeModel, FakeRealtimeSession, Reply
from tests.fakes.speaker import Speaker
from tests.fakes.vad import FakeVad

GEMINI = GoogleLive()


class KeptRecords(Sink):
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.closed = False

    @property
    def responses(self) -> list[ResponseRecord]:
        return [record for record in self.records if isinstance(record, ResponseRecord)]

    @property
    def connections(self) -> list[ConnectionRecord]:
        return [record for record in self.records if isinstance(record, ConnectionRecord)]

    @property
    def unanswered(self) -> list[UnansweredRecord]:
        return [record for record in self.records if isinstance(record, UnansweredRecord)]

    @property
    def session(self) -> SessionRecord:
        """The record that closes the session: the last one."""
        last = self.records[-1]
        assert isinstance(last, SessionRecord)
        return last

    def write(self, record: AnyRecord) -> None:
        self.records.append(record)

    def close(self) -> None:
        self.closed = True


def made(sinks: Mapping[str, Sink]) -> dict[str, Callable[[], Sink]]:
    """For a `Writer`, which has its sinks made: these are there already."""
    return {name: functools.partial(_itself, sink) for name, sink in sinks.items()}


def _itself(sink: Sink) -> Sink:
    return sink


class FakeCall:
    """A session that runs, with a recorder on it.

    Args:
        replies: what the model says when a reply is requested; without one left, the test moves `model` itself.
        agent: makes the agent.
        sinks: beside the one that keeps the records.
        speaker: where the audio goes.
        audio: whether the session has an audio output.
        provider: whose realtime model it is.
    """

    def __init__(
        self,
        *replies: Reply,
        agent: Callable[[Recorder], MetricsAgent] = MetricsAgent,
        sinks: Mapping[str, Sink] | None = None,
        settings: Settings | None = None,
        speaker: Speaker | None = None,
        audio: bool = True,
        model: FakeRealtimeModel | None = None,
        provider: Provider = GEMINI,
    ) -> None:
        self.vad = FakeVad()
        self.kept = KeptRecords()
        self._replies = replies
        self._make_agent = agent
        self._sinks = sinks or {}
        self._settings = settings or Settings()
        self._speaker = (speaker or Speaker()) if audio else None
        self._model = model or FakeRealtimeModel()
        self._provider = provider

    async def __aenter__(self) -> Self:
        self._model.replies.extend(self._replies)
        writer = Writer(made({"kept": self.kept, **self._sinks}))
        self.session: AgentSession[None] = AgentSession(llm=self._model, vad=self.vad)
        self.session.output.audio = self._speaker
        self.recorder = Recorder(
            self.session, self._settings, writer, self._provider, session_id="AJ_1", room="kitchen"
        )
        await self.session.start(agent=self._make_agent(self.recorder))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.end()

    @property
    def model(self) -> FakeRealtimeSession:
        """The realtime session that the agent got."""
        return self._model.sessions[0]

    @property
    def responses(self) -> list[ResponseRecord]:
        return self.kept.responses

    @property
    def connections(self) -> list[ConnectionRecord]:
        return self.kept.connections

    @property
    def unanswered(self) -> list[UnansweredRecord]:
        return self.kept.unanswered

    async def user_speaks(self, speech_s: float = 0.0, silence_s: float = 0.0) -> None:
        """The user has just said something; the VAD notices its end after so much silence."""
        self.vad.speech_began(speech_s + silence_s)
        await until(lambda: self.session.user_state == "speaking")
        self.vad.speech_ended(silence_s)
        await until(lambda: self.session.user_state == "listening")

    async def reported(self, number: int = 1, timeout_s: float = 5.0) -> ResponseRecord:
        """The last of so many response records, once they are there.

        Raises:
            TimeoutError: there are fewer.
        """
        await until(lambda: len(self.responses) >= number, timeout_s)
        return self.responses[number - 1]

    async def end(self) -> SessionRecord:
        """Ends the session; the record that closes it."""
        await self.session.aclose()
        await self.recorder.aclose()
        return self.kept.session


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Returns when the condition holds.

    Raises:
        TimeoutError: it does not.
    """
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError("it did not happen")
        await asyncio.sleep(0.002)
