"""What the demo shows: the conversation, the agent's own reports, and that it goes on while nothing is printed."""

import asyncio
import json
import math
import re
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager

from livekit.protocol.agent_pb import agent_session as pb
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from demo.call import Call
from demo.console_host import Heard, Spoken
from realtime_metrics.log import clean, visible

COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
SAID = 2_000
"""Characters of an answer that are shown."""
MOST = 150
"""Characters of what the model is told, or a tool gives."""
BETWEEN = """. Between it and the record's
       wait lie the way to the agent and back, and silence before the sound."""
SETTLE_S = 0.15
"""Reports come by another way than the conversation: they are held back until its lines are printed."""


class Screen:
    """Prints lines; on a terminal also a spinner that says what is being waited for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Shows the spinner."""
        with self._status:
            yield

    def wait_for(self, what: str) -> None:
        """Says what is being waited for: beside the spinner, or else in a line."""
        self.spin(what)
        if not self._console.is_terminal:
            self.line(f"[dim]… {escape(what)}[/]")

    def spin(self, what: str) -> None:
        """Says it beside the spinner only."""
        self._status.update(f"[dim]{escape(what)}[/]")

    def line(self, markup: str = "") -> None:
        """Prints a line of Rich's markup."""
        self._console.print(markup, highlight=False, emoji=False)

    def as_printed(self, lines: list[str]) -> None:
        """Prints lines as the agent printed them: with their colours, and nothing else that steers a terminal."""
        parts = (COLOUR.split(line) for line in lines)
        shown = ("".join(part if COLOUR.fullmatch(part) else visible(part) for part in line) for line in parts)
        self._console.print(Text.from_ansi("\n".join(shown)), soft_wrap=True)


class Narrator:
    """Follows a call and prints what happens in it, in order: who said what, what tools did, and the reports of it."""

    def __init__(self, screen: Screen, call: Call) -> None:
        self._screen = screen
        self._call = call
        self._told = self._spoken = self._tools = self._answers = self._reports = 0
        self._explained = False
        self._seen_at: list[float] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.catch_up()
            await asyncio.sleep(0.03)

    def catch_up(self, *, settled: bool = False) -> None:
        """Prints what is new; reports only once they have settled, or if nothing more will come."""
        host = self._call.host
        for text in self._call.server.seen.told[self._told :]:
            self._told += 1
            if text:
                self._screen.line(f"[dim]Model  is told: {escape(_shortened(text))}[/]")
        for spoken in host.spoken[self._spoken :]:
            # what was interrupted is told before what interrupted it
            if spoken.started_at is None or (self._answers < len(host.heard) and spoken.ended_at is None):
                break
            self._spoken += 1
            self._user(spoken)
        updates = [each.event.tool_execution_updated for each in host.events if each.kind == "tool_execution_updated"]
        for update in updates[self._tools :]:
            self._tools += 1
            self._tool(update)
        for item in host.items(pb.ASSISTANT)[self._answers :]:
            self._answers += 1
            text = " ".join(content.text for content in item.content).strip()
            aside = " [dim](interrupted)[/]" if item.interrupted else ""
            self._screen.line(f"[bold green]Agent[/]  {escape(clean(text, SAID))}{aside}{self._stopwatch()}")
        self._report(settled=settled)

    def _user(self, spoken: Spoken) -> None:
        """What the recorded user says, while it is said."""
        utterance, at = spoken.utterance, spoken.started_at or 0.0
        interrupts = any(heard.first_audio_at < at < (heard.ended_at or math.inf) for heard in self._call.host.heard)
        aside = " [dim](interrupts)[/]" if interrupts else ""
        self._screen.line(f"\n[bold cyan]User[/]   {escape(utterance.text or f'({utterance.name})')}{aside}")
        self._screen.spin("the recorded user speaks, then the agent answers")

    def _tool(self, update: pb.AgentSessionEvent.ToolExecutionUpdated) -> None:
        if update.HasField("started"):
            called = update.started.function_call
            arguments = ", ".join(f"{name}={value!r}" for name, value in json.loads(called.arguments or "{}").items())
            self._screen.line(f"[bold magenta]Tool[/]   {escape(_shortened(f'{called.name}({arguments})'))}")
        elif update.HasField("ended"):
            self._screen.line(f"       [dim]gave[/] {escape(_shortened(update.ended.message))}")

    def _report(self, *, settled: bool) -> None:
        lines, now = self._call.agent.reports, time.monotonic()
        self._seen_at += [now] * (len(lines) - len(self._seen_at))
        until = len(lines) if settled else bisect_right(self._seen_at, now - SETTLE_S)
        if until > self._reports:
            self._screen.as_printed(lines[self._reports : until])
            self._reports = until

    def _stopwatch(self) -> str:
        """The wait that was measured at the user's end, and what lies between it and the report's."""
        waited_s = waited(self._call.host.spoken, self._call.host.heard)
        if waited_s is None:
            return ""
        told = "" if self._explained else BETWEEN
        self._explained = True
        return f"\n[dim]       {waited_s:.2f} s by a stopwatch at the user's end{told}[/]"


def waited(spoken: list[Spoken], heard: list[Heard]) -> float | None:
    """Seconds from the end of what the user said to the first audio of the last reply; None: it answers nobody."""
    if not heard:
        return None
    before = heard[-2].first_audio_at if len(heard) > 1 else 0.0
    ends = [said.ended_at for said in spoken if said.ended_at and before < said.ended_at < heard[-1].first_audio_at]
    return heard[-1].first_audio_at - ends[-1] if ends else None


def _shortened(text: str) -> str:
    """One line or two of a terminal."""
    return clean(text, MOST) + (f" ({len(text):,} characters)" if len(text) > MOST else "")
