"""The records' promises: flat, the same fields everywhere, units in the names, every unknown with its reason."""

import ast
import inspect
import json
import re
from dataclasses import fields
from itertools import pairwise
from types import ModuleType
from typing import Any, get_type_hints

import pytest

from realtime_metrics import records, session, waits
from realtime_metrics.records import (
    AnyRecord,
    ConnectionRecord,
    Origin,
    ResponseRecord,
    SessionRecord,
    UnansweredRecord,
    utc_iso,
)
from realtime_metrics.session import Sums
from realtime_metrics.usage import TOKEN_FIELDS
from realtime_metrics.waits import Wait
from tests.fakes.samples import EVERY_KIND

PARTS = [Origin, ConnectionRecord, ResponseRecord, UnansweredRecord, SessionRecord, Wait, Sums]
EXPLAINED = re.compile(r"unknown where|unknown without|`None` where|^the |^why ", re.IGNORECASE)


@pytest.mark.parametrize("record", EVERY_KIND)
def test_every_record_says_where_it_comes_from(record: AnyRecord) -> None:
    flat = record.as_dict()
    assert list(flat)[:3] == ["kind", "schema", "timestamp"]
    assert {field.name for field in fields(Origin)} <= flat.keys()


@pytest.mark.parametrize("record", EVERY_KIND)
def test_a_record_survives_json(record: AnyRecord) -> None:
    assert json.loads(json.dumps(record.as_dict(), allow_nan=False)) == record.as_dict()


@pytest.mark.parametrize("record", EVERY_KIND)
def test_only_the_session_record_nests_and_one_level_only(record: AnyRecord) -> None:
    nested = {name: value for name, value in record.as_dict().items() if isinstance(value, dict)}
    assert set(nested) == ({"errors", "sinks"} if record.kind == "session" else set())
    for value in nested.values():
        for inner in value.values():
            assert isinstance(inner, int | dict)
            assert not isinstance(inner, dict) or all(isinstance(count, int) for count in inner.values())


@pytest.mark.parametrize("part", PARTS)
def test_numbers_carry_their_unit_in_the_name(part: type[Any]) -> None:
    for name, hint in get_type_hints(part).items():
        if float in getattr(hint, "__args__", (hint,)):
            assert re.search(r"_s$|_usd$|_per_second$", name), name


def test_token_counts_are_all_there_is_to_count() -> None:
    assert len(TOKEN_FIELDS) == 30
    assert TOKEN_FIELDS[0] == "input_tokens"
    assert TOKEN_FIELDS[-1] == "total_tokens"


@pytest.mark.parametrize("part", PARTS)
def test_what_may_be_unknown_says_why_in_a_field_or_in_its_docstring(part: type[Any]) -> None:
    explained = docstrings(records) | docstrings(session) | docstrings(waits)
    reasons = {field.name.removesuffix("_reason") for field in fields(part) if field.name.endswith("_reason")}
    for field in fields(part):
        name = field.name
        if type(None) not in getattr(get_type_hints(part)[name], "__args__", ()) or name.endswith(("_reason", "_note")):
            continue
        covered = any(name.startswith(reason) for reason in reasons)
        assert covered or EXPLAINED.search(explained.get(name, "")), f"{part.__name__}.{name}"


def docstrings(module: ModuleType) -> dict[str, str]:
    """Field -> the string below it."""
    found = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ClassDef):
            for before, after in pairwise(node.body):
                if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr):
                    assert isinstance(before.target, ast.Name)
                    found[before.target.id] = ast.literal_eval(after.value)
    return found


def test_timestamps_are_utc_to_the_millisecond() -> None:
    assert utc_iso(0.0004) == "1970-01-01T00:00:00.000+00:00"
    assert utc_iso(1_700_000_000.1234) == "2023-11-14T22:13:20.123+00:00"


@pytest.mark.parametrize("record", EVERY_KIND)
def test_records_cannot_be_changed(record: AnyRecord) -> None:
    with pytest.raises(AttributeError):
        record.timestamp = "another"  # type: ignore[misc]
