"""The project's agent in fake jobs without a user: each asks for replies, interrupts every third, and ends."""

import asyncio
import os

from livekit.agents import NOT_GIVEN, AgentStateChangedEvent, JobProcess, cli, get_job_context

import agent
import tests.proof.fakes.fake_job_agent  # noqa: F401
from agent import server

__all__ = ["server"]


class BusyAgent(agent.MetricsAgent):
    """Talks to nobody."""

    async def on_enter(self) -> None:
        await super().on_enter()
        self._talking = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        await asyncio.sleep(1.5)  # a scrape sees the connection before the figures
        for number in range(1, int(os.environ["BUSY_REPLIES"]) + 1):
            typed = "And now?" if number == 1 else NOT_GIVEN  # all else is asked for by the program
            speech = self.session.generate_reply(user_input=typed)
            if number % 3 == 0:
                await self._speaking()
                await self.session.interrupt()
            await speech
        get_job_context().shutdown("said everything")

    async def _speaking(self) -> None:
        speaking = asyncio.Event()

        def on_state(event: AgentStateChangedEvent) -> None:
            if event.new_state == "speaking":
                speaking.set()

        self.session.on("agent_state_changed", on_state)
        await speaking.wait()
        self.session.off("agent_state_changed", on_state)


def prewarm(proc: JobProcess) -> None:
    """In each job's process, which knows of this module by this function only."""
    agent.prewarm(proc)
    # the entrypoint makes its agent by this name when a call comes
    agent.MetricsAgent = BusyAgent  # type: ignore[misc]
    # the local Gemini Live server tells its clients apart by the key
    os.environ["GOOGLE_API_KEY"] += f"-{os.getpid()}"


server.setup_fnc = prewarm

if __name__ == "__main__":  # as agent.py is run by `uv run agent.py`
    cli.run_app(server)
