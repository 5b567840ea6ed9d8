"""`python -m tests.proof.bench`: what reporting costs the event loop, beside the published recipe.

Three questions, each answered for this project and for the recipe in the same run: how much of the loop's time goes
into one response, how much into a frame of audio that is listened to, and how late the loop is while reports come.
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
from realtime_metrics.startup import server_options
from tests.proof.bench.ears import times_of_frames_s
from tests.proof.bench.responses import (
    ProjectReporting,
    RecipeReporting,
    Unreported,
    delays_of_the_loop_s,
    times_on_the_loop_s,
)

ROUNDS = 1000
SECONDS = 5.0
GOAL_MEDIAN_S = 0.0005
GOAL_P99_S = 0.0015
GOAL_SHARE = 1 / 8
"""Of the recipe's median."""
GOAL_FRAME_S = 0.000030
"""Median."""
FRAMES_S = (0.01, 0.05)
"""How long the frames are that the model sends, and those of a room."""


class Figures(NamedTuple):
    """Of many values, in seconds."""

    median_s: float
    p99_s: float
    max_s: float


class Load(NamedTuple):
    """Responses that come steadily."""

    name: str
    per_second: int
    sinks: tuple[str, ...] = ()
    goal_s: float | None = None
    """The p99 delay to reach."""


LOADS = (
    Load("nobody", 200),
    Load("all sinks but the console", 200, tuple(name for name in SINKS if name != "console"), goal_s=0.002),
    Load("recipe", 200),
    Load("console", 5, ("console",)),
    Load("recipe", 5),
)


def main() -> None:
    progress = Progress(console=Console(stderr=True), transient=True)
    with tempfile.TemporaryDirectory() as folder, progress, output_in(Path(folder)):
        server_options(settings_for(("prometheus",), Path(folder)))  # counts, as an agent server does
        rounds = progress.track(range(ROUNDS), description="Time on the loop")
        spent = asyncio.run(time_of_a_response(Path(folder), rounds))
        frames = asyncio.run(time_of_frames(progress))
        delays = {
            load: figures(asyncio.run(delays_under(load, Path(folder))))
            for load in progress.track(LOADS, description="Delay of the loop")
        }
    terminal = Console()
    for table in (table_of_responses(spent), table_of_frames(frames), table_of_delays(delays)):
        terminal.print(table)


async def time_of_a_response(folder: Path, rounds: Iterable[int]) -> dict[str, Figures]:
    """Beyond what the loop and the framework spend anyway, which is measured beside."""
    sinks = {"nobody": (), "recipe": (), "this project": Settings().metrics_sinks, "…, to all sinks": tuple(SINKS)}
    reportings = {name: reporting(name, names, folder) for name, names in sinks.items()}
    spent = {name: figures(values_s) for name, values_s in (await times_on_the_loop_s(reportings, rounds)).items()}
    anyway = spent.pop("nobody")
    return {name: beyond(anyway, of) for name, of in spent.items()}


async def time_of_frames(progress: Progress) -> dict[str, Figures]:
    of: dict[str, Figures] = {}
    for frame_s in FRAMES_S:
        rounds = progress.track(range(3 * ROUNDS), description="Time of a frame")
        for who, (without_s, with_ears_s) in (await times_of_frames_s(frame_s, rounds)).items():
            of[f"{frame_s * 1e3:g} ms of the {who}"] = beyond(figures(without_s), figures(with_ears_s))
    return of


def beyond(anyway: Figures, all_in_all: Figures) -> Figures:
    """How much longer the loop takes: half of the times, 99 of 100, and the longest, each beside its like."""
    return Figures(*(all_s - anyway_s for all_s, anyway_s in zip(all_in_all, anyway, strict=True)))


async def delays_under(load: Load, folder: Path) -> list[float]:
    return await delays_of_the_loop_s(reporting(load.name, load.sinks, folder), load.per_second, SECONDS)


def reporting(name: str, sinks: tuple[str, ...], folder: Path) -> Unreported:
    gc.collect()
    if name == "nobody":
        return Unreported()
    if name == "recipe":
        return RecipeReporting((folder / "recipe.txt").open("w", encoding="utf-8"))
    return ProjectReporting(settings_for(sinks, folder))


def settings_for(sinks: tuple[str, ...], folder: Path) -> Settings:
    return Settings(metrics_sinks=sinks, metrics_jsonl_path=folder / "metrics.jsonl")


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


def table_of_responses(spent: dict[str, Figures]) -> Table:
    title = "Time on the event loop of one response with its price, beyond what it costs anyway"
    table = Table("reported by", "median", "of the recipe's", "p99", title=title)
    recipe = spent.pop("recipe")
    table.add_row("recipe", f"{recipe.median_s * 1e6:,.0f} µs", "", f"{recipe.p99_s * 1e6:,.0f} µs")
    for name, ours in spent.items():
        share = ours.median_s / recipe.median_s
        table.add_row(
            name,
            f"{ours.median_s * 1e6:,.0f} µs {reached(ours.median_s <= GOAL_MEDIAN_S)}",
            f"1/{1 / share:.1f} {reached(share <= GOAL_SHARE)}",
            f"{ours.p99_s * 1e6:,.0f} µs {reached(ours.p99_s <= GOAL_P99_S)}",
        )
    table.caption = f"Goals: {GOAL_MEDIAN_S * 1e6:g} µs, 1/{1 / GOAL_SHARE:g}, p99 {GOAL_P99_S * 1e6:,.0f} µs"
    return table


def table_of_frames(frames: dict[str, Figures]) -> Table:
    table = Table("a frame of", "median", "p99", title="Time on the event loop to listen to audio that passes")
    for name, of in frames.items():
        median = f"{of.median_s * 1e6:.1f} µs {reached(of.median_s <= GOAL_FRAME_S)}"
        table.add_row(name, median, f"{of.p99_s * 1e6:.1f} µs")
    table.caption = f"Goal: at most {GOAL_FRAME_S * 1e6:g} µs"
    return table


def table_of_delays(delays: dict[Load, Figures]) -> Table:
    table = Table("reports to", "a second", "median", "p99", "max", "goal (p99)", title="Delay of the event loop")
    for load, of in delays.items():
        verdict = "" if load.goal_s is None else f"{load.goal_s * 1e3:g} ms {reached(of.p99_s <= load.goal_s)}"
        table.add_row(load.name, str(load.per_second), *(f"{delay_s * 1e3:.2f} ms" for delay_s in of), verdict)
    return table


def reached(yes: bool) -> str:
    return "reached" if yes else "missed"


if __name__ == "__main__":
    main()
