"""The report in the terminal: fits 80 columns, and says what is unknown, with its number."""

import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from realtime_metrics.log import visible

from .compare import Comparison, Verdict
from .load import Records
from .summary import Details, Figures, some_responses

UNKNOWN = "unknown"


def plain_console(stderr: bool = False) -> Console:
    """A console that prints text as it is: what a record says is no markup, and no emoji's name."""
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.width:  # COLUMNS=0
        console.width = 80
    return console


def seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f} s"


def usd(value: float | None) -> str:
    """Dollars, with as many digits as a price of that size needs."""
    if value is None:
        return UNKNOWN
    return f"${value:,.2f}" if value >= 100 else f"${value:.4f}" if value >= 0.01 or value == 0 else f"${value:.6f}"


def share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}".replace("%", " %")


def count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def plural(number: float, what: str) -> str:
    return f"{number:,.0f} {what}" if number == 1 else f"{number:,.0f} {what}s"


def have_no(number: int, responses: int) -> str:
    return f"{number:,} of {plural(responses, 'response')} {'has' if number == 1 else 'have'} no"


def counts(found: dict[str, int]) -> str:
    return ", ".join(f"{visible(name)} ({times:,})" for name, times in found.items())


def reasons(found: dict[str, int]) -> str:
    """Without its number where there is one only: what it is said of has been counted."""
    return visible(next(iter(found))) if len(found) == 1 else counts(found)


RANKS = ("p50", "p90", "p95", "p99")


def facts(figures: Figures, details: Details, ranks: Sequence[str] = RANKS) -> list[tuple[str, str, list[str]]]:
    """The figures in words: a name, its figure, and what there is to say about it; of the wait these percentiles."""
    f = figures
    size = f"{plural(f.calls, 'call')}, " + ("length unknown" if f.minutes is None else f"{f.minutes:,.1f} minutes")
    turns = "the number of the user's turns is unknown" if f.turns is None else f"{plural(f.turns, 'turn')} of the user"
    calls = [f"{turns}, {plural(f.responses, 'response')}"]
    if f.calls_without_end:
        calls.append(f"{plural(f.calls_without_end, 'call')} without an end: running, or killed")

    failed = f"{share(f.calls_failed_share)} of the calls" + (f" ({f.calls_failed:,})" if f.calls_failed else "")
    if f.calls_failed_share is None:
        failed = f"{UNKNOWN}: no session's record says how its call ended"
    ends = [f"why calls ended: {counts(details.ends)}"] if details.ends else []

    price = f"{usd(f.cost_per_call_usd)} a call, {usd(f.cost_per_minute_usd)} a minute"
    cost = [price]
    if f.calls_without_response:
        cost.append(f"not counting {plural(f.calls_without_response, 'call')} without any response")
    if bills := f.calls - f.calls_without_bill:
        cost.append(f"from the bill{'s' * (bills != 1)} of {plural(bills, 'call')}, with all usage that came")
    if f.calls_without_bill:
        cost.append(f"{plural(f.calls_without_bill, 'call')} without a bill: the responses are added up")
    if f.unbooked_usd:
        cost.append(f"{usd(f.unbooked_usd)} of it is usage that belongs to no response")
    if f.responses_without_cost:
        why = ", ".join(map(visible, details.reasons_without_cost)) or "no usage"
        cost.append(f"{have_no(f.responses_without_cost, f.responses)} known cost: {why}")

    waits = []
    if f.responses_without_wait:
        why = reasons(details.reasons_without_wait).replace("no audio: ", "no audio, ")  # one colon is enough
        waits.append(f"{have_no(f.responses_without_wait, f.responses)} known wait: {why}")
    wait = UNKNOWN
    if f.waits:
        wait = ", ".join(f"{rank} {seconds(getattr(f, f'wait_{rank}_s'))}" for rank in ranks)
        waits.insert(0, f"{plural(f.waits, 'answer')}, the slowest took {seconds(f.wait_max_s)}")
    if f.greeting_p50_s is not None:
        waits.append(f"for the greeting: p50 {seconds(f.greeting_p50_s)}")

    unanswered = f"{share(f.unanswered_share)} of the user's turns"
    if f.unanswered_share is None:
        unanswered = f"{UNKNOWN}: no session's record says it"
    why = reasons(details.reasons_unanswered)
    silences = [f"{plural(f.unanswered, 'wait')} without an answer: {why}"] if f.unanswered else []
    interrupted = f"{share(f.interrupted_share)} of the responses" + (f" ({f.interrupted:,})" if f.interrupted else "")
    over = [f"the user spoke over {plural(f.talk_overs, 'response')}, typically {seconds(f.talk_over_p50_s)}"]
    reconnects = "reconnects unknown" if f.reconnects is None else plural(f.reconnects, "reconnect")
    errors = f"errors: {counts(details.errors)}" if details.errors else "no errors"
    if f.calls_without_end == f.calls:
        errors = "errors unknown"
    trip = f"round trip of the network: p50 {seconds(f.network_round_trip_p50_s)}"
    return [
        ("Calls", size, calls),
        ("Failed", failed, ends),
        ("Cost", usd(f.cost_usd), cost),
        ("Wait", wait, waits),
        ("Unanswered", unanswered, silences),
        ("Interrupted", interrupted, over if f.talk_overs else []),
        ("Connection", f"{reconnects}, {errors}", [trip] if f.network_round_trip_p50_s is not None else []),
    ]


def show(console: Console, records: Records, figures: Figures, details: Details) -> None:
    """All calls."""
    heading(console, records, [figures])
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, figure, remarks in facts(figures, details):
        said = Text(figure, style="bold cyan" if figure != UNKNOWN else "yellow")
        for remark in remarks:
            said.append(f"\n{remark}", style="not bold default")
        grid.add_row(name, said)
    console.print(grid)
    console.print()

    if details.slowest:
        table = _table("Slowest answers", "Wait", "Response", "Call", "Its parts")
        for slow in details.slowest:
            parts = [("model", slow.to_generation_s), ("audio", slow.to_audio_s), ("playback", slow.playback_s)]
            known = [(name, f"{value:.2f}") for name, value in parts if value is not None]
            shown = ", ".join(f"{name} {value}" for name, value in known if value != "0.00")
            shown += f"; tools {slow.tools_s:.2f} of it" if slow.tools_s else ""
            none = "none" if known else UNKNOWN
            table.add_row(seconds(slow.wait_s), count(slow.turn), visible(slow.call), shown or none)
        console.print(table)
    if len(details.models) > 1:
        table = _table("Cost by model", "Model", "Responses", "Cost", "Without a cost")
        for model in details.models:
            name = visible(model.name)
            table.add_row(name, count(model.responses), usd(model.cost_usd), count(model.without_cost))
        console.print(table)
    if details.modalities:
        table = _table("Tokens of the responses", "Modality", "Tokens", "Cost")
        for modality in details.modalities:
            table.add_row(modality.name, count(modality.tokens), usd(modality.cost_usd))
        console.print(table)
        if details.modalities_note:
            console.print(Text(f"Cost by modality is unknown: {visible(details.modalities_note)}."))
    if growth := some_responses(details.growth):
        some = " (a selection)" if len(growth) < len(details.growth) else ""
        table = _table(f"How a call grows dearer{some}", "Response", "Calls", "Input tokens", "Its cost")
        for grown in growth:
            table.add_row(count(grown.turn), count(grown.responses), count(grown.input_tokens), usd(grown.cost_usd))
        console.print(table)


def show_groups(console: Console, records: Records, by: str, groups: list[Figures]) -> None:
    """A line for each value of a field."""
    heading(console, records, groups)
    table = _table("", by, "Calls", "Cost", "a\nminute", "p50", "p95", "No\nanswer", "Cut", "Failed")
    table.show_edge = False  # each column more leaves less room for the value's name
    for group in groups:
        table.add_row(
            textwrap.fill(visible(group.value), max(20, console.width - 60)),  # at a hyphen, not inside a word
            count(group.calls),
            usd(group.cost_usd),
            usd(group.cost_per_minute_usd),
            _short(group.wait_p50_s),
            _short(group.wait_p95_s),
            *(_short_percent(part) for part in (group.unanswered_share, group.interrupted_share)),
            _short_percent(group.calls_failed_share),
        )
    console.print(table)
    console.print(Text("\na minute: of calls with a response. p50, p95: wait for an answer, in seconds."))
    console.print(Text("In %: the user's turns without an answer, responses that were cut short, calls"))
    console.print(Text("that a failure ended. ?: unknown."))


def show_comparison(
    console: Console,
    names: tuple[str, str],
    sides: tuple[Figures, Figures],
    notes: list[str],
    comparisons: list[Comparison],
) -> None:
    """How much B differs from A, and whether by more than chance."""
    for letter, name, side in zip("AB", names, sides, strict=True):
        console.print(
            Text(
                f"{letter}: {visible(name)}, {plural(side.calls, 'call')}, {plural(side.waits, 'answer')}", style="bold"
            )
        )
    _notes(console, notes)
    console.print()
    for comparison in comparisons:
        style = {"better": "green", "worse": "red"}.get(comparison.direction, "default")
        console.print(Text(f"{comparison.name}: ", style="bold").append(comparison.words, style=f"not bold {style}"))
    console.print(
        Text("\nA → B; in brackets the 95 % interval of the difference (bootstrap over whole calls).", style="dim")
    )


def show_verdicts(console: Console, verdicts: list[Verdict]) -> None:
    """What the gate says."""
    for verdict in verdicts:
        mark, style = ("ok    ", "green") if verdict.passed else ("FAILED", "bold red")
        console.print(Text(f"{mark}  ", style=style).append(verdict.words, style="not bold default"))


def heading(console: Console, records: Records, groups: list[Figures]) -> None:
    """Which files these are, of when, and what could not be read."""
    console.print(Text(title(records, groups), style="bold"))
    _notes(console, records.notes)
    console.print()


def _notes(console: Console, notes: list[str]) -> None:
    for note in notes:
        console.print(Text(f"! {note}", style="yellow"))


def title(records: Records, groups: list[Figures]) -> str:
    """Which files these are, and of when."""
    began = [group.began for group in groups if group.began is not None]
    ended = [group.ended for group in groups if group.ended is not None]
    when = f"{_minute(min(began))} to {_minute(max(ended))} UTC" if began and ended else "at times unknown"
    return f"{records.names}: {when}"


def _minute(iso: str) -> str:
    return iso[:16].replace("T", " ")


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column in columns:
        is_text = column in ("Call", "Model", "Modality", "Its parts") or (column == columns[0] and not title)
        table.add_column(column, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    return table


def _short(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def _short_percent(value: float | None) -> str:
    return "?" if value is None else f"{value:.1%}".removesuffix("%")
