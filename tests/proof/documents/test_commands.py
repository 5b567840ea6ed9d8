"""Every command that the documents show is run, as far as it can be offline; of the others it is said why not.

`uv run X` is `python X` in the environment that runs the tests: uv itself would ask the network for packages.
"""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.agent_process import PROJECT
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.jsonl import JsonlSink
from tests.fakes.samples import EVERY_KIND
from tests.proof.documents.markdown import DOCUMENTS, commands, read

SHOWN = {command for document in DOCUMENTS for command in commands(read(document))}

NEED_KEYS = ["uv run agent.py console", "uv run agent.py dev", "uv run agent.py start"]

RUN = {
    "uv run -m demo --list": ["-m", "demo", "--list"],
    "uv run -m demo --replay example": ["-m", "demo", "--replay", "example"],
    # these are to look at the code, not to change it
    "uv run ruff check": ["-m", "ruff", "check"],
    "uv run ruff check --fix": ["-m", "ruff", "check"],
    "uv run ruff format": ["-m", "ruff", "format", "--check"],
    "uv run ruff format --check": ["-m", "ruff", "format", "--check"],
}

REPORTS = {
    "uv run -m report demo.jsonl": ["demo.jsonl"],
    "uv run -m report --by model": ["--by", "model"],
    "uv run -m report demo.jsonl --html report.html": ["demo.jsonl", "--html", "report.html"],
}

COPY = {"cp .env.example .env.local", "copy .env.example .env.local"}

RUN_ELSEWHERE = {
    "uv run -m demo": ("tests/proof/demo/test_demo.py", "def test_the_demo_ends_well"),
    "uv run -m demo --jsonl demo.jsonl": ("tests/proof/demo/test_demo.py", '"--jsonl", str(records)'),
    "uv run -m demo --scenario invalid-key": ("tests/proof/demo/test_demo.py", '"invalid-key"'),
    "uv run -m demo --scenario ignored": ("tests/proof/wire/test_faults.py", '"ignored"'),
    "uv run -m demo --scenario close-1011": ("tests/proof/wire/test_faults.py", '"close-1011"'),
    "uv run -m demo.record monday -- uv run agent.py console": (
        "tests/proof/recordings/test_commands.py",
        "demo.record",
    ),
    "uv run pytest": (".github/workflows/ci.yml", "uv run pytest"),
    "uv run mypy": (".github/workflows/ci.yml", "uv run mypy"),
}
"""Command -> the file that runs it, and where in it."""

NOT_RUN = {
    "uv sync": "asks the network for packages; CI begins with it",
    "uv lock --upgrade": "asks the network for packages",
    "uv run -m testcall --records metrics.jsonl": "asks a LiveKit server; tests/proof/room runs it where there is one",
    "lk agent console": "the LiveKit CLI is no Python package; tests/proof/demo runs what it starts",
    "lk agent dev": "the LiveKit CLI is no Python package; tests/proof/program/test_worker.py runs what it starts",
}


def test_of_every_command_that_is_shown_it_is_known_where_it_runs() -> None:
    known = {*NEED_KEYS, *RUN, *REPORTS, *COPY, *RUN_ELSEWHERE, *NOT_RUN}
    assert SHOWN - known == set(), "run these in test_commands.py, or say why not"


@pytest.mark.parametrize("command", sorted(SHOWN & set(RUN_ELSEWHERE)))
def test_a_command_that_runs_elsewhere_is_there(command: str) -> None:
    file, place = RUN_ELSEWHERE[command]
    assert place in (PROJECT / file).read_text("utf-8")


@pytest.mark.parametrize("command", sorted(SHOWN & set(RUN)))
def test_a_command_works(command: str) -> None:
    done = _run(sys.executable, *RUN[command])
    found_something_to_change = 1
    allowed = {0, found_something_to_change} if "ruff" in command else {0}
    assert done.returncode in allowed, done.stdout + done.stderr


@pytest.mark.parametrize("command", sorted(SHOWN & set(REPORTS)))
def test_a_report_is_made_of_the_records_that_are_there(command: str, tmp_path: Path) -> None:
    for name in ("metrics.jsonl", "demo.jsonl"):
        sink = JsonlSink(Settings(metrics_jsonl_path=tmp_path / name))
        for record in EVERY_KIND:
            sink.write(record)
    done = _run(sys.executable, "-m", "report", *REPORTS[command], cwd=tmp_path, PYTHONPATH=str(PROJECT))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout or (tmp_path / "report.html").exists()


@pytest.mark.parametrize("command", NEED_KEYS)
def test_a_command_that_needs_keys_says_so_in_a_line_each(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, as the framework takes seconds to import; test_settings_cli.py starts real ones."""
    monkeypatch.setenv("METRICS_SINKS", "console")
    monkeypatch.setenv("AGENT_PORT", "0")
    monkeypatch.setattr("sys.argv", command.split()[2:])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(PROJECT / "agent.py"), run_name="__main__")
    missing = ["GOOGLE_API_KEY"]
    if not command.endswith("console"):
        missing += ["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"]
    lines = [line for line in str(ended.value.code).splitlines() if not line.startswith("`console` ")]
    assert [line.split()[0] for line in lines] == missing
    assert all(".env.local" in line for line in lines)


@pytest.mark.parametrize("command", sorted(COPY))
def test_the_copy_of_the_example_is_made(command: str, tmp_path: Path) -> None:
    shell = ["powershell", "-Command", command] if command.startswith("copy ") else command.split()
    if not shutil.which(shell[0]):
        pytest.skip(f"there is no {shell[0]} on this system")
    shutil.copy(PROJECT / ".env.example", tmp_path)
    done = _run(*shell, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".env.local").read_bytes() == (tmp_path / ".env.example").read_bytes()


def _run(*command: str, cwd: Path = PROJECT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONUTF8": "1", **variables},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
