"""Sums over a session's records."""

import math
from array import array
from typing import Any

from livekit.agents.metrics import RealtimeModelMetrics

from .records import TOKEN_FIELDS, ConnectionRecord, ResponseRecord
from .response import OpenResponse
from .usage import PUBLIC_ONLY, MalformedUsageError, Tokens, UsageBook, add, counted


class Totals:
    """What the journal counts while the session goes on; `as_fields` are fields of the `SessionRecord`."""

    def __init__(self) -> None:
        self.over_budget = 0
        self._connections = 0
        self.unbooked_total_tokens = 0
        self._reconnects = 0
        self._resumptions: int | None = 0
        self._responses = 0
        self._interrupted = 0
        self._silent = 0
        self._without_usage = 0
        self._compressions_seen = 0
        self._last_input_tokens: int | None = None
        self._tokens: Tokens = {}
        self._waits_s = array("d")  # a long session has many: 8 bytes each
        self._errors: dict[str, int] = {}

    def connected(self, record: ConnectionRecord) -> None:
        self._connections += 1
        self._reconnects += record.reconnect
        self._last_input_tokens = None
        if record.resumed is None:
            self._resumptions = None
        elif self._resumptions is not None:
            self._resumptions += record.resumed

    def responded(self, record: ResponseRecord, response: OpenResponse) -> None:
        tokens = response.book.total()
        self._responses += 1
        self._interrupted += record.interrupted
        self._silent += bool(response.messages) and response.first_audio_at is None
        for _ in range(response.malformed):
            self.error("malformed_usage")
        self._without_usage += tokens is None
        self.over_budget += bool(record.over_latency_budget)
        if record.time_to_first_audio_s is not None:
            self._waits_s.append(record.time_to_first_audio_s)
        if tokens is not None:
            self._tokens = add(self._tokens, tokens)
            input_tokens = tokens["input_tokens"] or 0
            self._compressions_seen += self._last_input_tokens is not None and input_tokens < self._last_input_tokens
            self._last_input_tokens = input_tokens

    def used_late(self, book: UsageBook, metrics: RealtimeModelMetrics, raw: Any) -> None:
        """Usage of a response that has been recorded."""
        before = (book.total() or {}).get("total_tokens") or 0
        try:
            book.book(counted(metrics, raw))
        except MalformedUsageError:
            self.error("malformed_usage")
            return
        self.unbooked_total_tokens += ((book.total() or {}).get("total_tokens") or 0) - before

    def error(self, kind: str) -> int:
        """Counts a failure; how many of its kind there were."""
        self._errors[kind] = count = self._errors.get(kind, 0) + 1
        return count

    def as_fields(self) -> dict[str, Any]:
        waits_s = sorted(self._waits_s)
        tokens = self._tokens or (dict.fromkeys(TOKEN_FIELDS, None if self._responses else 0))
        return {
            "connections": self._connections,
            "reconnects": self._reconnects,
            "resumptions": self._resumptions,
            "responses": self._responses,
            "interrupted": self._interrupted,
            "silent": self._silent,
            "without_usage": self._without_usage,
            "context_compressions_seen": self._compressions_seen,
            "errors": dict(self._errors),
            "unbooked_total_tokens": self.unbooked_total_tokens,
            "time_to_first_audio_p50_s": _percentile(waits_s, 0.50),
            "time_to_first_audio_p95_s": _percentile(waits_s, 0.95),
            "time_to_first_audio_max_s": waits_s[-1] if waits_s else None,
            "time_to_first_audio_reason": None if waits_s else "no response has a known time to first audio",
            "usage_reason": self._usage_reason(tokens),
            **tokens,
        }

    def _usage_reason(self, tokens: Tokens) -> str | None:
        reasons = []
        if self._without_usage:
            reasons.append(f"{self._without_usage} of {self._responses} responses came without usage")
        if self._without_usage < self._responses and None in tokens.values():
            reasons.append(PUBLIC_ONLY)
        return "; ".join(reasons) or None


def _percentile(ordered: list[float], share: float) -> float | None:
    """By nearest rank: a value that was measured, not one between two."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None
