"""Exactly one record per response, whatever comes when; and times that are honest."""

import asyncio
import time
from typing import Any, Literal

import pytest
from livekit.agents import NOT_GIVEN, CloseReason, llm

from agent import MetricsAgent
from realtime_metrics import responses
from realtime_metrics.prices import AS_TEXT
from realtime_metrics.records import ConnectionRecord, ResponseRecord, SessionRecord
from realtime_metrics.responses import SETTLE_S, Response, Responses
from realtime_metrics.settings import Settings
from realtime_metrics.usage import OUTPUT_UNCOUNTED, WITH_ANSWER
from tests.fakes.call import FakeCall, until
from tests.fakes.realtime import Reply, Usage
from tests.fakes.speaker import Speaker
from tests.fakes.stage import Stage

NOW = time.time()


@pytest.fixture(autouse=True)
def moments_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A staged call is told all at once: its moments can lie in the future, which those of a real one cannot."""
    for place in ("realtime_metrics.recorder", "tests.fakes.stage"):
        monkeypatch.setattr(f"{place}.monotonic", lambda at: time.monotonic() - (time.time() - at))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses wait for their other half only a moment."""
    monkeypatch.setattr(responses, "SETTLE_S", 0.02)


# -- time to first audio, of a real session


async def test_the_wait_for_an_answer_is_from_the_end_of_the_users_speech_to_the_first_audio() -> None:
    marks: dict[str, float] = {}
    async with FakeCall(Reply(), speaker=Speaker(delay_s=0.03)) as call:
        await call.reported(1)
        await asyncio.sleep(0.3)  # the greeting is heard before the user speaks
        call.session.on("user_state_changed", lambda event: marks.update({event.new_state: event.created_at}))
        await call.user_speaks(speech_s=1.0, silence_s=0.25)
        call.session.on("conversation_item_added", lambda event: marks.update(event.item.metrics))
        await call.model.play(Reply("Fine.", latency_s=0.1))
        record = await call.reported(2)
    assert record.wait.time_to_first_audio_from == "user_speech_end"
    assert record.wait.time_to_first_audio_s is not None
    wait_s = record.wait.time_to_first_audio_s
    assert wait_s == pytest.approx(marks["started_speaking_at"] - marks["listening"], abs=0.02)
    assert wait_s == pytest.approx(marks["e2e_latency"], abs=0.02), "the framework's own figure"
    assert record.wait.framework_latency_s == marks["e2e_latency"]
    assert wait_s > 0.25 + 0.1, "the VAD's silence and the model's latency are waiting, too"
    assert record.wait.playback_latency_s == pytest.approx(0.03, abs=0.02)


async def test_what_the_wait_consisted_of_adds_up() -> None:
    async with FakeCall(Reply(), speaker=Speaker(delay_s=0.03)) as call:
        await call.reported(1)
        await asyncio.sleep(0.1)
        await call.user_speaks(silence_s=0.1)
        await call.model.play(Reply("Fine.", latency_s=0.1, audio_after_s=0.05))
        record = await call.reported(2)
    parts = [record.wait.time_to_generation_s, record.wait.generation_to_audio_s, record.wait.playback_latency_s]
    known = [part for part in parts if part is not None]
    assert len(known) == 3
    assert record.wait.time_to_first_audio_s == pytest.approx(sum(known), abs=0.001)
    assert record.wait.generation_to_audio_s is not None
    assert record.wait.generation_to_audio_s >= 0.05


async def test_the_wait_for_the_greeting_is_from_its_request() -> None:
    marks: dict[str, float] = {}
    async with FakeCall(Reply(latency_s=0.1)) as call:
        call.session.on("conversation_item_added", lambda event: marks.update(event.item.metrics))
        asked_at = time.time()
        record = await call.reported(1)
    assert record.wait.time_to_first_audio_from == "reply_requested"
    assert record.wait.time_to_first_audio_s is not None
    assert record.wait.time_to_first_audio_s == pytest.approx(marks["started_speaking_at"] - asked_at, abs=0.05)
    assert record.wait.time_to_first_audio_s >= 0.1


async def test_speaking_is_measured_without_the_waiting_for_it() -> None:
    async with FakeCall() as call:
        generation = call.model.begin()
        await asyncio.sleep(0.15)
        generation.say("Hello.", 0.1)
        await until(lambda: call.session.agent_state == "speaking")
        await asyncio.sleep(0.1)
        generation.end()
        generation.report(Usage(output_audio=50, output_text=0))
        record = await call.reported()
    assert record.framework_duration_s is not None
    assert record.wait.duration_s is not None
    assert record.framework_duration_s > 0.25
    assert 0.1 <= record.wait.duration_s < record.framework_duration_s - 0.1
    assert record.tokens_per_second == pytest.approx(50 / record.wait.duration_s)


async def test_a_response_that_the_user_cuts_short_is_interrupted_though_its_metrics_deny_it() -> None:
    async with FakeCall(speaker=Speaker(speed=1.0)) as call:
        generation = call.model.begin()
        generation.say("A very long answer.", 5.0)
        await until(lambda: call.session.agent_state == "speaking")
        call.model.emit("input_speech_started", llm.InputSpeechStartedEvent())
        generation.end()
        generation.report()
        record = await call.reported()
        session = await call.end()
    assert record.interrupted
    assert record.wait.time_to_first_audio_reason == "no end of user speech was seen since the agent's last reply"
    assert session.sums.interrupted == 1


async def test_a_response_interrupted_before_any_audio_has_no_wait_and_says_why() -> None:
    async with FakeCall() as call:
        generation = call.model.begin()
        generation.say("I was", 0)
        await asyncio.sleep(0.02)
        call.model.emit("input_speech_started", llm.InputSpeechStartedEvent())
        generation.end()
        generation.report()
        record = await call.reported()
    assert record.interrupted
    assert (record.wait.time_to_first_audio_s, record.wait.duration_s) == (None, None)
    assert record.wait.time_to_first_audio_reason == "interrupted before any audio was played"


async def test_audio_without_a_transcript_is_reported_with_its_wait() -> None:
    async with FakeCall(Reply()) as call:
        await call.reported(1)
        await call.user_speaks()
        await call.model.play(Reply("", audio_s=0.1))
        record = await call.reported(2)
    assert record.wait.time_to_first_audio_from == "user_speech_end"


async def test_a_slow_answer_is_marked_as_over_the_budget() -> None:
    async with FakeCall(Reply(), settings=Settings(metrics_latency_budget_s=0.15)) as call:
        await call.reported(1)
        await call.user_speaks()
        await call.model.play(Reply(latency_s=0.2))
        await call.reported(2)
        session = await call.end()
    assert [record.over_latency_budget for record in call.responses] == [False, True]
    assert (session.sums.over_latency_budget, session.latency_budget_s) == (1, 0.15)


# -- time to first audio, of events in orders that are hard to get on purpose


async def test_the_users_end_of_speech_may_be_told_after_the_agent_began_to_speak() -> None:
    stage = Stage()
    stage.user("speaking", NOW)
    handle = stage.generate("GR_1")
    stage.speak(handle, NOW + 2.0)
    stage.user("listening", NOW + 1.4)
    stage.usage("GR_1")
    stage.message("GR_1")
    await stage.end()
    assert stage.responses[0].wait.time_to_first_audio_s == pytest.approx(0.6, abs=0.001)
    assert stage.responses[0].wait.time_to_first_audio_from == "user_speech_end"


async def test_one_end_of_speech_is_answered_only_once() -> None:
    stage = Stage()
    stage.user("speaking", NOW)
    stage.user("listening", NOW + 1.0)
    for number, audio_at in ((1, NOW + 1.5), (2, NOW + 9.0)):
        handle = stage.generate(f"GR_{number}")
        stage.speak(handle, audio_at)
        stage.usage(f"GR_{number}")
        stage.message(f"GR_{number}")
        stage.end_speech(handle)
    await stage.end()
    first, second = stage.responses
    assert first.wait.time_to_first_audio_s == pytest.approx(0.5, abs=0.001)
    assert second.wait.time_to_first_audio_s is None
    assert second.wait.time_to_first_audio_reason == "no end of user speech was seen since the agent's last reply"


async def test_audio_that_begins_while_the_user_speaks_has_no_wait() -> None:
    stage = Stage()
    stage.user("speaking", NOW)
    handle = stage.generate("GR_1")
    stage.speak(handle, NOW + 1.0)
    stage.usage("GR_1")
    stage.message("GR_1")
    await stage.end()
    assert stage.responses[0].wait.time_to_first_audio_s is None
    assert stage.responses[0].wait.time_to_first_audio_reason == "the user was still speaking when the audio began"


@pytest.mark.parametrize(
    ("modality", "waited_from", "wait_s"), [("text", "reply_requested", 1.0), ("audio", "user_speech_end", 0.1)]
)
async def test_a_reply_that_the_program_asked_for_is_waited_for_by_the_user_only_if_it_answers_the_user(
    modality: Literal["text", "audio"], waited_from: str, wait_s: float
) -> None:
    stage, now = Stage(), time.time()
    requested = stage.request(now, modality)
    stage.user("speaking", now + 0.2)
    stage.user("listening", now + 0.9)
    handle = stage.generate("GR_1", requested)
    stage.speak(handle, now + 1.0)
    stage.usage("GR_1")
    stage.message("GR_1")
    await stage.end()
    assert stage.responses[0].wait.time_to_first_audio_from == waited_from
    assert stage.responses[0].wait.time_to_first_audio_s == pytest.approx(wait_s, abs=0.001)


async def test_who_speaks_before_the_greeting_begins_waits_from_the_end_of_that_speech() -> None:
    stage = Stage()
    requested = stage.request(time.time() - 3.0)
    stage.user("speaking", time.time() - 2.0)
    stage.user("listening", time.time() - 0.5)
    handle = stage.generate("GR_1", requested)
    stage.speak(handle, time.time() + 0.5)
    stage.usage("GR_1")
    stage.message("GR_1")
    await stage.end()
    assert stage.responses[0].wait.time_to_first_audio_from == "user_speech_end"
    assert stage.responses[0].wait.time_to_first_audio_s == pytest.approx(1.0, abs=0.05)


async def test_the_sessions_own_marks_come_before_the_models_time_to_first_token() -> None:
    stage = Stage()
    stage.user("speaking", NOW)
    stage.user("listening", NOW + 1.0)
    handle = stage.generate("GR_1")
    stage.speak(handle, NOW + 1.5)
    stage.usage("GR_1", ttft=0.2, duration=2.0)
    stage.message("GR_1")
    await stage.end()
    assert stage.responses[0].wait.time_to_first_audio_s == pytest.approx(0.5, abs=0.001)
    assert stage.responses[0].wait.duration_s == pytest.approx(1.8, abs=0.001), (
        "a known ttft says when the model began to speak"
    )


# -- one record per response


@pytest.mark.usefixtures("soon")
async def test_a_response_whose_usage_never_comes_is_recorded_without_it() -> None:
    stage = Stage()
    handle = stage.generate("GR_1")
    stage.speak(handle, NOW + 1.0)
    stage.end_generation()
    stage.message("GR_1")
    stage.end_speech(handle)
    await until(lambda: bool(stage.responses))
    session = await stage.end()
    record = stage.responses[0]
    assert (record.tokens["total_tokens"], record.cost_usd, record.usage_messages) == (None, None, 0)
    assert record.usage_reason == record.cost_reason == "no usage message arrived"
    assert (session.sums.without_usage, session.tokens["total_tokens"], session.cost_usd) == (1, None, None)
    assert session.usage_reason == "responses came without usage: 1 of 1"


async def test_a_response_waits_two_seconds_for_its_other_half() -> None:
    lacking = [(False, True), (False, False), (True, False)]
    await asyncio.gather(*(_wait_for_the_other_half(usage, speech) for usage, speech in lacking))


async def _wait_for_the_other_half(usage: bool, speech: bool) -> None:
    stage = Stage()
    handle = stage.generate("GR_1")
    if not speech:  # as that of a tool call, which goes on with the answer
        handle.chat_items.append(llm.FunctionCall(call_id="1", name="look", arguments="{}"))
    if usage:
        stage.usage("GR_1")
    stage.end_generation()
    if speech:
        stage.end_speech(handle)
    await asyncio.sleep(SETTLE_S - 0.2)
    assert not stage.responses
    await until(lambda: bool(stage.responses), timeout_s=0.6)
    await stage.end()


@pytest.mark.usefixtures("soon")
async def test_usage_that_comes_after_its_response_was_recorded_is_summed_as_unbooked() -> None:
    stage = Stage()
    handle = stage.generate("GR_1")
    stage.end_generation()
    stage.end_speech(handle)
    await until(lambda: bool(stage.responses))
    stage.usage("GR_1", Usage())
    stage.usage("GR_1", Usage())
    session = await stage.end()
    assert len(stage.responses) == 1
    assert session.unbooked_total_tokens == Usage().total, "and a repeat is no second message"
    assert session.cost_note is None
    assert session.tokens["total_tokens"] == Usage().total, "the session's record is the bill"
    assert session.unbooked_cost_usd == session.cost_usd


async def test_late_usage_that_grew_counts_by_what_it_adds() -> None:
    stage = Stage()
    handle = stage.generate("GR_1")
    stage.usage("GR_1", Usage(output_audio=10))
    stage.end_speech(handle)
    await until(lambda: bool(stage.responses))
    stage.usage("GR_1", Usage(output_audio=60))
    session = await stage.end()
    assert stage.responses[0].tokens["total_tokens"] == Usage(output_audio=10).total
    assert session.tokens["total_tokens"] == Usage(output_audio=60).total
    assert session.unbooked_total_tokens == 50
    assert session.unbooked_cost_usd == pytest.approx(50 * 12e-6)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("text", [True, False], ids=["with its text", "without"])
async def test_a_tool_call_that_speaks_first_is_recorded_once_it_was_heard_not_when_the_tool_has_ended(
    text: bool,
) -> None:
    stage = Stage()
    handle = stage.generate("GR_1")
    handle.chat_items.append(llm.FunctionCall(call_id="1", name="look", arguments="{}"))
    stage.speak(handle, NOW + 1.0)
    stage.usage("GR_1")
    stage.end_generation()
    await asyncio.sleep(0.1)
    assert not stage.responses, "whether it will be interrupted is not known yet"
    if text:
        stage.message("GR_1", interrupted=True)
    stage.end_playback(handle, interrupted=text)
    stage.session.state = "thinking"
    await until(lambda: bool(stage.responses))
    assert not handle.done()
    await stage.end()
    (record,) = stage.responses
    assert record.interrupted is text
    assert record.wait.time_to_first_audio_reason == "no end of user speech was seen since the agent's last reply"


async def test_a_tool_call_that_speaks_first_is_not_without_usage_where_that_comes_with_the_answer() -> None:
    stage = Stage()
    handle = stage.generate("GR_1")
    handle.chat_items.append(llm.FunctionCall(call_id="1", name="look", arguments="{}"))
    stage.speak(handle, time.time())
    stage.end_speech(handle)
    session = await stage.end()
    assert stage.responses[0].usage_reason == WITH_ANSWER
    assert session.sums.without_usage == 0


@pytest.mark.usefixtures("soon")
async def test_records_come_in_the_order_of_their_responses() -> None:
    stage = Stage()
    first, second = stage.generate("GR_1"), stage.generate("GR_2")
    stage.usage("GR_2")
    stage.end_speech(second)
    await asyncio.sleep(0.1)
    assert not stage.responses, "the first is still to be heard"
    stage.usage("GR_1")
    stage.end_speech(first)
    await until(lambda: len(stage.responses) == 2)
    await stage.end()
    assert [(record.turn, record.request_id) for record in stage.responses] == [(1, "GR_1"), (2, "GR_2")]


async def test_usage_of_a_response_that_no_event_announced_is_recorded() -> None:
    stage = Stage()
    stage.usage("GR_unknown")
    await until(lambda: bool(stage.responses))
    session = await stage.end()
    assert stage.responses[0].request_id == "GR_unknown"
    assert stage.responses[0].wait.time_to_first_audio_reason == "the framework did not play this response"
    assert session.tokens["total_tokens"] == Usage().total


async def test_a_response_that_cannot_be_recorded_costs_no_other_record(monkeypatch: pytest.MonkeyPatch) -> None:
    audio_s = Response.audio_s

    def fail_once(response: Response) -> float | None:
        if response.request_id == "GR_2":
            raise RuntimeError("broken on purpose")
        return audio_s.__get__(response)  # type: ignore[no-any-return]

    monkeypatch.setattr(Response, "audio_s", property(fail_once))
    stage = Stage()
    for number in (1, 2, 3):
        stage.generate(f"GR_{number}")
    session = await stage.end()
    assert [response.request_id for response in stage.responses] == ["GR_1", "GR_3"]
    assert session.sums.responses == 2


async def test_after_a_handoff_answers_are_reported_as_before() -> None:
    async with FakeCall(Reply("Hello."), Reply("Hello again.")) as call:
        await call.reported(1)
        call.session.update_agent(MetricsAgent(call.recorder))
        await call.reported(2)
        for number in (3, 4):
            await asyncio.sleep(0.2)
            await call.user_speaks()
            await call.model.play(Reply("Fine."))
            record = await call.reported(number)
            assert record.wait.time_to_first_audio_from == "user_speech_end", record.wait.time_to_first_audio_reason
        session = await call.end()
    assert session.sums.responses == 4


async def test_when_the_session_closes_what_is_open_is_recorded_and_the_session_comes_last() -> None:
    stage = Stage()
    stage.model.connect()
    stage.generate("GR_1")
    stage.usage("GR_1")
    stage.generate("GR_2")
    session = await stage.end(CloseReason.PARTICIPANT_DISCONNECTED)
    assert [type(record) for record in stage.kept.records] == [
        ConnectionRecord,
        ResponseRecord,
        ResponseRecord,
        SessionRecord,
    ]
    assert session.end_reason == "participant_disconnected"
    assert session.sinks == {"kept": {"written": 3, "failed": 0, "dropped": 0}}
    assert stage.kept.closed


async def test_a_session_is_closed_once_however_often_it_is_said() -> None:
    stage = Stage()
    stage.recorder.close("first")
    stage.recorder.close("second")
    await stage.recorder.aclose("third")
    assert [record.kind for record in stage.kept.records] == ["session"]
    assert (await stage.end()).end_reason == "first"


@pytest.mark.parametrize(
    ("reason", "told"),
    [("job crashed", "job_crashed"), ("", "job_shutdown"), ("caller +49 171 is blocked", "job_shutdown")],
)
async def test_a_job_that_ends_without_a_close_event_has_its_session_record(reason: str, told: str) -> None:
    stage = Stage()
    stage.generate("GR_1")
    await stage.recorder.aclose(reason)
    assert [record.kind for record in stage.kept.records] == ["response", "session"]
    assert (await stage.end()).end_reason == told


async def test_a_speech_that_fails_is_counted_by_its_kind_and_told_in_two_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    stage.model.connect()
    handle = stage.request(NOW)
    stage.end_speech(handle, llm.RealtimeError("generate_reply timed out."))
    await asyncio.sleep(0.01)
    session = await stage.end()
    assert session.sums.errors == {"reply_timeout": 1}
    told = [entry.message for entry in caplog.records if entry.name == "livekit.agents.realtime_metrics"]
    assert told == ["Gemini Live did not begin a reply within 5 s", "If it goes on, see the provider's status page."]


async def test_a_handler_that_fails_is_told_once_in_each_session(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken on \x1b[2J api_key=abc123")

    monkeypatch.setattr(Responses, "used", fail)
    for _ in range(2):
        stage = Stage()
        stage.usage("GR_1")
        stage.usage("GR_2")
        await stage.end()
    told = [entry.message for entry in caplog.records if entry.message.startswith("the metrics recorder failed")]
    assert len(told) == 2, "once in each session"
    first = told[0].splitlines()
    assert first[0] == "the metrics recorder failed in Recorder._add; the call goes on: RuntimeError: broken on [2J …"
    assert "in _add" in told[0], "where it failed"


async def test_a_session_without_responses_used_nothing() -> None:
    session = await Stage().end()
    assert (session.sums.responses, session.tokens["total_tokens"], session.cost_usd) == (0, 0, 0)
    assert session.time_to_first_audio_p50_s is None
    assert session.time_to_first_audio_reason == "no answer to speech has a known wait"


async def test_the_sessions_percentiles_are_waits_that_were_measured() -> None:
    stage, began = Stage(), time.time() - 50
    for number in range(1, 21):
        began += 1.1 + number / 10
        stage.user("speaking", began)
        stage.user("listening", began + 1)
        handle = stage.generate(f"GR_{number}")
        stage.speak(handle, began + 1 + number / 10)
        stage.usage(f"GR_{number}")
        stage.message(f"GR_{number}")
        stage.end_speech(handle)
    session = await stage.end()
    assert session.time_to_first_audio_p50_s == pytest.approx(1.0, abs=0.001)
    assert session.time_to_first_audio_p95_s == pytest.approx(1.9, abs=0.001)
    assert session.time_to_first_audio_max_s == pytest.approx(2.0, abs=0.001)


@pytest.mark.parametrize("given", [None, NOT_GIVEN])
async def test_without_a_vad_of_its_own_no_generation_is_taken_for_the_users_speech(given: Any) -> None:
    stage, now = Stage(vad=given), time.time()
    stage.user("speaking", now - 2)  # as the framework has it from Gemini's events
    handle = stage.generate("GR_1")
    stage.user("listening", now - 1)
    stage.speak(handle, now - 0.9)
    stage.usage("GR_1")
    stage.end_speech(handle)
    session = await stage.end()
    (record,) = stage.responses
    assert record.wait.time_to_first_audio_s is None
    assert (session.sums.user_turns, session.sums.longest_wait_s) == (0, None)


async def test_the_greeting_is_what_the_agent_says_before_the_user() -> None:
    stage, now = Stage(), time.time()
    stage.user("speaking", now - 3)
    stage.user("listening", now - 2)
    handle = stage.generate("GR_1", stage.request(now - 1))
    stage.speak(handle, now - 0.5)
    stage.usage("GR_1")
    stage.end_speech(handle)
    session = await stage.end()
    assert stage.responses[0].wait.time_to_first_audio_from == "reply_requested"
    assert session.sums.greeting_s is None


async def test_what_a_price_assumes_and_what_it_lacks_are_both_told() -> None:
    stage = Stage()
    handle = stage.generate("GR_1")
    stage.speak(handle, time.time())
    stage.usage("GR_1", Usage(input_unknown=30, output_audio=0, output_text=0))
    stage.end_speech(handle)
    await stage.end()
    assert stage.responses[0].cost_note == f"{AS_TEXT}; {OUTPUT_UNCOUNTED}"


async def test_figures_that_the_plugin_does_not_pass_on_are_unknown_with_the_reason_in_every_record() -> None:
    stage = Stage()
    stage.usage("GR_1")
    session = await stage.end()
    for record in (stage.responses[0], session):
        assert record.tokens["thoughts_tokens"] is None
        assert record.usage_reason is not None
        assert "not in this plugin's public metrics" in record.usage_reason
