"""Everything that a call in a room needs: the LiveKit server, the agent servers, and the Gemini Live server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.agent_process import PROJECT, AgentProcess, clean_environment
from demo.gemini_server import GeminiLiveServer
from demo.scenario import Scenario
from tests.fakes.call import until
from tests.proof.room.livekit_server import LiveKitServer

ROOM_AGENT = "tests/proof/room/room_agent.py"
Record = dict[str, Any]


@dataclass
class Place:
    """Where the calls are.

    Attributes:
        jsonl: what all agent servers write to.
        agents: those that were started.
    """

    livekit: LiveKitServer
    gemini: GeminiLiveServer
    jsonl: Path
    agents: list[AgentProcess]
    stack: AsyncExitStack

    async def start_agent(self, env: Mapping[str, str] | None = None) -> AgentProcess:
        """One more agent server; returns when it is registered."""
        variables = {**self.gemini.env, **self.livekit.env, "METRICS_SINKS": "jsonl"}
        variables |= {"METRICS_JSONL_PATH": str(self.jsonl), **(env or {})}
        agent = await self.stack.enter_async_context(AgentProcess("start", ROOM_AGENT, env=variables))
        self.agents.append(agent)
        await self.livekit.registered(len(self.agents))
        return agent

    def records(self, kind: str, room: str | None = None) -> list[Record]:
        """What was written so far; every complete line must parse."""
        lines = self.jsonl.read_text("utf-8").split("\n")[:-1] if self.jsonl.exists() else []
        records = [json.loads(line) for line in lines]
        return [each for each in records if each["kind"] == kind and room in (None, each["room"])]

    async def session(self, room: str, timeout_s: float = 20.0) -> Record:
        """The record that closes the session in a room, once it is there.

        Raises:
            TimeoutError: it is not.
        """
        await until(lambda: bool(self.records("session", room)), timeout_s)
        (session,) = self.records("session", room)
        return session

    def billed(self) -> dict[str, int]:
        """Total tokens, by client: each call's process is one."""
        ledger = self.gemini.ledger
        clients = {entry.client for entry in ledger.entries}
        return {client: ledger.total(client)["totalTokenCount"] for client in clients}

    async def speaking(self, times: int, timeout_s: float = 40.0) -> None:
        """Until agents have begun to speak so often.

        Raises:
            TimeoutError: they have not.
        """
        marks = self.gemini.seen.marks
        await self.gemini.seen.until(lambda: sum(mark.what == "first_audio" for mark in marks) >= times, timeout_s)


@asynccontextmanager
async def place(folder: Path, scenario: Scenario, env: Mapping[str, str] | None = None) -> AsyncIterator[Place]:
    """With one agent server.

    Args:
        folder: where the records go.
        scenario: what the agents hear from the provider.
        env: more variables of the agent server.
    """
    async with AsyncExitStack() as stack:
        gemini = await stack.enter_async_context(GeminiLiveServer(scenario))
        livekit = await stack.enter_async_context(LiveKitServer(folder))
        it = Place(livekit, gemini, folder / "metrics.jsonl", [], stack)
        await it.start_agent(env)
        yield it


@dataclass(frozen=True)
class Ended:
    """What `uv run -m testcall` left."""

    code: int
    stdout: str
    stderr: str

    @property
    def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = json.loads(self.stdout)
        return figures


async def start_testcall(livekit: LiveKitServer, *arguments: str, **env: str) -> asyncio.subprocess.Process:
    """`python -m testcall`, with nothing of the person's keys and settings."""
    return await asyncio.create_subprocess_exec(
        *(*livekit.within, sys.executable, "-m", "testcall", *arguments),
        cwd=PROJECT,
        env=clean_environment({**livekit.env, **env}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process, timeout_s: float = 90.0) -> Ended:
    """Until it has ended by itself."""
    stdout, stderr = await asyncio.wait_for(process.communicate(), timeout_s)
    return Ended(process.returncode or 0, stdout.decode(), stderr.decode())


async def testcall(livekit: LiveKitServer, *arguments: str, **env: str) -> Ended:
    """The whole of it."""
    return await ended(await start_testcall(livekit, *arguments, **env))


testcall.__test__ = False  # type: ignore[attr-defined]
