"""Records as Prometheus metrics, which the agent server shows for all its jobs at its own `/metrics`.

A job is a process of its own (in the console and on Windows, a thread). Its sink sends what records tell to the process
of the server, which counts it in memory: nothing goes with a job that ends. The connection is one of `multiprocessing`,
which gives the key to it to the server's own children only.
"""

import functools
import json
import math
import os
import threading
import time
from contextlib import suppress
from multiprocessing import current_process
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge

from prometheus_client import Counter, Histogram, disable_created_metrics

from ..log import OwnFailures
from ..records import AnyRecord
from ..settings import Settings
from .base import Sink
from .monitoring import FIGURES, ORIGIN, Figure, expected, measurements, origin

ADDRESS = "REALTIME_METRICS_ADDRESS"
"""The environment variable by which jobs find their server: set by the server itself."""


class PrometheusSink(Sink):
    """The half in a job: sends what each record tells."""

    def __init__(self, settings: Settings) -> None:
        self._server: Connection | None = None

    @staticmethod
    def problem(settings: Settings) -> str | None:
        """Whether jobs can be listened to, and no variable makes the framework's page show files instead."""
        for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
            if name in os.environ:
                return f"{name}={os.environ[name]!r} hides the figures from /metrics: unset it, nothing here needs it"
        try:
            Listener().close()
        except OSError as error:
            folder = os.environ.get("TMPDIR", "")
            return f"TMPDIR={folder!r}: jobs cannot be listened to there ({error}): name another, short folder"
        return None

    def write(self, record: AnyRecord) -> None:
        """Raises `OSError` once the server is gone."""
        told = [(metric_name(figure), value, origin(record) + own) for figure, value, own in measurements(record)]
        if self._server is None:
            self._server = Client(os.environ[ADDRESS], authkey=current_process().authkey)
        self._server.send_bytes(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"))

    def close(self) -> None:
        """What was sent is counted all the same."""
        if self._server is not None:
            self._server.close()


@functools.cache
def metric_name(figure: Figure) -> str:
    """Its name in Prometheus, without the `_total` of a counter."""
    return "_".join(part for part in ("realtime", figure.name, figure.unit) if part)


def _metric(figure: Figure) -> Counter | Histogram:
    labels = (*ORIGIN, *figure.labels)
    if figure.buckets:
        return Histogram(metric_name(figure), figure.about, labels, buckets=figure.buckets)
    return Counter(metric_name(figure), figure.about, labels)


METRICS = {metric_name(figure): _metric(figure) for figures in FIGURES.values() for figure in figures}
"""Those of this process; the server's are shown."""
_failures = OwnFailures()


@functools.cache  # once a process
def listen_to_jobs() -> None:
    """The half in the server: from now on, in threads, it counts what its jobs send."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each: when it was made
    listener = Listener(backlog=128)
    os.environ[ADDRESS] = str(listener.address)
    threading.Thread(target=_accept, args=(listener,), name="metrics-jobs", daemon=True).start()


def _accept(listener: Listener) -> None:
    while True:
        try:
            connection = listener.accept()
            threading.Thread(target=_hear, args=(connection,), name="metrics-job", daemon=True).start()
        except (OSError, RuntimeError):  # no more files or threads for now
            time.sleep(1)


def _hear(connection: Connection) -> None:
    """Counts what one job sends, to its end; a stranger is not heard."""
    key = current_process().authkey
    with connection, suppress(Exception):
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        while True:
            _failures.guard(_count, connection.recv_bytes())


def _count(message: bytes) -> None:
    for name, value, labels in json.loads(message):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}")
        series = METRICS[name].labels(*labels)
        _show_zeros(*labels[: len(ORIGIN)])
        series.observe(value) if isinstance(series, Histogram) else series.inc(value)


@functools.cache
def _show_zeros(*of: str) -> None:
    """At the first connection of an agent and model, which comes before anything is counted."""
    for figure, labels in expected():
        METRICS[metric_name(figure)].labels(*of, *labels)
