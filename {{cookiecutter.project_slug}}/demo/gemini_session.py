"""One connection to the local Gemini Live server: the wire of Gemini Live, played from a scenario."""

import asyncio
import base64
import contextlib
import json
import math
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, TypeGuard

import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from demo.hearing import SAMPLE_RATE, Hearing
from demo.ledger import Entry, is_malformed, is_readable
from demo.models import NATIVE_2_5, model_of
from demo.scenario import Connect, Fault, Reply, Scenario, Turn, Usage
from demo.seen import Seen, Setup, What
from demo.speech import utterance
from demo.tokens import Context

OUTPUT_SAMPLE_RATE = 24000
PIECE_S = 0.1
NEVER_S = 3600.0
TIME_LEFT = "50s"
LEAVING = "the client leaves after goAway"
DEADLINE_EXPIRED = "Deadline expired before operation could complete."
DEFAULT_TURN = Turn(text="I have nothing more to say.", audio_s=1.0)
"""For who goes on talking after the scenario's last turn."""


@dataclass
class Client:
    """Where a client is in its scenario. Outlives its connections, as the plugin's session does."""

    key: str
    scenario: Scenario
    attempts: int = 0
    greeted: bool = False
    turns_begun: int = 0
    generations: int = 0
    """How many generations the plugin has begun; usage is booked on the last, also when it has ended."""
    generating: bool = False
    busy: int = 0
    """How much is still going on: replies, late usage."""
    context: Context = field(default_factory=lambda: Context(NATIVE_2_5))

    @property
    def next_turn(self) -> Turn | None:
        turns = self.scenario.turns
        return turns[self.turns_begun] if self.turns_begun < len(turns) else None

    @property
    def begun(self) -> bool:
        """Whether the conversation has: the agent asked for its first reply, or no one has to."""
        return self.greeted or self.scenario.greeting is None

    @property
    def at_end(self) -> bool:
        return self.begun and self.next_turn is None and not self.busy

    @property
    def ended_generations(self) -> int:
        """How many generations will have a record; one that only heard the user stays open until the next turn."""
        return self.generations - self.generating

    def follow(self, message: Mapping[str, Any]) -> bool:
        """Begins and ends generations as the plugin does on reading the message; whether it began one."""
        content = message.get("serverContent", {})
        transcripts = (content.get(name, {}).get("text") for name in ("inputTranscription", "outputTranscription"))
        begins = not self.generating and ("toolCall" in message or "modelTurn" in content or any(transcripts))
        self.generations += begins
        self.generating |= begins
        if "toolCall" in message or content.get("turnComplete"):
            self.generating = False
        return begins


@dataclass
class _Said:
    """How far a reply has come."""

    reply: Reply
    heard_s: float
    audio_s: float = 0.0
    begun: bool = False
    """Whether anything that can be heard or read was sent."""
    interrupted: bool = False

    @property
    def share(self) -> float:
        """How much of it is billed: of what was interrupted, only what had been generated."""
        if not self.interrupted:
            return 1.0
        return self.audio_s / self.reply.audio_s if self.reply.audio_s else float(self.begun)


class GeminiConnection:
    """Plays the client's scenario on one websocket."""

    def __init__(self, seen: Seen, client: Client, websocket: ServerConnection, number: int, connect: Connect) -> None:
        self._seen = seen
        self._client = client
        self._websocket = websocket
        self._number = number
        self._connect = connect
        self._hearing = Hearing()
        self._heard_s = 0.0
        self._said: _Said | None = None
        self._replying: asyncio.Task[None] | None = None
        self._breaking_in: asyncio.Task[None] | None = None
        self._calling: _Said | None = None
        """A tool call whose turn is not complete before its result is there."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._unread: str | None = None
        """Why the client no longer reads, where it does not."""

    async def run(self) -> None:
        """Serves the connection until either side closes it."""
        try:
            setup = json.loads(await self._websocket.recv())["setup"]
            self._seen.setups.append(Setup(self._client.key, self._number, setup))
            self._remember(setup)
            self._note("setup")
            await self._answer_setup()
            async for message in self._websocket:
                await self._receive(json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._client.generating = False
            by_client = self._websocket.protocol.close_rcvd_then_sent is not False
            self._note("closed_by_client" if by_client else "closed_by_server")

    def _remember(self, setup: Mapping[str, Any]) -> None:
        """With a handle the conversation goes on; without one the model knows its instructions only."""
        if setup.get("sessionResumption", {}).get("handle") is None:
            self._client.context = Context(model_of(setup["model"]))
            instructions = _texts(setup.get("systemInstruction", {}))
            self._client.context.read(instructions)
            self._seen.told.append(instructions)

    async def _answer_setup(self) -> None:
        connect = self._connect
        await asyncio.sleep(connect.delay_s)
        if connect.accept:
            await self._send({"setupComplete": {}})
        if connect.close_code is not None:
            await self._websocket.close(connect.close_code, connect.reason)
        elif connect.accept and self._client.begun:
            self._begin_by_itself()

    async def _receive(self, message: Mapping[str, Any]) -> None:
        if media := message.get("realtime_input", {}).get("audio"):
            await self._hear(base64.urlsafe_b64decode(media["data"]))
        elif content := message.get("client_content"):
            texts = [_texts(turn) for turn in content.get("turns", ())]
            for text in texts:
                self._client.context.read(text)
            if content.get("turnComplete"):
                self._seen.told.append(texts[0] if texts else "")  # the plugin adds a "."
                await self._be_asked()
        elif "tool_response" in message:
            await self._be_told(message["tool_response"])

    async def _hear(self, pcm: bytes) -> None:
        if self._hearing.speaking:
            self._heard_s += len(pcm) / 2 / SAMPLE_RATE
        change = self._hearing.hear(pcm)
        if change == "started":
            self._note("speech_started")
            self._heard_s = 0.0
            await self._make_noise(voiceActivity={"voiceActivityType": "ACTIVITY_START"})
            turn = self._client.next_turn
            # what is ignored interrupts nobody
            if turn is None or turn.answer != "nothing":
                await self._interrupt()
        elif change == "ended":
            self._note("speech_ended")
            await self._make_noise(voiceActivity={"voiceActivityType": "ACTIVITY_END"})
            self._reply_to(self._take_turn(), self._heard_s)

    async def _be_asked(self) -> None:
        """The client wants a reply (`generate_reply`)."""
        self._note("requested")
        client = self._client
        if client.greeted:
            await self._interrupt()
            self._reply_to(self._take_turn())
        elif client.scenario.greeting is not None:
            client.greeted = True
            self._reply_to(client.scenario.greeting)

    async def _be_told(self, results: Mapping[str, Any]) -> None:
        """The client has the result of a tool call."""
        self._note("tool_response")
        called, self._calling = self._calling, None
        if called is not None:
            await self._send_content(generationComplete=True)
            await self._end(called, {"serverContent": {"turnComplete": True}})
        self._client.context.read(json.dumps(results))
        if self._client.scenario.resumption:
            await self._make_noise(sessionResumptionUpdate=self._handle())
        await self._make_noise(serverContent={})
        self._reply_to(self._take_turn())

    def _take_turn(self) -> Turn:
        turn = self._client.next_turn
        self._client.turns_begun += 1
        return turn or DEFAULT_TURN

    def _begin_by_itself(self) -> None:
        """The next turn, where it needs nobody to speak or type."""
        turn = self._client.next_turn
        # what a doomed connection would begin, the next one begins
        is_idle = self._said is None and self._breaking_in is None
        if _needs_nobody(turn) and is_idle and self._unread is None:
            self._reply_to(self._take_turn(), wait_s=turn.pause_s)

    def _reply_to(self, reply: Reply, heard_s: float = 0.0, wait_s: float = 0.0) -> None:
        if reply.answer == "nothing":
            self._client.context.hear(heard_s)
            self._begin_by_itself()
            self._seen.wake()
            return
        said = self._said = _Said(reply, heard_s)
        replying = self._replying = self._start(self._reply(said, wait_s))
        turn = self._client.next_turn
        if _needs_nobody(turn) and turn.speaks != "after_reply":
            self._breaking_in = self._start(self._break_in(turn, said, replying, wait_s))

    async def _break_in(self, turn: Turn, said: _Said, replying: asyncio.Task[None], wait_s: float) -> None:
        """The next turn interrupts this reply, though nobody speaks."""
        await asyncio.sleep(wait_s)
        if turn.speaks == "while_agent_speaks":
            await self._seen.until(lambda: said.begun or replying.done(), NEVER_S)
        await asyncio.sleep(turn.pause_s)
        self._breaking_in = None
        if self._client.next_turn is turn and self._unread is None:
            if turn.answer != "nothing":
                await self._interrupt()
            self._reply_to(self._take_turn())

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        async def run() -> None:
            with contextlib.suppress(ConnectionClosed):
                await work

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._client.busy -= 1
            self._seen.wake()
            if not task.cancelled() and (error := task.exception()):
                asyncio.get_running_loop().call_exception_handler({"message": "demo server", "exception": error})

        self._client.busy += 1
        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(done)
        return task

    async def _reply(self, said: _Said, wait_s: float) -> None:
        reply = said.reply
        await asyncio.sleep(wait_s)
        await self._send_usage(said, "before")
        await self._repeat_what_was_heard(reply)
        await self._send_usage(said, "heard")
        if reply.answer == "transcription":
            self._said = None
            self._client.context.hear(said.heard_s)
        elif reply.answer == "speech":
            await self._answer(said)
        else:
            await asyncio.sleep(reply.latency_s)
            rejected = {"turnCompleteReason": "RESPONSE_REJECTED"} if reply.answer == "rejected" else {}
            await self._end(said, {"serverContent": {"turnComplete": True, **rejected}})
        if reply.tool is None:
            self._begin_by_itself()

    async def _repeat_what_was_heard(self, reply: Reply) -> None:
        heard = _heard(reply) if isinstance(reply, Turn) else ""
        for words in _words(heard) if self._client.context.model.word_by_word else [heard]:
            if words:
                await self._send_content(inputTranscription={"text": words})
        await self._make_noise()

    async def _answer(self, said: _Said) -> None:
        reply, scenario = said.reply, self._client.scenario
        if reply.thought:
            await self._send_content(modelTurn={"parts": [{"text": reply.thought, "thought": True}]})
        await asyncio.sleep(reply.latency_s)
        await self._make_noise(serverContent={})
        await self._speak(said)
        if reply.tool is not None:
            call = {"id": f"call-{self._client.turns_begun}", "name": reply.tool.name, "args": reply.tool.args}
            message = {"toolCall": {"functionCalls": [call]}}
            if reply.tool.completes_turn:
                self._said, self._calling = None, said
                await self._send(message)
            else:
                await self._end(said, message)
            return
        await self._send_content(generationComplete=True)
        if scenario.waits_for_playback:
            await asyncio.sleep(max(0.0, reply.audio_s * (1 - 1 / scenario.pace)))
        await self._end(said, {"serverContent": {"turnComplete": True}})
        if scenario.resumption:
            await self._send({"sessionResumptionUpdate": self._handle()})

    async def _speak(self, said: _Said) -> None:
        """Audio and its words, faster than real time, and what goes wrong on the way."""
        reply, clock = said.reply, asyncio.get_running_loop().time
        begun_at = clock()
        pieces = max(1, math.ceil(reply.audio_s / PIECE_S - 0.001))
        for number, words in enumerate(_shares(reply.text, pieces)):
            await self._go_wrong(said)
            piece_s = round(min(PIECE_S, reply.audio_s - said.audio_s), 6)
            audio: dict[str, Any] = {"modelTurn": {"parts": [_audio_part(piece_s)]}} if piece_s > 0 else {}
            transcript: dict[str, Any] = {"outputTranscription": {"text": words}} if words else {}
            both = {**audio, **transcript}
            for content in [transcript, audio] if self._client.context.model.word_by_word else [both]:
                if content:
                    await self._send_content(**content)
            said.audio_s += piece_s
            if number == 0:
                said.begun = True
                self._note("first_audio" if reply.audio_s else "first_text")
                await self._send_usage(said, "early")
            await asyncio.sleep(begun_at + said.audio_s / self._client.scenario.pace - clock())
        await self._go_wrong(said)

    async def _go_wrong(self, said: _Said) -> None:
        fault = said.reply.fault
        if fault is None or said.audio_s < fault.after_audio_s - 0.001 or self._unread is not None:
            return
        if fault.kind == "close":
            await self._close(fault)
        elif fault.kind == "go_away":
            self._unread = LEAVING
            await self._write({"goAway": {"timeLeft": TIME_LEFT}})
            self._start(self._close_later(fault.time_left_s))
        elif fault.kind == "garbage":
            await self._websocket.send(b"<html>502 Bad Gateway</html>")
            self._unread = "the client stopped reading at garbage"
        elif fault.kind == "unknown_message":
            await self._write({"interactionStatus": {"status": "IDLE"}})
            self._unread = "the client stopped reading at a message that it does not know"

    async def _close(self, fault: Fault) -> None:
        self._unread = "the connection was closed"
        await self._websocket.close(fault.code, fault.reason)

    async def _close_later(self, time_left_s: float) -> None:
        """The client was told to leave, and has not."""
        await asyncio.sleep(time_left_s)
        await self._websocket.close(1011, DEADLINE_EXPIRED)

    async def _interrupt(self) -> None:
        """The user speaks, or the client asks for something else: the reply ends here."""
        said, replying = self._said, self._replying
        if said is None or replying is None or replying.done():
            return
        replying.cancel()
        await asyncio.wait([replying])
        said.interrupted = True
        self._note("interrupted")
        usages = _usages(said, "with")
        if not said.begun and said.reply.usage:
            # the prompt is told ahead; of a response there is nothing to tell
            await self._send({"serverContent": {}}, _payload(self._client.context, said, Usage(share=0)))
            usages = [Usage(counts={})]
        await self._send_content(interrupted=True)
        await self._end(said, {"serverContent": {"turnComplete": True}}, usages)

    async def _end(self, said: _Said, message: dict[str, Any], usages: list[Usage] | None = None) -> None:
        """The last message of a reply, with its usage on it."""
        self._said = None
        usages = _usages(said, "with") if usages is None else usages
        payloads = [_payload(self._client.context, said, usage) for usage in usages]
        await self._send(message, payloads[0] if payloads else None)
        for payload in payloads[1:]:
            await self._send({}, payload)
        # also late usage counts the prompt that its reply had
        late = [(usage.late_s, _payload(self._client.context, said, usage)) for usage in _usages(said, "late")]
        self._client.context.add(said.reply, said.heard_s, said.share)
        for late_s, payload in late:
            self._start(self._send_late(late_s, payload))
        if "serverContent" in message:
            self._note("turn_complete")

    async def _send_late(self, late_s: float, payload: Mapping[str, Any]) -> None:
        await asyncio.sleep(late_s)
        await self._send({}, payload)

    async def _send_usage(self, said: _Said, when: str) -> None:
        for usage in _usages(said, when):
            await self._send({"serverContent": {}}, _payload(self._client.context, said, usage))

    async def _send_content(self, **content: Any) -> None:
        await self._send({"serverContent": content})

    async def _make_noise(self, **message: Any) -> None:
        """Some models send what nobody asked for, and messages without anything."""
        if self._client.context.model.noisy:
            await self._send(message)

    def _handle(self) -> dict[str, Any]:
        return {"newHandle": f"{self._client.key}/{self._client.turns_begun}", "resumable": True}

    async def _send(self, message: dict[str, Any], payload: Mapping[str, Any] | None = None) -> None:
        """Sends a message; what it does at the plugin, and its usage in the ledger, are noted once it is sent."""
        if self._unread == LEAVING:
            # whether usage, or another generation, is still read would be a matter of luck
            if not message or not self._client.generating:
                return
            payload = None
        if payload is not None:
            message = {**message, "usageMetadata": payload}
        # an open websocket writes at once: what is booked here stands in the order of the wire
        if self._websocket.state is State.OPEN:
            in_generation = self._client.generating
            begins = self._unread in (None, LEAVING) and self._client.follow(message)
            if begins:
                self._seen.ledger.begin(self._client.key, self._client.generations, time.time())
            if payload is not None:
                self._enter(payload, in_generation=in_generation or begins)
        await self._write(message)

    async def _write(self, message: Mapping[str, Any]) -> None:
        """Gemini sends its JSON in binary frames."""
        await self._websocket.send(json.dumps(message).encode())

    def _enter(self, payload: Mapping[str, Any], *, in_generation: bool) -> None:
        client, lost = self._client, self._unread
        if lost is None and is_malformed(payload):
            lost = "malformed"
            if not is_readable(payload):
                self._unread = "the client stopped reading at a malformed message"
        entry = Entry(client.key, self._number, client.generations, payload, time.time(), lost)
        self._seen.ledger.enter(entry, in_generation=in_generation)

    def _note(self, what: What) -> None:
        self._seen.note(what, self._client.key, self._number)


def _heard(turn: Turn) -> str:
    if turn.heard is not None:
        return turn.heard
    return utterance(turn.user).text if turn.user else ""


def _needs_nobody(turn: Turn | None) -> TypeGuard[Turn]:
    return turn is not None and turn.user is None and turn.typed is None


def _texts(content: Mapping[str, Any]) -> str:
    return "".join(part.get("text", "") for part in content.get("parts", ()))


def _usages(said: _Said, when: str) -> list[Usage]:
    return [usage for usage in said.reply.usage if usage.when == when]


def _payload(context: Context, said: _Said, usage: Usage) -> Mapping[str, Any]:
    if usage.counts is not None:
        return usage.counts
    return context.usage_metadata(said.reply, said.heard_s, usage.share * said.share)


def _words(text: str) -> list[str]:
    return [f" {word}" for word in text.split()]


def _shares(text: str, pieces: int) -> list[str]:
    """The words, spread over the pieces of audio."""
    words = _words(text)
    bounds = [round(number * len(words) / pieces) for number in range(pieces + 1)]
    return ["".join(words[start:end]) for start, end in pairwise(bounds)]


@cache
def _audio_part(duration_s: float) -> dict[str, Any]:
    """A quiet tone, as PCM16."""
    times = np.arange(round(duration_s * OUTPUT_SAMPLE_RATE)) / OUTPUT_SAMPLE_RATE
    pcm = (np.sin(times * 2 * np.pi * 220) * 2000).astype(np.int16).tobytes()
    return {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(pcm).decode()}}
