"""Where records go: one file a sink, registered by name in `SINKS`.

To add one: a file here with a class like `log.LogSink`, its import, and a line in `SINKS`. A setting of its own goes
into `settings.py`; agent.toml, .env.example and the documents list the names.
"""

import functools
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


def sink_makers(settings: Settings) -> dict[str, Callable[[], Sink]]:
    """Name -> what makes the sink, for those that the settings name. Each is to be called in its sink's own thread:
    what it raises, or holds up, is the sink's."""
    return {name: functools.partial(_make, name, settings) for name in settings.metrics_sinks}


def _make(name: str, settings: Settings) -> Sink:
    return SINKS[name]()(settings)
