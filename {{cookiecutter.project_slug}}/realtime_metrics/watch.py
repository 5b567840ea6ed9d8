"""One call, from the job's start to its end: what watches it, and what ends it.

A session that fails ends its job, and in the console the program: nobody is left in a call with a silent agent. The
framework alone leaves the job running, in the console for good (measured with livekit-agents 1.8.9).
"""

import asyncio
import json
import signal
import threading
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason, JobContext, SpeechCreatedEvent
from livekit.agents.cli import AgentsConsole
from livekit.agents.voice import SpeechHandle

from .limit import CostLimit
from .log import logger
from .network import sample_round_trip
from .recorder import Recorder
from .settings import Settings
from .sinks import sink_makers
from .startup import PROVIDER
from .writer import Writer

_ENDS: dict[int, str] = {
    rtc.DisconnectReason.ROOM_DELETED: "room_deleted",
    rtc.DisconnectReason.PARTICIPANT_REMOVED: "participant_removed",
    rtc.DisconnectReason.SERVER_SHUTDOWN: "server_lost",
    rtc.DisconnectReason.SIGNAL_CLOSE: "server_lost",
    rtc.DisconnectReason.STATE_MISMATCH: "server_lost",
    rtc.DisconnectReason.CONNECTION_TIMEOUT: "server_lost",
    rtc.DisconnectReason.MEDIA_FAILURE: "server_lost",
    # the server was killed, and connecting again was given up (seen with livekit 1.1.21)
    rtc.DisconnectReason.UNKNOWN_REASON: "server_lost",
}
"""Why the room was left -> what a call's end is called for it."""


def watch(ctx: JobContext, session: AgentSession[Any], settings: Settings) -> Recorder:
    """Watches a call: records go to the settings' sinks. To be called before `session.start`."""
    writer = Writer(sink_makers(settings))
    recorder = Recorder(
        session,
        settings,
        writer,
        PROVIDER,
        session_id=ctx.job.id,
        room=ctx.room.name,
        customer=customer_of(ctx.job.metadata),
    )
    ctx.add_shutdown_callback(recorder.aclose)
    ctx.add_shutdown_callback(_silence_console)
    _keep_why_the_room_was_left(ctx.room, recorder)
    sample_round_trip(ctx, recorder)
    _end_job_on_failure(ctx, session, recorder)
    if settings.metrics_cost_limit_usd is not None:
        CostLimit(settings.metrics_cost_limit_usd, session, recorder, lambda: _hang_up(ctx, recorder))
    return recorder


def customer_of(metadata: str) -> str | None:
    """`customer` of a job's metadata, where that is JSON and has one."""
    try:
        customer = json.loads(metadata)["customer"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return customer if isinstance(customer, str) else None


def _keep_why_the_room_was_left(room: rtc.Room, recorder: Recorder) -> None:
    def on_disconnected(reason: int | None = None) -> None:
        end = end_of(reason)
        recorder.end_reason = recorder.end_reason or end
        if end == "server_lost":
            logger.error("the LiveKit server was lost, and this call with it; see whether it runs, and the network")

    def on_reconnecting() -> None:
        logger.warning("the connection to the LiveKit server is lost: trying to get it back")

    room.on("disconnected", on_disconnected)
    room.on("reconnecting", on_reconnecting)


def end_of(reason: int | None) -> str | None:
    """What a call's end is called for why its room was left; `None` where that says nothing."""
    return None if reason is None else _ENDS.get(reason)


def _end_job_on_failure(ctx: JobContext, session: AgentSession[Any], recorder: Recorder) -> None:
    """Shuts the job down when the session closes with an error, or cannot be connected; a server goes on with others.

    The plugin waits for the answer to its setup without a limit: a reply that times out before there was any
    connection is taken for that.
    """

    def on_close(event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            _end_job(ctx, recorder, "error")

    def on_speech_created(event: SpeechCreatedEvent) -> None:
        event.speech_handle.add_done_callback(on_speech_done)

    def on_speech_done(speech: SpeechHandle) -> None:
        if speech.exception() is not None and not recorder.connected:
            # what else listens to this moment is to count it first
            asyncio.get_running_loop().call_soon(_end_job, ctx, recorder, "setup_timeout")

    session.on("close", on_close)
    session.on("speech_created", on_speech_created)


def _hang_up(ctx: JobContext, recorder: Recorder) -> None:
    """Ends the call for the caller, too."""
    if not ctx.is_fake_job():  # in the console there is no room
        ctx.delete_room()
    _end_job(ctx, recorder, "cost_limit")


def _end_job(ctx: JobContext, recorder: Recorder, reason: str) -> None:
    recorder.end_reason = recorder.end_reason or reason
    ctx.add_shutdown_callback(_end_console)
    ctx.shutdown(reason)


async def _silence_console() -> None:
    """Ends the local console's audio before its loop: else it complains of that in tracebacks."""
    console = AgentsConsole.get_instance()
    for switch in ("set_microphone_enabled", "set_speaker_enabled"):
        if console.enabled and hasattr(console, switch):
            getattr(console, switch)(False)


async def _end_console() -> None:
    if not AgentsConsole.get_instance().enabled:
        return
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
