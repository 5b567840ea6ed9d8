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

WAYS = {
    "otlp, another voice, automatic dispatch": [
        "project_name=Café", "voice=Kore", "metrics_sink=otlp", "agent_name=", "temperature=2",
    ],
    "jsonl, another model, quotes": [
        "project_name=Bot", "model=gemini-3.8-live", "metrics_sink=jsonl", "temperature=0", 'instructions=Say "hi" \\',
    ],
}  # fmt: skip


@pytest.fixture(params=WAYS.values(), ids=list(WAYS), scope="module")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project rendered as a user does, and moved elsewhere: nothing of this repository is beside it."""
    output = tmp_path_factory.mktemp("rendered")
    told = run_cookiecutter("--no-input", *request.param, output=output)
    assert told.returncode == 0, told.stdout + told.stderr
    (rendered,) = output.iterdir()
    moved = tmp_path_factory.mktemp("elsewhere") / "a folder with spaces"
    shutil.move(rendered, moved)
    project = BakedProject(moved)
    done = project.run(UV, "sync", timeout_s=600, UV_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    return project


def test_its_own_tests_pass(project: BakedProject) -> None:
    done = project.run(UV, "run", "pytest", "-q", "-m", "not slow", timeout_s=300)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr


def test_its_demo_shows_a_whole_call(project: BakedProject) -> None:
    done = project.run(UV, "run", "-m", "demo", timeout_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "connected" in done.stdout.lower()


def test_it_resolves_with_the_lowest_versions_that_it_names(project: BakedProject, tmp_path: Path) -> None:
    """And with them the agent can be imported, with all of its sinks."""
    shutil.copytree(project.path, tmp_path / "lowest", ignore=shutil.ignore_patterns(".venv", "uv.lock"))
    lowest = BakedProject(tmp_path / "lowest")
    done = lowest.run(UV, "sync", "--resolution", "lowest-direct", timeout_s=600, UV_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    imports = "import agent, demo; from realtime_metrics.sinks import SINKS, sink_type; [sink_type(s) for s in SINKS]"
    done = lowest.run(UV, "run", "--no-sync", "python", "-c", imports, PYTHONPATH=".")
    assert done.returncode == 0, done.stderr


def test_the_environment_is_its_own(project: BakedProject) -> None:
    shown = run(UV, "run", "python", "-c", "import json, sys; print(json.dumps(sys.prefix))", cwd=project.path).stdout
    assert Path(json.loads(shown)).parent == project.path
