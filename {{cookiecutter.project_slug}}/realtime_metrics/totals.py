"""Sums over a session's records."""

import math
from typing import Any

from .records import TOKEN_FIELDS, ConnectionRecord, ResponseRecord
from .usage import PUBLIC_ONLY, Tokens, add


class Totals:
    """What the recorder counts while the session goes on; `as_fields` are fields of the `SessionRecord`."""

    def __init__(self) -> None:
        self.connections = 0
        self.go_aways_seen = 0
        self.unbooked_total_tokens = 0
        self.over_budget = 0
        self._reconnects = 0
        self._resumptions: int | None = 0
        self._responses = 0
        self._interrupted = 0
        self._silent = 0
        self._without_usage = 0
        self._compressions_seen = 0
        self._last_input_tokens: int | None = None
        self._tokens: Tokens = {}
        self._waits_s: list[float] = []
        self._errors: dict[str, int] = {}

    def connected(self, record: ConnectionRecord, go_aways: int | None) -> None:
        self.connections += 1
        self.go_aways_seen = go_aways or 0
        self._reconnects += record.reconnect
        self._last_input_tokens = None
        if record.resumed is None:
            self._resumptions = None
        elif self._resumptions is not None:
            self._resumptions += record.resumed

    def responded(self, record: ResponseRecord, tokens: Tokens | None, *, silent: bool) -> None:
        self._responses += 1
        self._interrupted += record.interrupted
        self._silent += silent
        self._without_usage += tokens is None
        self.over_budget += bool(record.over_latency_budget)
        if record.time_to_first_audio_s is not None:
            self._waits_s.append(record.time_to_first_audio_s)
        if tokens is not None:
            self._tokens = add(self._tokens, tokens)
            input_tokens = tokens["input_tokens"] or 0
            self._compressions_seen += self._last_input_tokens is not None and input_tokens < self._last_input_tokens
            self._last_input_tokens = input_tokens

    def error(self, kind: str) -> int:
        self._errors[kind] = count = self._errors.get(kind, 0) + 1
        return count

    def as_fields(self) -> dict[str, Any]:
        waits_s = sorted(self._waits_s)
        tokens = self._tokens or (dict.fromkeys(TOKEN_FIELDS, None if self._responses else 0))
        return {
            "connections": self.connections,
            "reconnects": self._reconnects,
            "resumptions": self._resumptions,
            "responses": self._responses,
            "interrupted": self._interrupted,
            "silent": self._silent,
            "without_usage": self._without_usage,
            "context_compressions_seen": self._compressions_seen,
            "errors": self._errors,
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
