"""One call: a participant joins a room, has the agent sent there, speaks, and hears with a stopwatch.

Times are `time.monotonic()` and taken at the mouth and at the ear: what the network and both codecs take is in them.
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from livekit import api, rtc

from realtime_metrics.log import clean
from testcall.speech import Utterance
from testcall.stopwatch import BLOCK, BLOCK_S, SAMPLE_RATE, Ear, Samples, is_loud

JOIN_LIMIT_S = 20.0
"""An agent that has not come by then is not coming."""
NO_AGENT = f"no agent came within {JOIN_LIMIT_S:g} s"
QUIET_S = 1.0
"""After so much silence the agent has said what it had to say, and it is the caller's turn."""
INTERRUPT_AFTER_S = 1.0
"""How long the agent is let speak before it is interrupted."""
LONGEST_ANSWER_S = 60.0
"""Nobody listens any longer."""
HANG_UP_S = 0.5
"""Until the room is deleted after the caller."""
CUSTOMER = "testcall"
"""`customer` in the agent's records of such a call: no report is to take it for a customer's."""


class CallError(Exception):
    """The call did not come about, or broke off; the text says why."""


@dataclass(frozen=True)
class LiveKit:
    """The server, and the keys to it."""

    url: str
    api_key: str
    api_secret: str

    def api(self) -> api.LiveKitAPI:
        return api.LiveKitAPI(self.url, self.api_key, self.api_secret)

    def token(self, room: str) -> str:
        """Lets the caller into a room."""
        token = api.AccessToken(self.api_key, self.api_secret).with_identity("testcall")
        return token.with_grants(api.VideoGrants(room_join=True, room=room)).to_jwt()


@dataclass
class Turn:
    """One thing that the caller said, and what came of it."""

    number: int
    said: str
    spoke_at: float
    """Its first sound, as `time.time()`: what the agent's records are found by."""
    wait_s: float | None = None
    """From the caller's last sound to the agent's first; unknown where it was not answered."""
    talk_over_s: float | None = None
    """From the caller's first sound until the agent was silent, where the caller interrupted it."""
    unanswered: str | None = None
    """Why nobody answered, if nobody did."""


@dataclass
class Call:
    """What the caller lived through."""

    number: int = 1
    room: str = field(default_factory=lambda: f"testcall-{uuid.uuid4().hex[:8]}")
    agent_came: bool = False
    time_to_answer_s: float | None = None
    """From joining to the first sound of the agent; unknown where it does not speak first."""
    turns: list[Turn] = field(default_factory=list)
    late_s: float = 0.0
    """How late this machine was at most with a piece of the caller's voice: so far the stopwatch can be off."""
    problem: str | None = None
    """Why the call did not come about, or broke off."""


class Mouth:
    """Speaks in real time, piece by piece; silence where there is nothing to say."""

    def __init__(self) -> None:
        self.source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=0)
        self.late_s = 0.0
        self._to_say: deque[rtc.AudioFrame] = deque()
        self._loud: list[float] = []
        self._said = asyncio.Event()

    async def say(self, utterance: Utterance) -> tuple[float, float]:
        """Says it; when its first sound and its last left the mouth."""
        self._loud = []
        self._said.clear()
        padded = np.pad(utterance.samples, (0, -len(utterance.samples) % BLOCK))
        self._to_say.extend(_frame(block) for block in padded.reshape(-1, BLOCK))
        await self._said.wait()
        return self._loud[0] - BLOCK_S, self._loud[-1]

    async def run(self) -> None:
        """Until cancelled."""
        silence = _frame(np.zeros(BLOCK, np.int16))
        due_at = time.monotonic()
        while True:
            frame = self._to_say.popleft() if self._to_say else silence
            # a microphone gives a piece when its last sample is said
            said_at = time.monotonic()
            await self.source.capture_frame(frame)
            if frame is not silence:
                self.late_s = max(self.late_s, said_at - due_at)
                if is_loud(np.frombuffer(frame.data, np.int16)):
                    self._loud.append(said_at)
                if not self._to_say:
                    self._said.set()
            due_at = max(due_at + BLOCK_S, said_at - 0.2)
            await asyncio.sleep(due_at - time.monotonic())


class Caller:
    """Makes one call.

    Args:
        number: of the call, from 1.
        livekit: where.
        agent_name: whom to send for; empty: an agent comes by itself.
        limit_s: a turn that has no answer by then is unanswered.
        on_turn: called with each turn when it is over.
    """

    def __init__(
        self, number: int, livekit: LiveKit, agent_name: str, limit_s: float, on_turn: Callable[[Call, Turn], None]
    ) -> None:
        self.call = Call(number)
        self._livekit = livekit
        self._agent_name = agent_name
        self._limit_s = limit_s
        self._on_turn = on_turn
        self._room = rtc.Room()
        self._ear = Ear()
        self._mouth = Mouth()
        self._why_it_ended = "the LiveKit server ended the call"
        self._work: set[asyncio.Task[None]] = set()
        self._room.on("track_subscribed", self._listen)
        self._room.on("disconnected", self._keep_why)

    async def run(self, spoken: Sequence[Utterance]) -> Call:
        """Calls, says these things, the last of which interrupts, and hangs up; nothing is left at the server."""
        async with self._livekit.api() as server:
            try:
                await self._join(server)
                await self._converse(spoken)
            except CallError as error:
                self.call.problem = str(error)
            finally:
                self.call.late_s = self._mouth.late_s
                for task in self._work:
                    task.cancel()
                await asyncio.gather(*self._work, return_exceptions=True)
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(self._room.disconnect(), 3)
                    # the agent is to notice that the caller hung up, not that the room is gone
                    await asyncio.sleep(HANG_UP_S)
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(server.room.delete_room(api.DeleteRoomRequest(room=self.call.room)), 3)
        return self.call

    async def _join(self, server: api.LiveKitAPI) -> None:
        self._joined_at = time.monotonic()
        try:
            await self._room.connect(self._livekit.url, self._livekit.token(self.call.room))
            track = rtc.LocalAudioTrack.create_audio_track("voice", self._mouth.source)
            self._start(self._mouth.run())
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            await self._room.local_participant.publish_track(track, options)
            if self._agent_name:
                metadata = json.dumps({"customer": CUSTOMER})
                request = api.CreateAgentDispatchRequest(
                    agent_name=self._agent_name, room=self.call.room, metadata=metadata
                )
                await server.agent_dispatch.create_dispatch(request)
        except (rtc.ConnectError, api.ServerError, aiohttp.ClientError, TimeoutError) as error:
            raise CallError(f"the room cannot be joined: {clean(getattr(error, 'message', error))}") from None
        if not await self._comes_about(self._agent_is_here, JOIN_LIMIT_S):
            raise CallError(NO_AGENT)
        self.call.agent_came = True

    async def _converse(self, spoken: Sequence[Utterance]) -> None:
        await self._comes_about(lambda: bool(self._ear.sounds), self._limit_s)
        if self._ear.sounds:
            self.call.time_to_answer_s = self._ear.sounds[0].began_at - self._joined_at
        for number, utterance in enumerate(spoken, 1):
            answered = not self.call.turns or self.call.turns[-1].unanswered is None
            if answered and 1 < number == len(spoken):
                await self._while_it_speaks()
            else:
                await self._comes_about(self._is_quiet, LONGEST_ANSWER_S)
            await self._turn(number, utterance)
        await self._comes_about(self._is_quiet, LONGEST_ANSWER_S)

    async def _turn(self, number: int, utterance: Utterance) -> None:
        spoke_at = time.time()
        began_at, ended_at = await self._mouth.say(utterance)
        turn = Turn(number, utterance.text, spoke_at)
        self.call.turns.append(turn)
        try:
            await self._comes_about(lambda: self._ear.sound_after(ended_at) is not None, self._limit_s)
            if answer := self._ear.sound_after(ended_at):
                turn.wait_s = answer.began_at - ended_at
            else:
                turn.unanswered = f"silence for {self._limit_s:g} s"
        except CallError as error:
            turn.unanswered = str(error)
            raise
        finally:
            talked_over = self._ear.sound_at(began_at)
            turn.talk_over_s = talked_over.ended_at - began_at if talked_over else None
            self._on_turn(self.call, turn)

    async def _while_it_speaks(self) -> None:
        """Until the agent has spoken for a while, or has already ended."""
        began_at = self._ear.sounds[-1].began_at
        await self._comes_about(lambda: time.monotonic() > began_at + INTERRUPT_AFTER_S, LONGEST_ANSWER_S)

    def _is_quiet(self) -> bool:
        return self._ear.quiet_s(time.monotonic()) > QUIET_S

    def _agent_is_here(self) -> bool:
        return any(
            participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
            for participant in self._room.remote_participants.values()
        )

    async def _comes_about(self, is_so: Callable[[], bool], limit_s: float) -> bool:
        """Waits until it is so; whether it is within the limit.

        Raises:
            CallError: the call broke off.
        """
        until = time.monotonic() + limit_s
        while not is_so():
            if time.monotonic() > until:
                return False
            if not self._room.isconnected():
                raise CallError(self._why_it_ended)
            if self.call.agent_came and not self._agent_is_here():
                raise CallError("the agent left the call: its log says why")
            await asyncio.sleep(BLOCK_S)
        return True

    def _keep_why(self, reason: int | None = None) -> None:
        if reason == rtc.DisconnectReason.ROOM_DELETED:
            self._why_it_ended = "the room was deleted: the agent's log says whether the agent did it"

    def _listen(self, track: rtc.Track, _: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._start(self._hear(rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1)))

    async def _hear(self, stream: rtc.AudioStream) -> None:
        try:
            async for event in stream:
                self._ear.hear(np.frombuffer(event.frame.data, np.int16), time.monotonic())
        finally:
            await stream.aclose()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._work.add(asyncio.get_running_loop().create_task(work))


def _frame(samples: Samples) -> rtc.AudioFrame:
    return rtc.AudioFrame(samples.tobytes(), SAMPLE_RATE, 1, len(samples))
