"""Every command that the READMEs show does what they say, as far as it can be had offline."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from uv import find_uv_bin

from template_answers.rules import QUESTIONS, VOICES
from tests.baked import SOURCE, TEMPLATE, BakedProject, bake, clone_of_the_template, git, run

README = (TEMPLATE / "README.md").read_text(encoding="utf-8")
PLACEHOLDER = "PATH-OR-URL-OF-THIS-REPOSITORY"

# What would run these very tests, or take minutes; the rest of it is run elsewhere.
SHORTENED = {
    "make test": "make --dry-run test",
    "make test-fast": "make --dry-run test-fast",
    "make proof": "make --dry-run proof",
    "make proof PROJECT=../front-desk": "make --dry-run proof PROJECT=../front-desk",
    "uv run tests/run.py test": "uv run tests/run.py --help",
    "uv run tests/run.py proof": "uv run tests/run.py proof --help",
    "make bench": "make --dry-run bench",
    "uv run pytest": "uv run pytest --collect-only -q",
    'uv run pytest -m "not slow"': "uv run pytest --collect-only -q",
    "uv run bench/rendering.py": 'uv run python -c "from bench.rendering import measured; measured(1)"',
    "uv run -m demo": "uv run -m demo --list",  # `make demo` runs all of it
    # The proof makes reports of records (tests/proof/documents); a new project has none.
    "uv run -m report": "uv run -m report --help",
    "uv run -m report --by model": "uv run -m report --help",
    "uv run -m report --html report.html": "uv run -m report --help",
    # A folder of its own: the other commands render the same project into build/.
    "uv run cookiecutter --no-input --output-dir build .": "uv run cookiecutter --no-input --output-dir build/new .",
    "cd build/my-voice-agent": "cd build/new/my-voice-agent",
}
ENVIRONMENT = {
    "PATH": f"{Path(find_uv_bin()).parent}{os.pathsep}{os.environ['PATH']}",
    "UV_PYTHON": sys.executable,
    "PYTHON": str(Path(sys.base_exec_prefix, "bin", "python3")),  # a system's Python, with pip
    "PYTHONIOENCODING": "utf-8",
}
MAKE = sys.platform != "win32" and shutil.which("make")
KEYS = ("GOOGLE_", "LIVEKIT_")


def blocks(markdown: str, kind: str) -> list[list[str]]:
    """Return the commands of each block of that kind: `sh`, or `sh keys` where they need real keys."""
    found = re.findall(rf"(?ms)^```{kind}\n(.*?)^```$", markdown)
    return [[line.partition("  #")[0].strip() for line in block.splitlines() if line.strip()] for block in found]


def try_out(commands: list[str], folder: Path, timeout_s: float = 300) -> str:
    """Run commands one after the other, as typed into one shell, and return what they printed."""
    printed = ""
    for command in commands:
        words = shlex.split(SHORTENED.get(command, command))
        if words[0] == "cd":
            folder /= words[1]
            continue
        if words[0] == "make" and not MAKE:
            continue
        done = run(*words, cwd=folder, timeout_s=timeout_s, stdin="\n" * len(QUESTIONS), **ENVIRONMENT)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed += done.stdout
    return printed


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone of this repository: nothing is installed in it."""
    return clone_of_the_template(tmp_path_factory.mktemp("newcomer") / "clone")


SH = blocks(README, "sh")
MAKE_YOUR_OWN = [block for block in SH if PLACEHOLDER in block[0] or block[0] == "uvx cruft update"]
IN_A_PROJECT = [block for block in SH if block[0] == "uv run -m demo"]
IN_THE_CLONE = [block for block in SH if block not in MAKE_YOUR_OWN + IN_A_PROJECT]


def test_the_readme_shows_commands_of_every_kind() -> None:
    assert [len(MAKE_YOUR_OWN), len(IN_A_PROJECT), len(IN_THE_CLONE)] == [4, 1, 4]


def test_the_readme_names_every_question_with_its_meaning() -> None:
    assert re.findall(r"(?m)^\| `(\w+)` \| .{10,} \| .+ \|$", README) == list(QUESTIONS)


def test_every_voice_is_described_here_as_it_is_in_the_projects_reference() -> None:
    described = dict(re.findall(r"(\w+)\s\(([\w-]+)\)[,.]", README.partition("### Voices")[2].partition("##")[0]))
    assert list(described) == VOICES
    reference = (SOURCE / "docs" / "reference.md").read_text(encoding="utf-8")
    table = reference.partition("### Voices")[2].partition("\n### ")[0]
    cells = [[cell.strip() for cell in row.strip("| ").split("|")] for row in table.splitlines() if row.startswith("|")]
    rows = cells[2:]
    assert {row[column]: row[column + 1] for row in rows for column in range(0, len(row), 2)} == described


def test_the_readmes_links_and_pictures_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README):
        assert (TEMPLATE / target).exists(), target


def test_every_make_target_explains_itself() -> None:
    makefile = (TEMPLATE / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"(?m)^\.PHONY: (.*)$", makefile)[0].split())
    assert set(re.findall(r"(?m)^([a-z-]+):.*## .{10,}$", makefile)) == phony


@pytest.mark.slow
@pytest.mark.parametrize("commands", IN_THE_CLONE, ids=lambda block: block[0])
def test_a_newcomers_commands_work_in_a_fresh_clone(commands: list[str], clone: Path) -> None:
    printed = try_out(commands, clone, timeout_s=600)
    if commands == ["make demo"] and MAKE:
        assert "connected" in printed
        assert all(shown in printed for shown in ("Response 1", "#2 ", "#5 ", "Session"))


@pytest.mark.slow
def test_making_a_project_with_the_defaults_and_keeping_it_up_to_date(clone: Path, tmp_path: Path) -> None:
    for number, (command, *_) in enumerate(MAKE_YOUR_OWN[:3]):
        folder = tmp_path / str(number)
        folder.mkdir()
        try_out([command.replace(PLACEHOLDER, str(clone))], folder)
        (project,) = folder.iterdir()
        assert (project / "agent.toml").exists()
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Made with cruft")
    assert "up to date" in try_out(MAKE_YOUR_OWN[3], project)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    return bake(tmp_path_factory.mktemp("readme"))


def commands_of_the_project() -> list[str]:
    text = (SOURCE / "README.md").read_text(encoding="utf-8")
    shown = [
        command
        for kind in ("sh", "bash", "console", "shell", "sh keys")
        for block in blocks(text, kind)
        for command in block
    ]
    shown += [command for block in IN_A_PROJECT + blocks(README, "sh keys") for command in block]
    return sorted({command for command in shown if command.startswith("uv ")})


def test_the_projects_readme_shows_how_its_style_and_types_are_checked() -> None:
    assert {"uv run ruff check", "uv run ruff format --check", "uv run mypy"} <= set(commands_of_the_project())


@pytest.mark.slow
@pytest.mark.parametrize("command", commands_of_the_project())
def test_a_command_of_the_projects_readme_works_or_says_which_key_it_needs(
    command: str, project: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(KEYS)]:
        monkeypatch.delenv(name)
    words = shlex.split(SHORTENED.get(command, command))
    done = subprocess.run(
        words,
        cwd=project.path,
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )
    told = done.stdout + done.stderr
    assert "Traceback" not in told
    missing = {"agent.py": "GOOGLE_API_KEY", "testcall": "LIVEKIT_URL"}
    if keys := [key for word, key in missing.items() if word in words]:
        assert done.returncode != 0
        assert f"{keys[0]} is not set" in told
    else:
        assert done.returncode == 0, told
