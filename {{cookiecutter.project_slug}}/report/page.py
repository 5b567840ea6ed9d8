"""The report as one HTML page with plots: no script, nothing from a network, light and dark, readable on a phone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .load import Records
from .plots import STYLE, WIDTH, Plot, clock, escaped, html_table, legend, round_ticks, short_number, short_usd
from .summary import IS_WAIT, Details, Figures, some_turns
from .terminal import UNKNOWN, count, facts, seconds, share, title, usd

MOST_ROWS = 200


def page(records: Records, figures: Figures, details: Details, groups: Sequence[Figures], by: str | None) -> str:
    """The whole page. Each text from the records is escaped where it is put into it."""
    notes = "".join(f'<p class="note">{escaped(note)}</p>' for note in records.notes)
    plots = [_waits(records), _over_time(records, figures), _cost_over_time(records, figures), _modalities(details)]
    plots += [
        _growth(details, "input_tokens", "Context by turn", count),
        _growth(details, "cost_usd", "Cost by turn", usd),
    ]
    return f"""<!doctype html>
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
<div class="facts">{"".join(_fact(*fact) for fact in facts(figures, details))}</div>
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
    columns = (
        by,
        "Calls",
        "Minutes",
        "Cost",
        "a call",
        "a minute",
        "Wait p50",
        "p95",
        "p99",
        "Unanswered",
        "Interrupted",
    )
    rows = [
        (
            *(g.value, count(g.calls), UNKNOWN if g.minutes is None else f"{g.minutes:,.1f}", usd(g.cost_usd)),
            *(usd(g.cost_per_call_usd), usd(g.cost_per_minute_usd), seconds(g.wait_p50_s), seconds(g.wait_p95_s)),
            *(seconds(g.wait_p99_s), share(g.unanswered_share), share(g.interrupted_share)),
        )
        for g in groups[:MOST_ROWS]
    ]
    return html_table(f"By {by}", columns, rows)


def _slowest(details: Details) -> str:
    columns = ("Call", "Turn", "When", "Wait", "Model", "Audio", "Playback", "Tools")
    rows = [
        (
            *(
                slow.call,
                count(slow.turn),
                UNKNOWN if slow.time_s is None else clock(slow.time_s, "%Y-%m-%d %H:%M:%S"),
            ),
            *(seconds(slow.wait_s), seconds(slow.to_generation_s), seconds(slow.to_audio_s), seconds(slow.playback_s)),
            seconds(slow.tools_s) if slow.tools_s is not None else "none",
        )
        for slow in details.slowest
    ]
    return html_table("The slowest answers, and the parts of their waits", columns, rows) if rows else ""


def _waits(records: Records) -> str:
    """The distribution; the few above the 99.5th percentile share the last bar."""
    [(most, total)] = records.rows(
        f"SELECT quantile_disc(time_to_first_audio_s, 0.995), count(*) FROM records WHERE {IS_WAIT}"
    )
    if not total:
        return ""
    highest = round_ticks(max(most, 0.1) * 1.25)[-1] or max(most, 0.1)
    bins = 30
    rows = dict(
        records.rows(f"""
            SELECT least({bins - 1}, floor(time_to_first_audio_s / {highest} * {bins}))::INTEGER AS bin, count(*)
            FROM records WHERE {IS_WAIT} GROUP BY bin""")
    )
    plot = Plot(highest, max(rows.values()))
    width = highest / bins
    bars = ""
    for number, times in sorted(rows.items()):
        upper = f"to {(number + 1) * width:.2f} s" if number < bins - 1 else "and more"
        bars += plot.bar(
            number * width, (number + 1) * width, times, f"{number * width:.2f} s {upper}: {times:,} answers", "a"
        )
    axis = [(tick, f"{tick:g} s") for tick in round_ticks(highest)]
    return plot.draw(
        "How long callers waited",
        f"{total:,} answers by their wait; the last bar holds all longer ones",
        axis,
        number,
        bars,
    )


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
    caption = legend("a", "p50") + legend("b", "p95") + " (times in UTC)"
    return plot.draw("Waits over time", caption, _time_axis(began, span), lambda tick: f"{tick:g} s", body)


def _cost_over_time(records: Records, figures: Figures) -> str:
    began, width, rows = _buckets(records, figures)
    costs = [(bucket, cost) for bucket, *_, cost in rows if cost]
    if not costs:
        return ""
    span = width * (rows[-1][0] + 1)
    plot = Plot(span, max(cost for _, cost in costs) * 1.05)
    bars = "".join(
        plot.bar(
            bucket * width,
            (bucket + 1) * width,
            cost,
            f"{clock(began + bucket * width, '%Y-%m-%d %H:%M')}: {usd(cost)}",
            "a",
        )
        for bucket, cost in costs
    )
    every = (
        f"{width / 3600:.1f} hours"
        if width >= 5400
        else f"{width / 60:.1f} minutes"
        if width >= 90
        else f"{width:.0f} s"
    )
    return plot.draw(
        "Cost over time", f"of the responses, each bar {every}, UTC", _time_axis(began, span), short_usd, bars
    )


def _modalities(details: Details) -> str:
    if not details.modalities:
        return ""
    most = max(modality.tokens for modality in details.modalities)
    dearest = max((modality.cost_usd or 0 for modality in details.modalities), default=0)
    row, start, room = 40, 92, WIDTH - 92 - 150
    body = ""
    for number, modality in enumerate(details.modalities):
        y = number * row + 6
        said = f"{modality.tokens:,}"
        width = max(1, round(room * modality.tokens / most, 1))
        body += f'<text x="{start - 8}" y="{y + 17}" text-anchor="end">{escaped(modality.name)}</text>'
        body += f'<rect class="a" x="{start}" y="{y}" width="{width}" height="13"/>'
        body += f'<text x="{start + width + 6}" y="{y + 11}">{said}</text>'
        if modality.cost_usd is not None:
            width = max(1, round(room * modality.cost_usd / dearest, 1)) if dearest else 1
            body += f'<rect class="b" x="{start}" y="{y + 15}" width="{width}" height="13"/>'
            body += f'<text x="{start + width + 6}" y="{y + 26}">{escaped(usd(modality.cost_usd))}</text>'
    note = f"; cost is unknown: {escaped(details.modalities_note)}" if details.modalities_note else ""
    caption = legend("a", "tokens") + legend("b", "cost") + " of the responses" + note
    height = len(details.modalities) * row + 4
    return (
        f'<figure><h2>Tokens by modality</h2><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Tokens by modality">{body}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _growth(details: Details, field: str, heading: str, show: Callable[[float | None], str]) -> str:
    if not some_turns(details.growth):
        return ""
    grown = [
        (row.turn, getattr(row, field), row.responses) for row in details.growth if getattr(row, field) is not None
    ]
    several = [row for row in grown if row[2] > 1]
    grown = several if len(several) > 1 else grown
    if len(grown) < 2 or not max(value for _, value, _ in grown):
        return ""
    plot = Plot(grown[-1][0] * 1.02, max(value for _, value, _ in grown) * 1.05)
    calls = {turn: responses for turn, _, responses in grown}
    body = plot.line(
        [(turn, float(value)) for turn, value, _ in grown],
        "a",
        lambda x, y: f"turn {x:g}: {show(y)}, median of {calls[int(x)]:,} calls",
    )
    axis = [(tick, f"{tick:g}") for tick in round_ticks(grown[-1][0]) if tick >= 1]
    what = "input tokens" if field == "input_tokens" else "cost"
    caption = f"median {what} of a response, by its turn in the call: each one bills the whole conversation again"
    return plot.draw(heading, caption, axis, short_number if field == "input_tokens" else short_usd, body)


def _timeline(records: Records) -> str:
    """The call with the longest wait: who could be heard when, where the user waited, and where in vain."""
    chosen = records.rows(f"""
        SELECT call FROM records WHERE kind = 'unanswered' OR {IS_WAIT}
        ORDER BY coalesce(waited_s, time_to_first_audio_s) DESC NULLS LAST, call LIMIT 1""")
    if not chosen:
        return ""
    rows = records.rows(
        """
        SELECT kind, turn, time_s, epoch(try_cast(user_speech_end AS TIMESTAMPTZ)), waited_s, reason,
            time_to_first_audio_s, time_to_generation_s, generation_to_audio_s, playback_latency_s,
            coalesce(heard_s, duration_s), interrupted, talk_over_s, input_tokens, output_tokens, cost_usd
        FROM records WHERE call = ? AND kind IN ('response', 'unanswered') AND time_s IS NOT NULL
        ORDER BY time_s, turn""",
        chosen[0][0],
    )[:MOST_ROWS]
    events = [event for row in rows if (event := _Event.of(row))]
    if not events:
        return ""
    began = min(event.waits_from for event in events)
    ended = max(event.ends for event in events)
    span = max(ended - began, 1.0)
    width, left = round(min(max(900.0, span * 7), 9000)), 64

    def x(time_s: float) -> float:
        return round(left + (width - left - 16) * (time_s - began) / span, 1)

    def bar(lane: int, kind: str, start: float, end: float, about: str) -> str:
        return (
            f'<rect class="{kind}" x="{x(start)}" y="{lane * 34 + 10}" width="{max(2.0, round(x(end) - x(start), 1))}" '
            f'height="22" rx="2"><title>{escaped(about)}</title></rect>'
        )

    body = ""
    agent_silent = began
    for event in events:
        if event.waits_from > agent_silent and not event.greets:
            body += bar(0, "soft", agent_silent, event.waits_from, "the user's turn, until their last sound")
        if event.waits_from < event.waits_to:
            body += bar(1, "bad" if event.in_vain else "b", event.waits_from, event.waits_to, event.about)
        if event.ends > event.waits_to:
            body += bar(2, "a", event.waits_to, event.ends, event.about)
        if event.talks_over:
            body += bar(
                0,
                "good",
                event.ends - event.talks_over,
                event.ends,
                f"the user speaks over the agent for {event.talks_over:.2f} s",
            )
        agent_silent = max(agent_silent, event.ends)
    lanes = "".join(
        f'<text x="0" y="{lane * 34 + 26}">{name}</text>' for lane, name in enumerate(("User", "Waiting", "Agent"))
    )
    grid = "".join(
        f'<line class="grid" x1="{x(began + tick)}" x2="{x(began + tick)}" y1="4" y2="112"/>'
        f'<text x="{x(began + tick)}" y="128" text-anchor="middle">{tick:g} s</text>'
        for tick in round_ticks(span, max(5, width // 120))
    )
    key = legend("soft", "the user's turn (the records say when it ended, not when its first sound was)")
    key += (
        legend("good", "speaks over the agent")
        + legend("b", "waits")
        + legend("bad", "waited in vain")
        + legend("a", "the agent is heard")
    )
    table = html_table(
        f"Its turns{'' if len(rows) < MOST_ROWS else f' (the first {MOST_ROWS})'}",
        ("Turn", "After", "Wait", "Heard", "Input tokens", "Output tokens", "Cost", ""),
        [event.row(began) for event in events],
        texts=(7,),
        folded=True,
    )
    return (
        f'<figure class="wide"><h2>The call with the longest wait: {escaped(chosen[0][0] or "(no id)")}</h2>'
        f'<div class="scroll"><svg viewBox="0 0 {width} 134" style="width:{width}px;max-width:none" role="img" '
        f'aria-label="Timeline of a call">'
        f"{grid}{lanes}{body}</svg></div><figcaption>{key}</figcaption></figure>{table}"
    )


@dataclass(frozen=True)
class _Event:
    """A response, or a wait in vain, on the time line (seconds since 1970)."""

    turn: int | None
    waits_from: float
    waits_to: float
    ends: float
    in_vain: bool
    greets: bool
    talks_over: float | None
    about: str
    wait_s: float | None
    heard_s: float | None
    tokens: tuple[int | None, int | None]
    cost_usd: float | None
    remark: str

    @staticmethod
    def of(row: tuple[Any, ...]) -> "_Event | None":
        kind, turn, time_s, speech_end, waited_s, reason, wait, to_generation, to_audio, playback, heard, *rest = row
        interrupted, talk_over, tokens_in, tokens_out, cost = rest
        if kind == "unanswered":
            if waited_s is None:
                return None
            begin = speech_end if speech_end is not None else time_s - waited_s
            why = f"no answer: {reason or 'no reason given'}"
            about = f"{waited_s:.2f} s, {why}"
            end = begin + waited_s
            return _Event(None, begin, end, end, True, False, None, about, waited_s, None, (None, None), None, why)
        # its generation was created at time_s: the wait's first part lies before, the others after
        first_audio = time_s + (to_audio or 0) + (playback or 0)
        if wait is not None and to_generation is not None:
            first_audio = time_s + wait - to_generation
        ends = first_audio + (heard or 0)
        about = f"turn {turn}: waited {seconds(wait)}, heard for {seconds(heard)}, {usd(cost)}"
        remark = "interrupted" if interrupted else "greeting" if turn == 1 else ""
        return _Event(
            turn=turn,
            waits_from=first_audio - (wait or 0),
            waits_to=first_audio,
            ends=ends,
            in_vain=False,
            greets=turn == 1,
            talks_over=min(talk_over, heard or 0) if talk_over is not None else None,
            about=about,
            wait_s=wait,
            heard_s=heard,
            tokens=(tokens_in, tokens_out),
            cost_usd=cost,
            remark=remark,
        )

    def row(self, began: float) -> tuple[str, ...]:
        after = f"{self.waits_from - began:.1f} s"
        if self.in_vain:
            return ("", after, seconds(self.wait_s), "", "", "", "", self.remark)
        figures = (count(self.tokens[0]), count(self.tokens[1]), usd(self.cost_usd))
        return (count(self.turn), after, seconds(self.wait_s), seconds(self.heard_s), *figures, self.remark)
