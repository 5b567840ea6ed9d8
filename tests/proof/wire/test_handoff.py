"""Agents that hand a call on report each response once, whether they share the realtime session or not."""

import asyncio

from livekit.agents.metrics import RealtimeModelMetrics

from demo.gemini_server import GeminiLiveServer
from demo.scenario import Fault, Reply, Scenario, Turn
from tests.proof.wire.in_process import WireAgent, WireSession, led_to, recorded, sent

ANSWER = Turn(text="Yes.", audio_s=0.1, latency_s=0.0, pause_s=0.3)
LEAVING = ANSWER.model_copy(update={"fault": Fault(kind="go_away", after_audio_s=0.05)})


async def test_a_second_agent_with_a_realtime_session_of_its_own() -> None:
    scenario = Scenario(greeting=Reply(text="Hello!", audio_s=0.1), turns=(ANSWER, ANSWER))
    async with GeminiLiveServer() as server:
        with led_to(server):
            session = WireSession(server, scenario)
            await session.start()
            await server.wait_for("turn_complete", session.key)
            session.session.update_agent(WireAgent(session.recorder))
            await session.play(timeout_s=8)
            await asyncio.sleep(0.3)
            record = await session.end()
    assert len({response.request_id for response in session.responses}) == record.sums.responses
    assert [connection.reconnect for connection in session.connections] == [False, True]
    assert recorded(record) == sent(session.ledger)


async def test_a_second_agent_that_shares_the_first_ones_realtime_session() -> None:
    scenario = Scenario(greeting=Reply(text="Hello!", audio_s=0.1), turns=(ANSWER, LEAVING, ANSWER))
    async with GeminiLiveServer() as server:
        with led_to(server):
            session = WireSession(server, scenario)
            await session.start()
            shared, recorder = session.agent.realtime_llm_session, session.recorder

            def second_agents_listener(metrics: RealtimeModelMetrics) -> None:
                recorder.add(metrics)

            recorder.watch_model(shared)
            shared.on("metrics_collected", second_agents_listener)
            await session.play(timeout_s=8)
            await asyncio.sleep(0.3)
            record = await session.end()
    assert [response.usage_messages for response in session.responses] == [1, 1, 0, 1]
    assert len(session.connections) == len(server.times("setup", session.key)) == 2
    assert record.go_aways == 1
    assert recorded(record) == sent(session.ledger)
