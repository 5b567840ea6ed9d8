"""Runs what `make` and `.ci/run` offer: `python3 tests/run.py test`.

Needs Python 3.11 or newer with pip, and git. Everything is installed inside this clone: uv into `.tools`, this
repository's packages into `.venv`, a rendered project and the proof's copy of it into `build`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
RENDERED = ROOT / "build" / "my-voice-agent"
PROOF = Path("tests", "proof")
COPY = ROOT / "build" / "proof"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".env.local", "*_cache", ".hypothesis", "__pycache__", "metrics.jsonl*"
)
KEPT = {".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
"""What the copy keeps from one run to the next, to be faster."""


def environment() -> dict[str, str]:
    """For uv: the Python that is here and no other one, and no environment that happens to be active.

    Bytecode is kept: a hundred agents start in the proof, and each then starts in half the time.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")}
    ours = {"UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never", "PIP_ROOT_USER_ACTION": "ignore"}
    return ours | inherited | {"PATH": f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> None:
    """Run a command and show what it writes; if it fails, end with its exit code."""
    told = " ".join(str(word).removeprefix(f"{ROOT}{os.sep}") for word in command)
    print(f"\n$ {told}   ({cwd.relative_to(ROOT) if cwd != ROOT else 'here'})", flush=True)
    done = subprocess.run(command, cwd=cwd, env=environment() | variables, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def uv() -> str:
    """Return the program of the version that pyproject.toml names, installed if it is not there yet."""
    if not find_spec("pip"):  # an environment that uv made, and of this repository: uv is in it
        return shutil.which("uv", path=str(Path(sys.executable).parent)) or sys.exit(f"{sys.executable} has no pip")
    if found := shutil.which("uv", path=str(TOOLS / "bin")):
        return found
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts this has any Python
        sys.exit(f"Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}")
    (pinned,) = re.findall(r'"(uv==[0-9.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", TOOLS, pinned)
    return shutil.which("uv", path=str(TOOLS / "bin")) or sys.exit(f"pip put no uv into {TOOLS / 'bin'}")


def setup() -> None:
    """Install uv and this repository's tools."""
    run(uv(), "sync", "--quiet")


def project() -> Path:
    """Render a project with the default answers, and make its environment."""
    setup()
    # What an older version rendered goes; the environment, caches, the lock file and .env.local stay.
    for folder in RENDERED.glob("[!.]*/"):
        shutil.rmtree(folder)
    run(uv(), "run", "cookiecutter", "--no-input", "--overwrite-if-exists", "--output-dir", "build", ".")
    run(uv(), "sync", "--quiet", cwd=RENDERED)
    return RENDERED


def laid_over(project: Path) -> Path:
    """Copy a project, lay the proof over the copy, and make an environment that has what both need."""
    COPY.mkdir(parents=True, exist_ok=True)
    for entry in COPY.iterdir():
        if entry.name not in KEPT:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    shutil.copytree(project, COPY, ignore=NOT_COPIED, dirs_exist_ok=True)
    shutil.copytree(ROOT / PROOF, COPY / PROOF, ignore=NOT_COPIED, dirs_exist_ok=True)
    run(uv(), "sync", "--quiet", cwd=COPY)
    more = ("--python", ".venv", "--resolution", "highest", "--requirement", PROOF / "requirements.txt")
    run(uv(), "pip", "install", "--quiet", *more, cwd=COPY)
    return COPY


def prove(project: Path, only: str, count: str = "once") -> None:
    """Run the proof against a copy of the project, which is only read.

    `only` is a part of the proof, by its path below `tests/proof`; empty is all of it, style and types too.
    `count` is `long` for the full counts.
    """
    copy = laid_over(project)
    python = (uv(), "run", "--no-sync")
    if not only:
        with timed("The proof's style and types"):
            run(*python, "ruff", "check", cwd=copy)
            run(*python, "ruff", "format", "--check", cwd=copy)
            run(*python, "mypy", cwd=copy)
    # Most of a call is waiting, so three share two cores; what holds figures against clocks runs alone.
    tests = (*python, "pytest", PROOF / only, "-ra")
    with timed("The proof"):
        run(*tests, "-m", "not timing", "--numprocesses=3", "--dist=loadfile", cwd=copy, PROOF=count)
    if not only:
        with timed("The proof, against clocks"):
            run(*tests, "-m", "timing", cwd=copy, PROOF=count)
    if count == "long":
        with timed("Load and soak"):
            run(*python, "-m", "tests.proof.load", "calls", cwd=copy)
            run(*python, "-m", "tests.proof.load", "soak", cwd=copy)


def test() -> None:
    """Run everything: the owner's tests in a rendered project, the proof, and this repository's tests."""
    with timed("Rendering"):
        rendered = project()
    with timed("The owner's tests"):
        run(uv(), "run", "pytest", cwd=rendered)
    prove(rendered, only="")
    run(uv(), "run", "pytest")  # last: pytest's closing line is the whole's


def bench() -> None:
    """Measure: rendering against the engine's floor, then what a report costs the audio loop."""
    copy = laid_over(project())
    run(uv(), "run", "bench/rendering.py")
    run(uv(), "run", "--no-sync", "-m", "tests.proof.bench", cwd=copy)


@contextmanager
def timed(part: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"\n== {part}: {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (setup, project, test, bench):
        commands.add_parser(command.__name__, help=(command.__doc__ or "").partition("\n")[0])
    proof = commands.add_parser("proof", help="run the proof against a copy of a rendered project")
    proof.add_argument(
        "project", nargs="?", type=Path, help="a rendered project (default: one with the default answers)"
    )
    proof.add_argument("--long", action="store_true", help="the full counts: fuzz, spoken turns, load, soak")
    proof.add_argument("--only", default="", metavar="PATH", help="a part, as in --only wire/test_faults.py")
    given = parser.parse_args()
    if given.command != "proof":
        {"setup": setup, "project": project, "test": test, "bench": bench}[given.command]()
        return
    if given.project and not (given.project / "agent.toml").is_file():
        parser.error(f"{given.project} is no rendered project: it has no agent.toml")
    prove(given.project or project(), given.only, "long" if given.long else "once")


if __name__ == "__main__":
    main()
