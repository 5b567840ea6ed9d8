"""What README.md and docs/reference.md say of settings, sinks, figures and faults is what the code says."""

import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from demo.agent_process import PROJECT
from realtime_metrics.journal import SETTLE_S
from realtime_metrics.pricing import PriceList
from realtime_metrics.records import (
    TOKEN_FIELDS,
    ConnectionRecord,
    CountedRecord,
    Record,
    ResponseRecord,
    SessionRecord,
)
from realtime_metrics.settings import ENVIRONMENT, Settings
from realtime_metrics.sinks import SINKS
from realtime_metrics.sinks.console import response_rows, session_rows
from tests.fakes.samples import response_record, session_record
from tests.proof.documents.markdown import DOCUMENTS, fences, links, quoted, read, resolves, rows, section, tables
from tests.proof.scenarios import names
from tests.proof.wire.test_faults import EXPECTED

README = read("README.md")
REFERENCE = read("docs/reference.md")
FAULTS = section(REFERENCE, "When something goes wrong")


def test_every_setting_is_in_the_table_with_its_key_and_its_default() -> None:
    ours = {key: (variable, default) for variable, key, default, _ in tables(section(REFERENCE, "Settings"))[0]}
    assert {key.strip("`"): variable.strip("`") for key, (variable, _) in ours.items()} == ENVIRONMENT
    for key, (_, default) in ours.items():
        assert default.strip("`") == _as_written(Settings.model_fields[key.strip("`")].default), key


def _as_written(default: Any) -> str:
    if default is None:
        return "unset"
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, tuple) else str(default) or '""'


def test_the_tables_of_settings_and_the_example_of_env_local_name_the_same_variables() -> None:
    example = (PROJECT / ".env.example").read_text("utf-8")
    explained = {quoted(row[0])[0] for row in rows(section(REFERENCE, "Settings"))}
    assert set(re.findall(r"(?m)^(?:# )?([A-Z_]+)=", example)) == explained


def test_every_sink_is_in_the_table() -> None:
    assert {quoted(row[0])[0] for row in rows(section(README, "Where the figures go"))} == set(SINKS)


@pytest.mark.parametrize(
    ("title", "record", "base"),
    [
        ("In every record", Record, None),
        ("Connections", ConnectionRecord, Record),
        ("Responses", ResponseRecord, CountedRecord),
        ("Tokens and cost, of a response and of a session", CountedRecord, Record),
        ("Sessions", SessionRecord, CountedRecord),
    ],
)
def test_every_field_of_a_record_is_explained_and_no_other(title: str, record: Any, base: Any) -> None:
    inherited = {field.name for field in fields(base)} if base else set()
    own = {field.name for field in fields(record)} - inherited
    explained = [name for row in rows(section(REFERENCE, title)) for name in quoted(row[0])]
    assert len(explained) == len(set(explained))
    assert set(explained) == own


def test_every_kind_of_record_is_explained() -> None:
    table = tables(section(REFERENCE, "What the numbers mean"))[0]
    assert [quoted(row[0])[0] for row in table] == ["connection", "response", "session"]
    assert f"At most {SETTLE_S:g} s" in table[1][1]


def test_every_row_of_the_terminals_tables_is_explained() -> None:
    everything: dict[str, Any] = dict.fromkeys(TOKEN_FIELDS, 1)
    response = response_rows(response_record(**everything))
    trouble = {"jsonl": {"written": 1, "failed": 1, "dropped": 1}}
    session = session_rows(
        session_record(**everything, unbooked_total_tokens=1, errors={"unreachable": 1}, sinks=trouble)
    )
    of_response, of_session = (_names(table) for table in tables(section(REFERENCE, "In the terminal")))
    assert {name for name, _ in response} == of_response
    assert {name.replace("Sink jsonl", "Sink …") for name, _ in session} <= of_session | of_response
    assert of_session <= {name.replace("Sink jsonl", "Sink …") for name, _ in session}


def test_the_report_that_is_shown_has_rows_that_reports_have() -> None:
    (report,) = [content for info, content in fences(README) if info == "text"]
    shown = [name.strip() for name in re.findall(r"(?m)^│ (.{19}) │", report) if name.strip()]
    assert shown[0] == "Type"
    assert shown == [name for name, _ in response_rows(response_record()) if name in shown]


def _names(table: list[list[str]]) -> set[str]:
    return {name for row in table for name in row[0].split(", ")}


def test_every_scenario_is_told_with_what_to_do() -> None:
    told = {quoted(row[0])[0]: row for row in rows(FAULTS) if len(row) == 4}
    assert set(told) | {"normal"} == set(names())
    assert all(all(row) for row in told.values())


def test_every_kind_of_error_is_told() -> None:
    source = "".join(path.read_text("utf-8") for path in (PROJECT / "realtime_metrics").glob("*.py"))
    kinds = set(re.findall(r'(?:Failure|\.error)\(\s*"(\w+)"', source) + re.findall(r'f"(\w+_)\{code\}"', source))
    assert {"unreachable", "malformed_usage", "connection_closed_"} <= kinds
    assert kinds <= {word.rstrip("…") for word in quoted(FAULTS)}


@pytest.mark.parametrize("name", sorted(set(names()) - {"normal"}))
def test_what_the_session_record_counts_of_a_fault_is_told(name: str) -> None:
    (row,) = [row for row in rows(FAULTS) if row[0] == f"`{name}`"]
    counted = EXPECTED[name].session
    told = {word for cell in row for word in quoted(cell)}
    for kind in counted.get("errors", {}):
        assert kind in told
    for figure in ("silent", "without_usage", "unbooked_total_tokens", "go_aways"):
        assert not counted.get(figure) or figure in told, figure


def test_the_example_of_own_prices_works_as_it_stands(tmp_path: Path) -> None:
    (example,) = [content for info, content in fences(REFERENCE) if info == "toml"]
    path = tmp_path / "prices.toml"
    path.write_text(example, "utf-8")
    million = {"input_tokens": 10**6, "input_audio_tokens": 10**6, "output_tokens": 10**6, "total_tokens": 2 * 10**6}
    tokens = {**dict.fromkeys(TOKEN_FIELDS, 0), **million}
    cost = PriceList(path).cost(tokens, Settings.model_fields["model"].default, "Gemini", datetime.now(UTC))
    assert cost.usd == 3 + 2


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    lost = [target for target in links(read(document)) if not resolves(target, document)]
    assert not lost
