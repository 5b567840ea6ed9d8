"""A server that is told to stop: its calls report before whoever stops it loses patience. And who can reach it."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from demo.agent_process import PROJECT, AgentProcess
from demo.call import call
from demo.gemini_server import GeminiLiveServer
from demo.scenario import Reply, Scenario
from tests.fakes.call import until
from tests.proof.fakes.livekit_server import FAKE_JOB_AGENT, FakeJob, LiveKitServer

DOCKER_STOP_S = 10
LISTENING = Scenario(greeting=Reply(text="Hi.", audio_s=0.3, latency_s=0.0))
(IMAGE_DRAIN_S,) = re.findall(r"AGENT_DRAIN_TIMEOUT_S=(\d+)", (PROJECT / "Dockerfile").read_text("utf-8"))

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals do not exist there")


@dataclass
class Server:
    worker: AgentProcess
    livekit: LiveKitServer
    job: FakeJob
    path: Path

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]


@asynccontextmanager
async def server_in_a_call(folder: Path, **variables: str) -> AsyncIterator[Server]:
    """`start`, with a call that has been greeted and goes on."""
    path = folder / "metrics.jsonl"
    async with LiveKitServer() as livekit, GeminiLiveServer(LISTENING) as gemini:
        env = {**livekit.env, **gemini.env, "METRICS_SINKS": "jsonl", "METRICS_JSONL_PATH": str(path), **variables}
        async with AgentProcess("start", FAKE_JOB_AGENT, env=env) as worker:
            await livekit.registered()
            job = await livekit.assign_job("kitchen")
            await until(lambda: path.exists() and '"kind": "response"' in path.read_text("utf-8"), 40)
            yield Server(worker, livekit, job, path)


async def test_docker_stop_in_a_call_leaves_the_sessions_record(tmp_path: Path) -> None:
    async with server_in_a_call(tmp_path, AGENT_DRAIN_TIMEOUT_S=IMAGE_DRAIN_S) as server:
        server.worker.send_signal(signal.SIGTERM)
        await server.worker.wait(DOCKER_STOP_S)
        assert [record["kind"] for record in server.records()] == ["connection", "response", "session"]
        assert server.records()[-1]["end_reason"] == "user_initiated"


async def test_a_call_may_end_by_itself_before_the_drain_does(tmp_path: Path) -> None:
    async with server_in_a_call(tmp_path, AGENT_DRAIN_TIMEOUT_S="60") as server:
        server.worker.send_signal(signal.SIGTERM)
        await asyncio.sleep(3)
        assert server.records()[-1]["kind"] == "response", "it goes on"
        await server.livekit.end_jobs()
        await server.worker.wait(DOCKER_STOP_S)
        assert server.records()[-1]["kind"] == "session"


@pytest.mark.parametrize("hang_up", [os.kill, os.killpg], ids=["the server", "all of its processes"])
async def test_a_server_that_is_told_that_its_terminal_is_closed_stops_as_it_does_when_told_to(
    hang_up: Callable[[int, int], None], tmp_path: Path
) -> None:
    async with server_in_a_call(tmp_path, AGENT_DRAIN_TIMEOUT_S="1") as server:
        hang_up(server.worker.pid, signal.SIGHUP)
        await server.worker.wait(DOCKER_STOP_S)
        assert server.records()[-1]["kind"] == "session"


async def test_when_its_terminal_is_closed_a_console_call_ends_and_reports() -> None:
    async with call(Scenario(greeting=Reply(text="I go on for a while.", audio_s=6.0, latency_s=0.1))) as playing:
        await playing.host.wait_for(lambda: bool(playing.host.heard), 20)
        os.killpg(playing.agent.pid, signal.SIGHUP)
        await playing.agent.wait(DOCKER_STOP_S)
        assert [record["kind"] for record in playing.records()][-2:] == ["response", "session"]


async def test_what_outlives_its_terminal_on_purpose_goes_on(tmp_path: Path) -> None:
    """As under nohup, which has the signal ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with server_in_a_call(tmp_path, AGENT_DRAIN_TIMEOUT_S="1") as server:
            os.killpg(server.worker.pid, signal.SIGHUP)
            await asyncio.sleep(3)
            assert server.worker.returncode is None
            assert server.records()[-1]["kind"] == "response"
            server.worker.send_signal(signal.SIGTERM)
            await server.worker.wait(DOCKER_STOP_S)
    finally:
        signal.signal(signal.SIGHUP, before)


def addresses(pid: int) -> set[str]:
    """Where the process and its children listen."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    listening = [each for one in family for each in one.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    return {each.laddr.ip for each in listening}


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        (["start", "agent.py"], {}, {"0.0.0.0", "::"}),
        (["start", "agent.py"], {"AGENT_HOST": "127.0.0.1"}, {"127.0.0.1"}),
        (["start", "agent.py"], {"METRICS_SINKS": "prometheus", "METRICS_PROMETHEUS_PORT": "0"}, {"127.0.0.1"}),
        (["start", "agent.py", "--dev"], {}, {"127.0.0.1"}),
        (["start", "agent.py", "--dev"], {"AGENT_HOST": "0.0.0.0"}, {"0.0.0.0"}),
    ],
)
async def test_only_a_deployed_server_listens_on_every_address_unless_a_setting_says_otherwise(
    arguments: list[str], variables: dict[str, str], expected: set[str]
) -> None:
    async with LiveKitServer() as livekit:
        env = {**livekit.env, "GOOGLE_API_KEY": "nobody-asks", "METRICS_SINKS": "log", **variables}
        async with AgentProcess(*arguments, env=env) as worker:
            await livekit.registered()
            found = addresses(worker.pid)
            assert found
            assert found <= expected


async def test_a_call_in_the_console_listens_on_this_machine_only() -> None:
    async with call(LISTENING) as playing:
        assert addresses(playing.agent.pid) == {"127.0.0.1"}
