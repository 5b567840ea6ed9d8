"""`uv run -m report`: what it says of a file of records, and how it says that it does not know."""

import gzip
import io
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from realtime_metrics.log import visible
from realtime_metrics.usage import WITH_ANSWER
from report.__main__ import main
from report.follow import Now, Tail
from report.load import TOOL_CALL

Run = Callable[..., tuple[int, str, str]]
Record = dict[str, Any]


def response(call: str, turn: int, wait_s: float | None = 0.5, **other: Any) -> Record:
    """An answer; the time says the call's second."""
    asked = {"time_to_first_audio_s": wait_s, "time_to_first_audio_from": "user_speech_end"}
    tokens = {"input_tokens": 100 * turn, "input_audio_tokens": 100 * turn, "cost_usd": 0.001 * turn}
    return record("response", call, turn) | {"turn": turn, "interrupted": False} | asked | tokens | other


def greeting(call: str, wait_s: float = 0.3) -> Record:
    return response(call, 1, wait_s, time_to_first_audio_from="reply_requested")


def session(call: str, **other: Any) -> Record:
    ended = {"duration_s": 60.0, "user_turns": 4, "unanswered": 1, "cost_usd": 0.03, "without_usage": 0}
    return record("session", call, 59) | ended | {"errors": {}, "end_reason": "room_deleted"} | other


def record(kind: str, call: str, second: int) -> Record:
    about = {"kind": kind, "schema": 1, "timestamp": f"2026-11-01T08:00:{second % 60:02}.000+00:00"}
    return about | {
        "session_id": call,
        "room": f"room-{call}",
        "model": "gemini-3.1-flash-live-preview",
        "voice": "Puck",
    }


def call(name: str = "A", waits: tuple[float, ...] = (0.4, 0.5, 0.6), **of_session: Any) -> list[Record]:
    answers = [response(name, turn, wait) for turn, wait in enumerate(waits, 2)]
    return [greeting(name), *answers, session(name, **of_session)]


def write(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run_it(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as error:
            code = int(error.code or 0)
        found = capsys.readouterr()
        return code, found.out, found.err

    return run_it


def test_it_reads_metrics_jsonl_where_no_file_is_named(run: Run) -> None:
    write(Path("metrics.jsonl"), [*call("A"), *call("B")])
    code, out, _ = run()
    assert code == 0
    assert "2 calls, 2.0 minutes" in out
    assert "$0.0600" in out
    assert "$0.0300 a call, $0.0300 a minute" in out
    assert "p50 0.50 s" in out


def test_a_terminal_that_says_it_has_no_width_gets_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("metrics.jsonl"), call())
    expected = run()
    monkeypatch.setenv("COLUMNS", "0")
    assert run() == expected


def test_waits_are_of_answers_only_and_each_percentile_was_measured(run: Run) -> None:
    write(Path("metrics.jsonl"), call(waits=tuple(number / 10 for number in range(1, 11))))
    figures = json.loads(run("--json")[1])["figures"]
    assert figures["waits"] == 10
    assert [figures[f"wait_{rank}_s"] for rank in ("p50", "p90", "p95", "p99", "max")] == [0.5, 0.9, 1.0, 1.0, 1.0]
    assert figures["greeting_p50_s"] == 0.3


def test_what_is_unknown_is_said_with_its_number(run: Run) -> None:
    unknown = response("A", 3, None, cost_usd=None, time_to_first_audio_reason="nobody noticed", interrupted=None)
    write(Path("metrics.jsonl"), [response("A", 2, None, cost_usd=None), unknown])
    out = " ".join(run()[1].split())
    assert re.search(r"Cost +unknown", out)
    assert re.search(r"Wait +unknown", out)
    assert re.search(r"Unanswered +unknown", out)
    assert "2 of 2 responses have no known wait" in out
    assert "nobody noticed (1)" in out
    assert "2 of 2 responses have no known cost" in out
    assert "reconnects unknown, errors unknown" in out
    assert "$0.0000" not in out


def test_a_call_whose_cost_is_unknown_makes_no_minute_cheaper(run: Run) -> None:
    unknown = [record | {"cost_usd": None} for record in call("B")]
    write(Path("metrics.jsonl"), [*call("A"), *unknown])
    figures = json.loads(run("--json")[1])["figures"]
    assert figures["cost_per_minute_usd"] == figures["cost_per_call_usd"] == 0.03


def test_the_bill_of_a_call_is_its_sessions_and_else_the_sum_of_its_responses(run: Run) -> None:
    write(Path("metrics.jsonl"), [*call("A", cost_usd=0.5, unbooked_cost_usd=0.1), response("B", 2)])
    _, out, _ = run()
    assert "$0.5020" in out
    assert "1 call without a bill: the responses are added up" in out
    assert "$0.1000 of it is usage that belongs to no response" in out


def test_each_thing_is_said_once_and_in_english(run: Run) -> None:
    why = {"time_to_first_audio_reason": TOOL_CALL}
    unanswered = record("unanswered", "A", 30) | {"waited_s": 8.0, "reason": "no_response"}
    write(Path("metrics.jsonl"), [response("A", 2), response("A", 3, None, **why), unanswered, session("A")])
    out = " ".join(run()[1].split())
    assert "from the bill of 1 call, with all usage" in out
    assert "1 of 2 responses has no known wait: no audio, the response was a tool call Unanswered" in out
    assert "1 wait without an answer: no_response Interrupted" in out


def test_a_slow_answer_takes_one_line_and_a_heading_stands_apart(run: Run) -> None:
    parts = {"time_to_generation_s": 0.42, "generation_to_audio_s": 0.16, "playback_latency_s": 0.02, "tools_s": 0.0}
    records = [record | {"session_id": "AJ_AbCdEfGhIjKl"} for record in [response("A", 2, 0.6, **parts), session("A")]]
    write(Path("metrics.jsonl"), records)
    out = run()[1]
    assert re.search(r"AJ_AbCdEfGhIjKl +model 0\.42, audio 0\.16, playback 0\.02 *\n", out)
    assert re.search(r"\n *\nSlowest answers", out)


def test_a_turn_is_the_users_and_a_response_has_its_number(run: Run) -> None:
    unanswered = record("unanswered", "A", 30) | {"waited_s": 8.0, "reason": "no_response"}
    write(Path("metrics.jsonl"), [*call("A", (0.5, 0.5, 0.5)), *call("B"), unanswered])
    out = run()[1]
    assert "8 turns of the user" in out
    assert re.search(r"Wait +Response +Call", out)
    assert re.search(r"Response +Calls +Input tokens +Its cost", out)
    run("--html", "page.html")
    page = Path("page.html").read_text("utf-8")
    assert "8 turns of the user" in page
    assert not re.search(r">Turn<|[Bb]y turn|turn \d|Its turns", page)


def test_a_selection_of_responses_is_said_to_be_one(run: Run) -> None:
    write(Path("metrics.jsonl"), call("A", (0.5,)))
    assert re.search(r"How a call grows dearer *\n", run()[1])
    write(Path("metrics.jsonl"), call("A", (0.5,) * 6))  # the fourth and sixth are not shown
    assert "How a call grows dearer (a selection)" in run()[1]


def failed(name: str, end: str = "api_key_refused", **other: Any) -> list[Record]:
    """A call that ended before anything was said."""
    nothing = {"duration_s": 30.0, "user_turns": 0, "unanswered": 0, "cost_usd": 0.0, "end_reason": end}
    return [session(name, **nothing, **other)]


def test_a_call_that_a_failure_ended_is_told_wherever_calls_are(run: Run) -> None:
    broken = [record for name in "BCD" for record in failed(name)]
    write(Path("metrics.jsonl"), [*call("A"), *broken])
    out = run()[1]
    assert re.search(r"Failed +75\.0 % of the calls \(3\)", out)
    assert "why calls ended: api_key_refused (3), room_deleted (1)" in out
    figures = json.loads(run("--json")[1])["figures"]
    assert (figures["calls_failed"], figures["calls_failed_share"]) == (3, 0.75)
    assert re.search(r"gemini.* 75\.0\s", run("--by", "model")[1])
    run("--html", "page.html", "--by", "model")
    page = Path("page.html").read_text("utf-8")
    assert "75.0 % of the calls (3)" in page
    assert "<td>75.0 %</td>" in page


def test_a_call_without_a_response_makes_no_call_and_no_minute_cheaper(run: Run) -> None:
    write(Path("metrics.jsonl"), [*call("A"), *failed("B")])
    figures = json.loads(run("--json")[1])["figures"]
    assert figures["cost_per_minute_usd"] == figures["cost_per_call_usd"] == 0.03
    assert figures["calls_without_response"] == 1
    assert "$0.0300 a call, $0.0300 a minute not counting 1 call without any response" in " ".join(run()[1].split())


@pytest.mark.parametrize(
    ("end", "share"),
    [
        *(("error", 1), ("server_lost", 1), ("job_crashed", 1), ("http_503", 1), ("connection_closed_1011", 1)),
        *(("participant_disconnected", 0), ("participant_removed", 0), ("room_deleted", 0), ("user_initiated", 0)),
        *(("task_completed", 0), ("cost_limit", 0), ("job_shutdown", 0), (None, None)),
    ],
)
def test_what_ends_a_call_is_a_failure_or_not(end: str, share: float | None, run: Run) -> None:
    write(Path("metrics.jsonl"), call(end_reason=end))
    assert json.loads(run("--json")[1])["figures"]["calls_failed_share"] == share


def test_more_failed_calls_do_not_pass_the_gate_and_are_compared(run: Run) -> None:
    write(Path("metrics.jsonl"), [record for name in "ABCDEFGH" for record in call(name)])
    baseline = json.loads(run("--json")[1])
    Path("baseline.json").write_text(json.dumps(baseline))
    assert run("--baseline", "baseline.json")[0] == 0
    write(Path("after.jsonl"), [record for name in "STUVWXYZ" for record in [*call(name), *failed(f"{name}{name}")]])
    code, out, _ = run("after.jsonl", "--baseline", "baseline.json")
    assert code == 1
    assert "FAILED  Failed calls: 50.00 %, in the baseline 0.00 %, more than 10 % worse" in out
    assert out.count("ok    ") == 4
    out = " ".join(run("--compare", "metrics.jsonl", "after.jsonl")[1].split())
    assert re.search(r"Failed calls: 0\.00 % → 50\.00 % \(\+.*\): higher, by more than chance", out)
    assert "Cost a minute: $0.03000 → $0.03000 (+$0.00000 to +$0.00000)" in out


def test_a_baseline_without_a_figure_is_used_for_the_others_and_that_one_does_not_pass(run: Run) -> None:
    write(Path("metrics.jsonl"), call())
    baseline = json.loads(run("--json")[1])
    for name in ("calls_failed", "calls_failed_share", "calls_without_response"):
        del baseline["figures"][name]
    Path("baseline.json").write_text(json.dumps(baseline))
    code, out, _ = run("--baseline", "baseline.json")
    assert code == 1
    assert "FAILED  Failed calls: 0.00 %; the baseline does not hold it: record it again" in out
    assert out.count("ok    ") == 4


def test_a_line_for_each_value_of_a_field(run: Run) -> None:
    records = [record | {"customer": "acme"} for record in call("A", waits=(2.0,))] + call("B", waits=(0.5,))
    write(Path("metrics.jsonl"), records)
    code, out, _ = run("--by", "customer")
    assert code == 0
    assert re.search(r"acme .*2\.00", out)
    assert re.search(r"\(none\) .*0\.50", out)


def test_broken_lines_are_counted_and_the_first_is_named(run: Run) -> None:
    path = write(Path("metrics.jsonl"), call())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b'\n\n{"kind": "respo\n\xff\xfe\n[]\n' + whole)
    _, out, _ = run()
    assert "metrics.jsonl: 3 lines are no records (the first: line 7)" in out
    assert "5 records are more than once" in out
    assert "1 call, 1.0 minutes" in out


def test_other_versions_of_the_schema_and_gz_are_read(run: Run) -> None:
    old = {"kind": "response", "schema": 0, "timestamp": "2025-01-01T00:00:00Z", "room": "old", "cost_usd": 1.0}
    with gzip.open("old.jsonl.1.gz", "wt") as file:
        file.write(json.dumps(old | {"field_of_tomorrow": [1]}))
    code, out, _ = run("old.jsonl.1.gz")
    assert code == 0
    assert "$1.0000" in out


def test_a_record_counts_once_however_many_files_hold_it(run: Run) -> None:
    write(Path("metrics.jsonl"), call())
    write(Path("metrics.jsonl.1"), [*call(), *call("B")])
    for files in (["metrics.jsonl", "metrics.jsonl.1"], ["metrics.jsonl.1", "metrics.jsonl.1", "./metrics.jsonl.1"]):
        figures = json.loads(run(*files, "--json")[1])["figures"]
        assert figures["calls"] == 2
        assert figures["responses"] == 8
        assert figures["cost_usd"] == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "metrics.jsonl does not exist. The agent writes its records with METRICS_SINKS=jsonl"),
        (None, "a demo with: uv run -m demo --jsonl demo.jsonl"),
        ("", "metrics.jsonl is empty: no call has been recorded yet"),
        ("what\n", "metrics.jsonl: no line is a record of a call"),
    ],
)
def test_nothing_to_report_on_is_said_in_words(content: str | None, said: str, run: Run) -> None:
    if content is not None:
        Path("metrics.jsonl").write_text(content)
    code, out, err = run()
    assert code == 2
    assert said in err
    assert out == ""


def test_a_damaged_gz_is_named(run: Run) -> None:
    Path("old.jsonl.gz").write_bytes(gzip.compress(json.dumps(call()).encode())[:-9])
    code, _, err = run("old.jsonl.gz")
    assert code == 2
    assert "old.jsonl.gz is damaged, or cut short" in err


def test_since_keeps_the_calls_that_were_heard_of_since_then(run: Run) -> None:
    old = [record | {"timestamp": "2020-01-01T00:00:00+00:00"} for record in call("old")]
    write(Path("metrics.jsonl"), [*old, *call("new")])
    assert "1 call, " in run("--since", "2026-11-01")[1]
    code, _, err = run("--since", "1m")
    assert code == 2
    assert "no record since" in err
    assert "the last is of 2026-11-01T08:00:59" in err
    code, _, err = run("--since", "yesterday")
    assert code == 2
    assert "'yesterday' is no time: use 30m, 2h, 7d" in err


def test_one_call_is_chosen_by_its_id_or_room(run: Run) -> None:
    write(Path("metrics.jsonl"), [*call("A"), *call("B")])
    assert "1 call, " in run("--session", "A")[1]
    assert "1 call, " in run("--session", "room-B")[1]
    code, _, err = run("--session", "C")
    assert code == 2
    assert "no call 'C' is in metrics.jsonl; the latest are" in err


def test_one_is_not_spoken_of_as_several_nor_two_as_one(run: Run) -> None:
    write(Path("metrics.jsonl"), [*call("A"), record("connection", "A", 1) | {"timestamp": "noon"}])
    assert "the only one is A" in run("--session", "C")[2]
    assert "1 record says no time that can be read" in " ".join(run("--since", "2026-11-01")[1].split())
    write(Path("other.jsonl"), [response("B", 2)])
    write(Path("third.jsonl"), [response("C", 2)])
    out = " ".join(run("--compare", "other.jsonl", "third.jsonl")[1].split())
    assert "Unanswered turns: unknown, other.jsonl and third.jsonl do not say it" in out


def test_csv_has_a_line_a_call_and_no_formulas(run: Run) -> None:
    write(Path("metrics.jsonl"), [*call("=1+1"), *call("B")])
    lines = run("--csv")[1].splitlines()
    assert lines[0].startswith("call,calls,")
    assert sorted(line.split(",")[0] for line in lines[1:]) == ["'=1+1", "B"]


def test_text_of_the_records_steers_neither_terminal_nor_page(run: Run) -> None:
    evil = "\x1b]0;x\x07\u202e<script>alert(1)</script>"
    records = [record | {"session_id": evil, "customer": evil, "model": evil} for record in call(end_reason=evil)]
    write(Path("metrics.jsonl"), records)
    for arguments in ([], ["--by", "customer"], ["--csv"], ["--json"], ["--session", evil]):
        out = run(*arguments)[1]
        assert "\x1b" not in out
        assert "\u202e" not in out
    run("--html", "page.html", "--by", "model")
    page = Path("page.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert visible(evil) == "\ufffd]0;x\ufffd\ufffd<script>alert(1)</script>"


def test_text_of_the_records_is_no_markup(run: Run) -> None:
    odd = "[/x] [red]y :smile:"
    records = [record | {"session_id": odd, "room": odd, "customer": odd, "model": odd} for record in call()]
    write(Path("metrics.jsonl"), [*records, *call("B")])
    for arguments in ([], ["--by", "customer"]):
        assert odd in " ".join(run(*arguments)[1].split())


def test_the_page_needs_no_network_and_no_script(run: Run) -> None:
    unanswered = record("unanswered", "A", 30) | {"waited_s": 8.0, "reason": "no_response"}
    write(Path("metrics.jsonl"), [*call(), unanswered])
    assert run("--html", "page.html") == (0, "page.html is written: open it in a browser.\n", "")
    page = Path("page.html").read_text("utf-8")
    assert not re.search(r"https?://|<script|<link|url\(", page)
    assert "How long callers waited" in page
    assert '<h2>Wait</h2><div class="figure">p50 0.50 s, p95 0.60 s</div>' in page
    assert "8.00 s, no answer: no_response" in page


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--html", "metrics.jsonl"], "--html 'metrics.jsonl' holds something else than a page of this report"),
        (["--html", "."], "--html '.' cannot be written"),
        (["--tolerance", "5"], "--tolerance says what --baseline lets pass"),
    ],
)
def test_what_would_cost_the_records_or_check_nothing_is_refused(
    run: Run, arguments: list[str], complaint: str
) -> None:
    write(Path("metrics.jsonl"), call())
    before = Path("metrics.jsonl").read_bytes()
    code, _, err = run(*arguments)
    assert code == 2
    assert complaint in err
    assert Path("metrics.jsonl").read_bytes() == before


def test_a_page_is_replaced_by_a_newer_one(run: Run) -> None:
    write(Path("metrics.jsonl"), call())
    assert [run("--html", "page.html")[0] for _ in range(2)] == [0, 0]


def test_a_long_name_of_a_model_is_broken_at_a_hyphen(run: Run) -> None:
    write(Path("metrics.jsonl"), [each | {"model": "gemini-2.5-flash-native-audio-preview-12-2025"} for each in call()])
    lines = [line.split(" ")[0] for line in run("--by", "model")[1].splitlines()]
    assert {"gemini-2.5-flash-", "native-audio-", "preview-12-2025"} <= set(lines)


def test_a_difference_is_told_from_chance(run: Run) -> None:
    usual = (0.40, 0.45, 0.50, 0.55, 0.60)
    write(Path("a.jsonl"), [record for name in "ABCDEFGH" for record in call(name, usual)])
    write(Path("same.jsonl"), [record for name in "IJKLMNOP" for record in call(name, usual)])
    slow = tuple(wait + 0.3 for wait in usual)
    write(Path("slow.jsonl"), [record for name in "QRSTUVWX" for record in call(name, slow)])
    assert "Median wait: 0.500 s → 0.500 s (+0.000 s to +0.000 s): may well be chance" in run(
        "--compare", "a.jsonl", "same.jsonl"
    )[1].replace("\n", " ")
    out = run("--compare", "a.jsonl", "slow.jsonl")[1]
    assert "Median wait: 0.500 s → 0.800 s (+0.300 s to +0.300 s): higher, by more" in out
    write(Path("few.jsonl"), call())
    assert "too few to tell chance from change" in run("--compare", "a.jsonl", "few.jsonl")[1].replace("\n", " ")


def test_two_values_of_a_field_are_compared(run: Run) -> None:
    records = [
        record | {"voice": voice} for voice in ("Kore", "Puck") for name in "ABCDE" for record in call(name + voice)
    ]
    write(Path("metrics.jsonl"), records)
    code, out, _ = run("--by", "voice", "--compare", "Kore", "Puck")
    assert code == 0
    assert "A: Kore, 5 calls" in out
    code, _, err = run("--by", "voice", "--compare", "Kore", "Zephyr")
    assert code == 2
    assert "no call has the voice 'Zephyr'; there is Kore, Puck" in err


def test_a_folder_that_is_called_like_a_field_says_nothing_of_the_records(run: Run) -> None:
    folder = Path("voice=Zephyr")
    folder.mkdir()
    code, out, _ = run(write(folder / "metrics.jsonl", call()), "--by", "voice")
    assert code == 0
    assert "Puck" in out
    assert "Zephyr" not in out


def test_the_gate_fails_what_is_worse_or_was_not_measured(run: Run) -> None:
    write(Path("metrics.jsonl"), call())
    Path("baseline.json").write_text(run("--json")[1])
    assert run("--baseline", "baseline.json")[0] == 0
    for encoding in ("utf-16", "utf-8-sig"):  # as PowerShell writes it
        Path("windows.json").write_text(Path("baseline.json").read_text(), encoding=encoding)
        assert run("--baseline", "windows.json")[0] == 0

    write(Path("metrics.jsonl"), call(waits=(0.5, 0.6, 0.7)))
    code, out, _ = run("--baseline", "baseline.json")
    assert code == 1
    assert "FAILED  Median wait: 0.600 s, in the baseline 0.500 s, more than 10 % worse" in out
    assert run("--baseline", "baseline.json", "--tolerance", "30")[0] == 0

    write(Path("metrics.jsonl"), [record | {"cost_usd": None} for record in call()])
    code, out, _ = run("--baseline", "baseline.json")
    assert code == 1
    assert "FAILED  Cost a minute: not measured" in out

    write(Path("metrics.jsonl"), [*call(), *(response("A", turn, None) for turn in range(10, 20))])
    code, out, _ = run("--baseline", "baseline.json")
    assert code == 1
    assert "the wait is known of 29 % of the responses, in the baseline of 100 %" in out


def test_a_baseline_may_be_records_and_one_that_is_neither_is_refused(run: Run) -> None:
    write(Path("metrics.jsonl"), call())
    write(Path("before.jsonl"), call())
    assert run("--baseline", "before.jsonl")[0] == 0
    Path("other.json").write_text('{"figures": {"calls": 1}}')
    code, _, err = run("--baseline", "other.json")
    assert code == 2
    assert "other.json is no baseline of this version" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "--baseline base.json does not exist."),
        ("", "--baseline base.json is empty. A baseline"),
        ("# A project\n", "--baseline base.json: no line is a record of a call."),
        ('{"figures": {"calls": 1}}', "--baseline base.json is no baseline of this version"),
    ],
)
def test_what_is_no_baseline_is_answered_with_how_one_is_made(content: str | None, said: str, run: Run) -> None:
    write(Path("metrics.jsonl"), call())
    if content is not None:
        Path("base.json").write_text(content)
    code, out, err = run("--baseline", "base.json")
    assert (code, out) == (2, "")
    assert err.startswith(said)
    assert err.endswith("A baseline is made with: uv run -m report --json > baseline.json\n")
    assert "METRICS_SINKS" not in err


def test_a_followed_file_may_be_rotated_cut_and_half_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert list(tail.lines()) == []  # it is not there yet
    path.write_bytes(b"one\ntw")
    assert list(tail.lines()) == [b"one"]
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert list(tail.lines()) == [b"two", b"three"]
    with path.open("ab") as file:
        file.write(b"four\n")
    path.rename(tmp_path / "metrics.jsonl.1")
    path.write_bytes(b"five\n")
    assert list(tail.lines()) == [b"four", b"five"]
    path.write_bytes(b"6\n")  # cut: a rotation that copies
    assert list(tail.lines()) == [b"6"]


def test_the_live_view_knows_the_calls_that_run(tmp_path: Path) -> None:
    now = Now()
    for record in [*call("A")[:-1], *call("B"), {"kind": "odd"}]:
        now.take(json.dumps(record).encode())
    now.take(b'{"kind": "respo')
    assert list(now.calls) == ["A"]
    assert now.ended == 1
    assert now.broken == 2


def drawn(now: Now) -> str:
    """What `--follow` shows of these records, with the styles that the terminal is told."""
    console = Console(force_terminal=True, color_system="standard", width=80, file=io.StringIO())
    at = datetime(2026, 11, 1, 8, 1, tzinfo=UTC).timestamp()
    console.print(now.picture(Path("metrics.jsonl"), there=True, now=at))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_live_view_shows_a_failed_call_in_red() -> None:
    now = Now()
    for record in [*call("A"), *failed("B")]:
        now.take(json.dumps(record).encode())
    red = "\x1b[1;31m"
    assert f"{red}the call failed: api_key_refused" in drawn(now)
    assert f"{red}1, the last 1 s ago" in drawn(now)
    now.forget(datetime(2026, 11, 1, 9, tzinfo=UTC).timestamp())
    assert now.failures == []


def tool_call(name: str, turn: int) -> Record:
    """A response as AI Studio sends it: no audio, and its usage comes with the answer."""
    why = {"time_to_first_audio_reason": TOOL_CALL, "usage_reason": WITH_ANSWER, "tools": ["get_next_train"]}
    return response(name, turn, None, cost_usd=None, time_to_first_audio_from=None, **why)


def test_a_tool_call_lacks_nothing_in_the_live_view_and_no_cost_in_the_report(run: Run) -> None:
    records = [greeting("A"), tool_call("A", 2), response("A", 3)]
    now = Now()
    for record in records:
        now.take(json.dumps(record).encode())
    seen = re.sub(r"\x1b\[[\d;]*m", "", drawn(now))
    assert re.search(r"#2 +calls get_next_train *$", seen, re.MULTILINE)
    assert "unknown" not in seen
    assert "no known cost" not in seen
    assert "(1 answer)" in seen

    write(Path("metrics.jsonl"), records)  # the call still runs: there is no bill
    assert json.loads(run("--json")[1])["figures"]["responses_without_cost"] == 0


def test_a_response_of_unknown_cost_is_told_in_the_live_view() -> None:
    now = Now()
    for record in [response("A", 2, cost_usd=None), response("A", 3)]:
        now.take(json.dumps(record).encode())
    assert "1 of 2 responses has no known cost" in drawn(now)
    assert "cost unknown" in drawn(now)
