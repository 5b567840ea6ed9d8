"""By the ear: when could whom be heard."""

import asyncio

import numpy as np
import numpy.typing as npt
import pytest
from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.voice import io

from realtime_metrics.ears import Ears, HearingInput, HearingOutput, Playback, SoundFinder
from realtime_metrics.log import OwnFailures
from tests.fakes.speaker import Speaker

RATE = 16_000
Samples = npt.NDArray[np.int16]


def frame(samples: Samples, rate: int = RATE) -> rtc.AudioFrame:
    return rtc.AudioFrame(samples.tobytes(), rate, 1, len(samples))


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


def tone(seconds: float, level: int = 4000) -> Samples:
    times = np.arange(round(seconds * RATE)) / RATE
    return (np.sin(times * 2 * np.pi * 300) * level).astype(np.int16)


def noise(samples: Samples, level: float) -> Samples:
    return (samples + np.random.default_rng(7).normal(0, level, len(samples))).astype(np.int16)


def nobody(_: object) -> None:
    """Whom the ears need not tell anything."""


def ears(samples: Samples, *, frame_s: float = 0.05, at: float = 100.0) -> Ears:
    """Ears that heard this, from `at` on."""
    heard = Ears(nobody, nobody, nobody, OwnFailures())
    step = round(frame_s * RATE)
    for start in range(0, len(samples), step):
        piece = samples[start : start + step]
        heard.user.hear(frame(piece), at + (start + len(piece)) / RATE)
    return heard


@pytest.mark.parametrize("frame_s", [0.01, 0.02, 0.05])
def test_the_end_of_speech_is_that_of_the_last_sound_not_of_the_voice_detections_mark(frame_s: float) -> None:
    heard = ears(np.concatenate([silence(1.0), tone(1.5), silence(1.0)]), frame_s=frame_s)
    end = heard.user_ended(102.6)
    assert end.by == "audio"
    assert end.at == pytest.approx(102.5, abs=0.011)
    assert heard.user_began(101.08) == pytest.approx(101.0, abs=0.011)


def test_a_pause_inside_a_sentence_does_not_end_it() -> None:
    heard = ears(np.concatenate([tone(1.0), silence(0.2), tone(0.5), silence(1.0)]))
    assert [sound.ended_at for sound in heard.user.sounds] == [pytest.approx(101.7, abs=0.011)]


def test_noise_20_db_below_the_voice_does_not_hide_its_end() -> None:
    voice = np.concatenate([silence(2.0), tone(1.5, level=4000), silence(1.0)])
    end = ears(noise(voice, 4000 / 2**0.5 / 10)).user_ended(103.6)
    assert end.by == "audio"
    assert end.at == pytest.approx(103.5, abs=0.05)


def test_where_noise_hides_the_end_the_voice_detections_mark_is_taken_and_said() -> None:
    voice = np.concatenate([silence(2.0), tone(1.5), silence(1.0)])
    end = ears(noise(voice, 3000)).user_ended(103.6)
    assert (end.at, end.by) == (103.6, "voice_detection")


def test_where_something_sounds_on_the_voice_detections_mark_is_taken_and_said() -> None:
    end = ears(np.concatenate([silence(1.0), tone(3.0)])).user_ended(102.5)
    assert (end.at, end.by) == (102.5, "voice_detection")


def test_where_nothing_was_heard_the_voice_detections_mark_is_taken() -> None:
    heard = ears(silence(1.0))
    assert (heard.user_ended(100.5).at, heard.user_ended(100.5).by) == (100.5, "voice_detection")
    assert heard.user_began(100.5) == 100.5


def test_frames_that_come_late_and_all_at_once_are_still_heard_one_after_the_other() -> None:
    finder, samples, at = SoundFinder(), np.concatenate([silence(0.1), tone(0.1), silence(0.2)]), 100.0
    for number in range(0, len(samples), 160):
        piece = samples[number : number + 160]
        at = max(at, 100.0 + (number + 160) / RATE if number < 2000 else 100.28)
        finder.hear(frame(piece), at)
    (sound,) = finder.sounds
    assert sound.ended_at == pytest.approx(100.2, abs=0.03)


class Microphone(io.AudioInput):
    """Gives these frames."""

    def __init__(self, *frames: rtc.AudioFrame) -> None:
        super().__init__(label="microphone")
        self._frames = list(frames)

    async def __anext__(self) -> rtc.AudioFrame:
        if not self._frames:
            raise StopAsyncIteration
        return self._frames.pop(0)


async def test_every_frame_of_the_user_passes_as_it_is_even_one_that_cannot_be_heard(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [frame(tone(0.05)), frame(silence(0.05))]
    hearing = HearingInput(Microphone(*frames), Ears(nobody, nobody, nobody, OwnFailures()))
    assert await hearing.__anext__() is frames[0]

    def fail(*_: object) -> None:
        raise RuntimeError("deaf on purpose")

    monkeypatch.setattr(SoundFinder, "hear", fail)
    assert await hearing.__anext__() is frames[1]
    (told,) = caplog.messages
    assert told.startswith("the metrics recorder failed in HearingInput._hear; the call goes on: RuntimeError: deaf")


async def test_the_answer_after_a_cancelled_one_is_a_playback_of_its_own() -> None:
    told: list[str] = []
    listening = Ears(lambda _: told.append("began"), nobody, lambda _: told.append("ended"), OwnFailures())
    output = HearingOutput(Speaker(), listening)
    await output.capture_frame(frame(tone(0.1)))
    wrapped = output.next_in_chain
    assert wrapped is not None
    # as an avatar's output does whose capture is cancelled
    wrapped._dispatch_playback_finished(io._CaptureCancelledEvent(playback_position=0, interrupted=True))
    await output.capture_frame(frame(tone(0.1)))
    assert told == ["began", "ended", "began"]


async def played(*pieces: Samples, cut_after_s: float | None = None) -> tuple[Playback, list[str]]:
    """One stretch of the agent's audio, played in real time; what was told of it."""
    told: list[str] = []
    kept: list[Playback] = []

    def began(playback: Playback) -> None:
        kept.append(playback)
        told.append("began")

    listening = Ears(began, lambda _: told.append("heard"), lambda _: told.append("ended"), OwnFailures())
    output = HearingOutput(Speaker(speed=1.0), listening)
    for piece in pieces:
        await output.capture_frame(frame(piece))
    output.flush()
    if cut_after_s is not None:
        await asyncio.sleep(cut_after_s)
        output.clear_buffer()
    await output.wait_for_playout()
    return kept[0], told


async def test_the_agents_first_sound_comes_after_the_silence_that_its_audio_begins_with() -> None:
    playback, told = await played(silence(0.1), silence(0.03), tone(0.2))
    assert told == ["began", "heard", "ended"]
    assert playback.started_at is not None
    assert playback.first_sound_at == pytest.approx(playback.started_at + 0.13, abs=0.011)
    assert playback.audio_s == pytest.approx(0.33)
    assert playback.heard_s == pytest.approx(0.33)
    assert not playback.interrupted


async def test_what_is_cut_off_was_heard_only_in_part() -> None:
    playback, told = await played(tone(1.0), cut_after_s=0.2)
    assert told == ["began", "heard", "ended"]
    assert playback.interrupted
    assert playback.heard_s == pytest.approx(0.2, abs=0.1)
    assert playback.ended_at is not None


async def test_silence_is_no_answer() -> None:
    playback, told = await played(silence(0.2))
    assert told == ["began", "ended"]
    assert playback.first_sound_at is None


async def test_ears_are_put_into_the_audio_once_and_again_when_the_framework_changes_it() -> None:
    session: AgentSession[None] = AgentSession(vad=None)
    attached = Ears(nobody, nobody, nobody, OwnFailures())
    attached.attach(session)
    assert (session.input.audio, session.output.audio) == (None, None), "without audio there is nothing to hear"
    session.input.audio, session.output.audio = Microphone(), Speaker()
    attached.attach(session)
    first = session.output.audio
    attached.attach(session)
    assert session.output.audio is first
    assert isinstance(session.input.audio, HearingInput)
    session.output.audio = Speaker()
    attached.attach(session)
    assert isinstance(session.output.audio, HearingOutput)
