"""The load and the soak: no record is lost, and what they cost is printed."""

import re
import subprocess
import sys

import pytest

from demo.agent_process import PROJECT, clean_environment
from tests.proof.counts import LOAD_CALLS, LOAD_TURNS, SOAK_RECORDS


def _load(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.proof.load", *arguments]
    environment = clean_environment({"COLUMNS": "120"})
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=900)


def test_many_calls_at_once_lose_no_record() -> None:
    done = _load("calls", "--sessions", str(LOAD_CALLS), "--turns", str(LOAD_TURNS))
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    responses = LOAD_CALLS * (LOAD_TURNS + 1)
    records = responses + 2 * LOAD_CALLS  # and of each call its connection and its session
    assert re.search(rf"Responses +│ {responses:,} of {responses:,} ", done.stdout)
    assert re.search(rf"Records +│ jsonl {records:,}, log {records:,}, prometheus {records:,} ", done.stdout)
    assert re.search(r"Event loop late +│ p50 [\d.]+ ms, p99 [\d.]+ ms, max [\d.]+ ms", done.stdout)
    assert "in realtime_metrics" in done.stdout


def test_the_pipeline_alone_loses_no_record() -> None:
    done = _load("soak", "--records", str(SOAK_RECORDS))
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Lost: 0 lines of the JSONL file, 0 writes failed" in done.stdout
    assert {"jsonl", "log", "otlp", "prometheus", "floor"} <= set(re.findall(r"│ (\w+)", done.stdout))


@pytest.mark.parametrize("wrong", [("calls", "--sessions", "0"), ("calls", "--turns", "many"), ("soak", "--records", "-1")])
def test_a_number_that_is_none_is_told_in_a_line(wrong: tuple[str, ...]) -> None:
    done = _load(*wrong)
    assert done.returncode == 2
    assert "is no number above 0" in done.stderr or "expected one argument" in done.stderr
