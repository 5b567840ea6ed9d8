"""A realtime model without a provider: what it says, calls and reports is the test's to choose.

It speaks the framework's own interface (`livekit.agents.llm.realtime`) in the order in which the Google plugin does: a
generation that nobody asked for begins with `input_speech_started`, every generation ends with `input_speech_stopped`.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from livekit import rtc
from livekit.agents import NOT_GIVEN, NotGivenOr, llm, utils
from livekit.agents.metrics import RealtimeModelMetrics

SAMPLE_RATE = 24_000
FRAME_S = 0.02
LEVEL = 3000
"""Of what is said, of 32767: it can be heard."""


@dataclass(frozen=True)
class Usage:
    """What a usage message counts. `input_` and `output_unknown` belong to no modality."""

    input_audio: int = 100
    input_text: int = 40
    input_unknown: int = 0
    input_cached: int = 0
    output_audio: int = 60
    output_text: int = 5
    output_unknown: int = 0

    @property
    def input(self) -> int:
        return self.input_audio + self.input_text + self.input_unknown

    @property
    def output(self) -> int:
        return self.output_audio + self.output_text + self.output_unknown

    @property
    def total(self) -> int:
        return self.input + self.output


@dataclass(frozen=True)
class Reply:
    """One generation, as it shall go.

    Attributes:
        latency_s: from the reason to reply until the generation is created.
        audio_after_s: from then until the first audio frame.
        calls: the tools that are called: their names, or their names and arguments.
        usage: the usage messages, sent at the end of the generation.
    """

    text: str = "Hello."
    audio_s: float = 0.1
    latency_s: float = 0.0
    audio_after_s: float = 0.0
    calls: tuple[str | tuple[str, dict[str, Any]], ...] = ()
    usage: tuple[Usage, ...] = (Usage(),)


def metrics(
    request_id: str,
    usage: Usage | None = None,
    *,
    timestamp: float = 0.0,
    duration: float = 1.0,
    ttft: float = -1.0,
    label: str = "fakes.FakeRealtimeModel",
) -> RealtimeModelMetrics:
    """Metrics as the Google plugin makes them (`ttft` is always -1, `cancelled` never true), or with a real `ttft`."""
    usage = usage or Usage()
    return RealtimeModelMetrics(
        label=label,
        request_id=request_id,
        timestamp=timestamp,
        duration=duration,
        ttft=ttft,
        cancelled=False,
        input_tokens=usage.input,
        output_tokens=usage.output,
        total_tokens=usage.total,
        tokens_per_second=usage.output / duration if duration else 0,
        input_token_details=RealtimeModelMetrics.InputTokenDetails(
            audio_tokens=usage.input_audio,
            text_tokens=usage.input_text,
            cached_tokens=usage.input_cached,
            cached_tokens_details=RealtimeModelMetrics.CachedTokenDetails(text_tokens=usage.input_cached),
        ),
        output_token_details=RealtimeModelMetrics.OutputTokenDetails(
            audio_tokens=usage.output_audio, text_tokens=usage.output_text
        ),
    )


class FakeRealtimeModel(llm.RealtimeModel):
    """Its `sessions` play `replies`, one for each reply that is requested, and the test's own moves."""

    def __init__(self, replies: Iterable[Reply] = (), *, provider: str = "Gemini", audio_output: bool = True) -> None:
        super().__init__(
            capabilities=llm.RealtimeCapabilities(
                message_truncation=False,
                turn_detection=True,
                user_transcription=True,
                auto_tool_reply_generation=True,
                audio_output=audio_output,
                manual_function_calls=False,
                mutable_chat_context=True,
                mutable_instructions=True,
                mutable_tools=True,
            )
        )
        self.replies = deque(replies)
        self.sessions: list[FakeRealtimeSession] = []
        self._provider = provider

    @property
    def model(self) -> str:
        return "gemini-2.5-flash-native-audio-preview-12-2025"

    @property
    def provider(self) -> str:
        return self._provider

    def session(self, *, turn_detection_disabled: bool = False) -> "FakeRealtimeSession":
        self.sessions.append(FakeRealtimeSession(self))
        return self.sessions[-1]

    async def aclose(self) -> None:
        """There is nothing to close."""


class FakeRealtimeSession(llm.RealtimeSession[Any]):
    """One connection of the model.

    Attributes:
        requests: what each reply was requested with: its instructions, or an empty text.
        interruptions: how often the framework told the model to stop.
    """

    def __init__(self, model: FakeRealtimeModel) -> None:
        super().__init__(model)
        self.requests: list[str] = []
        self.interruptions = 0
        self._model = model
        self._pending: asyncio.Future[llm.GenerationCreatedEvent] | None = None
        self._chat_ctx = llm.ChatContext.empty()
        self._tools = llm.ToolContext.empty()
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- the test's moves

    def connect(self, connection_s: float = 0.12) -> None:
        """Reports a connect or a reconnect, which the framework does as metrics without a request id."""
        self._report_connection_acquired(connection_s)

    def begin(self) -> "FakeGeneration":
        """A generation begins: the one that was asked for, else one that answers the user."""
        generation = FakeGeneration(self, utils.shortuuid("GR_"))
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done():
            generation.event.user_initiated = True
            pending.set_result(generation.event)
        else:
            self.emit("input_speech_started", llm.InputSpeechStartedEvent())
        self.emit("generation_created", generation.event)
        return generation

    async def play(self, reply: Reply) -> "FakeGeneration":
        """A generation from its begin to its end."""
        await asyncio.sleep(reply.latency_s)
        generation = self.begin()
        await asyncio.sleep(reply.audio_after_s)
        generation.say(reply.text, reply.audio_s)
        for call in reply.calls:
            name, arguments = (call, {}) if isinstance(call, str) else call
            generation.call(name, json.dumps(arguments))
        generation.end()
        for usage in reply.usage:
            generation.report(usage)
        return generation

    def interrupt_generation(self, generation: "FakeGeneration") -> None:
        """The provider heard the user, and cuts a generation short."""
        self.emit("input_speech_started", llm.InputSpeechStartedEvent())
        generation.end()
        generation.report()

    def fail(self, error: Exception, *, recoverable: bool = False) -> None:
        """The connection fails."""
        self.emit(
            "error",
            llm.RealtimeModelError(
                timestamp=time.time(), label=self._model.label, error=error, recoverable=recoverable
            ),
        )

    # -- the framework's interface

    def generate_reply(
        self, *, instructions: NotGivenOr[str] = NOT_GIVEN, **_: Any
    ) -> asyncio.Future[llm.GenerationCreatedEvent]:
        self.requests.append(instructions or "")
        self._pending = asyncio.get_running_loop().create_future()
        self._play_next()
        return self._pending

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        answered = {item.id for item in self._chat_ctx.items}
        self._chat_ctx = chat_ctx.copy()
        if any(item.type == "function_call_output" and item.id not in answered for item in chat_ctx.items):
            self._play_next()

    def _play_next(self) -> None:
        if self._model.replies:
            task = asyncio.create_task(self.play(self._model.replies.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @property
    def chat_ctx(self) -> llm.ChatContext:
        return self._chat_ctx

    @property
    def tools(self) -> llm.ToolContext:
        return self._tools

    async def update_instructions(self, instructions: str) -> None:
        """Nobody listens."""

    async def update_tools(self, tools: list[llm.Tool]) -> None:
        self._tools = llm.ToolContext(tools)

    def update_options(self, *, tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN) -> None:
        """Nobody listens."""

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Nobody listens."""

    def push_video(self, frame: rtc.VideoFrame) -> None:
        """Nobody looks."""

    def commit_audio(self) -> None:
        """Nobody listens."""

    def clear_audio(self) -> None:
        """Nobody listens."""

    def interrupt(self) -> None:
        self.interruptions += 1

    def truncate(
        self,
        *,
        message_id: str,
        modalities: list[Literal["text", "audio"]],
        audio_end_ms: int,
        audio_transcript: NotGivenOr[str] = NOT_GIVEN,
    ) -> None:
        """Gemini cannot."""

    async def aclose(self) -> None:
        await utils.aio.cancel_and_wait(*self._tasks)


class FakeGeneration:
    """One response while it is generated.

    Attributes:
        id: of the response, the `request_id` of its metrics.
        created_at: `time.time()`.
    """

    def __init__(self, session: FakeRealtimeSession, response_id: str) -> None:
        self.id = response_id
        self.created_at = time.time()
        self._ended_at: float | None = None
        self._session = session
        self._text = utils.aio.Chan[str]()
        self._audio = utils.aio.Chan[rtc.AudioFrame]()
        self._messages = utils.aio.Chan[llm.MessageGeneration]()
        self._functions = utils.aio.Chan[llm.FunctionCall]()
        modalities: asyncio.Future[list[Literal["text", "audio"]]] = asyncio.get_running_loop().create_future()
        modalities.set_result(["audio", "text"] if session.capabilities.audio_output else ["text"])
        self._messages.send_nowait(
            llm.MessageGeneration(
                message_id=response_id, text_stream=self._text, audio_stream=self._audio, modalities=modalities
            )
        )
        self.event = llm.GenerationCreatedEvent(
            message_stream=self._messages,
            function_stream=self._functions,
            user_initiated=False,
            response_id=response_id,
        )

    def say(self, text: str, audio_s: float, *, silence_s: float = 0.0) -> None:
        """A piece of the answer, after some silence; neither text nor audio needs to be there."""
        if text:
            self._text.send_nowait(text)
        samples = int(SAMPLE_RATE * FRAME_S)
        for number in range(round((silence_s + audio_s) / FRAME_S)):
            level = 0 if number * FRAME_S < silence_s else LEVEL
            data = level.to_bytes(2, "little") * samples
            self._audio.send_nowait(rtc.AudioFrame(data, SAMPLE_RATE, 1, samples))

    def call(self, name: str, arguments: str = "{}") -> None:
        """A tool is called."""
        self._functions.send_nowait(llm.FunctionCall(call_id=utils.shortuuid("call_"), name=name, arguments=arguments))

    def end(self) -> None:
        """Everything is generated."""
        self._ended_at = time.time()
        self._session.emit("input_speech_stopped", llm.InputSpeechStoppedEvent(user_transcription_enabled=False))
        for channel in (self._text, self._audio, self._functions, self._messages):
            channel.close()

    def report(self, usage: Usage | None = None, *, ttft: float = -1.0) -> None:
        """A usage message comes."""
        until = self._ended_at or time.time()
        self._session.emit(
            "metrics_collected",
            metrics(
                self.id,
                usage,
                timestamp=self.created_at,
                duration=until - self.created_at,
                ttft=ttft,
                label=self._session.realtime_model.label,
            ),
        )
