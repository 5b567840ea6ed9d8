"""A team that rendered a project last month takes this month's improvements with `cruft update`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.baked import DEFAULT_SLUG, SOURCE, BakedProject, bake, clone_of_the_template, commit_all, git, run


def cruft(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = run(sys.executable, "-m", "cruft", *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The template as a git repository of its own, with one commit."""
    return clone_of_the_template(tmp_path / "template")


@pytest.fixture
def project(template: Path, tmp_path: Path) -> BakedProject:
    """A project that a team made with cruft last month, under git."""
    team = tmp_path / "team"
    team.mkdir()
    answers = '{"voice": "Kore", "instructions": "Say \\"hi\\" \\\\ 🎉", "agent_name": ""}'
    cruft(team, "create", str(template), "--no-input", "--extra-context", answers)
    git(team / DEFAULT_SLUG, "init", "--quiet", "--initial-branch=main")
    commit_all(team / DEFAULT_SLUG, "Made from the template")
    return BakedProject(team / DEFAULT_SLUG)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file.name} does not hold {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8", newline="\n")


def test_cruft_and_cookiecutter_render_the_same_files(project: BakedProject, template: Path, tmp_path: Path) -> None:
    answers = {"voice": "Kore", "instructions": 'Say "hi" \\ 🎉', "agent_name": ""}
    other = bake(tmp_path / "other", template, **answers).files()
    files = {name: content for name, content in project.files().items() if not name.startswith(".git/")}
    assert files.pop(".cruft.json")
    assert files == other


def test_an_update_brings_the_improvements_and_keeps_the_teams_edits(project: BakedProject, template: Path) -> None:
    agent, settings = project.path / "agent.py", project.path / "agent.toml"
    first_line = agent.read_text(encoding="utf-8").partition("\n")[0]
    replace(agent, first_line, f"# Ours.\n{first_line}")
    replace(settings, 'voice = "Kore"', 'voice = "Leda"')
    (project.path / "ours.py").write_text("ours = True\n", encoding="utf-8")
    commit_all(project.path, "Our own edits")

    source = template / SOURCE.name
    with (source / "agent.py").open("a", encoding="utf-8", newline="\n") as file:
        file.write("\n# This month's improvement.\n")
    (source / "demo" / "new.py").write_text("new = True\n", encoding="utf-8")
    replace(source / "agent.toml", "# What this agent is.", "# This month's improvement.\n# What this agent is.")
    replace(template / "cookiecutter.json", '"gemini-3.8-live",', '"gemini-3.8-live",\n    "gemini-4-live",')
    commit_all(template, "This month")

    assert "Traceback" not in cruft(project.path, "update", "--skip-apply-ask").stdout
    text = agent.read_text(encoding="utf-8")
    assert text.startswith("# Ours.\n")
    assert text.endswith("# This month's improvement.\n")
    assert (project.path / "demo" / "new.py").exists()
    assert (project.path / "ours.py").exists()
    assert "# This month's improvement.\n" in settings.read_text(encoding="utf-8")
    updated = project.toml("agent.toml")
    assert (updated["voice"], updated["name"], updated["instructions"]) == ("Leda", "", 'Say "hi" \\ 🎉')
    assert not list(project.path.rglob("*.rej"))
    cruft(project.path, "check", "--not-strict")


def improve(folder: Path) -> None:
    """What the template may do to a folder: change what is there, take a file away, and add one."""
    for file in sorted(path for path in folder.rglob("*") if path.suffix in (".md", ".py", ".toml", ".yml")):
        file.write_text(f"{file.read_text(encoding='utf-8')}\n# Improved.\n", encoding="utf-8", newline="\n")
    (folder / "new.md").write_text("new\n", encoding="utf-8")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "new.md").write_text("new\n", encoding="utf-8")
    next(path for path in sorted(folder.rglob("*.y*ml")) + sorted(folder.rglob("*.md"))).unlink()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]


@pytest.mark.parametrize("deleted", ["demo", "docs", "ops"])
def test_an_update_brings_nothing_back_into_a_folder_that_was_deleted(
    deleted: str, project: BakedProject, template: Path
) -> None:
    shutil.rmtree(project.path / deleted)
    commit_all(project.path, "We do not need it")
    improve(template / SOURCE.name / deleted)
    replace(template / SOURCE.name / "agent.py", "# 1.", "# Improved.\n# 1.")
    commit_all(template, "This month")

    cruft(project.path, "update", "--skip-apply-ask")
    assert "# Improved.\n" in (project.path / "agent.py").read_text(encoding="utf-8")
    assert not (project.path / deleted).exists()
    assert not list(project.path.rglob("*.rej"))


def test_an_update_does_not_bring_back_the_walkthrough(project: BakedProject, template: Path) -> None:
    (project.path / "docs" / "walkthrough.md").unlink()
    commit_all(project.path, "Read")
    improve(template / SOURCE.name / "docs")
    commit_all(template, "This month")

    cruft(project.path, "update", "--skip-apply-ask")
    assert not (project.path / "docs" / "walkthrough.md").exists()
    assert (project.path / "docs" / "new.md").exists(), "what is new in a folder that was kept does come"
    assert not list(project.path.rglob("*.rej"))


def test_the_readmes_line_keeps_new_files_out_of_a_folder_of_which_something_is_left(
    project: BakedProject, template: Path
) -> None:
    readme = (SOURCE / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"(?ms)^```toml cruft\n(.*?)^```$", readme)
    shutil.rmtree(project.path / "demo")
    (project.path / "demo" / "__pycache__").mkdir(parents=True)  # git ignores it, and leaves it behind
    (project.path / "demo" / "__pycache__" / "call.pyc").touch()
    pyproject = project.path / "pyproject.toml"
    pyproject.write_text(f"{pyproject.read_text(encoding='utf-8')}\n{line}", encoding="utf-8", newline="\n")
    commit_all(project.path, "We do not need the demo")
    improve(template / SOURCE.name / "demo")
    commit_all(template, "This month")

    cruft(project.path, "update", "--skip-apply-ask")
    assert files_below(project.path / "demo") == []
    assert not list(project.path.rglob("*.rej"))


def test_an_update_may_change_the_rules_and_the_filters_of_the_answers(project: BakedProject, template: Path) -> None:
    """Cruft renders the old and the new version in one process: a filter that is new needs a module of a new name."""
    (template / "template_answers").rename(template / "template_answers_2")
    module = template / "template_answers_2" / "__init__.py"
    replace(module, '"toml": toml,', '"toml": toml, "brand_new": str.upper,')
    replace(template / "cookiecutter.json", "template_answers.Temp", "template_answers_2.Temp")
    replace(template / SOURCE.name / "agent.toml", "voice = ", '# {{ "new" | brand_new }}\nvoice = ')
    commit_all(template, "A new filter")

    cruft(project.path, "update", "--skip-apply-ask")
    assert "# NEW\n" in (project.path / "agent.toml").read_text(encoding="utf-8")


def test_bad_answers_are_refused_under_cruft_too(template: Path, tmp_path: Path) -> None:
    arguments = ["create", str(template), "--no-input", "--extra-context", '{"temperature": "hot"}']
    done = run(sys.executable, "-m", "cruft", *arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert "'hot' is not a number from 0 to 2" in done.stdout + done.stderr
    assert not (tmp_path / DEFAULT_SLUG).exists()
