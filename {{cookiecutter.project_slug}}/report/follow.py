"""A live view of a file of records while calls run: `uv run -m report --follow`.

It draws in place, below what the terminal shows already, and leaves the last picture there.
"""

import json
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from realtime_metrics.log import visible

from .load import NO_FAILURE, TOOL_CALL, WITH_ANSWER, LoadError
from .terminal import have_no, plural

EVERY_S = 1.0
RECENT_S = 300.0
"""What the percentiles and the cost an hour are of."""
QUIET_S = 600.0
"""A call that has written nothing for so long is over: its process was killed."""
LOOK_BACK = 32_000_000
"""So many bytes at the end of the file are read at the start, to know the calls that run."""
LINES = 8


class Tail:
    """The lines that are added to a file, however often it is rotated away, cut, or not there yet.

    The file is opened for each reading, so it may be renamed meanwhile, on Windows too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._which: tuple[int, int] | None = None
        self._position = 0
        self._half = b""

    def lines(self) -> Iterator[bytes]:
        """What has been added since the last time, without a line that is being written."""
        try:
            file = self._path.open("rb")
        except OSError:
            return
        with file:
            which = _which(os.fstat(file.fileno()))
            if self._which is None:
                self._skip(file)
            elif which != self._which:
                yield from self._rest_of_rotated()
                self._position, self._half = 0, b""
            self._which = which
            yield from self._added(file)

    def _skip(self, file: IO[bytes]) -> None:
        size = os.fstat(file.fileno()).st_size
        if size > LOOK_BACK:
            file.seek(size - LOOK_BACK)
            file.readline()
            self._position = file.tell()

    def _rest_of_rotated(self) -> Iterator[bytes]:
        """What was written between our last reading and the rotation, if the file still lies beside the new one."""
        for path in self._path.parent.iterdir():
            with suppress(OSError):
                if path.name.startswith(self._path.name) and _which(path.stat()) == self._which:
                    with path.open("rb") as file:
                        yield from self._added(file)
                    return

    def _added(self, file: IO[bytes]) -> Iterator[bytes]:
        if os.fstat(file.fileno()).st_size < self._position:
            self._position, self._half = 0, b""
        file.seek(self._position)
        *lines, self._half = (self._half + file.read()).split(b"\n")
        self._position = file.tell()
        yield from lines


def _which(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


@dataclass
class Now:
    """What is going on."""

    calls: dict[str, float] = field(default_factory=dict)
    """Those that run, and when each was heard of last."""
    recent: list[tuple[float, float | None, float | None]] = field(default_factory=list)
    """Time, wait and cost of the last minutes' responses; without tool calls whose cost comes with the answer."""
    silences: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    """When a failure ended a call."""
    began: float | None = None
    last: deque[Text] = field(default_factory=lambda: deque(maxlen=LINES))
    ended: int = 0
    broken: int = 0

    def take(self, line: bytes) -> None:
        """Counts a record in."""
        if not line.strip():
            return
        try:
            record = json.loads(line)
            kind, at = str(record["kind"]), datetime.fromisoformat(record["timestamp"]).timestamp()
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError, OSError):
            self.broken += 1
            return
        call = str(record.get("session_id") or record.get("room") or "")
        self.began = at if self.began is None else min(at, self.began)
        self.calls[call] = max(at, self.calls.get(call, 0))
        if kind == "session":
            self.calls.pop(call)
            self.ended += 1
            end = record.get("end_reason")
            if isinstance(end, str) and end not in NO_FAILURE:
                self.failures.append(at)
                self.last.append(_begin(call, at).append(f"the call failed: {visible(end)}", style="bold red"))
        elif kind == "response":
            to_the_user = record.get("time_to_first_audio_from") == "user_speech_end"
            wait, cost = _number(record, "time_to_first_audio_s"), _number(record, "cost_usd")
            if cost is not None or record.get("usage_reason") != WITH_ANSWER:
                self.recent.append((at, wait if to_the_user else None, cost))
            self.last.append(_response(record, call, at, wait, cost))
        elif kind == "unanswered":
            self.silences.append(at)
            self.last.append(_unanswered(record, call, at))

    def forget(self, now: float) -> None:
        """Lets go of what is no longer of the last minutes."""
        self.recent = [response for response in self.recent if response[0] >= now - RECENT_S]
        self.silences = [at for at in self.silences if at >= now - RECENT_S]
        self.failures = [at for at in self.failures if at >= now - RECENT_S]
        self.calls = {call: at for call, at in self.calls.items() if at >= now - QUIET_S}

    def picture(self, path: Path, there: bool, now: float) -> Group:
        """At most 17 lines, so that 80x24 has room for it and for what stood above."""
        waits = sorted(wait for _, wait, _ in self.recent if wait is not None)
        costs = [cost for _, _, cost in self.recent if cost is not None]
        # in the first minute, the few responses that there are say little about an hour
        window_s = min(RECENT_S, max(60.0, now - (self.began or now)))
        hourly = f"${sum(costs) * 3600 / window_s:,.2f} an hour" if costs else "unknown"
        if unknown := len(self.recent) - len(costs):
            hourly += f" ({have_no(unknown, len(self.recent))} known cost)"
        ranks = (
            ", ".join(f"p{of} {waits[-(-len(waits) * of // 100) - 1]:.2f} s" for of in (50, 90, 95))
            if waits
            else "unknown"
        )
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_row("Calls now", f"{len(self.calls)}" + (f", {self.ended} ended" if self.ended else ""))
        grid.add_row("Waits", f"{ranks} ({plural(len(waits), 'answer')})")
        grid.add_row("Cost", hourly)
        for name, times in (("No answer", self.silences), ("Failed", self.failures)):
            told = f"{len(times)}, the last {_ago(now - times[-1])} ago" if times else "none"
            grid.add_row(name, Text(told, style="bold red" if times else ""))
        clock = datetime.fromtimestamp(now, UTC).strftime("%H:%M:%S UTC")
        head = Text(f"{visible(path.name)}  {clock}  ", style="bold", no_wrap=True, overflow="ellipsis")
        head.append("the last 5 minutes; Ctrl-C ends", style="not bold dim")
        if not there:
            head = Text(f"{visible(path.name)}: waiting for the first record", style="bold yellow", no_wrap=True)
        lines = "1 line is no record" if self.broken == 1 else f"{self.broken:,} lines are no records"
        broken = [Text(lines, style="yellow")] if self.broken else []
        return Group(head, grid, *broken, Text(), *self.last)


def follow(path: Path, console: Console) -> int:
    """Draws until Ctrl-C or SIGTERM; its exit code.

    Raises:
        LoadError: there is no terminal to draw on, or the path is a folder.
    """
    if not console.is_terminal:
        raise LoadError("--follow draws on a terminal: without one, use the report, or tail -f")
    if path.is_dir():
        raise LoadError(
            f"{visible(str(path))} is a folder: name the file in it, like {visible(str(path))}/metrics.jsonl"
        )

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    tail, now = Tail(path), Now()
    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                for line in tail.lines():
                    now.take(line)
                now.forget(time.time())
                live.update(now.picture(path, path.exists(), time.time()), refresh=True)
                time.sleep(EVERY_S)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def _number(record: dict[str, Any], name: str) -> float | None:
    value = record.get(name)
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else None


def _response(record: dict[str, Any], call: str, at: float, wait: float | None, cost: float | None) -> Text:
    line = _begin(call, at)
    line.append(f"#{visible(str(record.get('turn', '?')))}".ljust(5))
    over = record.get("over_latency_budget") is True
    if wait is None and record.get("time_to_first_audio_reason") == TOOL_CALL:
        line.append(_tools(record))
    else:
        shown = "wait unknown" if wait is None else f"{wait:8.2f} s  "
        line.append(shown, style="yellow" if wait is None or over else "cyan")
    if cost is not None:
        line.append(f"  ${cost:.6f}")
    elif record.get("usage_reason") != WITH_ANSWER:
        line.append("  cost unknown", style="yellow")
    marks = [("interrupted", "interrupted"), ("over_latency_budget", "over budget"), ("connection_lost", "lost")]
    for name, mark in marks:
        if record.get(name) is True:
            line.append(f"  {mark}", style="yellow")
    return line


def _tools(record: dict[str, Any]) -> str:
    """The tools that a response called: in place of a wait, which the answer has."""
    tools = record.get("tools")
    names = ", ".join(visible(str(name)) for name in tools) if isinstance(tools, list) else ""
    return f"calls {names or 'a tool'}"


def _unanswered(record: dict[str, Any], call: str, at: float) -> Text:
    waited = _number(record, "waited_s")
    line = _begin(call, at)
    line.append(f"no answer after {'?' if waited is None else f'{waited:.1f}'} s", style="bold red")
    return line.append(f"  {visible(str(record.get('reason') or 'no reason given'))}")


def _begin(call: str, at: float) -> Text:
    clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    return Text(f"{clock}  {visible(call)[-16:]:16}  ", no_wrap=True, overflow="ellipsis")


def _ago(age_s: float) -> str:
    return f"{max(0, age_s):.0f} s" if age_s < 90 else f"{age_s / 60:.0f} min"
