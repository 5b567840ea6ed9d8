"""One JSON object a line, whatever happens to the file."""

import io
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from realtime_metrics.records import AnyRecord, ResponseRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks import jsonl
from realtime_metrics.sinks.jsonl import JsonlSink
from tests.fakes.samples import connection_record, response_record, session_record

PROJECT = Path(__file__).parent.parent
WRITER = """
import sys, time, types
from pathlib import Path
from realtime_metrics.sinks.jsonl import JsonlSink
from tests.fakes.samples import response_record
sink = JsonlSink(types.SimpleNamespace(metrics_jsonl_path=Path(sys.argv[1])))
Path(sys.argv[1] + sys.argv[2]).touch()
while not all(Path(sys.argv[1] + name).exists() for name in sys.argv[4:]):
    time.sleep(0.001)
for turn in range(int(sys.argv[3])):
    sink.write(response_record(session_id=sys.argv[2], turn=turn))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def sink_to(path: Path) -> JsonlSink:
    return JsonlSink(Settings(metrics_jsonl_path=path))


def write(path: Path, *turns: int) -> None:
    sink = sink_to(path)
    for turn in turns:
        sink.write(response_record(turn=turn))
    sink.close()


def turns_in(path: Path) -> list[int]:
    return [json.loads(line)["turn"] for line in path.read_text("utf-8").splitlines()]


def start_writer(path: Path, name: str, lines: int, before: str = "", beside: str = "") -> subprocess.Popen[str]:
    """A process that writes lines; if it is to write `beside` another one, once both are ready."""
    return subprocess.Popen(
        [sys.executable, "-c", before + WRITER, str(path), name, str(lines), *beside.split()],
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def test_a_line_is_the_record_with_its_names_and_nulls(path: Path) -> None:
    sink = sink_to(path)
    records: list[AnyRecord] = [connection_record(), response_record(), session_record()]
    for record in records:
        sink.write(record)
    lines = path.read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [record.as_dict() for record in records]
    assert json.loads(lines[1])["time_to_first_audio_reason"] is None


def test_text_of_any_language_stays_readable(path: Path) -> None:
    sink_to(path).write(response_record(room="Küche \N{SMILING FACE WITH SUNGLASSES}\n\u2028"))
    text = path.read_text("utf-8")
    assert "Küche \N{SMILING FACE WITH SUNGLASSES}" in text
    assert text.count("\n") == 1


def test_a_line_is_in_the_file_when_write_returns(path: Path) -> None:
    sink = sink_to(path)
    for turn in (1, 2, 3):
        sink.write(response_record(turn=turn))
        assert turns_in(path) == list(range(1, turn + 1))


def test_an_existing_file_is_appended_to(path: Path) -> None:
    write(path, 1, 2)
    write(path, 3)
    assert turns_in(path) == [1, 2, 3]


class ShortFile(io.FileIO):
    """Takes only a part of what it is given."""

    bytes_at_once = 1000

    def write(self, data: Any) -> int:
        return super().write(data[: self.bytes_at_once])


SHORT_WRITES = """
import portalocker.utils
from tests.test_sinks_jsonl import ShortFile
portalocker.utils.open = lambda path, mode, buffering, opener: ShortFile(path, mode, opener=opener)
"""


@pytest.mark.parametrize("system", ["", SHORT_WRITES], ids=["whole writes", "short writes"])
def test_two_processes_that_write_to_one_file_do_not_mix_their_lines(path: Path, system: str) -> None:
    writers = [start_writer(path, name, 2000, system, beside="AJ_1 AJ_2") for name in ("AJ_1", "AJ_2")]
    assert [(writer.wait(60), writer.stderr and writer.stderr.read()) for writer in writers] == [(0, ""), (0, "")]
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    for name in ("AJ_1", "AJ_2"):
        assert [record["turn"] for record in records if record["session_id"] == name] == list(range(2000))
    switches = sum(one["session_id"] != other["session_id"] for one, other in pairwise(records))
    assert switches > 1, "they did write at the same time"


def test_a_file_that_is_rotated_away_is_made_anew(path: Path) -> None:
    sink = sink_to(path)
    sink.write(response_record(turn=1))
    rotated = path.rename(path.with_suffix(".1"))
    sink.write(response_record(turn=2))
    assert (turns_in(rotated), turns_in(path)) == ([1], [2])


def test_a_line_that_a_killed_process_left_unfinished_does_not_spoil_the_next(path: Path) -> None:
    write(path, 1)
    with path.open("ab") as file:
        file.write(b'{"kind": "respon')
    write(path, 2, 3)
    lines = path.read_text("utf-8").splitlines()
    assert [json.loads(line)["turn"] for line in (lines[0], *lines[-2:])] == [1, 2, 3]


@pytest.mark.parametrize("bytes_at_once", [1, 7, 1000])
def test_short_writes_still_make_whole_lines(path: Path, bytes_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShortFile, "bytes_at_once", bytes_at_once)
    with ShortFile(path, "a+") as file:
        for turn in (1, 2):
            jsonl._append(file, json.dumps({"turn": turn, "text": "x" * 3000}).encode() + b"\n")
    assert turns_in(path) == [1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
def test_a_line_that_fits_only_in_part_is_taken_back_and_raises(path: Path) -> None:
    assert sys.platform != "win32"  # for mypy
    import resource

    line = len(json.dumps(response_record(turn=0).as_dict())) + 1
    assert 3000 % line > 10, "the limit lies within a line"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(path, *range(1 + 3000 // line))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert turns_in(path) == list(range(3000 // line))
    write(path, 99)
    assert turns_in(path)[-1] == 99


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_raises_and_the_next_record_is_tried_again() -> None:
    sink = sink_to(Path("/dev/full"))
    for _ in range(2):
        with pytest.raises(OSError, match="No space left on device"):
            sink.write(response_record())


def test_a_folder_that_vanished_raises_and_is_used_again_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "metrics.jsonl"
    sink = sink_to(path)
    with pytest.raises(OSError, match="No such file"):
        sink.write(response_record(turn=1))
    path.parent.mkdir()
    sink.write(response_record(turn=2))
    assert turns_in(path) == [2]


def test_a_record_that_is_no_json_raises_and_leaves_no_trace(path: Path) -> None:
    record: ResponseRecord = response_record(duration_s=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        sink_to(path).write(record)
    assert not path.exists()


def no_file(path: Path, what: str) -> Path:
    """A path that no line can be written to."""
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a link to a folder that is not there":
        path.symlink_to(path.parent / "nowhere" / "metrics.jsonl")
    else:
        path = path.parent / "nowhere" / path.name
    return path


def test_a_path_with_a_nul_in_it_is_told() -> None:
    problem = JsonlSink.problem(Settings(metrics_jsonl_path=Path("a\0b")))
    assert "cannot be written to (embedded null byte)" in (problem or "")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and links there")
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("in a folder that is not there", r"\S+nowhere is no folder that files can be made in"),
        ("a link to a folder that is not there", r"\S+nowhere is no folder that files can be made in"),
        ("a folder", "it is a folder"),
        ("a pipe", "it is no file"),
    ],
)
def test_a_path_that_cannot_be_used_is_told_before_a_call(path: Path, what: str, why: str) -> None:
    path = no_file(path, what)
    problem = JsonlSink.problem(Settings(metrics_jsonl_path=path))
    assert re.match(rf"METRICS_JSONL_PATH='{path}' cannot be written to \({why}\): name a file that", problem or "")


@pytest.mark.skipif(sys.platform == "win32", reason="no links there")
def test_the_check_before_a_call_only_looks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    monkeypatch.setattr(os, "open", None)
    monkeypatch.setattr(os, "unlink", None)
    for name in (path, link):
        assert JsonlSink.problem(Settings(metrics_jsonl_path=name)) is None
    assert link.is_symlink()
    assert not path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="other locks there")
def test_a_file_that_somebody_else_has_locked_is_given_up_after_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(jsonl, "LOCK_S", 0.05)
    write(path, 1)
    with path.open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match=r"somebody else has had the file locked for 0\.05 s"):
            write(path, 2)
    write(path, 3)
    assert turns_in(path) == [1, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions there")
def test_a_new_file_is_its_owner_s_only(path: Path) -> None:
    write(path, 1)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_path_that_can_be_used_is_no_problem_and_an_existing_file_is_left_as_it_is(path: Path) -> None:
    assert JsonlSink.problem(Settings(metrics_jsonl_path=path)) is None
    assert not path.exists()
    write(path, 1)
    assert JsonlSink.problem(Settings(metrics_jsonl_path=path)) is None
    assert turns_in(path) == [1]
