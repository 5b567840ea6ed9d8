"""The project's agent as a replay runs it: tools that the recording knows are stand-ins that take the recorded time."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

from livekit.agents import Agent, function_tool
from livekit.agents.llm import Tool, Toolset

import agent
from agent import server
from demo.recording import read

__all__ = ["server"]

RECORDING = read(os.environ["DEMO_REPLAY"])
SPEED = float(os.environ["DEMO_REPLAY_SPEED"])
DECLARED = {name for setup in RECORDING.setups for name in setup.tools} | {name for name, _ in RECORDING.tools}


def stand_in(name: str, times_s: Iterator[float]) -> Tool:
    """A tool that takes any arguments, does nothing, and takes its time."""

    async def take_its_time(raw_arguments: dict[str, object]) -> str:
        await asyncio.sleep(next(times_s, 0.0) / SPEED)
        return "done"

    schema = {"name": name, "description": "", "parameters": {"type": "object", "properties": {}}}
    return function_tool(take_its_time, raw_schema=schema)


STAND_INS = [
    stand_in(name, iter([took_s for called, took_s in RECORDING.tools if called == name])) for name in DECLARED
]


def with_stand_ins(kind: Any) -> Any:
    """The same agent, whose tools with recorded names are stand-ins."""

    class Replayed(kind):  # type: ignore[misc]
        @property
        def tools(self) -> list[Tool | Toolset]:
            return [*STAND_INS, *(tool for tool in super().tools if tool.id not in DECLARED)]

    Replayed.__name__ = kind.__name__
    return Replayed


# the entrypoint makes its agents by these names when a call comes
for name, kind in list(vars(agent).items()):
    if isinstance(kind, type) and issubclass(kind, Agent) and kind is not Agent:
        setattr(agent, name, with_stand_ins(kind))
