"""Records as Prometheus metrics, which the agent server shows for all its jobs at its own `/metrics`.

Every job is a process of its own, so the values live in files that the server reads at a scrape: `prometheus_files`.
"""

import functools
import socket
from typing import Any

from prometheus_client import Counter, Histogram

from ..records import AnyRecord, ConnectionRecord
from ..settings import Settings
from .monitoring import ORIGIN, Figure, expected, measurements, origin
from .prometheus_files import in_job_process


class PrometheusSink:
    """Counts and observes; nothing is kept per session."""

    def __init__(self, settings: Settings) -> None: ...

    @staticmethod
    def problem(settings: Settings) -> str | None:
        """Whether the port can be had; a job's process does not ask, its server has the port by then."""
        host, port = settings.host or "127.0.0.1", settings.metrics_prometheus_port
        if in_job_process():
            return None
        try:
            with socket.create_server((host, port)):
                return None
        except OSError as error:
            why = f"cannot be listened to at {host} ({error.strerror})"
            return f"METRICS_PROMETHEUS_PORT={port}: {why}: name a free port, or 0 for any; AGENT_HOST sets the address"

    def write(self, record: AnyRecord) -> None:
        if isinstance(record, ConnectionRecord):
            for figure, labels in expected():
                _series(figure, origin(record) + labels)
        for figure, value, labels in measurements(record):
            series = _series(figure, origin(record) + labels)
            series.observe(value) if figure.buckets else series.inc(value)

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
