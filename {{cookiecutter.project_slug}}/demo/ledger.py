"""The ledger: every usage message that the local Gemini Live server sent, and what a client that lost nothing has."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Counts = Counter[str]
"""Tokens by their names on the wire: `promptTokenCount`, and `promptTokensDetails.AUDIO` for the details."""


@dataclass(frozen=True)
class Entry:
    """One usage message.

    Attributes:
        client: whom it was sent to (the API key).
        connection: number of the connection, from 0.
        generation: number of the client's generation, from 1, that the plugin books it on; 0 where there is none.
        payload: the `usageMetadata`.
        at: `time.time()` when it was sent.
        lost: why the plugin cannot book it; `None` where it can.
    """

    client: str
    connection: int
    generation: int
    payload: Mapping[str, Any]
    at: float
    lost: str | None


@dataclass
class Ledger:
    """All entries, in the order they were sent."""

    entries: list[Entry] = field(default_factory=list)

    def of(self, client: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.client == client]

    def by_generation(self, client: str) -> dict[int, Counts]:
        """What was used for each of a client's generations, of the messages that can be booked."""
        messages: dict[int, list[Counts]] = {}
        for entry in self.of(client):
            if entry.lost is None:
                messages.setdefault(entry.generation, []).append(_flat(entry.payload))
        return {generation: _settle(counts) for generation, counts in messages.items()}

    def total(self, client: str) -> Counts:
        """What all of a client's generations used."""
        total: Counts = Counter()
        for counts in self.by_generation(client).values():
            total.update(counts)
        return total


def is_malformed(payload: Mapping[str, Any]) -> bool:
    """Whether a payload holds a count that is none."""
    try:
        return any(count < 0 for count in _flat(payload).values())
    except (TypeError, AttributeError, KeyError):
        return True


def _settle(messages: list[Counts]) -> Counts:
    """An identical repeat counts once, of growing snapshots the last, anything else is a sum."""
    settled: list[Counts] = []
    seen: list[Counts] = []
    for counts in messages:
        if counts in seen:
            continue
        seen.append(counts)
        if settled and all(counts[name] >= settled[-1][name] for name in settled[-1]):
            settled[-1] = counts
        else:
            settled.append(counts)
    return sum(settled, Counter())


def _flat(payload: Mapping[str, Any]) -> Counts:
    return Counter(dict(_named_counts(payload)))


def _named_counts(payload: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in payload.items():
        if name.endswith("Details"):
            modalities: Counts = Counter()
            for detail in value:
                modalities[f"{name}.{detail['modality']}"] += _count(detail.get("tokenCount", 0))
            yield from modalities.items()
        elif name.endswith("Count"):
            yield name, _count(value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no count")
    return value
