"""One call: the local Gemini Live server, the user at the console, and the real agent between them."""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.agent_process import PROJECT, TRACEBACK, AgentProcess
from demo.console_host import ConsoleHost
from demo.gemini_server import GeminiLiveServer
from demo.scenario import Scenario

Record = dict[str, Any]


@dataclass
class Call:
    """A call that goes on.

    Attributes:
        server: what the agent hears and says.
        host: the user.
        agent: the agent's process.
        jsonl: the file that the agent's JSONL sink writes.
        jsonl_from: where in it the call's records begin, in bytes.
        started_at: `time.time()` when the agent was started.
    """

    scenario: Scenario
    server: GeminiLiveServer
    host: ConsoleHost
    agent: AgentProcess
    jsonl: Path
    started_at: float
    jsonl_from: int = 0

    def records(self, kind: str | None = None) -> list[Record]:
        """What the JSONL sink has written so far; every complete line must parse."""
        if not self.jsonl.exists():
            return []
        written = self.jsonl.read_bytes()
        # a file that is shorter now was rotated away, and made anew
        mine = written[self.jsonl_from if self.jsonl_from <= len(written) else 0 :]
        lines = mine.decode().split("\n")[:-1]
        records = [json.loads(line) for line in lines]
        return [record for record in records if kind in (None, record["kind"])]

    async def wait_for_records(self, kind: str, number: int = 1, timeout_s: float = 15.0) -> list[Record]:
        """The records of a kind, once there are so many.

        Raises:
            TimeoutError: there are fewer.
            ConnectionError: the agent ended, and there are fewer.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                # looked at before the records: what ended has written what it has to
                ended = self.agent.returncode is not None
                if len(records := self.records(kind)) >= number:
                    return records
                if ended:
                    raise ConnectionError(f"the agent ended with {len(records)} of {number} {kind} records")
                await asyncio.sleep(0.02)

    async def hang_up(self, timeout_s: float = 15.0) -> int:
        """Ctrl-C for the agent; its exit code, when it has ended by itself.

        Raises:
            TimeoutError: it does not end.
        """
        return await self.agent.stop(timeout_s)


@asynccontextmanager
async def call(
    scenario: Scenario,
    *,
    sinks: str = "console,jsonl",
    env: Mapping[str, str] | None = None,
    entrypoint: str | None = None,
    jsonl: Path | None = None,
    prepare: Callable[[GeminiLiveServer], None] | None = None,
    project: Path = PROJECT,
    noise_rms: float = 0.0,
    server: GeminiLiveServer | None = None,
) -> AsyncIterator[Call]:
    """Starts the agent, waits for its console to connect, and leaves nothing behind.

    Args:
        scenario: what the server plays.
        sinks: METRICS_SINKS.
        env: more variables for the agent.
        entrypoint: the file to run, if not the scenario's.
        jsonl: METRICS_JSONL_PATH, if not a temporary file.
        prepare: called with the running server, before the agent starts.
        project: the folder that the agent runs in.
        noise_rms: steady noise around the user, root mean square, of 32768.
        server: what plays, if not the scenario; it does not run yet.

    Raises:
        AgentFailedError: the agent ended or failed before it was connected.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="call-", ignore_cleanup_errors=True))
        path = jsonl or Path(folder, "metrics.jsonl")
        server = await stack.enter_async_context(server or GeminiLiveServer(scenario))
        host = await stack.enter_async_context(ConsoleHost(noise_rms))
        if prepare is not None:
            prepare(server)
        variables = {**server.env, "METRICS_SINKS": sinks, "METRICS_JSONL_PATH": str(path), **(env or {})}
        if scenario.model is not None:
            variables.setdefault("AGENT_MODEL", scenario.model)
        if scenario.cost_limit_usd is not None:
            variables.setdefault("METRICS_COST_LIMIT_USD", str(scenario.cost_limit_usd))
        arguments = ("console", entrypoint or scenario.entrypoint, "--connect-addr", host.address)
        started_at, jsonl_from = time.time(), path.stat().st_size if path.exists() else 0
        agent = await stack.enter_async_context(AgentProcess(*arguments, env=variables, cwd=project))
        await _connected(host, agent)
        yield Call(scenario, server, host, agent, path, started_at, jsonl_from)


START_S = 60.0
"""How long an agent may take until it is connected."""
CRASHED_S = 3.0
"""How long it still may after a traceback: the console's process lives on when the agent's code has failed."""


class AgentFailedError(Exception):
    """The agent did not come into the call; the text says why."""

    def __init__(self, agent: AgentProcess, text: str) -> None:
        super().__init__(text)
        self.agent = agent


async def _connected(host: ConsoleHost, agent: AgentProcess) -> None:
    until, late = time.monotonic() + START_S, f"the agent was not connected within {START_S:g} s"
    crashed = False
    while not host.connected.is_set():
        if agent.returncode is not None:
            with contextlib.suppress(TimeoutError):
                await agent.wait(CRASHED_S)  # what it said last
            raise AgentFailedError(agent, f"the agent ended with exit code {agent.returncode}")
        if not crashed and any(TRACEBACK in line for line in agent.log):
            crashed, until, late = True, time.monotonic() + CRASHED_S, "the agent failed before it was connected"
        if time.monotonic() > until:
            raise AgentFailedError(agent, late)
        await asyncio.sleep(0.05)
