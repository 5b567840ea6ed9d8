"""One response while it is open: what its two halves, usage and speech, have told so far, and the record made of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from livekit.agents.llm import ChatItem, ChatMessage
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.voice import SpeechHandle

from .records import FirstAudioFrom, ResponseRecord
from .usage import NO_TOKENS, PUBLIC_ONLY, MalformedUsageError, UsageBook, counted


@dataclass(slots=True)
class OpenResponse:
    """Collects; times are `time.time()`."""

    turn: int
    request_id: str
    created_at: float
    handle: SpeechHandle | None = None
    """Whose playing the response is; `None` where the framework plays nothing of it."""
    requested_at: float | None = None
    """When the program asked for the reply."""
    has_audio_output: bool = True
    metrics: RealtimeModelMetrics | None = None
    """The last that arrived."""
    public_only: bool = False
    """Whether they are all that is known of the usage; the provider's own message tells more."""
    book: UsageBook = field(default_factory=UsageBook)
    usage_problem: str | None = None
    malformed: int = 0
    """Usage messages that could not be counted."""
    completed_at: float | None = None
    """When the model had generated all of it."""
    spoke_at: float | None = None
    """When the agent began to speak it, by the agent's state."""
    messages: list[ChatMessage] = field(default_factory=list)
    """What of it went into the conversation, once it was played, with the framework's marks of the playing."""
    connection_lost: bool = False
    spoken: bool = True
    """Whether nothing of it is left to play."""
    ready: bool = False

    @property
    def tokens(self) -> dict[str, Any]:
        """All counts of `records.TOKEN_FIELDS`."""
        return self.book.total() or NO_TOKENS

    @property
    def called_tool(self) -> bool:
        return any(item.type == "function_call" for item in self._items)

    @property
    def _items(self) -> Iterable[ChatItem]:
        return self.handle.chat_items if self.handle else ()

    @property
    def first_audio_at(self) -> float | None:
        return self._mark("started_speaking_at") or self.spoke_at

    @property
    def playback_latency_s(self) -> float | None:
        return self._mark("playback_latency")

    def _mark(self, name: Literal["started_speaking_at", "playback_latency"]) -> float | None:
        messages = self.messages if self.has_audio_output else []
        return messages[0].metrics.get(name) if messages else None

    @property
    def answers_program(self) -> bool:
        """Whether the program asked for it by itself, not on behalf of what the user said."""
        return (
            self.requested_at is not None and self.handle is not None and self.handle.input_details.modality == "text"
        )

    @property
    def interrupted(self) -> bool:
        if self.messages:
            return any(message.interrupted for message in self.messages)
        return self.handle is not None and self.handle.interrupted

    def take_messages(self) -> None:
        """Those that are there by now: the loop adds them, and all of a record is to come from the same."""
        self.messages = [
            item for item in self._items if isinstance(item, ChatMessage) and self._is_of_this_response(item)
        ]

    def _is_of_this_response(self, message: ChatMessage) -> bool:
        return self.request_id in (message.id, *message.metrics.get("provider_request_ids", ()))

    def take_usage(self, metrics: RealtimeModelMetrics, raw: Any, complete: bool | None) -> None:
        """A usage message: the metrics, the raw message that they were made of, and whether the model had generated
        everything by then, where these are known."""
        self.metrics, self.public_only = metrics, raw is None
        if complete is not False:
            self.completed_at = metrics.timestamp + metrics.duration
        try:
            self.book.book(counted(metrics, raw))
        except MalformedUsageError as error:
            self.usage_problem = str(error)
            self.malformed += 1

    def record(
        self, user_speech_end: float | None, why_no_speech_end: str, budget_s: float | None, **others: Any
    ) -> ResponseRecord:
        """The record of all that is known now.

        Args:
            user_speech_end: end of the speech that this response answers, if it answers one that was heard.
            why_no_speech_end: why that is unknown.
            budget_s: the longest wait that is within budget.
            others: the fields of the record that are the session's, and those of the cost.
        """
        metrics = self.metrics
        ttft = metrics.ttft if metrics and metrics.ttft >= 0 else None
        waited_from, waiting_since = self._wait(user_speech_end)
        wait_s = ttft
        if self.first_audio_at is not None and waiting_since is not None:
            wait_s = self.first_audio_at - waiting_since
        else:
            waited_from, waiting_since = None if ttft is None else "model", None
        duration_s, duration_reason = self._duration(ttft)
        tokens = self.tokens
        output_tokens = tokens["output_tokens"]
        return ResponseRecord(
            **others,
            turn=self.turn,
            request_id=self.request_id,
            label=metrics.label if metrics else "",
            time_to_first_audio_s=wait_s,
            time_to_first_audio_from=waited_from,
            time_to_first_audio_reason=None if wait_s is not None else self._no_wait_reason(why_no_speech_end),
            **self._parts(waiting_since),
            playback_latency_s=self.playback_latency_s,
            over_latency_budget=None if wait_s is None or budget_s is None else wait_s > budget_s,
            duration_s=duration_s,
            duration_reason=duration_reason,
            framework_duration_s=metrics.duration if metrics else None,
            tokens_per_second=output_tokens / duration_s if output_tokens is not None and duration_s else None,
            usage_messages=self.book.messages,
            usage_reason=self.usage_reason,
            interrupted=self.interrupted,
            connection_lost=self.connection_lost,
            **tokens,
        )

    def _wait(self, user_speech_end: float | None) -> tuple[FirstAudioFrom | None, float | None]:
        if user_speech_end is not None:
            return "user_speech_end", user_speech_end
        if self.requested_at is not None:
            return "reply_requested", self.requested_at
        return None, None

    def _parts(self, waiting_since: float | None) -> dict[str, Any]:
        parts: dict[str, Any] = {"time_to_generation_s": None, "generation_to_audio_s": None}
        if waiting_since is None:
            return parts
        if self.created_at >= waiting_since:
            parts["time_to_generation_s"] = self.created_at - waiting_since
        if (forwarded_at := self._forwarded_at) is not None:
            parts["generation_to_audio_s"] = forwarded_at - max(self.created_at, waiting_since)
        return parts

    @property
    def _forwarded_at(self) -> float | None:
        if self.first_audio_at is None or self.playback_latency_s is None:
            return None
        return self.first_audio_at - self.playback_latency_s

    def _duration(self, ttft: float | None) -> tuple[float | None, str | None]:
        if self.metrics is None:
            return None, self.usage_reason
        if ttft is not None:
            return self.metrics.duration - ttft, None
        if self.first_audio_at is None:
            return None, self._no_audio_reason()
        if self.completed_at is None:
            return None, "usage arrived before the generation was complete"
        if (forwarded_at := self._forwarded_at) is None:
            return None, "the framework did not say when the first audio arrived"
        if self.completed_at <= forwarded_at:
            return None, "the audio was held back until the generation was complete"
        return self.completed_at - forwarded_at, None

    def _no_wait_reason(self, why_no_speech_end: str) -> str:
        return self._no_audio_reason() if self.first_audio_at is None else why_no_speech_end

    def _no_audio_reason(self) -> str:
        if self.handle is None:
            return "the framework did not play this response"
        if not self.has_audio_output:
            return "the session has no audio output"
        if self.called_tool and not self.messages:
            return "no audio: the response was a tool call"
        if self.interrupted:
            return "interrupted before any audio was played"
        return "no audio: the response was text only" if self.messages else "no audio was played"

    @property
    def usage_reason(self) -> str | None:
        """Why counts are missing; `None` where they are not."""
        if self.usage_problem is not None:
            return self.usage_problem
        if self.book.messages == 0:
            return "the connection ended before usage arrived" if self.connection_lost else "no usage message arrived"
        return PUBLIC_ONLY if self.public_only else None
