"""How far away the LiveKit server is: sampled from the room's own statistics while the call goes on."""

import asyncio
import contextlib

from livekit import rtc
from livekit.agents import JobContext

from .recorder import Recorder

SAMPLE_EVERY_S = 3.0
ANSWER_S = 2.0
"""The statistics come at once, or the room is gone."""


def sample_round_trip(ctx: JobContext, recorder: Recorder) -> None:
    """Keeps the recorder's `network_round_trip_s` up to date until the job ends. In the console there is no room."""
    if ctx.is_fake_job():
        return
    sampling = asyncio.get_running_loop().create_task(_sample(ctx.room, recorder))

    async def stop() -> None:
        sampling.cancel()

    ctx.add_shutdown_callback(stop)


async def _sample(room: rtc.Room, recorder: Recorder) -> None:
    while True:
        if room.isconnected():
            # a sample that cannot be had leaves the one before
            with contextlib.suppress(Exception):
                stats = await asyncio.wait_for(room.get_rtc_stats(), ANSWER_S)
                if (seconds := round_trip_s(stats)) is not None:
                    recorder.network_round_trip_s = seconds
        await asyncio.sleep(0.5 if recorder.network_round_trip_s is None else SAMPLE_EVERY_S)


def round_trip_s(stats: rtc.RtcStats) -> float | None:
    """Of the connection that is in use, in whole milliseconds, as WebRTC measures it. Unknown before the first."""
    for entry in (*stats.publisher_stats, *stats.subscriber_stats):
        pair = entry.candidate_pair.candidate_pair  # empty where the entry is of something else
        if pair.nominated and pair.responses_received > 0:
            return pair.current_round_trip_time
    return None
