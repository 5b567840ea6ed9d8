"""The sink `line`: a line, and all of what is out of the ordinary; understood without colour, in any encoding."""

import io
import re
import sys

import pytest
from rich.cells import cell_len

from realtime_metrics.records import AnyRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks import sink_makers
from realtime_metrics.usage import TOKEN_FIELDS, WITH_ANSWER
from tests.fakes.samples import EVERY_KIND, connection_record, response_record, session_record, unanswered_record

UNKNOWN_COUNTS = {
    **dict.fromkeys(TOKEN_FIELDS),
    "usage_reason": "no usage message arrived",
    "cost_reason": "no usage message arrived",
}
UNKNOWN = response_record(
    **UNKNOWN_COUNTS,
    time_to_first_audio_s=None,
    time_to_first_audio_reason="no end of user speech was seen since the agent's last reply",
)
LONG = response_record(interrupted=True, over_latency_budget=True, cost_reason="because " * 40)


@pytest.fixture(autouse=True)
def any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")


def printed(record: AnyRecord, capsys: pytest.CaptureFixture[str]) -> str:
    sink_makers(Settings(metrics_sinks=("line",)))["line"]().write(record)
    return capsys.readouterr().out


def test_a_response_is_its_number_wait_tokens_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(response_record(cost_usd=0.00114), capsys)
    assert " ".join(text.split()) == "#2 0.62 s 140 in, 65 out $0.0011"


@pytest.mark.parametrize(
    ("changes", "mark"),
    [
        ({"interrupted": True}, "INTERRUPTED"),
        ({"over_latency_budget": True}, "OVER BUDGET"),
        ({"connection_lost": True}, "CONNECTION LOST"),
        ({"finish_reason": "RESPONSE_REJECTED"}, "ENDED: RESPONSE_REJECTED"),
        ({"tools": ["get_next_train"], "tools_s": 2.53}, "get_next_train took 2.5 s"),
        (UNKNOWN_COUNTS, "no usage message arrived"),
    ],
)
def test_what_is_out_of_the_ordinary_is_marked_in_words(
    changes: dict[str, object], mark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mark not in printed(response_record(), capsys)
    assert printed(response_record(**changes), capsys).rstrip().endswith(mark)


def test_what_is_unknown_is_no_number_and_says_why_to_the_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(printed(UNKNOWN, capsys).split())
    assert text == (
        "#2 n/a n/a in, n/a out cost n/a no end of user speech was seen since the agent's last reply "
        "no usage message arrived"
    )


def test_a_tool_call_without_usage_of_its_own_says_which_tool_and_when_its_usage_comes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = UNKNOWN_COUNTS | {"usage_reason": WITH_ANSWER, "cost_reason": WITH_ANSWER}
    wait = {"time_to_first_audio_s": None, "time_to_first_audio_reason": "no audio: the response was a tool call"}
    text = printed(response_record(**counts, **wait, tools=["get_next_train"]), capsys)
    assert text.rstrip() == "#2  tool call get_next_train: its usage comes with the answer"
    spoken = printed(response_record(**counts, tools=["get_next_train"]), capsys)
    assert " ".join(spoken.split()) == "#2 0.62 s tool call get_next_train: its usage comes with the answer"


def test_a_small_cost_is_not_shown_as_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "$0.000042" in printed(response_record(cost_usd=0.000042), capsys)


def test_connections_unanswered_turns_and_the_sessions_end_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(connection_record(), capsys).startswith("● connected to Gemini")
    assert printed(unanswered_record(), capsys) == "● nobody answered the caller for 8.0 s: no response came\n"
    ended = printed(session_record(responses=7, user_turns=5, unanswered=2, cost_usd=0.0123), capsys)
    assert ended == "end  7 responses, 2 unanswered, p50 0.62 s, $0.0123, 30 s, user_initiated\n"
    assert "1 response, p50 0.62 s, cost n/a, 30 s" in printed(session_record(), capsys)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp437"])
@pytest.mark.parametrize("record", [*EVERY_KIND, UNKNOWN, LONG])
def test_a_record_fits_80_columns_in_any_encoding_and_one_without_trouble_is_a_line(
    record: AnyRecord, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, newline="\n"))
    sink_makers(Settings(metrics_sinks=("line",)))["line"]().write(record)
    text = written.getvalue().decode(encoding)
    assert text.endswith("\n")
    assert (text.count("\n") == 1) == (record in EVERY_KIND)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "?" not in text


def test_the_words_are_the_same_with_and_without_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = printed(LONG, capsys)
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = printed(LONG, capsys)
    assert coloured != plain
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain
