"""A call in a room that costs more than `METRICS_COST_LIMIT_USD` ends for everybody in it."""

import asyncio
from pathlib import Path

from livekit import api

from demo.scenario import Reply, Scenario, Turn
from realtime_metrics.settings import read_settings
from testcall.caller import Caller
from testcall.speech import utterances
from tests.proof.room.livekit_server import needs_livekit_server
from tests.proof.room.place import place

pytestmark = needs_livekit_server

SHORT = Scenario(
    greeting=Reply(text="Hello!", audio_s=0.6, latency_s=0.2),
    turns=(Turn(user="rain", text="No.", audio_s=1.0, latency_s=0.2),),
)


async def test_a_call_that_costs_too_much_ends_for_the_caller_too(tmp_path: Path) -> None:
    async with place(tmp_path, SHORT, {"METRICS_COST_LIMIT_USD": "0.0015"}) as it:
        caller = Caller(1, it.livekit.livekit, read_settings({}).name, 8.0, lambda *_: None)
        calling = asyncio.create_task(caller.run(utterances(None)))
        await it.speaking(3)  # the goodbye
        session = await it.session(caller.call.room)
        async with it.livekit.livekit.api() as server:
            async with asyncio.timeout(5):
                while (await server.room.list_rooms(api.ListRoomsRequest())).rooms:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        call = await calling
    assert call.problem == "the room was deleted: the agent's log says whether the agent did it"
    assert session["end_reason"] == "cost_limit"
    assert session["cost_usd"] > 0.0015
