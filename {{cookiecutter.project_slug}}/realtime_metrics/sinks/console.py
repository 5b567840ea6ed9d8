"""Records on the terminal: a line per connection, the recipe's table per response, a summary per session."""

import sys
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ..log import clean
from ..records import (
    AnyRecord,
    ConnectionRecord,
    CountedRecord,
    ResponseRecord,
    SessionRecord,
    Unanswered,
    UnansweredRecord,
)
from ..usage import MODALITIES
from ..waits import FirstAudioFrom, Wait
from .base import Sink

Row = tuple[str, str]

MAX_WIDTH = 100

_PLAIN = str.maketrans({"↳": "-", "●": "*", "×": "x", "·": "-", "…": "~"})
"""What stands in for our signs in an encoding that lacks them."""

_SINCE: dict[FirstAudioFrom | None, str] = {
    "user_speech_end": "since the user stopped speaking",
    "reply_requested": "since the reply was asked for",
    "model": "since the model created the response",
}

_UNANSWERED: dict[Unanswered, str] = {
    "no_response": "no response came",
    "response_without_audio": "the response had no audio",
    "response_rejected": "the provider rejected its response",
    "tool_running": "a tool is still at work",
    "connection_lost": "the connection to the provider was lost",
    "call_ended": "the call ended before",
}

_TOKEN_ROWS = (
    ("Input Tokens", "input_tokens"),
    *((f"↳ {modality.capitalize()} Tokens", f"input_{modality}_tokens") for modality in MODALITIES),
    ("↳ Unknown Modality", "input_unknown_tokens"),
    ("↳ Cached Tokens", "input_cached_tokens"),
    ("Output Tokens", "output_tokens"),
    *((f"↳ {modality.capitalize()} Tokens", f"output_{modality}_tokens") for modality in MODALITIES),
    ("↳ Unknown Modality", "output_unknown_tokens"),
    ("Thoughts Tokens", "thoughts_tokens"),
    ("Tool Use Tokens", "tool_use_tokens"),
    ("Total Tokens", "total_tokens"),
)
_SHOWN_ALWAYS = {"Input Tokens", "Output Tokens", "Total Tokens", "↳ Audio Tokens", "↳ Text Tokens", "↳ Cached Tokens"}
"""The others are shown where there are some."""


class ConsoleSink(Sink):
    """Prints to stdout, one write a record, so nothing gets between a table's lines.

    Width and colours are the terminal's; without one, or with `NO_COLOR`, plain text at 80 columns.
    """

    def write(self, record: AnyRecord) -> None:
        show(_shown(record))


def show(what: RenderableType) -> None:
    """Writes it to stdout, at once, with the signs that stdout's encoding has."""
    text, encoding = rendered(what, Console(file=sys.stdout)), sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    sys.stdout.write(text)
    sys.stdout.flush()


def rendered(what: RenderableType, terminal: Console) -> str:
    """The text, with the control codes that `terminal` takes."""
    terminal.width = min(terminal.width or 80, MAX_WIDTH)  # `COLUMNS=0` is no width
    with terminal.capture() as capture:
        terminal.print(what)
    return capture.get()


def _shown(record: AnyRecord) -> RenderableType:
    if isinstance(record, ConnectionRecord):
        return connection_line(record)
    if isinstance(record, ResponseRecord):
        title = f"Response {record.turn} · {clean(record.origin.model)} · {clean(record.origin.voice)}"
        return _table(title, response_rows(record), "yellow" if record.over_latency_budget else "cyan")
    if isinstance(record, UnansweredRecord):
        return unanswered_line(record)
    return _table("Session", session_rows(record), "green" if not record.sums.errors else "yellow")


def connection_line(record: ConnectionRecord) -> Text:
    """That the provider was connected, or connected again."""
    who, took = clean(record.origin.provider), f"in {record.connection_s:.3f} s"
    line = f"connected to {who} {clean(record.origin.model)} {took}"
    if record.reconnect:
        line = f"reconnected {took} after {who} announced the end" if record.go_away else f"reconnected to {who} {took}"
    return Text("● ", "green").append(line + (", conversation resumed" if record.resumed else ""), "default")


def unanswered_line(record: UnansweredRecord) -> Text:
    """That nobody answered the caller, and why."""
    line = f"nobody answered the caller for {record.waited_s:.1f} s: {_UNANSWERED[record.reason]}"
    return Text("● ", "red").append(line, "bold")


def response_rows(record: ResponseRecord) -> list[Row]:
    """The recipe's rows in the recipe's order, then what the recipe does not show; a class by its last name."""
    wait = record.wait
    return [
        ("Type", record.type),
        ("Label", record.label.rpartition(".")[2] or "n/a (no usage message arrived)"),
        ("Request ID", record.request_id),
        ("Timestamp", record.timestamp),
        ("Duration", _known(wait.duration_s, "{:.3f} s", wait.duration_reason)),
        ("Time to First Audio", _wait(record)),
        *_token_rows(record),
        ("Tokens/Second", _known(record.tokens_per_second, "{:.1f}", wait.duration_reason or record.usage_reason)),
        ("Audio", _audio(record)),
        *_cut_short(record),
        ("Cost", _cost(record)),
    ]


def session_rows(record: SessionRecord) -> list[Row]:
    """What a session comes to."""
    sums = record.sums
    responses = {
        "interrupted": sums.interrupted,
        "silent": sums.silent,
        "without usage": sums.without_usage,
        "talked over": sums.talk_overs,
        f"over the budget of {record.latency_budget_s} s": sums.over_latency_budget,
    }
    connections = {"reconnected": sums.reconnects, "resumed": sums.resumptions, "announced to end": sums.go_aways}
    rows = [
        ("User Turns", _with(sums.user_turns, {"unanswered": sums.unanswered})),
        ("Responses", _with(sums.responses, responses)),
        ("Time to First Audio", _waits(record)),
        ("Longest Wait", _known(sums.longest_wait_s, "{:.3f} s", "nobody waited for an answer")),
        ("First Audio After", _known(sums.first_audio_after_s, "{:.3f} s", "none was heard")),
        ("Greeting", _known(sums.greeting_s, "{:.3f} s", "none was asked for, or it was not heard")),
        *(_token_rows(record) if sums.responses else ()),
        ("Cost", _cost(record)),
        ("Prices", record.price_data + (f", of {sums.price_date}" if sums.price_date else "")),
        ("Duration", f"{record.duration_s:.1f} s"),
        ("Connections", _with(sums.connections, connections)),
    ]
    if record.unbooked_total_tokens:
        usd = _known(record.unbooked_cost_usd, "${:.6f}", "price unknown")
        rows.append(("Unbooked Tokens", f"{record.unbooked_total_tokens:,}, {usd}: they are in no response's report"))
    if sums.errors:
        rows.append(("Errors", ", ".join(f"{kind} ×{count}" for kind, count in sums.errors.items())))
    for name, counted in record.sinks.items():
        if counted["failed"] or counted["dropped"]:
            rows.append((f"Sink {name}", f"{counted['failed']} failed, {counted['dropped']} dropped"))
    return [*rows, ("Ended", record.end_reason)]


def _table(title: str, rows: list[Row], colour: str) -> RenderableType:
    """The rows under a title."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(clean(name)), Text(clean(value, 500), style="dim" if value.startswith("n/a") else ""))
    return Group(Rule(Text(title, style=f"bold {colour}"), align="left", style="dim"), table)


def _token_rows(record: CountedRecord) -> list[Row]:
    rows = []
    for name, field in _TOKEN_ROWS:
        count = record.tokens[field]
        if count or name in _SHOWN_ALWAYS:
            rows.append((name, _known(count, "{:,}", record.usage_reason)))
    return rows


def _wait(record: ResponseRecord) -> str:
    wait = record.wait
    if wait.time_to_first_audio_s is None:
        return f"n/a ({wait.time_to_first_audio_reason})"
    over = ", over budget" if record.over_latency_budget else ""
    tools = f", {told}" if (told := tools_told(wait)) else ""
    return f"{wait.time_to_first_audio_s:.3f} s{over}{tools} ({_SINCE[wait.time_to_first_audio_from]})"


def tools_told(wait: Wait) -> str:
    """Which tools ran, and how long that was inside the wait; empty where none did."""
    tools = ", ".join(wait.tools)
    if tools and wait.tools_s and wait.tools_s >= 0.05:
        return f"{tools} took {wait.tools_s:.1f} s"
    return tools and f"tool {tools}"


def _waits(record: SessionRecord) -> str:
    if record.time_to_first_audio_p50_s is None:
        return f"n/a ({record.time_to_first_audio_reason})"
    p50, p95 = f"p50 {record.time_to_first_audio_p50_s:.3f} s", f"p95 {record.time_to_first_audio_p95_s:.3f} s"
    return f"{p50}, {p95}, max {record.time_to_first_audio_max_s:.3f} s"


def _cut_short(record: ResponseRecord) -> list[Row]:
    """A row for a response that was not completed, or that the provider ended; none for any other."""
    lost = " (the connection was lost before the response was complete)" if record.connection_lost else ""
    ended = f" (the provider ended it: {record.finish_reason})" if record.finish_reason else ""
    if record.interrupted or lost or ended:
        return [("Interrupted", ("yes" if record.interrupted else "no") + lost + ended)]
    return []


def _audio(record: ResponseRecord) -> str:
    if record.audio_s is None or record.heard_s is None:
        return "n/a (the session has no audio output, or the call ended before it was played)"
    talked_over = f", talked over for {record.talk_over_s:.2f} s" if record.talk_over_s is not None else ""
    return f"{record.audio_s:.1f} s, heard {record.heard_s:.1f} s{talked_over}"


def _cost(record: CountedRecord) -> str:
    if record.cost_usd is None:
        return f"n/a ({record.cost_reason})"
    return f"${record.cost_usd:.6f}" + (f" ({record.cost_note})" if record.cost_note else "")


def _with(total: int, parts: Mapping[str, int | None]) -> str:
    """A number, and what it holds that is worth a word."""
    return ", ".join([str(total), *(f"{count} {what}" for what, count in parts.items() if count)])


def _known(value: float | None, form: str, reason: str | None) -> str:
    return form.format(value) if value is not None else f"n/a ({reason})"
