"""Usage messages -> token counts.

A response's usage can come once, as repeats, or as growing snapshots, and in more detail than the framework's metrics
keep. Counts are plain dictionaries with the names of `records.TOKEN_FIELDS`.
"""

from collections.abc import Iterable
from typing import Any

from livekit.agents.metrics import RealtimeModelMetrics

from .records import MODALITIES, TOKEN_FIELDS

Tokens = dict[str, int | None]

PUBLIC_ONLY = "thoughts, tool use, video and document tokens are not in this plugin's public metrics"

NO_TOKENS: Tokens = dict.fromkeys(TOKEN_FIELDS)

_RAW_TOTALS = {
    "input_tokens": "prompt_token_count",
    "input_cached_tokens": "cached_content_token_count",
    "output_tokens": "response_token_count",
    "thoughts_tokens": "thoughts_token_count",
    "tool_use_tokens": "tool_use_prompt_token_count",
    "total_tokens": "total_token_count",
}
_RAW_DETAILS = {
    "input": "prompt_tokens_details",
    "input_cached": "cache_tokens_details",
    "output": "response_tokens_details",
    "tool_use": "tool_use_prompt_tokens_details",
}
_OF = {
    group: {modality: f"{group}_{modality}_tokens" for modality in (*MODALITIES, "unknown")} for group in _RAW_DETAILS
}
"""Group -> modality -> the name of its count."""


class MalformedUsageError(ValueError):
    """A usage message that cannot be booked; the text says what is wrong with it."""


def counted(metrics: RealtimeModelMetrics, raw: Any) -> Tokens:
    """Counts of one usage message: of the raw one where it is known, else of the framework's metrics.

    Raises:
        MalformedUsageError: a count is negative.
    """
    return from_metrics(metrics) if raw is None else from_raw(raw)


def from_raw(usage: Any) -> Tokens:
    """Counts of a google-genai `UsageMetadata`, all of them; absent is 0, as in its JSON (proto3).

    Raises:
        MalformedUsageError: a count is negative.
    """
    tokens: Tokens = dict.fromkeys(TOKEN_FIELDS, 0)
    for name, attribute in _RAW_TOTALS.items():
        tokens[name] = _count(attribute, getattr(usage, attribute, None))
    for group, attribute in _RAW_DETAILS.items():
        details: Iterable[Any] = getattr(usage, attribute, None) or ()
        for detail in details:
            modality = str(getattr(detail.modality, "value", detail.modality)).lower()
            field = _OF[group].get(modality, _OF[group]["unknown"])
            tokens[field] = (tokens[field] or 0) + _count(attribute, detail.token_count)
    # cached content can come with details only
    tokens["input_cached_tokens"] = tokens["input_cached_tokens"] or _sum(tokens, _OF["input_cached"].values())
    for group in _RAW_DETAILS:
        _set_remainder(tokens, group)
    return tokens


def from_metrics(metrics: RealtimeModelMetrics) -> Tokens:
    """Counts of the framework's public metrics; what these do not carry is unknown.

    Raises:
        MalformedUsageError: a count is negative.
    """
    tokens = dict(NO_TOKENS)
    groups: dict[str, tuple[int, Any]] = {
        "input": (metrics.input_tokens, metrics.input_token_details),
        "input_cached": (
            metrics.input_token_details.cached_tokens,
            metrics.input_token_details.cached_tokens_details,
        ),
        "output": (metrics.output_tokens, metrics.output_token_details),
    }
    for group, (total, details) in groups.items():
        tokens[f"{group}_tokens"] = _count(group, total)
        for modality in ("audio", "text", "image"):
            tokens[f"{group}_{modality}_tokens"] = _count(group, getattr(details, f"{modality}_tokens", 0))
        _set_remainder(tokens, group)
    tokens["total_tokens"] = _count("total_tokens", metrics.total_tokens)
    return tokens


def add(sums: Tokens, tokens: Tokens) -> Tokens:
    """`tokens`, and what `sums` knows of each; a count that only one side knows is that side's."""
    return {
        name: count if (known := sums.get(name)) is None else known if count is None else known + count
        for name, count in tokens.items()
    }


class UsageBook:
    """The usage messages of one response, each counted for what it is.

    An identical repeat counts once; of growing snapshots the last counts; anything else is a sum
    (repeats and growing snapshots were both reported of Gemini Live).
    """

    def __init__(self) -> None:
        self.messages = 0
        self._seen: list[Tokens] = []
        self._settled: Tokens | None = None
        self._last: Tokens | None = None

    def book(self, tokens: Tokens) -> None:
        """Takes one more message."""
        self.messages += 1
        if tokens in self._seen:
            return
        self._seen.append(tokens)
        if self._last is not None and not _grew(self._last, tokens):
            self._settled = add(self._settled or {}, self._last)
        self._last = tokens

    def total(self) -> Tokens | None:
        """What the response used; `None` while no usage arrived."""
        if self._last is None:
            return None
        return add(self._settled, self._last) if self._settled else self._last


def _count(name: str, value: int | None) -> int:
    if value is not None and value < 0:
        raise MalformedUsageError(f"malformed usage message: {name} is {value}")
    return value or 0


def _sum(tokens: Tokens, names: Iterable[str]) -> int:
    return sum(tokens[name] or 0 for name in names)


def _set_remainder(tokens: Tokens, group: str) -> None:
    """What the details leave of the total has no known modality."""
    unknown = _OF[group]["unknown"]
    tokens[unknown] = 0
    tokens[unknown] = max((tokens[f"{group}_tokens"] or 0) - _sum(tokens, _OF[group].values()), 0)


def _grew(before: Tokens, after: Tokens) -> bool:
    # the unknown part is a remainder: it shrinks when a later snapshot brings details
    names = (name for name in TOKEN_FIELDS if "unknown" not in name)
    return all((after[name] or 0) >= (before[name] or 0) for name in names)
