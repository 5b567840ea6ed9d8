"""A call, watched: one that fails ends its job, and the console's program; and why it ended is told truly."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext
from livekit.agents.cli import AgentsConsole
from livekit.agents.testing import fake_job_context

from realtime_metrics.recorder import Recorder
from realtime_metrics.settings import Settings
from realtime_metrics.watch import _hang_up, customer_of, end_of, watch
from tests.fakes.realtime import FakeRealtimeModel, Usage, metrics


@contextmanager
def job(path: Path | None = None) -> Iterator[tuple[JobContext, AgentSession[None], Recorder, list[str]]]:
    """A job with a watched session, and the reasons of its shutdowns."""
    shutdowns: list[str] = []
    with fake_job_context() as context:
        context._on_shutdown = shutdowns.append
        session: AgentSession[None] = AgentSession(vad=None)
        settings = Settings(metrics_sinks=("jsonl",), metrics_jsonl_path=path) if path else Settings(metrics_sinks=())
        yield context, session, watch(context, session, settings), shutdowns


async def run_shutdown_callbacks(context: JobContext) -> None:
    for callback in context._shutdown_callbacks:
        await callback("")


@pytest.fixture
def interrupts() -> Iterator[list[int]]:
    """The Ctrl-Cs that this process gets."""
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: caught.append(number))
    yield caught
    signal.signal(signal.SIGINT, before)


async def test_a_session_that_fails_shuts_its_job_down(interrupts: list[int]) -> None:
    with job() as (context, session, _, shutdowns):
        session.emit("close", CloseEvent(error=None, reason=CloseReason.ERROR))
        assert shutdowns == ["error"]
        await run_shutdown_callbacks(context)
    assert not interrupts, "a server goes on with its other jobs"


@pytest.mark.parametrize("reason", [reason for reason in CloseReason if reason is not CloseReason.ERROR])
async def test_a_session_that_ends_otherwise_leaves_its_job_to_the_framework(reason: CloseReason) -> None:
    with job() as (_, session, _, shutdowns):
        session.emit("close", CloseEvent(error=None, reason=reason))
        assert not shutdowns


async def test_in_the_console_a_session_that_fails_ends_the_program_as_ctrl_c_does(
    monkeypatch: pytest.MonkeyPatch, interrupts: list[int]
) -> None:
    monkeypatch.setattr(AgentsConsole.get_instance(), "enabled", True)
    with job() as (context, session, _, _):
        session.emit("close", CloseEvent(error=None, reason=CloseReason.ERROR))
        assert not interrupts, "first the job's end is recorded"
        await run_shutdown_callbacks(context)
    assert interrupts == [signal.SIGINT]


@pytest.mark.parametrize("console", [True, False])
async def test_a_call_that_costs_too_much_ends_for_the_caller_too(
    console: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[str] = []
    with job() as (context, _, recorder, shutdowns):
        monkeypatch.setattr(context, "is_fake_job", lambda: console)
        monkeypatch.setattr(context, "delete_room", lambda: deleted.append("room"))
        _hang_up(context, recorder)
    assert shutdowns == ["cost_limit"]
    assert deleted == ([] if console else ["room"]), "in the console there is none"


async def test_when_the_job_ends_the_sessions_record_is_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with job(path) as (context, _, _, _):
        await run_shutdown_callbacks(context)
    assert '"kind": "session"' in path.read_text("utf-8")


async def test_what_is_used_between_the_calls_hanging_up_and_its_end_is_in_its_bill(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with job(path) as (context, _, recorder, _):
        model = FakeRealtimeModel().session()
        recorder.watch_model(model)
        model.on("metrics_collected", recorder.add)
        model.emit("metrics_collected", metrics("GR_1", Usage(input_audio=100), timestamp=time.time()))
        _hang_up(context, recorder)
        model.emit("metrics_collected", metrics("GR_2", Usage(input_audio=200), timestamp=time.time()))
        await run_shutdown_callbacks(context)
    first, second, session = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert session["end_reason"] == "cost_limit"
    assert session["responses"] == 2
    assert session["input_audio_tokens"] == first["input_audio_tokens"] + second["input_audio_tokens"] == 300


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        (rtc.DisconnectReason.ROOM_DELETED, "room_deleted"),
        (rtc.DisconnectReason.SIGNAL_CLOSE, "server_lost"),
        (rtc.DisconnectReason.CLIENT_INITIATED, None),
        (None, None),
    ],
)
def test_why_the_room_was_left_says_why_the_call_ended(reason: int | None, end: str | None) -> None:
    assert end_of(reason) == end


@pytest.mark.parametrize(
    ("metadata", "customer"),
    [
        ('{"customer": "acme"}', "acme"),
        ('{"customer": 7}', None),
        ('{"tenant": "acme"}', None),
        ('["acme"]', None),
        ("acme", None),
        ("[" * 3000, None),
        ("", None),
    ],
)
def test_the_customer_is_that_of_the_jobs_metadata(metadata: str, customer: str | None) -> None:
    assert customer_of(metadata) == customer
