"""A VAD that hears what the test says it hears."""

import asyncio

from livekit.agents import vad


class FakeVad(vad.VAD):
    """Voice activity detection without audio."""

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.1))
        self._heard: asyncio.Queue[vad.VADEvent] = asyncio.Queue()

    def speech_began(self, ago_s: float = 0.0) -> None:
        """The user began to speak, so long ago."""
        self._heard.put_nowait(_event(vad.VADEventType.START_OF_SPEECH, speech_duration=ago_s))

    def speech_ended(self, ago_s: float = 0.0) -> None:
        """The user stopped speaking; a VAD knows only after some silence."""
        self._heard.put_nowait(_event(vad.VADEventType.END_OF_SPEECH, silence_duration=ago_s))

    def stream(self) -> "FakeVadStream":
        return FakeVadStream(self, self._heard)


class FakeVadStream(vad.VADStream):
    def __init__(self, of: FakeVad, heard: asyncio.Queue[vad.VADEvent]) -> None:
        super().__init__(of)
        self._heard = heard

    async def _main_task(self) -> None:
        while True:
            self._event_ch.send_nowait(await self._heard.get())


def _event(kind: vad.VADEventType, speech_duration: float = 0.0, silence_duration: float = 0.0) -> vad.VADEvent:
    return vad.VADEvent(
        type=kind,
        samples_index=0,
        timestamp=0.0,
        speech_duration=speech_duration,
        silence_duration=silence_duration,
    )
