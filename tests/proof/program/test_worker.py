"""The agent server as a LiveKit server sees it: its registration, and the jobs that it runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from demo.agent_process import AgentProcess
from demo.gemini_server import GeminiLiveServer
from demo.scenario import Reply, Scenario
from realtime_metrics.settings import read_settings
from tests.fakes.call import until
from tests.proof.fakes.livekit_server import FAKE_JOB_AGENT, LiveKitServer

NO_PROVIDER = {"GOOGLE_API_KEY": "nobody-asks"}
GREETING = Scenario(greeting=Reply(text="Hi.", audio_s=0.3, latency_s=0.0))


@pytest.fixture
async def livekit() -> AsyncIterator[LiveKitServer]:
    async with LiveKitServer() as server:
        yield server


async def test_the_agents_name_arrives_in_the_registration_and_blank_means_automatic_dispatch(
    livekit: LiveKitServer,
) -> None:
    by_agent_toml: dict[str, str] = {}
    by_environment, blank = {"LIVEKIT_AGENT_NAME": "front-desk"}, {"LIVEKIT_AGENT_NAME": ""}
    async with AsyncExitStack() as workers:
        for name in (by_agent_toml, by_environment, blank):
            # `--dev`: no idle processes, which would take seconds to start
            worker = AgentProcess("start", "agent.py", "--dev", env={**livekit.env, **NO_PROVIDER, **name})
            await workers.enter_async_context(worker)
        registrations = await livekit.registered(3)
    assert {registration.agent_name for registration in registrations} == {read_settings().name, "front-desk", ""}
    assert not livekit.refused


async def test_every_job_reports_to_its_end_in_a_process_of_its_own(livekit: LiveKitServer, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    async with GeminiLiveServer(GREETING) as gemini:
        env = {**livekit.env, **gemini.env, "METRICS_SINKS": "jsonl,log", "METRICS_JSONL_PATH": str(path)}
        async with AgentProcess("start", FAKE_JOB_AGENT, env=env) as worker:
            assert [worker.agent_name for worker in await livekit.registered()] == [read_settings().name]
            await asyncio.gather(livekit.assign_job("kitchen"), livekit.assign_job("cellar"))
            await until(lambda: path.exists() and path.read_text("utf-8").count('"kind": "response"') == 2, 30)
            await livekit.end_jobs()
            assert await worker.stop() == 0
            logged = [json.loads(line) for line in worker.stdout.decode().splitlines() if line.startswith("{")]
    for job in livekit.jobs:
        assert job.statuses == ["JS_RUNNING", "JS_SUCCESS"]
        records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        kinds = [record["kind"] for record in records if record["session_id"] == job.id]
        assert kinds == ["connection", "response", "session"]
        in_log = [entry for entry in logged if entry.get("metrics", {}).get("session_id") == job.id]
        assert [entry["metrics"]["kind"] for entry in in_log] == kinds
        assert {entry["level"] for entry in in_log} == {"INFO"}
        assert {entry["job_id"] for entry in in_log} == {job.id}
    assert len({entry["pid"] for entry in logged if "metrics" in entry}) == 2


async def test_the_endpoint_lets_nobody_in_without_a_token(livekit: LiveKitServer) -> None:
    url = livekit.env["LIVEKIT_URL"]
    async with aiohttp.ClientSession() as client:
        for path in ("/agent", "/rtc"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await client.ws_connect(url + path)
    assert livekit.refused == ["/agent: token refused: Not enough segments", "/rtc: only /agent is served here"]
