"""A real Prometheus server scrapes agent servers whose job processes come and go; its answers equal the JSONL's."""

import asyncio
import math
import re
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from demo.call import call
from demo.conversation import converse
from demo.scenario import load
from realtime_metrics.sinks.monitoring import WAIT_BUCKETS_S
from realtime_metrics.usage import MODALITIES
from tests.proof.monitoring.fleet import fleet
from tests.proof.monitoring.prometheus_server import (
    SCRAPE_S,
    PrometheusServer,
    free_port,
    prometheus,
    require_prometheus,
)
from tests.proof.monitoring.queries import ALERTS, Query, alert_queries, dashboard_queries

JOB = "realtime-agent"

NOTHING_OF = {
    "Network round trip, p95": "there is no media server",
    "Waiting for tools, p95": "this agent has no tools",
    "Responses that the provider ended, by reason": "the provider ends none here",
}
"""Panel of the dashboard -> why these calls have nothing for it; Prometheus is asked all the same."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What Prometheus saw of two agent servers and a console, and what their JSONL sinks wrote of the same calls."""

    prometheus: PrometheusServer
    responses: list[Record]
    sessions: list[Record]
    """Of the agent servers: the console's call goes on."""
    scraped_at: dict[str, float]
    """Target -> its last scrape."""
    while_calls_ran: float
    pages: dict[str, str]
    """Target -> its /metrics at the end."""

    @property
    def last_scrape(self) -> float:
        return max(self.scraped_at.values())

    def increase(self, selector: str, by: str = "") -> dict[str, float]:
        """What counters rose by in an hour, by a label. Asked for at each target's last scrape, where Prometheus has
        nothing to extrapolate."""
        total: Counter[str] = Counter()
        for target, at in self.scraped_at.items():
            matchers = selector[:-1].rstrip(",") + ("" if selector.endswith("{}") else ",") + f'instance="{target}"}}'
            for labels, value in self.prometheus.query(f"sum by ({by}) (increase({matchers}[1h]))", at).items():
                total[dict(labels).get(by, "")] += value  # type: ignore[assignment]
        return dict(total)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    require_prometheus()
    targets = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    with prometheus(targets, ALERTS, JOB) as server:
        yield asyncio.run(_calls(server, targets, tmp_path_factory.mktemp("run")))


async def _calls(server: PrometheusServer, targets: list[str], folder: Path) -> Run:
    """Two waves of calls, and meanwhile one in the console, with a user who speaks."""
    ports = [{"METRICS_PROMETHEUS_PORT": target.split(":")[1], "METRICS_LATENCY_BUDGET_S": "0.5"} for target in targets]
    sinks = {"METRICS_SINKS": "jsonl,prometheus"}
    async with (
        fleet(folder, ports[0] | sinks, ports[1] | sinks) as servers,
        call(load("interrupted"), sinks="jsonl,prometheus", env=ports[2]) as console,
    ):
        spoken = asyncio.create_task(converse(console))
        await servers.calls(2)
        await servers.calls(2)
        while_calls_ran = datetime.fromisoformat(servers.records("response")[-1]["timestamp"]).timestamp()
        await spoken
        await asyncio.sleep(3 * SCRAPE_S)
        scraped_at = {target: await asyncio.to_thread(server.last_scrape, target) for target in targets}
        pages = {target: await asyncio.to_thread(_page, target) for target in targets}
        responses = servers.records("response") + console.records("response")
        await console.hang_up()
        return Run(server, responses, servers.records("session"), scraped_at, while_calls_ran, pages)


def _page(target: str) -> str:
    with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as response:
        page: str = response.read().decode()
    return page


def test_every_response_of_every_job_is_counted(run: Run) -> None:
    assert len(run.sessions) == 4
    assert run.increase("realtime_responses_total{}") == {"": len(run.responses)}


def test_tokens_per_minute_by_modality_are_those_of_the_records(run: Run) -> None:
    for direction in ("input", "output"):
        per_minute = {
            modality: sum(record[f"{direction}_{modality}_tokens"] or 0 for record in run.responses) / 60
            for modality in (*MODALITIES, "unknown")
        }
        increase = run.increase(f'realtime_tokens_total{{direction="{direction}"}}', by="modality")
        assert {modality: tokens / 60 for modality, tokens in increase.items()} == pytest.approx(per_minute)
    assert sum(record["thoughts_tokens"] or 0 for record in run.responses) > 0
    for name, key in (("thoughts", "thoughts"), ("tool_use", "tool_use"), ("cached_input", "input_cached")):
        total = sum(record[f"{key}_tokens"] or 0 for record in run.responses)
        assert run.increase(f"realtime_{name}_tokens_total{{}}") == {"": pytest.approx(total)}


def test_cost_per_hour_is_that_of_the_records(run: Run) -> None:
    cost_usd = sum(record["cost_usd"] or 0 for record in run.responses)
    assert cost_usd > 0
    assert run.increase("realtime_cost_usd_total{}") == {"": pytest.approx(cost_usd)}
    per_call_usd = sum(record["cost_usd"] for record in run.sessions)
    assert run.increase("realtime_session_cost_usd_sum{}") == {"": pytest.approx(per_call_usd)}


def test_interrupted_share_is_that_of_the_records(run: Run) -> None:
    share = run.prometheus.value(
        "sum(realtime_interrupted_responses_total) / sum(realtime_responses_total)", run.last_scrape
    )
    interrupted = sum(record["interrupted"] for record in run.responses)
    assert interrupted > 0
    assert share == pytest.approx(interrupted / len(run.responses))


def test_p95_of_the_time_to_first_audio_is_that_of_the_records_to_a_bucket(run: Run) -> None:
    p95_s = run.prometheus.value(
        "histogram_quantile(0.95, sum by (le) (realtime_time_to_first_audio_seconds_bucket))", run.last_scrape
    )
    waits_s = sorted(record["time_to_first_audio_s"] for record in run.responses if record["time_to_first_audio_s"])
    exact_s = waits_s[math.ceil(0.95 * len(waits_s)) - 1]
    above = next(bound for bound in WAIT_BUCKETS_S if bound >= exact_s)
    below = max(bound for bound in (0.0, *WAIT_BUCKETS_S) if bound < exact_s)
    assert below <= p95_s <= above
    assert above - below <= 0.2
    assert run.increase("realtime_time_to_first_audio_seconds_sum{}") == {"": pytest.approx(sum(waits_s))}
    since = Counter(record["time_to_first_audio_from"] for record in run.responses if record["time_to_first_audio_s"])
    counted = run.increase("realtime_time_to_first_audio_seconds_count{}", by="since")
    assert {name: count for name, count in counted.items() if count} == pytest.approx(dict(since))
    assert since["user_speech_end"] > 0
    assert since["reply_requested"] > 0


def test_what_is_unknown_is_counted_under_its_reason(run: Run) -> None:
    for name, key in (
        ("usage", "usage_reason"),
        ("cost", "cost_reason"),
        ("time_to_first_audio", "time_to_first_audio_reason"),
    ):
        reasons = Counter(record[key].split(":")[0] for record in run.responses if record[key] is not None)
        counted = run.prometheus.query(f"sum by (reason) (realtime_{name}_unknown_total)", run.last_scrape)
        assert {dict(labels)["reason"]: count for labels, count in counted.items()} == reasons
        assert reasons


def test_errors_and_reconnects_are_counted_under_their_reason(run: Run) -> None:
    errors = run.prometheus.query("sum by (reason) (realtime_errors_total)", run.last_scrape)
    assert errors == {frozenset({("reason", "connection_closed_1011")}): 4}
    reconnects = run.prometheus.query("sum by (reason) (realtime_reconnects_total)", run.last_scrape)
    assert reconnects == {frozenset({("reason", "connection_lost")}): 4}


def test_turns_talk_over_and_what_was_heard_are_those_of_the_records(run: Run) -> None:
    turns = sum(record["user_turns"] for record in run.sessions)
    assert turns == len(run.sessions)
    assert run.increase("realtime_user_turns_total{}") == {"": pytest.approx(turns)}
    longest_s = sum(record["longest_wait_s"] or 0 for record in run.sessions)
    assert longest_s > 0
    assert run.increase("realtime_session_longest_wait_seconds_sum{}") == {"": pytest.approx(longest_s)}
    first_s = sum(record["first_audio_after_s"] for record in run.sessions)
    assert run.increase("realtime_session_first_audio_seconds_sum{}") == {"": pytest.approx(first_s)}
    for name, key in (("audio", "audio_s"), ("heard_audio", "heard_s"), ("talk_over", "talk_over_s")):
        total_s = sum(record[key] or 0 for record in run.responses)
        assert total_s > 0
        part = "sum" if name == "talk_over" else "total"
        assert run.increase(f"realtime_{name}_seconds_{part}{{}}") == {"": pytest.approx(total_s)}


def test_no_label_names_a_call(run: Run) -> None:
    for target in run.scraped_at:
        series = run.prometheus.query(f'{{__name__=~"realtime_.+", instance="{target}"}}', run.last_scrape)
        names = {name for labels in series for name, _ in labels} - {"__name__", "instance", "job", "le"}
        assert names <= {"agent", "provider", "model", "direction", "modality", "reason", "since", "sink"}
        assert len(series) < 450


def test_the_framework_s_own_metrics_are_shown_beside_ours(run: Run) -> None:
    for page in run.pages.values():
        assert re.search(r"^lk_agents_worker_load\{", page, re.MULTILINE)
        assert re.search(r"^realtime_responses_total\{", page, re.MULTILINE)
    at_once = "max_over_time(sum(lk_agents_active_job_count)[5m:500ms])"
    assert run.prometheus.value(at_once, run.last_scrape) == 2  # the framework does not count the console's


def test_promtool_finds_nothing_wrong_with_our_metrics(run: Run) -> None:
    for page in run.pages.values():
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True)
        complaints = (checked.stdout + checked.stderr).splitlines()
        assert [line for line in complaints if not line.startswith("lk_agents_")] == []


def test_promtool_finds_nothing_wrong_with_the_alerts() -> None:
    require_prometheus()
    subprocess.run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(ALERTS)], check=True)
    subprocess.run(["promtool", "check", "config", str(ALERTS.with_name("prometheus.yml"))], check=True)
    subprocess.run(["promtool", "test", "rules", str(Path(__file__).with_name("alerts.test.yml"))], check=True)


@pytest.mark.parametrize("query", [*dashboard_queries(), *alert_queries()], ids=str)
def test_every_query_of_dashboard_and_alerts_gives_a_series(run: Run, query: Query) -> None:
    times = (run.last_scrape, run.while_calls_ran)
    values = [value for at in times for value in run.prometheus.query(query.promql, at).values()]
    if query.place.split(" (")[0] in NOTHING_OF:
        return
    assert any(not math.isnan(value) for value in values), query.promql


def test_prometheus_evaluates_the_alerts(run: Run) -> None:
    rules = run.prometheus.rules()
    assert {rule["name"] for rule in rules} >= {"RealtimeFirstAudioSlow", "RealtimeErrors", "RealtimeCostHigh"}
    assert {rule["health"] for rule in rules} == {"ok"}
