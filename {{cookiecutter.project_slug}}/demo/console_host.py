"""The host's end of the console's link: a microphone that speaks from the WAV file, and a loudspeaker with a stopwatch.

The agent's end is `livekit.agents.cli.tcp_console`; messages are a 4-byte length and an `AgentSessionMessage`.
"""

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from livekit.protocol.agent_pb import agent_session as pb

from demo.speech import Samples, Utterance

SAMPLE_RATE = 48000
FRAME_S = 0.01
FRAME_SAMPLES = round(SAMPLE_RATE * FRAME_S)
SILENCE = np.zeros(FRAME_SAMPLES, np.int16)

Message = pb.AgentSessionMessage
ConsoleIO = pb.AgentSessionMessage.ConsoleIO


@dataclass
class Spoken:
    """Something that the user said; times as `time.time()`, of the first and the last sample of real speech."""

    utterance: Utterance
    started_at: float | None = None
    ended_at: float | None = None


@dataclass
class Heard:
    """Audio that the agent sent, from its first frame until it was played or thrown away."""

    first_audio_at: float
    """`time.time()` when the first frame arrived."""
    audio_s: float = 0.0
    ended_at: float | None = None
    cleared: bool = False
    """The agent threw the rest away: the user interrupted."""


@dataclass(frozen=True)
class SessionEvent:
    """An event of the agent's session: `kind` is the field of `AgentSessionEvent` that is set."""

    kind: str
    event: pb.AgentSessionEvent
    received_at: float

    @property
    def created_at(self) -> float:
        """When it happened, as the session tells it."""
        return self.event.created_at.ToNanoseconds() / 1e9


class ConsoleHost:
    """Listens for one agent; speaks to it, plays what it says, and keeps the times.

    Attributes:
        spoken: what the user said.
        heard: what the agent said, one entry a reply that had audio.
        events: what the session told.
    """

    def __init__(self, noise_rms: float = 0.0) -> None:
        """`noise_rms` is steady noise around the user: root mean square, of 32768."""
        self._noise = np.random.default_rng(0).normal(0, noise_rms, 10 * SAMPLE_RATE) if noise_rms else None
        self.spoken: list[Spoken] = []
        self.heard: list[Heard] = []
        self.events: list[SessionEvent] = []
        self.connected = asyncio.Event()
        self.disconnected = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._microphone: Iterator[Samples] | None = None
        self._speaking: Spoken | None = None
        self._played_until = 0.0
        self._playing: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> "ConsoleHost":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def say(self, utterance: Utterance) -> Spoken:
        """Speaks now, also while the agent does; returns when the last sample of speech has been sent."""
        spoken = Spoken(utterance)
        self.spoken.append(spoken)
        self._microphone = _frames(utterance.resampled(SAMPLE_RATE))
        self._speaking = spoken
        await self.wait_for(lambda: spoken.ended_at is not None, utterance.duration_s + 5)
        return spoken

    def type(self, text: str) -> None:
        """Types something, as a person at the console does in text mode."""
        request = pb.SessionRequest(request_id=f"typed-{time.time()}", run_input=pb.SessionRequest.RunInput(text=text))
        self._send(Message(request=request))

    def items(self, role: int) -> list[pb.ChatMessage]:
        """What the user (`pb.USER`) or the agent (`pb.ASSISTANT`) said, as the session's conversation has it."""
        items = (event.event.conversation_item_added.item for event in self.events if event.kind == ITEM)
        return [item.message for item in items if item.HasField("message") and item.message.role == role]

    async def wait_for(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Until it is so; whatever arrives is a reason to look again.

        Raises:
            TimeoutError: it has not come about.
            ConnectionError: the agent has gone before.
        """
        async with asyncio.timeout(timeout_s):
            while not is_so():
                if self.disconnected.is_set():
                    raise ConnectionError("the agent closed its link")
                self._changed.clear()
                await self._changed.wait()

    def drop(self) -> None:
        """Closes the link abruptly, as when the host dies."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            writer.close()
            return
        self._writer = writer
        self.connected.set()
        self._tasks.append(asyncio.create_task(self._speak()))
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                self._receive(Message.FromString(await reader.readexactly(length)))
                self._changed.set()
        self.disconnected.set()
        self._changed.set()
        writer.close()

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            data = message.SerializeToString()
            self._writer.write(struct.pack(">I", len(data)) + data)

    async def _speak(self) -> None:
        """The microphone: a frame every 10 ms, late ones are made up for."""
        clock = asyncio.get_running_loop().time
        next_at = clock()
        while not self.disconnected.is_set():
            samples = self._with_noise(self._next_frame())
            frame = ConsoleIO.AudioFrame(
                data=samples.tobytes(),
                sample_rate=SAMPLE_RATE,
                num_channels=1,
                samples_per_channel=len(samples),
            )
            self._send(Message(audio_input=frame))
            next_at += FRAME_S
            await asyncio.sleep(next_at - clock())

    def _with_noise(self, samples: Samples) -> Samples:
        if self._noise is None:
            return samples
        self._noise = np.roll(self._noise, -len(samples))
        return np.clip(samples + self._noise[: len(samples)], -32768, 32767).astype(np.int16)

    def _next_frame(self) -> Samples:
        spoken = self._speaking
        if spoken is None or self._microphone is None:
            return SILENCE
        # a microphone hands a frame over when its last sample has been heard
        now = time.time()
        samples = next(self._microphone, None)
        if spoken.started_at is None:
            spoken.started_at = now - FRAME_S
        if samples is not None and len(samples) == FRAME_SAMPLES:
            return samples
        speech = SILENCE[:0] if samples is None else samples
        spoken.ended_at = now - FRAME_S + len(speech) / SAMPLE_RATE
        self._speaking = None
        self._changed.set()
        return np.concatenate([speech, SILENCE[len(speech) :]])

    def _receive(self, message: Message) -> None:
        kind = message.WhichOneof("message")
        if kind == "audio_output":
            self._play(message.audio_output.samples_per_channel / message.audio_output.sample_rate)
        elif kind == "audio_playback_flush":
            delay_s = max(0.0, self._played_until - time.time())
            self._playing = asyncio.get_running_loop().call_later(delay_s, self._finish)
        elif kind == "audio_playback_clear":
            self._clear()
        elif kind == "event":
            event = message.event
            self.events.append(SessionEvent(event.WhichOneof("event") or "", event, time.time()))

    def _play(self, duration_s: float) -> None:
        now = time.time()
        if not self.heard or self.heard[-1].ended_at is not None:
            self.heard.append(Heard(first_audio_at=now))
        self.heard[-1].audio_s += duration_s
        self._played_until = max(self._played_until, now) + duration_s

    def _finish(self) -> None:
        self._end(cleared=False)
        self._send(Message(audio_playback_finished=ConsoleIO.AudioPlaybackFinished()))

    def _clear(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
        self._played_until = 0.0
        self._end(cleared=True)

    def _end(self, *, cleared: bool) -> None:
        if self.heard and self.heard[-1].ended_at is None:
            self.heard[-1].ended_at, self.heard[-1].cleared = time.time(), cleared
        self._changed.set()


ITEM = "conversation_item_added"


def _frames(samples: Samples) -> Iterator[Samples]:
    for start in range(0, len(samples), FRAME_SAMPLES):
        yield samples[start : start + FRAME_SAMPLES]
