"""A scenario's call with the relay between the agent and the server, as an owner records one of Google's."""

from pathlib import Path
from types import TracebackType
from typing import Self

from demo.gemini_server import GeminiLiveServer
from demo.record import Relay
from demo.recording import Recorder
from demo.scenario import Scenario
from tests.proof.wire.finished import FinishedCall, finished_call


class RecordedServer(GeminiLiveServer):
    """A local Gemini Live server that is reached through the relay."""

    def __init__(self, scenario: Scenario, path: Path) -> None:
        super().__init__(scenario)
        self.recorder = Recorder(path)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.relay = Relay(self.env["GOOGLE_GEMINI_BASE_URL"], self.env["SSL_CERT_FILE"], self.recorder)
        self.env |= (await self.relay.__aenter__()).env
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.relay.__aexit__(kind, error, trace)
        self.recorder.close()
        await super().__aexit__(kind, error, trace)


async def recorded_call(scenario: Scenario, path: Path, noise_rms: float = 0.0) -> FinishedCall:
    """Plays a scenario and records it."""
    return await finished_call(scenario, server=RecordedServer(scenario, path), noise_rms=noise_rms)
