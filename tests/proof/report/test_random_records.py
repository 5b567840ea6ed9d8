"""Whatever a file holds, the report ends with words and an exit code, and steers no terminal."""

import contextlib
import io
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from report.__main__ import main
from tests.proof.counts import LONG
from tests.proof.report import records

SOME = list(islice(records.records(seed=5), 60))
FIELDS = sorted({name for record in SOME for name in record})

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            -1,
            0,
            1e308,
            5e-324,
            2**63,
            -(2**63),
            "",
            "2026-11-01",
            "9999-12-31T23:59:59Z",
            "\x1b[2J",
            "\u202e",
            "[/x]",
            "[red",
            ":x:",
        ]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=2),
)
RECORDS = st.builds(
    lambda record, other: record | other, st.sampled_from(SOME), st.dictionaries(st.sampled_from(FIELDS), ODD)
)
LINES = st.one_of(
    RECORDS.map(lambda record: json.dumps(record).encode()),
    RECORDS.map(lambda record: json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.tuples(st.sampled_from(SOME), st.integers(0, 400)).map(lambda cut: json.dumps(cut[0]).encode()[: cut[1]]),
    st.binary(max_size=30),
    ODD.map(lambda value: json.dumps(value).encode()),
)
WAYS: list[list[str]] = [
    [],
    ["--by", "model"],
    ["--by", "customer", "--csv"],
    ["--csv"],
    ["--json"],
    ["--html", "page.html"],
    ["--since", "2026-11-01"],
    ["--session", "AJ_00000001"],
    ["--baseline", "metrics.jsonl"],
    ["--by", "voice", "--compare", "Puck", "Kore"],
]


def run(content: bytes, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output (or the page), errors."""
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("metrics.jsonl").write_bytes(content)
        with (
            mock.patch.object(sys, "argv", ["report", *arguments]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main()
        page = Path("page.html")
        return code, page.read_text("utf-8") if page.exists() else out.getvalue(), err.getvalue()


@settings(max_examples=3000 if LONG else 150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LINES, max_size=12), st.sampled_from(WAYS))
def test_any_file_is_reported_on_or_refused_in_words(lines: list[bytes], way: list[str]) -> None:
    code, out, err = run(b"\n".join(lines), *way)
    assert code in (0, 1, 2)
    assert (code == 2) == bool(err and not out)
    for text in (out, err):
        assert not any(character in text for character in "\x00\x07\x1b\x7f\x9b\u202e\u2066")
        assert "Traceback" not in text
    if "--json" in way and code == 0:
        json.loads(out, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))


@settings(max_examples=500 if LONG else 50, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"", b"   ", b"\t\r", b'{"kind":', b"[1]", b"\xff", *[json.dumps(r).encode() for r in SOME[:5]]]
        )
    )
)
def test_the_first_broken_line_is_the_one_that_an_editor_shows(lines: list[bytes]) -> None:
    good = json.dumps(SOME[6]).encode()
    broken = [number for number, line in enumerate(lines, 1) if line in (b'{"kind":', b"[1]", b"\xff")]
    code, out, _ = run(b"\n".join([*lines, good]), "--json")
    assert code == 0
    notes = "\n".join(json.loads(out)["notes"])
    if broken:
        assert f"(the first: line {broken[0]})" in notes
        assert notes.startswith(f"metrics.jsonl: {len(broken)} line")
    else:
        assert "no record" not in notes
