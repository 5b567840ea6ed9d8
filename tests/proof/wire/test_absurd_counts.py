"""Counts that are none cost no record: the response says why its tokens are unknown, and the bill is of the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from demo.gemini_server import GeminiLiveServer
from demo.scenario import Scenario, Turn, Usage
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.jsonl import JsonlSink
from tests.proof.wire.in_process import WireSession, led_to

GOOD = {"promptTokenCount": 10, "responseTokenCount": 5, "totalTokenCount": 15}


def turn(**counts: Any) -> Turn:
    return Turn(text="Yes.", audio_s=0.2, latency_s=0.05, pause_s=0.1, usage=(Usage(counts={**GOOD, **counts}),))


@pytest.mark.parametrize("absurd", [10**400, -1, 2**53 + 1, float("nan"), float("inf"), "many", 1.5, [], {}])
@pytest.mark.parametrize("where", ["totalTokenCount", "promptTokensDetails"])
async def test_an_absurd_count_costs_no_record(absurd: Any, where: str, tmp_path: Path) -> None:
    count = [{"modality": "AUDIO", "tokenCount": absurd}] if where.endswith("Details") else absurd
    scenario = Scenario(greeting=None, turns=(turn(**{where: count}), turn()), waits_for_playback=False)
    settings = Settings(metrics_jsonl_path=tmp_path / "metrics.jsonl")
    async with GeminiLiveServer() as server:
        with led_to(server):
            session = WireSession(server, scenario, settings)
            session.more_sinks = {"jsonl": JsonlSink(settings)}
            await session.start()
            await session.play()
            await session.read(1.0)
            bill = await session.end()
    first, second = session.responses
    assert first.tokens["total_tokens"] is None
    assert first.usage_reason
    assert second.tokens["total_tokens"] == 15
    assert bill.tokens["total_tokens"] == 15
    lines = (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert (kinds.count("response"), kinds[-1]) == (2, "session")
