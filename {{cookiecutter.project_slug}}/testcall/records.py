"""What the agent's own records say of a call, to be set beside what the caller heard."""

import asyncio
import json
import time
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from testcall.caller import Call, Turn

Record = dict[str, Any]
SETTLE_S = 10.0
"""How long the agent may take until it has written the record that closes a session."""


class AgentRecords:
    """What a file of the jsonl sink says of some rooms. Only what comes to the file from now on is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin = path.stat().st_size if path.exists() else 0
        self._records: list[Record] = []

    async def read(self, rooms: Collection[str]) -> None:
        """Reads, until each room has the record that closes its session, or for `SETTLE_S`."""
        until = time.monotonic() + SETTLE_S
        while True:
            self._records = [record for record in self._lines() if record.get("room") in rooms]
            if time.monotonic() > until or all(self.session(room) for room in rooms):
                return
            await asyncio.sleep(0.2)

    def session(self, room: str) -> Record | None:
        """The record that closes the session in a room."""
        return next((record for record in self._of(room) if record["kind"] == "session"), None)

    def answer(self, call: Call, turn: Turn) -> Record | None:
        """The response that answered a turn: it came about after the caller spoke, and before they spoke again."""
        later = [other.spoke_at for other in call.turns if other.number > turn.number]
        for record in self._of(call.room):
            if record["kind"] == "response" and record.get("time_to_first_audio_from") == "user_speech_end":
                came_at = datetime.fromisoformat(record["timestamp"]).timestamp()
                if turn.spoke_at <= came_at < min(later, default=came_at + 1):
                    return record
        return None

    def _of(self, room: str) -> Iterator[Record]:
        return (record for record in self._records if record["room"] == room)

    def _lines(self) -> Iterator[Record]:
        try:
            with self._path.open("rb") as file:
                # a file that is shorter than it was has been rotated
                file.seek(self._begin if self._path.stat().st_size >= self._begin else 0)
                lines = file.read().split(b"\n")[:-1]
        except OSError:
            return
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "kind" in record:
                yield record
