"""Counts as Gemini would send them: the whole context is billed again at every turn."""

from dataclasses import dataclass
from typing import Any

from demo.scenario import Reply

INPUT_AUDIO_TOKENS_PER_S = 32
OUTPUT_AUDIO_TOKENS_PER_S = 25
"""ai.google.dev, Gemini API, "Understand and count tokens" and the Live API's guide."""
INSTRUCTIONS_TOKENS = 40


@dataclass
class Context:
    """What the model has heard and said so far, in tokens."""

    audio: int = 0
    text: int = INSTRUCTIONS_TOKENS

    def add(self, reply: Reply, heard_s: float, share: float) -> None:
        """One more turn, of which this share was said."""
        self.audio += _heard_tokens(heard_s) + _said_tokens(reply, share)
        self.text += _text_tokens(reply, share)

    def usage_metadata(self, reply: Reply, heard_s: float, share: float) -> dict[str, Any]:
        """The payload for a share of a reply."""
        prompt = {"TEXT": self.text, "AUDIO": self.audio + _heard_tokens(heard_s)}
        response = {"TEXT": _text_tokens(reply, share), "AUDIO": _said_tokens(reply, share)}
        thoughts = len(reply.thought.split()) * 3
        payload = {
            "promptTokenCount": sum(prompt.values()),
            "responseTokenCount": sum(response.values()),
            "totalTokenCount": sum(prompt.values()) + sum(response.values()) + thoughts,
            "promptTokensDetails": _details(prompt),
            "responseTokensDetails": _details(response),
        }
        return payload | ({"thoughtsTokenCount": thoughts} if thoughts else {})


def _heard_tokens(heard_s: float) -> int:
    return round(heard_s * INPUT_AUDIO_TOKENS_PER_S)


def _said_tokens(reply: Reply, share: float) -> int:
    return round(reply.audio_s * share * OUTPUT_AUDIO_TOKENS_PER_S)


def _text_tokens(reply: Reply, share: float) -> int:
    # the transcript of audio is not billed; what has no sound is
    words = len(str(reply.tool.model_dump()).split()) if reply.tool else 0
    words += 0 if reply.audio_s else len(reply.text.split())
    return round(words * share * 1.3)


def _details(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [{"modality": modality, "tokenCount": tokens} for modality, tokens in counts.items() if tokens]
