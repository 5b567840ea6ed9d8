"""Token counts: of one usage message, of a response, and their sums.

Counts are plain dictionaries with the names of `TOKEN_FIELDS`, as the provider sent them; none is derived from others,
but for `…_unknown_tokens`, which the provider's details leave open. `None` is unknown. A provider's own message tells
more than the framework's metrics keep: see its file, e.g. `google_live`.
"""

import functools
from dataclasses import dataclass

from livekit.agents.metrics import RealtimeModelMetrics

Tokens = dict[str, int | None]

MODALITIES = ("audio", "text", "image", "video", "document")
"""Modalities that Gemini counts tokens by (google-genai, `MediaModality`)."""


def _of(group: str) -> tuple[str, ...]:
    return f"{group}_tokens", *(f"{group}_{modality}_tokens" for modality in (*MODALITIES, "unknown"))


TOKEN_FIELDS = (
    *(*_of("input"), *_of("input_cached"), *_of("output")),
    *("thoughts_tokens", *_of("tool_use"), "total_tokens"),
)
"""Names of all token counts, in the order of the records."""

PUBLIC_ONLY = "thoughts, tool use, video and document tokens are not in this plugin's public metrics"
WITH_ANSWER = "the usage of a tool call comes with the answer"
OUTPUT_UNCOUNTED = "the provider did not count the answer's own tokens"

MOST = 2**53
"""A larger count is none: JSON readers could not tell it from the next."""

# The unknown parts are remainders: they shrink when a later message brings details.
_COMPARED = tuple(name for name in TOKEN_FIELDS if "unknown" not in name)
_OF_PROMPT = tuple(name for name in _COMPARED if name.startswith(("input_", "tool_use_")))
_OF_RESPONSE = tuple(name for name in _COMPARED if name.startswith(("output_", "thoughts_")))


@dataclass(frozen=True, slots=True)
class UsageMessage:
    """What one message of the provider counts."""

    tokens: Tokens
    public_only: bool = False
    """Whether only the framework's metrics are known; the provider's own message tells more."""
    of_next_response: bool = False
    """Whether it came before the response that it is of."""

    @property
    def problem(self) -> str | None:
        """Why it cannot be booked: a count is below 0, or above 2^53."""
        for name, count in self.tokens.items():
            if count is not None and not 0 <= count <= MOST:
                return f"malformed usage message: {name} is {count if count < 0 else 'above 2^53'}"
        return None

    @property
    def is_empty(self) -> bool:
        """Whether it counts nothing: then it is no usage."""
        return not any(self.tokens.values())

    @property
    def of_prompt_only(self) -> bool:
        """Whether it counts a prompt, and nothing that the model made of it."""
        return not any(self.tokens[name] for name in _OF_RESPONSE)


def from_metrics(metrics: RealtimeModelMetrics) -> UsageMessage:
    """What the framework's public metrics count; what these do not carry is unknown."""
    inputs, outputs = metrics.input_token_details, metrics.output_token_details
    counted = (
        ("input", metrics.input_tokens, inputs),
        ("input_cached", inputs.cached_tokens, inputs.cached_tokens_details),
        ("output", metrics.output_tokens, outputs),
    )
    tokens: Tokens = dict.fromkeys(TOKEN_FIELDS) | {"total_tokens": metrics.total_tokens}
    for group, total, details in counted:
        modalities = {name: getattr(details, f"{name}_tokens", 0) for name in ("audio", "text", "image")}
        tokens |= counts_of(group, total, modalities)
    return UsageMessage(tokens, public_only=True)


def counts_of(group: str, total: int, modalities: dict[str, int]) -> Tokens:
    """The counts of a group, e.g. `input`, from its total and its details; what these leave open is unknown."""
    counts: Tokens = {f"{group}_{modality}_tokens": count for modality, count in modalities.items()}
    unknown = max(0, total - sum(modalities.values()))
    return counts | {f"{group}_tokens": total, f"{group}_unknown_tokens": unknown}


def added(tokens: Tokens, more: Tokens) -> Tokens:
    """Both; a count that one does not know is that of the other."""
    return {name: more[name] if count is None else count + (more[name] or 0) for name, count in tokens.items()}


def subtracted(tokens: Tokens, less: Tokens) -> Tokens:
    """What `tokens` has more than `less`; what `less` does not know stays as it is."""
    return added(tokens, {name: None if count is None else -count for name, count in less.items()})


def without_output(tokens: Tokens) -> Tokens:
    """The counts of an answer that was heard though its output counts 0: this is unknown then, and so is the total."""
    unknown = {name: None for name in TOKEN_FIELDS if name.startswith("output_") or name == "total_tokens"}
    return tokens | unknown


class UsageBook:
    """The usage messages of one response.

    Each is a call of the model, to be added; but a newer snapshot of the same call (its prompt is the same, and the
    response's counts did not shrink) replaces the one before. No recording of the real service shows such snapshots or
    repeats; several calls in a turn were recorded (3.8 extended thinking, live translation).
    """

    def __init__(self) -> None:
        self.messages = 0
        self._calls: list[Tokens] = []

    def book(self, tokens: Tokens) -> None:
        """Takes one more message."""
        self.messages += 1
        if self.counted_last(tokens):
            self._calls[-1] = tokens
        else:
            self._calls.append(tokens)

    def counted_last(self, tokens: Tokens) -> bool:
        """Whether a message is a newer snapshot of the call that was booked last."""
        return bool(self._calls) and is_newer(tokens, self._calls[-1])

    def total(self) -> Tokens | None:
        """What the response used; `None` while no usage arrived."""
        return functools.reduce(added, self._calls) if self._calls else None


def is_newer(tokens: Tokens, before: Tokens) -> bool:
    """Whether a message is a newer snapshot of the call that the one before it counted."""
    return all(tokens[name] == before[name] for name in _OF_PROMPT) and all(
        (tokens[name] or 0) >= (before[name] or 0) for name in _OF_RESPONSE
    )
