"""A conversation with the real agent, plugin and VAD: greeting, spoken turns, and one that the user interrupts."""

import asyncio
import json
import tomllib
from pathlib import Path

import pytest

from demo.agent_process import PROJECT
from demo.scenario import load
from tests.proof.wire.finished import FinishedCall, asked_for, finished_call

pytestmark = pytest.mark.timing

FRAMEWORK_S = 0.02
"""How far the framework's figure in a record may be from the framework's own marks."""
STOPWATCH_S = 0.08
"""How far a wait may be from a stopwatch at the user's end."""


@pytest.fixture(scope="module")
def conversation() -> FinishedCall:
    return asyncio.run(finished_call(load("normal")))


def test_every_response_has_exactly_one_report(conversation: FinishedCall) -> None:
    assert [record["turn"] for record in conversation.responses] == [1, 2, 3, 4, 5]
    assert len({record["request_id"] for record in conversation.responses}) == 5
    titles = [line.partition(" · ")[0] for line in conversation.reports if line.startswith("Response ")]
    assert titles == [f"Response {turn}" for turn in (1, 2, 3, 4, 5)]


def test_a_connect_is_never_shown_as_a_response(conversation: FinishedCall) -> None:
    (connection,) = conversation.connections
    assert 0 < connection["connection_s"] < 5
    assert not connection["reconnect"]
    assert sum("connected to Gemini" in line for line in conversation.reports) == 1
    assert all(record["total_tokens"] > 0 for record in conversation.responses)


def test_the_frameworks_own_figure_stands_beside_the_wait(conversation: FinishedCall) -> None:
    ends, starts = conversation.user_speech_ends(), conversation.agent_speech_starts()[1:]
    answers = conversation.responses[1:]
    assert len(ends) == len(starts) == len(answers) == 4
    for record, ended_at, audio_at in zip(answers, ends, starts, strict=True):
        assert record["time_to_first_audio_from"] == "user_speech_end"
        # an event is told a moment after it happened
        assert record["framework_latency_s"] == pytest.approx(audio_at - ended_at, abs=FRAMEWORK_S)
        assert record["time_to_first_audio_s"] > record["framework_latency_s"], "which is short by what the VAD smooths"


def test_the_wait_for_an_answer_is_that_of_a_stopwatch_at_the_users_end(conversation: FinishedCall) -> None:
    waits = [
        heard.first_audio_at - (spoken.ended_at or 0)
        for spoken, heard in zip(conversation.spoken, conversation.heard[1:], strict=True)
    ]
    reported = [record["time_to_first_audio_s"] for record in conversation.responses[1:]]
    assert reported == pytest.approx(waits, abs=STOPWATCH_S)


def test_the_wait_for_the_greeting_is_counted_from_its_request(conversation: FinishedCall) -> None:
    greeting = conversation.responses[0]
    assert greeting["time_to_first_audio_from"] == "reply_requested"
    latency_s = load("normal").greeting.latency_s  # type: ignore[union-attr]
    # the request also waits for the connection
    least_s = latency_s + conversation.connections[0]["connection_s"] / 2
    assert least_s <= greeting["time_to_first_audio_s"] <= latency_s + 0.25


def test_the_parts_of_a_wait_add_up(conversation: FinishedCall) -> None:
    for record in conversation.responses:
        parts = [record[name] for name in ("time_to_generation_s", "generation_to_audio_s", "playback_latency_s")]
        if None not in parts:
            assert sum(parts) == pytest.approx(record["time_to_first_audio_s"], abs=0.001)


def test_only_the_answer_that_the_user_cut_short_is_interrupted(conversation: FinishedCall) -> None:
    assert [record["interrupted"] for record in conversation.responses] == [False, False, False, True, False]
    assert conversation.session["interrupted"] == 1


def test_of_what_was_cut_short_only_a_part_was_heard(conversation: FinishedCall) -> None:
    for record in conversation.responses:
        if record["interrupted"]:
            assert 1.0 < record["heard_s"] < record["audio_s"]
            assert 0 < record["talk_over_s"] < 1.0
        else:
            assert record["heard_s"] == pytest.approx(record["audio_s"])
            assert record["talk_over_s"] is None
    assert conversation.session["talk_overs"] == 1


def test_every_turn_of_the_user_was_answered(conversation: FinishedCall) -> None:
    assert (conversation.session["user_turns"], conversation.session["unanswered"]) == (4, 0)
    longest = max(record["time_to_first_audio_s"] for record in conversation.responses[1:])
    assert conversation.session["longest_wait_s"] == pytest.approx(longest, abs=0.05)
    assert conversation.session["greeting_s"] == conversation.responses[0]["time_to_first_audio_s"]


def test_waiting_for_the_model_does_not_count_as_speaking(conversation: FinishedCall) -> None:
    for record in conversation.responses[1:3]:
        waited_s = record["framework_duration_s"] - record["duration_s"]
        assert waited_s > 0.2  # the generation was created by the user's words, before the model spoke
        assert record["tokens_per_second"] == pytest.approx(record["output_tokens"] / record["duration_s"])


def test_no_figure_is_a_made_up_one(conversation: FinishedCall) -> None:
    for record in conversation.records:
        for name, value in record.items():
            assert not (isinstance(value, int | float) and value < 0), name
            if value is None and f"{name.removesuffix('_s')}_reason" in record:
                assert record[f"{name.removesuffix('_s')}_reason"]


def test_the_sums_are_the_providers(conversation: FinishedCall) -> None:
    sent = sum((entry.payload["totalTokenCount"] for entry in conversation.ledger.entries), 0)
    assert conversation.session["total_tokens"] == sent
    assert sum(record["total_tokens"] for record in conversation.responses) == sent
    assert conversation.session["cost_usd"] == pytest.approx(
        sum(record["cost_usd"] for record in conversation.responses)
    )


def test_the_session_ends_with_its_summary(conversation: FinishedCall) -> None:
    assert conversation.returncode == 0
    assert conversation.session["responses"] == 5
    assert conversation.session["errors"] == {}
    written = {"written": 6, "failed": 0, "dropped": 0}
    assert conversation.session["sinks"] == {"console": written, "jsonl": written}
    assert conversation.problems == []


def test_no_record_holds_what_was_said(conversation: FinishedCall) -> None:
    scenario = load("normal")
    said = [turn.text for turn in scenario.turns] + [spoken.utterance.text for spoken in conversation.spoken]
    for record in conversation.records:
        assert not any(text in json.dumps(record, ensure_ascii=False) for text in said if text)


def test_what_the_project_was_rendered_with_reaches_the_wire(conversation: FinishedCall) -> None:
    agent = tomllib.loads(Path(PROJECT, "agent.toml").read_text(encoding="utf-8"))
    (setup,) = conversation.setups
    assert asked_for(setup) == {name: agent[name] for name in ("model", "temperature", "voice", "instructions")}
    assert "sliding_window" in setup["contextWindowCompression"]
