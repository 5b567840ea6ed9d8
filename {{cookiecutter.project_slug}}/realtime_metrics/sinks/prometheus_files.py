"""The files in which an agent server and its job processes keep their Prometheus values, for one `/metrics`.

The framework serves them (`AgentServer(prometheus_port=…, prometheus_multiproc_dir=…)`). What it leaves open is done
here, as measured with livekit-agents 1.8.9 and prometheus-client 0.26; `tests/ops/` fails when that changes.

1. The directory is private to one server, and goes with it: the framework empties it when a server starts.
2. prometheus-client chooses between memory and files when it is imported, which is before `agent.py` can say so.
3. It never removes the files of processes that have ended, one set a job: every scrape would read more of them.
"""

# mypy: disable-error-code="no-untyped-call"
# prometheus-client is typed in part

import functools
import os
import tempfile
import threading
from collections.abc import Iterable
from multiprocessing import current_process
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from prometheus_client import Metric, multiprocess, values
from prometheus_client.mmap_dict import MmapedDict

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

ENDED = "ended"
"""In the place of a process id: the file with the sums of processes that have ended."""

_scrape = threading.Lock()


def shared_directory() -> str:
    """Where this server and its jobs keep their values, from now on; made at the first call."""
    return os.environ[VARIABLE] if in_job_process() else _private_directory().name


def in_job_process() -> bool:
    """Whether an agent server started this process for its jobs."""
    # `parent_process()` would not know yet: a job's process imports agent.py while it is being set up
    return current_process().name != "MainProcess"


@functools.cache
def _private_directory() -> tempfile.TemporaryDirectory[str]:
    directory = tempfile.TemporaryDirectory(
        prefix="realtime-metrics-", dir=os.environ.get(VARIABLE), ignore_cleanup_errors=True
    )
    os.environ[VARIABLE] = directory.name
    if not values.ValueClass._multiprocess:
        values.ValueClass = values.get_value_class()
    multiprocess.MultiProcessCollector = CompactingCollector  # type: ignore[misc]
    return directory


class CompactingCollector(multiprocess.MultiProcessCollector):
    """Reads the values of all processes; those of ended ones are summed up before, so a scrape never gets slower."""

    def collect(self) -> Iterable[Metric]:
        with _scrape:
            compact(Path(os.environ[VARIABLE]))
            metrics: Iterable[Metric] = super().collect()
            return metrics


def compact(directory: Path) -> None:
    """Adds the counters and histograms of ended processes to one file of each type, and removes theirs.

    Gauges are removed only: they tell what is, and an ended process is no more.
    """
    for file in directory.glob("*.db"):
        kind, process = file.stem.split("_")[0], file.stem.rsplit("_", 1)[-1]
        if process == ENDED or psutil.pid_exists(int(process)):
            continue
        if kind != "gauge" and file.stat().st_size:
            _add(file, directory / f"{kind}_{ENDED}.db")
        file.unlink()


def _add(file: Path, to: Path) -> None:
    sums = MmapedDict(str(to))
    for key, value, *_ in MmapedDict.read_all_values_from_file(str(file)):
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    sums.close()
