"""Agents that hand a call on report each response once, whether they share the realtime session or not."""

import asyncio

import pytest
from livekit.agents import AgentTask
from livekit.agents.metrics import RealtimeModelMetrics

from demo.gemini_server import GeminiLiveServer
from demo.scenario import Fault, Reply, Scenario, Turn
from tests.fakes.call import until
from tests.fakes.speaker import Speaker
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
    assert [connection.reconnect for connection in session.connections] == [False, False]
    assert record.sums.reconnects == 0
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
    assert record.sums.go_aways == 1
    assert recorded(record) == sent(session.ledger)


class Consent(AgentTask[bool]):
    """Asks something before the call goes on."""

    def __init__(self, *, says_all: bool) -> None:
        super().__init__(instructions="Ask for consent.")
        self._says_all = says_all

    async def on_enter(self) -> None:
        asking = self.session.generate_reply(instructions="Ask for consent.")
        if self._says_all:
            await asking
        else:  # a key was pressed
            await until(lambda: self.session.agent_state == "speaking")
            await asyncio.sleep(0.3)
        self.complete(True)


@pytest.mark.parametrize("says_all", [True, False], ids=["after its words", "in its words"])
async def test_after_a_task_of_an_agent_all_usage_is_in_the_records(says_all: bool) -> None:
    class Front(WireAgent):
        async def on_enter(self) -> None:
            self.realtime_llm_session.on("metrics_collected", self._on_metrics_collected)
            await Consent(says_all=says_all)  # then the framework gives this agent a new session

    typed = ANSWER.model_copy(update={"typed": "x"})
    scenario = Scenario(greeting=Reply(text="May I?", audio_s=1.0), turns=(typed, typed))
    async with GeminiLiveServer() as server:
        with led_to(server):
            session = WireSession(server, scenario)
            await session.prepare()
            session.session.output.audio = Speaker(speed=1.0)
            session.agent = Front(session.recorder)
            await session.start()
            await asyncio.sleep(2.0)
            for _ in range(2):
                session.session.generate_reply(user_input="x")
                await asyncio.sleep(0.7)
            record = await session.end()
    assert recorded(record) == sent(session.ledger)
    assert (record.sums.without_usage, record.unbooked_total_tokens) == (0, 0)
    assert len(session.connections) == record.sums.connections
