"""`uv run -m testcall`: a caller with a stopwatch joins a room of your LiveKit server, and talks to your agent.

The keys are those of .env.local (LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET), the agent's name is the setting
`name`. Exit code: 0; 1 where a turn was not answered, no agent came, a call broke off, or a wait was above the budget;
2 where a setting is wrong.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import warnings
from itertools import cycle, islice
from pathlib import Path

import aiohttp
from livekit import api
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from realtime_metrics.log import clean, print_any_text
from realtime_metrics.settings import Settings, SettingsError, livekit_url_problem, load_secrets, read_settings
from testcall.caller import NO_AGENT, Call, Caller, LiveKit, Turn
from testcall.records import AgentRecords
from testcall.results import Results
from testcall.speech import SpeechError, Utterance, utterances

TURNS = 4
SERVER_S = 10.0
"""How long the server may take to answer at all."""


def main() -> int:
    """Calls; the exit code."""
    print_any_text()
    arguments = _arguments()
    warnings.filterwarnings("ignore", message="The HMAC key is")  # that of `livekit-server --dev` is short
    try:
        load_secrets()
        settings = read_settings()
        livekit = _livekit()
        spoken = list(islice(cycle(utterances(arguments.wav)), arguments.turns))
    except (SettingsError, SpeechError) as error:
        return _refuse(error)
    # whoever ends it deletes its rooms, too
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return asyncio.run(_Testcall(arguments, settings, livekit, spoken).run())
    except SettingsError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def _refuse(error: Exception) -> int:
    print("\n".join(clean(line, 500) for line in str(error).splitlines()), file=sys.stderr)
    return 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="uv run -m testcall", description=(__doc__ or "").replace("`", ""))
    parser.add_argument(
        "--turns", type=_count, default=TURNS, metavar="N", help="what is said; the last interrupts (4)"
    )
    parser.add_argument("--calls", type=_count, default=1, metavar="N", help="how many calls (1)")
    parser.add_argument("--at-once", type=_count, default=1, metavar="N", help="how many of them at the same time (1)")
    parser.add_argument("--budget-s", type=_seconds, metavar="S", help="a longer wait ends with exit code 1")
    parser.add_argument("--records", type=Path, metavar="FILE", help="the agent's metrics.jsonl, to set beside it")
    parser.add_argument("--wav", type=Path, metavar="FILE", help="what to say, cut where it is silent for 0.5 s")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, the rest to stderr")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 10000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _livekit() -> LiveKit:
    """The server of the environment.

    Raises:
        SettingsError: a key is missing, or the address is none.
    """
    given = {
        name: os.environ.get(name, "").strip() for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
    }
    problems = [f"{name} is not set: put it into .env.local" for name, value in given.items() if not value]
    url = given["LIVEKIT_URL"]
    if url and (problem := livekit_url_problem(url)):
        problems.append(problem)
    if problems:
        raise SettingsError(problems)
    return LiveKit(*given.values())


class _Testcall:
    """All calls of this command, and what it shows."""

    def __init__(
        self, arguments: argparse.Namespace, settings: Settings, livekit: LiveKit, spoken: list[Utterance]
    ) -> None:
        self._arguments = arguments
        self._settings = settings
        self._livekit = livekit
        self._spoken = spoken
        self._console = Console(stderr=arguments.json, highlight=False)
        self._progress = Progress(
            TextColumn("calls"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )

    async def run(self) -> int:
        await self._check_server()
        records = AgentRecords(self._arguments.records) if self._arguments.records else None
        sent_for = f"the agent {self._settings.name!r}" if self._settings.name else "an agent that comes by itself"
        self._line(f"[bold]testcall[/]: {escape(sent_for)}, at {escape(clean(self._livekit.url))}")
        with self._progress:
            self._task = self._progress.add_task("ringing", total=self._arguments.calls)
            places = asyncio.Semaphore(self._arguments.at_once)
            async with asyncio.TaskGroup() as group:
                calling = [
                    group.create_task(self._call(number, places)) for number in range(1, self._arguments.calls + 1)
                ]
            calls = [task.result() for task in calling]
            if records is not None:
                self._progress.update(self._task, description="waiting for the agent's records")
                await records.read({call.room for call in calls if call.agent_came})
        results = Results(calls, records, self._arguments.budget_s)
        if self._arguments.json:
            sys.stdout.write(json.dumps(results.as_dict(), indent=2, ensure_ascii=False) + "\n")
        else:
            self._show(results, records)
        return 0 if results.are_good else 1

    async def _check_server(self) -> None:
        """Raises:
        SettingsError: it cannot be reached, or does not know the keys.
        """
        url = clean(self._livekit.url)
        try:
            async with asyncio.timeout(SERVER_S), self._livekit.api() as server:
                await server.room.list_rooms(api.ListRoomsRequest(names=["testcall"]))
        except api.ServerError as error:
            refused = "refuses LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
            why = refused if error.status == 401 else f"answers {error.status}: {clean(error.message)}"
            raise SettingsError([f"LIVEKIT_URL={url!r} {why}"]) from None
        except TimeoutError:
            raise SettingsError([f"LIVEKIT_URL={url!r} does not answer within {SERVER_S:g} s"]) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SettingsError([f"LIVEKIT_URL={url!r} cannot be reached: {clean(error)}"]) from None

    async def _call(self, number: int, places: asyncio.Semaphore) -> Call:
        async with places:
            limit_s = self._settings.metrics_answer_limit_s
            caller = Caller(number, self._livekit, self._settings.name, limit_s, self._tell)
            call = await caller.run(self._spoken)
            self._progress.advance(self._task)
            if call.problem is not None:
                self._line(f"{self._prefix(call)}[red]{escape(call.problem)}[/]")
            return call

    def _tell(self, call: Call, turn: Turn) -> None:
        """One line a turn, as soon as it is over."""
        if turn.number == 1 and call.time_to_answer_s is not None:
            self._line(f"{self._prefix(call)}the agent spoke after {call.time_to_answer_s:.2f} s")
        self._progress.update(self._task, description=f"turn {turn.number} of {len(self._spoken)}")
        came = f"[red]{escape(turn.unanswered)}[/]" if turn.unanswered else f"answer after {turn.wait_s:.2f} s"
        if turn.talk_over_s is not None:
            came = f"silent after {turn.talk_over_s:.2f} s, {came}"
        self._line(f"{self._prefix(call)}{escape(turn.said)} → {came}")

    def _prefix(self, call: Call) -> str:
        return f"  call {call.number}: " if self._arguments.calls > 1 else "  "

    def _show(self, results: Results, records: AgentRecords | None) -> None:
        self._line("")
        self._console.print(results.table())
        for line in results.summary():
            self._line(line)
        if any(call.problem == NO_AGENT for call in results.calls):
            self._line(_what_to_check(self._settings))
        if records is not None:
            for call in results.calls:
                if call.agent_came and records.session(call.room) is None:
                    path = escape(str(self._arguments.records))
                    self._line(
                        f"[yellow]{path} has no session of {call.room}: is the jsonl sink on, and is it this file?[/]"
                    )

    def _line(self, markup: str) -> None:
        self._console.print(markup, emoji=False)


def _what_to_check(settings: Settings) -> str:
    wanted = (
        f"{escape(clean(settings.named('name')))}: so must be that of the agent that runs"
        if settings.name
        else "agent.toml has none: LiveKit sends an agent that has none either"
    )
    return f"""\
What to check:
  name      {wanted}
  running   `uv run agent.py start` says "registered worker" when it is ready
  keys      the agent and testcall need the same LIVEKIT_URL and keys
  capacity  LiveKit calls no agent server whose load is 0.7 or more"""


if __name__ == "__main__":
    sys.exit(main())
