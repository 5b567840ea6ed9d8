"""What README.md says may be deleted, can be: the owner's own tests, style and types stay green."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from tests.proof.documents.markdown import quoted, read, rows, section
from tests.proof.first_day.project import assert_the_owners_checks_pass, fresh_copy, run

DELETABLE = rows(section(read("README.md"), "What you may delete, and with what"))


@pytest.mark.parametrize("row", DELETABLE, ids=lambda row: row[0])
def test_what_may_be_deleted(row: list[str], tmp_path: Path) -> None:
    project = fresh_copy(tmp_path)
    _delete(project, row)
    assert_the_owners_checks_pass(project, one_of_many=True)


@pytest.mark.parametrize(
    "row", [row for row in DELETABLE if re.search("demo/|report/", row[0])], ids=lambda row: row[0]
)
def test_a_test_call_needs_none_of_the_other_programs(row: list[str], tmp_path: Path) -> None:
    """It says what the demo's user says; that all may go at once says nothing of one that stays behind."""
    project = fresh_copy(tmp_path)
    _delete(project, row)
    done = run(project, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_testcall.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_of_it_may_be_deleted_at_once(tmp_path: Path) -> None:
    project = fresh_copy(tmp_path)
    for row in DELETABLE:
        _delete(project, row)
    assert_the_owners_checks_pass(project)


def _delete(project: Path, row: list[str]) -> None:
    """What the row names, and with it what it says of `pyproject.toml`; the rest of that is text and CI."""
    for name in quoted(row[0]):
        path = project / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=not path.parent.exists())  # docs/ went with a row of its own
    for group in re.findall(r"`pyproject.toml` the group `(\w+)`", row[1]):
        file = project / "pyproject.toml"
        text, found = re.subn(rf"(?ms)^(# [^\n]+\n)?{group} = \[.*?^\]\n", "", file.read_text("utf-8"))
        assert found == 1
        if "the line that includes it" in row[1]:
            text = text.replace(f'    {{ include-group = "{group}" }},\n', "")
        file.write_text(text, "utf-8")
        _assert_uv_reads(file)


def _assert_uv_reads(file: Path) -> None:
    """Every command of uv fails where a group includes one that there is not."""
    groups = tomllib.loads(file.read_text("utf-8"))["dependency-groups"]
    included = {each["include-group"] for group in groups.values() for each in group if isinstance(each, dict)}
    assert included <= groups.keys()
