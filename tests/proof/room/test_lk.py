"""LiveKit's own CLI runs the agent: in a room (`lk agent dev`), and as a session of text (`lk agent daemon`)."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.agent_process import PROJECT, clean_environment
from demo.gemini_server import GeminiLiveServer
from demo.scenario import Reply, Scenario, Turn
from tests.fakes.call import until
from tests.proof.monitoring.prometheus_server import free_port
from tests.proof.room.livekit_server import LiveKitServer, needs_livekit_server
from tests.proof.room.place import testcall

pytestmark = pytest.mark.skipif(shutil.which("lk") is None, reason="lk, LiveKit's CLI, is not on the PATH")

GREETS_LATE = Scenario(
    greeting=Reply(text="Hello!", audio_s=1.0, latency_s=4.0),
    turns=(Turn(user="rain", heard="", text="It is sunny.", audio_s=1.0, latency_s=0.3),),
)


async def start_lk(*arguments: str, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """`lk agent …` in the project, in a process group of its own."""
    return await asyncio.create_subprocess_exec(
        *("lk", "agent", *arguments),
        cwd=PROJECT,
        env=clean_environment(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


async def lk(*arguments: str, env: Mapping[str, str]) -> str:
    """The same, to its end; what it printed."""
    process = await start_lk(*arguments, env=env)
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, printed.decode()
    return printed.decode()


async def test_a_text_turn_that_interrupts_the_greeting_before_it_is_heard_loses_nothing_of_the_bill(
    tmp_path: Path,
) -> None:
    path, port = tmp_path / "metrics.jsonl", str(free_port())
    async with GeminiLiveServer(GREETS_LATE) as gemini:
        env = {**gemini.env, "METRICS_SINKS": "jsonl", "METRICS_JSONL_PATH": str(path)}
        await lk("daemon", "start", "--port", port, "agent.py", env=env)
        try:
            await gemini.wait_for("requested", timeout_s=30)
            assert "It is sunny." in await lk("daemon", "say", "--port", port, "Will it rain?", env=env)
        finally:
            await lk("daemon", "stop", "--port", port, env=env)
        await until(lambda: '"kind": "session"' in path.read_text("utf-8"), 20)
        *_, session = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert len(gemini.ledger.entries) == 2
        billed = gemini.ledger.total(gemini.ledger.entries[0].client)
        assert session["total_tokens"] == billed["totalTokenCount"]
        assert (session["user_turns"], session["unanswered"]) == (1, 0)


@needs_livekit_server
async def test_lk_agent_dev_serves_a_room(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    async with GeminiLiveServer(GREETS_LATE) as gemini, LiveKitServer(tmp_path) as livekit:
        env = {**gemini.env, **livekit.env, "METRICS_SINKS": "jsonl", "METRICS_JSONL_PATH": str(path)}
        process = await start_lk("dev", "--no-reload", "agent.py", env=env)
        try:
            await livekit.registered()
            result = await testcall(livekit, "--turns", "1", "--json", "--records", str(path))
            assert (result.code, result.figures["unanswered"]) == (0, 0), result.stderr
            assert result.figures["calls"][0]["turns"][0]["record_s"] is not None
        finally:
            os.killpg(process.pid, signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 30)
