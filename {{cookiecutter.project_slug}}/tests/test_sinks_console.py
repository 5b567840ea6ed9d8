"""The reports on the terminal: 80 columns, light and dark, without colour, in any encoding."""

import io
import re
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console

from realtime_metrics.records import AnyRecord, ResponseRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.console import ConsoleSink, _shown, rendered, response_rows, session_rows
from realtime_metrics.usage import TOKEN_FIELDS
from tests.fakes.samples import connection_record, response_record, session_record, unanswered_record

RECORDS: list[AnyRecord] = [
    connection_record(),
    unanswered_record(),
    response_record(cost_usd=0.00105),
    session_record(cost_usd=0.00105, price_data="genai-prices", price_date="2026-11-23"),
]
UNKNOWN: list[AnyRecord] = [
    connection_record(reconnect=True, resumed=None, go_away=True),
    response_record(
        **dict.fromkeys(TOKEN_FIELDS),
        usage_reason="no usage message arrived",
        cost_reason="no usage message arrived",
        label="",
        time_to_first_audio_s=None,
        time_to_first_audio_from=None,
        time_to_first_audio_reason="no audio: the response was text only",
        duration_s=None,
        duration_reason="no audio: the response was text only",
        tokens_per_second=None,
        interrupted=True,
    ),
    session_record(
        **dict.fromkeys(TOKEN_FIELDS),
        usage_reason="responses came without usage: 1 of 1",
        cost_reason="no usage message arrived",
        time_to_first_audio_p50_s=None,
        time_to_first_audio_reason="no answer to speech has a known wait",
    ),
]
SGR = re.compile(r"\x1b\[([\d;]*)m")
# reset, bold, dim, the terminal's own colour; and colours that read on light and dark: no black, white, nor backgrounds
READS_ON_ANY_BACKGROUND = {"0", "1", "2", "22", "39", "31", "32", "33", "34", "35", "36"}


class Stdout(io.StringIO):
    """Remembers its writes."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.writes: list[str] = []
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        self.writes.append(text)
        return super().write(text)


@pytest.fixture(autouse=True)
def any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "LINES", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")


def printed(record: AnyRecord, monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False) -> str:
    stdout = Stdout(terminal=terminal)
    monkeypatch.setattr(sys, "stdout", stdout)
    ConsoleSink(Settings()).write(record)
    return stdout.getvalue()


@pytest.mark.parametrize("record", RECORDS + UNKNOWN)
def test_a_record_is_one_write_so_nothing_gets_between_its_lines(
    record: AnyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdout = Stdout()
    monkeypatch.setattr(sys, "stdout", stdout)
    ConsoleSink(Settings()).write(record)
    (written,) = filter(None, stdout.writes)
    assert written.endswith("\n")


@pytest.mark.parametrize("record", RECORDS + UNKNOWN)
def test_a_record_fits_80_columns(record: AnyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(cell_len(line) for line in printed(record, monkeypatch).splitlines()) <= 80


def test_square_brackets_are_text_and_no_markup() -> None:
    text = rendered(_shown(response_record(model="[red]model[/red]")), Console(file=io.StringIO(), width=80))
    assert "[red]model[/red]" in text


@pytest.mark.parametrize("record", RECORDS + UNKNOWN)
def test_in_a_pipe_there_are_no_control_codes(record: AnyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in printed(record, monkeypatch)


@pytest.mark.parametrize("record", RECORDS + UNKNOWN)
def test_on_a_terminal_only_colours_are_used_that_read_on_light_and_dark(
    record: AnyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(record, monkeypatch, terminal=True)
    codes = {code for sequence in SGR.findall(text) for code in sequence.split(";")}
    assert codes & {"31", "32", "33", "34", "35", "36"}, "there is colour at all"
    assert codes <= READS_ON_ANY_BACKGROUND
    assert "\x1b" not in SGR.sub("", text)


@pytest.mark.parametrize("record", RECORDS + UNKNOWN)
def test_with_no_color_a_terminal_gets_no_colour(record: AnyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(record, monkeypatch, terminal=True)
    codes = {code for sequence in SGR.findall(text) for code in sequence.split(";")}
    assert codes <= {"0", "1", "2", "22", "39"}


@pytest.mark.parametrize("record", RECORDS + UNKNOWN)
def test_a_report_says_the_same_with_and_without_colour(record: AnyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = printed(record, monkeypatch)
    assert SGR.sub("", printed(record, monkeypatch, terminal=True)) == plain


def test_a_terminal_that_says_it_has_no_width_gets_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    text = printed(response_record(model="m" * 500), monkeypatch, terminal=True)
    assert max(cell_len(line) for line in SGR.sub("", text).splitlines()) == 80


@pytest.mark.parametrize("columns", [20, 40, 80, 300])
def test_the_width_is_the_terminals_up_to_a_line_that_reads_well(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = printed(response_record(model="m" * 500), monkeypatch, terminal=True)
    widest = max(cell_len(line) for line in SGR.sub("", text).splitlines())
    assert widest == min(columns, 100)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437"])
@pytest.mark.parametrize("record", RECORDS + UNKNOWN)
def test_an_old_encoding_gets_every_figure_in_plain_lines(
    record: AnyRecord, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, newline="\n"))
    ConsoleSink(Settings()).write(record)
    text = written.getvalue().decode(encoding)
    assert "?" not in text, "it is drawn with what the encoding has"
    utf8 = rendered(_shown(record), Console(file=io.StringIO(), width=80))
    assert re.findall(r"\d[\d,.]*", text) == re.findall(r"\d[\d,.]*", utf8)


def test_no_row_of_an_ordinary_answer_breaks_at_80_columns() -> None:
    record = response_record(cost_usd=0.00105)
    assert len(shown(record).splitlines()) == 1 + len(response_rows(record))


def test_an_assumption_about_the_cost_and_why_something_is_unknown_are_told_in_full() -> None:
    note = "tokens of unknown modality are priced as text: the provider leaves open what they cost"
    reason = "no end of user speech was seen since the agent's last reply, and it is a long story"
    text = shown(response_record(cost_usd=0.00105, cost_note=note, duration_s=None, duration_reason=reason))
    in_a_line = " ".join(text.split())
    assert f"$0.001050 ({note})" in in_a_line
    assert reason in in_a_line


def test_a_class_is_shown_by_its_last_name() -> None:
    assert dict(response_rows(response_record()))["Label"] == "RealtimeModel"


def test_a_zero_that_says_nothing_has_no_row() -> None:
    rows = dict(response_rows(response_record()))
    assert not {"↳ Unknown Modality", "Interrupted", "Thoughts Tokens"} & set(rows)


def test_the_title_says_whose_response_it_is() -> None:
    assert shown(response_record(model="m-1")).startswith("Response 2 · m-1 · Puck ─")


def test_a_response_that_was_cut_short_says_so() -> None:
    rows = dict(response_rows(response_record(connection_lost=True, finish_reason="RESPONSE_REJECTED")))
    assert rows["Interrupted"].startswith("no (the connection was lost")
    assert rows["Interrupted"].endswith("(the provider ended it: RESPONSE_REJECTED)")
    assert dict(response_rows(response_record(interrupted=True)))["Interrupted"] == "yes"


def test_a_stdout_without_an_encoding_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = Stdout()
    assert stdout.encoding is None
    assert "Response 2" in printed(response_record(), monkeypatch)


# -- what they say


def shown(record: AnyRecord) -> str:
    return rendered(_shown(record), Console(file=io.StringIO(), width=80))


def test_a_connect_is_one_line_with_how_long_it_took() -> None:
    text = shown(connection_record())
    assert text == "● connected to Gemini gemini-2.5-flash-native-audio-preview-12-2025 in 0.123 s\n"


def test_a_reconnect_is_one_line_that_says_whether_it_was_announced_and_whether_the_conversation_goes_on() -> None:
    text = shown(connection_record(reconnect=True, go_away=True, resumed=True))
    assert text == "● reconnected in 0.123 s after Gemini announced the end, conversation resumed\n"
    text = shown(connection_record(reconnect=True, go_away=False, resumed=True))
    assert text == "● reconnected to Gemini in 0.123 s, conversation resumed\n"
    assert shown(connection_record(reconnect=True, resumed=None)) == "● reconnected to Gemini in 0.123 s\n"


def test_every_wait_says_what_it_was_measured_from() -> None:
    waits = {
        "user_speech_end": "0.616 s (since the user stopped speaking)",
        "reply_requested": "0.616 s (since the reply was asked for)",
        "model": "0.616 s (since the model created the response)",
    }
    for measured_from, words in waits.items():
        assert (
            dict(response_rows(response_record(time_to_first_audio_from=measured_from)))["Time to First Audio"] == words
        )


def test_a_turn_that_nobody_answered_is_one_line_in_words() -> None:
    assert shown(unanswered_record()) == "● nobody answered the caller for 8.0 s: no response came\n"


def test_the_time_of_tools_is_told_beside_the_wait_and_not_cut_off_at_80_columns() -> None:
    record = response_record(tools=["get_next_train"], tools_s=2.5, over_latency_budget=True)
    rows = dict(response_rows(record))
    told = "0.616 s, over budget, get_next_train took 2.5 s"
    assert rows["Time to First Audio"] == f"{told} (since the user stopped speaking)"
    assert told in shown(record)
    quick = dict(response_rows(response_record(tools=["get_next_train"], tools_s=0.01)))
    assert quick["Time to First Audio"] == "0.616 s, tool get_next_train (since the user stopped speaking)"


def test_how_much_of_the_answer_was_heard_is_told() -> None:
    rows = dict(response_rows(response_record(interrupted=True, audio_s=4.0, heard_s=1.5, talk_over_s=0.31)))
    assert rows["Audio"] == "4.0 s, heard 1.5 s, talked over for 0.31 s"


def test_escape_codes_and_bidi_marks_from_outside_do_not_reach_the_terminal() -> None:
    text = shown(response_record(model="\x1b[31mred\u202e", label="\x9b2J", cost_reason="a\nb", cost_usd=None))
    assert not set(text) & {"\x1b", "\x9b", "\u202e"}
    assert "n/a (a b)" in text


def test_a_wait_over_the_budget_is_marked_in_words_and_not_by_colour_alone() -> None:
    rows = dict(response_rows(response_record(over_latency_budget=True)))
    assert rows["Time to First Audio"] == "0.616 s, over budget (since the user stopped speaking)"


def test_what_is_unknown_says_why_and_is_never_a_number() -> None:
    record = UNKNOWN[1]
    assert isinstance(record, ResponseRecord)
    unknown = {name: value for name, value in response_rows(record) if "n/a" in value}
    assert set(unknown) >= {
        "Label",
        "Duration",
        "Time to First Audio",
        "Input Tokens",
        "↳ Cached Tokens",
        "Output Tokens",
        "Total Tokens",
        "Tokens/Second",
        "Cost",
    }
    assert all(re.fullmatch(r"n/a \(.+\)", value) for value in unknown.values())
    assert "None" not in shown(record)


def test_modalities_beyond_audio_and_text_are_shown_where_there_are_any() -> None:
    rows = dict(response_rows(response_record(input_video_tokens=9, thoughts_tokens=4, tool_use_tokens=3)))
    assert rows["↳ Video Tokens"] == "9"
    assert rows["Thoughts Tokens"] == "4"
    assert rows["Tool Use Tokens"] == "3"
    assert "↳ Image Tokens" not in rows


def test_the_sessions_summary_says_what_went_wrong() -> None:
    record = session_record(
        responses=7,
        user_turns=5,
        unanswered=2,
        interrupted=2,
        silent=1,
        without_usage=3,
        over_latency_budget=4,
        latency_budget_s=1.5,
        unbooked_total_tokens=1234,
        unbooked_cost_usd=0.25,
        reconnects=1,
        connections=2,
        go_aways=1,
        resumptions=1,
        talk_overs=2,
        longest_wait_s=8.25,
        errors={"rate_limited": 2},
        sinks={
            "jsonl": {"written": 1, "failed": 1, "dropped": 6},
            "console": {"written": 7, "failed": 0, "dropped": 0},
        },
        end_reason="rate_limited",
    )
    rows = dict(session_rows(record))
    assert rows["Responses"] == "7, 2 interrupted, 1 silent, 3 without usage, 2 talked over, 4 over the budget of 1.5 s"
    assert rows["Unbooked Tokens"] == "1,234, $0.250000: they are in no response's report"
    assert rows["Connections"] == "2, 1 reconnected, 1 resumed, 1 announced to end"
    assert rows["Longest Wait"] == "8.250 s"
    assert rows["Errors"] == "rate_limited ×2"
    assert rows["User Turns"] == "5, 2 unanswered"
    assert rows["Sink jsonl"] == "1 failed, 6 dropped"
    assert rows["Ended"] == "rate_limited"
    assert "Sink console" not in rows


def test_a_summary_of_a_session_without_faults_does_not_speak_of_any() -> None:
    rows = dict(session_rows(session_record(errors={})))
    assert rows["Responses"] == "1"
    assert not {"Errors", "Unbooked Tokens"} & set(rows)
    assert not [name for name in rows if name.startswith("Sink")]
