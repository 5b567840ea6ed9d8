"""An OTLP endpoint over HTTP that decodes the official protobuf; or one that is slow, or answers with an error."""

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

Attributes = dict[str, Any]


class OtlpReceiver:
    """Keeps what it gets.

    Args:
        status: what every request is answered with.
        delay_s: how long after it came.
    """

    def __init__(self, status: int = 200, delay_s: float = 0.0) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/metrics"
                receiver.requests.append(ExportMetricsServiceRequest.FromString(body))
                time.sleep(delay_s)
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportMetricsServiceResponse().SerializeToString())

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_address[1]}",
            "NO_PROXY": "127.0.0.1",
        }

    def __enter__(self) -> "OtlpReceiver":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def resources(self) -> list[Attributes]:
        """Of all requests: who exported."""
        return [_plain(of.resource.attributes) for request in self.requests for of in request.resource_metrics]

    def metrics(self) -> Iterator[Metric]:
        for request in self.requests:
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    yield from scope.metrics

    def names(self) -> set[str]:
        return {metric.name for metric in self.metrics()}

    def attributes(self, prefix: str = "") -> set[str]:
        """Names of the attributes of every measurement of the metrics whose names begin so."""
        return {
            attribute.key
            for metric in self.metrics()
            if metric.name.startswith(prefix)
            for point in _points(metric)
            for attribute in point.attributes
        }

    def sum(self, name: str, by: str | None = None) -> dict[str, float]:
        """The sum of a counter or histogram over all processes, by an attribute."""
        return self._total(name, by, "sum")

    def count(self, name: str, by: str | None = None) -> dict[str, float]:
        """How many values a histogram got."""
        return self._total(name, by, "count")

    def _total(self, name: str, by: str | None, what: str) -> dict[str, float]:
        total: dict[str, float] = {}
        for metric in self.metrics():
            if metric.name != name:
                continue
            data = getattr(metric, metric.WhichOneof("data") or "")
            # what a process exported before is not in it again
            assert data.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
            for point in data.data_points:
                key = _plain(point.attributes)[by] if by else ""
                value = getattr(point, what) if metric.HasField("histogram") else _number(point)
                total[key] = total.get(key, 0) + value
        return total


def _points(metric: Metric) -> Any:
    return getattr(metric, metric.WhichOneof("data") or "").data_points


def _number(point: Any) -> float:
    value: float = getattr(point, point.WhichOneof("value"))
    return value


def _plain(attributes: Any) -> Attributes:
    return {attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in attributes}
