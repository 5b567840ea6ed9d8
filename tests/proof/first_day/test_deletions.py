"""What README.md says may be deleted, can be: the owner's own tests, style and types stay green."""

import shutil
from pathlib import Path

import pytest

from tests.proof.documents.markdown import quoted, read, rows, section
from tests.proof.first_day.project import assert_the_owners_checks_pass, fresh_copy

DELETABLE = rows(section(read("README.md"), "What you may delete, and with what"))


@pytest.mark.parametrize("row", DELETABLE, ids=lambda row: row[0])
def test_what_may_be_deleted(row: list[str], tmp_path: Path) -> None:
    project = fresh_copy(tmp_path)
    for name in quoted(row[0]):
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert_the_owners_checks_pass(project)
