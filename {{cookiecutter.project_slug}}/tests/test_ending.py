"""A session that fails ends its job, and the console's program."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext
from livekit.agents.cli import AgentsConsole
from livekit.agents.testing import fake_job_context

from realtime_metrics.ending import end_job_on_failure
from realtime_metrics.pipeline import Pipeline
from realtime_metrics.recorder import Recorder
from realtime_metrics.settings import Settings


@contextmanager
def job() -> Iterator[tuple[JobContext, AgentSession[None], list[str]]]:
    """A job with a session, and the reasons of its shutdowns."""
    shutdowns: list[str] = []
    with fake_job_context() as context:
        context._on_shutdown = shutdowns.append
        session: AgentSession[None] = AgentSession(vad=None)
        recorder = Recorder(Pipeline({}), Settings(), session_id="AJ_1", room="kitchen")
        end_job_on_failure(context, session, recorder)
        yield context, session, shutdowns


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
    with job() as (context, session, shutdowns):
        session.emit("close", CloseEvent(error=None, reason=CloseReason.ERROR))
        assert shutdowns == ["the session failed"]
        await run_shutdown_callbacks(context)
    assert not interrupts, "a server goes on with its other jobs"


@pytest.mark.parametrize("reason", [reason for reason in CloseReason if reason is not CloseReason.ERROR])
async def test_a_session_that_ends_otherwise_leaves_its_job_to_the_framework(reason: CloseReason) -> None:
    with job() as (context, session, shutdowns):
        session.emit("close", CloseEvent(error=None, reason=reason))
        assert not shutdowns
        assert not context._shutdown_callbacks


async def test_in_the_console_a_session_that_fails_ends_the_program_as_ctrl_c_does(
    monkeypatch: pytest.MonkeyPatch, interrupts: list[int]
) -> None:
    monkeypatch.setattr(AgentsConsole.get_instance(), "enabled", True)
    with job() as (context, session, _):
        session.emit("close", CloseEvent(error=None, reason=CloseReason.ERROR))
        assert not interrupts, "first the job's end is recorded"
        await run_shutdown_callbacks(context)
    assert interrupts == [signal.SIGINT]
