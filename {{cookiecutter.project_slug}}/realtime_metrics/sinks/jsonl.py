"""One JSON object a line, appended to a file that several agents may share and a log rotation may move away."""

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import IO

import portalocker

from ..records import AnyRecord
from ..settings import Settings
from .base import Sink

LOCK_S = 2.0
"""How long a line waits for a file that somebody else has locked; agents hold it for less than a millisecond."""


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

    @staticmethod
    def problem(settings: Settings) -> str | None:
        path = settings.metrics_jsonl_path
        if why := _why_unusable(path):
            name = settings.named("metrics_jsonl_path")
            return f"{name} cannot be written to ({why}): name a file that can be made or appended to"
        return None

    def write(self, record: AnyRecord) -> None:
        line = json.dumps(record.as_dict(), ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with portalocker.Lock(
                self._path, "a+b", timeout=LOCK_S, check_interval=0.001, buffering=0, opener=_open_privately
            ) as file:
                _append(file, line.encode())
        except portalocker.AlreadyLocked:
            raise TimeoutError(f"somebody else has had the file locked for {LOCK_S:g} s") from None


def _open_privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _append(file: IO[bytes], line: bytes) -> None:
    size = os.fstat(file.fileno()).st_size
    if size:
        file.seek(size - 1)
        if file.read(1) != b"\n":
            line = b"\n" + line
    try:
        while line:
            line = line[file.write(line) :]
    except OSError:
        with contextlib.suppress(OSError):  # a device cannot be cut
            file.truncate(size)
        raise


def _why_unusable(path: Path) -> str | None:
    """Only looks: another agent may be writing the file's first line."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent  # where the link points to, if it is one
        usable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        return None if usable else f"{folder} is no folder that files can be made in"
    except (OSError, ValueError) as error:  # ValueError: a NUL in it
        return str(getattr(error, "strerror", error))
    if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
        return "it is a folder" if stat.S_ISDIR(mode) else "it is no file"
    return None if os.access(path, os.R_OK | os.W_OK) else "permission denied"
