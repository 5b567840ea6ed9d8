"""Counts as Gemini sends them: the whole context is billed again at every turn."""

import json
import math
from dataclasses import dataclass
from typing import Any

from demo.models import Model
from demo.scenario import Reply

AUDIO_TOKENS_PER_S = 25
"""What recordings of the real API have, for speech in both directions."""
CHARACTERS_PER_TOKEN = 4
"""ai.google.dev, Gemini API, "Understand and count tokens"."""


@dataclass
class Context:
    """What a model has read, heard and said so far, in tokens."""

    model: Model
    text: int = 0
    audio: int = 0
    unbilled_calls: int = 0
    """Function calls that came without usage: the next message has them."""

    def read(self, text: str) -> None:
        """Instructions, what was typed, or a tool's result."""
        self.text += text_tokens(text)

    def hear(self, heard_s: float) -> None:
        """Speech of the user."""
        self.audio += audio_tokens(heard_s)

    def add(self, reply: Reply, heard_s: float, share: float) -> None:
        """One more turn, of which this share was said."""
        called = _call_tokens(reply)
        self.hear(heard_s)
        self.audio += _spoken_tokens(reply, share)
        self.text += called + _silent_text_tokens(reply, share)
        self.unbilled_calls = 0 if reply.usage else self.unbilled_calls + called

    def usage_metadata(self, reply: Reply, heard_s: float, share: float) -> dict[str, Any]:
        """The payload for a share of a reply; as in proto3's JSON, what is 0 is left out."""
        calls = self.unbilled_calls + _call_tokens(reply) if share else 0
        prompt = {"TEXT": self.model.base_tokens + self.text, "AUDIO": self.audio + audio_tokens(heard_s)}
        response = {"TEXT": _silent_text_tokens(reply, share), "AUDIO": _spoken_tokens(reply, share)}
        prompt_count = sum(prompt.values()) + self.model.undetailed_tokens
        response_count = sum(response.values()) + calls
        if self.model.details_calls:
            response["TEXT"] += calls
        payload = {
            "promptTokenCount": prompt_count,
            "responseTokenCount": response_count,
            # thoughts stand beside the total, not in it
            "totalTokenCount": prompt_count + response_count,
            "promptTokensDetails": _details(prompt),
            "responseTokensDetails": _details(response),
            "thoughtsTokenCount": text_tokens(reply.thought) if share else 0,
        }
        return {name: value for name, value in payload.items() if value}


def audio_tokens(duration_s: float) -> int:
    return round(duration_s * AUDIO_TOKENS_PER_S)


def text_tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def _call_tokens(reply: Reply) -> int:
    return text_tokens(reply.tool.name + json.dumps(reply.tool.args)) if reply.tool else 0


def _spoken_tokens(reply: Reply, share: float) -> int:
    return audio_tokens(reply.audio_s * share) if reply.answers else 0


def _silent_text_tokens(reply: Reply, share: float) -> int:
    # the transcript of audio is not billed; text without a sound is
    return 0 if reply.audio_s or not reply.answers else round(text_tokens(reply.text) * share)


def _details(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [{"modality": modality, "tokenCount": tokens} for modality, tokens in counts.items() if tokens]
