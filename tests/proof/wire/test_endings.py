"""However a call ends, what had arrived is in the JSONL file, and the session record is its last line."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from demo.call import Call, call
from demo.scenario import Fault, Reply, Scenario, Turn, Usage

GREETING = Reply(text="Hello! I am talking for a while now.", audio_s=6.0, latency_s=0.1, usage=(Usage(when="early"),))
TALKING = Scenario(greeting=GREETING)

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the signal does not exist there")


async def in_the_middle_of_the_greeting(playing: Call) -> None:
    await playing.host.wait_for(lambda: bool(playing.host.heard), 20)
    await playing.server.seen.until(lambda: bool(playing.server.ledger.entries), 5)
    await asyncio.sleep(0.5)


def assert_nothing_is_lost(playing: Call) -> None:
    lines = playing.jsonl.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    (response,) = [record for record in records if record["kind"] == "response"]
    assert response["total_tokens"] == playing.server.ledger.entries[0].payload["totalTokenCount"]
    assert response["interrupted"]
    assert records[-1]["kind"] == "session"
    assert records[-1]["total_tokens"] == response["total_tokens"]


async def test_ctrl_c_in_the_middle_of_a_reply() -> None:
    async with call(TALKING) as playing:
        await in_the_middle_of_the_greeting(playing)
        assert await playing.hang_up() == 0
        assert_nothing_is_lost(playing)


@posix_only
async def test_sigterm_in_the_middle_of_a_reply() -> None:
    async with call(TALKING) as playing:
        await in_the_middle_of_the_greeting(playing)
        playing.agent.send_signal(signal.SIGTERM)
        await playing.agent.wait(10)
        assert_nothing_is_lost(playing)


@posix_only
async def test_after_sigkill_every_complete_line_parses_and_only_the_open_response_is_missing() -> None:
    quick = Turn(text="Yes.", audio_s=0.3, latency_s=0.05)
    turns = (*[quick] * 3, Turn(**{**dict(GREETING), "latency_s": 0.05}))
    async with call(Scenario(greeting=Reply(text="Hi.", audio_s=0.3), turns=turns)) as playing:
        await playing.wait_for_records("response", 4, 20)
        await playing.host.wait_for(lambda: len(playing.host.heard) == 5, 10)
        playing.agent.kill()
        await playing.agent.wait(10)
        text = playing.jsonl.read_text(encoding="utf-8")
        records = [json.loads(line) for line in text.split("\n")[:-1]]
        assert [record["turn"] for record in records if record["kind"] == "response"] == [1, 2, 3, 4]


async def test_the_provider_closes_its_link_in_the_middle_of_a_reply() -> None:
    closing = GREETING.model_copy(update={"fault": Fault(kind="close", code=1011, after_audio_s=3.0)})
    async with call(Scenario(greeting=closing)) as playing:
        (response,) = await playing.wait_for_records("response", 1, 20)
        assert response["total_tokens"] == playing.server.ledger.entries[0].payload["totalTokenCount"]
        await playing.hang_up()
        session = playing.records()[-1]
        assert session["kind"] == "session"
        assert session["errors"] == {"connection_closed_1011": 1}
        assert session["reconnects"] == 1


async def test_the_room_is_gone_in_the_middle_of_a_reply(project: Path) -> None:
    # there is no room in the console: the framework's own listener for the end of its link is called by hand
    (project / "room_agent.py").write_text(ROOM_AGENT, encoding="utf-8")
    async with call(TALKING, project=project, entrypoint="room_agent.py") as playing:
        await playing.wait_for_records("session", 1, 20)
        assert_nothing_is_lost(playing)


ROOM_AGENT = '''
"""The agent, in a room whose link closes."""

import asyncio

import agent
from agent import server


class LeftAloneAgent(agent.MetricsAgent):
    async def on_enter(self) -> None:
        await super().on_enter()
        self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        from livekit.agents import get_job_context

        while self.session.agent_state != "speaking":
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)
        listeners = [call.args[0] for call in get_job_context().room.on.return_value.call_args_list]
        (on_disconnected,) = [listener for listener in listeners if listener.__name__ == "_on_room_disconnected"]
        on_disconnected()


agent.MetricsAgent = LeftAloneAgent
'''


async def test_two_agents_that_write_to_one_file_do_not_mix_their_lines(tmp_path: Path) -> None:
    shared = tmp_path / "metrics.jsonl"
    talk = Scenario(
        greeting=Reply(text="Hi.", audio_s=0.2), turns=(Turn(text="Yes.", audio_s=0.2, latency_s=0.05),) * 5
    )
    async with call(talk, jsonl=shared) as one, call(talk, jsonl=shared) as other:
        for playing in (one, other):
            await playing.server.wait_for_end()
        await one.wait_for_records("response", 12, 20)
        await asyncio.gather(one.hang_up(), other.hang_up())
        records = one.records()
    sessions = {record["session_id"] for record in records}
    assert len(sessions) == 2
    for session in sessions:
        kinds = [record["kind"] for record in records if record["session_id"] == session]
        assert kinds == ["connection", *["response"] * 6, "session"]


async def test_a_file_that_is_rotated_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    talk = Scenario(greeting=Reply(text="Hi.", audio_s=0.2), turns=(Turn(text="Yes.", audio_s=0.2, pause_s=1.0),))
    async with call(talk, jsonl=path) as playing:
        await playing.wait_for_records("response", 1, 20)
        path.rename(tmp_path / "metrics.jsonl.1")
        await playing.wait_for_records("response", 1, 20)
        await playing.hang_up()
        assert [record["kind"] for record in playing.records()] == ["response", "session"]
