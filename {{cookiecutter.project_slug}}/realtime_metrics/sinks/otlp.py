"""Records, and the framework's own metrics, to any OTLP endpoint, by the standard `OTEL_EXPORTER_OTLP_…` variables.

The framework records `gen_ai.*` and `lk.agents.*` on the global meter of every process; they need a `MeterProvider`
only. What they lack is added, under the names of the OpenTelemetry GenAI conventions where these have one
(semantic-conventions-genai, `gen-ai-token-metrics.md`), else as `realtime.*`.
"""

import functools
import logging
import os
import re
import threading
import tomllib
from collections.abc import Callable, Iterator
from multiprocessing.util import Finalize
from typing import Any
from urllib.parse import urlsplit

from livekit.agents.telemetry.trace_types import gen_ai_provider_name
from opentelemetry import metrics
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from ..log import clean, logger
from ..records import AnyRecord
from ..settings import PROJECT, Settings
from .base import Sink
from .monitoring import CACHED, THOUGHTS, TOKENS, TOOL_USE, WAIT_BUCKETS_S, Figure, measurements, origin

FLUSH_S = 3.0
"""How long the end of a session, and of the process, waits for an endpoint; the framework gives a job 10 s to end."""

_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_METRICS_PROTOCOL = "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"
_PROTOCOLS = ("http/protobuf", "grpc")
_TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS")
_HEADER = re.compile(r"\s*[!#-'*+.^-z|~0-9A-Z-]+\s*=[ -~]*")

_BOUNDED_ATTRIBUTES = {
    *("model_name", "model_provider", "connection_reused", "severity", "error.type"),
    *(f"gen_ai.{name}" for name in ("operation.name", "provider.name", "request.model", "response.model")),
    *(f"gen_ai.{name}" for name in ("token.type", "agent.name", "tool.name")),
}
"""What is kept of the framework's measurements: they carry room and job ids too, a new series for every call."""
_TOKEN_BUCKETS = tuple(4**exponent for exponent in range(14))
"""Those that the conventions advise for `gen_ai.client.token.usage`."""
_UNITS = {"seconds": "s", "usd": "USD", "tokens": "{token}", "": "1"}
_USAGE = "gen_ai.client.inference.usage"

_one_at_a_time = threading.Lock()

Attributes = dict[str, str]


class OtlpSink(Sink):
    """Counts and observes; a thread of the OpenTelemetry SDK exports."""

    def __init__(self, settings: Settings) -> None:
        with _one_at_a_time:
            _provide_meters(settings.name)

    @staticmethod
    def problem(settings: Settings) -> str | None:
        if (protocol := _protocol()) not in _PROTOCOLS:
            name = _METRICS_PROTOCOL if os.environ.get(_METRICS_PROTOCOL) else _PROTOCOL
            return f"{name}={protocol!r} is not supported: choose from {', '.join(_PROTOCOLS)}"
        for name in _ENDPOINTS if protocol != "grpc" else ():
            if (url := os.environ.get(name, "").strip()) and not url.startswith(("http://", "https://")):
                return f"{name}={url!r} is no address for {protocol}: it begins with http:// or https://"
        for name in _HEADERS:
            if not all(_HEADER.fullmatch(header) for header in os.environ.get(name, "").split(",") if header.strip()):
                # neither is its value shown here, nor does the SDK get to log it: it holds a key
                return f"{name} is malformed: write name=value, separated by commas; a comma in a value is %2C"
        try:
            _provider(settings.name).shutdown()
        except Exception as error:  # of an exporter: each says it in its own way
            return f"otlp cannot export with the OTEL_… variables that are set: {clean(error)}"
        return None

    def write(self, record: AnyRecord) -> None:
        agent, provider, model = origin(record)
        shared = {
            "gen_ai.operation.name": "generate_content",
            "gen_ai.agent.name": agent,
            "gen_ai.provider.name": gen_ai_provider_name(provider) or provider,
            "gen_ai.request.model": model,
        }
        for figure, value, labels in measurements(record):
            for name, attributes in _named(figure, labels):
                _instrument(name, figure)(value, shared | attributes)

    def close(self) -> None:
        """Exports what is not yet; the provider goes on for other sessions of the process."""
        provider = metrics.get_meter_provider()
        if isinstance(provider, sdk.MeterProvider):
            _within_flush_s(provider.force_flush)


def _named(figure: Figure, labels: tuple[str, ...]) -> Iterator[tuple[str, Attributes]]:
    """The instruments that count a figure; by the conventions, input holds tool use, and output holds thoughts."""
    if figure is THOUGHTS:
        yield f"{_USAGE}.output_tokens", {"gen_ai.token.modality": "text"}
        yield f"{_USAGE}.reasoning.output_tokens", {"gen_ai.token.modality": "text"}
    elif figure in (TOKENS, CACHED, TOOL_USE):
        direction = labels[0] if figure is TOKENS else "cache_read.input" if figure is CACHED else "input"
        yield f"{_USAGE}.{direction}_tokens", {"gen_ai.token.modality": labels[-1]}
    else:
        yield f"realtime.{figure.name}", dict(zip(figure.labels, labels, strict=True))


@functools.cache
def _instrument(name: str, figure: Figure) -> Callable[[float, Attributes], None]:
    """What takes a value and its attributes; made once."""
    meter, unit = metrics.get_meter("realtime_metrics"), _UNITS[figure.unit]
    if figure.buckets:
        buckets = figure.buckets
        return meter.create_histogram(name, unit, figure.about, explicit_bucket_boundaries_advisory=buckets).record
    about = "" if name.startswith(_USAGE) else figure.about
    return meter.create_counter(name, unit, about).add


@functools.cache
def _provide_meters(agent_name: str) -> None:
    """Sets the process's `MeterProvider`, which can be done once; one that is there already is used as it is."""
    if isinstance(metrics.get_meter_provider(), sdk.MeterProvider):
        logger.warning(
            "a MeterProvider is set already: the metrics go where it exports to, OTEL_EXPORTER_OTLP_… is not read"
        )
        return
    provider = _provider(agent_name)
    metrics.set_meter_provider(provider)
    # a job's process ends without `atexit`; the framework's turn metrics come after the last record
    Finalize(None, _within_flush_s, (provider.shutdown,), exitpriority=0)
    if (urlsplit(os.environ.get("LIVEKIT_URL", "")).hostname or "").endswith(".livekit.cloud"):
        logger.info("metrics go to the OTLP endpoint, not to LiveKit Cloud, which gets traces and logs as before")


def _provider(agent_name: str) -> sdk.MeterProvider:
    """Raises whatever an exporter raises of a variable that it cannot use."""
    reader = PeriodicExportingMetricReader(_exporter())
    return sdk.MeterProvider([reader], _resource(agent_name), shutdown_on_exit=False, views=_views())


def _protocol() -> str:
    return os.environ.get(_METRICS_PROTOCOL) or os.environ.get(_PROTOCOL) or "http/protobuf"


def _exporter() -> MetricExporter:
    """The exporter of the protocol that the environment asks for; all else it reads there itself."""
    # a job's process lives for one call: of cumulative sums that short, a backend sees no increase
    os.environ[_TEMPORALITY] = os.environ.get(_TEMPORALITY) or "delta"
    for name in ("http.metric_exporter", "grpc.exporter"):
        logging.getLogger(f"opentelemetry.exporter.otlp.proto.{name}").addFilter(_only_the_first)
    if _protocol() == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter

    return HttpExporter()


def _resource(agent_name: str) -> Resource:
    """Who exports: what the `OTEL_…` variables say before what we know; an instance is a process."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    known = {"service.name": agent_name or project["name"], "service.version": project["version"]}
    return Resource.create({**known, **OTELResourceDetector().detect().attributes})


def _views() -> list[View]:
    """For the framework's instruments; each matches one view, so nothing is counted twice."""
    kept: Any = {"meter_name": "livekit-agents", "attribute_keys": _BOUNDED_ATTRIBUTES}
    seconds, tokens = (ExplicitBucketHistogramAggregation(buckets) for buckets in (WAIT_BUCKETS_S, _TOKEN_BUCKETS))
    return [
        View(instrument_type=sdk.Counter, **kept),
        View(instrument_type=sdk.Histogram, instrument_unit="s", aggregation=seconds, **kept),
        View(instrument_type=sdk.Histogram, instrument_unit="{token}", aggregation=tokens, **kept),
    ]


def _within_flush_s(action: Callable[[], object]) -> None:
    """Does it, and waits at most `FLUSH_S`: the SDK's own timeouts do not hold while it tries an endpoint again."""
    work = threading.Thread(target=action, name="realtime-metrics-otlp", daemon=True)
    try:
        work.start()
    except RuntimeError:  # Python 3.12 starts no thread any more when the program ends
        action()
    else:
        work.join(FLUSH_S)


def _only_the_first(record: logging.LogRecord) -> bool:
    """The exporters log every attempt; the first tells all."""
    logging.getLogger(record.name).disabled = True
    logger.error(
        "metrics cannot be exported by OTLP, see OTEL_EXPORTER_OTLP_ENDPOINT: %s (said once; the call goes on)",
        clean(record.getMessage()),
    )
    return False
