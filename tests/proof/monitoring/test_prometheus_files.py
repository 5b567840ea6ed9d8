"""The files of ended job processes are summed up; the framework and prometheus-client work as assumed."""

# mypy: disable-error-code="no-untyped-call"
# prometheus-client is typed in part

import asyncio
import errno
import json
import math
import os
import re
import signal
import socket
import struct
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
from realtime_metrics.sinks import prometheus_files
from realtime_metrics.sinks.prometheus_files import VARIABLE, CompactingCollector, compact
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
    compact(tmp_path)
    assert _shown(tmp_path) == before == {"tokens_total": 142, "calls_total": 2}
    assert {file.name for file in tmp_path.iterdir()} == {f"counter_{os.getpid()}.db", "counter_ended.db"}


def test_gauges_of_ended_processes_go_and_those_of_living_ones_stay(tmp_path: Path, ended_pid: int) -> None:
    for pid in (os.getpid(), ended_pid):
        _write(tmp_path / f"gauge_livesum_{pid}.db", calls=1)
    compact(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [f"gauge_livesum_{os.getpid()}.db"]


def _scraped(directory: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    monkeypatch.setenv(VARIABLE, str(directory))
    collector = CompactingCollector(CollectorRegistry(), str(directory))
    return {sample.name: sample.value for metric in collector.collect() for sample in metric.samples}


BROKEN = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[:150],
    "no key": lambda data: data.replace(b"[", b"5"),
    "a length that is none": lambda data: data[:8] + b"\xff\xff\xff\x7f" + data[12:],
    "an infinity": lambda data: data.replace(struct.pack("d", 37.0), struct.pack("d", math.inf)),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("ended", [True, False], ids=["of an ended process", "of a living one"])
def test_a_broken_file_costs_no_scrape_and_no_good_value_counts_twice(
    tmp_path: Path, ended_pid: int, monkeypatch: pytest.MonkeyPatch, how: str, ended: bool
) -> None:
    broken = tmp_path / f"counter_{ended_pid if ended else os.getpid()}.db"
    _write(broken, calls=1, tokens=37)
    broken.write_bytes(BROKEN[how](broken.read_bytes()))
    _write(tmp_path / f"counter_{os.getppid()}.db", calls=1, tokens=5)
    shown = [_scraped(tmp_path, monkeypatch) for _ in range(3)]
    assert shown[0] == shown[1] == shown[2]
    assert shown[0]["tokens_total"] == 5
    assert broken.exists() is not ended


def test_a_full_disk_costs_the_sums_of_ended_processes_nothing(
    tmp_path: Path, ended_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _write(tmp_path / f"counter_{ended_pid}.db", tokens=37)
    monkeypatch.setattr(prometheus_files, "_reserve", full)
    assert [_scraped(tmp_path, monkeypatch) for _ in range(2)] == [{"tokens_total": 37}] * 2
    monkeypatch.undo()
    assert [_scraped(tmp_path, monkeypatch) for _ in range(2)] == [{"tokens_total": 37}] * 2
    assert [file.name for file in tmp_path.glob("*.db")] == ["counter_ended.db"]


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


FULL_DISK = """
import asyncio, json, logging, os, sys
from pathlib import Path
logging.basicConfig(format="%(message)s")
from realtime_metrics.settings import Settings
from realtime_metrics.sinks import make_sinks
from realtime_metrics.startup import server_options
from realtime_metrics.writer import Writer
from tests.fakes.samples import connection_record, response_record, session_record
settings = Settings(metrics_sinks=("prometheus", "jsonl"), metrics_jsonl_path=sys.argv[2])
directory = Path(server_options(settings)["prometheus_multiproc_dir"])
full = sys.argv[1]
if full == "at first":
    (directory / "rest").write_bytes(bytes(2**18))
writer = Writer(make_sinks(settings))
writer.write(connection_record())
if full == "later":
    while not list(directory.glob("*.db")):
        pass
    try:
        (directory / "rest").write_bytes(bytes(2**20))
    except OSError:
        pass
for number in range(300):
    # many series, which need more room than a file has at first
    writer.write(response_record(model=f"model-{number}-" + 100 * "x"))
writer.close(session_record())
asyncio.run(writer.drained(20))
from livekit.agents import telemetry
telemetry.metrics.job_started()  # the framework's own values are in such files too
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing can be reserved")
@pytest.mark.parametrize("full", ["at first", "later"])
def test_a_full_disk_ends_no_process_and_the_loss_is_counted_and_said_once(tmp_path: Path, full: str) -> None:
    in_a_small_disk = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run([*in_a_small_disk, f"mount -t tmpfs tmpfs {disk}"], capture_output=True).returncode:
        pytest.skip("needs to mount a small disk")
    jsonl = tmp_path / "metrics.jsonl"
    done = subprocess.run(
        [
            *(*in_a_small_disk, 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"', str(disk)),
            *(sys.executable, "-c", FULL_DISK, full, str(jsonl)),
        ],
        cwd=PROJECT,
        env=clean_environment({VARIABLE: str(disk)}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != -signal.SIGBUS
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("No space left on device") == 1
    session = json.loads(jsonl.read_text("utf-8").splitlines()[-1])
    assert session["sinks"]["jsonl"] == {"written": 301, "failed": 0, "dropped": 0}
    counts = session["sinks"]["prometheus"]
    assert counts["failed"] + counts["written"] == 301
    assert counts["failed"] == 301 if full == "at first" else counts["failed"] > 100


KILLED = """
import os, signal, sys
from realtime_metrics.sinks.prometheus_files import shared_directory
print(shared_directory(), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files that are in use cannot be removed there anyway")
def test_the_directories_of_killed_servers_are_swept_at_a_start_and_those_of_living_ones_are_not(
    tmp_path: Path,
) -> None:
    def start(how: str) -> tuple["subprocess.Popen[str]", Path]:
        server = subprocess.Popen(
            [sys.executable, "-c", KILLED, how],
            cwd=PROJECT,
            env=clean_environment({VARIABLE: str(tmp_path)}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        return server, Path(server.stdout.readline().strip())

    killed, left = start("killed")
    killed.wait()
    alive, kept = start("alive")
    assert left.is_dir()
    for directory in (left, kept):  # one that has just been made may not be locked yet
        os.utime(directory, (0, 0))
    somebody_elses = tmp_path / "something"
    somebody_elses.mkdir()
    again, own = start("alive")
    assert sorted(tmp_path.iterdir()) == sorted([kept, own, somebody_elses])
    for server in (alive, again):
        server.communicate("")


def test_a_directory_that_is_not_there_is_told_before_a_call_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(SettingsError, match=f"{VARIABLE}='.*nowhere' is no folder .* make it, or unset"):
        checked_settings({"METRICS_SINKS": "prometheus", "METRICS_PROMETHEUS_PORT": "0"}, [])


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
    env: dict[str, str], host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus_files, "shared_directory", lambda: None)  # it would hold for all tests
    settings = checked_settings(env | {"METRICS_PROMETHEUS_PORT": "0"}, [])
    assert server_options(settings, ["agent.py", "start"]).get("host") == host


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
