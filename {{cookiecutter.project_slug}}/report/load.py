"""Reads the records of JSONL files into DuckDB, which reads JSON lines at the speed of the disk.

The files were written by agents that may have been killed in mid-line, by other versions of the schema, and may have
been copied twice: a field that is missing, or not of its type, is null; a line that is no record is counted.
"""

import gzip
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import duckdb

from realtime_metrics.log import visible

KINDS = ("connection", "response", "unanswered", "session")
NO_FAILURE = (
    *("participant_disconnected", "participant_removed", "room_deleted", "user_initiated", "task_completed"),
    *("cost_limit", "job_shutdown"),
)
"""Ends of a call that no failure is behind. Any other end is a failure."""
TOOL_CALL = "no audio: the response was a tool call"
"""`time_to_first_audio_reason` of a response that nobody waited for: its answer has the wait."""
WITH_ANSWER = "the usage of a tool call comes with the answer"
"""`usage_reason` of a response whose cost is part of its answer's."""
MODALITIES = ("audio", "text", "image", "video", "document", "unknown")
FIELDS = {
    "VARCHAR": (
        *("kind", "timestamp", "session_id", "room", "agent_name", "customer", "revision", "model", "voice"),
        *("request_id", "time_to_first_audio_from", "time_to_first_audio_reason", "usage_reason", "cost_reason"),
        *("user_speech_end", "reason", "end_reason", "errors"),
    ),
    "BOOLEAN": ("interrupted", "reconnect"),
    "BIGINT": (
        *("turn", "user_turns", "unanswered", "without_usage"),
        *("input_tokens", "output_tokens", "thoughts_tokens"),
        *(f"{way}_{name}_tokens" for way in ("input", "output", "tool_use") for name in MODALITIES),
    ),
    "DOUBLE": (
        *("time_to_first_audio_s", "time_to_generation_s", "generation_to_audio_s", "playback_latency_s"),
        *("network_round_trip_s", "tools_s", "duration_s", "audio_s", "heard_s", "talk_over_s"),
        *("cost_usd", "unbooked_cost_usd", "waited_s", "connection_s"),
    ),
}
"""What is read of a record, by its type; the rest of a line costs no memory."""

_COLUMNS = {name: kind for kind, names in FIELDS.items() for name in names}
_JSON_LINES = """read_json(?, columns = {columns}, format = 'newline_delimited', records = 'true',
    hive_partitioning = false, ignore_errors = true, maximum_object_size = 67108864)"""
# A figure below 0 or beyond this is no measurement, and its sums would not be either.
_SENSIBLE = 1_000_000_000_000
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp()


class LoadError(ValueError):
    """The records cannot be read; the text says of which file, why, and what to do."""


@dataclass(frozen=True)
class Records:
    """The records of some files.

    `db` holds one row a record in its table `records`. Beyond FIELDS, which are null where unknown, each has
    `call` (whose records belong together: the session's id, else the room) and `time_s` (its `timestamp` as seconds
    since 1970).
    """

    db: duckdb.DuckDBPyConnection
    names: str
    notes: list[str]
    """What was left out of the figures, in words."""

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self.db.execute(query, values).fetchall()
        except RuntimeError as error:
            if "interrupted" in str(error):  # so says DuckDB of Ctrl-C
                raise KeyboardInterrupt from None
            raise


@contextmanager
def load(
    paths: Sequence[Path],
    since: datetime | None = None,
    session: str | None = None,
    progress: Callable[[float], object] = lambda _: None,
) -> Iterator[Records]:
    """The records of `paths`; `progress` hears the share of the bytes that has been read.

    Args:
        since: leaves out the calls whose last record is older.
        session: leaves out all calls but the one with this id or in this room.

    Raises:
        LoadError: a file is missing, empty or damaged, or nothing is left.
    """
    with TemporaryDirectory(prefix="report-", ignore_cleanup_errors=True) as folder, duckdb.connect() as db:
        # what does not fit goes to disk; order costs memory, and each record says its time
        # each thread has buffers of its own: more of them would not fit
        db.execute(
            "SET threads = 2; SET memory_limit = '600MB'; SET preserve_insertion_order = false; SET TimeZone = 'UTC'"
        )
        db.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        db.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
        db.execute("SET temp_directory = ?", [folder])
        db.execute("ATTACH ':memory:' AS read (COMPRESS); USE read")
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        db.execute(f"CREATE TABLE records ({columns}, time_s DOUBLE, call VARCHAR)")
        names = list(dict.fromkeys(visible(path.name) for path in paths))
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        records = Records(db, ", ".join(names[:3]) + more, [])
        _read_all(records, paths, progress)
        _leave_out(records, since, session)
        yield records


def since_when(text: str, now: datetime) -> datetime:
    """The time that `--since` names: `2h` and `7d` are before `now`; a day or an ISO time without a zone is UTC.

    Raises:
        LoadError: it is none of these.
    """
    units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    try:
        if ago := re.fullmatch(r"([0-9]{1,6})([mhdw])", text.strip()):
            return now - timedelta(**{units[ago[2]]: int(ago[1])})
        when = datetime.fromisoformat(text.strip())
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        what = "30m, 2h, 7d or 4w (before now), a day like 2026-11-01, or a time like 2026-11-01T09:30+01:00"
        raise LoadError(f"--since {visible(text)!r} is no time: use {what}") from error


def _read_all(records: Records, paths: Sequence[Path], progress: Callable[[float], object]) -> None:
    files = list({path.resolve(): path for path in paths}.values())  # one that was named twice is read once
    sizes = [_size(path) for path in files]
    total, before = sum(sizes), 0
    for path, size in zip(files, sizes, strict=True):

        def tell(share: float, before: int = before, size: int = size) -> None:
            progress((before + share * size) / total)

        _read(records, path, tell)
        before += size
    [(strange,)] = records.rows(f"SELECT count(*) FROM records WHERE kind NOT IN {KINDS}")
    if strange:
        records.notes.append(f"{_records(strange)} of a kind that this version does not know")
        records.db.execute(f"DELETE FROM records WHERE kind NOT IN {KINDS}")
    _drop_repeated(records)
    if not records.rows("SELECT 1 FROM records LIMIT 1"):
        raise LoadError(f"{records.names}: no line is a record of a call. {HOW}")


HOW = "The agent writes its records with METRICS_SINKS=jsonl, a demo with: uv run -m demo --jsonl demo.jsonl"


def _size(path: Path) -> int:
    shown = visible(str(path))
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except FileNotFoundError:
        raise LoadError(f"{shown} does not exist. {HOW}") from None
    except IsADirectoryError:
        raise LoadError(f"{shown} is a folder: name the files in it, like {shown}/metrics.jsonl*") from None
    except OSError as error:
        raise LoadError(f"{shown} cannot be read: {error.strerror}") from None
    if size == 0:
        raise LoadError(f"{shown} is empty: no call has been recorded yet. {HOW}")
    return size


def _read(records: Records, path: Path, progress: Callable[[float], object]) -> None:
    """Appends a file's records; a broken line gives a row of nulls, which is counted and left out."""
    columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in _COLUMNS.items()) + "}"
    sensible = ", ".join(
        f"CASE WHEN {name} BETWEEN 0 AND {_SENSIBLE} THEN {name} END" if kind in ("DOUBLE", "BIGINT") else name
        for name, kind in _COLUMNS.items()
    )
    query = f"""
        INSERT INTO records
        SELECT * EXCLUDE (epoch),
            CASE WHEN epoch BETWEEN {_FIRST} AND {_LAST} THEN epoch END, coalesce(session_id, room, '')
        FROM (SELECT {sensible}, epoch(try_cast(timestamp AS TIMESTAMPTZ)) AS epoch
              FROM {_JSON_LINES.format(columns=columns)})"""
    name = re.sub(r"([*?\[\]])", r"[\1]", str(path.absolute()))  # DuckDB takes patterns, this is a file
    try:
        _in_thread(records.db, query, name, progress)
    except (duckdb.IOException, duckdb.InvalidInputException, duckdb.OutOfMemoryException) as error:
        why = "is damaged, or cut short" if path.suffix == ".gz" else "cannot be read"
        detail = visible(str(error).splitlines()[0]).replace(str(path), path.name)
        raise LoadError(f"{visible(str(path))} {why} ({detail})") from None
    [(broken,)] = records.rows("SELECT count(*) FROM records WHERE kind IS NULL")
    if broken:
        records.db.execute("DELETE FROM records WHERE kind IS NULL")
        lines = "1 line is no record" if broken == 1 else f"{broken:,} lines are no records"
        first = _first_broken(records, path, name)
        records.notes.append(f"{visible(path.name)}: {lines}" + (f" (the first: line {first})" if first else ""))


def _in_thread(db: duckdb.DuckDBPyConnection, query: str, name: str, progress: Callable[[float], object]) -> None:
    """Runs the query in a thread, so that this one can tell how far it is, and Ctrl-C is heard."""
    failed: list[duckdb.Error] = []
    is_done = threading.Event()  # a `join` that is interrupted takes the thread for ended (Python 3.11)

    def run() -> None:
        try:
            db.execute(query, [name])
        except duckdb.Error as error:
            failed.append(error)
        finally:
            is_done.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        while not is_done.wait(0.1):
            progress(max(0.0, db.query_progress()) / 100)
    except KeyboardInterrupt:
        db.interrupt()
        is_done.wait()
        raise
    if failed:
        raise failed[0]


def _first_broken(records: Records, path: Path, name: str) -> int | None:
    """The number of the first line that is no record: DuckDB finds which it is, without the blank ones.

    There is none where the line was only being written a moment ago.
    """
    lines = _JSON_LINES.format(columns="{'kind': 'VARCHAR'}")
    query = f"""
        SELECT min(number) FROM (SELECT kind, row_number() OVER () AS number FROM {lines}) WHERE kind IS NULL"""
    records.db.execute("SET preserve_insertion_order = true")
    [(wanted,)] = records.rows(query, name)
    records.db.execute("SET preserve_insertion_order = false")
    seen = 0
    file: IO[bytes]
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:  # type: ignore[assignment]
            for number, line in enumerate(file, 1):
                seen += not line.isspace()
                if seen == wanted:
                    return number
    except (EOFError, zlib.error, OSError) as error:
        raise LoadError(f"{visible(str(path))} is damaged, or cut short ({visible(str(error))})") from None
    return None


def _drop_repeated(records: Records) -> None:
    """Counts a record once, however many of the files hold it: a log rotation that copies leaves two."""
    key = "hash(kind, call, turn, request_id, timestamp, user_speech_end, connection_s, duration_s)"
    repeated = f"SELECT {key} FROM records GROUP BY ALL HAVING count(*) > 1"
    first = f"SELECT min(rowid) FROM records WHERE {key} IN ({repeated}) GROUP BY {key}"
    gone = records.rows(f"DELETE FROM records WHERE {key} IN ({repeated}) AND rowid NOT IN ({first}) RETURNING 1")
    if gone:
        records.notes.append(f"{_records(len(gone))} more than once in these files, and counted once")


def _leave_out(records: Records, since: datetime | None, session: str | None) -> None:
    if session is not None:
        latest = "SELECT call FROM records GROUP BY call ORDER BY max(time_s) DESC NULLS LAST LIMIT 3"
        calls = [visible(str(call)) for (call,) in records.rows(latest)]
        records.db.execute(
            "DELETE FROM records WHERE call IS DISTINCT FROM ? AND room IS DISTINCT FROM ?", [session] * 2
        )
        if not records.rows("SELECT 1 FROM records LIMIT 1"):
            those = f"the only one is {calls[0]}" if len(calls) == 1 else f"the latest are {', '.join(calls)}"
            raise LoadError(f"no call {visible(session)!r} is in {records.names}; {those}")
    if since is not None:
        [(untimed,)] = records.rows("SELECT count(*) FROM records WHERE time_s IS NULL")
        if untimed:
            what = "1 record says" if untimed == 1 else f"{untimed:,} records say"
            records.notes.append(f"{what} no time that can be read: left out, as --since is asked for")
        [(last,)] = records.rows("SELECT max(time_s) FROM records")
        kept = "SELECT call FROM records GROUP BY call HAVING max(time_s) >= ?"
        records.db.execute(f"DELETE FROM records WHERE time_s IS NULL OR call NOT IN ({kept})", [since.timestamp()])
        if not records.rows("SELECT 1 FROM records LIMIT 1"):
            latest = "none says its time" if last is None else f"the last is of {iso(last)}"
            raise LoadError(f"{records.names}: no record since {iso(since.timestamp())}; {latest}")


def iso(time_s: float | None) -> str | None:
    """Seconds since 1970 as UTC in ISO 8601, to the millisecond."""
    return None if time_s is None else datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")


def _records(count: int) -> str:
    return "1 record is" if count == 1 else f"{count:,} records are"
