"""What the tests of the demo share."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.plugins import google
from livekit.plugins.google.realtime.realtime_api import RealtimeSession

from demo.agent_process import PROJECT
from demo.gemini_server import GeminiLiveServer


@dataclass
class Heard:
    """A session of the real Google plugin, without an agent, and the metrics it emitted."""

    session: RealtimeSession
    metrics: list[RealtimeModelMetrics]

    @property
    def responses(self) -> list[RealtimeModelMetrics]:
        """Without the metrics that the plugin emits for a connect."""
        return [metrics for metrics in self.metrics if metrics.request_id]

    @property
    def total_tokens(self) -> int:
        return sum(metrics.total_tokens for metrics in self.responses)


def connect(server: GeminiLiveServer, monkeypatch: pytest.MonkeyPatch, key: str | None = None, **options: Any) -> Heard:
    """The real plugin, led to the local server."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    if key is not None:
        options["api_key"] = key
    model = google.realtime.RealtimeModel(**options)
    heard = Heard(model.session(), [])
    heard.session.on("metrics_collected", heard.metrics.append)
    return heard


@pytest.fixture(scope="session")
def demo_run() -> subprocess.CompletedProcess[str]:
    """`python -m demo`, once, as somebody sees it who pipes it into a file."""
    return run_demo()


def run_demo(
    *arguments: str, timeout_s: float = 120, cwd: Path = PROJECT, **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs the demo in a process of its own, 80 columns wide."""
    return subprocess.run(
        [sys.executable, "-m", "demo", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", "PYTHONUTF8": "1", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout_s,
    )
