"""A session that fails ends its job, and in the console the program: nobody is left in a call with a silent agent.

The framework alone leaves the job running, in the console for good (measured with livekit-agents 1.8.9).
"""

import asyncio
import signal
import threading

from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext, SpeechCreatedEvent
from livekit.agents.cli import AgentsConsole
from livekit.agents.voice import SpeechHandle

from .recorder import Recorder


def end_job_on_failure(ctx: JobContext, session: AgentSession[None], recorder: Recorder) -> None:
    """Shuts the job down when the session closes with an error, or cannot be connected; a server goes on with others.

    The plugin waits for the answer to its setup without a limit: a reply that times out before there was any
    connection is taken for that.
    """

    def end(reason: str) -> None:
        recorder.close(reason)
        ctx.add_shutdown_callback(_end_console)
        ctx.shutdown(reason)

    def on_close(event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            end("the session failed")

    def on_speech_created(event: SpeechCreatedEvent) -> None:
        event.speech_handle.add_done_callback(on_speech_done)

    def on_speech_done(handle: SpeechHandle) -> None:
        if handle.exception() is not None and not recorder.connected:
            # what else listens to this moment is to count it first
            asyncio.get_running_loop().call_soon(end, "setup_timeout")

    session.on("close", on_close)
    session.on("speech_created", on_speech_created)


async def _end_console() -> None:
    if not AgentsConsole.get_instance().enabled:
        return
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
