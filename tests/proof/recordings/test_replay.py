"""What was recorded of a call replays to the same usage, cost, counts, end and errors; and waits, at speed 1."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.call import Call, Record, call
from demo.replay import START_S, Replayed, ReplayServer, replay
from tests.proof.counts import LONG
from tests.proof.recordings.recorded import recorded_call
from tests.proof.scenarios import load
from tests.proof.wire.finished import FinishedCall

SCENARIOS = (
    "interrupted",
    "tool-call-slow",
    "go-away",
    "close-1011",
    "text-only",
    "empty-turn",
    "typed",
    "invalid-key",
)
FAST = ("interrupted", "tool-call-slow", "go-away", "close-1011")
WAIT_S = 0.03
HELD_UP_S = 3.0
"""Longer than the user of a call lets pass between the greeting and a word."""
NOISE_RMS = 325
"""20 dB below the voice."""
IN_TIME = [("tool-call", 0), ("interrupted", NOISE_RMS), *([("normal", 0)] if LONG else [])]
AT_ONCE = 3
"""Calls that share the cores; most of a call is waiting."""
BILL = [
    f"{group}tokens"
    for group in (
        "input_",
        "input_audio_",
        "input_text_",
        "output_",
        "output_audio_",
        "thoughts_",
        "tool_use_",
        "total_",
    )
]
SAME_IN_A_RESPONSE = [
    *BILL,
    "cost_usd",
    "turn",
    "tools",
    "usage_messages",
    "interrupted",
    "connection_lost",
    "finish_reason",
]
SAME_IN_A_SESSION = [
    *BILL,
    *("cost_usd", "responses", "user_turns", "unanswered", "interrupted", "silent", "without_usage", "talk_overs"),
    *("connections", "reconnects", "go_aways", "resumptions", "errors", "unbooked_total_tokens", "end_reason", "model"),
]


@dataclass(frozen=True)
class Twice:
    """A call, and what its recording replays to."""

    path: Path
    call: FinishedCall
    replayed: Replayed
    fast: Replayed | None = None
    """At 20 times the speed."""


async def twice(name: str, folder: Path, noise_rms: float = 0.0) -> Twice:
    path = folder / f"{name}.jsonl"
    call, replayed = await recorded_call(load(name), path, noise_rms), await replay(str(path))
    return Twice(path, call, replayed, await replay(str(path), speed=20) if name in FAST else None)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Twice]:
    """Each scenario, recorded and replayed."""
    room, folder = asyncio.Semaphore(AT_ONCE), tmp_path_factory.mktemp("recordings")

    async def in_turn(name: str) -> Twice:
        async with room:
            return await twice(name, folder)

    async def all_of_them() -> list[Twice]:
        return await asyncio.gather(*map(in_turn, SCENARIOS))

    return dict(zip(SCENARIOS, asyncio.run(all_of_them()), strict=True))


def of_kind(records: list[Record], kind: str) -> list[Record]:
    return [record for record in records if record["kind"] == kind]


def same(record: Record, names: list[str]) -> dict[str, Any]:
    return {name: record[name] for name in names}


def is_the_same(call: FinishedCall, replayed: Replayed) -> None:
    assert same(replayed.session, SAME_IN_A_SESSION) == same(call.session, SAME_IN_A_SESSION)
    before, now = call.responses, of_kind(replayed.records, "response")
    for was, is_now in zip(before, now, strict=True):
        assert same(is_now, SAME_IN_A_RESPONSE) == same(was, SAME_IN_A_RESPONSE)
        # what the plugin still reads after goAway is a matter of luck
        assert is_now["audio_s"] == pytest.approx(was["audio_s"], abs=0.15 if call.session["go_aways"] else 0.01)
    silences = [
        [each["reason"] for each in of_kind(records, "unanswered")] for records in (call.records, replayed.records)
    ]
    assert silences[0] == silences[1]
    assert replayed.bill == replayed.billed
    assert replayed.missing == {}


@pytest.mark.parametrize("name", SCENARIOS)
def test_usage_cost_counts_end_and_errors_are_those_of_the_call(calls: Mapping[str, Twice], name: str) -> None:
    is_the_same(calls[name].call, calls[name].replayed)


@pytest.mark.parametrize("name", FAST)
def test_at_20_times_the_speed_usage_and_cost_are_those_of_the_call(calls: Mapping[str, Twice], name: str) -> None:
    fast, session = calls[name].fast, calls[name].call.session
    assert fast is not None
    assert fast.bill == fast.billed
    assert same(fast.session, [*BILL, "cost_usd"]) == same(session, [*BILL, "cost_usd"])
    assert fast.session["duration_s"] < session["duration_s"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_words_no_key_no_handle_and_no_audio_are_in_the_recording(calls: Mapping[str, Twice], name: str) -> None:
    written = calls[name].path.read_text("utf-8")
    turns = load(name).turns
    said = [word for turn in turns for text in (turn.text, turn.typed or "") for word in text.split() if len(word) > 4]
    written = written.replace("get_next_train", "")
    for secret in ("umbrella", "voice assistant", "demo-key", 'newHandle": "', "AAAA", "Madrid", *said):
        assert secret not in written, secret


@pytest.mark.skipif(sys.platform == "win32", reason="Windows stops no process for a while")
async def test_an_agent_that_is_late_in_a_replay_is_not_talked_over_where_it_was_not_in_the_call(
    calls: Mapping[str, Twice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *lines = calls["go-away"].path.read_text("utf-8").splitlines()
    until_s = next(line["until_s"] for line in map(json.loads, lines) if line["kind"] == "sound")
    path = tmp_path / "a-word.jsonl"  # ends with the user's first words
    path.write_text("\n".join([first, *(line for line in lines if json.loads(line)["at_s"] <= until_s)]), "utf-8")

    async def hold_up(ongoing: Call) -> None:
        server = ongoing.server
        assert isinstance(server, ReplayServer)
        await server.seen.until(lambda: bool(server.arrived["client_content"]), START_S)  # the greeting is asked for
        os.kill(ongoing.agent.pid, signal.SIGSTOP)
        await asyncio.sleep(HELD_UP_S)
        os.kill(ongoing.agent.pid, signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def held_up(*args: Any, **options: Any) -> AsyncIterator[Call]:
        async with call(*args, **options) as ongoing:
            holding = asyncio.create_task(hold_up(ongoing))
            yield ongoing
            await holding

    monkeypatch.setattr("demo.replay.call", held_up)
    replayed = await replay(str(path))
    greeting = of_kind(replayed.records, "response")[0]
    assert greeting["time_to_first_audio_s"] > HELD_UP_S - 1
    assert not greeting["interrupted"]
    assert greeting["heard_s"] == greeting["audio_s"]


@pytest.mark.timing
@pytest.mark.parametrize(("name", "noise_rms"), IN_TIME)
async def test_waits_are_those_of_the_call_also_of_one_in_noise(tmp_path: Path, name: str, noise_rms: float) -> None:
    done = await twice(name, tmp_path, noise_rms)
    is_the_same(done.call, done.replayed)
    answers = [record for record in done.call.responses if record["time_to_first_audio_from"] == "user_speech_end"]
    assert len(answers) == {"normal": 4, "tool-call": 1, "interrupted": 2}[name]
    # the greeting's wait is not compared: it holds the agent's own start
    assert done.replayed.waits_s == pytest.approx([record["time_to_first_audio_s"] for record in answers], abs=WAIT_S)
