"""A real Prometheus server (Debian's package `prometheus`, or a binary on the PATH) that scrapes agent servers."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

SCRAPE_S = 0.5
MISSING = "needs Prometheus: `sudo apt install prometheus`, or put `prometheus` and `promtool` on the PATH"

Samples = dict[frozenset[tuple[str, str]], float]


def require_prometheus() -> None:
    """Skips the test where there is none."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.skip(MISSING)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def scraped(port: int, host: str = "127.0.0.1") -> Counter[str]:
    """`/metrics`: each name's sum over its labels."""
    sums: Counter[str] = Counter()
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as response:
        for family in text_string_to_metric_families(response.read().decode()):
            for sample in family.samples:
                sums[sample.name] += sample.value  # type: ignore[assignment]
    return sums


class PrometheusServer:
    """Answers PromQL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, promql: str, at: float) -> Samples:
        """The instant vector's labels and values.

        Raises:
            AssertionError: Prometheus does not accept the query.
        """
        data = self._get("/api/v1/query", query=promql, time=str(at))
        return {frozenset(sample["metric"].items()): float(sample["value"][1]) for sample in data["result"]}

    def value(self, promql: str, at: float) -> float:
        """The only value."""
        samples = self.query(promql, at)
        assert len(samples) == 1, f"{promql} gives {samples}"
        return next(iter(samples.values()))

    def rules(self) -> list[dict[str, Any]]:
        """All rules that were loaded, and how they do."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def last_scrape(self, instance: str) -> float:
        """When a target was scraped for the last time."""
        return max(self.query(f'timestamp(up{{instance="{instance}"}})', time.time()).values())

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"{self._url}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def prometheus(targets: Sequence[str], rules: Path, job: str) -> Iterator[PrometheusServer]:
    """A server that scrapes `targets` every `SCRAPE_S`, with the rules loaded."""
    require_prometheus()
    with tempfile.TemporaryDirectory(prefix="prometheus-", ignore_cleanup_errors=True) as folder:
        config = Path(folder, "prometheus.yml")
        jobs = [{"job_name": job, "static_configs": [{"targets": list(targets)}]}]
        interval = {"scrape_interval": f"{int(SCRAPE_S * 1000)}ms", "evaluation_interval": "1s"}
        config.write_text(json.dumps({"global": interval, "rule_files": [str(rules)], "scrape_configs": jobs}))
        address = f"127.0.0.1:{free_port()}"
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _wait_until_ready(process, address)
            yield PrometheusServer(f"http://{address}")
        finally:
            process.terminate()
            process.communicate()


def _wait_until_ready(process: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"prometheus ended: {process.communicate()[1].decode()}")
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("prometheus does not get ready")
