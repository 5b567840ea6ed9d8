"""Records on the terminal: a line per connection, the recipe's table per response, a summary per session."""

import sys
from io import BytesIO, TextIOWrapper

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
from ..waits import FirstAudioFrom
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


class ConsoleSink(Sink):
    """Prints to stdout, one write a record, so nothing gets between a table's lines.

    Width and colours are the terminal's; without one, or with `NO_COLOR`, plain text at 80 columns.
    """

    def write(self, record: AnyRecord) -> None:
        show(_shown(record))


def show(what: RenderableType) -> None:
    """Writes it to stdout, at once, with the signs that stdout's encoding has."""
    text = rendered(what, Console(file=sys.stdout))
    sys.stdout.write(_encodable(text, sys.stdout.encoding or "utf-8"))
    sys.stdout.flush()


def rendered(what: RenderableType, terminal: Console) -> str:
    """The text, with the control codes that `terminal` takes."""
    page = Console(
        file=TextIOWrapper(BytesIO(), encoding=terminal.encoding),  # Rich draws rules with what it has
        width=min(terminal.width or 80, MAX_WIDTH),  # `COLUMNS=0` is no width
        force_terminal=terminal.is_terminal,
        color_system=terminal.color_system,  # type: ignore[arg-type]
        no_color=terminal.no_color,
        highlight=False,
    )
    with page.capture() as capture:
        page.print(what)
    return capture.get()


def _encodable(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    return text


def _shown(record: AnyRecord) -> RenderableType:
    if isinstance(record, ConnectionRecord):
        return connection_line(record)
    if isinstance(record, ResponseRecord):
        title = f"Response {record.turn} · {clean(record.origin.model)} · {clean(record.origin.voice)}"
        return _table(title, response_rows(record), "yellow" if record.over_latency_budget else "cyan", cut=True)
    if isinstance(record, UnansweredRecord):
        return unanswered_line(record)
    return _table("Session", session_rows(record), "green" if not record.sums.errors else "yellow", cut=False)


def connection_line(record: ConnectionRecord) -> Text:
    """That the provider was connected, or connected again."""
    verb = "reconnected" if record.reconnect else "connected"
    how = (" after the provider announced the end of the connection" if record.go_away else "") + (
        ", conversation resumed" if record.resumed else ""
    )
    line = Text("● ", style="green")
    where = clean(f"{record.origin.provider} {record.origin.model}")
    return line.append(f"{verb} to {where} in {record.connection_s:.3f} s{how}", style="default")


def unanswered_line(record: UnansweredRecord) -> Text:
    """That nobody answered the caller, and why."""
    line = Text("● ", style="red")
    return line.append(f"nobody answered the caller for {record.waited_s:.1f} s: {_UNANSWERED[record.reason]}", "bold")


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
    counts = {
        "interrupted": sums.interrupted,
        "silent": sums.silent,
        "without usage": sums.without_usage,
        "talked over": sums.talk_overs,
        f"over the budget of {record.latency_budget_s} s": record.over_latency_budget or 0,
    }
    connections = {"reconnects": sums.reconnects, "resumed": sums.resumptions, "announced ends": record.go_aways}
    waits = (
        f"p50 {record.time_to_first_audio_p50_s:.3f} s, p95 {record.time_to_first_audio_p95_s:.3f} s, "
        f"max {record.time_to_first_audio_max_s:.3f} s"
        if record.time_to_first_audio_p50_s is not None
        else f"n/a ({record.time_to_first_audio_reason})"
    )
    rows = [
        ("User Turns", f"{record.user_turns}" + (f", {record.unanswered} unanswered" if record.unanswered else "")),
        ("Responses", str(sums.responses) + "".join(f", {count} {what}" for what, count in counts.items() if count)),
        ("Time to First Audio", waits),
        ("Longest Wait", _known(record.longest_wait_s, "{:.3f} s", "nobody waited for an answer")),
        ("First Audio After", _known(record.first_audio_after_s, "{:.3f} s", "none was heard")),
        ("Greeting", _known(sums.greeting_s, "{:.3f} s", "none was asked for, or it was not heard")),
        *(_token_rows(record) if sums.responses else ()),
        ("Cost", _cost(record)),
        ("Prices", record.price_data + (f", of {sums.price_date}" if sums.price_date else "")),
        ("Duration", f"{record.duration_s:.1f} s"),
        ("Connections", f"{sums.connections}" + "".join(f", {n} {what}" for what, n in connections.items() if n)),
    ]
    if record.unbooked_total_tokens:
        usd = _known(record.unbooked_cost_usd, "${:.6f}", "price unknown")
        rows.append(("Unbooked Tokens", f"{record.unbooked_total_tokens:,}, {usd}: they are in no response's report"))
    if sums.errors:
        rows.append(("Errors", ", ".join(f"{kind} ×{count}" for kind, count in sums.errors.items())))
    for name, counted in record.sinks.items():
        if counted["failed"] or counted["dropped"]:
            rows.append((f"Sink {name}", f"{counted['failed']} records failed, {counted['dropped']} dropped"))
    rows.append(("Ended", record.end_reason))
    return rows


def _table(title: str, rows: list[Row], colour: str, *, cut: bool) -> RenderableType:
    """The rows under a title. With `cut`, a value is one line; but why something is unknown is always told in full."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="ellipsis")
    for name, value in rows:
        unknown = value.startswith("n/a")
        text = Text(clean(value, 500), style="dim" if unknown else "", no_wrap=cut and not unknown)
        table.add_row(Text(clean(name)), text)
    return Group(Rule(Text(title, style=f"bold {colour}"), align="left", style="dim"), table)


def _token_rows(record: CountedRecord) -> list[Row]:
    tokens, reason = record.tokens, record.usage_reason
    rows = [("Input Tokens", _tokens(tokens["input_tokens"], reason))]
    rows += _modality_rows(record, "input")
    rows += [("↳ Cached Tokens", _tokens(tokens["input_cached_tokens"], reason))]
    rows += [("Output Tokens", _tokens(tokens["output_tokens"], reason))]
    rows += _modality_rows(record, "output")
    others = {"Thoughts Tokens": tokens["thoughts_tokens"], "Tool Use Tokens": tokens["tool_use_tokens"]}
    rows += [(name, f"{count:,}") for name, count in others.items() if count]
    return [*rows, ("Total Tokens", _tokens(tokens["total_tokens"], reason))]


def _modality_rows(record: CountedRecord, group: str) -> list[Row]:
    """Audio and text always, others where there are some."""
    rows = []
    for modality in (*MODALITIES, "unknown"):
        count = record.tokens[f"{group}_{modality}_tokens"]
        if count or modality in ("audio", "text"):
            name = "Unknown Modality" if modality == "unknown" else f"{modality.capitalize()} Tokens"
            rows.append((f"↳ {name}", _tokens(count, record.usage_reason)))
    return rows


def _wait(record: ResponseRecord) -> str:
    wait = record.wait
    if wait.time_to_first_audio_s is None:
        return f"n/a ({wait.time_to_first_audio_reason})"
    over = ", over budget" if record.over_latency_budget else ""
    tools = ", ".join(wait.tools)
    if tools:
        tools = f", of which {wait.tools_s:.1f} s {tools}" if wait.tools_s and wait.tools_s >= 0.05 else f", {tools}"
    return f"{wait.time_to_first_audio_s:.3f} s{over} ({_SINCE[wait.time_to_first_audio_from]}{tools})"


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


def _tokens(count: int | None, reason: str | None) -> str:
    return _known(count, "{:,}", reason)


def _known(value: float | None, form: str, reason: str | None) -> str:
    return form.format(value) if value is not None else f"n/a ({reason})"
