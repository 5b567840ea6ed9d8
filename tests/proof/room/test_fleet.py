"""Five calls at once, each in a process: what monitoring adds up is what the JSONL and the provider's ledger say."""

import asyncio
from pathlib import Path

import pytest

from demo.scenario import Reply, Scenario, Turn
from tests.proof.monitoring.otlp_receiver import OtlpReceiver
from tests.proof.monitoring.prometheus_server import free_port, scraped
from tests.proof.room.livekit_server import needs_livekit_server
from tests.proof.room.place import place, testcall

pytestmark = needs_livekit_server

CALLS = 5
SHORT = Scenario(
    greeting=Reply(text="Hello!", audio_s=0.6, latency_s=0.2),
    turns=(Turn(user="rain", text="No, it stays sunny.", audio_s=1.5, latency_s=0.3),),
)
PATIENT = {"METRICS_ANSWER_LIMIT_S": "30"}
"""Five calls can be a lot for a machine that is busy with other tests."""


@pytest.mark.timing
async def test_five_calls_at_once_are_all_answered_and_every_figure_agrees(tmp_path: Path) -> None:
    port = free_port()
    monitoring = {"METRICS_SINKS": "jsonl,prometheus,otlp", "METRICS_PROMETHEUS_PORT": str(port), **PATIENT}
    with OtlpReceiver() as otlp:
        async with place(tmp_path, SHORT, {**monitoring, **otlp.env}) as it:
            calls = ("--calls", str(CALLS), "--at-once", str(CALLS), "--turns", "1")
            result = await testcall(it.livekit, *calls, "--json", "--records", str(it.jsonl), **PATIENT)
            assert (result.code, result.figures["unanswered"]) == (0, 0), result.stderr
            sessions = [await it.session(call["room"]) for call in result.figures["calls"]]
            await asyncio.sleep(0.5)  # the server counts what the calls have sent
            metrics = await asyncio.to_thread(scraped, port)
            assert await it.agents[0].stop(30) == 0
            assert len({session["session_id"] for session in sessions}) == CALLS
            assert len(it.billed()) == CALLS  # a process each
            assert sorted(it.billed().values()) == sorted(session["total_tokens"] for session in sessions)
            responses = it.records("response")
    assert [session["responses"] for session in sessions] == [2] * CALLS
    tokens = {way: sum(record[f"{way}_tokens"] for record in responses) for way in ("input", "output")}
    cost_usd = sum(record["cost_usd"] for record in responses)

    assert metrics["realtime_responses_total"] == len(responses)
    assert metrics["realtime_tokens_total"] == sum(tokens.values())
    assert metrics["realtime_cost_usd_total"] == pytest.approx(cost_usd)

    assert otlp.sum("realtime.responses") == {"": len(responses)}
    for way, number in tokens.items():
        assert otlp.sum(f"gen_ai.client.inference.usage.{way}_tokens") == {"": number}
    assert otlp.sum("realtime.cost") == {"": pytest.approx(cost_usd)}
