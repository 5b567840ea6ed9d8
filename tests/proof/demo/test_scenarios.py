"""The scenario files, and what a person is told about a wrong one."""

from pathlib import Path

import pytest

from demo.scenario import ScenarioError, load, read
from demo.speech import COUGH, WAV, utterances
from tests.proof.scenarios import FILES


@pytest.mark.parametrize("path", FILES.values(), ids=lambda path: path.stem)
def test_every_scenario_can_be_read_and_says_what_it_plays(path: Path) -> None:
    scenario = read(path)
    assert scenario.about
    assert len(path.stem) < 24
    assert len(f"{path.stem:24}{scenario.about}") <= 110
    assert path.read_text("utf-8").startswith("# ")


def test_an_unknown_scenario_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ScenarioError, match=r"no scenario 'nope'; there are: normal, "):
        load("nope")


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("greeting = 3", "greeting: "),
        ("[greeting]\naudio_s = -1", "greeting.audio_s: "),
        ("[[turns]]\nuser = 'nobody'", "user = 'nobody' is not an utterance; there are: rain, "),
        ("turn = []", "turn: Extra inputs"),
        ("= 3", "wrong.toml: "),
        ("about = '\udcff'", "can't decode byte 0xff"),
        pytest.param("turns = " + "[" * 3000, "wrong.toml: ", id="nested without end"),
    ],
)
def test_a_wrong_scenario_is_told_with_file_and_place(toml: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(toml, "utf-8", errors="surrogateescape")
    with pytest.raises(ScenarioError) as caught:
        read(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith("wrong.toml: ")


def test_the_speech_is_small_and_every_utterance_is_in_it() -> None:
    assert WAV.stat().st_size < 200_000
    words = [utterance for name, utterance in utterances().items() if name != COUGH]
    assert len(words) >= 3
    assert all(0.5 < utterance.duration_s < 3 for utterance in words)
    assert utterances()[COUGH].duration_s < 0.5
