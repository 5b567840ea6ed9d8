"""Where records go: one file a sink, registered by name in `SINKS`.

A sink is a small class with `write(record)` and `close()`. The pipeline calls it from one thread; what it raises is
counted and logged, and costs nobody else a record. To add one: one file here, and one line in `SINKS`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from ..records import ConnectionRecord, ResponseRecord, SessionRecord

if TYPE_CHECKING:
    from ..settings import Settings

AnyRecord = ConnectionRecord | ResponseRecord | SessionRecord

SINKS = {
    "console": "console:ConsoleSink",
    "jsonl": "jsonl:JsonlSink",
    "log": "log:LogSink",
    "otlp": "otlp:OtlpSink",
    "prometheus": "prometheus:PrometheusSink",
}
"""Name in `METRICS_SINKS` -> module and class. Imported when asked for: exporters are heavy."""


class Sink(Protocol):
    """What the pipeline writes to."""

    def write(self, record: AnyRecord) -> None:
        """Takes one record. May raise: that is counted as failed."""

    def close(self) -> None:
        """Called once, after the last record."""


class SinkType(Protocol):
    """What `SINKS` names: a class that is made of the settings."""

    def __call__(self, settings: "Settings") -> Sink: ...

    def problem(self, settings: "Settings") -> str | None:
        """Why the sink cannot work with these settings, in a line that names setting, value and what is allowed."""


def sink_type(name: str) -> SinkType:
    """The class behind a name of `SINKS`."""
    module, class_name = SINKS[name].split(":")
    found: SinkType = getattr(import_module(f".{module}", __package__), class_name)
    return found


def make_sinks(settings: "Settings") -> dict[str, Sink]:
    """The sinks that the settings name, ready to write."""
    return {name: sink_type(name)(settings) for name in settings.metrics_sinks}
