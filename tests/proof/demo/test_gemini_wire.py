"""What the local Gemini Live server sends, message by message: as recordings of the real one have it."""

import asyncio
import base64
import contextlib
import json
import ssl
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from demo.gemini_server import DEFAULT_KEY, GeminiLiveServer
from demo.gemini_session import DEADLINE_EXPIRED
from demo.scenario import Fault, Reply, Scenario, ToolCall, Turn, Usage
from demo.speech import COUGH, utterances

NATIVE_2_5 = "models/gemini-2.5-flash-native-audio-preview-12-2025"
LIVE_3_1 = "models/gemini-3.1-flash-live-preview"
LIVE_3_8 = "models/gemini-3.8-live"
NEWER = [LIVE_3_1, LIVE_3_8]
ANSWER = Turn(heard="how far is it", text="quite far away", audio_s=0.4, latency_s=0, pause_s=0)
SILENCE = bytes(16000)


class Client:
    """Speaks the wire without google-genai; `frames` are what came, and when."""

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket
        self.frames: list[tuple[float, str | bytes]] = []
        self.closed: ConnectionClosed | None = None

    async def read(self) -> None:
        try:
            while True:
                frame = await self._websocket.recv()
                self.frames.append((time.monotonic(), frame))
        except ConnectionClosed as closed:
            self.closed = closed

    async def send(self, **message: Any) -> None:
        await self._websocket.send(json.dumps(message))

    async def say(self, name: str) -> None:
        data = base64.urlsafe_b64encode(utterances()[name].samples.tobytes() + SILENCE)
        for start in range(0, len(data), 2136):
            await self.send(realtime_input={"audio": {"data": data[start : start + 2136].decode()}})

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(frame) for _, frame in self.frames]

    @property
    def usages(self) -> list[dict[str, Any]]:
        return [message["usageMetadata"] for message in self.messages if "usageMetadata" in message]

    @property
    def kinds(self) -> list[str]:
        """What came, in short; runs of the same are told once."""
        kinds = [kind(message) for message in self.messages]
        return [now for before, now in zip([None, *kinds], kinds, strict=False) if now != before]

    def at(self, wanted: str) -> float:
        return next(at for at, frame in self.frames if kind(json.loads(frame)).startswith(wanted))


def kind(message: dict[str, Any]) -> str:
    """`setupComplete`; of a serverContent what stands in it; `+ usage`."""
    content = message.get("serverContent")
    names = list(message if content is None else content)
    if "modelTurn" in names and "thought" in message["serverContent"]["modelTurn"]["parts"][0]:
        names = ["thought"]
    usage = ["usage" if message["usageMetadata"] else "{}"] if "usageMetadata" in message else []
    return " + ".join([name for name in names if name != "usageMetadata"] + usage) or "nothing"


@contextlib.asynccontextmanager
async def client_of(server: GeminiLiveServer, model: str = NATIVE_2_5, instructions: str = "") -> Any:
    tls = ssl.create_default_context(cafile=server.env["SSL_CERT_FILE"])
    async with connect(server.env["GOOGLE_GEMINI_BASE_URL"].replace("https", "wss"), ssl=tls) as websocket:
        client = Client(websocket)
        await client.send(setup={"model": model, "systemInstruction": {"parts": [{"text": instructions}]}})
        reading = asyncio.create_task(client.read())
        try:
            yield client
        finally:
            reading.cancel()


def quick(*turns: Turn, **options: Any) -> Scenario:
    return Scenario(**{"greeting": None, "turns": turns, "waits_for_playback": False, "pace": 100, **options})


async def played(scenario: Scenario, model: str = NATIVE_2_5, instructions: str = "") -> Client:
    """Until the server has nothing more to send."""
    async with GeminiLiveServer(scenario) as server, client_of(server, model, instructions) as client:
        await server.wait_for_end()
        await asyncio.sleep(0.05)
        return client  # type: ignore[no-any-return]


async def test_every_message_is_json_in_a_binary_frame() -> None:
    client = await played(quick(ANSWER))
    assert client.messages[0] == {"setupComplete": {}}
    assert all(isinstance(frame, bytes) for _, frame in client.frames)


async def test_2_5_hears_word_by_word_thinks_and_sends_words_before_their_audio() -> None:
    thinking = ANSWER.model_copy(update={"thought": "hm", "audio_s": 0.3})
    client = await played(quick(thinking, resumption=False))
    assert [kind(message) for message in client.messages][1:] == [
        *["inputTranscription"] * 4,
        "thought",
        *["outputTranscription", "modelTurn"] * 3,
        "generationComplete",
        "turnComplete + usage",
    ]


@pytest.mark.parametrize("model", NEWER)
async def test_3_x_hears_in_one_block_and_sends_audio_and_words_together(model: str) -> None:
    client = await played(quick(ANSWER, resumption=False), model)
    kinds = [kind(message) for message in client.messages]
    assert kinds.count("inputTranscription") == 1
    assert kinds.count("modelTurn + outputTranscription") == 3
    assert "outputTranscription" not in kinds
    assert client.messages.count({}) == client.messages.count({"serverContent": {}}) == 1
    assert kinds[-2:] == ["generationComplete", "turnComplete + usage"]


async def test_3_x_tells_of_speech_what_nobody_asked_for() -> None:
    scenario = quick(ANSWER.model_copy(update={"user": "rain"}))
    async with GeminiLiveServer(scenario) as server, client_of(server, LIVE_3_1) as client:
        await server.wait_for("setup")
        await client.say("rain")
        await server.wait_for_end()
    assert [
        message["voiceActivity"]["voiceActivityType"] for message in client.messages if "voiceActivity" in message
    ] == [
        "ACTIVITY_START",
        "ACTIVITY_END",
    ]


@pytest.mark.timing
async def test_audio_comes_four_times_faster_than_it_plays_and_the_turn_ends_when_it_was_played() -> None:
    answer = ANSWER.model_copy(update={"audio_s": 2.4})
    client = await played(Scenario(greeting=None, turns=(answer,)))
    first = client.at("modelTurn")
    assert client.at("generationComplete") - first == pytest.approx(0.6, abs=0.2)
    assert client.at("turnComplete") - first == pytest.approx(2.4, abs=0.25)


async def test_speech_is_25_tokens_a_second_both_ways_and_the_context_is_billed_again() -> None:
    turn = Turn(user="rain", text="no", audio_s=2.0, latency_s=0)
    async with GeminiLiveServer(quick(turn, turn)) as server, client_of(server) as client:
        await server.wait_for("setup")
        for times in (1, 2):
            await client.say("rain")
            await server.wait_for("turn_complete", times=times)
        await asyncio.sleep(0.05)
    first, second = (
        {detail["modality"]: detail["tokenCount"] for detail in usage["promptTokensDetails"]} for usage in client.usages
    )
    assert [usage["responseTokenCount"] for usage in client.usages] == [50, 50]
    heard = utterances()["rain"].duration_s * 25
    assert first["AUDIO"] == pytest.approx(heard, abs=12), "with the silence until the end is noticed"
    assert second == {"TEXT": first["TEXT"], "AUDIO": 2 * first["AUDIO"] + 50}


@pytest.mark.parametrize("model", [NATIVE_2_5, *NEWER])
async def test_longer_instructions_cost_more_at_every_turn(model: str) -> None:
    short, long = [await played(quick(ANSWER, ANSWER), model, "x" * length) for length in (40, 440)]
    more = [
        after["promptTokenCount"] - before["promptTokenCount"]
        for before, after in zip(short.usages, long.usages, strict=True)
    ]
    assert more == [100, 100]


@pytest.mark.parametrize(("model", "gap"), [(NATIVE_2_5, False), (LIVE_3_1, True), (LIVE_3_8, True)])
async def test_details_leave_a_gap_on_3_x_and_thoughts_are_beside_the_total(model: str, gap: bool) -> None:
    client = await played(quick(ANSWER.model_copy(update={"thought": "hm, how far is it"})), model)
    (usage,) = client.usages
    known = sum(detail["tokenCount"] for detail in usage["promptTokensDetails"])
    assert (usage["promptTokenCount"] > known) is gap
    assert usage["thoughtsTokenCount"] > 0
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["responseTokenCount"]


async def test_who_talks_over_an_answer_that_is_complete_pays_for_all_of_it() -> None:
    wait = ANSWER.model_copy(update={"speaks": "while_agent_speaks", "pause_s": 0.3})
    client = await played(quick(ANSWER.model_copy(update={"audio_s": 4.0}), wait, waits_for_playback=True))
    end = client.kinds.index("interrupted")
    assert client.kinds[end - 1 : end + 3] == [
        "generationComplete",
        "interrupted",
        "turnComplete + usage",
        "inputTranscription",
    ]
    assert client.usages[0]["responseTokenCount"] == 100


async def test_who_talks_over_an_answer_that_is_being_generated_pays_for_what_there_is() -> None:
    wait = ANSWER.model_copy(update={"speaks": "while_agent_speaks", "pause_s": 0.3})
    client = await played(quick(ANSWER.model_copy(update={"audio_s": 4.0}), wait, pace=4))
    assert client.kinds.index("interrupted") < client.kinds.index("generationComplete")
    assert 10 < client.usages[0]["responseTokenCount"] < 90


async def test_who_speaks_before_any_output_pays_for_the_prompt() -> None:
    slow = ANSWER.model_copy(update={"latency_s": 5.0})
    wait = ANSWER.model_copy(update={"speaks": "before_agent_speaks", "pause_s": 0.1})
    client = await played(quick(slow, wait, resumption=False))
    assert client.kinds[1:5] == ["inputTranscription", "usage", "interrupted", "turnComplete + {}"]
    assert "responseTokenCount" not in client.usages[0]


@pytest.mark.parametrize(
    ("answer", "usage", "kinds"),
    [
        ("nothing", (Usage(),), []),
        ("transcription", (Usage(),), ["inputTranscription"]),
        ("empty", (Usage(),), ["inputTranscription", "turnComplete + usage"]),
        ("empty", (), ["inputTranscription", "turnComplete"]),
        ("rejected", (Usage(),), ["inputTranscription", "turnComplete + turnCompleteReason + usage"]),
    ],
)
async def test_instead_of_an_answer(answer: Any, usage: tuple[Usage, ...], kinds: list[str]) -> None:
    client = await played(quick(ANSWER.model_copy(update={"answer": answer, "usage": usage})))
    assert client.kinds[1:] == kinds
    assert not any("responseTokenCount" in each for each in client.usages)


async def test_after_what_is_not_answered_the_scenario_goes_on() -> None:
    silent = [
        ANSWER.model_copy(update={"answer": answer}) for answer in ("nothing", "transcription", "empty", "rejected")
    ]
    client = await played(quick(*silent, ANSWER, resumption=False))
    assert client.kinds[-1] == "turnComplete + usage"


async def test_a_cough_that_is_ignored_interrupts_nobody() -> None:
    speaking = Turn(user="tune", text="la la", audio_s=2.0, latency_s=0)
    cough = Turn(user=COUGH, answer="nothing")
    async with GeminiLiveServer(quick(speaking, cough, pace=4)) as server, client_of(server) as client:
        await server.wait_for("setup")
        await client.say("tune")
        await server.wait_for("first_audio")
        await client.say(COUGH)
        await server.wait_for_end()
        await asyncio.sleep(0.05)
    assert len(server.times("speech_ended")) == 2
    assert "interrupted" not in client.kinds
    assert client.usages[0]["responseTokenCount"] == 50


async def test_what_is_typed_counts_as_text_and_is_answered() -> None:
    greeting = Reply(text="hello", audio_s=0.1, latency_s=0)
    scenario = quick(ANSWER.model_copy(update={"typed": "x" * 400, "heard": ""}), greeting=greeting)
    async with GeminiLiveServer(scenario) as server, client_of(server) as client:
        await client.send(client_content={"turns": [], "turnComplete": True})
        await server.wait_for("turn_complete")
        await client.send(client_content={"turns": [{"parts": [{"text": "x" * 400}]}], "turnComplete": False})
        await client.send(client_content={"turns": [], "turnComplete": True})
        await server.wait_for("turn_complete", times=2)
        await asyncio.sleep(0.05)
    before, after = client.usages
    details = {detail["modality"]: detail["tokenCount"] for detail in after["promptTokensDetails"]}
    assert details["TEXT"] - before["promptTokenCount"] == 100


async def called(model: str, *, completes_turn: bool) -> Client:
    tool = ToolCall(name="get_weather", args={"city": "Madrid"}, completes_turn=completes_turn)
    usage = (Usage(),) if completes_turn else ()
    scenario = quick(Turn(heard="is it warm", tool=tool, usage=usage, latency_s=0, pause_s=0), ANSWER, resumption=False)
    async with GeminiLiveServer(scenario) as server, client_of(server, model) as client:
        await server.wait_for("setup")
        await asyncio.sleep(0.1)
        await client.send(tool_response={"functionResponses": [{"id": "call-1", "response": {"output": "sunny"}}]})
        await server.wait_for_end()
        await asyncio.sleep(0.05)
        return client  # type: ignore[no-any-return]


@pytest.mark.parametrize(("model", "detailed"), [(NATIVE_2_5, True), (LIVE_3_1, False)])
async def test_a_tool_of_ai_studio_is_billed_with_the_answer(model: str, detailed: bool) -> None:
    client = await called(model, completes_turn=False)
    assert client.kinds.count("toolCall") == 1
    assert sum(name.startswith("turnComplete") for name in client.kinds) == 1
    (usage,) = client.usages
    modalities = [detail["modality"] for detail in usage["responseTokensDetails"]]
    assert usage["responseTokenCount"] > 10, "with the call"
    assert ("TEXT" in modalities) is detailed


async def test_a_tool_of_vertex_has_a_turn_and_usage_of_its_own() -> None:
    client = await called(NATIVE_2_5, completes_turn=True)
    call = client.kinds.index("toolCall")
    assert client.kinds[call + 1 : call + 3] == ["generationComplete", "turnComplete + usage"]
    assert client.kinds[-1] == "turnComplete + usage"
    assert len(client.usages) == 2


async def test_who_stays_after_go_away_is_closed_upon() -> None:
    leaving = ANSWER.model_copy(update={"fault": Fault(kind="go_away", time_left_s=0.2)})
    async with GeminiLiveServer(quick(leaving)) as server, client_of(server) as client:
        await server.wait_for("closed_by_server")
        await asyncio.sleep(0.05)
    assert {"goAway": {"timeLeft": "50s"}} in client.messages
    assert client.closed is not None
    assert client.closed.rcvd is not None
    assert (client.closed.rcvd.code, client.closed.rcvd.reason) == (1011, DEADLINE_EXPIRED)
    assert server.ledger.total(DEFAULT_KEY) == {}
