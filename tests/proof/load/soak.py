"""`python -m tests.proof.load soak`: the writer alone, with every sink but the console, which takes 3 ms a record."""

import gc
import json
import logging
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from demo.agent_process import clean_environment

if TYPE_CHECKING:
    from realtime_metrics.records import AnyRecord, ResponseRecord
    from realtime_metrics.sinks.base import Sink

SINKS = "jsonl,log,otlp,prometheus"
CHUNK = 10_000
"""After so many records the JSONL file is counted and rotated away, and the memory is looked at."""
AHEAD = 500
"""The sinks may be so many records behind; the writer would drop at `writer.CAPACITY`."""


class _Timed:
    """A sink, and the CPU time that it took."""

    def __init__(self, sink: "Sink") -> None:
        self._sink = sink
        self.records = 0
        self.failed = 0
        self.cpu_s = 0.0

    def write(self, record: "AnyRecord") -> None:
        began_s = time.thread_time()
        try:
            self._sink.write(record)
        except Exception:
            self.failed += 1
            raise
        finally:
            self.cpu_s += time.thread_time() - began_s
            self.records += 1

    def close(self) -> None:
        self._sink.close()


def run(records: int, console: Console) -> int:
    """Runs the soak and prints what it saw; 1 if a record was lost."""
    with (
        tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder,
        _otlp_endpoint() as endpoint,
    ):
        jsonl = Path(folder, "metrics.jsonl")
        ours = {
            "METRICS_SINKS": SINKS,
            "METRICS_JSONL_PATH": str(jsonl),
            "METRICS_PROMETHEUS_PORT": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        }
        environment = clean_environment(ours)
        os.environ.clear()
        os.environ.update(environment)
        logging.getLogger("livekit").addHandler(logging.NullHandler())
        logging.getLogger("livekit").setLevel(logging.INFO)
        return _soak(records, jsonl, console)


def _soak(records: int, jsonl: Path, console: Console) -> int:
    from realtime_metrics.sinks import sink_makers
    from realtime_metrics.startup import load_settings, server_options
    from realtime_metrics.writer import Writer
    from tests.fakes.call import made
    from tests.fakes.samples import response_record

    settings = load_settings()
    server_options(settings)  # it counts for the Prometheus sink, as an agent server does
    sinks = {name: _Timed(make()) for name, make in sink_makers(settings).items()}
    writer = Writer(made(cast("dict[str, Sink]", sinks)))
    response, lines, rss_mb = response_record(cost_usd=0.00188), 0, []
    began_s = time.monotonic()
    for written in range(1, records + 1):
        writer.write(response)
        if written % 100 == 0:
            _wait(sinks, written - AHEAD)
        if written % CHUNK == 0 or written == records:
            _wait(sinks, written)
            lines += _count_and_rotate(jsonl)
            gc.collect()
            rss_mb.append(psutil.Process().memory_info().rss / 1e6)
            console.print(f"{written:,} of {records:,} records, {rss_mb[-1]:.0f} MB", highlight=False)
    took_s = time.monotonic() - began_s
    console.print(_table(records, took_s, sinks, _floor_s(response), rss_mb), highlight=False)
    failed = sum(sink.failed for sink in sinks.values())
    console.print(f"Lost: {records - lines} lines of the JSONL file, {failed} writes failed", highlight=False)
    return 1 if failed or lines != records else 0


def _wait(sinks: dict[str, _Timed], records: int) -> None:
    while min(sink.records for sink in sinks.values()) < records:
        time.sleep(0.001)


def _count_and_rotate(jsonl: Path) -> int:
    with jsonl.open("rb") as file:
        lines = sum(1 for line in file if json.loads(line)["kind"] == "response")
    jsonl.unlink()
    return lines


def _floor_s(response: "ResponseRecord") -> float:
    """CPU time to serialise a record and nothing else."""
    began_s = time.thread_time()
    for _ in range(CHUNK):
        json.dumps(response.as_dict(), ensure_ascii=False, allow_nan=False)
    return (time.thread_time() - began_s) / CHUNK


def _table(records: int, took_s: float, sinks: dict[str, _Timed], floor_s: float, rss_mb: list[float]) -> Table:
    table = Table(title=f"{records:,} records in {took_s:.0f} s, through all sinks", title_justify="left")
    for column in ("Sink", "µs per record", "records per second", "of the floor"):
        table.add_column(column, justify="left" if column == "Sink" else "right")
    rows = {"floor: serialise only": floor_s} | {name: sink.cpu_s / sink.records for name, sink in sinks.items()}
    for name, cpu_s in rows.items():
        table.add_row(name, f"{cpu_s * 1e6:.0f}", f"{1 / cpu_s:,.0f}", f"{floor_s / cpu_s:.0%}")
    warm = rss_mb[len(rss_mb) // 4 :]
    slope = statistics.linear_regression(range(len(warm)), warm).slope * 100_000 / CHUNK if len(warm) > 1 else None
    table.caption = f"Memory: {rss_mb[0]:.0f} MB at first, {rss_mb[-1]:.0f} MB at last" + (
        "" if slope is None else f", {slope:+.2f} MB per 100,000 records"
    )
    return table


@contextmanager
def _otlp_endpoint() -> Iterator[str]:
    """Takes everything and keeps nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
