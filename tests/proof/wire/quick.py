"""Scenario files, played fast and without a voice: the server begins the user's turns by itself."""

from typing import TypeVar

from demo.scenario import Reply, Scenario, Turn
from demo.speech import utterances
from tests.proof.scenarios import load

AnyReply = TypeVar("AnyReply", bound=Reply)

SHRINK = 0.1
PACE = 30.0


def quick(name: str) -> Scenario:
    """The scenario of a file with short waits and little audio; who speaks is only written down."""
    scenario = load(name)
    return scenario.model_copy(
        update={
            "greeting": scenario.greeting and _short(scenario.greeting),
            "turns": tuple(_spoken(_short(turn)) for turn in scenario.turns),
            "pace": PACE,
        }
    )


def _short(reply: AnyReply) -> AnyReply:
    fault = reply.fault and reply.fault.model_copy(update={"after_audio_s": reply.fault.after_audio_s * SHRINK})
    return reply.model_copy(
        update={"latency_s": min(reply.latency_s, 0.05), "audio_s": reply.audio_s * SHRINK, "fault": fault}
    )


def _spoken(turn: Turn) -> Turn:
    if turn.user is None:
        return turn
    heard = turn.heard if turn.heard is not None else utterances()[turn.user].text
    return turn.model_copy(update={"user": None, "heard": heard, "pause_s": min(turn.pause_s, 0.2)})
