"""Scenario files, played fast and without a voice: the server begins the user's turns by itself."""

from typing import Any, TypeVar

from demo.scenario import Reply, Scenario, Turn
from demo.speech import utterances
from tests.proof.scenarios import load

AnyReply = TypeVar("AnyReply", bound=Reply)

SHRINK = 0.1
PACE = 30.0


def quick(name: str) -> Scenario:
    """The scenario of a file with short waits and little audio; who speaks is only written down."""
    scenario = load(name)
    turns = [_spoken(_short(turn)) for turn in scenario.turns]
    if scenario.greeting is not None and scenario.greeting.answer == "nothing":
        # the plugin waits 5 s for it
        turns[0] = turns[0].model_copy(update={"pause_s": 5.5})
    return scenario.model_copy(
        update={
            "greeting": scenario.greeting and _short(scenario.greeting),
            "turns": tuple(turns),
            "pace": PACE,
        }
    )


def _short(reply: AnyReply) -> AnyReply:
    fault = reply.fault and reply.fault.model_copy(update={"after_audio_s": reply.fault.after_audio_s * SHRINK})
    return reply.model_copy(
        update={"latency_s": reply.latency_s * SHRINK, "audio_s": reply.audio_s * SHRINK, "fault": fault}
    )


def _spoken(turn: Turn) -> Turn:
    pause_s = turn.pause_s * SHRINK if turn.speaks == "before_agent_speaks" else min(turn.pause_s, 0.2)
    update: dict[str, Any] = {"user": None, "typed": None, "pause_s": pause_s}
    if turn.user is not None and turn.heard is None:
        update["heard"] = utterances()[turn.user].text
    return turn.model_copy(update=update)
