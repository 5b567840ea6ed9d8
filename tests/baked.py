"""Projects rendered from this template, for tests to look at and to run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

from template_answers.rules import QUESTIONS

TEMPLATE = Path(__file__).parent.parent
SOURCE = TEMPLATE / "{{cookiecutter.project_slug}}"
DEFAULT_SLUG = "my-voice-agent"

# What holds an answer; everything else is copied as it is.
RENDERED_FILES = {"agent.toml", "pyproject.toml", "README.md"}


@dataclass(frozen=True)
class BakedProject:
    """A rendered project on disk."""

    path: Path

    def files(self) -> dict[str, bytes]:
        """Return every file's content by its path in the project, with forward slashes."""
        return content_of(self.path)

    def toml(self, name: str) -> dict[str, Any]:
        return tomllib.loads((self.path / name).read_text(encoding="utf-8"))

    def run(self, *command: str, timeout_s: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project and return what it wrote; its exit code is the caller's to check."""
        return run(*command, cwd=self.path, timeout_s=timeout_s, **variables)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bake(output: Path, template: Path = TEMPLATE, /, **answers: str) -> BakedProject:
    """Render in this process, with the default answers but for those given."""
    folder = cookiecutter(
        str(template), no_input=True, extra_context=answers, output_dir=str(output), accept_hooks=False
    )
    return BakedProject(Path(folder))


def run(
    *command: str, cwd: Path, timeout_s: float = 120, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command without the environment that happens to be active here."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | variables
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )


def run_cookiecutter(*arguments: str, output: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run cookiecutter on this template as a user does, as a program."""
    return run(
        sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--output-dir", str(output), *arguments,
        cwd=output, stdin=stdin, PYTHONIOENCODING="utf-8",
    )  # fmt: skip


def typed(**answers: str) -> str:
    """Return what a person types to give these answers: Enter at every other question, a number at a choice."""
    lines = []
    for question, default in QUESTIONS.items():
        answer = answers.get(question, "")
        lines.append(str(default.index(answer) + 1) if answer and isinstance(default, list) else answer)
    return "".join(f"{line}\n" for line in lines)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A team", "-c", "user.email=team@example.org", "-c", "core.autocrlf=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, check=True, encoding="utf-8")
    return done.stdout


def commit_all(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def clone_of_the_template(folder: Path) -> Path:
    """Make a git repository of one commit, with all that git knows of this one as it stands, and return its folder."""
    known = git(TEMPLATE, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, known):
        if (TEMPLATE / name).is_file():  # else it was removed, and git does not know yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TEMPLATE / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit_all(folder, "As it stands")
    return folder
