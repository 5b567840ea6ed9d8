"""A month of calls is reported on while one waits."""

import sys
from pathlib import Path

import pytest

from tests.proof.counts import LONG
from tests.proof.report import records
from tests.proof.report.measured import report

COUNT = 1_000_000 if LONG else 300_000
SECONDS = 10.0
MEGABYTES = 1000

pytestmark = [
    pytest.mark.timing,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell what a process used"),
]


def test_so_many_records_take_at_most_10_seconds_and_1_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    records.write(path, COUNT)
    used = report(path)
    assert f"{path.name}: 2026-11-01 08:00" in used.output
    assert used.seconds < SECONDS
    assert used.memory_mb < MEGABYTES
