"""The report as one HTML page with plots: no script, nothing from a network, light and dark, readable on a phone."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from .load import Records, clean
from .summary import IS_WAIT, Details, Figures, some_turns
from .terminal import UNKNOWN, count, facts, seconds, share, title, usd

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30
MOST_ROWS = 200

STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1b2330; --faint: #5c6675; --line: #dde1e7;
  --a: #2563c9; --b: #c2570c; --good: #2b8a57; --bad: #c92a3c; --soft: #b9cdf0; }
@media (prefers-color-scheme: dark) { :root { --paper: #10141a; --card: #191f28; --ink: #e6eaf0; --faint: #9aa5b5;
  --line: #2e3744; --a: #6ea8ff; --b: #f0974e; --good: #5cc98d; --bad: #ff6b7a; --soft: #2c4470; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 20px 16px 48px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 22px; margin: 0 0 2px; } h2 { font-size: 16px; margin: 0 0 8px; }
p { margin: 4px 0; overflow-wrap: anywhere; } .faint, figcaption { color: var(--faint); font-size: 13px; }
.note { color: var(--b); }
.facts, .plots { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); margin: 16px 0; }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.card, figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; margin: 0; min-width: 0; }
.card h2, summary { color: var(--faint); font-size: 13px; font-weight: 600; margin: 0; }
.card .figure { font-size: 17px; font-weight: 650; overflow-wrap: anywhere; } .unknown { color: var(--b); }
summary { cursor: pointer; } .wide { margin: 14px 0; } .scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px 5px 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--faint); font-weight: 600; } th.text, td.text { text-align: left; min-width: 130px; max-width: 340px; overflow-wrap: anywhere; white-space: normal; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--faint); font-size: 12.5px; }
@media (max-width: 480px) { .plots svg text { font-size: 16px; } }
.grid { stroke: var(--line); } .a { fill: var(--a); } .b { fill: var(--b); } .soft { fill: var(--soft); } .bad { fill: var(--bad); }
.good { fill: var(--good); } .line-a { stroke: var(--a); } .line-b { stroke: var(--b); } .line-bad { stroke: var(--bad); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.named { display: inline-block; margin-right: 10px; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 4px; }
.key.a { background: var(--a); } .key.b { background: var(--b); } .key.soft { background: var(--soft); }
.key.bad { background: var(--bad); } .key.good { background: var(--good); }
"""


def page(records: Records, figures: Figures, details: Details, groups: Sequence[Figures], by: str | None) -> str:
    """The whole page. Each text from the records is escaped where it is put into it."""
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in records.notes)
    plots = [_waits(records), _over_time(records, figures), _cost_over_time(records, figures), _modalities(details)]
    plots += [_growth(details, "input_tokens", "Context by turn", count), _growth(details, "cost_usd", "Cost by turn", usd)]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Calls: {_text(records.names)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>What the calls cost, and how long the callers waited</h1>
<p class="faint">{_text(title(records, [figures]))}</p>
{notes}
<div class="facts">{"".join(_fact(*fact) for fact in facts(figures, details))}</div>
{_groups(groups, by) if by else ""}
<div class="plots">{"".join(plot for plot in plots if plot)}</div>
{_slowest(details)}
{_timeline(records)}
</body>
</html>
"""


def _text(text: object) -> str:
    return escape(clean(str(text)))


def _fact(name: str, figure: str, remarks: list[str]) -> str:
    kind = "figure unknown" if figure.startswith(UNKNOWN) else "figure"
    said = "".join(f'<p class="faint">{_text(remark)}</p>' for remark in remarks)
    return f'<div class="card"><h2>{_text(name)}</h2><div class="{kind}">{_text(figure)}</div>{said}</div>'


def _table(
    heading: str, columns: Sequence[str], rows: Iterable[Sequence[str]], texts: Sequence[int] = (0,), folded: bool = False
) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="text"' if number in texts else "" for number in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{kind}>{_text(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    table = f'<div class="scroll"><table><thead>{row(columns, "th")}</thead><tbody>{body}</tbody></table></div>'
    if folded:
        return f'<details class="card wide"><summary>{_text(heading)}</summary>{table}</details>'
    return f'<div class="card wide"><h2>{_text(heading)}</h2>{table}</div>'


def _groups(groups: Sequence[Figures], by: str) -> str:
    columns = (by, "Calls", "Minutes", "Cost", "a call", "a minute", "Wait p50", "p95", "p99", "Unanswered", "Interrupted")
    rows = [
        (
            *(g.value, count(g.calls), UNKNOWN if g.minutes is None else f"{g.minutes:,.1f}", usd(g.cost_usd)),
            *(usd(g.cost_per_call_usd), usd(g.cost_per_minute_usd), seconds(g.wait_p50_s), seconds(g.wait_p95_s)),
            *(seconds(g.wait_p99_s), share(g.unanswered_share), share(g.interrupted_share)),
        )
        for g in groups[:MOST_ROWS]
    ]
    return _table(f"By {by}", columns, rows)


def _slowest(details: Details) -> str:
    columns = ("Call", "Turn", "When", "Wait", "Model", "Audio", "Playback", "Tools")
    rows = [
        (
            *(slow.call, count(slow.turn), UNKNOWN if slow.time_s is None else _clock(slow.time_s, "%Y-%m-%d %H:%M:%S")),
            *(seconds(slow.wait_s), seconds(slow.to_generation_s), seconds(slow.to_audio_s), seconds(slow.playback_s)),
            seconds(slow.tools_s) if slow.tools_s is not None else "none",
        )
        for slow in details.slowest
    ]
    return _table("The slowest answers, and the parts of their waits", columns, rows) if rows else ""


@dataclass(frozen=True)
class _Frame:
    """A plot's axes: `x` and `y` place a value."""

    x_max: float
    y_max: float

    def x(self, value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_max, 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.y_max, 1)

    def bar(self, left: float, right: float, value: float, about: str, kind: str) -> str:
        x, y = self.x(left), self.y(value)
        width = max(1.0, round(self.x(right) - x - 1, 1))
        height = round(self.y(0) - y, 1)
        return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"><title>{_text(about)}</title></rect>'

    def line(self, points: Sequence[tuple[float, float | None]], kind: str, tell: Callable[[float, float], str]) -> str:
        """A line that has gaps where nothing is known."""
        path, pen = [], "M"
        for x, y in points:
            if y is None:
                pen = "M"
                continue
            path.append(f"{pen}{self.x(x)} {self.y(y)}")
            pen = "L"
        dots = "".join(
            f'<circle class="{kind}" cx="{self.x(x)}" cy="{self.y(y)}" r="2.5"><title>{_text(tell(x, y))}</title></circle>'
            for x, y in points
            if y is not None
        )
        return f'<path class="line line-{kind}" d="{" ".join(path)}"/>{dots}'

    def draw(self, heading: str, caption: str, x_axis: Sequence[tuple[float, str]], y_axis: Callable[[float], str], body: str) -> str:
        grid = "".join(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(tick)}" y2="{self.y(tick)}"/>'
            f'<text x="{LEFT - 6}" y="{self.y(tick) + 4}" text-anchor="end">{_text(y_axis(tick))}</text>'
            for tick in _ticks(self.y_max)
        )
        labels = ""
        for value, label in x_axis:
            anchor = "start" if value == 0 and len(label) > 4 else "end" if self.x(value) > WIDTH - 40 else "middle"
            labels += f'<text x="{self.x(value)}" y="{HEIGHT - 10}" text-anchor="{anchor}">{_text(label)}</text>'
        return (
            f'<figure><h2>{_text(heading)}</h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{_text(heading)}">{grid}{body}{labels}</svg><figcaption>{caption}</figcaption></figure>'
        )


def _ticks(highest: float, most: int = 5) -> list[float]:
    """Round values from 0 to `highest`."""
    rough = highest / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(step * size for step in (1, 2, 5, 10) if step * size >= rough * 0.999)
    return [step * number for number in range(int(highest / step + 0.001) + 1)]


def _number(value: float) -> str:
    return f"{value:g}" if value < 1000 else f"{value / 1000:g}k" if value < 1_000_000 else f"{value / 1_000_000:g}M"


def _dollars(value: float) -> str:
    return f"${value:.3g}" if value < 1000 else f"${_number(value)}"


def _clock(time_s: float, form: str) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime(form)


def _key(kind: str, name: str) -> str:
    return f'<span class="named"><span class="key {kind}"></span>{_text(name)}</span>'


def _waits(records: Records) -> str:
    """The distribution; the few above the 99.5th percentile share the last bar."""
    [(most, total)] = records.rows(
        f"SELECT quantile_disc(time_to_first_audio_s, 0.995), count(*) FROM records WHERE {IS_WAIT}"
    )
    if not total:
        return ""
    highest = _ticks(max(most, 0.1) * 1.25)[-1] or max(most, 0.1)
    bins = 30
    rows = dict(
        records.rows(f"""
            SELECT least({bins - 1}, floor(time_to_first_audio_s / {highest} * {bins}))::INTEGER AS bin, count(*)
            FROM records WHERE {IS_WAIT} GROUP BY bin""")
    )
    frame = _Frame(highest, max(rows.values()))
    width = highest / bins
    bars = ""
    for number, times in sorted(rows.items()):
        upper = f"to {(number + 1) * width:.2f} s" if number < bins - 1 else "and more"
        bars += frame.bar(number * width, (number + 1) * width, times, f"{number * width:.2f} s {upper}: {times:,} answers", "a")
    axis = [(tick, f"{tick:g} s") for tick in _ticks(highest)]
    return frame.draw("How long callers waited", f"{total:,} answers by their wait; the last bar holds all longer ones", axis, _number, bars)


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
    return [(span * part / 3, _clock(began + span * part / 3, form)) for part in range(4)]


def _over_time(records: Records, figures: Figures) -> str:
    began, width, rows = _buckets(records, figures)
    highest = max((row[2] for row in rows if row[2] is not None), default=None)
    if highest is None:
        return ""
    span = width * (rows[-1][0] + 1)
    frame = _Frame(span, max(highest, 0.1) * 1.05)
    known = {row[0]: row for row in rows}
    body = ""
    for column, kind, name in ((2, "b", "p95"), (1, "a", "p50")):
        points = [((n + 0.5) * width, known[n][column] if n in known else None) for n in range(rows[-1][0] + 1)]
        body += frame.line(points, kind, lambda x, y, name=name: f"{_clock(began + x, '%Y-%m-%d %H:%M')}: {name} {y:.2f} s")  # type: ignore[misc]
    caption = _key("a", "p50") + _key("b", "p95") + " (times in UTC)"
    return frame.draw("Waits over time", caption, _time_axis(began, span), lambda tick: f"{tick:g} s", body)


def _cost_over_time(records: Records, figures: Figures) -> str:
    began, width, rows = _buckets(records, figures)
    costs = [(bucket, cost) for bucket, *_, cost in rows if cost]
    if not costs:
        return ""
    span = width * (rows[-1][0] + 1)
    frame = _Frame(span, max(cost for _, cost in costs) * 1.05)
    bars = "".join(
        frame.bar(bucket * width, (bucket + 1) * width, cost, f"{_clock(began + bucket * width, '%Y-%m-%d %H:%M')}: {usd(cost)}", "a")
        for bucket, cost in costs
    )
    every = f"{width / 3600:.1f} hours" if width >= 5400 else f"{width / 60:.1f} minutes" if width >= 90 else f"{width:.0f} s"
    return frame.draw("Cost over time", f"of the responses, each bar {every}, UTC", _time_axis(began, span), _dollars, bars)


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
        body += f'<text x="{start - 8}" y="{y + 17}" text-anchor="end">{_text(modality.name)}</text>'
        body += f'<rect class="a" x="{start}" y="{y}" width="{width}" height="13"/>'
        body += f'<text x="{start + width + 6}" y="{y + 11}">{said}</text>'
        if modality.cost_usd is not None:
            width = max(1, round(room * modality.cost_usd / dearest, 1)) if dearest else 1
            body += f'<rect class="b" x="{start}" y="{y + 15}" width="{width}" height="13"/>'
            body += f'<text x="{start + width + 6}" y="{y + 26}">{_text(usd(modality.cost_usd))}</text>'
    note = f"; cost is unknown: {_text(details.modalities_note)}" if details.modalities_note else ""
    caption = _key("a", "tokens") + _key("b", "cost") + " of the responses" + note
    height = len(details.modalities) * row + 4
    return (
        f'<figure><h2>Tokens by modality</h2><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Tokens by modality">{body}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _growth(details: Details, field: str, heading: str, show: Callable[[float | None], str]) -> str:
    if not some_turns(details.growth):
        return ""
    grown = [(row.turn, getattr(row, field), row.responses) for row in details.growth if getattr(row, field) is not None]
    several = [row for row in grown if row[2] > 1]
    grown = several if len(several) > 1 else grown
    if len(grown) < 2 or not max(value for _, value, _ in grown):
        return ""
    frame = _Frame(grown[-1][0] * 1.02, max(value for _, value, _ in grown) * 1.05)
    calls = {turn: responses for turn, _, responses in grown}
    body = frame.line(
        [(turn, float(value)) for turn, value, _ in grown],
        "a",
        lambda x, y: f"turn {x:g}: {show(y)}, median of {calls[int(x)]:,} calls",
    )
    axis = [(tick, f"{tick:g}") for tick in _ticks(grown[-1][0]) if tick >= 1]
    what = "input tokens" if field == "input_tokens" else "cost"
    caption = f"median {what} of a response, by its turn in the call: each one bills the whole conversation again"
    return frame.draw(heading, caption, axis, _number if field == "input_tokens" else _dollars, body)


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
            f'height="22" rx="2"><title>{_text(about)}</title></rect>'
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
            body += bar(0, "good", event.ends - event.talks_over, event.ends, f"the user speaks over the agent for {event.talks_over:.2f} s")
        agent_silent = max(agent_silent, event.ends)
    lanes = "".join(f'<text x="0" y="{lane * 34 + 26}">{name}</text>' for lane, name in enumerate(("User", "Waiting", "Agent")))
    grid = "".join(
        f'<line class="grid" x1="{x(began + tick)}" x2="{x(began + tick)}" y1="4" y2="112"/>'
        f'<text x="{x(began + tick)}" y="128" text-anchor="middle">{tick:g} s</text>'
        for tick in _ticks(span, max(5, width // 120))
    )
    key = _key("soft", "the user's turn (the records say when it ended, not when its first sound was)")
    key += _key("good", "speaks over the agent") + _key("b", "waits") + _key("bad", "waited in vain") + _key("a", "the agent is heard")
    table = _table(
        f"Its turns{'' if len(rows) < MOST_ROWS else f' (the first {MOST_ROWS})'}",
        ("Turn", "After", "Wait", "Heard", "Input tokens", "Output tokens", "Cost", ""),
        [event.row(began) for event in events],
        texts=(7,),
        folded=True,
    )
    return (
        f'<figure class="wide"><h2>The call with the longest wait: {_text(chosen[0][0] or "(no id)")}</h2><div class="scroll">'
        f'<svg viewBox="0 0 {width} 134" style="width:{width}px;max-width:none" role="img" aria-label="Timeline of a call">'
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
