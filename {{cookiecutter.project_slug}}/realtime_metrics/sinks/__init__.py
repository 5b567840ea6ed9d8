"""Where records go: one file a sink, registered by name in `SINKS`.

A sink is a small class with `write(record)` and `close()`. It has a thread of its own: what it raises, or holds up, is
counted and logged, and costs nobody else a record. To add one: one file here, a loader, and a line in `SINKS`.
"""

from collections.abc import Callable
from typing import Protocol

from ..records import AnyRecord
from ..settings import Settings


class Sink(Protocol):
    """What the writer writes to."""

    def write(self, record: AnyRecord) -> None:
        """Takes one record. May raise: that is counted as failed."""

    def close(self) -> None:
        """Called once, after the last record."""


class SinkType(Protocol):
    """What `SINKS` loads: a class that is made of the settings."""

    def __call__(self, settings: Settings) -> Sink: ...

    def problem(self, settings: Settings) -> str | None:
        """Why the sink cannot work with these settings, in a line that names setting, value and what is allowed."""


def _console() -> SinkType:
    from .console import ConsoleSink

    return ConsoleSink


def _jsonl() -> SinkType:
    from .jsonl import JsonlSink

    return JsonlSink


def _line() -> SinkType:
    from .line import LineSink

    return LineSink


def _log() -> SinkType:
    from .log import LogSink

    return LogSink


def _otlp() -> SinkType:
    from .otlp import OtlpSink

    return OtlpSink


def _prometheus() -> SinkType:
    from .prometheus import PrometheusSink

    return PrometheusSink


SINKS: dict[str, Callable[[], SinkType]] = {
    "console": _console,
    "jsonl": _jsonl,
    "line": _line,
    "log": _log,
    "otlp": _otlp,
    "prometheus": _prometheus,
}
"""Name in `METRICS_SINKS` -> what loads its class. Loaded when asked for: exporters are heavy."""


def make_sinks(settings: Settings) -> dict[str, Sink]:
    """The sinks that the settings name, ready to write."""
    return {name: SINKS[name]()(settings) for name in settings.metrics_sinks}
