"""`uv run -m demo`: a call with the real agent, without keys, audio device or LiveKit server."""

import argparse
import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from demo.agent_process import PROJECT, AgentProcess
from demo.call import AgentFailedError, Call, call
from demo.conversation import GIVE_UP_S, AgentLeftError, converse
from demo.scenario import Scenario, ScenarioError, load, names, read
from demo.screen import SETTLE_S, Narrator, Screen

HANG_UP_S = 15.0
LOG_LINES = 15
TELLING = re.compile(r" (WARNING|ERROR) (?!.*no warmed process available)")
EXTRAS = re.compile(r" \{.*\}\s*$")
LOG = Path(tempfile.gettempdir(), f"{PROJECT.name}-demo.log")
NEXT = """\
Next: talk to the same agent, with your GOOGLE_API_KEY in .env.local:
    uv run agent.py console
What goes wrong in real calls can be played, too:
    uv run -m demo --list"""


def main() -> int:
    """Runs the demo; its exit code."""
    if sys.platform == "win32" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    arguments = _arguments()
    try:
        if arguments.list:
            for name in names():
                print(f"{name:24}{load(name).about}")
            return 0
        scenario = _scenario(arguments.scenario)
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return 2
    # whoever ends the demo ends its agent, too
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        if arguments.replay is not None:
            from demo.replay import show  # with the plugin's library, which takes seconds to import

            return show(arguments.replay, arguments.speed)
        return asyncio.run(Demo(scenario, Console()).run())
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--scenario", default="normal", metavar="NAME|FILE.toml", help="what to play (default: normal)")
    parser.add_argument("--replay", metavar="NAME|FILE.jsonl", help="play a recording (uv run -m demo.record)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="N", help="of a replay: 1 (default) to 20")
    return parser.parse_args()


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


class Demo:
    """One scenario, played and shown."""

    def __init__(self, scenario: Scenario, console: Console) -> None:
        self._scenario = scenario
        self._console = console
        self._screen = Screen(console)

    async def run(self) -> int:
        """Plays it; the exit code."""
        self._screen.line(f"[bold]{escape(self._scenario.name)}[/]: {escape(self._scenario.about)}")
        try:
            with self._screen.waiting():
                self._screen.wait_for("starting the agent")
                async with call(self._scenario, env=self._agent_look()) as ongoing:
                    try:
                        complaint = await self._play(ongoing)
                    finally:
                        _keep_log(ongoing.agent)
                    log = ongoing.agent.log
        except AgentFailedError as error:
            _keep_log(error.agent)
            return self._fail(str(error), error.agent.log)
        if complaint is not None:
            return self._fail(complaint, log)
        self._screen.line(f"\n[dim]The agent's log: {escape(str(LOG))}[/]")
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
            async with contextlib.aclosing(converse(ongoing)) as steps:
                async for step in steps:
                    if step.spoken is not None and step.turn is not None:
                        narrator.you(step.spoken, interrupts=step.turn.speaks != "after_reply")
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
            self._screen.line(f"  {escape(line)}")

    def _fail(self, complaint: str, log: list[str]) -> int:
        self._screen.line(f"\n[bold red]The demo failed:[/] {escape(complaint)}")
        self._screen.line(f"The last lines of the agent's log ({escape(str(LOG))}):")
        for line in log[-LOG_LINES:]:
            self._screen.line(f"  {escape(EXTRAS.sub('', line))}")
        return 1

    def _agent_look(self) -> dict[str, str]:
        """Makes the agent print for this terminal, though it prints into a pipe."""
        look = {"COLUMNS": str(self._console.width)}
        if self._console.is_terminal and not os.environ.get("NO_COLOR"):
            look["FORCE_COLOR"] = "1"
        return look


def _keep_log(agent: AgentProcess) -> None:
    with contextlib.suppress(OSError):
        LOG.write_text("\n".join(agent.log) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
