"""A session that fails ends its job, and in the console the program: nobody is left in a call with a silent agent."""

import signal
import threading

from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext
from livekit.agents.cli import AgentsConsole


def end_job_on_failure(ctx: JobContext, session: AgentSession[None]) -> None:
    """Shuts the job down when the session closes with an error; a server goes on with its other jobs.

    The framework alone leaves the job running, in the console for good (measured with livekit-agents 1.8.9).
    """

    def on_close(event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            ctx.add_shutdown_callback(_end_console)
            ctx.shutdown("the session failed")

    session.on("close", on_close)


async def _end_console() -> None:
    if not AgentsConsole.get_instance().enabled:
        return
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
