"""A sink that fails costs no other sink a record, does not disturb the call, and is spoken of once."""

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from demo.call import call
from demo.scenario import Reply, Scenario, Turn
from tests.proof.wire.finished import finished_call

TALK = Scenario(greeting=Reply(text="Hi.", audio_s=0.3), turns=(Turn(text="Yes.", audio_s=0.3, latency_s=0.05),) * 2)
FAILED = {"written": 0, "failed": 4, "dropped": 0}
WRITTEN = {"written": 4, "failed": 0, "dropped": 0}


async def test_a_sink_that_raises_on_every_write(project: Path) -> None:
    (project / "raising_agent.py").write_text(RAISING_AGENT, encoding="utf-8")
    done = await finished_call(TALK, sinks="raising,console,jsonl", project=project, entrypoint="raising_agent.py")
    assert [record["turn"] for record in done.responses] == [1, 2, 3]
    assert len(done.heard) == 3
    assert done.session["sinks"] == {"raising": FAILED, "console": WRITTEN, "jsonl": WRITTEN}
    (complaint,) = [line for line in done.log if "metrics sink raising fails" in line]
    assert "no ink" in complaint


RAISING_AGENT = '''
"""The agent, with a sink that cannot write."""

from realtime_metrics import sinks


class RaisingSink:
    def __init__(self, settings): ...

    @staticmethod
    def problem(settings):
        return None

    def write(self, record):
        raise RuntimeError("no ink")

    def close(self):
        raise RuntimeError("no lid")


sinks.SINKS["raising"] = lambda: RaisingSink

from agent import server
'''


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to play a full disk")
async def test_a_full_disk() -> None:
    async with call(TALK, jsonl=Path("/dev/full")) as playing:
        await playing.server.wait_for_end()
        await asyncio.sleep(0.5)
        await playing.hang_up()
        reports, log = playing.agent.reports, playing.agent.log
    titles = [line.rstrip("─ ") for line in reports if line.endswith("──")]
    assert [title.partition(" · ")[0] for title in titles] == ["Response 1", "Response 2", "Response 3", "Session"]
    assert sum("Sink jsonl" in line and "4 failed" in line for line in reports) == 1
    (complaint,) = [line for line in log if "metrics sink jsonl fails" in line]
    assert "No space left" in complaint


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be removed there")
async def test_a_directory_that_vanishes_during_the_call(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    async with call(TALK, jsonl=folder / "metrics.jsonl", sinks="jsonl,console") as playing:
        await playing.server.wait_for("first_audio", timeout_s=20)
        shutil.rmtree(folder)
        await playing.server.wait_for_end()
        await playing.hang_up()
        assert sum(line.startswith("Response ") for line in playing.agent.reports) == 3
        assert sum("metrics sink jsonl fails" in line for line in playing.agent.log) == 1
