"""A whole call: the local server, the user at the console, and the real agent through the real CLI."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from livekit.protocol.agent_pb import agent_session as pb

from demo.agent_process import AgentOutput, clean_environment
from demo.call import AgentFailedError, Call, call
from demo.conversation import converse
from demo.scenario import Reply, Scenario, Turn, load

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = Scenario(
    greeting=Reply(text="Hello!", audio_s=0.6, latency_s=0.2),
    turns=(
        Turn(user="tune", text="la la la la la la", audio_s=6.0),
        Turn(user="wait", speaks="while_agent_speaks", pause_s=0.8, text="Yes.", audio_s=0.8),
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ended() -> AsyncIterator[Call]:
    """A call that has been played and hung up."""
    async with call(SHORT, sinks="console,jsonl") as ongoing:
        await converse(ongoing)
        assert await ongoing.hang_up() == 0
        yield ongoing


async def test_the_user_hears_each_reply_and_the_interrupted_one_is_cut_off(ended: Call) -> None:
    greeting, tune, answer = ended.host.heard
    assert greeting.audio_s == pytest.approx(0.6, abs=0.05)
    assert answer.audio_s == pytest.approx(0.8, abs=0.05)
    assert (greeting.cleared, tune.cleared, answer.cleared) == (False, True, False)
    assert [item.interrupted for item in ended.host.items(pb.ASSISTANT)] == [False, True, False]


async def test_what_is_played_takes_as_long_as_it_lasts(ended: Call) -> None:
    greeting = ended.host.heard[0]
    assert greeting.ended_at is not None
    assert greeting.ended_at - greeting.first_audio_at == pytest.approx(greeting.audio_s, abs=0.15)


async def test_the_stopwatches_of_both_ends_agree(ended: Call) -> None:
    spoken, heard = ended.host.spoken[0], ended.host.heard[1]
    assert spoken.ended_at is not None
    assert spoken.started_at is not None
    assert spoken.ended_at - spoken.started_at == pytest.approx(spoken.utterance.duration_s, abs=0.1)
    # the server counts an end only after 0.3 s of silence, in pieces of 50 ms
    assert ended.server.times("speech_ended")[0] - spoken.ended_at == pytest.approx(0.35, abs=0.15)
    assert heard.first_audio_at - ended.server.times("first_audio")[1] == pytest.approx(0.0, abs=0.15)


async def test_the_session_tells_its_events(ended: Call) -> None:
    kinds = {event.kind for event in ended.host.events}
    assert {"agent_state_changed", "user_state_changed", "conversation_item_added"} <= kinds


async def test_the_records_are_there_and_the_reports_are_told_from_the_log(ended: Call) -> None:
    assert len(ended.records("response")) == 3
    assert ended.records()[-1]["kind"] == "session"
    printed = "\n".join(ended.agent.reports)
    assert printed.count("GR_") == 3
    assert " DEBUG " not in printed
    assert any("starting worker" in line for line in ended.agent.log)


async def test_no_process_is_left_when_a_call_is_left_in_its_middle() -> None:
    async with call(SHORT) as ongoing:
        pid = ongoing.agent.pid
        await ongoing.server.wait_for("first_audio")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_host_that_drops_the_link_is_gone_for_the_agent() -> None:
    async with call(SHORT) as ongoing:
        await ongoing.server.wait_for("first_audio")
        ongoing.host.drop()
        await asyncio.wait_for(ongoing.host.disconnected.wait(), 2)


async def test_an_agent_that_does_not_start_is_told_with_its_output() -> None:
    with pytest.raises(AgentFailedError) as caught:
        async with call(load("normal"), entrypoint="no_such_agent.py"):
            pass
    assert "no_such_agent" in "\n".join(caught.value.agent.log)


async def test_nothing_of_the_person_is_handed_to_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "LIVEKIT_URL", "AGENT_VOICE", "METRICS_SINKS", "OTEL_SERVICE_NAME"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("PATH_OF_MINE", str(Path.cwd()))
    environment = clean_environment({"METRICS_SINKS": "jsonl"})
    assert "mine" not in environment.values()
    assert environment["METRICS_SINKS"] == "jsonl"
    assert environment["PYTHON_DOTENV_DISABLED"] == "1"
    assert environment["PATH_OF_MINE"] == str(Path.cwd())


async def test_a_traceback_in_the_log_is_no_report() -> None:
    output = AgentOutput()
    lines = [
        "● connected",
        "\r12:00:00 ERROR livekit.agents it failed",
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in f',
        "ValueError: no",
        "",
        "The above exception was the direct cause of the following exception:",
        "",
        "Traceback (most recent call last):",
        '  File "y.py", line 1, in g',
        "livekit.agents.APIError: no",
        "\r12:00:01 INFO livekit.agents goes on",
        "Response 1",
        "│ Type │",
    ]
    for line in lines:
        output.take(line)
    assert output.reports == ["● connected", "Response 1", "│ Type │"]
    assert len(output.log) == 11
