"""The project's agent, on a machine that is busy with tests: it takes every call, and each has a provider's key."""

import os

from livekit.agents import JobProcess, cli

import agent
from agent import server

__all__ = ["server"]


def prewarm(proc: JobProcess) -> None:
    """In each job's process, which knows of this module by this function only."""
    agent.prewarm(proc)
    # the local Gemini Live server tells its clients apart by the key
    os.environ["GOOGLE_API_KEY"] += f"-{os.getpid()}"


server.setup_fnc = prewarm
# an agent server that says its load is 0.7 gets no calls
server.load_fnc = lambda _: 0.1

if __name__ == "__main__":
    cli.run_app(server)
