"""An audio output without a device, which plays in real time or faster."""

import asyncio
import time

from livekit import rtc
from livekit.agents.voice import io


class Speaker(io.AudioOutput):
    """Nobody hears it; the framework is told of the playing as by a real one.

    Args:
        speed: 1 is real time.
        delay_s: from the first frame until it begins to play.
    """

    def __init__(self, speed: float = 5.0, delay_s: float = 0.0) -> None:
        super().__init__(label="speaker", capabilities=io.AudioOutputCapabilities(pause=True), sample_rate=24_000)
        self._speed = speed
        self._delay_s = delay_s
        self._captured_s = 0.0
        self._started_at = 0.0
        self._cleared = asyncio.Event()
        self._playing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if self._playing is not None:
            await self._playing
        if not self._captured_s:
            self._cleared.clear()
            await asyncio.sleep(self._delay_s)
            self._started_at = time.monotonic()
            self.on_playback_started(created_at=time.time())
        self._captured_s += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._captured_s and self._playing is None:
            self._playing = asyncio.create_task(self._play_out())

    def clear_buffer(self) -> None:
        self._cleared.set()

    async def _play_out(self) -> None:
        left_s = self._captured_s / self._speed - (time.monotonic() - self._started_at)
        try:
            async with asyncio.timeout(max(left_s, 0)):
                await self._cleared.wait()
        except TimeoutError:
            played_s = self._captured_s
        else:
            played_s = min((time.monotonic() - self._started_at) * self._speed, self._captured_s)
        interrupted = played_s < self._captured_s
        self._captured_s, self._playing = 0.0, None
        self.on_playback_finished(playback_position=played_s, interrupted=interrupted)
