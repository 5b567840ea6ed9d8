"""The caller's stopwatch, without a room: what is heard when, what is said, and what the figures come to."""

import json
import socket
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from livekit import rtc
from livekit.rtc._proto import stats_pb2

from realtime_metrics.network import round_trip_s
from testcall.__main__ import main
from testcall.caller import Call, Turn
from testcall.records import AgentRecords
from testcall.results import Results
from testcall.speech import SpeechError, utterances
from testcall.stopwatch import BLOCK, BLOCK_S, SAMPLE_RATE, Ear

TONE = (np.sin(np.arange(BLOCK) / 8) * 5000).astype(np.int16)
SILENCE = np.zeros(BLOCK, np.int16)


def calls(url: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Runs the command with this address: the exit code."""
    for name, value in {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "secret"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["testcall", *options])
    return main()


def write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())


@pytest.mark.parametrize("url", ["localhost:7880", "wss://[bad"])
def test_an_address_that_is_none_is_one_line_and_exit_code_2(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calls(url, monkeypatch) == 2
    allowed = "it has to be like wss://HOST (or ws://, http://, https://)"
    assert capsys.readouterr().err == f"LIVEKIT_URL={url!r} is no address: {allowed}\n"


def test_a_server_that_takes_the_connection_and_says_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(said := tmp_path / "said.wav", TONE)
    monkeypatch.setattr("testcall.__main__.SERVER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"ws://127.0.0.1:{mute.getsockname()[1]}"
        assert calls(url, monkeypatch, "--wav", str(said)) == 2
    assert capsys.readouterr().err == f"LIVEKIT_URL={url!r} does not answer within 0.3 s\n"


def test_a_sound_is_timed_to_a_hundredth_and_a_pause_between_words_does_not_end_it() -> None:
    ear = Ear()
    blocks = [SILENCE] * 100 + [TONE] * 50 + [SILENCE] * 20 + [TONE] * 50 + [SILENCE] * 100 + [TONE] * 10
    for number, block in enumerate(blocks):
        ear.hear(block, 5.0 + number * BLOCK_S)
    assert [sound.began_at for sound in ear.sounds] == pytest.approx([6.0, 8.2], abs=0.01)
    assert [sound.ended_at for sound in ear.sounds] == pytest.approx([7.2, 8.3], abs=0.01)
    after, during = ear.sound_after(6.5), ear.sound_at(6.6)
    assert (after, during) == (ear.sounds[1], ear.sounds[0])
    assert ear.quiet_s(9.3) == pytest.approx(1.0, abs=0.01)


def test_pieces_that_a_busy_machine_notices_late_are_timed_as_they_played() -> None:
    ear = Ear()
    for number in range(100):
        noticed_at = 5.3 if 20 <= number < 30 else 5.0 + number * BLOCK_S
        ear.hear(TONE if number >= 25 else SILENCE, noticed_at)
    assert ear.sounds[0].began_at == pytest.approx(5.25, abs=0.01)


def test_a_wav_file_is_cut_where_it_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    second = (np.sin(np.arange(8000) / 4) * 5000).astype(np.int16)
    write_wav(path, np.concatenate([second, np.zeros(8000, np.int16), second]))
    spoken = utterances(path)
    assert [each.text for each in spoken] == ["said.wav, part 1", "said.wav, part 2"]
    assert [len(each.samples) / SAMPLE_RATE for each in spoken] == [pytest.approx(1.0, abs=0.03)] * 2


@pytest.mark.parametrize("content", [b"", b"no sound"])
def test_what_is_no_wav_file_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "said.wav"
    path.write_bytes(content)
    with pytest.raises(SpeechError, match=r"said\.wav cannot be read"):
        utterances(path)
    with pytest.raises(SpeechError, match="No such file"):
        utterances(tmp_path / "none.wav")


async def test_each_turn_stands_beside_the_record_of_its_answer(tmp_path: Path) -> None:
    path, now = tmp_path / "metrics.jsonl", time.time()
    path.write_text('{"kind": "session", "room": "testcall-1"}\n', "utf-8")
    records = AgentRecords(path)  # what was there before is of another call
    call = Call(room="testcall-1", agent_came=True, time_to_answer_s=1.5)
    call.turns = [Turn(1, "One.", now, wait_s=0.9), Turn(2, "Two.", now + 10, unanswered="silence for 8 s")]
    call.turns.append(Turn(3, "Three.", now + 20, wait_s=1.1))
    with path.open("a", encoding="utf-8") as file:
        for after_s, room, wait_s in ((1, "testcall-1", 0.7), (2, "another", 0.5), (21, "testcall-1", 0.8)):
            answer: dict[str, object] = {"kind": "response", "room": room, "timestamp": _iso(now + after_s)}
            answer |= {"time_to_first_audio_from": "user_speech_end", "time_to_first_audio_s": wait_s}
            file.write(json.dumps(answer) + "\n")
        file.write('{"kind": "session", "room": "testcall-1", "unanswered": 1, "first_audio_after_s": 0.4}\n')
    await records.read({"testcall-1"})
    results = Results([call], records, None)
    (told,) = results.as_dict()["calls"]
    assert [turn["record_s"] for turn in told["turns"]] == [0.7, None, 0.8]
    assert [turn["difference_s"] for turn in told["turns"]] == [pytest.approx(0.2), None, pytest.approx(0.3)]
    assert (told["record_unanswered"], told["record_first_audio_after_s"]) == (1, 0.4)


def test_a_turn_without_an_answer_and_a_wait_above_the_budget_are_not_good() -> None:
    good = Call(agent_came=True, turns=[Turn(1, "One.", 0.0, wait_s=0.9)])
    unanswered = Call(agent_came=True, turns=[Turn(1, "One.", 0.0, unanswered="silence for 8 s")])
    assert Results([good], None, None).are_good
    assert Results([good], None, 1.0).are_good
    assert not Results([good], None, 0.8).are_good
    assert not Results([good, unanswered], None, None).are_good
    assert not Results([Call(problem="no agent came within 20 s")], None, None).are_good
    figures = Results([good, unanswered], None, 0.8).as_dict()
    assert (figures["turns"], figures["unanswered"], figures["over_budget"]) == (2, 1, 1)
    assert (figures["wait_p50_s"], figures["wait_max_s"]) == (0.9, 0.9)


def test_the_way_to_the_server_is_that_of_the_connection_in_use_and_unknown_before_it_was_measured() -> None:
    pairs = [stats_pb2.RtcStats() for _ in range(3)]
    assert round_trip_s(rtc.RtcStats(publisher_stats=pairs, subscriber_stats=[])) is None
    used = pairs[1].candidate_pair.candidate_pair
    used.nominated, used.current_round_trip_time = True, 0.042
    assert round_trip_s(rtc.RtcStats(publisher_stats=pairs, subscriber_stats=[])) is None
    used.responses_received = 3
    assert round_trip_s(rtc.RtcStats(publisher_stats=[], subscriber_stats=pairs)) == pytest.approx(0.042)


def _iso(timestamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(timestamp)) + f".{int(timestamp % 1 * 1000):03}+00:00"
