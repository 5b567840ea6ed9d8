"""What the demo shows: the conversation, the agent's own reports, and that it goes on while nothing is printed."""

import asyncio
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
        shown = (
            "".join(part if COLOUR.fullmatch(part) else visible(part) for part in COLOUR.split(line)) for line in lines
        )
        self._console.print(Text.from_ansi("\n".join(shown)), soft_wrap=True)


class Narrator:
    """Follows a call and prints what happens in it, in order: who said what, and the reports of it."""

    def __init__(self, screen: Screen, call: Call) -> None:
        self._screen = screen
        self._call = call
        self._answers = 0
        self._reports = 0
        self._seen_at: list[float] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.catch_up()
            await asyncio.sleep(0.03)

    def you(self, spoken: Spoken, *, interrupts: bool) -> None:
        """What the user said."""
        aside = " [dim](interrupts)[/]" if interrupts else ""
        self._screen.line()
        self._screen.line(f"[bold cyan]You[/]    {escape(spoken.utterance.text)}{aside}")
        self._screen.wait_for("the agent thinks and speaks")

    def catch_up(self, *, settled: bool = False) -> None:
        """Prints what is new; reports only once they have settled, or if nothing more will come."""
        host = self._call.host
        for item in host.items(pb.ASSISTANT)[self._answers :]:
            self._answers += 1
            text = " ".join(content.text for content in item.content).strip()
            aside = " [dim](interrupted)[/]" if item.interrupted else ""
            self._screen.line(f"[bold green]Agent[/]  {escape(clean(text, SAID))}{aside}{self._stopwatch()}")
            self._screen.spin("your turn")
        lines, now = self._call.agent.reports, time.monotonic()
        self._seen_at += [now] * (len(lines) - len(self._seen_at))
        until = len(lines) if settled else bisect_right(self._seen_at, now - SETTLE_S)
        if until > self._reports:
            self._screen.as_printed(lines[self._reports : until])
            self._reports = until

    def _stopwatch(self) -> str:
        """The wait that was measured at the user's end, to set beside the report's."""
        waited_s = waited(self._call.host.spoken, self._call.host.heard)
        return "" if waited_s is None else f"\n[dim]       {waited_s:.2f} s by the stopwatch at your end[/]"


def waited(spoken: list[Spoken], heard: list[Heard]) -> float | None:
    """Seconds from the end of what the user said to the first audio of the last reply; None: the agent spoke first."""
    if not heard:
        return None
    ends = [said.ended_at for said in spoken if said.ended_at and said.ended_at < heard[-1].first_audio_at]
    return heard[-1].first_audio_at - ends[-1] if ends else None
