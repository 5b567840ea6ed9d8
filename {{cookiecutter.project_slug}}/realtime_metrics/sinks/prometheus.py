"""Records as Prometheus metrics, which the agent server shows for all its jobs at its own `/metrics`.

Every job is a process of its own, so the values live in files that the server reads at a scrape: `prometheus_files`.
"""

import functools
import os
import socket
import tempfile
from typing import Any

from prometheus_client import Counter, Histogram

from ..records import AnyRecord, ConnectionRecord
from ..settings import Settings
from .monitoring import ORIGIN, Figure, expected, measurements, origin
from .prometheus_files import VARIABLE, ReservedFile


class PrometheusSink:
    """Counts and observes; nothing is kept per session."""

    def __init__(self, settings: Settings) -> None: ...

    @staticmethod
    def problem(settings: Settings) -> str | None:
        """Whether the port and the directory can be had."""
        host, port = settings.host or "127.0.0.1", settings.metrics_prometheus_port
        directory = os.environ.get(VARIABLE) or tempfile.gettempdir()
        if not os.path.isdir(directory) or not os.access(directory, os.W_OK | os.X_OK):
            return f"{VARIABLE}={directory!r} is no folder that files can be made in: make it, or unset the variable"
        try:
            with socket.create_server((host, port)):
                return None
        except OSError as error:
            why = f"cannot be listened to at {host} ({error.strerror})"
            return f"METRICS_PROMETHEUS_PORT={port}: {why}: name a free port, or 0 for any; AGENT_HOST sets the address"

    def write(self, record: AnyRecord) -> None:
        """Raises `OSError` once there was no place left for the values of this process."""
        if isinstance(record, ConnectionRecord):
            for figure, labels in expected():
                _series(figure, origin(record) + labels)
        for figure, value, labels in measurements(record):
            series = _series(figure, origin(record) + labels)
            series.observe(value) if figure.buckets else series.inc(value)
        if ReservedFile.failure is not None:
            raise OSError(*ReservedFile.failure.args)

    def close(self) -> None:
        """The figures stay: they are the server's."""


@functools.cache
def _series(figure: Figure, labels: tuple[str, ...]) -> Any:
    return _metric(figure).labels(*labels)


@functools.cache
def _metric(figure: Figure) -> Any:
    """A `Counter`, or with buckets a `Histogram`; made when first written: a server empties its files as it starts."""
    name = metric_name(figure)
    labels = (*ORIGIN, *figure.labels)
    if figure.buckets:
        return Histogram(name, figure.about, labels, buckets=figure.buckets)
    return Counter(name, figure.about, labels)


def metric_name(figure: Figure) -> str:
    """Its name in Prometheus, without the `_total` of a counter."""
    return "_".join(part for part in ("realtime", figure.name, figure.unit) if part)
