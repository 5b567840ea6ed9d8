"""The newcomer's whole way: a project that stands alone, its own fresh environment, its tests, its demo."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.baked import BakedProject, run, run_cookiecutter

pytestmark = pytest.mark.slow

UV = find_uv_bin()

# Nothing as it is by default; `make demo` and `make test` go the same way with the default answers.
ANSWERS = [
    "project_name=Café",
    "agent_name=",
    "voice=Kore",
    "temperature=2",
    "model=gemini-3.8-live",
    'instructions=Say "hi" \\',
    "metrics_sink=otlp",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project rendered as a user does, and moved elsewhere: nothing of this repository is beside it."""
    output = tmp_path_factory.mktemp("rendered")
    told = run_cookiecutter("--no-input", *ANSWERS, output=output)
    assert told.returncode == 0, told.stdout + told.stderr
    moved = tmp_path_factory.mktemp("elsewhere") / "a folder with spaces"
    shutil.move(output / "cafe", moved)
    project = BakedProject(moved)
    done = project.run(UV, "sync", timeout_s=600, UV_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    return project


def test_its_own_tests_pass_whatever_was_answered(project: BakedProject) -> None:
    done = project.run(UV, "run", "pytest", "-q")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


def test_its_demo_shows_a_whole_call(project: BakedProject) -> None:
    done = project.run(UV, "run", "-m", "demo", timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "connected" in done.stdout
    assert "Session" in done.stdout


def test_it_resolves_with_the_lowest_versions_that_it_names(project: BakedProject, tmp_path: Path) -> None:
    """And with them the agent can be imported, with all of its sinks."""
    shutil.copytree(project.path, tmp_path / "lowest", ignore=shutil.ignore_patterns(".venv", "uv.lock"))
    lowest = BakedProject(tmp_path / "lowest")
    done = lowest.run(UV, "sync", "--resolution", "lowest-direct", timeout_s=600, UV_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    imports = "import agent, demo; from realtime_metrics.sinks import SINKS; [load() for load in SINKS.values()]"
    done = lowest.run(UV, "run", "--no-sync", "python", "-c", imports, PYTHONPATH=".")
    assert done.returncode == 0, done.stderr


def test_the_environment_is_its_own(project: BakedProject) -> None:
    shown = run(UV, "run", "python", "-c", "import json, sys; print(json.dumps(sys.prefix))", cwd=project.path).stdout
    assert Path(json.loads(shown)).parent == project.path


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_it_runs_with_every_python_that_is_here(version: str, project: BakedProject, tmp_path: Path) -> None:
    found = run(UV, "python", "find", "--no-python-downloads", version, cwd=tmp_path)
    if found.returncode != 0:
        pytest.skip(f"Python {version} is not here; the CI workflow has it")
    shutil.copytree(project.path, tmp_path / "project", ignore=shutil.ignore_patterns(".venv"))
    other = BakedProject(tmp_path / "project")
    done = other.run(UV, "sync", timeout_s=600, UV_PYTHON=found.stdout.strip())
    assert done.returncode == 0, done.stderr
    done = other.run(UV, "run", "--no-sync", "pytest", "-q", "tests/test_agent.py")
    assert done.returncode == 0, done.stdout
