"""What was rendered, in the environment that a person gets: versions, and every choice at work."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from uv import find_uv_bin

from template_answers.rules import QUESTIONS, VOICES
from tests.baked import TEMPLATE, BakedProject, bake

pytestmark = pytest.mark.slow

UV = find_uv_bin()
# One environment for all projects: only their answers differ, and uv makes it match in a moment when it is there.
SHARED = {"UV_PROJECT_ENVIRONMENT": str(TEMPLATE / "build" / "environment"), "UV_PYTHON": sys.executable}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project with the default answers, and its environment."""
    project = bake(tmp_path_factory.mktemp("rendered"))
    done = project.run(UV, "sync", timeout_s=600, **SHARED)
    assert done.returncode == 0, done.stderr
    return project


READ_SETTINGS = """
import sys
from pathlib import Path
from realtime_metrics import settings, startup
for file in sys.argv[1:]:
    settings.AGENT_TOML = Path(file)
    print(startup.checked_settings({}, ["agent.py"]).model_dump_json())
"""


def test_the_project_accepts_whatever_the_questions_offer(project: BakedProject, tmp_path: Path) -> None:
    """Every voice, model and sink, both ends of the temperature, no agent name: the two lists of each are one."""
    combinations: list[dict[str, str]] = [
        {name: choice} for name, default in QUESTIONS.items() if isinstance(default, list) for choice in default
    ]
    combinations += [{"voice": voice} for voice in VOICES]
    combinations += [{"temperature": "0"}, {"temperature": "2"}, {"agent_name": ""}, {"instructions": 'x"\\ 🎉'}]
    files = [
        str(bake(tmp_path / str(number), **answers).path / "agent.toml") for number, answers in enumerate(combinations)
    ]
    done = project.run(UV, "run", "--no-sync", "python", "-c", READ_SETTINGS, *files, timeout_s=300, **SHARED)
    assert done.returncode == 0, done.stdout + done.stderr
    all_settings = [json.loads(line) for line in done.stdout.splitlines()]
    for ((question, answer),), settings in zip(map(dict.items, combinations), all_settings, strict=True):
        key = {"agent_name": "name", "metrics_sink": "metrics_sinks"}.get(question, question)
        of: dict[str, Callable[[str], object]] = {"temperature": float, "metrics_sink": lambda sink: [sink]}
        assert settings[key] == of.get(question, str)(answer)


VOICES_OF_THE_PLUGIN = """
from typing import get_args
from livekit.plugins.google.realtime.api_proto import Voice
print(*sorted(get_args(Voice)))
"""


def test_the_voices_to_choose_from_are_the_plugins(project: BakedProject) -> None:
    done = project.run(UV, "run", "--no-sync", "python", "-c", VOICES_OF_THE_PLUGIN, timeout_s=120, **SHARED)
    assert done.stdout.split() == VOICES, done.stderr


def locked_packages(project: BakedProject) -> set[str]:
    lock = tomllib.loads((project.path / "uv.lock").read_text(encoding="utf-8"))
    return {package["name"] for package in lock["package"]}


def test_no_slug_can_be_the_name_of_a_dependency_on_any_system(project: BakedProject) -> None:
    known = set((TEMPLATE / "template_answers" / "dependencies.txt").read_text(encoding="utf-8").split())
    missing = locked_packages(project) - known - {project.path.name}
    assert not missing, f"add to template_answers/dependencies.txt: {sorted(missing)}"


def requirements(pyproject: dict[str, Any]) -> dict[str, Requirement]:
    groups = [pyproject["project"]["dependencies"], *pyproject.get("dependency-groups", {}).values()]
    parsed = [Requirement(line) for group in groups for line in group if isinstance(line, str)]  # no included group
    return {requirement.name.lower(): requirement for requirement in parsed}


def test_every_upper_bound_of_the_project_has_its_reason_beside_it(project: BakedProject) -> None:
    """On its line, or in the comment above it and its neighbours that are bound too."""
    explained = False
    for line in (project.path / "pyproject.toml").read_text(encoding="utf-8").splitlines():
        bound = re.match(r'\s*("[A-Za-z][^;"]*|requires-python.*)(<|~=|==)', line)
        explained = line.lstrip().startswith("#") or bool(bound and (explained or "#" in line))
        assert explained or not bound, f"no reason beside {line.strip()}"


def test_tools_that_both_use_have_a_version_that_both_accept(project: BakedProject) -> None:
    ours = requirements(tomllib.loads((TEMPLATE / "pyproject.toml").read_text(encoding="utf-8")))
    theirs = requirements(project.toml("pyproject.toml"))
    for name in ours.keys() & theirs.keys():
        for pin in ours[name].specifier:
            assert pin.version in theirs[name].specifier, f"{ours[name]} here, {theirs[name]} in the project"


def test_nothing_of_this_repository_holds_an_address_of_a_package_index(project: BakedProject) -> None:
    assert "uv.lock" not in bake(project.path / "again").files()
    ignored = (project.path / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "uv.lock" not in ignored
    assert ".env.local" in ignored


def test_what_the_documents_have_an_owner_make_is_ignored_by_git(project: BakedProject) -> None:
    ignored = (project.path / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"*.jsonl*", "report.html", "*.rej"} <= set(ignored)


def test_no_demo_is_counted_among_an_owners_calls(project: BakedProject) -> None:
    for name in (".github/workflows/ci.yml", "README.md", "docs/reference.md"):
        assert "--jsonl metrics.jsonl" not in (project.path / name).read_text(encoding="utf-8"), name
