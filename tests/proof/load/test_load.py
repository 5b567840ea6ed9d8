"""The load and the soak: no record is lost, and what they cost is printed."""

import re
import subprocess
import sys

import pytest

from demo.agent_process import PROJECT, clean_environment


def _load(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.proof.load", *arguments]
    environment = clean_environment({"COLUMNS": "120"})
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=120)


def test_many_calls_at_once_lose_no_record() -> None:
    done = _load("calls", "--sessions", "5", "--turns", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Responses +│ 20 of 20 ", done.stdout)
    assert re.search(r"Records +│ jsonl 30, log 30, prometheus 30 ", done.stdout)
    assert re.search(r"Event loop late +│ p50 [\d.]+ ms, p99 [\d.]+ ms, max [\d.]+ ms", done.stdout)
    assert "in realtime_metrics" in done.stdout


def test_the_writer_alone_loses_no_record() -> None:
    done = _load("soak", "--records", "3000")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Lost: 0 lines of the JSONL file, 0 writes failed" in done.stdout
    assert {"jsonl", "log", "otlp", "prometheus", "floor"} <= set(re.findall(r"│ (\w+)", done.stdout))


@pytest.mark.parametrize("wrong", [("calls", "--sessions", "0"), ("calls", "--turns", "many"), ("soak", "--records=0")])
def test_a_number_that_is_none_is_told_in_a_line(wrong: tuple[str, ...]) -> None:
    done = _load(*wrong)
    assert done.returncode == 2
    assert "is no number above 0" in done.stderr
