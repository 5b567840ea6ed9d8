"""Looks back at calls: what they cost, how long the callers waited, and when nobody answered.

uv run -m report                                  metrics.jsonl, in the terminal
uv run -m report metrics.jsonl* --since 7d --by model
uv run -m report --html report.html               one page with plots, to look at offline or to pass on
uv run -m report --compare before.jsonl after.jsonl
uv run -m report --json > baseline.json           and later: --baseline baseline.json
uv run -m report --follow                         live, while calls run
"""

import argparse
import csv
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

try:
    import duckdb  # noqa: F401
    import numpy  # noqa: F401
except ImportError as missing:
    print(f"{missing.name} is not installed here. Run: uv run --group report -m report", file=sys.stderr)
    sys.exit(2)

from realtime_metrics.log import print_any_text, visible

from . import compare, terminal
from .follow import follow
from .load import LoadError, Records, load, since_when
from .page import PAGE_BEGINS, page
from .summary import BY, Figures, details, figures

DEFAULT = Path("metrics.jsonl")
TOLERANCE_PERCENT = 10.0

Read = Callable[[Path | list[Path]], Records]


def main() -> int:
    """Reports; its exit code: 0, 1 where `--baseline` is not kept, 2 where there is nothing to report on."""
    print_any_text()
    arguments = _arguments()
    try:
        if arguments.follow:
            return follow(arguments.files[0], terminal.plain_console())
        with _reading(arguments) as read:
            code = _compare(arguments, read) if arguments.compare else _report(arguments, read)
        sys.stdout.flush()
        return code
    except LoadError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads has seen enough, and Python's own flush at the end would fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


@contextmanager
def _reading(arguments: argparse.Namespace) -> Iterator[Read]:
    """Reads files, and shows how far it is where somebody looks on; what was read is there until the end."""
    since = None if arguments.since is None else since_when(arguments.since, datetime.now(UTC))
    errors = terminal.plain_console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with ExitStack() as stack:

        def read(paths: Path | list[Path]) -> Records:
            paths = [paths] if isinstance(paths, Path) else paths
            if not errors.is_terminal:
                return stack.enter_context(load(paths, since, arguments.session))
            with Progress(*columns, console=errors, transient=True) as progress:
                task = progress.add_task("Reading", total=1.0)

                def tell(share: float) -> None:
                    progress.update(task, completed=share)

                return stack.enter_context(load(paths, since, arguments.session, tell))

        yield read


def _report(arguments: argparse.Namespace, read: Read) -> int:
    records = read(arguments.files)
    everything = figures(records)[0]
    groups = figures(records, arguments.by) if arguments.by else [everything]
    verdicts = []
    if arguments.baseline:
        baseline = compare.baseline_figures(arguments.baseline)
        if baseline is None:
            with _reading(argparse.Namespace(since=None, session=None)) as read_all:
                try:
                    before = read_all(arguments.baseline)
                except LoadError as error:
                    raise compare.no_baseline(error) from None
                baseline = figures(before)[0]
                records.notes.extend(before.notes)
        percent = TOLERANCE_PERCENT if arguments.tolerance is None else arguments.tolerance
        verdicts = compare.gate(everything, baseline, percent / 100)

    console = terminal.plain_console()
    if arguments.csv:
        _print_csv(arguments.by or "call", figures(records, arguments.by or "call"))
    elif arguments.json:
        found = {"by": arguments.by, "groups": groups} if arguments.by else {"details": details(records)}
        gate = {"verdicts": verdicts} if arguments.baseline else {}
        _print_json({"files": records.names, "notes": records.notes, "figures": everything, **found, **gate})
    elif arguments.html:
        _write(arguments.html, page(records, everything, details(records), groups, arguments.by))
        print(f"{visible(str(arguments.html))} is written: open it in a browser.")
    elif arguments.by:
        terminal.show_groups(console, records, arguments.by, groups)
    elif arguments.baseline:
        terminal.heading(console, records, groups)
    else:
        terminal.show(console, records, everything, details(records))
    # what a program reads stays whole, and a person still sees why the exit code is 1
    terminal.show_verdicts(
        terminal.plain_console(stderr=True) if arguments.csv or arguments.json else console, verdicts
    )
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _compare(arguments: argparse.Namespace, read: Read) -> int:
    a, b = arguments.compare
    if arguments.by:
        sides, samples, notes = *compare.two_values(records := read(arguments.files), arguments.by, a, b), records.notes
    else:
        of_a, of_b = read(Path(a)), read(Path(b))
        sides, notes = (figures(of_a)[0], figures(of_b)[0]), of_a.notes + of_b.notes
        samples = compare.Sample(of_a), compare.Sample(of_b)
    compared = compare.compare((a, b), sides, samples)
    if arguments.json:
        _print_json({"a": a, "b": b, "by": arguments.by, "notes": notes, "comparisons": compared})
    else:
        terminal.show_comparison(terminal.plain_console(), (a, b), sides, notes, compared)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="uv run -m report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help=f"records, also .gz and rotated ones (default: {DEFAULT})")
    add("--by", choices=BY, metavar="FIELD", help=f"a line for each {', '.join(BY[:-1])} or {BY[-1]}")
    add("--since", metavar="WHEN", help="calls with a record since then: 2h, 7d, 2026-11-01, an ISO time")
    add("--session", metavar="ID", help="one call: its session_id; or all calls of a room")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--html", type=Path, metavar="OUT", help="write a page with plots")
    output.add_argument("--csv", action="store_true", help="print a line a call, or a value of --by, for a spreadsheet")
    output.add_argument("--json", action="store_true", help="print everything for a program, or as a baseline")
    output.add_argument("--follow", action="store_true", help="watch one file while calls run")
    against = parser.add_mutually_exclusive_group()
    against.add_argument("--compare", nargs=2, metavar=("A", "B"), help="two files, or two values of --by")
    against.add_argument("--baseline", type=Path, metavar="FILE", help="of --json, or records: exit code 1 where worse")
    add(
        "--tolerance",
        type=_percent,
        metavar="PERCENT",
        help=f"what --baseline lets pass (default: {TOLERANCE_PERCENT:g})",
    )
    arguments = parser.parse_args()
    if arguments.compare and arguments.files and not arguments.by:
        parser.error("--compare A B names its two files itself; with --by, A and B are two of its values")
    if arguments.html and (problem := _why_not_written_to(arguments.html)):
        parser.error(f"--html {visible(str(arguments.html))!r} {problem}: name a new file, or a page to replace")
    if arguments.tolerance is not None and not arguments.baseline:
        parser.error("--tolerance says what --baseline lets pass: name one")
    if arguments.compare and (arguments.csv or arguments.html):
        parser.error("--compare prints to the terminal, or with --json")
    narrowed = [arguments.by, arguments.since, arguments.session, arguments.baseline, arguments.compare]
    if arguments.follow and (len(arguments.files) > 1 or any(narrowed)):
        parser.error("--follow watches one file, and takes no other option")
    arguments.files = arguments.files or [DEFAULT]
    return arguments


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"{visible(text)!r} is no percentage: use a number from 0, such as 10")
    return value


def _why_not_written_to(path: Path) -> str | None:
    """Records that were given for the page's name by mistake are not lost."""
    try:
        with path.open("rb") as file:
            start = file.read(len(PAGE_BEGINS))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    return None if start in (b"", PAGE_BEGINS.encode()) else "holds something else than a page of this report"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LoadError(f"--html {visible(str(path))!r} cannot be written: {error.strerror}") from None


def _print_json(found: dict[str, Any]) -> None:
    print(json.dumps(found, indent=2, allow_nan=False, default=dataclasses.asdict))


def _print_csv(by: str, groups: list[Figures]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    names = [field.name for field in dataclasses.fields(Figures)]
    writer.writerow([by, *names[1:]])
    for group in groups:
        writer.writerow([_cell(group.value), *(getattr(group, name) for name in names[1:])])


def _cell(text: str) -> str:
    """Text that a spreadsheet would run as a formula is marked as text."""
    return f"'{visible(text)}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else visible(text)


if __name__ == "__main__":
    sys.exit(main())
