"""How long somebody waited: from the user's last sound to the agent's first, in parts, or why it is unknown."""

from typing import Any

import pytest

from realtime_metrics.ears import Playback
from realtime_metrics.responses import Response
from realtime_metrics.waits import SpeechEnd, ToolRun, Wait, percentile, wait_of
from tests.fakes.realtime import metrics

UNPLAYED = "the framework did not play this response"
STOPPED = SpeechEnd(10.0, "audio")


def answer(**known: Any) -> Response:
    """The user stopped at 10.0; this answer's generation began at 10.4, its first sound was at 11.0."""
    playback = Playback(captured_at=10.8, started_at=11.0, silence_s=0.0)
    usual = {"created_at": 10.4, "completed_at": 12.8, "playbacks": [playback]}
    return Response(**{"turn": 1, "request_id": "GR_1", "timestamp": 0.0, **usual, **known})


def wait_for(response: Response, answered: SpeechEnd = STOPPED) -> Wait:
    return wait_of(response, answered, ())


def test_an_answer_is_waited_for_from_the_users_last_sound_and_its_parts_add_up() -> None:
    wait = wait_for(answer())
    assert wait.time_to_first_audio_s == pytest.approx(1.0)
    assert wait.time_to_first_audio_reason is None
    assert (wait.time_to_first_audio_from, wait.time_to_first_audio_by) == ("user_speech_end", "audio")
    assert wait.time_to_generation_s == pytest.approx(0.4)
    assert wait.generation_to_audio_s == pytest.approx(0.4)
    assert wait.playback_latency_s == pytest.approx(0.2)
    assert wait.duration_s == pytest.approx(2.0)


def test_a_generation_that_began_before_the_user_stopped_is_no_part_of_the_wait() -> None:
    wait = wait_for(answer(created_at=9.5))
    assert wait.time_to_generation_s is None
    assert wait.generation_to_audio_s == pytest.approx(0.8)


def test_a_reply_that_the_program_asked_for_is_waited_for_from_its_request() -> None:
    wait = wait_for(answer(requested_at=10.5), SpeechEnd())
    assert (wait.time_to_first_audio_from, wait.time_to_first_audio_by) == ("reply_requested", None)
    assert wait.time_to_first_audio_s == pytest.approx(0.5)


def test_what_was_not_heard_has_no_wait_and_says_why() -> None:
    wait = wait_for(answer(playbacks=[]), SpeechEnd())
    assert (wait.time_to_first_audio_s, wait.time_to_first_audio_reason) == (None, UNPLAYED)
    assert (wait.time_to_first_audio_from, wait.time_to_first_audio_by) == (None, None)
    assert (wait.duration_s, wait.duration_reason) == (None, UNPLAYED)


def test_an_answer_to_nobody_has_no_wait_and_says_why() -> None:
    wait = wait_for(answer(), SpeechEnd(reason="the user was still speaking"))
    assert (wait.time_to_first_audio_s, wait.time_to_first_audio_reason) == (None, "the user was still speaking")


def test_the_plugins_own_time_to_first_token_counts_where_nothing_better_is_known() -> None:
    wait = wait_for(answer(metrics=metrics("GR_1", ttft=0.3, duration=2.3), playbacks=[]), SpeechEnd())
    assert (wait.time_to_first_audio_s, wait.time_to_first_audio_from) == (0.3, "model")
    assert wait.duration_s == pytest.approx(2.0)


@pytest.mark.parametrize(("completed_at", "reason"), [(None, "nobody told"), (10.7, "held back")])
def test_how_long_the_model_spoke_is_unknown_where_its_end_is(completed_at: float | None, reason: str) -> None:
    wait = wait_for(answer(completed_at=completed_at))
    assert wait.duration_s is None
    assert reason in (wait.duration_reason or "")


def test_tools_count_by_their_time_inside_the_wait_and_once_where_they_ran_together() -> None:
    runs = [
        ToolRun("before", "1", 8.0, 9.0),
        ToolRun("look", "2", 10.1, 10.4),
        ToolRun("find", "3", 10.2, 10.6),
        ToolRun("late", "4", 10.9, None),
    ]
    wait = wait_of(answer(), STOPPED, runs)
    assert wait.tools == ["look", "find", "late"]
    assert wait.tools_s == pytest.approx(0.5 + 0.1)


def test_percentiles_are_values_that_were_measured() -> None:
    waits_s = [0.1, 0.2, 0.3, 0.4]
    assert [percentile(waits_s, share) for share in (0.5, 0.95, 1.0)] == [0.2, 0.4, 0.4]
    assert percentile([], 0.5) is None
