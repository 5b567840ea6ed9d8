"""What a page is drawn with: its style, escaped text, tables, and plots in SVG."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from realtime_metrics.log import visible

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 76, 12, 12, 30

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #fff; --ink: #1b2330; --faint: #5c6675; --line: #dde1e7;
  --a: #2563c9; --b: #c2570c; --good: #2b8a57; --bad: #c92a3c; --soft: #b9cdf0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #10141a; --card: #191f28; --ink: #e6eaf0; --faint: #9aa5b5; --line: #2e3744;
    --a: #6ea8ff; --b: #f0974e; --good: #5cc98d; --bad: #ff6b7a; --soft: #2c4470;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1040px; padding: 20px 16px 48px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { font-size: 22px; margin: 0 0 2px; }
h2 { font-size: 16px; margin: 0 0 8px; overflow-wrap: anywhere; }
p { margin: 4px 0; overflow-wrap: anywhere; }
.faint, figcaption { color: var(--faint); font-size: 13px; }
.note, .unknown { color: var(--b); }
.facts, .plots {
  display: grid; gap: 14px; margin: 16px 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr));
}
.plots { grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.card, figure {
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; margin: 0;
  min-width: 0;
}
.card h2, summary { color: var(--faint); font-size: 13px; font-weight: 600; margin: 0; }
.card .figure { font-size: 17px; font-weight: 650; overflow-wrap: anywhere; }
summary { cursor: pointer; }
.wide { margin: 14px 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px 5px 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--faint); font-weight: 600; }
th.text, td.text {
  text-align: left; min-width: 130px; max-width: 340px; overflow-wrap: anywhere; white-space: normal;
}
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--faint); font-size: 12.5px; }
@media (max-width: 480px) { .plots svg text { font-size: 16px; } }
.grid { stroke: var(--line); }
.a { fill: var(--a); background: var(--a); }
.b { fill: var(--b); background: var(--b); }
.soft { fill: var(--soft); background: var(--soft); }
.bad { fill: var(--bad); background: var(--bad); }
.good { fill: var(--good); background: var(--good); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line-a { stroke: var(--a); }
.line-b { stroke: var(--b); }
.named { display: inline-block; margin-right: 10px; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 4px; }
"""


def escaped(text: object) -> str:
    """Text, from the records or not, as it may stand in the page."""
    return escape(visible(str(text)))


def html_table(
    heading: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    texts: Sequence[int] = (0,),
    folded: bool = False,
) -> str:
    """A table that scrolls where it is too wide; `texts` are the columns of words, `folded` shows its heading only."""

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="text"' if number in texts else "" for number in range(len(cells))]
        shown = (f"<{tag}{kind}>{escaped(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(shown)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    table = f'<div class="scroll"><table><thead>{row(columns, "th")}</thead><tbody>{body}</tbody></table></div>'
    if folded:
        return f'<details class="card wide"><summary>{escaped(heading)}</summary>{table}</details>'
    return f'<div class="card wide"><h2>{escaped(heading)}</h2>{table}</div>'


def svg_figure(heading: str, caption: str, width: int, height: int, body: str, scrolls: bool = False) -> str:
    """A drawing with its heading; `caption` and `body` are HTML already. One that `scrolls` keeps its size."""
    size = f' style="width: {width}px"' if scrolls else ""
    drawing = f'<svg viewBox="0 0 {width} {height}"{size} role="img" aria-label="{escaped(heading)}">{body}</svg>'
    kind, drawing = (' class="wide"', f'<div class="scroll">{drawing}</div>') if scrolls else ("", drawing)
    return f"<figure{kind}><h2>{escaped(heading)}</h2>{drawing}<figcaption>{caption}</figcaption></figure>"


@dataclass(frozen=True)
class Plot:
    """A plot whose axes begin at 0: `x` and `y` place a value."""

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
        size = f'x="{x}" y="{y}" width="{width}" height="{height}"'
        return f'<rect class="{kind}" {size}><title>{escaped(about)}</title></rect>'

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
            f'<circle class="{kind}" cx="{self.x(x)}" cy="{self.y(y)}" r="2.5">'
            f"<title>{escaped(tell(x, y))}</title></circle>"
            for x, y in points
            if y is not None
        )
        return f'<path class="line line-{kind}" d="{" ".join(path)}"/>{dots}'

    def draw(
        self, heading: str, caption: str, x_axis: Sequence[tuple[float, str]], y_axis: Callable[[float], str], body: str
    ) -> str:
        grid = "".join(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(tick)}" y2="{self.y(tick)}"/>'
            f'<text x="{LEFT - 6}" y="{self.y(tick) + 4}" text-anchor="end">{escaped(y_axis(tick))}</text>'
            for tick in round_ticks(self.y_max)
        )
        labels = ""
        for value, label in x_axis:
            anchor = "start" if value == 0 and len(label) > 4 else "end" if self.x(value) > WIDTH - 40 else "middle"
            labels += f'<text x="{self.x(value)}" y="{HEIGHT - 10}" text-anchor="{anchor}">{escaped(label)}</text>'
        return svg_figure(heading, caption, WIDTH, HEIGHT, grid + body + labels)


def round_ticks(highest: float, most: int = 5) -> list[float]:
    """Round values from 0 to `highest`, about `most`."""
    highest = max(highest, 1e-9)
    rough = highest / most
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(step * size for step in (1, 2, 5, 10) if step * size >= rough * 0.999)
    return [step * number for number in range(int(highest / step + 0.001) + 1)]


def short_number(value: float) -> str:
    return f"{value:g}" if value < 1000 else f"{value / 1000:g}k" if value < 1_000_000 else f"{value / 1_000_000:g}M"


def short_usd(value: float) -> str:
    return f"${value:.3g}" if value < 1000 else f"${short_number(value)}"


def clock(time_s: float, form: str) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime(form)


def legend(kind: str, name: str) -> str:
    """What a colour means."""
    return f'<span class="named"><span class="key {kind}"></span>{escaped(name)}</span>'
