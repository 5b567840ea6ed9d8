"""Every package that is imported is declared: one that came with another can go with it."""

import shutil
import subprocess
import sys
from pathlib import Path

from demo.agent_process import PROJECT

BY_THE_FRAMEWORK = "DEP003=sounddevice"
"""It is the framework's to import; we only ask beforehand whether it can be."""


def deptry(*arguments: str) -> None:
    program = shutil.which("deptry", path=str(Path(sys.executable).parent))
    assert program, "tests/proof/requirements.txt brings deptry"
    done = subprocess.run(
        [program, *arguments, "--per-rule-ignores", BY_THE_FRAMEWORK], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_agent_needs_what_it_declares_and_nothing_of_the_development_groups() -> None:
    deptry(".", "--extend-exclude", "^(demo|docs|report|testcall)/")


def test_what_the_project_imports_for_development_is_declared() -> None:
    deptry(".", "--non-dev-dependency-groups", "dev,report,speech", "--ignore", "DEP002")
