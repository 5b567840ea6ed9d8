"""What the recipe promises: a reply on enter, a report for every response, every row right, and a call that goes on."""

import logging
from typing import Any, ClassVar

import pytest
from livekit.agents import function_tool

from agent import MetricsAgent, settings
from realtime_metrics.records import AnyRecord
from realtime_metrics.responses import Responses
from realtime_metrics.sinks.base import Sink
from realtime_metrics.sinks.console import ConsoleSink, response_rows
from tests.fakes.call import FakeCall, until
from tests.fakes.realtime import FakeRealtimeModel, Reply, Usage

RECIPE_ROWS = [
    "Type",
    "Label",
    "Request ID",
    "Timestamp",
    "Duration",
    "Time to First Audio",
    "Input Tokens",
    "↳ Audio Tokens",
    "↳ Text Tokens",
    "↳ Cached Tokens",
    "Output Tokens",
    "↳ Audio Tokens",
    "↳ Text Tokens",
    "Total Tokens",
    "Tokens/Second",
]
BEYOND_THE_RECIPE = ["↳ Unknown Modality", "Audio", "Cost"]


class WeatherAgent(MetricsAgent):
    cities: ClassVar[list[str]] = []

    @function_tool
    async def get_weather(self, city: str) -> str:
        """Tells the weather of a city."""
        self.cities.append(city)
        return "sunny"


async def test_on_enter_the_agent_asks_for_a_reply_and_listens_to_its_metrics() -> None:
    async with FakeCall(Reply()) as call:
        await until(lambda: call.model.requests == [settings.greeting])
        call.model.connect(0.12)
        await until(lambda: bool(call.connections))
        assert (await call.reported()).turn == 1


async def test_every_response_makes_exactly_one_report() -> None:
    spoken, tool_call = Reply("Fine."), Reply("", audio_s=0, calls=(("get_weather", {"city": "Rome"}),))
    async with FakeCall(Reply("Hello."), Reply("It is sunny."), agent=WeatherAgent) as call:
        call.model.connect()
        await call.reported(1)
        await call.model.play(spoken)
        await call.reported(2)
        await call.model.play(Reply("Text only.", audio_s=0))
        await call.reported(3)
        await call.user_speaks()
        await call.model.play(tool_call)
        answer_of_the_tool = await call.reported(5)
        session = await call.end()
    assert WeatherAgent.cities == ["Rome"]
    assert answer_of_the_tool.wait.tools == ["get_weather"]
    assert [record.turn for record in call.responses] == [1, 2, 3, 4, 5]
    assert len({record.request_id for record in call.responses}) == 5
    assert answer_of_the_tool.wait.time_to_first_audio_from == "user_speech_end"
    assert session.sums.responses == 5
    assert session.tokens["total_tokens"] == 5 * Usage().total


async def test_a_connect_is_never_shown_as_a_response() -> None:
    async with FakeCall(Reply()) as call:
        call.model.connect(0.12)
        await call.reported(1)
        call.model.connect(0.34)
        session = await call.end()
    assert [(record.connection_s, record.reconnect) for record in call.connections] == [(0.12, False), (0.34, True)]
    assert (session.sums.responses, session.sums.connections, session.sums.reconnects) == (1, 2, 1)


async def test_the_table_has_every_row_of_the_recipe_in_its_order_and_each_is_right() -> None:
    usage = Usage(
        input_audio=1100,
        input_text=40,
        input_unknown=7,
        input_cached=3,
        output_audio=60,
        output_text=5,
        output_unknown=2,
    )
    async with FakeCall() as call:
        generation = call.model.begin()
        generation.say("Hello.", 0.1)
        await until(lambda: call.session.agent_state == "speaking")
        generation.end()
        generation.report(usage)
        record = await call.reported()
    rows = response_rows(record)
    assert [name for name, _ in rows if name in RECIPE_ROWS] == RECIPE_ROWS
    assert {name for name, _ in rows} >= set(BEYOND_THE_RECIPE)
    assert record.wait.duration_s is not None
    assert record.tokens_per_second is not None
    values = [value for name, value in rows if name in RECIPE_ROWS]
    assert values == [
        "realtime_model_metrics",
        "FakeRealtimeModel",
        generation.id,
        record.timestamp,
        f"{record.wait.duration_s:.3f} s",
        "n/a (no end of user speech was seen since the agent's last reply)",
        "1,147",
        "1,100",
        "40",
        "3",
        "67",
        "60",
        "5",
        "1,214",
        f"{67 / record.wait.duration_s:.1f}",
    ]
    beyond = [(name, value) for name, value in rows if name in BEYOND_THE_RECIPE]
    assert beyond[:2] == [("↳ Unknown Modality", "7"), ("↳ Unknown Modality", "2")]
    assert beyond[2][0] == "Audio"
    assert beyond[3][1].startswith(f"${record.cost_usd:.6f}")


async def test_a_response_without_audio_shows_na_and_why() -> None:
    async with FakeCall(Reply("Text only.", audio_s=0)) as call:
        rows = dict(response_rows(await call.reported()))
    assert rows["Time to First Audio"] == "n/a (no audio: the response was text only)"
    assert rows["Duration"] == "n/a (no audio: the response was text only)"


async def test_a_tool_call_shows_na_and_why() -> None:
    async with FakeCall(Reply("", audio_s=0, calls=(("get_weather", {"city": "Rome"}),)), agent=WeatherAgent) as call:
        record = await call.reported()
    assert record.wait.time_to_first_audio_reason == "no audio: the response was a tool call"


async def test_a_session_without_audio_output_shows_na_and_why() -> None:
    model = FakeRealtimeModel(audio_output=False)
    async with FakeCall(Reply("Text only.", audio_s=0), audio=False, model=model) as call:
        record = await call.reported()
    assert (record.wait.time_to_first_audio_s, record.wait.time_to_first_audio_from) == (None, None)
    assert record.wait.time_to_first_audio_reason == "the session has no audio output"


async def test_a_provider_that_sends_a_time_to_first_token_is_believed_where_nothing_better_is_known() -> None:
    async with FakeCall(audio=False, model=FakeRealtimeModel(provider="other")) as call:
        generation = call.model.begin()
        generation.say("Hello.", 0)
        generation.end()
        generation.report(ttft=0.4)
        record = await call.reported()
    assert (record.wait.time_to_first_audio_s, record.wait.time_to_first_audio_from) == (0.4, "model")
    assert record.origin.provider == "other"


class BrokenSink(Sink):
    def write(self, record: AnyRecord) -> None:
        raise OSError("the disk is full")

    def close(self) -> None:
        raise OSError("the disk is still full")


async def test_a_sink_that_fails_does_not_disturb_the_call(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeCall(Reply("Hello."), sinks={"broken": BrokenSink(settings)}) as call:
        await call.reported(1)
        await call.model.play(Reply("Fine."))
        await call.reported(2)
        session = await call.end()
    assert session.sinks["broken"] == {"written": 0, "failed": 2, "dropped": 0}
    assert session.sinks["kept"] == {"written": 2, "failed": 0, "dropped": 0}
    said = [entry.message for entry in caplog.records if "broken" in entry.message]
    assert said == ["metrics sink broken fails: OSError: the disk is full (said once; failures are counted)"]


async def test_a_recorder_that_fails_does_not_disturb_the_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(Responses, "created", fail)
    said: list[str] = []
    async with FakeCall(Reply("Hello.")) as call:
        call.session.on("conversation_item_added", lambda event: said.append(event.item.text_content))
        await until(lambda: said == ["Hello."])
        await call.model.play(Reply("Fine."))
        await until(lambda: said == ["Hello.", "Fine."])
        session = await call.end()
    assert session.sums.responses == 0
    told = [entry for entry in caplog.records if entry.message.startswith("the metrics recorder failed")]
    assert {entry.levelno for entry in told} == {logging.ERROR}
    assert len(told) == len({entry.message for entry in told}), "each failing handler is told once"


async def test_the_console_shows_the_table_of_a_response_while_the_call_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with FakeCall(Reply("Hello."), sinks={"console": ConsoleSink(settings)}) as call:
        record = await call.reported()
        await until(lambda: bool(call.session.current_speech is None))
    out = capsys.readouterr().out
    assert "Response 1" in out
    assert record.request_id in out
    assert "Hello." not in out, "no report holds what anybody said"
