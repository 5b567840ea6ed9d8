"""The solutions in docs/solutions/ can be taken, each alone and all together, and do what the walkthrough asks for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.agent_process import PROJECT
from tests.proof.documents.markdown import read

SOLUTIONS = sorted((PROJECT / "docs" / "solutions").glob("*.patch"))
CHECKS = [
    "tests/proof/documents/test_readme.py",
    "tests/proof/documents/test_walkthrough.py",
    "tests/test_recipe.py::test_the_table_has_every_row_of_the_recipe_in_its_order_and_each_is_right",
    "tests/proof/wire/test_faults.py::test_every_scenario_is_expected_to_end_somehow",
    "tests/proof/wire/test_faults.py::test_a_fault_is_survived_told_and_accounted_for[close-before-audio]",
    "tests/proof/wire/test_faults.py::test_a_fault_is_survived_told_and_accounted_for[tool-call]",
]
LEFT_OUT = shutil.ignore_patterns(".venv", ".git", "*_cache", "__pycache__", ".hypothesis", "metrics.jsonl*")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project, to change."""
    if not shutil.which("git"):
        pytest.skip("the solutions are taken with git, which is not installed")
    folder = tmp_path_factory.mktemp("exercises") / "project"
    shutil.copytree(PROJECT, folder, ignore=LEFT_OUT)
    return folder


def test_every_exercise_has_its_solution() -> None:
    linked = re.findall(r"\]\(solutions/(\S+)\)", read("docs/walkthrough.md"))
    assert linked == [path.name for path in SOLUTIONS]
    assert len(linked) == 4


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_a_solution_can_be_taken_alone(solution: Path, copy: Path) -> None:
    _skip_if_taken(solution, copy)
    checked = _apply(copy, "--check", solution)
    assert checked.returncode == 0, (
        f"the code that {solution.name} changes has changed; if nobody does the exercises any more, delete them as the "
        f"end of docs/walkthrough.md says\n{checked.stderr}"
    )


def test_all_solutions_together_pass_their_tests_and_the_projects(copy: Path) -> None:
    for solution in SOLUTIONS:
        _skip_if_taken(solution, copy)
        _apply(copy, solution)
    added = {
        path for solution in SOLUTIONS for path in re.findall(r"(?m)^\+\+\+ b/(.*\.py)$", solution.read_text("utf-8"))
    }
    tests = sorted(path for path in added if re.match(r"tests/test_(?!recipe)", path))
    assert len(tests) == 3
    for command in (
        ["-m", "ruff", "check", *added],
        ["-m", "ruff", "format", "--check", *added],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *CHECKS],
    ):
        done = _run(copy, sys.executable, *command)
        assert done.returncode == 0, done.stdout + done.stderr


def _skip_if_taken(solution: Path, folder: Path) -> None:
    if _apply(folder, "--check", "--reverse", solution).returncode == 0:
        pytest.skip(f"{solution.name} is in this project already")


def _apply(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # a checkout on Windows may have given code and patch other line ends
    return _run(folder, "git", "apply", "--ignore-whitespace", *map(str, arguments))


def _run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # in a repository that lies around the folder, git would look for the files in that one's root
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent), "PYTHONUTF8": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=120)
