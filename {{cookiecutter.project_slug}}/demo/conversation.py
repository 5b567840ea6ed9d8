"""The user's side of a call, as the scenario has it: what is said when, and when a turn is over."""

import asyncio

from demo.call import Call
from demo.console_host import ConsoleHost
from demo.scenario import Turn
from demo.speech import utterance

GIVE_UP_S = 20.0
"""How long anything in a conversation may take."""
RECORD_S = 4.0
"""How long a response's record may take: the agent promises 2 s after the generation has ended."""


class AgentLeftError(Exception):
    """The agent ended the call."""


async def converse(call: Call) -> None:
    """Plays the user's side of the call's scenario to its end.

    Raises:
        AgentLeftError: the agent ended the call before.
        TimeoutError: the agent stays, and does not do what the scenario waits for.
    """
    turns = call.scenario.turns
    try:
        if not turns or turns[0].speaks == "after_reply":
            await _played(call, 0)
        else:
            await call.server.wait_for("requested", timeout_s=GIVE_UP_S)
        for number, turn in enumerate(turns, 1):
            if turn.user is not None:
                await _speak(call, turn)
            elif turn.typed is not None:
                await asyncio.sleep(turn.pause_s)
                call.host.type(turn.typed)
            # who interrupts does not wait for the end
            if number == len(turns) or turns[number].speaks == "after_reply":
                await _played(call, number)
    except ConnectionError:
        raise AgentLeftError from None


async def _speak(call: Call, turn: Turn) -> None:
    assert turn.user is not None
    if turn.speaks == "while_agent_speaks":
        await call.host.wait_for(lambda: _is_answering(call.host), GIVE_UP_S)
    await asyncio.sleep(turn.pause_s)
    await call.host.say(utterance(turn.user))


def _is_answering(host: ConsoleHost) -> bool:
    """Whether audio of the agent has come since the user last spoke."""
    spoke_at = host.spoken[-1].ended_at if host.spoken else None
    return bool(host.heard) and host.heard[-1].first_audio_at > (spoke_at or 0.0)


async def _played(call: Call, turns: int) -> None:
    """Until so many turns, and those that follow by themselves, are played, and each generation has its record."""
    client, scripted = call.server.client(), call.scenario.turns
    while turns < len(scripted) and scripted[turns].user is None and scripted[turns].typed is None:
        turns += 1
    async with asyncio.timeout(GIVE_UP_S):
        while not client.begun or client.turns_begun < turns or client.busy:
            if call.agent.returncode is not None or call.host.disconnected.is_set():
                raise ConnectionError
            await asyncio.sleep(0.02)
    await call.wait_for_records("response", client.ended_generations, RECORD_S)
