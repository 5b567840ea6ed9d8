"""However a call in a room ends, its records are whole, its bill is the ledger's, and `end_reason` is the truth."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from livekit import api

from demo.agent_process import AgentProcess
from demo.scenario import Reply, Scenario, Turn, Usage
from realtime_metrics.settings import read_settings
from testcall.caller import Call, Caller
from testcall.speech import utterances
from tests.proof.room.livekit_server import needs_livekit_server
from tests.proof.room.place import Place, ended, place, start_testcall
from tests.proof.wire.finished import ABOUT_THE_MACHINE

pytestmark = needs_livekit_server

LONG = Turn(user="rain", text="A long story. " * 20, audio_s=12.0, latency_s=0.2, usage=(Usage(when="early"),))
STORY = Scenario(greeting=Reply(text="Hello!", audio_s=0.6, latency_s=0.2), turns=(LONG,))


@asynccontextmanager
async def in_the_middle_of_an_answer(it: Place, number: int = 1) -> AsyncIterator[tuple[Call, asyncio.Task[Call]]]:
    """A call whose caller listens to the long answer, and hangs up in the end. `number` of the call at this place."""
    caller = Caller(number, it.livekit.livekit, read_settings({}).name, 8.0, lambda *_: None)
    calling = asyncio.create_task(caller.run(utterances(None)[:1]))
    try:
        await it.speaking(2 * number)
        await asyncio.sleep(1.5)
        yield caller.call, calling
    finally:
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)


async def test_the_room_is_deleted_and_the_caller_leaves_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    async with place(tmp_path, STORY) as it:
        async with in_the_middle_of_an_answer(it) as (deleted, _), it.livekit.livekit.api() as server:
            await server.room.delete_room(api.DeleteRoomRequest(room=deleted.room))
            session = await it.session(deleted.room)
        assert session["end_reason"] == "room_deleted"
        assert_whole(it, deleted)
        async with in_the_middle_of_an_answer(it, 2) as (left, _):
            pass
        session = await it.session(left.room)
        assert session["end_reason"] == "participant_disconnected"
        assert_whole(it, left)
        assert sorted(it.billed().values()) == sorted(each["total_tokens"] for each in it.records("session"))


async def test_the_livekit_server_is_killed_in_a_call_and_comes_back(tmp_path: Path) -> None:
    async with place(tmp_path, STORY) as it:
        async with in_the_middle_of_an_answer(it) as (lost, _):
            await it.livekit.kill()
            session = await it.session(lost.room, 60)
            assert session["end_reason"] == "server_lost"
            said = warnings_of_the_job(it.agents[0])
            assert [line for line in said if "realtime_metrics" in line["name"]] == said, "no flood, no traceback"
            assert len(said) == 2
            assert "is lost: trying to get it back" in said[0]["message"]
            assert "was lost, and this call with it" in said[1]["message"]
            # until it gives up, the agent believes that it speaks
            assert_whole(it, lost, interrupted=None)
            assert list(it.billed().values()) == [session["total_tokens"]]
            await it.livekit.start()
            await it.livekit.registered(2)
        async with in_the_middle_of_an_answer(it, 2) as (again, _):
            pass
        assert (await it.session(again.room))["end_reason"] == "participant_disconnected"


async def test_a_killed_process_loses_its_open_response_and_no_other_call(tmp_path: Path) -> None:
    async with place(tmp_path, STORY) as it, in_the_middle_of_an_answer(it) as (killed, _):
        (process,) = job_processes(it.agents[0], it)
        async with in_the_middle_of_an_answer(it, 2) as (other, _):
            process.kill()
            await asyncio.sleep(1.0)
        assert (await it.session(other.room))["end_reason"] == "participant_disconnected"
        assert_whole(it, other)
        assert [each["turn"] for each in it.records("response", killed.room)] == [1]
        assert it.records("session", killed.room) == []


async def test_sigterm_lets_a_call_end_by_itself_and_another_agent_server_takes_the_next(tmp_path: Path) -> None:
    async with place(tmp_path, STORY) as it:
        first = it.agents[0]
        async with in_the_middle_of_an_answer(it) as (drained, calling):
            second = await it.start_agent()
            first.send_signal(signal.SIGTERM)
            await asyncio.sleep(1.0)
            next_call = await start_testcall(it.livekit, "--turns", "1", "--json")
            await calling
            assert (drained.problem, drained.turns[0].unanswered) == (None, None)
            result = await ended(next_call)
            assert (result.code, result.figures["unanswered"]) == (0, 0), result.stderr
        assert await first.wait(30) == 0
        assert second.returncode is None
        sessions = [await it.session(room) for room in (drained.room, result.figures["calls"][0]["room"])]
        assert [each["end_reason"] for each in sessions] == ["participant_disconnected"] * 2
        assert [each["responses"] for each in sessions] == [2, 2]
        assert sorted(it.billed().values()) == sorted(each["total_tokens"] for each in sessions)


def warnings_of_the_job(agent: AgentProcess) -> list[dict[str, Any]]:
    """What a person reads of the calls of an agent server; not what it says of this machine being busy."""
    lines = [json.loads(line) for line in agent.stdout.decode().splitlines() if line.startswith("{")]
    busy = (*ABOUT_THE_MACHINE, "event loop blocked", "speech not done in time")
    return [
        line
        for line in lines
        if "job_id" in line
        and line["level"] in ("WARNING", "ERROR", "CRITICAL")
        and not any(words in line["message"] for words in busy)
    ]


def assert_whole(it: Place, call: Call, *, interrupted: bool | None = True) -> None:
    """Greeting and answer have their records, and the session's sums are theirs."""
    (greeting, answer), (session,) = it.records("response", call.room), it.records("session", call.room)
    assert (greeting["turn"], greeting["interrupted"], answer["turn"]) == (1, False, 2)
    if interrupted is not None:
        assert (answer["interrupted"], answer["heard_s"] < LONG.audio_s) == (interrupted, True)
    assert session["total_tokens"] == greeting["total_tokens"] + answer["total_tokens"]
    assert (session["unbooked_total_tokens"], session["unanswered"]) == (0, 0)


def job_processes(agent: AgentProcess, it: Place) -> list[psutil.Process]:
    """Those that have a call: the provider knows them by their ids."""
    busy = {int(mark.client.rsplit("-")[-1]) for mark in it.gemini.seen.marks if mark.client[-1].isdigit()}
    return [child for child in psutil.Process(agent.pid).children(recursive=True) if child.pid in busy]
