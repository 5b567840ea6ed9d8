"""`python -m tests.proof.bench`: what a report costs the event loop, with each sink, beside the published recipe.

Two questions, each answered for this project and for the recipe in the same run:
how much of the loop's time goes into one report, and how late the loop is while reports come.
A benchmark is no test: it prints what was reached, and its exit code is 0.
"""

import asyncio
import gc
import logging
import os
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from livekit.agents.cli.log import JsonFormatter
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from realtime_metrics.settings import Settings
from realtime_metrics.sinks import SINKS
from tests.proof.bench.recipe import Recipe
from tests.proof.bench.responses import (
    ProjectReporting,
    RecipeReporting,
    Reporting,
    Silence,
    Unreported,
    delays_of_the_loop_s,
    times_on_the_loop_s,
)

ROUNDS = 1000
SECONDS = 5.0
GOAL_SHARE = 1 / 100
"""Of the recipe's time."""


class Figures(NamedTuple):
    """Of many values, in seconds."""

    median_s: float
    p99_s: float
    max_s: float


class Load(NamedTuple):
    """Reports that come steadily."""

    name: str
    per_second: int
    sinks: tuple[str, ...] = ()
    goal_s: float | None = None
    """The p99 delay to reach."""


LOADS = (
    Load("nothing", 0),
    Load("all sinks but the console", 200, tuple(name for name in SINKS if name != "console"), goal_s=0.001),
    Load("recipe", 200),
    Load("console", 5, ("console",), goal_s=0.010),
    Load("recipe", 5),
)


def main() -> None:
    progress = Progress(console=Console(stderr=True), transient=True)
    with tempfile.TemporaryDirectory() as folder, progress, output_in(Path(folder)):
        rounds = progress.track(range(ROUNDS), description="Time on the loop")
        spent = asyncio.run(time_spent(Path(folder), rounds))
        delays = {
            load: figures(asyncio.run(delays_under(load, Path(folder))))
            for load in progress.track(LOADS, description="Delay of the loop")
        }
    terminal = Console()
    terminal.print(table_of_time(spent))
    terminal.print(table_of_delays(delays))


async def time_spent(folder: Path, rounds: Iterable[int]) -> dict[str, Figures]:
    """Beyond what the loop and the framework spend anyway, which is measured beside."""
    sinks = {name: (name,) for name in SINKS} | {"all sinks": tuple(SINKS)}
    reportings = {name: reporting_to(names, folder) for name, names in sinks.items()}
    anyway: dict[str, Reporting] = {"silence": Silence(), "unreported": Unreported()}
    spent = await times_on_the_loop_s({**anyway, "recipe": reporting_to((), folder), **reportings}, rounds)
    of = {name: figures(values_s) for name, values_s in spent.items()}
    return {
        "recipe": beyond(of["silence"], of["recipe"]),
        **{name: beyond(of["unreported"], of[name]) for name in reportings},
    }


def beyond(anyway: Figures, all_in_all: Figures) -> Figures:
    """How much longer the loop takes: half of the responses, 99 of 100, and the longest, each beside its like."""
    return Figures(*(all_s - anyway_s for all_s, anyway_s in zip(all_in_all, anyway, strict=True)))


async def delays_under(load: Load, folder: Path) -> list[float]:
    reporting = reporting_to(load.sinks, folder) if load.per_second else Silence()
    return await delays_of_the_loop_s(reporting, load.per_second or 1, SECONDS)


def reporting_to(sinks: tuple[str, ...], folder: Path) -> Reporting:
    """This project's reporting to these sinks; to none: the recipe's."""
    gc.collect()
    if not sinks:
        return RecipeReporting(Recipe((folder / "recipe.txt").open("w", encoding="utf-8")).on_metrics_collected)
    return ProjectReporting(Settings(metrics_sinks=sinks, metrics_jsonl_path=folder / "metrics.jsonl"))


@contextmanager
def output_in(folder: Path) -> Iterator[None]:
    """What sinks print, log and export ends in this folder, or nowhere."""
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens: it must not matter
    with (
        (folder / "log.json").open("w", encoding="utf-8") as log,
        (folder / "out.txt").open("w", encoding="utf-8") as out,
    ):
        handler = logging.StreamHandler(log)
        handler.setFormatter(JsonFormatter())
        logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
        with redirect_stdout(out):
            yield
        logging.getLogger().removeHandler(handler)


def figures(values_s: Sequence[float]) -> Figures:
    ordered = sorted(values_s)
    return Figures(statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1])


def table_of_time(spent: dict[str, Figures]) -> Table:
    title = "Time on the event loop, beyond what it spends anyway"
    table = Table("one report to", "median", "of the recipe's", "p99", "of the recipe's", title=title)
    recipe = spent["recipe"]
    for name, of in spent.items():
        median, p99 = (share_of(*pair) for pair in ((of.median_s, recipe.median_s), (of.p99_s, recipe.p99_s)))
        table.add_row(name, f"{of.median_s * 1e6:,.0f} µs", median, f"{of.p99_s * 1e6:,.0f} µs", p99)
    table.caption = f"Goal: at most {GOAL_SHARE:.0%}"
    return table


def share_of(ours_s: float, recipe_s: float) -> str:
    share = ours_s / recipe_s
    return "100 %" if share == 1 else f"{share:.2%} {reached(share <= GOAL_SHARE)}"


def table_of_delays(delays: dict[Load, Figures]) -> Table:
    table = Table("reports to", "a second", "median", "p99", "max", "goal (p99)", title="Delay of the event loop")
    for load, of in delays.items():
        verdict = "" if load.goal_s is None else f"{load.goal_s * 1e3:g} ms {reached(of.p99_s <= load.goal_s)}"
        rate = str(load.per_second or "")
        table.add_row(load.name, rate, *(f"{delay_s * 1e3:.2f} ms" for delay_s in of), verdict)
    return table


def reached(yes: bool) -> str:
    return "reached" if yes else "missed"


if __name__ == "__main__":
    main()
