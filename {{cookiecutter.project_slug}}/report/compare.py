"""Is B other than A by more than chance? Is it worse than a baseline?

Chance is measured by the bootstrap: whole calls are drawn again and again (what is said in one call hangs together),
and the middle 95 % of the differences that come out are the interval.
"""

import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from realtime_metrics.log import visible

from .load import HOW as HOW_RECORDS
from .load import LoadError, Records
from .summary import IS_WAIT, Figures, figures

DRAWS, MANY_WAITS = 1000, 100_000
"""So often is drawn, and a fifth of it where there are so many waits: they scatter little, and draws take time."""
FEWEST_CALLS = 8
"""With fewer calls on a side, chance cannot be told from change: of twice 5 alike, every eighth pair differed "by more
than chance" (simulated)."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A figure that is compared; less is better for all."""

    name: str
    field: str
    """Of `Figures`."""
    show: Callable[[float], str]


def _percent(value: float) -> str:
    return f"{value:.2%}".replace("%", " %")


MEASURES = (
    Measure("Median wait", "wait_p50_s", lambda value: f"{value:.3f} s"),
    Measure("p95 wait", "wait_p95_s", lambda value: f"{value:.3f} s"),
    Measure("Cost a minute", "cost_per_minute_usd", lambda value: f"${value:.5f}"),
    Measure("Unanswered turns", "unanswered_share", _percent),
    Measure("Failed calls", "calls_failed_share", _percent),
)


@dataclass(frozen=True)
class Comparison:
    """B against A in one figure. `low` and `high` bound the difference B - A."""

    name: str
    a: float | None
    b: float | None
    low: float | None
    high: float | None
    direction: str
    """`better` or `worse` by more than chance, `equal` within chance, or `unknown`."""
    words: str


@dataclass(frozen=True)
class Verdict:
    """Whether one figure is no worse than the baseline's."""

    name: str
    now: float | None
    baseline: float | None
    passed: bool
    words: str


class Sample:
    """What of one side's calls is drawn: a row for each call, with its cost, length, turns and end; and its waits."""

    def __init__(self, records: Records, where: str = "true", values: tuple[object, ...] = ()) -> None:
        """`where` chooses among the rows of `calls`, which `figures` made."""
        records.db.execute(
            f"""CREATE OR REPLACE TABLE side AS
                SELECT call, row_number() OVER (ORDER BY call) - 1 AS number, cost_usd,
                    CASE WHEN responded THEN length_s / 60 END AS minutes, unanswered, turns,
                    failed::INTEGER AS failed, (failed IS NOT NULL)::INTEGER AS ended FROM calls WHERE {where}""",
            values,
        )
        side = _columns(records, "SELECT * EXCLUDE (call, number) FROM side ORDER BY number")
        self.calls = len(side["turns"])
        self.cost, self.minutes = _both_known(side["cost_usd"], side["minutes"])
        self.unanswered, self.turns = _both_known(side["unanswered"], side["turns"])
        self.failed, self.ended = _both_known(side["failed"], side["ended"])
        waits = _columns(
            records,
            f"""SELECT number, time_to_first_audio_s AS wait FROM records JOIN side USING (call) WHERE {IS_WAIT}
                ORDER BY wait, number""",
        )
        self.wait, self.call_of_wait = waits["wait"], waits["number"].astype(np.intp)

    def known_calls(self, field: str) -> int:
        """How many calls say something about the figure."""
        if field.startswith("wait"):
            return len(np.unique(self.call_of_wait))
        said = {"cost_per_minute_usd": self.minutes, "unanswered_share": self.turns, "calls_failed_share": self.ended}
        return int(np.count_nonzero(said[field]))

    def draw(self, generator: np.random.Generator) -> dict[str, float]:
        """The figures of as many calls, drawn with replacement; nan where none of them says it."""
        times = np.bincount(generator.integers(self.calls, size=self.calls), minlength=self.calls).astype(np.float64)
        ranks = np.cumsum(times[self.call_of_wait])
        return {
            "wait_p50_s": self._wait(ranks, 0.5),
            "wait_p95_s": self._wait(ranks, 0.95),
            "cost_per_minute_usd": _ratio(times, self.cost, self.minutes),
            "unanswered_share": _ratio(times, self.unanswered, self.turns),
            "calls_failed_share": _ratio(times, self.failed, self.ended),
        }

    def _wait(self, ranks: Array, of: float) -> float:
        if not len(ranks) or ranks[-1] == 0:
            return float("nan")
        return float(self.wait[np.searchsorted(ranks, np.ceil(of * ranks[-1]))])


def _columns(records: Records, query: str) -> dict[str, Array]:
    found = records.db.execute(query).fetchnumpy()
    return {name: np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan) for name, column in found.items()}


def _both_known(part: Array, whole: Array) -> tuple[Array, Array]:
    known = ~(np.isnan(part) | np.isnan(whole))
    return np.where(known, part, 0), np.where(known, whole, 0)


def _ratio(times: Array, part: Array, whole: Array) -> float:
    total = float(times @ whole)
    return float(times @ part) / total if total else float("nan")


def compare(names: tuple[str, str], sides: tuple[Figures, Figures], samples: tuple[Sample, Sample]) -> list[Comparison]:
    """B against A, in every measure."""
    generator = np.random.default_rng(1)  # the same report for the same records
    times = DRAWS if max(len(sample.wait) for sample in samples) < MANY_WAITS else DRAWS // 5
    draws = [[sample.draw(generator) for sample in samples] for _ in range(times)]
    compared = []
    for measure in MEASURES:
        a, b = (getattr(side, measure.field) for side in sides)
        found = np.array([pair[1][measure.field] - pair[0][measure.field] for pair in draws])
        found = found[~np.isnan(found)].round(12)  # what adding up floats differs in is no difference
        known = min(sample.known_calls(measure.field) for sample in samples)
        low, high = None, None
        if known >= FEWEST_CALLS and len(found) >= times * 0.9:
            low, high = (float(bound) for bound in np.quantile(found, (0.025, 0.975)))
        direction, words = _in_words(measure, names, (a, b), (low, high))
        compared.append(Comparison(measure.name, a, b, low, high, direction, words))
    return compared


def _in_words(
    measure: Measure,
    names: tuple[str, str],
    values: tuple[float | None, float | None],
    interval: tuple[float | None, float | None],
) -> tuple[str, str]:
    (a, b), (low, high) = values, interval
    if a is None or b is None:
        missing = [visible(name) for name, value in zip(names, values, strict=True) if value is None]
        return "unknown", f"unknown, {' and '.join(missing)} {'do' if len(missing) > 1 else 'does'} not say it"
    both = f"{measure.show(a)} → {measure.show(b)}"
    if low is None or high is None:
        few = f"fewer than {FEWEST_CALLS} calls on a side say it: too few to tell chance from change"
        return "unknown", f"{both}; {few}"
    both += f" ({_signed(measure, low)} to {_signed(measure, high)})"
    if low <= 0 <= high:
        return "equal", f"{both}: may well be chance"
    if high < 0:
        return "better", f"{both}: lower, by more than chance"
    return "worse", f"{both}: higher, by more than chance"


def _signed(measure: Measure, value: float) -> str:
    return ("-" if value < 0 else "+") + measure.show(abs(value))


def gate(now: Figures, baseline: Figures, tolerance: float) -> list[Verdict]:
    """Each measure against the baseline's; `tolerance` 0.1 lets it be 10 % higher. What was not measured fails.

    So does a measure that is known of fewer responses than in the baseline, by more than the tolerance: the answers
    that take longest must not pass by going unmeasured.
    """
    verdicts = []
    for measure in MEASURES:
        is_now, was = getattr(now, measure.field), getattr(baseline, measure.field)
        passed = False
        if is_now is None:
            words = f"{measure.name}: not measured"
        elif was is None:
            words = f"{measure.name}: {measure.show(is_now)}; the baseline does not hold it: record it again"
        else:
            passed = is_now <= was * (1 + tolerance) + 1e-12
            words = f"{measure.name}: {measure.show(is_now)}, in the baseline {measure.show(was)}"
            words += "" if passed else f", more than {tolerance:.0%} worse".replace("%", " %")
        verdicts.append(Verdict(measure.name, is_now, was, passed, words))
    for name, field in (("wait", "responses_without_wait"), ("cost", "responses_without_cost")):
        known_now, known_then = (
            1 - getattr(side, field) / side.responses if side.responses else None for side in (now, baseline)
        )
        if known_now is not None and known_then is not None and known_now < known_then * (1 - tolerance):
            words = f"the {name} is known of {known_now:.0%} of the responses, in the baseline of {known_then:.0%}"
            verdicts.append(Verdict(f"Known {name}", known_now, known_then, False, words.replace("%", " %")))
    return verdicts


HOW = "A baseline is made with: uv run -m report --json > baseline.json"


def no_baseline(problem: LoadError) -> LoadError:
    """What is said of a baseline that cannot be read as records either: how a baseline is made, not how records are."""
    return LoadError(f"--baseline {str(problem).removesuffix(HOW_RECORDS).rstrip(' .')}. {HOW}")


def baseline_figures(path: Path) -> Figures | None:
    """The figures that `--json` wrote to a file, or `None` if it is no such file (but perhaps one of records).

    Raises:
        LoadError: it is empty, or such a file of another version. A figure that can be unknown may be missing.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig")  # PowerShell's `>`
        found = json.loads(text) if text else None
    except (OSError, ValueError, RecursionError):
        return None
    if not text:  # what `> baseline.json` leaves where --json failed
        raise LoadError(f"--baseline {visible(str(path))} is empty. {HOW}")
    if not isinstance(found, dict) or not isinstance(found.get("figures"), dict):
        return None
    values = found["figures"]
    for field in fields(Figures):
        value = values.get(field.name)
        wanted = (str,) if field.name in ("value", "began", "ended") else (int, float)
        if value is None and field.type not in (str, int):
            continue
        if field.name not in values or isinstance(value, bool) or not isinstance(value, wanted):
            raise LoadError(f"--baseline {visible(str(path))} is no baseline of this version ({field.name}). {HOW}")
    return Figures(**{field.name: values.get(field.name) for field in fields(Figures)})


def two_values(records: Records, by: str, a: str, b: str) -> tuple[tuple[Figures, Figures], tuple[Sample, Sample]]:
    """The two sides of `--compare A B --by FIELD`.

    Raises:
        LoadError: no call has one of the values.
    """
    groups = {group.value: group for group in figures(records, by)}
    for value in (a, b):
        if value not in groups:
            known = ", ".join(visible(name) for name in list(groups)[:10])
            raise LoadError(f"no call has the {by} {visible(value)!r}; there is {known}")
    samples = [Sample(records, f"coalesce({by}, '(none)') = ?", (value,)) for value in (a, b)]
    return (groups[a], groups[b]), (samples[0], samples[1])
