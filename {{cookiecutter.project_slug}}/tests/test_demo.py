"""The demo plays a whole call: the real agent, plugin and voice detection, with a local Gemini Live server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.replay import replay

PROJECT = Path(__file__).parent.parent
RECORDINGS = sorted(path.stem for path in PROJECT.glob("demo/recordings/*.jsonl"))


@pytest.fixture(scope="module", autouse=True)
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A demo that runs beside the other tests here: it waits for most of its time."""
    records = tmp_path_factory.mktemp("demo") / "metrics.jsonl"  # not among those of real calls
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", "--scenario", "text-only", "--jsonl", str(records)],
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "80", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    with process:
        yield process


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_recorded_call_costs_what_it_did(name: str) -> None:
    replayed = await replay(name, speed=20)
    assert replayed.bill == replayed.billed


def test_a_call_is_played_to_its_end_with_a_report_for_each_response(demo: subprocess.Popen[str]) -> None:
    output, _ = demo.communicate(timeout=120)
    assert demo.returncode == 0, output
    for shown in ("connected", "Response 1", "#2 ", "Session"):
        assert shown in output
