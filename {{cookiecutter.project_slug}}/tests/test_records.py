"""The records' promises: flat, the same fields everywhere, units in the names, every unknown with its reason."""

import ast
import inspect
import json
import re
from dataclasses import fields
from itertools import pairwise
from typing import get_type_hints

import pytest

from realtime_metrics import records
from realtime_metrics.records import TOKEN_FIELDS, ConnectionRecord, ResponseRecord, SessionRecord, utc_iso
from realtime_metrics.sinks import AnyRecord
from tests.fakes.samples import connection_record, response_record, session_record

KINDS = [ConnectionRecord, ResponseRecord, SessionRecord]
SAMPLES = [connection_record(), response_record(), session_record()]
EXPLAINED = re.compile(r"unknown where|unknown without|`None` where", re.IGNORECASE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_begins_with_where_it_comes_from(kind: type[AnyRecord]) -> None:
    assert [field.name for field in fields(kind)][:9] == [
        "kind",
        "schema",
        "timestamp",
        "session_id",
        "room",
        "agent_name",
        "provider",
        "model",
        "voice",
    ]


@pytest.mark.parametrize("record", SAMPLES)
def test_a_record_survives_json(record: AnyRecord) -> None:
    assert json.loads(json.dumps(record.as_dict(), allow_nan=False)) == record.as_dict()


@pytest.mark.parametrize("record", SAMPLES)
def test_only_the_session_record_nests_and_one_level_only(record: AnyRecord) -> None:
    nested = {name: value for name, value in record.as_dict().items() if isinstance(value, dict)}
    assert set(nested) == ({"errors", "sinks"} if record.kind == "session" else set())
    for value in nested.values():
        for inner in value.values():
            assert isinstance(inner, int | dict)
            assert not isinstance(inner, dict) or all(isinstance(count, int) for count in inner.values())


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_carry_their_unit_in_the_name(kind: type[AnyRecord]) -> None:
    for name, hint in get_type_hints(kind).items():
        if float in getattr(hint, "__args__", (hint,)):
            assert re.search(r"_s$|_usd$|_per_second$", name), name


def test_token_counts_are_all_there_is_to_count() -> None:
    assert len(TOKEN_FIELDS) == 30
    assert TOKEN_FIELDS[0] == "input_tokens"
    assert TOKEN_FIELDS[-1] == "total_tokens"


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_be_unknown_says_why_in_a_field_or_in_its_docstring(kind: type[AnyRecord]) -> None:
    explained = docstrings()
    reasons = {field.name.removesuffix("_reason") for field in fields(kind) if field.name.endswith("_reason")}
    for field in fields(kind):
        name = field.name
        if type(None) not in getattr(get_type_hints(kind)[name], "__args__", ()) or name.endswith(("_reason", "_note")):
            continue
        covered = any(name.startswith(reason) for reason in reasons) or (name in TOKEN_FIELDS and "usage" in reasons)
        assert covered or EXPLAINED.search(explained.get(name, "")), f"{kind.__name__}.{name}"


def docstrings() -> dict[str, str]:
    """Field -> the string below it."""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(records))):
        if isinstance(node, ast.ClassDef):
            for before, after in pairwise(node.body):
                if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr):
                    assert isinstance(before.target, ast.Name)
                    found[before.target.id] = ast.literal_eval(after.value)
    return found


def test_timestamps_are_utc_to_the_millisecond() -> None:
    assert utc_iso(0.0004) == "1970-01-01T00:00:00.000+00:00"
    assert utc_iso(1_700_000_000.1234) == "2023-11-14T22:13:20.123+00:00"


@pytest.mark.parametrize("kind", KINDS)
def test_records_cannot_be_changed(kind: type[AnyRecord]) -> None:
    record = next(sample for sample in SAMPLES if isinstance(sample, kind))
    with pytest.raises(AttributeError):
        record.room = "another"  # type: ignore[misc]
