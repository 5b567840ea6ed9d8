"""What the local Gemini Live server saw and did: setups, the ledger, and a stopwatch."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from demo.ledger import Ledger

What = Literal[
    "connect",
    "refused",
    "setup",
    "requested",
    "speech_started",
    "speech_ended",
    "first_audio",
    "first_text",
    "interrupted",
    "tool_response",
    "turn_complete",
    "closed_by_server",
    "closed_by_client",
]


@dataclass(frozen=True)
class Mark:
    """Something that happened between the server and a client, and when (`at`, as `time.time()`)."""

    what: What
    client: str
    connection: int
    """The number of the connection, from 0; -1 before there is one."""
    at: float


@dataclass(frozen=True)
class Setup:
    """The first message of a connection: `message` is what stands in its `setup`."""

    client: str
    connection: int
    message: dict[str, Any]


@dataclass
class Seen:
    """Everything, in the order it happened."""

    setups: list[Setup] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    marks: list[Mark] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What the model was told: the instructions of a conversation, and what each reply was asked for with."""
    _waiting: dict[asyncio.Future[None], Callable[[], bool]] = field(default_factory=dict)

    def times(self, what: What, client: str) -> list[float]:
        """When it happened to a client, each time."""
        return [mark.at for mark in self.marks if mark.what == what and mark.client == client]

    def note(self, what: What, client: str, connection: int) -> None:
        """Keeps a mark, and wakes whoever waits for it."""
        self.marks.append(Mark(what, client, connection, time.time()))
        self.wake()

    async def until(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Waits until it is so.

        Raises:
            TimeoutError: it has not come about.
        """
        if is_so():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = is_so
        try:
            await asyncio.wait_for(future, timeout_s)
        finally:
            self._waiting.pop(future, None)

    def wake(self) -> None:
        """Something has changed that somebody may wait for."""
        for future, is_so in self._waiting.items():
            if not future.done() and is_so():
                future.set_result(None)
