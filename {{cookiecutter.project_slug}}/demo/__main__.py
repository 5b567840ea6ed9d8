"""`uv run -m demo`: a call with the real agent, without keys, audio device or LiveKit server."""

import argparse
import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
import textwrap
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from demo.agent_process import PROJECT, AgentProcess
from demo.call import AgentFailedError, Call, call
from demo.conversation import GIVE_UP_S, AgentLeftError, converse
from demo.scenario import Expect, Scenario, ScenarioError, Turn, load, names, read
from demo.screen import SETTLE_S, Narrator, Screen
from realtime_metrics.log import clean
from realtime_metrics.settings import Settings, SettingsError, read_settings
from realtime_metrics.sinks.jsonl import JsonlSink

HANG_UP_S = 15.0
LOG_LINES = 15
LINE = 500
"""Characters of a log's line that are shown."""
TELLING = re.compile(r" (WARNING|ERROR) (?!.*(no warmed process available|event loop blocked))")
EXTRAS = re.compile(r" \{.*\}\s*$")
NEXT = """\
Next: talk to the same agent, with your GOOGLE_API_KEY in .env.local:
    uv run agent.py console
What goes wrong in real calls can be played, too; and a recording of your own:
    uv run -m demo --list
    uv run -m demo --say question.wav"""
NOT_PLAYED = {"console", "jsonl", "line", "otlp", "prometheus"}
"""Sinks of the project that the demo leaves out: it has its own for the terminal, and its figures are nobody's."""
UNKNOWN_ANSWER = "Only Gemini knows the answer, and I am the demo's server. What you see around this is real."


def main() -> int:
    """Runs the demo; its exit code."""
    if sys.platform == "win32" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    arguments = _arguments()
    try:
        console = Console()
        if not console.width:  # COLUMNS=0
            console.width = 80
        if arguments.list:
            for name in names():
                print(textwrap.fill(f"{name:24}{load(name).about}", console.width, subsequent_indent=" " * 24))
            return 0
        scenario = _own(arguments.say) if arguments.say else _scenario(arguments.scenario or "normal")
        settings = read_settings({})
        if arguments.jsonl and (problem := JsonlSink.problem(Settings(metrics_jsonl_path=arguments.jsonl))):
            raise SettingsError([problem.replace("METRICS_JSONL_PATH=", "--jsonl ", 1)])
    except (ScenarioError, SettingsError) as error:
        print(*(clean(line, LINE) for line in str(error).splitlines()), sep="\n", file=sys.stderr)
        return 2
    # whoever ends the demo ends its agent, too
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        if arguments.replay is not None:
            from demo.replay import show  # with the plugin's library, which takes seconds to import

            return show(arguments.replay, 1.0 if arguments.speed is None else arguments.speed, tables=arguments.tables)
        return asyncio.run(Demo(scenario, console, settings, arguments.jsonl, tables=arguments.tables).run())
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="uv run -m demo", description=(__doc__ or "").replace("`", ""))
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list the scenarios and end")
    what.add_argument("--scenario", metavar="NAME", help="what to play (default: normal), or a .toml file")
    what.add_argument("--say", action="append", metavar="WAV", help="say this file, or sentence; again for a 2nd turn")
    what.add_argument("--replay", metavar="NAME", help="play a recording (uv run -m demo.record), or a .jsonl file")
    parser.add_argument("--speed", type=float, metavar="N", help="of a replay: 1 (default) to 20")
    parser.add_argument("--tables", action="store_true", help="show every response as a table")
    parser.add_argument("--jsonl", type=Path, metavar="FILE", help="add the call's records to this file")
    arguments = parser.parse_args()
    if arguments.speed is not None and arguments.replay is None:
        parser.error("--speed is that of a recording: name one with --replay")
    if arguments.jsonl and arguments.replay is not None:
        parser.error("--jsonl keeps no records of a --replay: leave out one of them")
    return arguments


def _scenario(name_or_file: str) -> Scenario:
    """The scenario with this name, or in this file.

    Raises:
        ScenarioError: there is none, or its file is wrong.
    """
    if not name_or_file.endswith(".toml"):
        return load(name_or_file)
    try:
        return read(Path(name_or_file))
    except OSError as error:
        raise ScenarioError(f"--scenario {name_or_file!r} cannot be read: {error.strerror}") from None


def _own(sayings: list[str]) -> Scenario:
    """A call in which the user says this.

    Raises:
        ScenarioError: it cannot be said.
    """
    try:
        return Scenario(
            name="your own",
            about="what you say, and an answer from nobody",
            turns=tuple(Turn(user=said, text=UNKNOWN_ANSWER, audio_s=5.0) for said in sayings),
            expect=Expect(responses=1 + len(sayings)),
        )
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"]).removeprefix("Value error, user = ")
        raise ScenarioError(f"--say {problem}") from None


class Demo:
    """One scenario, played and shown.

    Args:
        settings: of the project, for its sinks.
        jsonl: where the records go, if they are to be kept. Never among those of real calls.
        tables: whether every response is shown as a table.
    """

    def __init__(
        self, scenario: Scenario, console: Console, settings: Settings, jsonl: Path | None, *, tables: bool
    ) -> None:
        self._scenario = scenario
        self._console = console
        own = [name for name in settings.metrics_sinks if name not in NOT_PLAYED]
        self._jsonl = jsonl.resolve() if jsonl else None
        self._sinks = ",".join({"console" if tables else "demo": 1, "jsonl": 1, **dict.fromkeys(own)})
        self._screen = Screen(console)
        self._log = "not kept"

    async def run(self) -> int:
        """Plays it; the exit code."""
        self._screen.line(f"[bold]{escape(self._scenario.name)}[/]: {escape(self._scenario.about)}")
        self._screen.line("[dim]The agent is the real one. The user is a recording, Gemini a local server.[/]")
        try:
            with self._screen.waiting():
                self._screen.wait_for("starting the agent")
                async with call(
                    self._scenario,
                    sinks=self._sinks,
                    env=self._agent_look(),
                    entrypoint="demo/reporting_agent.py",
                    jsonl=self._jsonl,
                ) as ongoing:
                    try:
                        complaint = await self._play(ongoing)
                    finally:
                        self._keep_log(ongoing.agent)
                    log = ongoing.agent.log
        except AgentFailedError as error:
            self._keep_log(error.agent)
            return self._fail(str(error), error.agent.log)
        if complaint is not None:
            return self._fail(complaint, log)
        self._screen.line(f"\n[dim]The agent's log: {escape(self._log)}[/]")
        if self._jsonl:
            self._screen.line(f"[dim]The records: {escape(str(self._jsonl))}[/]")
        if self._scenario.name == "normal":
            self._screen.line(NEXT)
        return 0

    async def _play(self, ongoing: Call) -> str | None:
        """Plays the conversation; what was not as it should be, if anything."""
        narrator = Narrator(self._screen, ongoing)
        narrating = asyncio.create_task(narrator.run())
        left = False
        try:
            self._screen.wait_for("connecting, and waiting for the greeting")
            await converse(ongoing)
            await asyncio.sleep(2 * SETTLE_S)
            if self._scenario.expect.ends == "agent":
                self._screen.wait_for("waiting for the agent to give up")
                await ongoing.agent.wait(HANG_UP_S)
                left = True
            else:
                self._screen.wait_for("hanging up")
        except AgentLeftError:
            left = True
        except TimeoutError:
            return f"nothing happened for {GIVE_UP_S:g} s, and the agent stays in the call"
        finally:
            narrating.cancel()
            await asyncio.gather(narrating, return_exceptions=True)
        try:
            code = await (ongoing.agent.wait(HANG_UP_S) if left else ongoing.hang_up(HANG_UP_S))
        except TimeoutError:
            return f"the agent did not end within {HANG_UP_S:g} s"
        finally:
            narrator.catch_up(settled=True)
        self._tell_log(ongoing.agent)
        return self._judge(ongoing, code, left=left)

    def _judge(self, ongoing: Call, code: int, *, left: bool) -> str | None:
        expect = self._scenario.expect
        if left and expect.ends == "user":
            return f"the agent ended the call, with exit code {code}"
        responses = len(ongoing.records("response"))
        if expect.responses not in (None, responses):
            return f"{responses} responses were recorded, not {expect.responses}"
        if len(ongoing.records("session")) != 1:
            return "the session's record is missing"
        return None

    def _tell_log(self, agent: AgentProcess) -> None:
        """What went wrong, as the agent's log tells it."""
        if self._scenario.name == "normal":
            return
        told = [EXTRAS.sub("", line) for line in agent.log if TELLING.search(line)]
        if told:
            self._screen.line("\n[bold]In the agent's log:[/]")
        for line in told[-LOG_LINES:]:
            self._screen.line(f"  {escape(clean(line, LINE))}")

    def _fail(self, complaint: str, log: list[str]) -> int:
        self._screen.line(f"\n[bold red]The demo failed:[/] {escape(complaint)}")
        self._screen.line(f"The last lines of the agent's log ({escape(self._log)}):")
        for line in log[-LOG_LINES:]:
            self._screen.line("  " + escape(clean(EXTRAS.sub("", line), LINE)))
        return 1

    def _keep_log(self, agent: AgentProcess) -> None:
        """Into a file of a name that nobody knows before, which only this person may read."""
        with contextlib.suppress(OSError):
            fd, self._log = tempfile.mkstemp(".log", f"{PROJECT.name}-demo-")
            with open(fd, "w", encoding="utf-8", errors="replace") as file:
                file.write("\n".join(agent.log) + "\n")

    def _agent_look(self) -> dict[str, str]:
        """Makes the agent print for this terminal, though it prints into a pipe."""
        module = self._scenario.entrypoint.removesuffix(".py").replace("/", ".")
        look = {"COLUMNS": str(self._console.width), "DEMO_AGENT": module}
        if self._console.is_terminal and not os.environ.get("NO_COLOR"):
            look["FORCE_COLOR"] = "1"
        return look


if __name__ == "__main__":
    sys.exit(main())
