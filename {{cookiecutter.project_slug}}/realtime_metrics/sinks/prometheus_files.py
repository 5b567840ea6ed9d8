"""The files in which an agent server and its job processes keep their Prometheus values, for one `/metrics`.

The framework serves them (`AgentServer(prometheus_port=…, prometheus_multiproc_dir=…)`). What it leaves open is done
here, as measured with livekit-agents 1.8.9 and prometheus-client 0.26; the template's proof fails when that changes.

1. The directory is private to one server, and goes with it: the framework empties it when a server starts.
2. prometheus-client chooses between memory and files when it is imported, which is before `agent.py` can say so.
3. It never removes the files of processes that have ended, one set a job: every scrape would read more of them.
4. It maps files with holes: on a full disk, the value that is written into one ends the process (SIGBUS).
5. It gives up a scrape for one broken file, which a killed process can leave.
"""

# mypy: disable-error-code="no-untyped-call"
# prometheus-client is typed in part

import contextlib
import functools
import io
import json
import math
import mmap
import os
import shutil
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import psutil  # type: ignore[import-untyped]
from prometheus_client import Metric, multiprocess, values
from prometheus_client.mmap_dict import MmapedDict

from ..settings import in_job_process

if sys.platform != "win32":
    import fcntl

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

ENDED = "ended"
"""In the place of a process id: the file with the sums of processes that have ended."""

_PREFIX = "realtime-metrics-"
_FILE_SIZE = 1 << 16
_MEMORY_SIZE = 1 << 24  # takes what is used of it
_ABOUT_A_VALUE = 40  # bytes at most, beside its key
_BROKEN = (FileNotFoundError, struct.error, RuntimeError, ValueError, TypeError)

_scrape = threading.Lock()


def shared_directory() -> str:
    """Where this server and its jobs keep their values, from now on; made at the first call."""
    values.MmapedDict = ReservedFile  # type: ignore[attr-defined]
    return os.environ[VARIABLE] if in_job_process() else _private_directory().name


@functools.cache
def _private_directory() -> tempfile.TemporaryDirectory[str]:
    parent = os.environ.get(VARIABLE) or tempfile.gettempdir()
    _sweep(Path(parent))
    directory = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True)
    _lock(Path(directory.name))  # until this process ends
    os.environ[VARIABLE] = directory.name
    if not values.ValueClass._multiprocess:
        values.ValueClass = values.get_value_class()
    multiprocess.MultiProcessCollector = CompactingCollector  # type: ignore[misc]
    return directory


def _sweep(parent: Path) -> None:
    """Removes the directories of servers that were killed: nobody has them locked any more."""
    for directory in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is locked, or of somebody else
            lock = _lock(directory)
            if lock is not None and time.time() - os.fstat(lock).st_mtime > 60:  # else it is just being made
                shutil.rmtree(directory)
            if lock is not None:
                os.close(lock)


def _lock(directory: Path) -> int | None:
    """Locks it until the descriptor is closed; `None` where the system cannot.

    Raises:
        OSError: another process has it.
    """
    if sys.platform == "win32":
        return None
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


class ReservedFile(MmapedDict):
    """The values of a process in a file whose place on the disk is reserved.

    Where there is none, they stay in memory from then on: the process goes on, and nobody sees them.
    """

    failure: ClassVar[OSError | None] = None
    """Why values of this process are lost, if they are."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        try:
            with open(filename, "ab") as file:
                _reserve(file.fileno(), _FILE_SIZE)
            super().__init__(filename, read_mode)
        except OSError as error:
            self._f, self._positions, self._used = io.BytesIO(), {}, 8  # as of a file without values
            self._stay_in_memory(error, b"")

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + _ABOUT_A_VALUE > self._capacity:
            try:
                _reserve(self._f.fileno(), 2 * self._capacity)
            except OSError as error:
                self._stay_in_memory(error, self._m[: self._used])
        super()._init_value(key)

    def _stay_in_memory(self, error: OSError, so_far: bytes) -> None:
        ReservedFile.failure = error
        self._m, self._capacity = mmap.mmap(-1, _MEMORY_SIZE), _MEMORY_SIZE
        self._m[: len(so_far)] = so_far


def _reserve(fd: int, size: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(fd, 0, size)


class CompactingCollector(multiprocess.MultiProcessCollector):
    """Reads the values of all processes; those of ended ones are summed up before, so a scrape never gets slower."""

    def collect(self) -> Iterable[Metric]:
        with _scrape:
            directory = Path(os.environ[VARIABLE])
            compact(directory)
            whole = [str(file) for file in directory.glob("*.db") if _is_whole(file)]
            metrics: Iterable[Metric] = self.merge(whole)
            return metrics


def compact(directory: Path) -> None:
    """Adds the counters and histograms of ended processes to one file of each type, and removes theirs.

    Gauges are removed only: they tell what is, and an ended process is no more. On a full disk all stays as it is.
    """
    ended: dict[str, list[Path]] = {}
    for file in directory.glob("*.db"):
        kind, process = file.stem.split("_")[0], file.stem.rsplit("_", 1)[-1]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            ended.setdefault(kind, []).append(file)
    for kind, files in ended.items():
        with contextlib.suppress(OSError):
            if kind != "gauge":
                _sum_up(files, directory / f"{kind}_{ENDED}.db")
            for file in files:
                file.unlink()


def _sum_up(files: list[Path], to: Path) -> None:
    """Adds what is good in the files, all at once: nothing is added twice, whatever fails."""
    sums: dict[str, float] = {}
    for file in (to, *files):
        with contextlib.suppress(*_BROKEN):
            for key, value in _values(file):
                sums[key] = sums.get(key, 0.0) + value
    new = to.with_suffix(".new")
    with new.open("wb") as file_of_sums:
        _reserve(file_of_sums.fileno(), sum((len(key.encode()) + _ABOUT_A_VALUE for key in sums), _ABOUT_A_VALUE))
    kept = MmapedDict(str(new))
    for key, value in sums.items():
        kept.write_value(key, value, 0.0)
    kept.close()
    new.replace(to)


def _is_whole(file: Path) -> bool:
    try:
        list(_values(file))
    except _BROKEN:
        return False
    return True


def _values(file: Path) -> Iterator[tuple[str, float]]:
    """Raises one of `_BROKEN` where the file is."""
    for key, value, *_ in MmapedDict.read_all_values_from_file(str(file)):
        _, _, labels, _ = json.loads(key)
        if not isinstance(labels, dict) or not math.isfinite(value):
            raise ValueError(f"no value: {key} {value}")
        yield key, value
