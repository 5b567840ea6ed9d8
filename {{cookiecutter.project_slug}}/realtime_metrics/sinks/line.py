"""Records on the terminal, a line each, for people who watch many turns: `#2  0.64 s  150 in, 65 out  $0.0011`."""

from rich.console import Group
from rich.text import Text

from ..log import clean
from ..records import AnyRecord, ConnectionRecord, ResponseRecord, SessionRecord, UnansweredRecord
from .base import Sink
from .console import connection_line, show, unanswered_line


class LineSink(Sink):
    """Prints to stdout like the console sink, but never more than a line."""

    def write(self, record: AnyRecord) -> None:
        show(Group(line(record)))  # Rich would join a bare text to one that wraps


def line(record: AnyRecord) -> Text:
    """The record in one line; what the terminal has no room for is cut off at its end."""
    if isinstance(record, ConnectionRecord):
        text = connection_line(record)
    elif isinstance(record, UnansweredRecord):
        text = unanswered_line(record)
    elif isinstance(record, ResponseRecord):
        text = _response(record)
    else:
        text = _session(record)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _response(record: ResponseRecord) -> Text:
    wait_s, tokens = record.wait.time_to_first_audio_s, record.tokens
    text = Text(f"#{record.turn:<3}", style="bold")
    text.append("     n/a" if wait_s is None else f"{wait_s:6.2f} s", style="default")
    counts = f"{_count(tokens['input_tokens'])} in, {_count(tokens['output_tokens'])} out"
    text.append(f"  {counts:<18}  {_usd(record.cost_usd)}", style="default")
    return text.append("".join(f"  {mark}" for mark in _marks(record)), style="yellow")


def _marks(record: ResponseRecord) -> list[str]:
    """What is out of the ordinary, in words, and why a figure is unknown."""
    marks = {
        "OVER BUDGET": record.over_latency_budget,
        "INTERRUPTED": record.interrupted,
        "CONNECTION LOST": record.connection_lost,
        f"ENDED: {record.finish_reason}": record.finish_reason,
        record.wait.time_to_first_audio_reason: record.wait.time_to_first_audio_s is None,
        record.usage_reason: record.usage_reason,
        record.cost_reason: record.cost_usd is None and record.cost_reason != record.usage_reason,
    }
    return [clean(mark) for mark, holds in marks.items() if holds and mark]


def _session(record: SessionRecord) -> Text:
    wait_s = record.time_to_first_audio_p50_s
    parts = [
        f"{record.sums.responses} response" + "s" * (record.sums.responses != 1),
        f"{record.unanswered} unanswered" if record.unanswered else "",
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
        return "$n/a"
    return f"${cost_usd:.4f}" if cost_usd >= 0.001 or cost_usd == 0 else f"${cost_usd:.6f}"
