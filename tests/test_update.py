"""A team that rendered a project last month takes this month's improvements with `cruft update`."""

from __future__ import annotations

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
