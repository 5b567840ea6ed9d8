"""`uv run -m demo`, as a person runs it."""

import re
import signal
import subprocess
import sys

import pytest

from demo.agent_process import PERSONAL, PROJECT
from demo.scenario import load, names
from tests import conftest
from tests.proof.demo.conftest import run_demo
from tests.proof.scenarios import FILES

Run = subprocess.CompletedProcess[str]


def test_the_demo_ends_well_and_says_nothing_else(demo_run: Run) -> None:
    assert demo_run.returncode == 0, demo_run.stdout + demo_run.stderr
    assert demo_run.stderr == ""


def test_the_demo_shows_the_connection_the_greeting_and_every_turn_in_order(demo_run: Run) -> None:
    spoken = ["connected", "Agent  Hello!", *_you(), "Session", "Next: "]
    places = [demo_run.stdout.find(part) for part in spoken]
    assert -1 not in places, dict(zip(spoken, places, strict=True))
    assert places == sorted(places)


def _you() -> list[str]:
    return [
        "You    Will it rain this afternoon?",
        "Agent  No, it stays sunny",
        "You    How far away is the moon?",
        "Agent  About three hundred",
        "You    Please play me a tune.",
        "Agent  Gladly.",
        "You    Wait, is it warm in Spain?",
        "Agent  Yes, twenty eight degrees",
    ]


def test_the_demo_shows_exactly_one_report_for_each_response(demo_run: Run) -> None:
    requests = re.findall(r"GR_\w+", demo_run.stdout)
    assert len(requests) == len(set(requests)) == load("normal").expect.responses


def test_the_demo_shows_an_interrupted_answer(demo_run: Run) -> None:
    assert "(interrupted)" in demo_run.stdout


def test_the_demo_keeps_to_80_columns_and_colours_nothing_in_a_pipe(demo_run: Run) -> None:
    assert max(map(len, demo_run.stdout.splitlines())) <= 80
    assert "\x1b" not in demo_run.stdout


def test_the_demo_shows_no_log_of_the_framework(demo_run: Run) -> None:
    assert " DEBUG " not in demo_run.stdout
    assert "livekit.agents starting worker" not in demo_run.stdout


def test_the_list_has_every_scenario() -> None:
    listed = run_demo("--list")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == names()


def test_an_unknown_scenario_is_one_line_and_exit_code_2() -> None:
    refused = run_demo("--scenario", "nope")
    assert refused.returncode == 2
    assert refused.stderr.startswith("no scenario 'nope'; there are: ")
    assert len(refused.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2() -> None:
    refused = run_demo("--scenario", "nowhere/nope.toml")
    assert refused.returncode == 2
    assert refused.stderr == "--scenario 'nowhere/nope.toml' cannot be read: No such file or directory\n"


@pytest.mark.parametrize("name_or_file", ["invalid-key", "tool-call-slow", str(FILES["unknown-model"])])
def test_a_scenario_ends_as_it_expects(name_or_file: str) -> None:
    played = run_demo("--scenario", name_or_file)
    assert played.returncode == 0, played.stdout + played.stderr


def test_the_owners_tests_and_the_demo_keep_out_the_same_variables() -> None:
    assert conftest.PERSONAL == PERSONAL


@pytest.mark.skipif(sys.platform == "win32", reason="no Ctrl-C can be sent to one process there")
def test_ctrl_c_ends_the_demo_and_its_agent() -> None:
    command = [sys.executable, "-m", "demo"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "connected" in line:
                break
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert errors == "\nStopped.\n"
