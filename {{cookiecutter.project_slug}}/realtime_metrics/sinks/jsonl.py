"""One JSON object a line, appended to a file that several agents may share and a log rotation may move away."""

import contextlib
import json
import os
import sys

from ..records import AnyRecord
from ..settings import Settings

if sys.platform == "win32":
    import portalocker

    def _lock(fd: int) -> None:
        portalocker.lock(fd, portalocker.LockFlags.EXCLUSIVE)

    def _byte_at(fd: int, position: int) -> bytes:
        os.lseek(fd, position, os.SEEK_SET)
        return os.read(fd, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)

    def _byte_at(fd: int, position: int) -> bytes:
        return os.pread(fd, 1, position)


_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)

# Every call of the system lets the audio's thread run, and waits for it to come back: so as few as can be, without
# Python's file objects, which make twice as many.
_APPENDING = os.O_APPEND | os.O_CREAT | os.O_RDWR | getattr(os, "O_BINARY", 0)


class JsonlSink:
    """Appends to `METRICS_JSONL_PATH`.

    The file is opened for every line, so one that was rotated away is made anew, and locked meanwhile, so agents do not
    mix their lines. A line is written whole or taken back; what a killed process left half-written is closed off before
    the next line. A line reaches the system before `write` returns.

    Raises:
        OSError: from `write`: the file cannot be opened or the disk is full.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.metrics_jsonl_path
        self._written: tuple[tuple[int, int], int] | None = None

    @staticmethod
    def problem(settings: Settings) -> str | None:
        path = settings.metrics_jsonl_path
        existed = path.exists()
        try:
            path.open("ab").close()
        except OSError as error:
            why = f"cannot be written to ({error.strerror})"
            return f"METRICS_JSONL_PATH={str(path)!r} {why}: name a file that can be made or appended to"
        if not existed:
            path.unlink(missing_ok=True)
        return None

    def write(self, record: AnyRecord) -> None:
        line = _JSON.encode(record.as_dict()) + "\n"
        fd = os.open(self._path, _APPENDING, 0o666)
        try:
            _lock(fd)
            self._append(fd, line.encode())
        finally:
            os.close(fd)

    def close(self) -> None:
        """Nothing is held open between lines."""

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


def _take_back(fd: int, size: int) -> None:
    with contextlib.suppress(OSError):  # a device cannot be cut
        os.ftruncate(fd, size)
