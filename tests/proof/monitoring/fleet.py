"""Agent servers as in production: registered at a (local) LiveKit server, with a process for every job."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.agent_process import AgentProcess
from demo.gemini_server import GeminiLiveServer
from demo.scenario import Fault, Reply, Scenario, Turn, Usage
from demo.speech import utterances
from tests.proof.fakes.livekit_server import LiveKitServer

BUSY_AGENT = "tests/proof/monitoring/busy_agent.py"

RICH_USAGE = {
    "promptTokenCount": 300,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 200}, {"modality": "TEXT", "tokenCount": 60}],
    "cachedContentTokenCount": 64,
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 64}],
    "toolUsePromptTokenCount": 20,
    "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
    "responseTokenCount": 90,
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 90}],
    "thoughtsTokenCount": 33,
    "totalTokenCount": 443,
}

SILENT_TURN = 3
"""Text only."""
BROKEN_TURN = 4
"""The connection breaks in the middle of it."""

Record = dict[str, Any]


def _turn(number: int) -> Turn:
    latency_s = 0.15 + 0.17 * (number % 5)
    usage = {1: (Usage(counts=RICH_USAGE),), 3: ()}.get(number % 5, (Usage(),))
    # a turn that somebody speaks does not begin by itself; here it is asked for
    user = next(iter(utterances()))
    audio_s = 0.0 if number == SILENT_TURN else 0.5
    fault = Fault(kind="close", after_audio_s=0.2) if number == BROKEN_TURN else None
    return Turn(
        user=user, heard="", text="It is sunny.", audio_s=audio_s, latency_s=latency_s, usage=usage, fault=fault
    )


SCENARIO = Scenario(
    greeting=Reply(text="Hello!", audio_s=0.4, latency_s=0.3),
    turns=tuple(_turn(number) for number in range(40)),
    pace=20,
    waits_for_playback=False,
)
"""Replies of different latencies; some with every kind of token, some without usage, one silent, one broken off."""


@dataclass
class Fleet:
    """Agent servers that run, and what their JSONL sink wrote."""

    livekit: LiveKitServer
    agents: Sequence[AgentProcess]
    jsonl: Path

    def records(self, kind: str) -> list[Record]:
        lines = self.jsonl.read_text("utf-8").splitlines() if self.jsonl.exists() else []
        return [record for record in map(json.loads, lines) if record["kind"] == kind]

    async def calls(self, number: int, timeout_s: float = 60.0) -> None:
        """So many calls at once, to their end; spread over the servers."""
        jobs = [
            await self.livekit.assign_job(f"room-{index}", worker=index % len(self.agents)) for index in range(number)
        ]
        await asyncio.gather(*(job.ended(timeout_s) for job in jobs))


class _Server(AgentProcess):
    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        super().__init__("start", BUSY_AGENT, env=env)
        if command:
            self._command = [sys.executable, *command]


@asynccontextmanager
async def fleet(
    folder: Path, *envs: Mapping[str, str], replies: int = 6, command: Sequence[str] = ()
) -> AsyncIterator[Fleet]:
    """An agent server for each environment.

    Args:
        folder: where the JSONL sink writes.
        envs: more variables of each server.
        replies: of each call, after its greeting.
        command: arguments of Python that start a server; `-m livekit.agents start …`, as `lk` has it, unless given.
    """
    jsonl = folder / "metrics.jsonl"
    async with AsyncExitStack() as stack:
        gemini = await stack.enter_async_context(GeminiLiveServer(SCENARIO))
        livekit = await stack.enter_async_context(LiveKitServer())
        shared = {**gemini.env, **livekit.env, "METRICS_JSONL_PATH": str(jsonl), "BUSY_REPLIES": str(replies)}
        agents = []
        for number, env in enumerate(envs, 1):
            agent = _Server(command, {**shared, **env})
            await stack.enter_async_context(agent)
            agents.append(agent)
            await livekit.registered(number)
        yield Fleet(livekit, agents, jsonl)
        # as an operator does: what a server keeps for its jobs goes with it
        await asyncio.gather(*(agent.stop() for agent in agents))
