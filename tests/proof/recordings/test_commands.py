"""An owner's day: a call is recorded by one command, played by another, and held in a test of five lines."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import demo.call
from demo.agent_process import PROJECT, AgentProcess
from demo.recording import FOLDER
from demo.replay import replay
from tests.proof.demo.conftest import run_demo
from tests.proof.scenarios import load
from tests.proof.wire.finished import FinishedCall, finished_call

NAME = f"proof-monday-{os.getpid()}"


class RecordedProcess(AgentProcess):
    """The agent, started by `demo.record`."""

    def __init__(self, *arguments: str, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._command = [sys.executable, "-m", "demo.record", NAME, "--", *self._command]

    def interrupt(self) -> None:
        """Ctrl-C of a terminal, which both programs get."""
        os.killpg(self.pid, signal.SIGINT)


@pytest.fixture(scope="module")
def call() -> Iterator[FinishedCall]:
    """A call that was recorded by the command; the demo's server stands in the place of Google."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo.call, "AgentProcess", RecordedProcess)
        done = asyncio.run(finished_call(load("text-only")))
    yield done
    (FOLDER / f"{NAME}.jsonl").unlink()


def run_record(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo.record", *arguments],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def test_the_call_is_as_ever_and_the_command_says_what_it_did(call: FinishedCall) -> None:
    assert call.returncode == 0
    assert (call.session["responses"], call.session["unanswered"]) == (2, 1)
    told = "\n".join([*call.reports, *call.log])
    assert f"Recorded {FOLDER / NAME}.jsonl: " in told
    assert " ms (p99)" in told
    assert f"uv run -m demo --replay {NAME}" in told


def test_a_replay_shows_the_recordings_bill_beside_the_records(call: FinishedCall) -> None:
    played = run_demo("--replay", NAME, "--speed", "20")
    assert played.returncode == 0, played.stdout + played.stderr
    total, cost = call.session["total_tokens"], call.session["cost_usd"]
    assert ["total_tokens", f"{total:,}", f"{total:,}"] in [line.split() for line in played.stdout.splitlines()]
    assert ["cost_usd", f"${cost:.6f}"] in [line.split() for line in played.stdout.splitlines()]


# what docs/reference.md shows an owner
@pytest.mark.usefixtures("call")
async def test_the_agent_answers_that_call_at_the_same_cost() -> None:
    replayed = await replay(NAME, speed=20)
    assert replayed.bill == replayed.billed
    assert replayed.session["cost_usd"] < 0.01


@pytest.mark.usefixtures("call")
def test_the_same_name_is_refused_in_words() -> None:
    refused = run_record(NAME, "--", sys.executable, "-V")
    assert refused.returncode == 2
    assert "exists: give another name, or delete it" in refused.stderr


def test_what_cannot_be_is_refused_in_words() -> None:
    for arguments, told in (
        (("../up", "--", "x"), "'../up' is no name for a recording: use letters, digits, . _ -"),
        (("unused", "--", "no-such-program"), "'no-such-program' cannot be run: No such file or directory"),
        (("unused", "--", sys.executable, "-V"), "nothing was recorded: the agent did not connect to Gemini"),
        (("unused", "--"), "say what runs the agent, as in: -- uv run agent.py console"),
    ):
        refused = run_record(*arguments)
        assert refused.returncode != 0
        assert told in refused.stderr
        assert "Traceback" not in refused.stderr
        assert not (FOLDER / "unused.jsonl").exists()
    for options, told in (
        (("--replay", "nobody"), "no recording 'nobody'; there are: "),
        (("--replay", "x", "--speed", "21"), "21 is no speed: a number from 1 to 20 is"),
    ):
        played = run_demo(*options)
        assert played.returncode == 2
        assert told in played.stderr
