"""What a sink is."""

from ..records import AnyRecord
from ..settings import Settings


class Sink:
    """Where records go. It has a thread of its own: what it raises, or holds up, costs nobody else a record."""

    def __init__(self, settings: Settings) -> None: ...

    @staticmethod
    def problem(settings: Settings) -> str | None:
        """Why it cannot work with these settings, in a line that names setting, value and what is allowed."""
        return None

    def write(self, record: AnyRecord) -> None:
        """Takes one record. What it raises is logged once, and counted as failed."""
        raise NotImplementedError

    def close(self) -> None:
        """Called once, after the last record."""
