"""Sequences of events, as they happen in real calls, that once made a wrong record."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, CloseReason, ErrorEvent, RunContext, function_tool, llm, tts
from livekit.agents.llm import ChatMessage, FunctionCall
from livekit.agents.voice import io
from livekit.agents.voice.room_io.types import _default_text_input_cb

from agent import MetricsAgent
from realtime_metrics.ears import Playback, Sound
from realtime_metrics.responses import Response, Responses
from realtime_metrics.settings import Settings
from realtime_metrics.usage import from_metrics
from tests.fakes.call import FakeCall, until
from tests.fakes.realtime import FakeRealtimeModel, Reply, metrics
from tests.fakes.speaker import Speaker

SOON, SOONER = Settings(metrics_answer_limit_s=1.0), Settings(metrics_answer_limit_s=0.4)


class ToolAgent(MetricsAgent):
    tool_s = 1.2

    @function_tool
    async def look(self) -> str:
        """Looks."""
        await asyncio.sleep(self.tool_s)
        return "y"


class SlowAgent(ToolAgent):
    tool_s = 4.0


class OtherModel(FakeRealtimeModel):
    @property
    def model(self) -> str:
        return "gemini-3.1-flash-live-preview"


def transferring_to(model: OtherModel) -> type[MetricsAgent]:
    """An agent whose tool hands the call over to one with a model of its own."""

    class Sales(MetricsAgent):
        def __init__(self, recorder: Any) -> None:
            super().__init__(recorder)
            self._llm = model  # as Agent(llm=…)

        @function_tool
        async def sell(self) -> str:
            """Sells."""
            return "sold"

    class Front(MetricsAgent):
        @function_tool
        async def transfer(self) -> Any:
            """Transfers."""
            return Sales(self._recorder)

    return Front


class Louder(io.AudioOutput):
    """A part of the owner's, which passes on what it gets."""

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        assert self.next_in_chain is not None
        await self.next_in_chain.capture_frame(frame)

    def flush(self) -> None:
        super().flush()
        assert self.next_in_chain is not None
        self.next_in_chain.flush()

    def clear_buffer(self) -> None:
        assert self.next_in_chain is not None
        self.next_in_chain.clear_buffer()


PAUSE = io.AudioOutputCapabilities(pause=True)
CALL = Reply("", audio_s=0, calls=("look",), usage=())
TRANSFER = Reply("", audio_s=0, calls=("transfer",), usage=())


async def asks(call: FakeCall) -> None:
    """Greeted, then a question of 0.8 s, for the ear too."""
    await call.reported(1)
    await until(lambda: call.session.agent_state == "listening")
    sound(call, 0.8)
    await call.user_speaks(speech_s=0.8)


async def begins_to_speak(call: FakeCall) -> None:
    """The voice detection hears the user, and the session knows."""
    call.vad.speech_began(0.0)
    await until(lambda: call.session.user_state == "speaking")


async def calls_its_tool(call: FakeCall) -> None:
    """The model does; what it answers when the tool is done is ready."""
    call._model.replies.append(Reply("It is y."))
    await call.model.play(CALL)


def about(seconds: float) -> Any:
    """A wait that nothing has shortened; a busy machine may have made it longer."""
    return pytest.approx(seconds + 0.2, abs=0.3)


def sound(call: FakeCall, seconds: float = 0.05) -> None:
    """The ear has just heard one of the user's side; no voice detection has."""
    now = time.monotonic()
    call.recorder._ears.user.sounds.append(Sound(now - seconds, now))


def transcript(call: FakeCall, *, final: bool) -> None:
    call.model.emit(
        "input_audio_transcription_completed",
        llm.InputTranscriptionCompleted(item_id="GI_1", transcript="How are you?", is_final=final),
    )


async def test_a_click_between_question_and_answer_shortens_no_wait_and_is_no_turn() -> None:
    async with FakeCall(Reply(), settings=Settings(), speaker=Speaker(speed=1.0)) as call:
        await asks(call)
        answer = call.model.begin()
        transcript(call, final=False)
        await asyncio.sleep(0.6)
        sound(call)
        await asyncio.sleep(0.4)
        answer.say("Fine.", 0.4)
        await asyncio.sleep(0.6)
        transcript(call, final=True)  # as the plugin does on turnComplete
        answer.end()
        answer.report()
        record = await call.reported(2)
        session = await call.end()
    assert record.wait.time_to_first_audio_s == about(1.0)
    assert session.sums.user_turns == 1


async def test_a_noise_over_the_answer_leaves_nobody_waiting() -> None:
    async with FakeCall(Reply(), settings=SOON, speaker=Speaker(speed=1.0)) as call:
        await asks(call)
        answer = call.model.begin()
        transcript(call, final=False)
        answer.say("Fine.", 0.6)
        await until(lambda: call.session.agent_state == "speaking")
        await asyncio.sleep(0.2)
        sound(call)
        answer._text.close()
        answer._audio.close()  # generationComplete
        await asyncio.sleep(0.6)  # played; then turnComplete
        transcript(call, final=True)
        answer.end()
        answer.report()
        await call.reported(2)
        await asyncio.sleep(1.8)
        session = await call.end()
    assert not call.unanswered
    assert session.sums.user_turns == 1


async def test_a_click_while_a_tool_is_at_work_shortens_no_wait() -> None:
    async with FakeCall(Reply(), agent=ToolAgent) as call:
        await asks(call)
        await calls_its_tool(call)
        await asyncio.sleep(1.0)
        sound(call)
        record = await call.reported(3)
        await call.end()
    assert record.wait.time_to_first_audio_s == about(1.2)


async def test_an_empty_turn_after_a_cough_does_not_count_for_a_later_turn() -> None:
    async with FakeCall(Reply(), Reply("Yes."), settings=SOON) as call:
        await call.reported(1)
        await call.user_speaks(speech_s=0.2)
        call.recorder.listener.turn_was_empty(None)
        await asyncio.sleep(0.5)
        call.session.generate_reply(user_input="Are you there?")
        await call.reported(2)
        await call.end()
    assert not call.unanswered


async def test_a_tool_that_the_model_made_up_is_answered_all_the_same() -> None:
    async with FakeCall(Reply()) as call:
        await asks(call)
        call._model.replies.append(Reply("I cannot.", latency_s=0.4))
        await call.model.play(Reply("", audio_s=0, calls=("no_such_tool",), usage=()))
        await call.reported(3)
        await call.end()
    assert not call.unanswered


async def test_an_empty_response_while_a_tool_is_at_work_leaves_nobody_unanswered() -> None:
    async with FakeCall(Reply(), agent=ToolAgent) as call:
        await asks(call)
        await calls_its_tool(call)
        await asyncio.sleep(0.3)
        await call.user_speaks(speech_s=0.6)
        await call.model.play(Reply("", audio_s=0))
        await call.reported(4)
        await call.end()
    assert not call.unanswered


async def test_a_word_over_the_agents_last_ones_that_is_answered_is_a_turn() -> None:
    async with FakeCall(Reply(), settings=SOON, speaker=Speaker(speed=1.0)) as call:
        await call.reported(1)
        await until(lambda: call.session.agent_state == "listening")
        question = asyncio.ensure_future(call.model.play(Reply("Tea or coffee?", audio_s=1.2)))
        await until(lambda: call.session.agent_state == "speaking")
        await asyncio.sleep(0.2)
        call.vad.speech_began(0.0)
        await asyncio.sleep(0.7)
        call.vad.speech_ended(0.0)
        said_at = time.monotonic()
        await question
        await call.reported(2)
        await asyncio.sleep(0.3)
        waited_s = time.monotonic() - said_at
        await call.model.play(Reply("Coffee it is."))
        record = await call.reported(3)
        session = await call.end()
    assert record.wait.time_to_first_audio_s == pytest.approx(waited_s, abs=0.1)
    assert session.sums.user_turns == 1


async def test_each_response_is_named_and_priced_by_the_model_that_made_it() -> None:
    other = OtherModel([Reply("Sales here.")])
    async with FakeCall(Reply(), agent=transferring_to(other)) as call:
        await call.reported(1)
        await call.model.play(TRANSFER)
        await call.reported(3)
        await call.end()
    greeting, transfer, sales = call.responses
    assert sales.origin.model == "gemini-3.1-flash-live-preview"
    assert sales.cost_usd != greeting.cost_usd, "text costs more there"
    assert transfer.origin.revision == greeting.origin.revision != sales.origin.revision


async def test_a_tool_call_is_recorded_while_its_tool_is_still_at_work() -> None:
    async with FakeCall(Reply(), agent=SlowAgent) as call:
        await call.reported(1)
        await call.model.play(CALL)
        await call.reported(2, timeout_s=3.0)
        await call.end()


async def test_a_tool_call_that_was_whole_is_not_interrupted() -> None:
    async with FakeCall(Reply(), agent=ToolAgent) as call:
        await asks(call)
        await calls_its_tool(call)
        await call.reported(3)
        session = await call.end()
    assert (session.sums.interrupted, call.responses[1].interrupted) == (0, False)


async def test_an_error_of_a_tts_is_no_lost_connection() -> None:
    async with FakeCall(Reply()) as call:
        await asks(call)
        answer = call.model.begin()
        error = tts.TTSError(timestamp=0.0, label="x", error=ConnectionResetError("gone"), recoverable=True)
        call.session.emit("error", ErrorEvent(error=error, source=call.session))
        answer.say("Fine.", 0.2)
        answer.end()
        answer.report()
        record = await call.reported(2)
        session = await call.end()
    assert not record.connection_lost
    assert session.sums.errors == {}


async def test_a_handoff_to_another_realtime_session_is_no_lost_connection() -> None:
    other = OtherModel([Reply("Sales here.", latency_s=1.5)])
    async with FakeCall(Reply(), agent=transferring_to(other), settings=SOON) as call:
        call.model.connect()
        await asks(call)
        await call.model.play(TRANSFER)
        await until(lambda: bool(other.sessions))
        await asyncio.sleep(0.3)
        other.sessions[0].connect()
        await call.reported(3)
        session = await call.end()
    assert session.sums.connections == 2
    assert [each.reason for each in call.unanswered] == ["no_response"]
    assert not any(response.connection_lost for response in call.responses)


async def test_a_response_that_was_cut_off_with_its_connection_says_so_before_the_next_one_is_there() -> None:
    recorded: list[Response] = []
    responses = Responses(recorded.append, lambda *_: None)
    responses.created(Response("GR_1"))
    responses.generation_ended(time.monotonic(), None, False)
    responses.close()
    assert recorded[0].connection_lost


async def test_an_answer_that_was_cut_off_in_its_silence_is_not_a_text_only_one() -> None:
    speech: Any = SimpleNamespace(chat_items=[ChatMessage(role="assistant", content=["Fine."], id="GR_1")])
    response = Response("GR_1", speech=speech)
    assert response.is_text_only
    response.playbacks.append(Playback(captured_at=1.0, audio_s=0.2))
    assert not response.is_text_only


async def test_audio_is_counted_once_where_the_owner_put_an_output_before_ours() -> None:
    async with FakeCall(Reply(audio_s=1.0)) as call:
        assert call.session.output.audio is not None
        call.session.output.audio = Louder(label="louder", next_in_chain=call.session.output.audio, capabilities=PAUSE)
        record = await call.reported(1)
        await call.end()
    assert record.audio_s == pytest.approx(1.0)


async def test_after_the_call_nobody_looks_for_the_end_of_a_sound() -> None:
    async with FakeCall(Reply(), settings=SOON) as call:
        await call.reported(1)
        sound(call, 0.8)
        transcript(call, final=False)
        await call.end()
        await asyncio.sleep(2.0)
        assert call.recorder._sums.unanswered == 0


async def test_a_click_before_the_answer_is_begun_shortens_no_wait_where_nothing_is_transcribed() -> None:
    async with FakeCall(Reply(), speaker=Speaker(speed=1.0)) as call:
        await asks(call)
        await asyncio.sleep(0.6)
        sound(call)
        await asyncio.sleep(0.1)
        await call.model.play(Reply("Fine.", latency_s=0.3))
        record = await call.reported(2)
        session = await call.end()
    assert record.wait.time_to_first_audio_s == about(1.0)
    assert session.sums.user_turns == 1


async def test_an_empty_turn_in_the_middle_of_what_the_user_says_is_not_the_answer_to_it() -> None:
    async with FakeCall(Reply(), speaker=Speaker(speed=1.0)) as call:
        await asks(call)
        await asyncio.sleep(0.8)
        await begins_to_speak(call)
        await asyncio.sleep(0.2)
        call.recorder.listener.turn_was_empty(None)
        await asyncio.sleep(1.0)
        sound(call, 1.2)
        call.vad.speech_ended(0.0)
        await asyncio.sleep(0.5)
        await call.model.play(Reply("Of course."))
        await call.reported(2)
        session = await call.end()
    assert not call.unanswered
    assert session.sums.longest_wait_s == pytest.approx(0.5, abs=0.1)


async def test_a_text_from_the_room_is_nobodys_speech() -> None:
    async with FakeCall(Reply("Welcome.", audio_s=3.0), speaker=Speaker(speed=1.0)) as call:
        await until(lambda: call.session.agent_state == "speaking")
        await asyncio.sleep(0.3)
        call._model.replies.append(Reply("Yes."))
        text: Any = SimpleNamespace(text="Are you open?")
        await _default_text_input_cb(call.session, text)
        await call.reported(2)
        session = await call.end()
    greeting, answer = call.responses
    assert (greeting.interrupted, greeting.talk_over_s, session.sums.talk_overs) == (True, None, 0)
    assert answer.wait.time_to_first_audio_from == "reply_requested"
    assert session.sums.user_turns == 1


async def test_who_hangs_up_in_mid_word_waited_for_nothing() -> None:
    async with FakeCall(Reply()) as call:
        await call.reported(1)
        await begins_to_speak(call)
        await asyncio.sleep(0.8)
        sound(call, 0.8)
        await call.session._aclose_impl(reason=CloseReason.PARTICIPANT_DISCONNECTED)
        await call.recorder.aclose()
    assert not call.unanswered


async def test_who_types_while_the_agent_speaks_and_lets_it_waits_from_its_end() -> None:
    replies = Reply("Welcome.", audio_s=1.4), Reply("Yes.")
    async with FakeCall(*replies, settings=SOON, speaker=Speaker(speed=1.0)) as call:
        await until(lambda: call.session.agent_state == "speaking")
        call.session.generate_reply(user_input="Are you open?")
        await call.reported(2)
        session = await call.end()
    assert not call.unanswered
    assert session.sums.longest_wait_s == pytest.approx(0.0, abs=0.1)


async def test_a_pause_in_a_sentence_that_is_answered_at_once_makes_no_long_wait() -> None:
    async with FakeCall(Reply(), speaker=Speaker(speed=1.0)) as call:
        await asks(call)
        await asyncio.sleep(0.8)
        await begins_to_speak(call)
        await asyncio.sleep(0.9)
        sound(call, 0.9)
        answer = call.model.begin()
        await asyncio.sleep(0.3)
        answer.say("Of course.", 0.8)
        assert call.session._activity is not None
        call.session._activity._user_silence_event.set()  # as the framework's voice detection does in time
        await asyncio.sleep(0.25)
        call.vad.speech_ended(0.55)
        answer.end()
        answer.report()
        record = await call.reported(2)
        session = await call.end()
    assert record.wait.time_to_first_audio_s == pytest.approx(0.3, abs=0.1)
    assert session.sums.longest_wait_s == pytest.approx(0.3, abs=0.1)


async def test_one_moment_please_takes_no_wait_from_the_answer() -> None:
    async with FakeCall(Reply(), agent=ToolAgent, speaker=Speaker(speed=1.0)) as call:
        await asks(call)
        await call.model.play(CALL)
        await asyncio.sleep(0.3)
        call._model.replies += [Reply("One moment."), Reply("It is y.")]
        call.session.generate_reply(instructions="Say: one moment.")
        answer = await call.reported(4)
        await call.end()
    assert answer.wait.time_to_first_audio_from == "user_speech_end"
    assert answer.wait.time_to_first_audio_s == about(1.2)


async def test_a_tool_that_goes_on_in_the_background_holds_up_no_answer() -> None:
    class Searching(MetricsAgent):
        @function_tool
        async def search(self, ctx: RunContext[None]) -> str:
            """Searches, for long."""
            await ctx.update("I have begun to search.")
            await asyncio.sleep(3)
            return "found"

    async with FakeCall(Reply(), agent=Searching) as call:
        await asks(call)
        call._model.replies.append(Reply("I am on it."))
        await call.model.play(Reply("", audio_s=0, calls=("search",), usage=()))
        await call.reported(3)
        await call.user_speaks(speech_s=0.8)
        await asyncio.sleep(0.4)
        await call.model.play(Reply("It is ten."))
        record = await call.reported(4)
        await call.end()
    assert (record.wait.tools, record.wait.tools_s) == ([], 0.0)


async def test_a_tool_call_whose_usage_comes_when_the_tool_is_done_waits_for_it() -> None:
    recorded: list[Response] = []
    responses = Responses(recorded.append, lambda *_: None)
    call = FunctionCall(call_id="1", name="look", arguments="{}")
    at_work: Any = SimpleNamespace(chat_items=[call], done=lambda: False, interrupted=False)
    with_answer, own = Response("GR_1", speech=at_work), Response("GR_2", speech=at_work, tool_calls_have_usage=True)
    has_come = Response("GR_0", speech=at_work, tool_calls_have_usage=True)
    for response in (has_come, with_answer, own):
        responses.created(response)
        responses.generation_ended(time.monotonic(), None, True)
    usage = metrics("GR_0")
    responses.used(usage, from_metrics(usage))
    await asyncio.sleep(2.1)
    assert recorded == [has_come, with_answer]
    assert own.usage_reason == "no usage message arrived"
    responses.close()


async def test_a_text_that_is_shown_in_time_answers_however_long_it_goes_on() -> None:
    async with FakeCall(Reply(), settings=SOON) as call:
        await call.reported(1)
        call.session.output.set_audio_enabled(False)
        await asks(call)
        await asyncio.sleep(0.3)
        answer = call.model.begin()
        answer.say("Till", 0.2)
        await asyncio.sleep(1.5)
        answer.say(" nine.", 0.2)
        answer.end()
        answer.report()
        await call.reported(2)
        session = await call.end()
    assert not call.unanswered
    assert session.sums.longest_wait_s == pytest.approx(0.3, abs=0.1)


async def test_who_waits_when_the_connection_is_lost_has_until_the_limit() -> None:
    async with FakeCall(Reply()) as call:
        await asks(call)
        cut_off = call.model.begin()
        await asyncio.sleep(0.2)
        call.recorder._connection_is_lost()
        cut_off.end()
        await asyncio.sleep(0.3)
        await call.model.play(Reply("At ten."))
        await call.reported(3)
        await call.end()
    assert not call.unanswered


async def test_an_agent_that_takes_over_in_mid_word_and_greets_nobody_is_heard_connected_and_named() -> None:
    async with FakeCall(Reply(), speaker=Speaker(speed=1.0)) as call:
        await call.reported(1)
        await until(lambda: call.session.agent_state == "listening")
        await begins_to_speak(call)
        other = OtherModel()
        call.session.update_agent(Agent(instructions="You sell.", llm=other))
        await until(lambda: bool(other.sessions))
        await asyncio.sleep(0.05)
        sales = other.sessions[0]
        sales.connect()
        answer = sales.begin()
        sound(call, 0.6)
        call.vad.speech_ended(0.0)
        await asyncio.sleep(0.3)
        answer.say("Sold.", 0.3)
        answer.end()
        answer.report()
        record = await call.reported(2)
        await call.end()
    assert record.audio_s == pytest.approx(0.3)
    assert record.wait.time_to_first_audio_s == about(0.3)
    assert record.origin.revision != call.responses[0].origin.revision
    assert len(call.connections) == 1


async def test_instructions_that_change_in_a_call_change_the_revision() -> None:
    async with FakeCall(Reply()) as call:
        await call.reported(1)
        await call.session.current_agent.update_instructions("Be short.")
        await call.model.play(Reply("Yes."))
        record = await call.reported(2)
        await call.end()
    assert record.origin.revision != call.responses[0].origin.revision


async def test_who_begins_with_the_agent_and_is_noticed_later_is_not_left_unanswered() -> None:
    async with FakeCall(Reply(), settings=SOONER, speaker=Speaker(speed=1.0)) as call:
        await asks(call)
        transcript(call, final=False)
        await asyncio.sleep(0.2)
        answer = call.model.begin()
        answer.say("A long answer.", 1.6)
        await until(lambda: call.session.agent_state == "speaking")
        await asyncio.sleep(0.05)
        call.vad.speech_began(0.15)
        await asyncio.sleep(0.7)
        sound(call, 0.85)
        call.vad.speech_ended(0.0)
        answer.end()
        answer.report()
        await call.reported(2)
        await asyncio.sleep(0.3)
        session = await call.end()
    assert not call.unanswered
    assert session.sums.user_turns == 1


async def test_who_speaks_on_unnoticed_by_the_voice_detection_has_not_stopped_when_the_agent_begins() -> None:
    async with FakeCall(Reply(), speaker=Speaker(speed=1.0)) as call:
        await call.reported(1)
        await until(lambda: call.session.agent_state == "listening")
        await asyncio.sleep(0.6)
        sound(call, 0.5)
        transcript(call, final=False)
        answer = call.model.begin()
        answer.say("Yes.", 1.0)
        answer.end()
        answer.report()
        for _ in range(50):
            await asyncio.sleep(0.01)
            call.recorder._ears.user.sounds[-1].ended_at = time.monotonic()
        record = await call.reported(2)
        await call.end()
    assert record.wait.time_to_first_audio_reason == "the user was still speaking when the audio began"


async def test_who_asks_while_the_agent_speaks_on_has_the_limit_from_its_end() -> None:
    async with FakeCall(Reply(), settings=SOONER, speaker=Speaker(speed=1.0)) as call:
        await call.reported(1)
        await until(lambda: call.session.agent_state == "listening")
        talk = asyncio.ensure_future(call.model.play(Reply("I do not let myself be interrupted.", audio_s=1.4)))
        await until(lambda: call.session.agent_state == "speaking")
        call.vad.speech_began(0.0)
        await asyncio.sleep(0.6)
        call.vad.speech_ended(0.0)
        await talk
        await call.reported(2)
        await asyncio.sleep(0.2)
        await call.model.play(Reply("At ten."))
        await call.reported(3)
        await call.end()
    assert not call.unanswered


async def test_a_cough_of_before_is_not_what_the_provider_wrote_down() -> None:
    async with FakeCall(Reply(), settings=SOON) as call:
        await call.reported(1)
        await until(lambda: call.session.agent_state == "listening")
        sound(call, 0.2)
        await call.user_speaks(speech_s=0.2)
        await asyncio.sleep(2.2)
        sound(call, 0.15)  # a word that the voice detection misses
        transcript(call, final=False)
        await asyncio.sleep(0.4)
        await call.model.play(Reply("Fine."))
        record = await call.reported(2)
        await call.end()
    assert not call.unanswered
    assert record.wait.time_to_first_audio_s == about(0.4)


async def test_an_answer_that_was_heard_whole_when_the_call_ended_was_not_interrupted() -> None:
    """The framework interrupts its speech, as the provider's turnComplete had not come."""
    speech: Any = SimpleNamespace(chat_items=[], interrupted=True)
    response = Response("GR_1", speech=speech)
    assert response.interrupted
    response.playbacks.append(Playback(captured_at=1.0, ended_at=1.2, audio_s=0.2, heard_s=0.2))
    assert not response.interrupted
    response.playbacks[0].interrupted = True
    assert response.interrupted


async def test_what_was_answered_in_text_is_not_answered_again_by_what_the_agent_says_later() -> None:
    async with FakeCall(Reply()) as call:
        await asks(call)
        call.session.output.set_audio_enabled(False)
        await call.model.play(Reply("Till nine."))
        await call.reported(2)
        call.session.output.set_audio_enabled(True)
        await asyncio.sleep(0.5)
        await call.model.play(Reply("Anything else?"))
        record = await call.reported(3)
        await call.end()
    assert record.wait.time_to_first_audio_reason == "no end of user speech was seen since the agent's last reply"
