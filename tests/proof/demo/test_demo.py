"""`uv run -m demo`, as a person runs it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from demo.agent_process import PERSONAL, PROJECT
from demo.scenario import load, names
from demo.speech import WAV_SAMPLE_RATE, Samples, utterances
from realtime_metrics.settings import read_settings
from tests import conftest
from tests.proof.demo.conftest import run_demo
from tests.proof.first_day.project import set_line
from tests.proof.scenarios import FILES

Run = subprocess.CompletedProcess[str]


def test_the_demo_ends_well_and_says_nothing_else(demo_run: Run) -> None:
    assert demo_run.returncode == 0, demo_run.stdout + demo_run.stderr
    assert demo_run.stderr == ""


def test_the_demo_shows_the_connection_the_greeting_and_every_turn_in_order(demo_run: Run) -> None:
    spoken = ["connected", "Agent  Hello!", *_turns(), "Session", "Next: "]
    places = [demo_run.stdout.find(part) for part in spoken]
    assert -1 not in places, dict(zip(spoken, places, strict=True))
    assert places == sorted(places)


def _turns() -> list[str]:
    return [
        "User   Will it rain this afternoon?",
        "Agent  No, it stays sunny",
        "User   How far away is the moon?",
        "Agent  About three hundred",
        "User   Please play me a tune.",
        "Agent  Gladly.",
        "User   Wait, is it warm in Spain?",
        "Agent  Yes, twenty eight degrees",
    ]


def test_the_demo_shows_the_first_response_as_a_table_and_the_others_as_lines(demo_run: Run) -> None:
    assert re.findall(r"(?m)^Response (\d+) ·", demo_run.stdout) == ["1"]
    assert re.findall(r"(?m)^#(\d+) ", demo_run.stdout) == ["2", "3", "4", "5"]


def test_the_table_and_the_turn_that_it_reports_are_on_one_screen_of_24_lines(demo_run: Run) -> None:
    lines = demo_run.stdout.splitlines()
    said = next(number for number, line in enumerate(lines) if line.startswith("Agent  Hello!"))
    reported = next(number for number, line in enumerate(lines) if line.startswith("Cost "))
    assert reported - said < 24 - 2, "a line for the spinner, and one for the cursor"


def test_the_demo_tells_who_speaks_and_what_the_model_is_told(demo_run: Run) -> None:
    assert "The user is a recording, Gemini a local server." in demo_run.stdout
    told = " ".join(demo_run.stdout.split())
    settings = read_settings({})
    assert f"Model is told: {settings.instructions}" in told
    assert f"Model is told: {settings.greeting}" in told


def test_the_stopwatch_says_what_lies_between_it_and_the_report(demo_run: Run) -> None:
    assert demo_run.stdout.count("by a stopwatch at the user's end") == 4
    assert demo_run.stdout.count("wait lie the way to the agent and back") == 1


def test_with_tables_every_response_is_a_table() -> None:
    shown = run_demo("--scenario", "text-only", "--tables").stdout
    assert re.findall(r"(?m)^Response (\d+) ·", shown) == ["1", "2"]
    replayed = run_demo("--replay", "example", "--speed", "20", "--tables").stdout
    assert re.findall(r"(?m)^Response (\d+) ·", replayed) == ["1", "2", "3"]


def test_a_tool_is_shown_with_its_arguments_and_no_figure_gets_among_those_of_real_calls(tmp_path: Path) -> None:
    folder = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    set_line(folder / "agent.toml", "metrics_sinks", 'metrics_sinks = ["console", "jsonl"]')
    shown = run_demo("--scenario", "tool-call-slow", cwd=folder).stdout
    places = [shown.find(part) for part in ("Tool   get_next_train(city='Madrid')", "gave to Madrid at ten o'clock")]
    assert -1 not in places
    assert places[0] < places[1] < shown.find("Agent  The next train to Madrid")
    assert not list(folder.glob("*.jsonl"))


def test_a_recording_of_ones_own_is_said_and_its_records_are_kept(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text('{"kind": "response", "turn": 99}\n', "utf-8")
    question = tmp_path / "question.wav"
    _record(question, utterances()["rain"].samples)
    played = run_demo("--say", str(question), "--jsonl", str(records))
    assert played.returncode == 0, played.stdout + played.stderr
    assert "question.wav)" in "".join(played.stdout.split("\n"))
    kept = [json.loads(line) for line in records.read_text("utf-8").splitlines()]
    assert [record["kind"] for record in kept] == ["response", "connection", "response", "response", "session"]
    assert kept[3]["time_to_first_audio_from"] == "user_speech_end"


def _record(path: Path, samples: Samples) -> None:
    """As a recorder would: two channels, 44.1 kHz, with silence around it."""
    positions = np.arange(0, len(samples), WAV_SAMPLE_RATE / 44_100)
    speech = np.interp(positions, np.arange(len(samples)), samples).astype(np.int16)
    silence = np.zeros(22_050, np.int16)
    one = np.concatenate([silence, speech, silence])
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(np.stack([one, one], axis=1).tobytes())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("nowhere.wav", "--say 'nowhere.wav' cannot be read: No such file or directory"),
        ("nope", "--say 'nope' is not an utterance; there are: rain, "),
    ],
)
def test_what_cannot_be_said_is_one_line_and_exit_code_2(said: str, told: str) -> None:
    refused = run_demo("--say", said)
    assert refused.returncode == 2
    assert refused.stderr.startswith(told)
    assert len(refused.stderr.splitlines()) == 1


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
    assert [line.split()[0] for line in listed.stdout.splitlines() if not line.startswith(" ")] == names()


def test_the_list_breaks_no_word_at_80_columns() -> None:
    lines = run_demo("--list").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines).split()) == " ".join(f"{name} {load(name).about}" for name in names())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--speed 5", "--speed is that of a recording: name one with --replay"),
        ("--replay example --scenario ignored", "argument --scenario: not allowed with argument --replay"),
        ("--scenario ignored --say rain", "argument --say: not allowed with argument --scenario"),
        ("--replay example --jsonl x.jsonl", "--jsonl keeps no records of a --replay: leave out one of them"),
        ("--replay example --speed 0", "0 is no speed: a number from 1 to 20 is"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused_in_words(arguments: str, told: str) -> None:
    refused = run_demo(*arguments.split())
    assert (refused.returncode, refused.stdout) == (2, "")
    assert told in refused.stderr


def test_a_file_that_no_record_can_be_written_to_is_told_before_an_agent_starts(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "x.jsonl"
    refused = run_demo("--jsonl", str(path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"--jsonl {str(path)!r} cannot be written to ({path.parent} is no folder")
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("program", ["demo", "demo.record", "testcall", "report"])
def test_the_help_of_a_program_says_how_this_project_runs_it(program: str) -> None:
    shown = subprocess.run([sys.executable, "-m", program, "--help"], cwd=PROJECT, capture_output=True, check=True)
    assert shown.stdout.startswith(f"usage: uv run -m {program} ".encode())


def test_the_help_of_the_demo_fits_80_columns() -> None:
    assert max(map(len, run_demo("--help").stdout.splitlines())) <= 80


def test_an_unknown_scenario_is_one_line_and_exit_code_2() -> None:
    refused = run_demo("--scenario", "nope")
    assert refused.returncode == 2
    assert refused.stderr.startswith("no scenario 'nope'; there are: ")
    assert len(refused.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_2() -> None:
    refused = run_demo("--scenario", "nowhere/nope.toml")
    assert refused.returncode == 2
    assert refused.stderr == "--scenario 'nowhere/nope.toml' cannot be read: No such file or directory\n"


@pytest.mark.parametrize("name_or_file", ["invalid-key", str(FILES["unknown-model"])])
def test_a_scenario_ends_as_it_expects(name_or_file: str) -> None:
    played = run_demo("--scenario", name_or_file)
    assert played.returncode == 0, played.stdout + played.stderr


def test_the_owners_tests_and_the_demo_keep_out_the_same_variables() -> None:
    assert conftest.PERSONAL == PERSONAL


@pytest.mark.parametrize(
    "place",
    ["async def entrypoint(ctx: JobContext) -> None:", "def prewarm(proc: JobProcess) -> None:"],
    ids=["entrypoint", "prewarm"],
)
def test_an_agent_that_fails_before_the_call_is_told_soon_with_its_log(place: str, tmp_path: Path) -> None:
    folder = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    agent = folder / "agent.py"
    text = agent.read_text("utf-8")
    assert place in text
    agent.write_text(text.replace(place, f'{place}\n    raise RuntimeError("nobody is at home")'), "utf-8")
    failed = run_demo(cwd=folder, timeout_s=40)
    assert (failed.returncode, failed.stderr) == (1, "")
    assert "The demo failed: the agent failed before it was connected" in failed.stdout
    assert "The last lines of the agent's log" in failed.stdout
    assert "RuntimeError: nobody is at home" in failed.stdout


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
