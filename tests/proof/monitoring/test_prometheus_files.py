"""The files of ended job processes are summed up; the framework and prometheus-client work as assumed."""

# mypy: disable-error-code="no-untyped-call"
# prometheus-client is typed in part

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from demo.agent_process import PROJECT, clean_environment
from realtime_metrics.settings import SettingsError
from realtime_metrics.sinks.prometheus_files import compact
from realtime_metrics.startup import checked_settings, server_options
from tests.proof.monitoring.fleet import fleet
from tests.proof.monitoring.prometheus_server import free_port


@pytest.fixture(scope="module")
def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _write(file: Path, **values: float) -> None:
    kept = MmapedDict(str(file))
    for name, value in values.items():
        kept.write_value(mmap_key(name, f"{name}_total", ["agent"], ["a"], "about"), value, 0.0)
    kept.close()


def _shown(directory: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    collector = MultiProcessCollector(registry, str(directory))
    return {sample.name: sample.value for metric in collector.collect() for sample in metric.samples}


def test_ended_processes_are_summed_up_and_nothing_is_lost(tmp_path: Path, ended_pid: int) -> None:
    _write(tmp_path / f"counter_{os.getpid()}.db", tokens=5)
    _write(tmp_path / f"counter_{ended_pid}.db", tokens=37, calls=1)
    compact(tmp_path)
    _write(tmp_path / f"counter_{ended_pid}.db", tokens=100, calls=1)
    before = _shown(tmp_path)
    compact(tmp_path)
    assert _shown(tmp_path) == before == {"tokens_total": 142, "calls_total": 2}
    assert {file.name for file in tmp_path.iterdir()} == {f"counter_{os.getpid()}.db", "counter_ended.db"}


def test_gauges_of_ended_processes_go_and_those_of_living_ones_stay(tmp_path: Path, ended_pid: int) -> None:
    for pid in (os.getpid(), ended_pid):
        _write(tmp_path / f"gauge_livesum_{pid}.db", calls=1)
    compact(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [f"gauge_livesum_{os.getpid()}.db"]


def test_a_file_that_a_killed_process_left_empty_does_no_harm(tmp_path: Path, ended_pid: int) -> None:
    (tmp_path / f"counter_{ended_pid}.db").touch()
    compact(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_scrape_does_not_slow_down_with_every_call(tmp_path: Path, ended_pid: int) -> None:
    def scrape_s(calls: int) -> float:
        for _ in range(calls):
            _write(tmp_path / f"histogram_{ended_pid}.db", **{f"metric_{number}": 1.0 for number in range(50)})
            compact(tmp_path)
        started_at = time.perf_counter()
        for _ in range(20):
            _shown(tmp_path)
        return time.perf_counter() - started_at

    first_s = scrape_s(1)
    assert scrape_s(50) < 3 * first_s
    assert len(list(tmp_path.iterdir())) == 1


CONTRACT = """
import asyncio, json, os, sys
import prometheus_client  # as `python -m livekit.agents` does, before agent.py is there
from prometheus_client import values
import livekit.agents
from realtime_metrics.startup import checked_settings, server_options
settings = checked_settings(os.environ, [])
options = server_options(settings)
from livekit.agents import telemetry
from livekit.agents.telemetry import http_server
telemetry.metrics.job_started()
directory = options["prometheus_multiproc_dir"]
child = os.path.join(directory, "counter_4194304.db")  # no process has this id: above Linux's greatest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
kept = MmapedDict(child); kept.write_value(mmap_key("x", "x_total", [], [], "about"), 3.0, 0.0); kept.close()
page = asyncio.run(http_server.metrics(None)).body.decode()
livekit.agents.AgentServer(**options)
print(json.dumps({"multiprocess": values.ValueClass._multiprocess, "directory": directory,
    "files": os.listdir(directory), "page": page}))
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes saw that were set up as agent servers, with one directory given to both."""
    given = str(tmp_path_factory.mktemp("given"))
    settings = {"METRICS_SINKS": "prometheus", "METRICS_PROMETHEUS_PORT": "0"}
    environments = [clean_environment(settings), clean_environment(settings | {"PROMETHEUS_MULTIPROC_DIR": given})]
    processes = [
        subprocess.Popen([sys.executable, "-c", CONTRACT], cwd=PROJECT, env=env, stdout=subprocess.PIPE, text=True)
        for env in environments
    ]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]


def test_the_framework_s_metrics_go_to_the_files_and_its_page_sums_up_ended_processes(
    servers: list[dict[str, Any]],
) -> None:
    for seen in servers:
        assert seen["multiprocess"]
        assert "lk_agents_active_job_count" in seen["page"]
        assert "x_total 3.0" in seen["page"]
        assert "counter_ended.db" in seen["files"]
        assert "counter_4194304.db" not in seen["files"]


def test_each_server_has_a_directory_of_its_own_which_goes_with_it(servers: list[dict[str, Any]]) -> None:
    first, second = (Path(seen["directory"]) for seen in servers)
    assert first.parent == Path(tempfile.gettempdir())
    assert second.parent.name.startswith("given")
    assert not first.exists()
    assert not second.exists()


@pytest.mark.parametrize(
    ("env", "host"),
    [
        ({"METRICS_SINKS": "prometheus"}, "127.0.0.1"),
        ({"METRICS_SINKS": "prometheus", "AGENT_HOST": "0.0.0.0"}, "0.0.0.0"),
        ({"METRICS_SINKS": "console"}, None),
    ],
)
def test_only_this_machine_can_read_the_figures_unless_a_setting_opens_them(
    env: dict[str, str], host: str | None
) -> None:
    settings = checked_settings(env | {"METRICS_PROMETHEUS_PORT": "0"}, [])
    assert settings.server_host == host


def test_a_port_that_is_taken_is_told_before_a_call_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SettingsError, match=f"METRICS_PROMETHEUS_PORT={port}: .* name a free port"):
            checked_settings({"METRICS_SINKS": "prometheus", "METRICS_PROMETHEUS_PORT": port}, [])


async def test_the_figures_of_jobs_are_shown_where_the_agent_is_run_as_a_script(tmp_path: Path) -> None:
    port = str(free_port())
    env = {"METRICS_SINKS": "jsonl,prometheus", "METRICS_PROMETHEUS_PORT": port}
    async with fleet(tmp_path, env, replies=1, command=["-m", "tests.proof.monitoring.busy_agent", "start"]) as servers:
        await servers.calls(1)
        with await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics") as response:
            page = response.read().decode()
        assert len(servers.records("response")) == 2
    assert re.search(r"^realtime_responses_total\{.*} 2\.0$", page, re.MULTILINE)
    assert re.search(r"^lk_agents_worker_load\{", page, re.MULTILINE)
