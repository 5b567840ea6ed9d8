"""`--follow` in a terminal of 80x24: what it draws, what it costs, and how it leaves the terminal."""

import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from demo.agent_process import PROJECT
from tests.proof.report import records

if sys.platform == "win32":
    pytest.skip("pseudo terminals are POSIX", allow_module_level=True)

import fcntl
import pty
import termios

SHARE_OF_A_CORE = 0.03
PER_SECOND = 50
SECONDS = 15


class Terminal:
    """A pseudo terminal of 80x24 with the live view in it."""

    def __init__(self, path: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        environment = os.environ | {"TERM": "xterm-256color"}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "report", "--follow", path],
            cwd=PROJECT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.output = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self.output += os.read(self._ours, 65536).decode("utf-8", "replace")
            except OSError:
                return

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    @property
    def after(self) -> object:
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        os.close(self._ours)


@contextmanager
def following(path: Path) -> Iterator[Terminal]:
    terminal = Terminal(path)
    try:
        yield terminal
    finally:
        terminal.close()


def until(true: Callable[[], bool], terminal: Terminal, timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, terminal.output[-3000:]
        assert terminal.process.poll() is None, terminal.output
        time.sleep(0.05)


def append(path: Path, *made: records.Record) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in made)


def calls_now(at_once: int, seed: int = 1) -> Iterator[records.Record]:
    """Records of calls at once, of now."""
    chance = random.Random(seed)
    numbers = iter(range(1_000_000))
    running = [records.call(next(numbers), datetime.now(UTC), chance) for _ in range(at_once)]
    while True:
        which = chance.randrange(at_once)
        record = next(running[which], None)
        if record is None:
            running[which] = records.call(next(numbers), datetime.now(UTC), chance)
        else:
            yield record | {"timestamp": records.iso(datetime.now(UTC))}


@pytest.mark.parametrize("way", ["Ctrl-C", "SIGTERM"])
def test_it_waits_for_the_file_draws_and_leaves_the_terminal_as_it_was(way: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    made = calls_now(3)
    with following(path) as terminal:
        until(lambda: "waiting for the first record" in terminal.output, terminal)
        append(path, *(next(made) for _ in range(100)))
        until(lambda: "Calls now" in terminal.output and "p95" in terminal.output, terminal)
        path.rename(tmp_path / "metrics.jsonl.1")
        evil = {"room": "\x1b]0;title\x07", "model": "\u202e", "reason": "\x9b2J rotated"}
        unanswered = {"kind": "unanswered", "timestamp": records.iso(datetime.now(UTC)), "waited_s": 8.0}
        append(path, unanswered | evil)
        until(lambda: "2J rotated" in terminal.output, terminal)
        if way == "Ctrl-C":
            terminal.type(b"\x03")
        else:
            terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(5) == 0
        time.sleep(0.2)
        assert terminal.after == terminal.before
    assert "Traceback" not in terminal.output
    assert "\x1b[?1049h" not in terminal.output  # no second screen: what stood above is still there
    assert terminal.output.count("\x1b[?25l") == terminal.output.count("\x1b[?25h") == 1  # the cursor is back
    assert "\x1b]" not in terminal.output
    assert "\x9b" not in terminal.output
    assert "\u202e" not in terminal.output


def test_a_picture_has_room_in_80x24(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    made = calls_now(30)
    append(path, *({**next(made), "session_id": f"AJ_{'long' * 30}{number}"} for number in range(400)))
    path.open("a").write("no record\n")
    with following(path) as terminal:
        until(lambda: "p95" in terminal.output, terminal)
        terminal.type(b"\x03")
        terminal.process.wait(5)
        time.sleep(0.2)
        assert "1 line is no record" in terminal.output
        last = terminal.output.partition("\x1b[?25h")[0].rpartition("\x1b[2K")[2]
        assert 12 < last.count("\r\n") < 23


@pytest.mark.timing
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells here what a process uses")
def test_it_takes_less_than_3_percent_of_a_core_at_50_records_a_second(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    made = calls_now(20)
    append(path, *(next(made) for _ in range(PER_SECOND * 300)))  # the five minutes before
    with following(path) as terminal:
        until(lambda: "p95" in terminal.output, terminal)
        before_s, began = cpu_s(terminal.process.pid), time.monotonic()
        while time.monotonic() < began + SECONDS:
            append(path, next(made))
            time.sleep(1 / PER_SECOND)
        used_s = cpu_s(terminal.process.pid) - before_s
    assert used_s / SECONDS < SHARE_OF_A_CORE


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
