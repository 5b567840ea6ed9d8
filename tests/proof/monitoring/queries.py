"""Every PromQL expression of the dashboard and the alerts, as Prometheus runs it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OPS = Path(__file__).resolve().parents[3] / "ops"
ALERTS = OPS / "prometheus" / "alerts.yml"
DASHBOARD = OPS / "grafana" / "dashboards" / "realtime-agent.json"

VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$agent": ".*"}
"""What Grafana would put in; the test's calls all fit into it."""


@dataclass(frozen=True)
class Query:
    """An expression, and where it stands."""

    place: str
    promql: str

    def __str__(self) -> str:
        return self.place


def dashboard_panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def dashboard_queries() -> list[Query]:
    return [
        Query(f"{panel['title']} ({target['legendFormat']})", _as_grafana_sends(target["expr"]))
        for panel in dashboard_panels()
        for target in panel["targets"]
    ]


def alert_queries() -> list[Query]:
    """Without their thresholds: there is a series whether or not the alert fires."""
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    parts = [(rule["alert"], part) for rule in rules for part in re.split(r"> [\d.]+(?: unless| and)?", rule["expr"])]
    return [Query(alert, part.strip()) for alert, part in parts if part.strip()]


def _as_grafana_sends(promql: str) -> str:
    for name, value in VARIABLES.items():
        promql = promql.replace(name, value)
    assert "$" not in promql, f"a variable that Grafana would fill in, and this test does not: {promql}"
    return promql
