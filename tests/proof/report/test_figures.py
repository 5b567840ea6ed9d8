"""The figures are those that a few plain lines of Python make of the same records."""

import json
import math
import subprocess
import sys
from itertools import islice
from typing import Any

import pytest
from livekit.agents import CloseReason

from demo.agent_process import PROJECT
from realtime_metrics.watch import _ENDS
from report.load import NO_FAILURE
from tests.proof.report import records
from tests.proof.report.records import Record


def nearest_rank(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


@pytest.fixture(scope="module")
def made() -> list[Record]:
    return list(islice(records.records(seed=7), 5000))


@pytest.fixture(scope="module")
def said(made: list[Record], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("figures") / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in made))
    command = [sys.executable, "-m", "report", str(path), "--json"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_waits(made: list[Record], said: dict[str, Any]) -> None:
    waits = [r["time_to_first_audio_s"] for r in made if r.get("time_to_first_audio_from") == "user_speech_end"]
    figures = said["figures"]
    assert figures["waits"] == len(waits)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)):
        assert figures[f"wait_{name}_s"] == nearest_rank(waits, share)
    assert figures["responses_without_wait"] == sum(
        r["kind"] == "response" and r["time_to_first_audio_s"] is None for r in made
    )


def test_cost(made: list[Record], said: dict[str, Any]) -> None:
    bills = {r["session_id"]: r["cost_usd"] for r in made if r["kind"] == "session"}
    open_calls = [r["cost_usd"] for r in made if r["kind"] == "response" and r["session_id"] not in bills]
    assert said["figures"]["cost_usd"] == pytest.approx(sum(bills.values()) + sum(open_calls))
    responses = sum(r["cost_usd"] for r in made if r["kind"] == "response")
    assert sum(modality["cost_usd"] for modality in said["details"]["modalities"]) == pytest.approx(responses)
    assert sum(model["cost_usd"] for model in said["details"]["models"]) == pytest.approx(responses)


def test_turns(made: list[Record], said: dict[str, Any]) -> None:
    ended = [r for r in made if r["kind"] == "session"]
    figures = said["figures"]
    assert figures["turns"] == sum(r["user_turns"] for r in ended)
    assert figures["unanswered_share"] == pytest.approx(sum(r["unanswered"] for r in ended) / figures["turns"])
    assert figures["unanswered"] == sum(r["kind"] == "unanswered" for r in made)
    responses = [r for r in made if r["kind"] == "response"]
    assert figures["interrupted_share"] == sum(r["interrupted"] for r in responses) / len(responses)


def test_each_end_that_a_call_can_have_is_known_for_a_failure_or_for_none() -> None:
    ends = {*(reason.value for reason in CloseReason), *_ENDS.values()}
    assert ends - set(NO_FAILURE) == {"error", "server_lost"}


@pytest.mark.parametrize("count", range(1, 201))
def test_a_percentile_is_the_nearest_rank_for_any_count(count: int) -> None:
    import duckdb

    values = [number / 7 for number in range(count)]
    shares = [0.5, 0.9, 0.95, 0.99, 1.0]
    query = f"SELECT quantile_disc(v, {shares}) FROM (SELECT unnest(?::DOUBLE[]) AS v)"
    [(found,)] = duckdb.execute(query, [values]).fetchall()
    # 0.95 * 20 is 19, not the 19.000000000000004 of no number of bits
    assert found == [nearest_rank(values, round(share * count, 9) / count) for share in shares]
