"""One JSON object a line, appended to a file that several agents may share and a log rotation may move away."""

import contextlib
import json
import os
import stat
import sys
import time
from pathlib import Path

from ..records import AnyRecord
from ..settings import Settings
from .base import Sink

if sys.platform == "win32":
    import portalocker

    def _lock(fd: int) -> None:
        try:
            portalocker.lock(fd, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException as error:
            raise BlockingIOError from error

    def _byte_at(fd: int, position: int) -> bytes:
        os.lseek(fd, position, os.SEEK_SET)
        return os.read(fd, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _byte_at(fd: int, position: int) -> bytes:
        return os.pread(fd, 1, position)


LOCK_S = 2.0
"""How long a line waits for a file that somebody else has locked; agents hold it for less than a millisecond."""

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

# Every call of the system lets the audio's thread run, and waits for it to come back: so as few as can be, without
# Python's file objects, which make twice as many.
_APPENDING = os.O_APPEND | os.O_CREAT | os.O_RDWR | getattr(os, "O_BINARY", 0)


class JsonlSink(Sink):
    """Appends to `METRICS_JSONL_PATH`.

    The file is opened for every line, so one that was rotated away is made anew, and locked meanwhile, so agents do not
    mix their lines. A line is written whole or taken back; what a killed process left half-written is closed off before
    the next line. A line reaches the system before `write` returns. A new file is its owner's only.

    Raises:
        OSError: from `write`: the file cannot be opened, is locked by somebody else, or the disk is full.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.metrics_jsonl_path
        self._written: tuple[tuple[int, int], int] | None = None

    @staticmethod
    def problem(settings: Settings) -> str | None:
        path = settings.metrics_jsonl_path
        if why := _why_unusable(path):
            why = f"cannot be written to ({why})"
            return f"METRICS_JSONL_PATH={str(path)!r} {why}: name a file that can be made or appended to"
        return None

    def write(self, record: AnyRecord) -> None:
        line = _JSON.encode(record.as_dict()) + "\n"
        fd = os.open(self._path, _APPENDING, 0o600)
        try:
            _lock_soon(fd)
            self._append(fd, line.encode())
        finally:
            os.close(fd)

    def _append(self, fd: int, line: bytes) -> None:
        status = os.fstat(fd)
        file, size = (status.st_dev, status.st_ino), status.st_size
        ours = self._written == (file, size)  # nobody has written since we did: it ends with our line
        if size and not ours and _byte_at(fd, size - 1) != b"\n":
            line = b"\n" + line
        self._written = file, size + len(line)
        try:
            while line:
                line = line[os.write(fd, line) :]
        except OSError:
            self._written = None
            _take_back(fd, size)
            raise


def _why_unusable(path: Path) -> str | None:
    """Only looks: another agent may be writing the file's first line."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent  # where the link points to, if it is one
        usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        return None if usable else f"{folder} is no folder that files can be made in"
    except OSError as error:
        return error.strerror
    if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
        return "it is a folder" if stat.S_ISDIR(mode) else "it is no file"
    return None if os.access(path, os.R_OK | os.W_OK) else "permission denied"


def _lock_soon(fd: int) -> None:
    give_up_at = time.monotonic() + LOCK_S
    while True:
        try:
            return _lock(fd)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"somebody else has had the file locked for {LOCK_S:g} s") from None
            time.sleep(0.001)


def _take_back(fd: int, size: int) -> None:
    with contextlib.suppress(OSError):  # a device cannot be cut
        os.ftruncate(fd, size)
