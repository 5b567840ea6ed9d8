"""Plays a recording: the same messages at the same times, against the agent as it is now.

`await replay("monday", speed=20)` is a test of an agent; `uv run -m demo --replay monday` shows the same. Times run
from the last thing that the agent or the user did: a connection, a request for a reply, the end of what the user said.
So what the agent does sooner or later than it did then moves what follows, and waits stay those of the service.
"""

import asyncio
import base64
import contextlib
import http
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State

from demo.agent_process import AgentProcess
from demo.call import AgentFailedError, Call, Record, call
from demo.gemini_server import GeminiLiveServer
from demo.gemini_session import LEAVING, OUTPUT_SAMPLE_RATE, Client
from demo.ledger import Counts, Entry, Ledger, is_malformed
from demo.recording import Line, Recording, RecordingError, described, hear, read
from demo.scenario import Scenario
from demo.speech import WAV_SAMPLE_RATE, Utterance, utterances
from realtime_metrics.ears import SoundFinder

START_S = 60.0
GRACE_S = 10.0
"""How long the agent may take for what it did in the recording; then the recording goes on without it."""
LEAD_S = 0.03
"""From the microphone to the server, the plugin's pieces included."""
HEARD_S = 0.1
"""Until the server has heard the end of what was said."""
FASTEST = 20
SETTLE_S = 2.5
"""What a response's record may take, at another speed than the recording's."""
BILLED = {
    "input_tokens": "promptTokenCount",
    "output_tokens": "responseTokenCount",
    "thoughts_tokens": "thoughtsTokenCount",
    "tool_use_tokens": "toolUsePromptTokenCount",
    "total_tokens": "totalTokenCount",
}
"""A session record's counts, and their names on the wire."""


@dataclass(frozen=True)
class Replayed:
    """A recording that was played.

    Attributes:
        bill: tokens that the recording's usage adds up to, by the names of the session's record.
        records: what the agent reported.
        missing: what the agent did in the recording and not now, and how often.
    """

    recording: Recording
    bill: dict[str, int]
    records: list[Record]
    missing: Counter[str]

    @property
    def session(self) -> Record:
        """The session's record."""
        return next(record for record in reversed(self.records) if record["kind"] == "session")

    @property
    def billed(self) -> dict[str, int]:
        """The same tokens, by the session's record; unknown counts as nothing."""
        return {name: self.session[name] or 0 for name in BILLED}

    @property
    def waits_s(self) -> list[float]:
        """From the end of what the user said to the answer, by the records; of answers that have one."""
        waits = [record for record in self.records if record.get("time_to_first_audio_from") == "user_speech_end"]
        return [record["time_to_first_audio_s"] for record in waits]


async def replay(
    name: str, speed: float = 1.0, told: Callable[[list[str]], None] = lambda _: None, *, tables: bool = False
) -> Replayed:
    """Plays a recording (a name, or a file) against the agent.

    Args:
        name: of the recording.
        speed: how many times faster. At another speed than 1 the user is silent, and only usage and cost compare.
        told: called with lines: how long it takes, and the agent's reports.
        tables: whether every response is reported as a table.

    Raises:
        RecordingError: there is none, it cannot be read, or the agent does not run through it; or the speed is none.
    """
    if not 1 <= speed <= FASTEST:
        raise RecordingError(f"{speed:g} is no speed: a number from 1 to {FASTEST} is")
    recording = read(name)
    if not recording.lines:
        raise RecordingError(f"{recording.path} holds no call")
    told([f"Playing {recording.name}: {recording.lines[-1].at_s / speed:.0f} s."])
    server = ReplayServer(recording, speed)
    model = next((setup.model for setup in recording.setups if setup.model), None)
    scenario = Scenario(name=recording.name, model=model, entrypoint="demo/reporting_agent.py")
    env = {"DEMO_REPLAY": str(recording.path.resolve()), "DEMO_REPLAY_SPEED": str(speed)}
    env["DEMO_AGENT"] = "demo.replay_agent"
    try:
        async with call(scenario, sinks="console,jsonl" if tables else "demo,jsonl", env=env, server=server) as ongoing:
            telling = asyncio.create_task(_tell(ongoing.agent, told))
            player = _Player(ongoing, server, speed)
            try:
                await player.play(recording)
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
            replayed = Replayed(recording, bill(recording), ongoing.records(), player.missing)
    except (AgentFailedError, TimeoutError) as error:
        raise RecordingError(str(error) or "the agent did not end") from None
    if not any(record["kind"] == "session" for record in replayed.records):
        raise RecordingError("the agent ended without a record of its session")
    return replayed


async def _tell(agent: AgentProcess, told: Callable[[list[str]], None]) -> None:
    shown = 0
    try:
        while True:
            await asyncio.sleep(0.1)
            lines = agent.reports[shown:]
            shown += len(lines)
            told(lines)
    finally:
        told(agent.reports[shown:])


class ReplayServer(GeminiLiveServer):
    """Notes what the client does, and when; what it is answered comes from the player."""

    def __init__(self, recording: Recording, speed: float) -> None:
        super().__init__()
        self.ears = SoundFinder()
        self.websockets: list[ServerConnection] = []
        self.arrived: dict[str, list[float]] = defaultdict(list)
        """`time.monotonic()`, by the kind of what came."""
        handshakes = [line for line in recording.lines if line.kind in ("connect", "accept", "refused")]
        self._answers = {line.connection: line for line in handshakes if line.source == "server"}
        self._took_s = {
            line.connection: (self._answers[line.connection].at_s - line.at_s) / speed
            for line in handshakes
            if line.source == "client" and line.connection in self._answers
        }

    async def _shake_hands(self, websocket: ServerConnection, request: Request) -> Response | None:
        number = len(self.websockets)
        self.websockets.append(websocket)
        self._note("connect")
        await asyncio.sleep(self._took_s.get(number, 0.0))
        answer = self._answers.get(number)
        if answer is None or answer.kind == "accept":
            return None
        return websocket.respond(http.HTTPStatus(answer.status), answer.reason)

    async def _serve(self, websocket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for raw in websocket:
                kind, known = described(json.loads(raw))
                if kind == "audio":
                    hear(self.ears, known["pcm"], time.monotonic())
                elif kind != "client_content" or known["complete"]:
                    self._note(kind)

    def _note(self, kind: str) -> None:
        self.arrived[kind].append(time.monotonic())
        self.seen.wake()


class _Player:
    """Plays a recording's lines in their order, at their times."""

    def __init__(self, call: Call, server: ReplayServer, speed: float) -> None:
        self.missing: Counter[str] = Counter()
        self._call = call
        self._server = server
        self._speed = speed
        self._anchor = (0.0, time.monotonic())
        """A time of the recording's, and when that was now."""
        self._followed: Counter[str] = Counter()
        self._agent_until_s = 0.0
        """The recording's time when the agent had said all that it was sent."""
        self._audio_sent_at: float | None = None
        """`time.time()`; `None` where nothing is left to be heard."""
        self._saying: asyncio.Task[Any] | None = None

    async def play(self, recording: Recording) -> None:
        """To its end; then the user hangs up, unless the agent has left."""
        self._typed = {id(line) for line in recording.typed}
        for at_s, line in recording.steps:
            if self._call.agent.returncode is not None:
                break
            await self._step(at_s, line)
        if self._saying is not None:
            self._saying.cancel()
        ends = [line for line in recording.lines if line.kind in ("close", "refused")]
        by_agent = bool(ends) and ends[-1].source == "server"
        by_agent |= bool(self._server.websockets) and self._server.websockets[-1].state is not State.OPEN
        if self._speed != 1:
            await asyncio.sleep(SETTLE_S)
        if by_agent:
            with contextlib.suppress(TimeoutError):
                await self._call.agent.wait(GRACE_S)
                return
        await self._call.hang_up()

    async def _step(self, at_s: float, line: Line) -> None:
        if line.kind == "sound":
            if self._speed == 1:
                await (self._begin_to_say(line) if at_s == line.at_s else self._end_saying(line))
        elif line.source == "server":
            await self._send(line)
        elif line.kind in ("connect", "setup", "tool_response") or line.complete:
            await self._follow(line)
        elif id(line) in self._typed:
            await self._until(at_s)
            self._call.host.type(filled({"length": sum(length for _, length in line.turns)}))
        elif line.kind == "close":
            await self._until(at_s)

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(self._due(at_s) - time.monotonic())

    def _due(self, at_s: float) -> float:
        return self._anchor[1] + (at_s - self._anchor[0]) / self._speed

    async def _follow(self, line: Line) -> None:
        """Waits for the agent to do what it did then; what comes after is timed from there.

        Not from a tool's result: a stand-in takes the recorded time and the agent's own besides, once more.
        """
        number, arrived = self._followed[line.kind], self._server.arrived[line.kind]
        self._followed[line.kind] += 1
        grace_s = START_S if line.kind == "connect" and not number else GRACE_S
        late_s = max(0.0, self._due(line.at_s) - time.monotonic()) + grace_s
        try:
            await self._server.seen.until(lambda: len(arrived) > number, late_s)
            if line.kind != "tool_response":
                self._anchor = (line.at_s, arrived[number])
        except TimeoutError:
            self.missing[line.kind] += 1

    async def _begin_to_say(self, line: Line) -> None:
        await asyncio.sleep(self._due(line.at_s) - LEAD_S - time.monotonic())
        if line.at_s > self._agent_until_s:
            await self._agent_is_silent()
        if self._saying is None or self._saying.done():
            self._said_at = time.monotonic()
            self._saying = asyncio.create_task(self._call.host.say(speech(line)))

    async def _agent_is_silent(self) -> None:
        """A user who let the agent finish then does so now, however late the agent is."""
        heard, sent_at = self._call.host.heard, self._audio_sent_at
        if sent_at is not None:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._call.host.wait_for(lambda: bool(heard) and (heard[-1].ended_at or 0) >= sent_at, GRACE_S)

    async def _end_saying(self, line: Line) -> None:
        if self._saying is None:
            return
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self._saying
        await asyncio.sleep(HEARD_S)
        sounds = self._server.ears.sounds
        if sounds and sounds[-1].ended_at > self._said_at:
            self._anchor = (line.until_s, sounds[-1].ended_at)

    async def _send(self, line: Line) -> None:
        await self._until(line.at_s)
        if line.connection >= len(self._server.websockets) or line.kind in ("accept", "refused"):
            return
        websocket = self._server.websockets[line.connection]
        with contextlib.suppress(ConnectionClosed):
            if line.kind == "close" and line.code == CloseCode.ABNORMAL_CLOSURE:
                websocket.transport.abort()
            elif line.kind == "close":
                unsaid = line.code == CloseCode.NO_STATUS_RCVD
                await websocket.close(CloseCode.NORMAL_CLOSURE if unsaid else line.code, line.reason)
            else:
                text = "x" * line.bytes if line.kind == "garbage" else json.dumps(filled(line.message, self._speed))
                await websocket.send(text.encode() if line.binary else text)
                self._follow_agent(line)

    def _follow_agent(self, line: Line) -> None:
        """How long what it was sent keeps the agent speaking, in the recording's time."""
        if line.message.get("serverContent", {}).get("interrupted"):
            self._agent_until_s, self._audio_sent_at = line.at_s, None
        elif audio_s := sum(audio["audio_s"] for audio in _audio_of(line.message)):
            self._agent_until_s = max(self._agent_until_s, line.at_s) + audio_s
            self._audio_sent_at = time.time()


def bill(recording: Recording) -> dict[str, int]:
    """What the usage that a recording holds adds up to, as the plugin books it."""
    ledger, client, leaving = Ledger(), Client("", Scenario()), set[int]()
    for line in recording.lines:
        in_generation = client.generating
        begins = line.connection not in leaving and client.follow(line.message)
        if begins:
            ledger.begin("", client.generations, line.at_s)
        if usage := line.message.get("usageMetadata"):
            # Vertex writes the one for the other
            payload = {name.replace("candidates", "response"): counts for name, counts in usage.items()}
            lost = LEAVING if line.connection in leaving else "malformed" if is_malformed(payload) else None
            entry = Entry("", line.connection, client.generations, payload, line.at_s, lost)
            ledger.enter(entry, in_generation=in_generation or begins)
        if "goAway" in line.message or line.kind == "close":
            leaving.add(line.connection)
            client.generating = False
    total: Counts = ledger.total("")
    return {name: total[on_the_wire] for name, on_the_wire in BILLED.items()}


def waits_s(recording: Recording) -> list[float]:
    """From the end of what the user said to the first audio that came before the user spoke again."""
    waits: list[float] = []
    ended_at_s: float | None = None
    for at_s, line in recording.steps:
        if line.kind == "sound":
            ended_at_s = None if at_s == line.at_s else at_s
        elif ended_at_s is not None and (quiet_s := _audio_quiet_s(line.message)) is not None:
            waits.append(at_s + quiet_s - ended_at_s)
            ended_at_s = None
    return waits


def filled(value: Any, speed: float = 1.0) -> Any:
    """A recorded message, with words and sounds that say nothing."""
    if isinstance(value, list):
        return [filled(each, speed) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"length"}:
        return ("la " * value["length"])[: value["length"]]
    if "audio_s" in value:
        return base64.b64encode(_tone(value, speed)).decode()
    return {name: filled(each, speed) for name, each in value.items()}


def speech(sound: Line) -> Utterance:
    """Demo speech as long and as loud as a sound: the utterance nearest in length, cut or repeated at its beginning."""
    length = max(1, round((sound.until_s - sound.at_s) * WAV_SAMPLE_RATE))
    nearest = min(utterances().values(), key=lambda utterance: abs(len(utterance.samples) - length))
    samples = np.tile(nearest.samples, -(-length // len(nearest.samples)))[-length:].astype(np.float32)
    if level := float(np.sqrt(np.mean(samples**2))):
        samples *= (sound.level or level) / level
    return Utterance("replayed", "", np.clip(samples, -32768, 32767).astype(np.int16))


def _tone(audio: dict[str, Any], speed: float) -> bytes:
    rate = OUTPUT_SAMPLE_RATE
    times = np.arange(round(audio["audio_s"] / speed * rate)) / rate
    tone = np.sin(times * 2 * np.pi * 220) * audio["level"] * 2**0.5
    tone[: round(audio["quiet_s"] / speed * rate)] = 0
    return bytes(np.clip(tone, -32768, 32767).astype(np.int16).tobytes())


def _audio_quiet_s(message: Mapping[str, Any]) -> float | None:
    """How much silence the audio of a message begins with; `None` where it has none."""
    return next((float(audio["quiet_s"]) for audio in _audio_of(message) if audio["level"]), None)


def _audio_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is known of each piece of audio in a message."""
    parts = message.get("serverContent", {}).get("modelTurn", {}).get("parts", ())
    data = (part.get("inlineData", {}).get("data", {}) for part in parts)
    return [audio for audio in data if "audio_s" in audio]


def show(name: str, speed: float, *, tables: bool) -> int:
    """Plays a recording and prints what comes of it; the exit code: 1 if the bills differ."""
    try:
        replayed = asyncio.run(replay(name, speed, _print, tables=tables))
    except RecordingError as error:
        print(error, file=sys.stderr)
        return 2
    session = replayed.session
    print(f"\n{'':20}{'recording':>12}{'record':>12}")
    for field, tokens in replayed.bill.items():
        print(f"{field:20}{tokens:>12,}{replayed.billed[field]:>12,}")
    cost = "unknown" if session["cost_usd"] is None else f"${session['cost_usd']:.6f}"
    print(f"{'cost_usd':20}{'':12}{cost:>12}")
    if speed == 1:
        print(f"waits on the wire:    {_told(waits_s(replayed.recording))}")
        print(f"waits in the records: {_told(replayed.waits_s)}")
    for kind, times in replayed.missing.items():
        print(f"The agent sent {times} {kind} less than in the recording.")
    return int(replayed.bill != replayed.billed)


def _print(lines: list[str]) -> None:
    print(*lines, sep="\n", end="\n" if lines else "")


def _told(waits: list[float]) -> str:
    return ", ".join(f"{wait_s:.2f} s" for wait_s in waits) or "none"
