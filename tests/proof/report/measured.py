"""Runs the report as a person does, and measures what it takes."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from demo.agent_process import PROJECT


class Used(NamedTuple):
    """What a run took."""

    seconds: float
    cpu_s: float
    memory_mb: float
    output: str


def report(*arguments: str | Path) -> Used:
    """Runs `python -m report` in the project; its output is what it prints.

    Raises:
        AssertionError: its exit code is not 0.
    """
    began = time.monotonic()
    command = [sys.executable, "-m", "report", *map(str, arguments)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, output
    memory_mb = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return Used(time.monotonic() - began, usage.ru_utime + usage.ru_stime, memory_mb, output)
