"""The ledger: every usage message that the local Gemini Live server sent, and the bill that they make."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Counts = Counter[str]
"""Tokens by their names on the wire: `promptTokenCount`, and `promptTokensDetails.AUDIO` for the details."""

MAX_COUNT = 2**53
OF_PROMPT = ("prompt", "cache", "toolUse")
OF_RESPONSE = ("response", "thoughts")
"""How the names begin of what counts a prompt, and of what counts what the model made of it."""
NEXT_S = 5.0
"""How soon a generation has to begin for usage that was sent ahead of it to be its own."""


@dataclass
class Entry:
    """One usage message.

    Attributes:
        client: whom it was sent to (the API key).
        connection: number of the connection, from 0.
        generation: number of the client's generation, from 1, that it is for: the one that the plugin books it on, or
            the next where it was sent ahead. 0: there was none yet, and none followed.
        payload: the `usageMetadata`.
        at: `time.time()` when it was sent.
        lost: why it is in no bill; `None` where it is.
    """

    client: str
    connection: int
    generation: int
    payload: Mapping[str, Any]
    at: float
    lost: str | None = None


@dataclass
class Ledger:
    """All entries, in the order they were sent."""

    entries: list[Entry] = field(default_factory=list)
    _ahead: dict[str, list[Entry]] = field(default_factory=dict)

    def enter(self, entry: Entry, *, in_generation: bool) -> None:
        """Takes a message; prompt-only usage between two generations is for the next."""
        if not entry.payload:
            return
        self.entries.append(entry)
        if entry.lost is None and not in_generation and is_prompt_only(entry.payload):
            self._ahead.setdefault(entry.client, []).append(entry)

    def begin(self, client: str, generation: int, at: float) -> None:
        """A generation of a client begins: usage that was sent ahead of it is its own."""
        for entry in self._ahead.pop(client, []):
            if at - entry.at <= NEXT_S:
                entry.generation = generation

    def of(self, client: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.client == client]

    def by_generation(self, client: str) -> dict[int, Counts]:
        """What each of a client's generations used; 0 is what there was no generation for."""
        messages: dict[int, list[Counts]] = {}
        for entry in self.of(client):
            if entry.lost is None:
                messages.setdefault(entry.generation, []).append(_flat(entry.payload))
        return {generation: _settle(counts) for generation, counts in messages.items()}

    def total(self, client: str) -> Counts:
        """The client's bill."""
        total: Counts = Counter()
        for counts in self.by_generation(client).values():
            total.update(counts)
        return total


def is_readable(payload: Mapping[str, Any]) -> bool:
    """Whether google-genai can read a payload; where not, the client closes its connection."""
    try:
        _flat(payload)
    except (TypeError, AttributeError, KeyError):
        return False
    return True


def is_malformed(payload: Mapping[str, Any]) -> bool:
    """Whether a payload holds a count that cannot be one."""
    return not is_readable(payload) or not all(0 <= count <= MAX_COUNT for count in _flat(payload).values())


def is_prompt_only(payload: Mapping[str, Any]) -> bool:
    """Whether a payload counts a prompt, and nothing of a response."""
    return not any(count for name, count in _flat(payload).items() if name.startswith(OF_RESPONSE))


def _settle(messages: list[Counts]) -> Counts:
    """A newer snapshot of the same call of the model replaces the one before it; another call is added."""
    calls: list[Counts] = []
    for counts in messages:
        if calls and _is_newer(counts, calls[-1]):
            calls[-1] = counts
        else:
            calls.append(counts)
    return sum(calls, Counter())


def _is_newer(counts: Counts, before: Counts) -> bool:
    """Whether two messages have the same prompt, and the response did not shrink."""
    names = counts.keys() | before.keys()
    same_prompt = all(counts[name] == before[name] for name in names if name.startswith(OF_PROMPT))
    return same_prompt and all(counts[name] >= before[name] for name in names if name.startswith(OF_RESPONSE))


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
