"""An owner's first day: whatever owners do, their own tests, style and types stay green."""

import shutil
from pathlib import Path

import pytest

from tests.proof.documents.markdown import quoted, read, rows, section
from tests.proof.first_day.project import assert_the_owners_checks_pass, fresh_copy, set_line, take

DELETABLE = rows(section(read("README.md"), "What you may delete, and with what"))
INSTRUCTIONS = '''instructions = """
You are the front desk of a small hotel.

- Say "Grüezi" first.
- Never promise a room: {name} and \\\\ are no placeholders.
"""'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return fresh_copy(tmp_path)


def test_as_it_was_rendered(project: Path) -> None:
    assert_the_owners_checks_pass(project)


def test_instructions_of_several_lines(project: Path) -> None:
    set_line(project / "agent.toml", "instructions", INSTRUCTIONS)
    assert_the_owners_checks_pass(project)


@pytest.mark.parametrize("exercise", ["1-add-a-row.patch", "2-add-a-sink.patch", "3-add-a-tool.patch"])
def test_a_row_a_sink_a_tool(project: Path, exercise: str) -> None:
    take(project, exercise)
    assert_the_owners_checks_pass(project)


@pytest.mark.parametrize("row", DELETABLE, ids=lambda row: row[0])
def test_what_may_be_deleted(project: Path, row: list[str]) -> None:
    for name in quoted(row[0]):
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert_the_owners_checks_pass(project)
