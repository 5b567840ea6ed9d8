"""Records on the terminal: a line per connection, the recipe's table per response, a summary per session."""

import sys
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ..records import ConnectionRecord, CountedRecord, FirstAudioFrom, ResponseRecord, SessionRecord
from . import AnyRecord

if TYPE_CHECKING:
    from ..settings import Settings

Row = tuple[str, str]

MAX_WIDTH = 100

_PLAIN = str.maketrans({"↳": "-", "●": "*", "×": "x"})
"""What stands in for our signs in an encoding that lacks them."""

_SINCE: dict[FirstAudioFrom | None, str] = {
    "user_speech_end": "since the user stopped speaking",
    "reply_requested": "since the reply was requested",
    "model": "since the model created the response",
}


class ConsoleSink:
    """Prints to stdout, one write a record, so nothing gets between a table's lines.

    Width and colours are the terminal's; without one, or with `NO_COLOR`, plain text at 80 columns.
    """

    def __init__(self, settings: "Settings") -> None: ...

    @staticmethod
    def problem(settings: "Settings") -> str | None:
        return None

    def write(self, record: AnyRecord) -> None:
        text = rendered(_shown(record), Console(file=sys.stdout))
        sys.stdout.write(_encodable(text, sys.stdout.encoding or "utf-8"))
        sys.stdout.flush()

    def close(self) -> None:
        """stdout stays open."""


def rendered(what: RenderableType, terminal: Console) -> str:
    """The text, with the control codes that `terminal` takes."""
    page = Console(
        file=TextIOWrapper(BytesIO(), encoding=terminal.encoding),  # Rich draws borders with what it has
        width=min(terminal.width, MAX_WIDTH),
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
        return _connection(record)
    if isinstance(record, ResponseRecord):
        return _table(
            f"Response {record.turn}", response_rows(record), "yellow" if record.over_latency_budget else "cyan"
        )
    return _table("Session", session_rows(record), "green" if not record.errors else "yellow")


def _connection(record: ConnectionRecord) -> Text:
    verb = "reconnected" if record.reconnect else "connected"
    how = (" after the provider announced the end of the connection" if record.go_away else "") + (
        ", conversation resumed" if record.resumed else ""
    )
    line = Text("● ", style="green")
    return line.append(
        f"{verb} to {record.provider} {record.model} in {record.connection_s:.3f} s{how}", style="default"
    )


def response_rows(record: ResponseRecord) -> list[Row]:
    """The recipe's rows in the recipe's order, then what the recipe does not show."""
    return [
        ("Type", record.type),
        ("Label", record.label or "n/a (no usage message arrived)"),
        ("Request ID", record.request_id),
        ("Timestamp", record.timestamp),
        ("Duration", _known(record.duration_s, "{:.3f} s", record.duration_reason)),
        ("Time to First Audio", _wait(record)),
        *_token_rows(record),
        ("Tokens/Second", _known(record.tokens_per_second, "{:.1f}", record.duration_reason or record.usage_reason)),
        ("Model", f"{record.provider} {record.model}"),
        ("Voice", record.voice),
        ("Interrupted", _interrupted(record)),
        ("Cost", _cost(record)),
    ]


def session_rows(record: SessionRecord) -> list[Row]:
    """What a session comes to."""
    counts = {
        "interrupted": record.interrupted,
        "silent": record.silent,
        "without usage": record.without_usage,
        f"over the budget of {record.latency_budget_s} s": record.over_latency_budget or 0,
    }
    waits = (
        f"p50 {record.time_to_first_audio_p50_s:.3f} s, p95 {record.time_to_first_audio_p95_s:.3f} s, "
        f"max {record.time_to_first_audio_max_s:.3f} s"
        if record.time_to_first_audio_p50_s is not None
        else f"n/a ({record.time_to_first_audio_reason})"
    )
    rows = [
        ("Responses", str(record.responses) + "".join(f", {count} {what}" for what, count in counts.items() if count)),
        ("Time to First Audio", waits),
        *(_token_rows(record) if record.responses else ()),
        ("Cost", _cost(record)),
        ("Prices", f"{record.price_data}, of {record.price_date}" if record.price_date else str(record.price_data)),
        ("Duration", f"{record.duration_s:.1f} s"),
        ("Connections", f"{record.connections}" + (f", {record.reconnects} reconnects" if record.reconnects else "")),
    ]
    if record.unbooked_total_tokens:
        rows.append(
            ("Unbooked Tokens", f"{record.unbooked_total_tokens:,} (arrived after their response was recorded)")
        )
    if record.errors:
        rows.append(("Errors", ", ".join(f"{kind} ×{count}" for kind, count in record.errors.items())))
    for name, counted in record.sinks.items():
        if counted["failed"] or counted["dropped"]:
            rows.append((f"Sink {name}", f"{counted['failed']} records failed, {counted['dropped']} dropped"))
    rows.append(("Ended", record.end_reason))
    return rows


def _table(title: str, rows: list[Row], colour: str) -> Table:
    table = Table(
        title=title,
        title_style=f"bold {colour}",
        title_justify="left",
        box=box.ROUNDED,
        border_style="dim",
        show_header=False,
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value, style="dim" if value.startswith("n/a") else ""))
    return table


def _token_rows(record: CountedRecord) -> list[Row]:
    reason = record.usage_reason
    rows = [("Input Tokens", _tokens(record.input_tokens, reason))]
    rows += _modality_rows(record, "input", ("audio", "text"), ("image", "video", "document"))
    rows += [("↳ Cached Tokens", _tokens(record.input_cached_tokens, reason))]
    rows += [("Output Tokens", _tokens(record.output_tokens, reason))]
    rows += _modality_rows(record, "output", ("audio", "text"), ("image", "video", "document"))
    rows += [
        (name, f"{count:,}")
        for name, count in (("Thoughts Tokens", record.thoughts_tokens), ("Tool Use Tokens", record.tool_use_tokens))
        if count
    ]
    return [*rows, ("Total Tokens", _tokens(record.total_tokens, reason))]


def _modality_rows(record: CountedRecord, group: str, always: tuple[str, ...], if_any: tuple[str, ...]) -> list[Row]:
    rows = []
    for modality in (*always, *if_any, "unknown"):
        count: int | None = getattr(record, f"{group}_{modality}_tokens")
        if count or modality in always or (modality == "unknown" and count is not None):
            name = "Unknown Modality" if modality == "unknown" else f"{modality.capitalize()} Tokens"
            rows.append((f"↳ {name}", _tokens(count, record.usage_reason)))
    return rows


def _wait(record: ResponseRecord) -> str:
    if record.time_to_first_audio_s is None:
        return f"n/a ({record.time_to_first_audio_reason})"
    over = ", over budget" if record.over_latency_budget else ""
    return f"{record.time_to_first_audio_s:.3f} s{over} ({_SINCE[record.time_to_first_audio_from]})"


def _interrupted(record: ResponseRecord) -> str:
    lost = " (the connection was lost before the response was complete)" if record.connection_lost else ""
    return ("yes" if record.interrupted else "no") + lost


def _cost(record: CountedRecord) -> str:
    if record.cost_usd is None:
        return f"n/a ({record.cost_reason})"
    return f"${record.cost_usd:.6f}" + (f" ({record.cost_note})" if record.cost_note else "")


def _tokens(count: int | None, reason: str | None) -> str:
    return _known(count, "{:,}", reason)


def _known(value: float | None, form: str, reason: str | None) -> str:
    return form.format(value) if value is not None else f"n/a ({reason})"
