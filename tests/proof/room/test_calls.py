"""Calls with audio: `testcall` hears what the records say, and a little more; the bill is the ledger's."""

import asyncio
import signal
from pathlib import Path

import pytest

from demo.scenario import Reply, Scenario, Turn
from realtime_metrics.settings import read_settings
from tests.proof.room.livekit_server import needs_livekit_server
from tests.proof.room.place import ended, place, start_testcall, testcall

pytestmark = needs_livekit_server

TALK = Scenario(
    greeting=Reply(text="Hello!", audio_s=0.8, latency_s=0.2),
    turns=(
        Turn(user="rain", text="No, it stays sunny.", audio_s=1.0, latency_s=0.3),
        Turn(user="moon", text="Far, far away. " * 20, audio_s=6.0, latency_s=0.6),
        Turn(user="tune", text="Gladly.", audio_s=1.0, latency_s=0.4),
    ),
)
WAY_S = 0.3
"""At most this much longer waits the caller on one machine: two codecs, two jitter buffers."""
STOPWATCH_S = 0.03
"""The stopwatch itself is no more exact."""


@pytest.mark.timing
async def test_the_caller_waits_as_long_as_the_records_say_and_the_way_of_the_sound(tmp_path: Path) -> None:
    async with place(tmp_path, TALK) as it:
        name = read_settings({}).name
        assert f'"agentName": "{name}"' in it.livekit.log.read_text("utf-8")
        result = await testcall(it.livekit, "--turns", "3", "--json", "--records", str(it.jsonl))
        assert result.code == 0, result.stderr
        (call,) = result.figures["calls"]
        for turn in call["turns"]:
            assert -STOPWATCH_S <= turn["difference_s"] <= WAY_S + STOPWATCH_S, call
            assert 0 <= turn["record_network_round_trip_s"] < 0.1
        assert call["turns"][2]["talk_over_s"] > 0
        assert 0 < call["record_first_audio_after_s"] < call["time_to_answer_s"] + STOPWATCH_S
        session = await it.session(call["room"])
        assert (session["user_turns"], session["unanswered"], session["interrupted"]) == (3, 0, 1)
        assert (session["customer"], session["end_reason"]) == ("testcall", "participant_disconnected")
        assert list(it.billed().values()) == [session["total_tokens"]]
        assert await it.livekit.rooms() == []


async def test_an_agent_without_a_name_comes_by_itself(tmp_path: Path) -> None:
    nameless = {"LIVEKIT_AGENT_NAME": ""}
    async with place(tmp_path, TALK, nameless) as it:
        assert '"agentName": ""' in it.livekit.log.read_text("utf-8")
        result = await testcall(it.livekit, "--turns", "1", "--json", **nameless)
        assert (result.code, result.figures["unanswered"]) == (0, 0), result.stderr
        over = await testcall(it.livekit, "--turns", "1", "--budget-s", "0.1", **nameless)
        assert (over.code, "1 of 1 waits are over 0.1 s" in over.stdout) == (1, True)


async def test_where_no_agent_comes_it_says_what_to_check_and_leaves_no_room(tmp_path: Path) -> None:
    async with place(tmp_path, TALK) as it:
        waits, stopped = await asyncio.gather(
            start_testcall(it.livekit, LIVEKIT_AGENT_NAME="nobody"),
            start_testcall(it.livekit, LIVEKIT_AGENT_NAME="nobody"),
        )
        await asyncio.sleep(8.0)
        assert len(await it.livekit.rooms()) == 2
        stopped.send_signal(signal.SIGTERM)
        assert (await ended(stopped)).code == 130
        assert len(await it.livekit.rooms()) == 1
        result = await ended(waits)
        assert result.code == 1
        assert "no agent came within 20 s" in result.stdout
        assert "LIVEKIT_AGENT_NAME='nobody': so must be that of the agent" in result.stdout
        assert await it.livekit.rooms() == []


async def test_wrong_keys_and_a_wrong_address_are_told_in_words_and_no_secret_is(tmp_path: Path) -> None:
    async with place(tmp_path, TALK) as it:
        results = [
            await testcall(it.livekit, LIVEKIT_API_SECRET="sesame-open-sesame-open-sesame-open"),
            await testcall(it.livekit, LIVEKIT_URL="ws://127.0.0.1:9"),
            await testcall(it.livekit, LIVEKIT_API_KEY=""),
        ]
    assert [result.code for result in results] == [2, 2, 2]
    for result, words in zip(results, ("refuses LIVEKIT_API_KEY", "cannot be reached", "is not set"), strict=True):
        assert words in result.stderr
        assert "Traceback" not in result.stderr
        assert "sesame" not in result.stdout + result.stderr
