"""The wait for a reply that the agent began itself, beside the framework's own marks of the same moments."""

import asyncio

import pytest
from livekit.agents import AgentStateChangedEvent, SpeechCreatedEvent

from demo.gemini_server import GeminiLiveServer
from demo.scenario import Reply, Scenario
from tests.proof.wire.in_process import WireSession, led_to

FRAMEWORK_S = 0.02


async def test_it_runs_from_the_request_to_the_first_audio() -> None:
    requested_at: list[float] = []
    audible_at: list[float] = []

    def on_speech_created(event: SpeechCreatedEvent) -> None:
        requested_at.append(event.created_at)

    def on_agent_state_changed(event: AgentStateChangedEvent) -> None:
        if event.new_state == "speaking":
            audible_at.append(event.created_at)

    async with GeminiLiveServer() as server:
        with led_to(server):
            session = WireSession(server, Scenario(greeting=Reply(text="Hello!", audio_s=0.5, latency_s=0.3)))
            await session.prepare()
            session.session.on("speech_created", on_speech_created)
            session.session.on("agent_state_changed", on_agent_state_changed)
            await session.start()
            await session.play()
            await asyncio.sleep(0.2)
            await session.end()

    (greeting,) = session.responses
    assert greeting.wait.time_to_first_audio_from == "reply_requested"
    assert greeting.wait.time_to_first_audio_s == pytest.approx(audible_at[0] - requested_at[0], abs=FRAMEWORK_S)
    assert greeting.wait.time_to_first_audio_s is not None
    assert greeting.wait.time_to_first_audio_s > 0.3
