"""Several job processes export to one OTLP endpoint: the sums are the JSONL's. A bad endpoint disturbs nobody."""

import asyncio
import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.agent_process import PROJECT, clean_environment
from demo.call import call
from demo.conversation import converse
from demo.scenario import Reply, Scenario, Turn
from demo.speech import utterances
from realtime_metrics.settings import SettingsError
from realtime_metrics.startup import checked_settings
from realtime_metrics.usage import MODALITIES
from tests.proof.monitoring.fleet import fleet
from tests.proof.monitoring.otlp_receiver import OtlpReceiver

USAGE = "gen_ai.client.inference.usage"
SAID = "metrics cannot be exported by OTLP"

Record = dict[str, Any]


@dataclass(frozen=True)
class Run:
    responses: list[Record]
    sessions: list[Record]
    log: list[Record]
    took_s: float
    """From the calls' begin until all agent servers had ended."""


async def _calls(number: int, folder: Path, *envs: dict[str, str]) -> list[Run]:
    """So many calls, spread over an agent server for each environment; what each server had of them."""
    exporting = {"METRICS_SINKS": "jsonl,otlp", "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
    async with fleet(folder, *(exporting | env for env in envs)) as servers:
        started_at = time.monotonic()
        await servers.calls(number)
        await asyncio.gather(*(agent.stop() for agent in servers.agents))
        took_s = time.monotonic() - started_at
        runs = []
        for agent in servers.agents:
            log = [json.loads(line) for line in agent.reports if line.startswith("{")]
            jobs = {line["job_id"] for line in log if "job_id" in line}
            responses, sessions = (
                [record for record in servers.records(kind) if record["session_id"] in jobs]
                for kind in ("response", "session")
            )
            runs.append(Run(responses, sessions, log, took_s))
        return runs


@dataclass(frozen=True)
class Exported:
    run: Run
    otlp: OtlpReceiver


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    with OtlpReceiver() as receiver:
        (run,) = asyncio.run(_calls(2, tmp_path_factory.mktemp("otlp"), receiver.env))
        yield Exported(run, receiver)


def _total(records: list[Record], *keys: str) -> float:
    return sum(record[key] or 0 for record in records for key in keys)


def test_tokens_by_modality_have_the_conventions_names_and_the_records_sums(exported: Exported) -> None:
    responses, otlp = exported.run.responses, exported.otlp
    by = "gen_ai.token.modality"
    assert otlp.sum(f"{USAGE}.input_tokens", by) == _some(
        {of: _total(responses, f"input_{of}_tokens", f"tool_use_{of}_tokens") for of in (*MODALITIES, "unknown")}
    )
    thoughts = _total(responses, "thoughts_tokens")
    assert thoughts > 0
    output = {of: _total(responses, f"output_{of}_tokens") for of in (*MODALITIES, "unknown")}
    assert otlp.sum(f"{USAGE}.output_tokens", by) == _some(output | {"text": output["text"] + thoughts})
    assert otlp.sum(f"{USAGE}.reasoning.output_tokens") == {"": thoughts}
    assert otlp.sum(f"{USAGE}.cache_read.input_tokens") == {"": _total(responses, "input_cached_tokens")}


def _some(counts: dict[str, float]) -> dict[str, float]:
    return {name: count for name, count in counts.items() if count}


def test_cost_responses_and_waits_are_those_of_the_records(exported: Exported) -> None:
    responses, otlp = exported.run.responses, exported.otlp
    waits_s = [record["time_to_first_audio_s"] for record in responses if record["time_to_first_audio_s"]]
    assert otlp.sum("realtime.cost") == {"": pytest.approx(_total(responses, "cost_usd"))}
    assert otlp.sum("realtime.responses") == {"": len(responses)}
    assert otlp.sum("realtime.interrupted_responses") == {"": _total(responses, "interrupted")}
    assert otlp.sum("realtime.time_to_first_audio") == {"": pytest.approx(sum(waits_s))}
    assert otlp.count("realtime.time_to_first_audio") == {"": len(waits_s)}
    assert otlp.sum("realtime.errors", "reason") == {"connection_closed_1011": 2}
    assert otlp.sum("realtime.sessions", "reason") == {"user_initiated": 2}


def test_the_framework_s_own_metrics_come_out_once(exported: Exported) -> None:
    responses, otlp = exported.run.responses, exported.otlp
    assert otlp.sum("lk.agents.usage.llm_input_tokens") == {"": _total(responses, "input_tokens")}
    by_type = {of: _total(responses, f"{of}_tokens") for of in ("input", "output")}
    assert otlp.sum("gen_ai.client.token.usage", "gen_ai.token.type") == by_type
    assert otlp.names() >= {"lk.agents.connection.acquire_time", "gen_ai.client.operation.duration"}


def test_latencies_have_buckets_that_resolve_0_2_to_3_s(exported: Exported) -> None:
    histograms = [metric for metric in exported.otlp.metrics() if metric.HasField("histogram") and metric.unit == "s"]
    assert {metric.name.split(".")[0] for metric in histograms} == {"gen_ai", "lk", "realtime"}
    for metric in histograms:
        if "session" not in metric.name:
            bounds = metric.histogram.data_points[0].explicit_bounds
            assert len([bound for bound in bounds if 0.2 <= bound <= 3]) >= 8, metric.name


def test_no_attribute_names_a_call(exported: Exported) -> None:
    attributes = exported.otlp.attributes()
    assert not {name for name in attributes if "room" in name or "job" in name or "session" in name}
    assert attributes >= {"gen_ai.agent.name", "gen_ai.provider.name", "gen_ai.request.model"}


def test_the_resource_names_agent_version_and_process(exported: Exported) -> None:
    resources = exported.otlp.resources
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {resource["service.version"] for resource in resources} == {project["version"]}
    name = exported.run.responses[0]["agent_name"] or project["name"]
    assert {resource["service.name"] for resource in resources} == {name}
    assert len({resource["service.instance.id"] for resource in resources}) == 2


def test_a_working_endpoint_leaves_no_word_in_the_log(exported: Exported) -> None:
    assert not [line for line in exported.run.log if line["level"] in ("ERROR", "CRITICAL")]
    assert not [line for line in exported.run.log if "opentelemetry" in line["name"]]


FAULTS = ("down", "slow", "answers 500")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A call for each bad endpoint, on an agent server of its own."""
    with OtlpReceiver(delay_s=30) as slow, OtlpReceiver(status=500) as broken:
        down = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
        runs = asyncio.run(_calls(3, tmp_path_factory.mktemp("faulty"), down, slow.env, broken.env))
    return dict(zip(FAULTS, runs, strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_endpoint_is_told_once_and_disturbs_no_call(faulty: dict[str, Run], fault: str) -> None:
    run = faulty[fault]
    (session,) = run.sessions
    assert session["responses"] == len(run.responses) == 7
    assert all(counts["failed"] == 0 for counts in session["sinks"].values())
    assert len([line for line in run.log if SAID in line["message"]]) == 1
    assert run.took_s < 30


async def test_what_the_framework_records_after_the_last_record_is_exported_too(tmp_path: Path) -> None:
    user = next(iter(utterances()))
    scenario = Scenario(greeting=Reply(text="Hello!", audio_s=0.5), turns=(Turn(user=user, text="Yes.", audio_s=0.5),))
    with OtlpReceiver() as receiver:
        async with call(scenario, sinks="jsonl,otlp", env=receiver.env) as console:
            await converse(console)
            await console.hang_up()
            answer = console.records("response")[1]
    assert answer["time_to_first_audio_from"] == "user_speech_end"
    # the turn's latency is recorded when the session has ended
    assert receiver.count("lk.agents.turn.e2e_latency") == {"": 1}
    assert receiver.sum("lk.agents.turn.e2e_latency") == {"": pytest.approx(answer["framework_latency_s"])}


PROVIDER = """
import logging, os
logging.basicConfig(format="%(message)s")
logging.getLogger("livekit").setLevel(logging.INFO)
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from realtime_metrics.startup import checked_settings
from realtime_metrics.sinks.otlp import OtlpSink, _exporter
if "THEIRS" in os.environ:
    theirs = MeterProvider()
    metrics.set_meter_provider(theirs)
sink = OtlpSink(checked_settings({}, []))
if "THEIRS" in os.environ:
    assert metrics.get_meter_provider() is theirs
print(type(_exporter()).__module__)
"""


def _provider(**env: str) -> "subprocess.CompletedProcess[str]":
    environment = clean_environment({"METRICS_SINKS": "otlp", **env})
    return subprocess.run(
        [sys.executable, "-c", PROVIDER], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )


def test_beside_livekit_cloud_the_log_says_what_it_does_not_get() -> None:
    done = _provider(LIVEKIT_URL="wss://mine.livekit.cloud", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert "not to LiveKit Cloud, which gets traces and logs as before" in done.stderr
    assert ".grpc." in done.stdout


def test_a_meter_provider_of_the_person_s_is_left_as_it_is_and_the_log_says_so() -> None:
    done = _provider(THEIRS="1")
    assert "a MeterProvider is set already" in done.stderr
    assert ".http." in done.stdout


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_METRIC_EXPORT_INTERVAL": "0"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "zip"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://[bad"},
    ],
)
def test_a_variable_that_the_exporter_refuses_is_told_before_a_call_comes(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="otlp cannot export with the OTEL_… variables that are set: "):
        checked_settings({"METRICS_SINKS": "otlp"}, [])


def test_an_endpoint_without_a_scheme_is_told_before_a_call_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT='localhost:4318' is no address"):
        checked_settings({"METRICS_SINKS": "otlp"}, [])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert checked_settings({"METRICS_SINKS": "otlp"}, []).metrics_sinks == ("otlp",)


def test_a_protocol_that_is_none_is_told_before_a_call_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/xml")
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_PROTOCOL='http/xml' .* http/protobuf, grpc"):
        checked_settings({"METRICS_SINKS": "otlp"}, [])
