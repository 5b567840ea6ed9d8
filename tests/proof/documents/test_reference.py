"""What docs/reference.md says of settings, sinks, records and faults is what the code says: all of it, and no more."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
from livekit.agents import CloseReason
from livekit.agents.ipc import job_proc_lazy_main

from demo import scenario
from demo.agent_process import PROJECT
from demo.scenario import load
from realtime_metrics import errors, google_live, watch
from realtime_metrics.prices import Prices
from realtime_metrics.records import Origin, Record, SessionRecord, Unanswered
from realtime_metrics.responses import EARLY_S, SETTLE_S
from realtime_metrics.settings import ENVIRONMENT, Settings
from realtime_metrics.sinks import SINKS
from realtime_metrics.sinks.console import response_rows, session_rows
from realtime_metrics.turns import SHORT_S
from realtime_metrics.usage import TOKEN_FIELDS, Tokens
from tests.fakes.samples import connection_record, response_record, session_record, unanswered_record
from tests.proof.documents.markdown import fences, quoted, read, rows, section, tables
from tests.proof.scenarios import names
from tests.proof.wire.test_faults import EXPECTED

REFERENCE = read("docs/reference.md")
FAULTS = section(REFERENCE, "When something goes wrong")
PLAYABLE = "▶ "
BILL = {*TOKEN_FIELDS, "usage_reason", "cost_usd", "cost_reason", "cost_note"}
COMMON = {field.name for field in (*fields(Record), *fields(Origin))} - {"origin"}


def test_every_setting_is_in_the_table_with_its_key_and_its_default() -> None:
    ours = {key.strip("`"): (variable, default) for variable, key, default, _ in _first_table("Settings")}
    assert {key: variable.strip("`") for key, (variable, _) in ours.items()} == ENVIRONMENT
    for key, (_, default) in ours.items():
        assert default.strip("`") == _as_written(Settings.model_fields[key].default), key


def _as_written(default: Any) -> str:
    if default is None:
        return "unset"
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default) or '""'


def test_the_tables_of_settings_and_the_example_of_env_local_name_the_same_variables() -> None:
    example = (PROJECT / ".env.example").read_text("utf-8")
    explained = {quoted(row[0])[0] for table in tables(section(REFERENCE, "Settings"))[:2] for row in table}
    assert set(re.findall(r"(?m)^(?:# )?([A-Z_]+)=", example)) == explained


def test_every_voice_is_in_the_table() -> None:
    listed = [cell for row in _first_table("Voices") for cell in row[::2]]
    assert sorted(listed) == sorted(google_live.GoogleLive.voices)


def test_every_sink_is_in_the_table() -> None:
    assert set(_named("Sinks")) == set(SINKS)


def test_every_kind_of_record_is_explained() -> None:
    table = _first_table("Records")
    assert [quoted(row[0])[0] for row in table] == ["connection", "response", "unanswered", "session"]
    assert f"at most {SETTLE_S:g} s" in table[1][1]


@pytest.mark.parametrize(
    ("title", "record", "elsewhere"),
    [
        ("In every record", {}, set()),
        ("Connections", connection_record().as_dict(), COMMON),
        ("Responses", response_record().as_dict(), COMMON | BILL),
        ("Tokens and cost", dict.fromkeys(BILL), set()),
        ("Unanswered turns", unanswered_record().as_dict(), COMMON),
        ("Sessions", session_record().as_dict(), COMMON | BILL),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_field_of_a_record_is_explained_and_no_other(
    title: str, record: dict[str, Any], elsewhere: set[str]
) -> None:
    explained = [name for row in _first_table(title) for name in quoted(row[0])]
    assert len(explained) == len(set(explained))
    assert set(explained) == (record.keys() - elsewhere if record else COMMON)


def test_every_reason_of_an_unanswered_turn_is_told_with_what_to_do() -> None:
    told = tables(section(REFERENCE, "Unanswered turns"))[1]
    assert [quoted(row[0])[0] for row in told] == list(get_args(Unanswered))
    assert all(all(row) for row in told)


def test_the_limits_that_are_named_are_those_of_the_code() -> None:
    assert f"shorter than {SHORT_S:g} s" in section(REFERENCE, "Unanswered turns")
    assert f"begins within {EARLY_S:g} s" in section(REFERENCE, "How usage is booked")


def test_every_row_of_the_terminals_tables_is_explained() -> None:
    everything: dict[str, Any] = dict.fromkeys(TOKEN_FIELDS, 1)
    response = response_rows(response_record(**everything, interrupted=True))
    trouble = {"jsonl": {"written": 1, "failed": 1, "dropped": 1}}
    session = session_rows(
        session_record(**everything, unbooked_total_tokens=1, errors={"unreachable": 1}, sinks=trouble)
    )
    of_response, of_session = (_names(table) for table in tables(section(REFERENCE, "In the terminal")))
    shown = {name.replace("Sink jsonl", "Sink …") for name, _ in session}
    assert {name for name, _ in response} == of_response
    assert shown <= of_session | of_response
    assert of_session <= shown


def test_a_field_that_the_page_speaks_of_is_one_that_there_is() -> None:
    known = {name for record in _every_kind() for name in record}
    units = r"[a-z0-9_]+_(?:s|usd|tokens|reason|per_second)"
    spoken_of = {word for word in quoted(REFERENCE) if re.fullmatch(units, word)}
    assert spoken_of - set(ENVIRONMENT) <= known


def test_every_scenario_is_told_with_what_to_do() -> None:
    assert set(_scenarios()) | {"normal", "typed", "gemini-3.1", "gemini-3.8"} == set(names())
    assert all(all(row) for row in _scenarios().values())


def test_what_is_marked_can_be_played_and_nothing_else() -> None:
    marked = set(re.findall(rf"{PLAYABLE}`([\w.-]+)`", FAULTS))
    assert marked == {path.stem for path in scenario.FOLDER.glob("*.toml")}
    assert all(load(name) for name in marked)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"normal", "typed", "gemini-3.1", "gemini-3.8"}))
def test_what_the_session_record_counts_of_a_fault_is_told(name: str) -> None:
    counted = EXPECTED[name].session
    told = {word for cell in _scenarios()[name] for word in quoted(cell)}
    for kind in counted.get("errors", {}):
        assert kind in told
    for figure in ("silent", "unbooked_total_tokens", "go_aways"):
        assert not counted.get(figure) or figure in told, figure


def test_every_kind_of_failure_is_told() -> None:
    told = {word.rstrip("…") for word in _named("Kinds of failure")}
    assert told == _kinds_of_failure()


def test_every_reason_for_an_end_is_told() -> None:
    told = {quoted(row[0])[0] for row in _first_table("Why a call ended") if quoted(row[0])}
    of_jobs = re.findall(r'_ShutdownInfo\([^)]*reason=(?:[\w.]+ or )?"([^"]+)"', inspect.getsource(job_proc_lazy_main))
    assert "job crashed" in of_jobs, "which is `job_crashed`"
    assert told == {"cost_limit", "job_crashed", *watch._ENDS.values(), *(reason.value for reason in CloseReason)}


@pytest.mark.parametrize(
    ("program", "title"), [("report", "Looking back"), ("demo", "The demo"), ("testcall", "A test call")]
)
def test_every_option_of_a_program_is_told(program: str, title: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", program, "--help"], cwd=PROJECT, capture_output=True, encoding="utf-8", check=True
    )
    options = set(re.findall(r"(?m)^  (--[\w-]+)", shown.stdout))
    assert {name.split()[0] for name in _named(title) if name.startswith("--")} == options


def test_the_example_of_own_prices_works_as_it_stands(tmp_path: Path) -> None:
    (example,) = [content for info, content in fences(REFERENCE) if info == "toml"]
    path = tmp_path / "prices.toml"
    path.write_text(example, "utf-8")
    million = {"input_tokens": 10**6, "input_audio_tokens": 10**6, "output_tokens": 10**6, "total_tokens": 2 * 10**6}
    tokens: Tokens = {**dict.fromkeys(TOKEN_FIELDS, 0), **million}
    cost = Prices(path).cost(tokens, Settings.model_fields["model"].default, google_live.GoogleLive.price_list, 0.0)
    assert cost.usd == 3 + 2


def _first_table(title: str) -> list[list[str]]:
    return tables(section(REFERENCE, title))[0]


def _named(title: str) -> list[str]:
    return [name for row in _first_table(title) for name in quoted(row[0])]


def _names(table: list[list[str]]) -> set[str]:
    return {name for row in table for name in row[0].split(", ")}


def _scenarios() -> dict[str, list[str]]:
    return {quoted(row[0])[0]: row for row in rows(FAULTS) if len(row) == 4}


def _every_kind() -> Iterable[dict[str, Any]]:
    records: list[Record] = [connection_record(), response_record(), unanswered_record(), session_record()]
    assert isinstance(records[-1], SessionRecord)
    return [record.as_dict() for record in records]


def _kinds_of_failure() -> set[str]:
    source = "".join(path.read_text("utf-8") for path in (PROJECT / "realtime_metrics").glob("*.py"))
    kinds = set(re.findall(r'(?:Failure|_sums\.error)\(\s*"(\w+)"', source))
    kinds |= {kind for kind, _, _ in google_live._WORDS.values()}
    return kinds | {re.sub(r"\d+$", "", errors.of_code("", code, "").kind) for code in (404, 1011)}
