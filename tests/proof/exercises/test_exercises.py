"""The walkthrough's exercises can be solved: their solutions, all together, do what they ask for."""

import re
import sys
from pathlib import Path

from tests.proof.documents.markdown import read, section
from tests.proof.first_day.project import EXERCISES, assert_the_owners_checks_pass, fresh_copy, run, take

SOLUTIONS = sorted(path.name for path in EXERCISES.glob("*.patch"))


def test_every_exercise_has_its_solution() -> None:
    exercises = re.findall(r"(?m)^\*\*(\d)\. ", section(read("docs/walkthrough.md"), "Change it"))
    assert exercises == [name[0] for name in SOLUTIONS]


def test_all_solutions_together_pass_the_owners_checks_and_can_be_played(tmp_path: Path) -> None:
    project = fresh_copy(tmp_path)
    for name in SOLUTIONS:
        take(project, name)
    assert_the_owners_checks_pass(project)
    for scenario in ("forecast", "close-before-audio"):
        played = run(project, sys.executable, "-m", "demo", "--scenario", scenario)
        assert played.returncode == 0, played.stdout + played.stderr
