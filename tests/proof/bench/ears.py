"""What it costs the event loop to listen to the audio that passes."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from livekit import rtc
from livekit.agents.voice import io

from realtime_metrics.ears import Ears
from realtime_metrics.log import OwnFailures
from tests.fakes.realtime import FakeRealtimeModel
from tests.fakes.stage import StagedSession
from tests.proof.bench.framework import Wall, frame
from tests.proof.bench.responses import clock

WARM_UP = 100
"""Frames that do not count."""


class Microphone(io.AudioInput):
    """Has a frame whenever it is asked."""

    def __init__(self, always: rtc.AudioFrame) -> None:
        super().__init__(label="microphone")
        self._always = always

    async def __anext__(self) -> rtc.AudioFrame:
        return self._always


async def times_of_frames_s(frame_s: float, rounds: Iterable[object]) -> dict[str, tuple[list[float], list[float]]]:
    """Direction -> what each frame of such a length costs without and with the ears."""
    session: StagedSession = StagedSession(llm=FakeRealtimeModel(), vad=None)
    audio = frame(frame_s, level=0)  # until its first sound, the agent's audio is looked at too
    microphone, wall = Microphone(audio), Wall()
    session.input.audio, session.output.audio = microphone, wall
    Ears(_nobody, _nobody, _nobody, OwnFailures()).attach(session)
    heard_input, heard_output = session.input.audio, session.output.audio
    pairs: dict[str, tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]] = {
        "user": (microphone.__anext__, heard_input.__anext__),
        "agent": (lambda: wall.capture_frame(audio), lambda: heard_output.capture_frame(audio)),
    }
    for _ in range(WARM_UP):
        for without, with_ears in pairs.values():
            await without()
            await with_ears()
    spent: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs}
    for _ in rounds:
        for name, actions in pairs.items():
            for values, action in zip(spent[name], actions, strict=True):
                began = clock()
                await action()
                values.append(clock() - began)
    return spent


def _nobody(_: object) -> None: ...
