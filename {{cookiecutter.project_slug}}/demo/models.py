"""How Gemini's Live models differ on the wire, as recordings of the real ones have it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A family of models."""

    base_tokens: int
    """What a prompt holds before the instructions and the first word."""
    undetailed_tokens: int
    """How much of a prompt stands in its count, and in no detail."""
    details_calls: bool
    """Whether a function call's tokens stand in the response's details (as text), or in its count only."""
    word_by_word: bool
    """What was heard comes word by word, and words come before their audio. Else what was heard comes in one message,
    and audio and words share theirs."""
    noisy: bool
    """Empty messages, and such that nobody asked for, come between."""


NATIVE_2_5 = Model(1119, 0, details_calls=True, word_by_word=True, noisy=False)
LIVE_3_1 = Model(154, 35, details_calls=False, word_by_word=False, noisy=True)
LIVE_3_8 = Model(300, 27, details_calls=False, word_by_word=False, noisy=True)


def model_of(name: str) -> Model:
    """The family of the model that a client asks for; 2.5 where it has no name of the others."""
    return LIVE_3_8 if "-3.8-" in name else LIVE_3_1 if "-3.1-" in name else NATIVE_2_5
