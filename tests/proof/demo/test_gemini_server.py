"""The local Gemini Live server, heard by the real Google plugin."""

import asyncio
from typing import Any

import pytest
from livekit import rtc

from demo.gemini_server import DEFAULT_KEY, GeminiLiveServer
from demo.scenario import Connect, Fault, Reply, Scenario, ToolCall, Turn, Usage
from demo.speech import utterances
from tests.proof.demo.conftest import Heard, connect

QUICK = Reply(text="Hello!", audio_s=0.2, latency_s=0)


def quick(*turns: dict[str, Any], **options: Any) -> Scenario:
    """A scenario that the server plays by itself, without anybody speaking and without waits."""
    usual = {"heard": "go on", "text": "yes", "audio_s": 0.1, "latency_s": 0, "pause_s": 0}
    played = tuple(Turn(**usual | turn) for turn in turns)
    return Scenario(greeting=None, turns=played, waits_for_playback=False, pace=1000, **options)


async def play(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> tuple[GeminiLiveServer, Heard]:
    """Plays it to a session of the plugin, to its end."""
    async with GeminiLiveServer(scenario) as server:
        heard = connect(server, monkeypatch)
        try:
            await server.wait_for_end()
            await asyncio.sleep(0.1)
        finally:
            await heard.session.aclose()
        return server, heard


async def test_what_the_agent_is_set_to_arrives_in_the_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    async with GeminiLiveServer(Scenario(greeting=QUICK)) as server:
        heard = connect(server, monkeypatch, voice="Kore", temperature=0.3)
        await heard.session.update_instructions("Be brief.")
        await server.wait_for("setup")
        await heard.session.aclose()
    setup = server.setups[-1].message
    assert setup["generationConfig"]["temperature"] == 0.3
    assert setup["generationConfig"]["speechConfig"]["voice_config"]["prebuilt_voice_config"]["voice_name"] == "Kore"
    assert setup["systemInstruction"]["parts"] == [{"text": "Be brief."}]


async def test_a_request_for_a_reply_is_answered_with_the_greeting_and_its_usage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with GeminiLiveServer(Scenario(greeting=QUICK)) as server:
        heard = connect(server, monkeypatch)
        generation = await heard.session.generate_reply()
        message = await anext(aiter(generation.message_stream))
        text = "".join([part async for part in message.text_stream])
        audio_s = sum([frame.duration async for frame in message.audio_stream])
        await server.wait_for_end()
        await heard.session.aclose()
    assert text.strip() == "Hello!"
    assert audio_s == pytest.approx(0.2)
    (metrics,) = heard.responses
    assert metrics.total_tokens == server.ledger.total(DEFAULT_KEY)["totalTokenCount"] > 0


async def test_speech_is_heard_and_talking_over_the_answer_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(greeting=None, turns=(Turn(user="tune", text="la la la", audio_s=20, latency_s=0),))
    silence = bytes(16000)
    async with GeminiLiveServer(scenario) as server:
        heard = connect(server, monkeypatch)
        interrupted: list[object] = []
        heard.session.on("input_speech_started", interrupted.append)
        await server.wait_for("setup")
        push(heard, utterances()["tune"].samples.tobytes() + silence)
        await server.wait_for("first_audio")
        begun = len(interrupted)
        push(heard, utterances()["wait"].samples.tobytes() + silence)
        await server.wait_for("interrupted")
        await server.wait_for("turn_complete")
        await asyncio.sleep(0.1)
        await heard.session.aclose()
    assert len(interrupted) > begun
    assert len(server.times("speech_ended")) >= 1
    assert heard.responses[0].output_tokens < 20 * 25, "what was not generated is not billed"


def push(heard: Heard, pcm: bytes) -> None:
    for start in range(0, len(pcm), 1600):
        piece = pcm[start : start + 1600]
        heard.session.push_audio(rtc.AudioFrame(piece, 16000, 1, len(piece) // 2))


async def test_the_server_plays_turns_by_itself_where_nobody_has_to_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    server, heard = await play(quick({}, {}, {}), monkeypatch)
    assert [metrics.request_id[:3] for metrics in heard.responses] == ["GR_"] * 3
    assert heard.total_tokens == server.ledger.total(DEFAULT_KEY)["totalTokenCount"]


@pytest.mark.parametrize("when", ["early", "with", "late"])
async def test_usage_is_booked_whenever_it_comes(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server, heard = await play(quick({"usage": (Usage(when=when, late_s=0.05),)}), monkeypatch)
    assert [entry.lost for entry in server.ledger.entries] == [None]
    assert len(heard.responses) == 1


async def test_usage_that_the_plugin_has_no_generation_for_is_part_of_the_bill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = (Usage(when="before"),)
    server, heard = await play(quick({"usage": usage}, {"usage": usage}), monkeypatch)
    assert [(entry.lost, entry.generation) for entry in server.ledger.entries] == [(None, 0), (None, 1)]
    assert len(heard.responses) == 1, "the plugin drops the first, and books the second on the reply before"
    assert server.ledger.total(DEFAULT_KEY)["totalTokenCount"] > heard.total_tokens > 0


async def test_usage_of_a_prompt_sent_ahead_belongs_to_the_generation_that_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = (Usage(when="before", share=0), Usage(counts={}))
    server, _ = await play(quick({"usage": usage}, {"usage": usage}), monkeypatch)
    assert [entry.generation for entry in server.ledger.entries] == [1, 2]


@pytest.mark.parametrize("fault", ["close", "go_away", "garbage", "unknown_message"])
async def test_after_a_fault_the_plugin_connects_anew_and_the_scenario_goes_on(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"usage": (Usage(when="early"), Usage(when="with")), "fault": Fault(kind=fault, after_audio_s=0.1)}
    server, heard = await play(quick({}, broken, {}), monkeypatch)
    assert len(server.setups) == 2
    assert server.setups[1].message["sessionResumption"]["handle"]
    assert len(server.ledger.by_generation(DEFAULT_KEY)) == 3
    assert heard.total_tokens == server.ledger.total(DEFAULT_KEY)["totalTokenCount"]


async def test_usage_that_google_genai_cannot_read_costs_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    server, heard = await play(quick({"usage": (Usage(counts={"promptTokenCount": "many"}),)}, {}), monkeypatch)
    assert [entry.lost for entry in server.ledger.entries] == ["malformed", None]
    assert len(heard.responses) == 1
    assert len(server.setups) == 2


@pytest.mark.parametrize("count", [-1, 2**53 + 1])
async def test_a_count_that_cannot_be_one_is_not_booked_and_costs_nothing_else(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, heard = await play(quick({"usage": (Usage(counts={"promptTokenCount": count}),)}, {}), monkeypatch)
    assert [entry.lost for entry in server.ledger.entries] == ["malformed", None]
    assert len(heard.responses) == 2, "the plugin passes it on"
    assert len(server.setups) == 1


async def test_a_tool_call_ends_its_generation_and_its_result_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    call = {"tool": ToolCall(name="get_weather", args={"city": "Madrid"}), "text": "", "audio_s": 0}
    async with GeminiLiveServer(quick(call, {})) as server:
        heard = connect(server, monkeypatch)
        generations: asyncio.Queue[Any] = asyncio.Queue()
        heard.session.on("generation_created", generations.put_nowait)
        generation = await generations.get()
        (function_call,) = [made async for made in generation.function_stream]
        await heard.session.aclose()
    assert (function_call.name, function_call.arguments) == ("get_weather", '{"city": "Madrid"}')
    assert len(heard.responses) == 1


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (Connect(http_status=401), "401"),
        (Connect(http_status=429), "429"),
        (Connect(accept=False, close_code=1007, reason="API key not valid."), "API key not valid"),
        (Connect(accept=False, close_code=1008, reason="no such model"), "no such model"),
    ],
)
async def test_a_refused_connection_is_fatal_and_tells_why(
    refusal: Connect, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with GeminiLiveServer(Scenario(connects=(refusal,))) as server:
        heard = connect(server, monkeypatch)
        errors: asyncio.Queue[Any] = asyncio.Queue()
        heard.session.on("error", errors.put_nowait)
        error = await asyncio.wait_for(errors.get(), 5)
        await heard.session.aclose()
    assert told in str(error.error)
    assert not error.recoverable


async def test_many_sessions_at_once_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    async with GeminiLiveServer() as server:
        keys = [server.add(quick({"usage": (Usage(counts={"totalTokenCount": number}),)})) for number in range(1, 21)]
        sessions = [connect(server, monkeypatch, key) for key in keys]
        await asyncio.gather(*(server.wait_for_end(key) for key in keys))
        await asyncio.sleep(0.2)
        await asyncio.gather(*(heard.session.aclose() for heard in sessions))
    assert [heard.responses[0].total_tokens for heard in sessions] == list(range(1, 21))
    assert [server.ledger.total(key)["totalTokenCount"] for key in keys] == list(range(1, 21))
