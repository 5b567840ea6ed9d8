"""What runs on somebody's behalf: workflows, actions, packages, images; here and in a rendered project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.baked import SOURCE, TEMPLATE, run

HOUSES = {"here": TEMPLATE, "rendered": SOURCE}
WORKFLOWS = [path for house in HOUSES.values() for path in sorted((house / ".github" / "workflows").glob("*.yml"))]
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"

each_house = pytest.mark.parametrize("house", HOUSES.values(), ids=HOUSES)
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.relative_to(TEMPLATE).as_posix())


def tool(name: str) -> str:
    return shutil.which(name, path=str(Path(sys.executable).parent)) or pytest.fail(f"{name} is missing: make setup")


@each_house
def test_zizmor_finds_nothing_in_the_workflows_and_the_update_bots_configuration(house: Path) -> None:
    done = run(tool("zizmor"), "--offline", "--no-progress", "--color=never", str(house / ".github"), cwd=TEMPLATE)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("No findings to report."), done.stdout


@pytest.mark.slow
def test_actionlint_finds_nothing_in_the_workflows() -> None:
    command = ["actionlint"] if shutil.which("actionlint") else ["go", "run", ACTIONLINT]
    if shutil.which(command[0]) is None:
        pytest.skip("needs actionlint, or Go, which gets it")
    done = run(*command, *map(str, WORKFLOWS), cwd=TEMPLATE, timeout_s=300)
    if "dial tcp" in done.stderr or "no such host" in done.stderr:
        pytest.skip("needs a Go module proxy")
    assert done.returncode == 0, done.stdout + done.stderr


@each_workflow
def test_every_action_is_pinned_by_its_commit_with_the_version_beside_it(path: Path) -> None:
    used = re.findall(r"\buses: (.+)", path.read_text("utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_has_one_version_wherever_it_is_used() -> None:
    used = {action for path in WORKFLOWS for action in re.findall(r"\buses: (\S+)", path.read_text("utf-8"))}
    assert len(used) == len({action.partition("@")[0] for action in used})


@each_workflow
def test_a_workflow_may_only_read_keeps_no_token_and_ends_at_last(path: Path) -> None:
    workflow: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"]
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"]["persist-credentials"] for step in checkouts] == [False]


@each_house
def test_an_update_bot_looks_after_every_kind_of_what_is_pinned(house: Path) -> None:
    told = yaml.safe_load((house / ".github" / "dependabot.yml").read_text("utf-8"))
    assert {update["package-ecosystem"] for update in told["updates"]} == {
        *("uv", "github-actions", "docker", "docker-compose")
    }
    for update in told["updates"]:
        for folder in update.get("directories") or [update["directory"]]:
            assert (house / folder.lstrip("/")).is_dir(), folder


def test_what_is_imported_here_is_declared() -> None:
    ours = ("template_answers", "hooks", "bench", "tests")
    command = (
        tool("deptry"),
        *ours,
        "--extend-exclude",
        "tests/proof",
        "--known-first-party",
        "tests|template_answers",
    )
    done = run(*command, "--ignore", "DEP002", "--non-dev-dependency-groups", "dev", cwd=TEMPLATE)
    assert done.returncode == 0, done.stderr


def test_the_images_are_named_by_their_full_version() -> None:
    told = subprocess.run(
        ["git", "grep", "-hE", r"^FROM |^ +image: ", "--", SOURCE.name], cwd=TEMPLATE, capture_output=True, text=True
    )
    images = [line.split()[1] for line in told.stdout.splitlines()]
    assert len(images) >= 5
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+", image), image


def test_a_lock_is_kept_to_where_there_is_one() -> None:
    for line in (SOURCE / ".github" / "workflows" / "ci.yml").read_text("utf-8").splitlines():
        if "uv sync" in line:
            assert "${{ hashFiles('uv.lock') != '' && '--locked' || '' }}" in line
