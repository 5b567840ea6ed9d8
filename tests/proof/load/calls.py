"""`python -m tests.proof.load calls`: many calls at once in one process, over the real wire, and what reporting costs.

Every call is a real `AgentSession` with the project's agent, the real Google plugin and the real VAD. The user is
silent, the program asks for each reply. The local Gemini Live server runs in a process of its own.
"""

import asyncio
import contextlib
import functools
import gc
import json
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
from livekit import rtc
from livekit.agents.voice import io
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from demo.agent_process import clean_environment
from demo.gemini_server import GeminiLiveServer
from demo.scenario import Reply, Scenario, Turn
from demo.speech import utterances

if TYPE_CHECKING:
    from livekit.agents import AgentSession

    from realtime_metrics.recorder import Recorder

SINKS = "jsonl,log,prometheus"
EVERY_S = 2.0
"""A call asks for a reply so often."""
TICK_S = 0.01
"""So often the event loop is asked how late it is."""
PROGRESS_S = 5.0

SAMPLE_RATE = 24_000
FRAME_SAMPLES = SAMPLE_RATE // 20

GOAL_CPU_SHARE = 0.04
"""Of the process's CPU time may be spent in `realtime_metrics`, the ears aside."""


@dataclass
class Seen:
    """What a load run saw."""

    sessions: int
    responses: int
    records: dict[str, int] = field(default_factory=dict)
    """Sink -> records written."""
    failed: int = 0
    dropped: int = 0
    expected_responses: int = 0
    delays_s: list[float] = field(default_factory=list)
    """How late the event loop was, each time it was asked."""
    rss_per_session: float = 0.0
    held: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the first reply, and bytes that `realtime_metrics` held then."""
    took_s: float = 0.0
    cpu_s: float = 0.0
    metrics_loop_s: float = 0.0
    metrics_threads_s: float = 0.0
    ears_s: float = 0.0
    frames: int = 0
    """That the ears have heard."""

    @property
    def asked_for(self) -> int:
        """Of the responses, those after the greetings, while the time was taken."""
        return self.expected_responses - self.sessions

    @property
    def metrics_s(self) -> float:
        return self.metrics_loop_s + self.metrics_threads_s

    @property
    def lost(self) -> int:
        return self.expected_responses - self.responses + self.failed + self.dropped

    @property
    def slope(self) -> float:
        """Bytes per minute and session, over the second half of the run."""
        late = self.held[len(self.held) // 2 :]
        if len(late) < 2:
            return float("nan")
        return statistics.linear_regression(*zip(*late, strict=True)).slope * 60 / self.sessions


class _Microphone(io.AudioInput):
    """Hears silence, which is sent and listened to like speech."""

    def __init__(self) -> None:
        super().__init__(label="load")
        self._silence = rtc.AudioFrame(bytes(2 * FRAME_SAMPLES), SAMPLE_RATE, 1, FRAME_SAMPLES)
        self._next_at = 0.0

    async def __anext__(self) -> rtc.AudioFrame:
        now = time.monotonic()
        self._next_at = max(self._next_at, now - 1.0) + FRAME_SAMPLES / SAMPLE_RATE
        await asyncio.sleep(self._next_at - now)
        return self._silence


class _Speaker(io.AudioOutput):
    """Plays into nothing, at once."""

    def __init__(self) -> None:
        super().__init__(label="load", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=24_000)
        self._played_s = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._played_s:
            self.on_playback_started(created_at=time.time())
        self._played_s += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._played_s:
            self.on_playback_finished(playback_position=self._played_s, interrupted=False)
        self._played_s = 0.0

    def clear_buffer(self) -> None:
        self.flush()


def scenario(turns: int) -> Scenario:
    """Short replies, one each time the program asks."""
    user = next(iter(utterances()))  # a turn that somebody speaks does not begin by itself
    turn = Turn(user=user, heard="", text="It stays sunny.", audio_s=0.5, latency_s=0.3)
    return Scenario(greeting=Reply(text="Hello!", audio_s=0.5), turns=(turn,) * turns, pace=5, waits_for_playback=False)


@contextlib.contextmanager
def gemini_process(played: Scenario) -> Iterator[dict[str, str]]:
    """The local Gemini Live server in another process; the variables that lead there."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, played), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(10)


def _serve(connection: Connection, played: Scenario) -> None:
    async def serve() -> None:
        async with GeminiLiveServer(played) as server:
            connection.send(server.env)
            with contextlib.suppress(EOFError, OSError):
                await asyncio.to_thread(connection.recv)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


def run(sessions: int, turns: int, console: Console) -> int:
    """Runs the load and prints what it saw; 1 if a record was lost."""
    with (
        gemini_process(scenario(turns)) as server,
        tempfile.TemporaryDirectory(prefix="load-", ignore_cleanup_errors=True) as folder,
    ):
        jsonl = Path(folder, "metrics.jsonl")
        ours = {"METRICS_SINKS": SINKS, "METRICS_JSONL_PATH": str(jsonl), "METRICS_PROMETHEUS_PORT": "0"}
        environment = clean_environment(server | ours)
        os.environ.clear()
        os.environ.update(environment)
        logging.getLogger("livekit").addHandler(logging.NullHandler())
        logging.getLogger("livekit").setLevel(logging.INFO)
        seen = asyncio.run(_Load(sessions, turns, console).run())
        _count_records(seen, jsonl)
    console.print(_table(seen), highlight=False)
    return 1 if seen.lost else 0


class _Load:
    def __init__(self, sessions: int, turns: int, console: Console) -> None:
        self._turns = turns
        self._console = console
        self._seen = Seen(sessions, 0, expected_responses=sessions * (turns + 1))
        self._done = 0
        self._recorders: list[Recorder] = []

    async def run(self) -> Seen:
        import agent  # reads the settings

        clock = _Clock()
        seen = self._seen
        from livekit.plugins import silero

        self._models, self._vad = (agent, clock), silero.VAD.load()
        gc.collect()
        before = psutil.Process().memory_info().rss
        with self._progress() as progress:
            late = asyncio.create_task(self._ask_loop())
            async with contextlib.AsyncExitStack() as stack:
                calls = [await stack.enter_async_context(self._call(number)) for number in range(seen.sessions)]
                started_at, cpu_s = time.monotonic(), time.process_time()
                loop_s, threads_s, ears_s, frames = clock.loop_s, clock.threads_s, clock.ears_s, clock.frames
                watching = asyncio.create_task(self._watch(progress, started_at))
                await asyncio.gather(*map(self._talk, calls))
                seen.rss_per_session = (psutil.Process().memory_info().rss - before) / seen.sessions
                seen.took_s = time.monotonic() - started_at
                seen.cpu_s = time.process_time() - cpu_s
                seen.metrics_loop_s = clock.loop_s - loop_s
                seen.metrics_threads_s = clock.threads_s - threads_s
                seen.ears_s = clock.ears_s - ears_s
                seen.frames = clock.frames - frames
                late.cancel()
                watching.cancel()
        return seen

    @contextlib.asynccontextmanager
    async def _call(self, number: int) -> AsyncIterator["AgentSession[None]"]:
        from livekit.agents import AgentSession
        from livekit.plugins import google

        from realtime_metrics.sinks import sink_makers
        from realtime_metrics.startup import PROVIDER
        from realtime_metrics.writer import Writer

        agent, clock = self._models
        settings = agent.settings
        # the server tells its clients apart by the key
        model = google.realtime.RealtimeModel(model=settings.model, api_key=f"{os.environ['GOOGLE_API_KEY']}-{number}")
        session: AgentSession[None] = AgentSession(llm=model, vad=self._vad)
        session.input.audio = _Microphone()
        session.output.audio = _Speaker()
        writer = Writer(sink_makers(settings))
        recorder = clock.recorder(session, settings, writer, PROVIDER, session_id=f"load-{number}", room="load")
        self._recorders.append(recorder)
        await session.start(agent=agent.MetricsAgent(recorder))
        try:
            yield session
        finally:
            await session.aclose()
            await recorder.aclose()

    async def _talk(self, session: "AgentSession[None]") -> None:
        next_at = time.monotonic() + EVERY_S * (hash(id(session)) % 100) / 100  # not all at once
        for _ in range(self._turns):
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))
            next_at += EVERY_S
            await session.generate_reply()
            self._done += 1

    async def _ask_loop(self) -> None:
        while True:
            due = time.perf_counter() + TICK_S
            await asyncio.sleep(TICK_S)
            self._seen.delays_s.append(max(0.0, time.perf_counter() - due))

    async def _watch(self, progress: Callable[[int], None], started_at: float) -> None:
        while True:
            self._seen.held.append((time.monotonic() - started_at, sum(map(_held_bytes, self._recorders))))
            progress(self._done)
            await asyncio.sleep(PROGRESS_S)

    @contextlib.contextmanager
    def _progress(self) -> Iterator[Callable[[int], None]]:
        total = self._seen.sessions * self._turns
        what = f"{self._seen.sessions} calls, {self._turns} replies each"
        if not self._console.is_terminal:
            yield lambda done: self._console.print(f"{what}: {done} of {total}")
            return
        with Progress(console=self._console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)


class _Clock:
    """CPU time spent in `realtime_metrics`: by recorder and ears on the event loop, and in the sinks' threads."""

    def __init__(self) -> None:
        from realtime_metrics import ears, writer
        from realtime_metrics.recorder import Recorder
        from realtime_metrics.responses import Responses

        self.loop_s = 0.0
        self.ears_s = 0.0
        self.frames = 0
        self._of_thread_s: dict[int, float] = {}
        self._inside = False
        clock = self

        class TimedLane(writer._Lane):
            def _write(self, sink: Any, record: Any) -> None:
                super()._write(sink, record)
                clock._of_thread_s[id(self)] = time.thread_time()

        def timed(method: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(method)
            def measured(*args: Any, **named: Any) -> Any:
                if clock._inside:
                    return method(*args, **named)
                clock._inside, began_s = True, time.thread_time()
                try:
                    return method(*args, **named)
                finally:
                    clock.loop_s += time.thread_time() - began_s
                    clock._inside = False

            return measured

        def heard(method: Callable[..., Any]) -> Callable[..., Any]:
            def measured(*args: Any) -> Any:
                recorder_s, began_s = clock.loop_s, time.thread_time()
                try:
                    return method(*args)
                finally:  # what the recorder does with it is the recorder's
                    clock.frames += 1
                    clock.ears_s += time.thread_time() - began_s - (clock.loop_s - recorder_s)

            return measured

        writer._Lane = TimedLane  # type: ignore[misc]
        ears.SoundFinder.hear = heard(ears.SoundFinder.hear)  # type: ignore[method-assign]
        ears.HearingOutput._hear = heard(ears.HearingOutput._hear)  # type: ignore[method-assign]
        for entry in ("completed", "generation_ended", "used_alone"):  # the provider's session calls them
            setattr(Responses, entry, timed(getattr(Responses, entry)))
        names = [name for name in vars(Recorder) if name.startswith("_on_") or name in ("add", "close")]
        self.recorder = type("TimedRecorder", (Recorder,), {name: timed(getattr(Recorder, name)) for name in names})

    @property
    def threads_s(self) -> float:
        return sum(self._of_thread_s.values())


def _held_bytes(recorder: object) -> int:
    """Bytes of the objects that a recorder keeps: its own and plain data, not the framework's that these refer to."""
    total, seen, to_visit = 0, {id(recorder)}, [recorder]
    while to_visit:
        thing = to_visit.pop()
        total += sys.getsizeof(thing)
        for part in gc.get_referents(thing):
            if id(part) not in seen and type(part).__module__.split(".")[0] in _OURS and not isinstance(part, _CODE):
                seen.add(id(part))
                to_visit.append(part)
    return total


_OURS = {"builtins", "array", "collections", "realtime_metrics", "decimal", "_queue", "queue"}
_CODE = (type, type(time), type(lambda: None), type(print), type(_held_bytes.__code__))


def _count_records(seen: Seen, jsonl: Path) -> None:
    kinds: Counter[str] = Counter()
    sinks: Counter[str] = Counter()
    for line in jsonl.read_text("utf-8").splitlines():
        record = json.loads(line)
        kinds[record["kind"]] += 1
        if record["kind"] == "session":
            for name, counts in record["sinks"].items():
                sinks[name] += counts["written"] + 1  # the session's own
                seen.failed += counts["failed"]
                seen.dropped += counts["dropped"]
    seen.responses = kinds["response"]
    seen.records = dict(sinks)


def _table(seen: Seen) -> Table:
    table = Table(title="What the load saw", title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    delays_ms = [delay_s * 1000 for delay_s in sorted(seen.delays_s)]
    rows = {
        "Sessions at once": f"{seen.sessions}",
        "Responses": f"{seen.responses:,} of {seen.expected_responses:,}",
        "Records": ", ".join(f"{name} {count:,}" for name, count in seen.records.items()),
        "Lost": f"{seen.lost} ({seen.dropped} dropped, {seen.failed} failed); goal: 0",
        "Event loop late": f"p50 {_at(delays_ms, 0.5):.2f} ms, p99 {_at(delays_ms, 0.99):.2f} ms, "
        f"max {delays_ms[-1]:.1f} ms",
        "CPU": f"{seen.cpu_s:.1f} s in {seen.took_s:.0f} s",
        "… in realtime_metrics": f"{seen.metrics_s:.2f} s, {seen.metrics_s / seen.cpu_s:.1%} of it "
        f"({seen.metrics_loop_s:.2f} s on the loop, {seen.metrics_threads_s:.2f} s in threads); "
        f"goal: at most {GOAL_CPU_SHARE:.0%}",
        "… to listen": f"{seen.ears_s:.2f} s, {seen.ears_s / seen.cpu_s:.1%} of it, both directions of every call; "
        f"{seen.ears_s / max(1, seen.frames) * 1e6:.0f} µs a frame",
        "… per record": f"{seen.metrics_s / max(1, seen.asked_for) * 1e6:.0f} µs, all sinks together",
        "Memory per session": f"{seen.rss_per_session / 1e6:.1f} MB of the process, "
        f"{seen.held[-1][1] / seen.sessions / 1e3:.1f} kB of it in realtime_metrics",
        "Memory's slope": f"{seen.slope / 1e3:+.2f} kB a minute and session in realtime_metrics; goal: flat",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
