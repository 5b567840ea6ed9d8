"""The demo plays a whole call: the real agent, plugin and voice detection, with a local Gemini Live server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.replay import replay

PROJECT = Path(__file__).parent.parent
RECORDINGS = sorted(path.stem for path in PROJECT.glob("demo/recordings/*.jsonl"))


def test_a_call_is_played_to_its_end_with_a_report_for_each_response() -> None:
    played = subprocess.run(
        [sys.executable, "-m", "demo", "--scenario", "text-only"],
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "80", "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    for shown in ("connected", "Response 1", "#2 ", "Session"):
        assert shown in played.stdout


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_recorded_call_costs_what_it_did(name: str) -> None:
    replayed = await replay(name, speed=20)
    assert replayed.bill == replayed.billed
    assert replayed.session["cost_usd"] < 0.01
