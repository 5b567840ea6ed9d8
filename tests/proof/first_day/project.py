"""A fresh copy of the project to change, and its owner's own checks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.agent_process import PROJECT
from tests.proof.counts import LONG

EXERCISES = Path(__file__).parent.parent / "exercises"
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", "*_cache", "__pycache__", ".hypothesis", "metrics.jsonl*", "proof")
CHECKS = {
    "ruff check": ["ruff", "check", "--no-cache"],
    "ruff format": ["ruff", "format", "--check", "--no-cache"],
    # one cache for all copies, as they have the same environment
    "mypy": ["mypy", "--cache-dir", str(PROJECT / ".mypy_cache")],
    "pytest": ["pytest", "-q", "-p", "no:cacheprovider"],
}
COLLECT = ["--collect-only"]


def fresh_copy(folder: Path) -> Path:
    """The project as its owner got it: without the proof."""
    return shutil.copytree(PROJECT, folder / "project", ignore=LEFT_OUT)


def assert_the_owners_checks_pass(project: Path, *, one_of_many: bool = False) -> None:
    """Style, types and tests. Of `one_of_many` changes, which another test makes all at once, the tests only have to be
    found; in the long run each runs them, too."""
    for name, command in CHECKS.items():
        collect = COLLECT if name == "pytest" and one_of_many and not LONG else []
        done = run(project, sys.executable, "-m", *command, *collect)
        assert done.returncode == 0, f"{name}\n{done.stdout}{done.stderr}"


def take(project: Path, exercise: str) -> None:
    """Applies the solution of an exercise; skips the test where the project's code is another."""
    if not shutil.which("git"):
        pytest.skip("the solutions are taken with git, which is not installed")
    # a checkout on Windows may have given code and patch other line ends
    taken = run(project, "git", "apply", "--ignore-whitespace", str(EXERCISES / exercise))
    if taken.returncode:
        pytest.skip(f"{exercise} is for a project as it was rendered: {taken.stderr}")


def set_line(file: Path, key: str, line: str) -> None:
    """Puts another line for a key of `agent.toml`."""
    text, found = re.subn(rf"(?m)^{key} = .*$", lambda _: line, file.read_text("utf-8"))
    assert found == 1, f"{file.name} has {found} lines for {key}"
    file.write_text(text, "utf-8")


def run(project: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    # in a repository that lies around the folder, git would look for the files in that one's root
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(project.parent), "PYTHONUTF8": "1", **variables}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        command,
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
