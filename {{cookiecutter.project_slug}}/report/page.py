"""The report as one HTML page with plots: no script, nothing from a network, light and dark, readable on a phone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .load import Records
from .plots import (
    STYLE,
    WIDTH,
    Plot,
    clock,
    escaped,
    html_table,
    legend,
    round_ticks,
    short_number,
    short_usd,
    svg_figure,
)
from .summary import IS_WAIT, Details, Figures
from .terminal import UNKNOWN, count, facts, plural, seconds, share, title, usd

MOST_ROWS = 200
BARS = 30

PAGE_BEGINS = "<!doctype html>"


def page(records: Records, figures: Figures, details: Details, groups: Sequence[Figures], by: str | None) -> str:
    """The whole page. Each text from the records is escaped where it is put into it."""
    notes = "".join(f'<p class="note">{escaped(note)}</p>' for note in records.notes)
    plots = [_waits(records), _over_time(records, figures), _cost_over_time(records, figures), _modalities(details)]
    plots += [
        _growth(details, "input_tokens", "Context by response", count),
        _growth(details, "cost_usd", "Cost by response", usd),
    ]
    return f"""{PAGE_BEGINS}
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Calls: {escaped(records.names)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>What the calls cost, and how long the callers waited</h1>
<p class="faint">{escaped(title(records, [figures]))}</p>
{notes}
<div class="facts">{"".join(_fact(*fact) for fact in facts(figures, details, ("p50", "p95")))}</div>
{_groups(groups, by) if by else ""}
<div class="plots">{"".join(plot for plot in plots if plot)}</div>
{_slowest(details)}
{_timeline(records)}
</body>
</html>
"""


def _fact(name: str, figure: str, remarks: list[str]) -> str:
    kind = "figure unknown" if figure.startswith(UNKNOWN) else "figure"
    said = "".join(f'<p class="faint">{escaped(remark)}</p>' for remark in remarks)
    return f'<div class="card"><h2>{escaped(name)}</h2><div class="{kind}">{escaped(figure)}</div>{said}</div>'


def _groups(groups: Sequence[Figures], by: str) -> str:
    money = ("Cost", "a call", "a minute")
    columns = (by, "Calls", "Minutes", *money, "Wait p50", "p95", "p99", "Unanswered", "Interrupted", "Failed")
    rows = []
    for g in groups[:MOST_ROWS]:
        minutes = UNKNOWN if g.minutes is None else f"{g.minutes:,.1f}"
        costs = [usd(cost) for cost in (g.cost_usd, g.cost_per_call_usd, g.cost_per_minute_usd)]
        waits = [seconds(wait) for wait in (g.wait_p50_s, g.wait_p95_s, g.wait_p99_s)]
        rows.append([g.value, count(g.calls), minutes, *costs, *waits, share(g.unanswered_share)])
        rows[-1] += [share(g.interrupted_share), share(g.calls_failed_share)]
    more = f" (the first {MOST_ROWS} of {len(groups):,})" if len(groups) > MOST_ROWS else ""
    return html_table(f"By {by}{more}", columns, rows)


def _slowest(details: Details) -> str:
    columns = ("Call", "Response", "When", "Wait", "Model", "Audio", "Playback", "Tools within")
    rows = []
    for slow in details.slowest:
        when = UNKNOWN if slow.time_s is None else clock(slow.time_s, "%Y-%m-%d %H:%M:%S")
        parts = [seconds(part) for part in (slow.wait_s, slow.to_generation_s, slow.to_audio_s, slow.playback_s)]
        tools = seconds(slow.tools_s) if slow.tools_s else "none"
        rows.append([slow.call, count(slow.turn), when, *parts, tools])
    return html_table("The slowest answers, and the parts of their waits", columns, rows) if rows else ""


def _waits(records: Records) -> str:
    """The distribution; the few above the 99.5th percentile share the last bar."""
    [(most, total)] = records.rows(
        f"SELECT quantile_disc(time_to_first_audio_s, 0.995), count(*) FROM records WHERE {IS_WAIT}"
    )
    if not total:
        return ""
    highest = round_ticks(max(most, 0.1) * 1.25)[-1]
    width = highest / BARS
    rows = records.rows(f"""
        SELECT least({BARS - 1}, floor(time_to_first_audio_s / {width}))::INTEGER AS bar, count(*)
        FROM records WHERE {IS_WAIT} GROUP BY bar""")
    plot = Plot(highest, max(5, *(times for _, times in rows)))
    bars = ""
    for bar, times in rows:
        upper = f"to {(bar + 1) * width:.2f} s" if bar < BARS - 1 else "and more"
        about = f"{bar * width:.2f} s {upper}: {plural(times, 'answer')}"
        bars += plot.bar(bar * width, (bar + 1) * width, times, about, "a")
    axis = [(tick, f"{tick:g} s") for tick in round_ticks(highest)]
    caption = f"{plural(total, 'answer')} by their wait; the last bar holds all that are longer"
    return plot.draw("How long callers waited", caption, axis, short_number, bars)


def _buckets(records: Records, figures: Figures) -> tuple[float, float, list[tuple[Any, ...]]]:
    """From when, how wide, and what was in each stretch of the time that the records cover."""
    if figures.began is None or figures.ended is None:
        return 0, 1, []
    began, ended = (datetime.fromisoformat(time).timestamp() for time in (figures.began, figures.ended))
    width = max(1.0, (ended - began) / 40)
    rows = records.rows(f"""
        SELECT floor((time_s - {began}) / {width})::INTEGER AS bucket,
            quantile_disc(time_to_first_audio_s, 0.5) FILTER ({IS_WAIT}),
            quantile_disc(time_to_first_audio_s, 0.95) FILTER ({IS_WAIT}), sum(cost_usd)
        FROM records WHERE kind = 'response' AND time_s IS NOT NULL GROUP BY bucket ORDER BY bucket""")
    return began, width, rows


def _time_axis(began: float, span: float) -> list[tuple[float, str]]:
    form = "%H:%M:%S" if span < 600 else "%H:%M" if span < 36 * 3600 else "%d %b"
    return [(span * part / 3, clock(began + span * part / 3, form)) for part in range(4)]


def _over_time(records: Records, figures: Figures) -> str:
    began, width, rows = _buckets(records, figures)
    highest = max((row[2] for row in rows if row[2] is not None), default=None)
    if highest is None:
        return ""
    span = width * (rows[-1][0] + 1)
    plot = Plot(span, max(highest, 0.1) * 1.05)
    known = {row[0]: row for row in rows}
    body = ""
    for column, kind, name in ((2, "b", "p95"), (1, "a", "p50")):
        points = [((n + 0.5) * width, known[n][column] if n in known else None) for n in range(rows[-1][0] + 1)]

        def tell(x: float, y: float, name: str = name) -> str:
            return f"{clock(began + x, '%Y-%m-%d %H:%M')}: {name} {y:.2f} s"

        body += plot.line(points, kind, tell)
    caption = legend("a", "p50") + legend("b", "p95, times in UTC")
    return plot.draw("Waits over time", caption, _time_axis(began, span), lambda tick: f"{tick:g} s", body)


def _cost_over_time(records: Records, figures: Figures) -> str:
    began, width, rows = _buckets(records, figures)
    costs = [(bucket, cost) for bucket, *_, cost in rows if cost]
    if not costs:
        return ""
    span = width * (rows[-1][0] + 1)
    plot = Plot(span, max(cost for _, cost in costs) * 1.05)
    bars = ""
    for bucket, cost in costs:
        about = f"{clock(began + bucket * width, '%Y-%m-%d %H:%M')}: {usd(cost)}"
        bars += plot.bar(bucket * width, (bucket + 1) * width, cost, about, "a")
    every = (
        f"{width:.1f} s" if width < 90 else f"{width / 60:.1f} minutes" if width < 5400 else f"{width / 3600:.1f} hours"
    )
    caption = f"of the responses; a bar is {every}, times in UTC"
    return plot.draw("Cost over time", caption, _time_axis(began, span), short_usd, bars)


def _modalities(details: Details) -> str:
    if not details.modalities:
        return ""
    most = max(modality.tokens for modality in details.modalities)
    dearest = max(modality.cost_usd or 0 for modality in details.modalities) or 1
    row, left, room = 46, 92, WIDTH - 92 - 150
    body = ""
    for number, modality in enumerate(details.modalities):
        y = number * row + 6
        bars = [("a", y, modality.tokens / most, count(modality.tokens))]
        if modality.cost_usd is not None:
            bars.append(("b", y + 17, modality.cost_usd / dearest, usd(modality.cost_usd)))
        body += f'<text x="{left - 8}" y="{y + 20}" text-anchor="end">{escaped(modality.name)}</text>'
        for kind, top, part, figure in bars:
            width = max(1, round(room * part, 1))
            body += f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="15"/>'
            body += f'<text x="{left + width + 6}" y="{top + 13}">{escaped(figure)}</text>'
    note = f"; cost is unknown: {escaped(details.modalities_note)}" if details.modalities_note else ""
    caption = legend("a", "tokens") + legend("b", "cost of the responses") + note
    return svg_figure("Tokens by modality", caption, WIDTH, len(details.modalities) * row + 4, body)


def _growth(details: Details, field: str, heading: str, show: Callable[[float | None], str]) -> str:
    """A line over the responses that more than one call reached."""
    grown = [(row.turn, getattr(row, field), row.responses) for row in details.growth]
    grown = [(turn, value, calls) for turn, value, calls in grown if value is not None and calls > 1]
    if len(grown) < 2 or not any(value for _, value, _ in grown):
        return ""
    plot = Plot(grown[-1][0] * 1.02, max(value for _, value, _ in grown) * 1.05)
    calls_of = {turn: calls for turn, _, calls in grown}

    def tell(turn: float, value: float) -> str:
        return f"response {turn:g}: {show(value)}, median of {calls_of[int(turn)]:,} calls"

    body = plot.line([(turn, value) for turn, value, _ in grown], "a", tell)
    axis = [(tick, f"{tick:g}") for tick in round_ticks(grown[-1][0]) if tick >= 1]
    is_cost = field == "cost_usd"
    what = "cost" if is_cost else "input tokens"
    caption = f"median {what} of a response, by its number in the call: each one bills the whole conversation again"
    return plot.draw(heading, caption, axis, short_usd if is_cost else short_number, body)


@dataclass(frozen=True)
class Moment:
    """A response, or a wait in vain: from when to when (seconds since 1970) the user waited and heard the agent."""

    turn: int | None
    """`None` of a wait in vain."""
    waits_from: float
    heard_from: float
    heard_until: float
    wait_s: float | None
    heard_s: float | None
    talk_over_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    remark: str

    @property
    def in_vain(self) -> bool:
        return self.remark.startswith("no answer")

    @property
    def requested(self) -> bool:
        return self.remark == "requested by the program"


# A response's time is when its generation was created: the first part of its wait lies before, the others after.
_MOMENTS = """
    WITH heard AS (
        SELECT *, coalesce(waited_s, time_to_first_audio_s) AS wait_s,
            coalesce(heard_s, audio_s, duration_s) AS sound_s,
            time_s + CASE WHEN kind = 'unanswered' THEN 0 ELSE coalesce(
                time_to_first_audio_s - time_to_generation_s, generation_to_audio_s + playback_latency_s,
                generation_to_audio_s, 0) END AS heard_from
        FROM records WHERE call = ? AND kind IN ('response', 'unanswered') AND time_s IS NOT NULL)
    SELECT turn, heard_from - coalesce(wait_s, 0), heard_from, heard_from + coalesce(sound_s, 0), wait_s, sound_s,
        CASE WHEN talk_over_s IS NOT NULL THEN least(talk_over_s, sound_s) END, input_tokens, output_tokens, cost_usd,
        CASE WHEN kind = 'unanswered' THEN 'no answer: ' || coalesce(reason, 'no reason given')
             WHEN time_to_first_audio_from = 'reply_requested' THEN 'requested by the program'
             WHEN interrupted THEN 'interrupted' ELSE '' END
    FROM heard ORDER BY time_s, turn LIMIT ?"""


def _timeline(records: Records) -> str:
    """The call with the longest wait: who could be heard when, where the user waited, and where in vain."""
    chosen = records.rows(f"""
        SELECT call FROM records WHERE time_s IS NOT NULL AND (kind = 'unanswered' OR {IS_WAIT})
        ORDER BY coalesce(waited_s, time_to_first_audio_s) DESC NULLS LAST, call LIMIT 1""")
    if not chosen:
        return ""
    moments = [Moment(*row) for row in records.rows(_MOMENTS, chosen[0][0], MOST_ROWS)]
    began = min(moment.waits_from for moment in moments)
    span = max(1.0, max(moment.heard_until for moment in moments) - began)
    width, left = round(min(max(900.0, span * 7), 9000)), 64

    def x(time_s: float) -> float:
        return round(left + (width - left - 16) * (time_s - began) / span, 1)

    def bar(lane: int, kind: str, start: float, end: float, about: str) -> str:
        size = f'x="{x(start)}" y="{lane * 34 + 10}" width="{max(2.0, round(x(end) - x(start), 1))}" height="22"'
        return f'<rect class="{kind}" {size} rx="2"><title>{escaped(about)}</title></rect>'

    body = ""
    for lane, name in enumerate(("User", "Waiting", "Agent")):
        body += f'<text x="0" y="{lane * 34 + 26}">{name}</text>'
    for tick in round_ticks(span, max(5, width // 120)):
        at = x(began + tick)
        body += f'<line class="grid" x1="{at}" x2="{at}" y1="4" y2="112"/>'
        body += f'<text x="{at}" y="128" text-anchor="middle">{tick:g} s</text>'
    silent_since = began
    for moment in moments:
        about = f"response {moment.turn}: waited {seconds(moment.wait_s)}, heard for {seconds(moment.heard_s)}"
        if moment.waits_from > silent_since and moment.wait_s and not moment.requested:
            body += bar(0, "soft", silent_since, moment.waits_from, "the user's turn, until their last sound")
        if moment.in_vain:
            body += bar(1, "bad", moment.waits_from, moment.heard_from, f"{seconds(moment.wait_s)}, {moment.remark}")
        elif moment.wait_s:
            body += bar(1, "b", moment.waits_from, moment.heard_from, about)
        if moment.heard_s:
            body += bar(2, "a", moment.heard_from, moment.heard_until, about)
        if moment.talk_over_s:
            over = f"the user speaks over the agent for {seconds(moment.talk_over_s)}"
            body += bar(0, "good", moment.heard_until - moment.talk_over_s, moment.heard_until, over)
        silent_since = max(silent_since, moment.heard_until)
    keys = [
        legend("soft", "the user's turn (the records say when it ended, not when its first sound was)"),
        *(legend("good", "speaks over the agent"), legend("b", "waits"), legend("bad", "waits in vain")),
        legend("a", "the agent is heard"),
    ]
    heading = f"The call with the longest wait: {chosen[0][0] or '(no id)'}"
    return svg_figure(heading, "".join(keys), width, 134, body, scrolls=True) + _moments(moments, began)


def _moments(moments: Sequence[Moment], began: float) -> str:
    rows = []
    for moment in moments:
        row = [
            count(moment.turn),
            f"{moment.waits_from - began:.1f} s",
            seconds(moment.wait_s),
            seconds(moment.heard_s),
        ]
        row += [count(moment.input_tokens), count(moment.output_tokens), usd(moment.cost_usd)]
        if moment.in_vain:
            row = ["", *row[1:3], "", "", "", ""]
        rows.append([*row, moment.remark])
    columns = ("Response", "After", "Wait", "Heard", "Input tokens", "Output tokens", "Cost", "")
    more = f" (the first {MOST_ROWS})" if len(moments) == MOST_ROWS else ""
    return html_table(f"Its responses, and waits in vain{more}", columns, rows, texts=(7,), folded=True)
