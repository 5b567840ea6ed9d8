"""A silence is an event: each turn that nobody answers is told once, as soon as it is certain; and no other."""

import asyncio
import time

import pytest

from realtime_metrics.ears import Playback, Sound
from realtime_metrics.records import UnansweredRecord
from realtime_metrics.settings import Settings
from tests.fakes.call import FakeCall, until
from tests.fakes.realtime import Reply
from tests.fakes.speaker import Speaker
from tests.fakes.stage import Stage

LIMIT_S = 0.6


class Talk(FakeCall):
    """A call whose answers have to come soon."""

    def __init__(self, *replies: Reply, speaker: Speaker | None = None, audio: bool = True) -> None:
        settings = Settings(metrics_answer_limit_s=LIMIT_S)
        super().__init__(Reply(), *replies, settings=settings, speaker=speaker, audio=audio)

    async def greeted(self) -> None:
        await self.reported(1)
        await until(lambda: self.session.agent_state == "listening")

    async def says(self, speech_s: float = 0.8) -> None:
        """The user says something; the voice detection is sure of its end at once."""
        await self.user_speaks(speech_s=speech_s)

    async def sounds(self) -> None:
        """The user says something that the voice detection does not notice."""
        began_at = time.monotonic()
        await asyncio.sleep(0.2)
        self.recorder._ears.user.sounds.append(Sound(began_at, time.monotonic()))

    async def told(self, timeout_s: float = 2.0) -> UnansweredRecord:
        """The only turn that was not answered."""
        await until(lambda: bool(self.unanswered), timeout_s)
        (record,) = self.unanswered
        return record


async def test_an_answered_call_has_no_silence() -> None:
    async with Talk() as call:
        await call.greeted()
        for number in (2, 3):
            await call.says()
            await call.model.play(Reply("Fine."))
            await call.reported(number)
            await until(lambda: call.session.agent_state == "listening")
        session = await call.end()
    assert not call.unanswered
    assert (session.sums.user_turns, session.sums.unanswered) == (2, 0)
    assert session.sums.longest_wait_s == pytest.approx(session.time_to_first_audio_max_s, abs=0.02)


async def test_an_answer_that_begins_before_the_voice_detection_is_sure_can_be_the_longest_wait() -> None:
    stage, now = Stage(), time.time()
    stage.user("speaking", now - 4)
    answer = stage.generate("GR_1")
    stage.speak(answer, now - 1)
    stage.user("listening", now - 1.6)
    stage.end_speech(answer)
    session = await stage.end()
    assert session.time_to_first_audio_max_s == pytest.approx(0.6, abs=0.02)
    assert session.sums.longest_wait_s == session.time_to_first_audio_max_s
    assert (session.sums.user_turns, session.sums.unanswered) == (1, 0)


async def test_an_utterance_that_is_ignored_is_told_when_the_limit_has_passed_and_only_once() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says()
        record = await call.told()
        assert (record.reason, record.request_id) == ("no_response", None)
        assert record.waited_s == pytest.approx(LIMIT_S, abs=0.1)
        await asyncio.sleep(0.2)
        await call.says()
        await asyncio.sleep(LIMIT_S + 0.1)
        session = await call.end()
    assert len(call.unanswered) == 1, "hello? hello? is one wait"
    assert (session.sums.user_turns, session.sums.unanswered) == (1, 1)
    assert session.sums.longest_wait_s is not None
    assert session.sums.longest_wait_s > LIMIT_S + 0.3, "the wait went on until the call ended"


async def test_an_answer_after_the_limit_has_its_record_with_its_long_wait() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says()
        await call.told()
        await call.model.play(Reply("At last."))
        record = await call.reported(2)
        session = await call.end()
    assert record.wait.time_to_first_audio_s is not None
    assert record.wait.time_to_first_audio_s > LIMIT_S
    assert session.sums.longest_wait_s == pytest.approx(record.wait.time_to_first_audio_s, abs=0.05)


async def test_text_without_audio_is_told_at_once() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says()
        generation = await call.model.play(Reply("Only written.", audio_s=0))
        record = await call.told(LIMIT_S / 2)
        session = await call.end()
    assert (record.reason, record.request_id) == ("response_without_audio", generation.id)
    assert (session.sums.silent, session.sums.unanswered) == (1, 1)


async def test_an_end_of_the_providers_turn_with_nothing_in_it_is_told_at_once() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says()
        call.recorder.listener.turn_was_empty("RESPONSE_REJECTED")
        record = await call.told(LIMIT_S / 2)
        await call.end()
    assert record.reason == "response_rejected"


async def test_it_is_told_too_where_the_voice_detection_is_not_sure_yet_that_the_user_has_stopped() -> None:
    async with Talk() as call:
        await call.greeted()
        call.vad.speech_began(0.9)
        await until(lambda: call.session.user_state == "speaking")
        call.recorder.listener.turn_was_empty(None)
        call.vad.speech_ended(0.0)
        record = await call.told(LIMIT_S / 2)
        await call.end()
    assert record.reason == "no_response"


async def test_a_call_that_ends_before_its_answer_is_told() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says()
        session = await call.end()
    assert [record.reason for record in call.unanswered] == ["call_ended"]
    assert session.sums.unanswered == 1


async def test_a_lost_connection_is_the_reason_where_there_was_one() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says()
        call.model.fail(ConnectionResetError("gone"), recoverable=True)
        record = await call.told()
        await call.end()
    assert record.reason == "connection_lost"


async def test_who_goes_on_before_any_answer_is_answered_once_for_both() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says()
        first = call.model.begin()
        await asyncio.sleep(0.1)
        await call.says()
        call.model.interrupt_generation(first)
        await call.model.play(Reply("Fine."))
        await call.reported(3)
        session = await call.end()
    assert not call.unanswered
    assert (session.sums.user_turns, session.sums.unanswered) == (1, 0)


@pytest.mark.parametrize("interrupted", [True, False])
async def test_who_is_answered_too_early_and_goes_on_is_told_unless_the_agent_went_on_too(interrupted: bool) -> None:
    stage = Stage(Settings(metrics_answer_limit_s=LIMIT_S))
    stage.user("speaking", time.time() - 1)
    early = stage.generate("GR_1")
    stage.speak(early, time.time())
    await asyncio.sleep(0.1)
    if interrupted:
        stage.end_playback(early, interrupted=True)
    await asyncio.sleep(0.6)
    stage.user("listening", time.time())
    stage.end_speech(early)
    await asyncio.sleep(LIMIT_S + 0.1)
    session = await stage.end()
    told = [record for record in stage.kept.records if isinstance(record, UnansweredRecord)]
    assert [record.waited_s for record in told] == ([pytest.approx(LIMIT_S, abs=0.1)] if interrupted else [])
    assert (session.sums.user_turns, session.sums.unanswered) == ((2, 1) if interrupted else (1, 0))
    if interrupted:
        assert session.sums.longest_wait_s == pytest.approx(LIMIT_S + 0.1, abs=0.1)


async def test_a_cough_while_nobody_speaks_is_no_turn() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says(speech_s=0.2)
        await asyncio.sleep(LIMIT_S + 0.2)
        session = await call.end()
    assert not call.unanswered
    assert session.sums.user_turns == 0


async def test_a_short_word_is_a_turn_where_the_provider_took_it_for_one() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says(speech_s=0.2)
        await call.model.play(Reply("Yes?"))
        await call.reported(2)
        session = await call.end()
    assert (session.sums.user_turns, session.sums.unanswered) == (1, 0)


async def test_a_sound_over_the_agents_speech_that_goes_on_is_no_turn() -> None:
    async with Talk(speaker=Speaker(speed=1.0)) as call:
        await call.reported(1)
        answer = asyncio.ensure_future(call.model.play(Reply("A long answer.", audio_s=1.5)))
        await until(lambda: call.session.agent_state == "speaking")
        await asyncio.sleep(0.2)
        call.vad.speech_began(0.0)
        await until(lambda: call.session.user_state == "speaking")
        await asyncio.sleep(0.55)
        call.vad.speech_ended(0.0)
        await answer
        await call.reported(2)
        await asyncio.sleep(LIMIT_S + 0.2)
        session = await call.end()
    assert not call.unanswered
    assert session.sums.user_turns == 0


async def test_a_typed_turn_counts_like_a_spoken_one() -> None:
    async with Talk() as call:
        await call.greeted()
        call.session.generate_reply(user_input="Are you there?")
        record = await call.told()
        session = await call.end()
    assert record.reason == "no_response"
    assert (session.sums.user_turns, session.sums.unanswered) == (1, 1)


async def test_where_the_agent_has_no_audio_its_text_is_the_answer() -> None:
    async with Talk(Reply("Yes.", audio_s=0), audio=False) as call:
        await call.reported(1)
        call.session.generate_reply(user_input="Are you there?")
        await call.reported(2)
        await asyncio.sleep(LIMIT_S + 0.1)
        session = await call.end()
    assert not call.unanswered
    assert (session.sums.user_turns, session.sums.unanswered) == (1, 0)


async def test_where_the_agents_audio_is_switched_off_in_the_call_its_text_is_the_answer_from_then_on() -> None:
    async with Talk() as call:
        await call.greeted()
        call.session.output.set_audio_enabled(False)
        await call.says()
        await call.model.play(Reply("Only written.", audio_s=0.2))
        record = await call.reported(2)
        session = await call.end()
    assert record.wait.time_to_first_audio_reason == "the session has no audio output"
    assert (record.audio_s, record.heard_s) == (None, None)
    assert not call.unanswered
    assert (session.sums.user_turns, session.sums.silent) == (1, 0)


async def test_who_interrupts_is_told_how_long_both_could_be_heard() -> None:
    async with Talk(speaker=Speaker(speed=1.0)) as call:
        await call.reported(1)
        generation = call.model.begin()
        generation.say("A very long answer.", 5.0)
        await until(lambda: call.session.agent_state == "speaking")
        await asyncio.sleep(0.2)
        call.vad.speech_began(0.0)
        await until(lambda: call.session.user_state == "speaking")
        await asyncio.sleep(0.15)
        call.model.interrupt_generation(generation)
        record = await call.reported(2)
        session = await call.end()
    assert record.talk_over_s == pytest.approx(0.15, abs=0.1)
    assert record.heard_s is not None
    assert record.audio_s is not None
    assert record.heard_s < record.audio_s
    assert session.sums.talk_overs == 1


async def test_who_agreed_long_before_is_not_told_to_have_talked_over_since_then() -> None:
    stage, now = Stage(), time.time()
    handle = stage.generate("GR_1")
    stage.speak(handle, now - 9, seconds=20)
    stage.user("speaking", now - 8)
    stage.user("listening", now - 7.8)
    stage.user("speaking", now - 0.5)
    stage.end_playback(handle, interrupted=True)
    stage.usage("GR_1")
    stage.end_speech(handle)
    await stage.end()
    assert stage.responses[0].talk_over_s == pytest.approx(0.5, abs=0.1)


async def test_a_cough_after_the_question_does_not_shorten_the_wait_for_its_answer() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.says()
        answer = call.model.begin()
        await asyncio.sleep(0.3)
        await call.says(speech_s=0.2)
        answer.say("Fine.", 0.2)
        answer.end()
        answer.report()
        record = await call.reported(2)
        session = await call.end()
    assert record.wait.time_to_first_audio_s is not None
    assert record.wait.time_to_first_audio_s > 0.3
    assert session.sums.longest_wait_s == pytest.approx(record.wait.time_to_first_audio_s, abs=0.05)


async def test_a_typed_turn_whose_answer_has_no_sound_is_told_at_once() -> None:
    async with Talk(Reply("Only written.", audio_s=0)) as call:
        await call.greeted()
        call.session.generate_reply(user_input="Are you there?")
        record = await call.told(LIMIT_S / 2)
        await call.end()
    assert (record.reason, record.request_id) == ("response_without_audio", call.responses[1].request_id)


async def test_an_answer_that_is_cut_in_its_leading_silence_leaves_the_user_unanswered() -> None:
    async with Talk(speaker=Speaker(speed=1.0)) as call:
        await call.reported(1)
        await until(lambda: call.session.agent_state == "listening")
        await call.says()
        answer = call.model.begin()
        answer.say("Well", 1.0, silence_s=1.0)
        await until(lambda: call.session.agent_state == "speaking")
        await asyncio.sleep(0.2)
        call.model.interrupt_generation(answer)
        record = await call.reported(2)
        session = await call.end()
    assert record.wait.time_to_first_audio_reason == "interrupted before any audio was played"
    assert [unanswered.reason for unanswered in call.unanswered] == ["call_ended"]
    assert session.sums.user_turns == 1


def test_a_playback_that_was_cut_before_its_first_sound_was_not_heard() -> None:
    playback = Playback(captured_at=1.0, started_at=1.0, silence_s=0.5, audio_s=2.0, heard_s=0.3, interrupted=True)
    assert playback.first_sound_at is None


async def test_what_the_voice_detection_missed_is_a_turn_by_the_ear_where_the_provider_took_it_for_one() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.sounds()
        await asyncio.sleep(0.3)
        await call.model.play(Reply("Fine."))
        record = await call.reported(2)
        session = await call.end()
    assert (record.wait.time_to_first_audio_from, record.wait.time_to_first_audio_by) == ("user_speech_end", "audio")
    assert (session.sums.user_turns, session.sums.unanswered) == (1, 0)


async def test_it_is_told_too_if_nobody_answers_it() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.sounds()
        generation = call.model.begin()
        record = await call.told(3.0)
        generation.end()
        await call.end()
    assert record.reason == "no_response"


async def test_noise_alone_is_no_turn() -> None:
    async with Talk() as call:
        await call.greeted()
        await call.sounds()
        await asyncio.sleep(LIMIT_S + 0.7)
        session = await call.end()
    assert not call.unanswered
    assert session.sums.user_turns == 0
