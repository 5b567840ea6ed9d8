"""The proof, as somebody runs it against a project of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.baked import TEMPLATE, BakedProject, bake, clone_of_the_template, run

PROOF = TEMPLATE / "tests" / "proof"
SOLUTIONS = sorted((PROOF / "exercises").glob("*.patch"))


@pytest.mark.parametrize("solution", SOLUTIONS, ids=lambda path: path.stem)
def test_the_solution_of_every_exercise_can_be_taken_in_a_project_as_it_was_rendered(
    solution: Path, output: Path
) -> None:
    """The proof skips it in a project whose code has become another."""
    project = bake(output)
    done = project.run("git", "apply", "--check", str(solution), GIT_CEILING_DIRECTORIES=str(output))
    assert done.returncode == 0, f"{solution.name} is for other code: make it anew\n{done.stderr}"


def test_nothing_of_the_proof_is_rendered(default_project: BakedProject) -> None:
    files = default_project.files()
    assert len(files) <= 150
    assert not [name for name in files if name.startswith(("bench/", "tests/proof/"))]
    assert not [name for name, content in files.items() if b"hypothesis" in content and name.endswith(".py")]


@pytest.mark.slow
def test_the_proof_only_reads_the_project_that_it_is_given(tmp_path: Path) -> None:
    clone = clone_of_the_template(tmp_path / "clone")
    project = bake(tmp_path, project_name="Café", agent_name="", instructions='Say "hi" \\', metrics_sink="otlp")
    (project.path / ".env.local").write_text("GOOGLE_API_KEY=secret\n", encoding="utf-8")
    before = {path: path.stat() for path in sorted(project.path.rglob("*"))}
    files = project.files()

    command = [sys.executable, str(clone / "tests" / "run.py"), "proof", str(project.path)]
    done = run(*command, "--only", "documents/test_commands.py", cwd=tmp_path, timeout_s=600)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert " passed" in done.stdout
    assert project.files() == files
    after = {path: path.stat() for path in sorted(project.path.rglob("*"))}
    assert after.keys() == before.keys()
    assert all(after[path].st_mtime_ns == stat.st_mtime_ns for path, stat in before.items())
    assert not (clone / "build" / "proof" / ".env.local").exists(), "no key gets into the copy"


def test_a_folder_that_is_no_project_is_told_in_a_line(tmp_path: Path) -> None:
    done = run(sys.executable, str(TEMPLATE / "tests" / "run.py"), "proof", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path} is no rendered project: it has no agent.toml" in done.stderr


def test_this_repositorys_tests_do_not_collect_the_proof() -> None:
    done = run(sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", cwd=TEMPLATE)
    assert done.returncode == 0, done.stdout
    assert "tests/proof" not in done.stdout
