"""What jobs send to their server is counted there, whatever becomes of them; nobody else can send; no call waits."""

import asyncio
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import AuthenticationError, current_process
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from livekit.agents.telemetry.http_server import HttpServer
from prometheus_client import REGISTRY, generate_latest

from demo.agent_process import PROJECT, clean_environment
from realtime_metrics.records import AnyRecord
from realtime_metrics.settings import Settings, SettingsError
from realtime_metrics.sinks.base import Sink
from realtime_metrics.sinks.monitoring import ORIGIN
from realtime_metrics.sinks.prometheus import ADDRESS, PrometheusSink, listen_to_jobs
from realtime_metrics.startup import checked_settings, server_options
from realtime_metrics.writer import Writer
from tests.fakes.call import made, until
from tests.fakes.samples import connection_record, response_record, session_record
from tests.proof.monitoring.fleet import fleet
from tests.proof.monitoring.prometheus_server import free_port, scraped

WINDOWS = sys.platform == "win32"


@pytest.fixture
def server() -> None:
    """This process counts what jobs send, as an agent server does."""
    listen_to_jobs()


def counted(agent_name: str) -> float:
    """Responses, as a scrape would show them."""
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "realtime_responses_total" and sample.labels["agent"] == agent_name
    )


def sent(agent_name: str, responses: int, end: str = "") -> None:
    """A job: it writes, and ends in this way."""
    sink = PrometheusSink(Settings())
    sink.write(connection_record(agent_name=agent_name))
    for _ in range(responses):
        sink.write(response_record(agent_name=agent_name))
    if end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    sink.close()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("method", sorted({"forkserver", "spawn"} & {*multiprocessing.get_all_start_methods()}))
@pytest.mark.parametrize("end", ["by itself", pytest.param("killed", marks=pytest.mark.skipif(WINDOWS, reason="-"))])
async def test_a_job_that_ends_or_is_killed_loses_nothing_that_it_has_sent(method: str, end: str) -> None:
    job = multiprocessing.get_context(method).Process(target=sent, args=(f"{method} {end}", 1000, end))  # type: ignore[attr-defined]
    job.start()
    await asyncio.to_thread(job.join)
    assert job.exitcode == (-signal.SIGKILL if end == "killed" else 0)
    await until(lambda: counted(f"{method} {end}") == 1000)


@pytest.mark.usefixtures("server")
async def test_a_scrape_costs_the_same_however_many_jobs_have_ended() -> None:
    async def after(jobs: int) -> tuple[int, int]:
        """Lines of the page, and threads."""
        before = counted("many")
        for _ in range(jobs):
            sent("many", 1)
        await until(lambda: counted("many") == before + jobs)
        await until(lambda: all(thread.name != "metrics-job" for thread in threading.enumerate()))
        return generate_latest().count(b"\n"), threading.active_count()

    assert await after(1) == await after(200)


@pytest.fixture
def stranger(server: None) -> Iterator[Connection]:
    connection = Client(os.environ[ADDRESS])
    yield connection
    connection.close()


MESSAGE = b'[["realtime_responses", 1, ["stranger", "provider", "model"]]]'


@pytest.mark.parametrize(
    "says",
    [[], [MESSAGE] * 3, [b"#WELCOME#", b"#WELCOME#", MESSAGE], [bytes(1_000_000)]],
    ids=["nothing", "a message", "that it is welcome", "too much"],
)
async def test_a_stranger_gets_nowhere_and_jobs_are_counted_meanwhile(stranger: Connection, says: list[bytes]) -> None:
    with suppress(OSError):  # it is not heard to its end
        for word in says:
            stranger.send_bytes(word)
    before = counted("known")
    threading.Thread(target=sent, args=("known", 1), daemon=True).start()  # would wait for good if it were not heard
    await until(lambda: counted("known") == before + 1)
    assert counted("stranger") == 0


@pytest.mark.usefixtures("server")
def test_a_wrong_key_is_refused_and_without_a_key_only_the_owner_of_the_server_comes_near() -> None:
    with pytest.raises(AuthenticationError):
        Client(os.environ[ADDRESS], authkey=b"guessed")
    if not WINDOWS:
        assert Path(os.environ[ADDRESS]).parent.stat().st_mode & 0o077 == 0


BROKEN = {
    "no JSON": b"\xff",
    "no list": b"5",
    "nested without an end": b"[" * 100_000,
    "no figure": b'[["lk_agents_worker_load", 1, ["broken", "provider", "model"]]]',
    "too many labels": b'[["realtime_responses", 1, ["broken", "provider", "model", "room"]]]',
    "not a number": b'[["realtime_responses", NaN, ["broken", "provider", "model"]]]',
    "endless": b'[["realtime_responses", Infinity, ["broken", "provider", "model"]]]',
    "less than nothing": b'[["realtime_responses", -1, ["broken", "provider", "model"]]]',
    "words": b'[["realtime_responses", "1", ["broken", "provider", "model"]]]',
}


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("message", BROKEN.values(), ids=BROKEN)
async def test_a_broken_message_is_not_counted_and_the_next_one_is(message: bytes) -> None:
    before = counted("whole")
    with Client(os.environ[ADDRESS], authkey=current_process().authkey) as job:
        job.send_bytes(message)
        job.send_bytes(MESSAGE.replace(b"stranger", b"whole"))
        await until(lambda: counted("whole") == before + 1)
    assert counted("broken") == 0


@pytest.mark.usefixtures("server")
async def test_labels_that_no_page_can_show_cost_no_scrape() -> None:
    sink = PrometheusSink(Settings())
    sink.write(response_record(agent_name="half of a pair: \ud83d"))
    await until(lambda: counted("half of a pair: ?") == 1)
    generate_latest()


@pytest.mark.usefixtures("server")
async def test_what_may_come_is_shown_as_0_from_the_first_connection_on() -> None:
    """Prometheus sees an increase only of what was there before."""
    of = dict(zip(ORIGIN, ("new", "Gemini", "new"), strict=True))

    def shown(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(name, of | labels)

    PrometheusSink(Settings()).write(connection_record(agent_name="new", provider="Gemini", model="new"))
    await until(lambda: shown("realtime_connection_seconds_count") == 1)
    assert shown("realtime_responses_total") == 0
    assert shown("realtime_unanswered_turns_total", reason="no_response") == 0
    assert shown("realtime_time_to_first_audio_seconds_count", since="user_speech_end") == 0


class Kept(Sink):
    """A sink."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []

    def write(self, record: AnyRecord) -> None:
        self.records.append(record)


async def test_a_server_that_is_gone_costs_a_call_nothing_and_is_counted_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(authkey=current_process().authkey)
    monkeypatch.setenv(ADDRESS, str(listener.address))
    kept = Kept()
    writer = Writer(made({"prometheus": PrometheusSink(Settings()), "kept": kept}))
    writer.write(connection_record())
    with await asyncio.to_thread(listener.accept) as job:
        assert b"realtime_connection_seconds" in await asyncio.to_thread(job.recv_bytes)
    listener.close()
    began = time.monotonic()
    for _ in range(500):
        writer.write(response_record())
    assert time.monotonic() - began < 0.5
    writer.close(session_record())
    await writer.drained()
    session: Any = kept.records[-1]
    assert len(kept.records) == 502
    assert session.sinks["prometheus"] == {"written": 1, "failed": 500, "dropped": 0}
    assert session.sinks["kept"] == {"written": 501, "failed": 0, "dropped": 0}
    assert caplog.text.count("metrics sink prometheus fails: BrokenPipeError") == 1


KILLED = """
import multiprocessing.forkserver, os, signal, sys
from realtime_metrics.settings import Settings
from realtime_metrics.startup import server_options
server_options(Settings(metrics_sinks=(sys.argv[1],)))
multiprocessing.forkserver.ensure_running()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(WINDOWS, reason="there, a pipe has no file")
def test_a_server_that_is_killed_leaves_the_folder_that_any_server_leaves_and_no_more() -> None:
    def left(sink: str) -> list[str]:
        temporary = Path(tempfile.mkdtemp())  # short: the path of a socket has a limit
        env = clean_environment({"TMPDIR": str(temporary)})
        subprocess.run([sys.executable, "-c", KILLED, sink], cwd=PROJECT, env=env)
        names = [path.name.split("-")[0] for path in temporary.iterdir()]
        shutil.rmtree(temporary)
        return names

    assert left("prometheus") == left("log") == ["pymp"]


@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_a_variable_that_would_hide_the_figures_is_told_before_a_call_comes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(SettingsError, match=f"{name}='.*' hides the figures from /metrics: unset it"):
        checked_settings({"METRICS_SINKS": "prometheus", "METRICS_PROMETHEUS_PORT": "0"}, [])


@pytest.mark.skipif(WINDOWS, reason="there, a pipe has no file")
def test_a_temporary_folder_where_jobs_cannot_be_listened_to_is_told_before_a_call_comes(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    env = {"TMPDIR": str(folder), "METRICS_SINKS": "prometheus", "METRICS_PROMETHEUS_PORT": "0"}
    command = [sys.executable, "-c", "from realtime_metrics.startup import load_settings; load_settings()"]
    done = subprocess.run(command, cwd=PROJECT, env=clean_environment(env), capture_output=True, text=True)
    if done.returncode == 0:
        pytest.skip("this Python finds another folder")
    assert re.fullmatch(
        r"TMPDIR='.*': jobs cannot be listened to there \(.*\): name another, short folder\n", done.stderr
    )


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
    assert server_options(settings, ["agent.py", "start"]).get("host") == host


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "::", "localhost", "[::1]", "203.0.113.9", "nowhere.invalid", "a" * 70, "a..b", "127.0.0.1\0"],
)
async def test_a_host_is_taken_where_the_framework_serves_it_and_else_refused_in_one_line(host: str) -> None:
    server = HttpServer(host, 0)
    try:
        await server.start()
        serves = True
    except (OSError, ValueError):
        serves = False
    finally:
        await server.aclose()
    try:
        checked_settings(
            {"GOOGLE_API_KEY": "nobody-asks", "AGENT_HOST": host}, ["agent.py", "console", "--connect-addr"]
        )
        told = []
    except SettingsError as error:
        told = error.problems
    assert len(told) == (0 if serves else 1)
    assert all("AGENT_HOST" in line and "\n" not in line for line in told)


async def _page(port: int) -> str:
    with await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics") as response:
        page: str = response.read().decode()
    return page


async def _shows(port: int, responses: int) -> None:
    """Returns when the page of a server shows so many responses, and shows no more a moment later."""

    async def shown() -> float:
        return (await asyncio.to_thread(scraped, port))["realtime_responses_total"]

    for _ in range(100):
        if await shown() >= responses:
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.3)
    assert await shown() == responses


async def test_each_server_has_a_page_of_its_own_jobs_where_the_agent_is_run_as_a_script(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    temporary = tempfile.mkdtemp()  # short: the path of a socket has a limit
    shared = {"METRICS_SINKS": "jsonl,prometheus", "TMPDIR": temporary}
    envs = [shared | {"METRICS_PROMETHEUS_PORT": str(port)} for port in ports]
    command = ["-m", "tests.proof.monitoring.busy_agent", "start"]
    async with fleet(tmp_path, *envs, replies=1, command=command) as servers:
        await servers.calls(3)  # two of them at the first
        await _shows(ports[0], 4)
        await _shows(ports[1], 2)
        assert len(servers.records("response")) == 6
        page = await _page(ports[0])
    assert not [name for name in os.listdir(temporary) if name.startswith("pymp-")]
    shutil.rmtree(temporary)
    assert re.search(r"^lk_agents_worker_load\{", page, re.MULTILINE)
    assert re.search(r"^lk_agents_active_job_count\{", page, re.MULTILINE)
    assert re.search(r"^lk_agents_proc_initialize_duration_seconds_count\{", page, re.MULTILINE)


@pytest.mark.skipif(WINDOWS, reason="there, jobs are threads")
async def test_a_call_whose_process_is_killed_stays_on_the_page_with_what_it_had_reported(tmp_path: Path) -> None:
    port = free_port()
    env = {"METRICS_SINKS": "jsonl,prometheus", "METRICS_PROMETHEUS_PORT": str(port)}
    async with fleet(tmp_path, env, replies=30) as servers:
        job = await servers.livekit.assign_job("kitchen")
        await until(lambda: len(servers.records("response")) >= 3, 40)
        await asyncio.sleep(0.1)  # less than until the next one
        reported = len(servers.records("response"))
        for process in psutil.Process(servers.agents[0].pid).children(recursive=True):
            if process.ppid() != servers.agents[0].pid:  # those of jobs are the fork server's
                process.kill()
        await job.ended()
        await _shows(port, reported)
        assert servers.records("session") == []
