"""Where records go: one file a sink, registered by name in `SINKS`.

To add one: a file here with a class like `log.LogSink`, its import, and a line in `SINKS`.
"""

from collections.abc import Callable

from ..settings import Settings
from .base import Sink
from .console import ConsoleSink
from .jsonl import JsonlSink
from .line import LineSink
from .log import LogSink


def _otlp() -> type[Sink]:
    from .otlp import OtlpSink

    return OtlpSink


def _prometheus() -> type[Sink]:
    from .prometheus import PrometheusSink

    return PrometheusSink


SINKS: dict[str, Callable[[], type[Sink]]] = {
    "console": lambda: ConsoleSink,
    "jsonl": lambda: JsonlSink,
    "line": lambda: LineSink,
    "log": lambda: LogSink,
    "otlp": _otlp,
    "prometheus": _prometheus,
}
"""Name in `METRICS_SINKS` -> what loads its class: exporters are imported only where they are asked for."""


def make_sinks(settings: Settings) -> dict[str, Sink]:
    """The sinks that the settings name, ready to write."""
    return {name: SINKS[name]()(settings) for name in settings.metrics_sinks}
