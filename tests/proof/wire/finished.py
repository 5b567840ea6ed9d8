"""A whole call over the real wire, and all that is left of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livekit.protocol.agent_pb import agent_session as pb

from demo.agent_process import PROJECT
from demo.call import Record, call
from demo.console_host import Heard, SessionEvent, Spoken
from demo.conversation import AgentLeftError, converse
from demo.gemini_server import GeminiLiveServer
from demo.ledger import Ledger
from demo.scenario import Scenario

ABOUT_THE_MACHINE = ("no warmed process available", "VAD inference is slower than realtime")
"""What the framework says of a machine that is busy."""


@dataclass(frozen=True)
class FinishedCall:
    """Attributes:
    records: what the JSONL sink wrote.
    setups: the `setup` of every connection.
    reports: stdout without the framework's log.
    log: the framework's log.
    returncode: of the agent.
    left: whether the agent ended the call by itself.
    """

    records: list[Record]
    setups: list[dict[str, Any]]
    ledger: Ledger
    spoken: list[Spoken]
    heard: list[Heard]
    events: list[SessionEvent]
    reports: list[str]
    log: list[str]
    returncode: int
    left: bool

    @property
    def responses(self) -> list[Record]:
        return [record for record in self.records if record["kind"] == "response"]

    @property
    def connections(self) -> list[Record]:
        return [record for record in self.records if record["kind"] == "connection"]

    @property
    def session(self) -> Record:
        """The session record, which is the last line."""
        assert self.records[-1]["kind"] == "session"
        return self.records[-1]

    @property
    def problems(self) -> list[str]:
        """Lines of the log that are warnings, errors, or no log lines at all (tracebacks)."""
        harmless = (" DEBUG ", " INFO ", *ABOUT_THE_MACHINE)
        return [line for line in self.log if not any(words in line for words in harmless)]

    def user_speech_ends(self) -> list[float]:
        """When the user's speech ended, by the framework's own mark."""
        return [
            event.created_at
            for event in self.events
            if event.kind == "user_state_changed" and event.event.user_state_changed.new_state == pb.US_LISTENING
        ]

    def agent_speech_starts(self) -> list[float]:
        """When the agent's audio began, by the framework's own mark."""
        return [
            event.created_at
            for event in self.events
            if event.kind == "agent_state_changed" and event.event.agent_state_changed.new_state == pb.AS_SPEAKING
        ]


async def finished_call(
    scenario: Scenario,
    *,
    sinks: str = "console,jsonl",
    env: Mapping[str, str] | None = None,
    entrypoint: str | None = None,
    project: Path = PROJECT,
    noise_rms: float = 0.0,
    server: GeminiLiveServer | None = None,
) -> FinishedCall:
    """Plays a scenario to its end, then the user hangs up (Ctrl-C), unless the agent is expected to."""
    left = False
    async with call(
        scenario, sinks=sinks, env=env, entrypoint=entrypoint, project=project, noise_rms=noise_rms, server=server
    ) as playing:
        try:
            await converse(playing)
        except AgentLeftError:
            left = True
        left = left or scenario.expect.ends == "agent"
        # a second Ctrl-C would kill the console at once
        returncode = await (playing.agent.wait(15) if left else playing.hang_up())
        return FinishedCall(
            records=playing.records(),
            setups=[setup.message for setup in playing.server.setups],
            ledger=playing.server.ledger,
            spoken=playing.host.spoken,
            heard=playing.host.heard,
            events=playing.host.events,
            reports=playing.agent.reports,
            log=playing.agent.log,
            returncode=returncode,
            left=left,
        )


def asked_for(setup: dict[str, Any]) -> dict[str, Any]:
    """What a `setup` asks of the model, by the keys of `agent.toml`."""
    generation = setup["generationConfig"]
    return {
        "model": setup["model"].removeprefix("models/"),
        "temperature": generation["temperature"],
        "voice": generation["speechConfig"]["voice_config"]["prebuilt_voice_config"]["voice_name"],
        "instructions": setup["systemInstruction"]["parts"][0]["text"],
    }
