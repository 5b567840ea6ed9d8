"""Records on the terminal, a line each, for people who watch many turns: `#2  0.64 s  150 in, 65 out  $0.0011`."""

from rich.table import Column, Table
from rich.text import Text

from ..log import clean
from ..records import AnyRecord, ConnectionRecord, ResponseRecord, SessionRecord
from ..usage import WITH_ANSWER
from .base import Sink
from .console import connection_line, show, tools_told, unanswered_line


class LineSink(Sink):
    """Prints to stdout like the console sink, but no tables; words that the terminal has no room for go on below."""

    def write(self, record: AnyRecord) -> None:
        if isinstance(record, ResponseRecord):
            show(_response(record))
        elif isinstance(record, SessionRecord):
            show(_session(record))
        else:
            show(connection_line(record) if isinstance(record, ConnectionRecord) else unanswered_line(record))


def _response(record: ResponseRecord) -> Table:
    wait_s, tokens = record.wait.time_to_first_audio_s, record.tokens
    figures = "     n/a" if wait_s is None else f"{wait_s:6.2f} s"
    counts = f"{_count(tokens['input_tokens'])} in, {_count(tokens['output_tokens'])} out"
    if record.usage_reason != WITH_ANSWER:
        figures += f"  {counts:<18}  {_usd(record.cost_usd)}"
    elif wait_s is None:
        figures = ""
    row = Table.grid(Column(no_wrap=True), Column(style="yellow"), padding=(0, 2, 0, 0))
    head = Text.assemble((f"#{record.turn:<3}", "bold"), figures)
    head.rstrip()
    row.add_row(head, Text("  ".join(_marks(record))))
    return row


def _marks(record: ResponseRecord) -> list[str]:
    """What is out of the ordinary, in words, and why a figure is unknown."""
    wait, calls = record.wait, record.usage_reason == WITH_ANSWER
    marks = [
        (f"tool call {', '.join(wait.tools)}: its usage comes with the answer", calls),
        ("OVER BUDGET", record.over_latency_budget),
        (tools_told(wait), not calls),
        ("INTERRUPTED", record.interrupted),
        ("CONNECTION LOST", record.connection_lost),
        (f"ENDED: {record.finish_reason}", record.finish_reason),
        (wait.time_to_first_audio_reason, wait.time_to_first_audio_s is None and not calls),
        (record.usage_reason, not calls),
        (record.cost_reason, record.cost_usd is None and record.cost_reason != record.usage_reason),
    ]
    return [clean(mark) for mark, holds in marks if holds and mark]


def _session(record: SessionRecord) -> Text:
    wait_s = record.time_to_first_audio_p50_s
    parts = [
        f"{record.sums.responses} response" + "s" * (record.sums.responses != 1),
        f"{record.sums.unanswered} unanswered" if record.sums.unanswered else "",
        "" if wait_s is None else f"p50 {wait_s:.2f} s",
        _usd(record.cost_usd),
        f"{record.duration_s:.0f} s",
        clean(record.end_reason),
    ]
    return Text("end  ", style="bold").append(", ".join(part for part in parts if part), style="default")


def _count(tokens: int | None) -> str:
    return "n/a" if tokens is None else f"{tokens:,}"


def _usd(cost_usd: float | None) -> str:
    """Four decimals, and more where they would show nothing."""
    if cost_usd is None:
        return "cost n/a"
    return f"${cost_usd:.4f}" if cost_usd >= 0.001 or cost_usd == 0 else f"${cost_usd:.6f}"
