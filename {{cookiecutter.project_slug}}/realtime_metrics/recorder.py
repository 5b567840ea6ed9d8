"""Events of one session -> calls. It hears the session, its realtime model and its audio, and makes the records.

Everything here is plain code on the audio loop (about 0.3 ms a response); what waits for files, terminals and networks
is the writer's. Nothing raises out of it into the call.
"""

import asyncio
import copy
import math
import time
import weakref
from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentSession,
    AgentStateChangedEvent,
    CloseEvent,
    ConversationItemAddedEvent,
    ErrorEvent,
    SpeechCreatedEvent,
    UserInputTranscribedEvent,
    UserStateChangedEvent,
)
from livekit.agents.llm import AgentHandoff, ChatMessage, GenerationCreatedEvent, RealtimeModelError, RealtimeSession
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.agents.utils import is_given
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.events import ToolExecutionUpdatedEvent

from . import errors
from .ears import Ears, Playback
from .log import OwnFailures, logger
from .prices import Cost, prices_of
from .provider import Listener, Provider, ProviderSession
from .records import ConnectionRecord, Origin, ResponseRecord, SessionRecord, Unanswered, UnansweredRecord, utc_iso
from .responses import Response, Responses
from .session import Bill, Sums
from .settings import Settings
from .turns import Turns
from .usage import OUTPUT_UNCOUNTED, TOKEN_FIELDS, Tokens, UsageMessage, added, without_output
from .waits import by_the_clock, monotonic, percentile, wait_of
from .writer import Writer


class Recorder:
    """Watches one session.

    Args:
        session: the session; watch it before it is started.
        settings: what the agent is, its latency budget, its answer limit.
        writer: where the records go.
        provider: who the realtime model's provider is.
        session_id: the job's id.
        room: the room's name.
        customer: whose call it is, where that is known.
    """

    def __init__(
        self,
        session: AgentSession[Any],
        settings: Settings,
        writer: Writer,
        provider: Provider,
        *,
        session_id: str,
        room: str,
        customer: str | None = None,
    ) -> None:
        self.end_reason: str | None = None
        """Why the call ends, where something outside the session knows better than the session."""
        self.network_round_trip_s: float | None = None
        """To the LiveKit server and back, as it was sampled last."""
        self.on_recorded: Callable[[Bill], None] | None = None
        """Called with the bill whenever a response was recorded, or usage came that no response holds."""
        self._session = session
        self._settings = settings
        self._writer = writer
        self._provider = provider
        self._began_at = time.monotonic()
        self._failures = OwnFailures()
        guarded = self._failures.guarded
        self._prices = prices_of(settings.metrics_prices_path)
        self._sums, self._bill = Sums(), Bill()
        self._waits_s = array("d")  # for answers to the user; a long session has many: 8 bytes each
        self._sums.over_latency_budget = None if settings.metrics_latency_budget_s is None else 0
        self._ears = Ears(
            guarded(self._on_playback_began),
            guarded(self._on_agent_heard),
            guarded(self._on_playback_ended),
            self._failures,
        )
        self._turns = Turns(self._ears, self._sums, settings.metrics_answer_limit_s, guarded(self._record_unanswered))
        self._responses = Responses(guarded(self._record_response), guarded(self._on_unbooked))
        self._model: RealtimeSession[Any] | None = None
        self._agent: Agent | None = None
        self._provider_session = ProviderSession()
        self._provider_sessions = weakref.WeakKeyDictionary[RealtimeSession[Any], ProviderSession]()
        """Of each realtime session that was watched: agents come back."""
        self._requested_at: dict[str, float] = {}
        self._unbound_speech: SpeechHandle | None = None
        self._typed: SpeechHandle | None = None
        self._transcribed_item: str | None = None
        self._user_speaks = False
        self._last_metrics: RealtimeModelMetrics | None = None
        self._go_away_came = False
        self._closed = False
        self._origin = Origin(
            session_id=session_id,
            room=room,
            agent_name=settings.name,
            customer=customer,
            revision=settings.revision(()),
            provider="",
            model=settings.model,
            voice=settings.voice,
        )
        errors.say_failures_plainly(provider)
        self.listener = Listener(
            generation_completed=guarded(self._responses.completed),
            generation_ended=guarded(self._responses.generation_ended),
            turn_was_empty=guarded(self._turns.response_was_silent),
            usage_came_alone=guarded(self._on_usage_alone),
            end_announced=guarded(self._on_end_announced),
        )
        """Whom the provider's sessions tell what they do."""
        self._hears_generation = guarded(self._on_generation_created)
        # an agent that greets nobody is to hear the first word, too, also after a handoff
        session.on("agent_state_changed", guarded(self._on_agent_state_changed))
        session.on("speech_created", guarded(self._on_speech_created))
        session.on("user_state_changed", guarded(self._on_user_state_changed))
        session.on("user_input_transcribed", guarded(self._on_user_input_transcribed))
        session.on("conversation_item_added", guarded(self._on_conversation_item_added))
        session.on("tool_execution_updated", guarded(self._on_tool_execution_updated))
        session.on("error", guarded(self._on_error))
        session.on("close", guarded(self._on_close))

    @property
    def connected(self) -> bool:
        """Whether there was a connection to the provider."""
        return self._sums.connections > 0

    def price_missing(self) -> str | None:
        """Why the model's tokens have no price; `None` where they have one."""
        one_each = dict.fromkeys(("input_tokens", "input_audio_tokens", "output_tokens", "output_audio_tokens"), 1)
        tokens: Tokens = {**dict.fromkeys(TOKEN_FIELDS, 0), **one_each}
        return self._prices.cost(tokens, self._settings.model, self._provider.price_list, time.time()).reason

    # -- the realtime model

    def add(self, metrics: RealtimeModelMetrics) -> None:
        """Takes the metrics that the realtime session emits: of a connect, or of a response. Never raises."""
        self._failures.guard(self._add, metrics)

    def _add(self, metrics: RealtimeModelMetrics) -> None:
        if metrics is self._last_metrics:
            return  # two agents that share the session, or an agent and this, pass on the same
        self._last_metrics = metrics
        self._follow_agent()
        if not metrics.request_id:
            self._record_connection(metrics)
            return
        of = next((each for each in self._provider_sessions.values() if each.has_usage), self._provider_session)
        message = of.usage(metrics)
        self._responses.used(metrics, message)
        if message.problem:
            self._sums.error("malformed_usage")
        if not self._provider_session.marks_ends:
            self._responses.generation_ended(time.monotonic(), None, True)

    def _follow_agent(self) -> None:
        """Listens to the realtime session of the agent that speaks now, and to the audio as it is now."""
        try:
            agent = self._session.current_agent
            model = agent.realtime_llm_session
        except RuntimeError:
            return  # the agent has not begun
        if agent is not self._agent or model is not self._model:
            self._agent = agent
            self.watch_model(model)
        self._ears.attach(self._session)

    def _follow_handoff(self, tries: int = 100) -> None:
        """The framework tells a handoff before the new agent has begun, and nothing more if that greets nobody."""
        agent = self._agent
        self._follow_agent()
        if self._agent is agent and tries and not self._closed:
            asyncio.get_running_loop().call_later(0.01, self._failures.guard, self._follow_handoff, tries - 1)

    def watch_model(self, model: RealtimeSession[Any]) -> None:
        """Listens to a realtime session; agents of a call can share it, and take turns with it."""
        watched = self._provider_sessions.get(model)
        if watched is not None:
            model.off("generation_created", self._hears_generation)
        else:
            watched = self._provider_sessions[model] = self._provider.watch(model, self.listener)
            # an agent that comes back from an AgentTask has a new session, and its `on_enter` is not called again
            model.on("metrics_collected", self.add)
            if not watched.announces_ends:
                self._sums.go_aways = None
        self._model, self._provider_session = model, watched
        # registered last: the framework's own handler has to create the answer's speech first
        model.on("generation_created", self._hears_generation)

    def _look_at_agent(self) -> None:
        """What the agent is now, and with it the revision: both can change in a call."""
        if self._model is None:
            return
        llm, voice = self._model.realtime_model, self._provider_session.voice or self._settings.voice
        now = {"model": llm.model, "voice": voice}
        if self._agent is not None:
            told = self._agent.instructions
            now["instructions"] = told if isinstance(told, str) else told.common  # the rest can be of this call alone
        tools = [each.id for each in self._agent.tools] if self._agent else []
        revision = self._settings.model_copy(update=now).revision(tools)
        self._origin = replace(self._origin, provider=llm.provider, model=llm.model, voice=voice, revision=revision)

    def _on_generation_created(self, event: GenerationCreatedEvent) -> None:
        self._look_at_agent()
        speech = self._session.current_speech if event.user_initiated else self._unbound_speech
        self._unbound_speech = None
        if not event.user_initiated and not self._responses.newest_called_tools:
            self._turns.answer_began()
        response = Response(
            event.response_id or "",
            speech=speech,
            requested_at=self._requested_at.get(speech.id) if speech else None,
            has_audio_output=self._has_audio_output,
            answers_typed=speech is not None and speech is self._typed,
            origin=self._origin,
            comes_first=self._sums.user_turns == 0,
            tool_calls_have_usage=self._provider_session.tool_calls_have_usage,
        )
        self._responses.created(response)

    def _on_usage_alone(self, message: UsageMessage) -> None:
        if message.problem:
            self._sums.error("malformed_usage")
        else:
            self._responses.used_alone(message)

    def _on_end_announced(self) -> None:
        self._go_away_came = True
        if self._sums.go_aways is not None:
            self._sums.go_aways += 1

    # -- the session

    def _on_agent_state_changed(self, event: AgentStateChangedEvent) -> None:
        self._follow_agent()
        if event.new_state == "speaking" and not self._has_audio_output:
            self._turns.agent_heard(time.monotonic())  # its text is shown

    def _on_speech_created(self, event: SpeechCreatedEvent) -> None:
        self._follow_agent()
        speech = event.speech_handle
        speech.add_done_callback(self._failures.guarded(self._on_speech_done))
        if event.user_initiated:
            self._requested_at[speech.id] = monotonic(event.created_at)
        else:
            self._unbound_speech = speech

    def _on_speech_done(self, speech: SpeechHandle) -> None:
        self._requested_at.pop(speech.id, None)
        if (error := speech.exception()) is not None:
            self._say_failure(error, recoverable=False)
        for response in self._responses.speech_done(speech):
            if response.left_user_waiting:
                self._turns.response_was_silent(response.finish_reason, response.request_id, response.completed_at)

    def _on_user_state_changed(self, event: UserStateChangedEvent) -> None:
        self._follow_agent()
        # a session that is closed ends what is being said
        if getattr(self._session, "_closing", False) or not self._detects_voice:
            return
        if event.new_state == "speaking":
            self._user_speaks = not getattr(self._session, "_user_turn_claims", 0)  # else a text came from the room
            if self._user_speaks:
                self._turns.user_began(monotonic(event.created_at))
        elif event.old_state == "speaking" and self._user_speaks:
            self._turns.user_stopped(monotonic(event.created_at))

    @property
    def _detects_voice(self) -> bool:
        """Whether what is told of the user is so: where nobody gave a VAD, the framework takes the provider's events
        for the user's speech (livekit-agents 1.8.9)."""
        of_session, of_agent = self._session.vad, self._agent.vad if self._agent else NOT_GIVEN
        if getattr(self._session, "_using_default_vad", False):
            of_session = None
        vad = of_agent if is_given(of_agent) else of_session
        return vad is not None or self._provider_session.marks_user_speech

    def _on_user_input_transcribed(self, event: UserInputTranscribedEvent) -> None:
        is_new = event.item_id is None or event.item_id != self._transcribed_item
        self._transcribed_item = event.item_id
        if event.transcript and (is_new or not event.is_final):  # at the turn's end the plugin repeats all of it
            self._turns.user_transcribed(is_new=is_new)

    def _on_tool_execution_updated(self, event: ToolExecutionUpdatedEvent) -> None:
        self._turns.tool_updated(event)
        self._responses.tool_updated()

    def _on_conversation_item_added(self, event: ConversationItemAddedEvent) -> None:
        message = event.item
        if isinstance(message, AgentHandoff):
            self._follow_handoff()
        if not isinstance(message, ChatMessage):
            return
        if message.role == "user" and message.transcript_confidence is None:
            speech = self._typed = self._session.current_speech  # which takes it to the model, and is its answer
            now = time.monotonic()
            self._turns.user_typed(now if speech is None else self._requested_at.get(speech.id, now))

    # -- the audio

    @property
    def _has_audio_output(self) -> bool:
        output = self._session.output
        return output.audio is not None and output.audio_enabled

    def _on_playback_began(self, playback: Playback) -> None:
        self._responses.playback_began(self._session.current_speech, playback)
        self._turns.playback_began(playback)

    def _on_agent_heard(self, playback: Playback) -> None:
        first_sound_at = playback.first_sound_at or time.monotonic()
        if self._sums.first_audio_after_s is None:
            self._sums.first_audio_after_s = first_sound_at - self._began_at
        self._turns.agent_heard(first_sound_at, playback)

    def _on_playback_ended(self, playback: Playback) -> None:
        self._turns.playback_ended()
        self._responses.playback_ended(playback)

    # -- records

    def _record_connection(self, metrics: RealtimeModelMetrics) -> None:
        self._look_at_agent()
        provider = self._provider_session
        reconnect = provider.was_connected
        record = ConnectionRecord(
            origin=self._origin,
            timestamp=utc_iso(metrics.timestamp),
            connection_s=metrics.acquire_time,
            reconnect=reconnect,
            resumed=provider.can_resume if reconnect else False,
            go_away=self._go_away_came if provider.announces_ends else None,
        )
        self._go_away_came = False
        if reconnect:
            self._connection_is_lost()
        provider.was_connected = True
        self._sums.connected(reconnect=reconnect, resumed=record.resumed)
        self._writer.write(record)

    def _record_response(self, response: Response) -> None:
        metrics = response.metrics
        first_sound_at = response.first_sound_at
        wait = wait_of(response, self._turns.answered_by(first_sound_at), self._turns.tools)
        if first_sound_at is not None and (wait.time_to_first_audio_from == "user_speech_end" or not response.is_extra):
            self._turns.answered(first_sound_at)

        tokens, usage_reason = response.usage.total(), response.usage_reason
        origin = response.origin or self._origin
        cost = self._cost(tokens, origin.model, response.timestamp, usage_reason)
        shown = tokens or dict.fromkeys(TOKEN_FIELDS)
        if first_sound_at is not None and shown["output_tokens"] == 0:  # it was heard: this is no count
            shown, usage_reason = without_output(shown), OUTPUT_UNCOUNTED
            cost = replace(cost, notes=(*cost.notes, OUTPUT_UNCOUNTED))
        output_tokens, duration_s = shown["output_tokens"], wait.duration_s

        record = ResponseRecord(
            origin=origin,
            timestamp=utc_iso(response.timestamp),
            turn=response.turn,
            request_id=response.request_id,
            label=metrics.label if metrics else "",
            wait=wait,
            network_round_trip_s=self.network_round_trip_s,
            over_latency_budget=wait.over(self._settings.metrics_latency_budget_s),
            framework_duration_s=by_the_clock(metrics.duration) if metrics else None,
            tokens_per_second=output_tokens / duration_s if output_tokens is not None and duration_s else None,
            audio_s=response.audio_s,
            heard_s=response.heard_s,
            talk_over_s=self._turns.talk_over_s(response.playbacks),
            finish_reason=response.finish_reason,
            usage_messages=response.usage.messages,
            tokens=shown,
            usage_reason=usage_reason,
            cost_usd=None if cost.usd is None else float(cost.usd),
            cost_reason=cost.reason,
            cost_note="; ".join(cost.notes) or None,
            interrupted=response.interrupted,
            connection_lost=response.connection_lost,
        )
        if tokens is not None:
            self._bill.book(tokens, cost)
        if wait.time_to_first_audio_s is not None and wait.time_to_first_audio_from == "user_speech_end":
            self._waits_s.append(wait.time_to_first_audio_s)
        self._sums.responded(record, text_only=response.is_text_only, comes_first=response.comes_first)
        self._writer.write(record)
        self._tell_recorded()

    def _tell_recorded(self) -> None:
        if self.on_recorded is not None and not self._closed:
            self._failures.guard(self.on_recorded, self._bill)

    def _on_unbooked(self, tokens: Tokens, before: Tokens | None) -> None:
        """Usage that no response's record holds: how much, and what it adds to (`None`: to nothing)."""
        model, now = self._origin.model, time.time()
        cost = self._cost(tokens if before is None else added(before, tokens), model, now)
        if before is not None and cost.usd is not None:
            cost = replace(cost, usd=cost.usd - (self._cost(before, model, now).usd or 0))
        self._bill.book_alone(tokens, cost)
        self._tell_recorded()

    def _record_unanswered(self, waited_s: float, reason: Unanswered, request_id: str | None) -> None:
        logger.warning("the caller waited %.1f s and heard nothing: %s", waited_s, reason)
        record = UnansweredRecord(
            origin=self._origin,
            timestamp=utc_iso(time.time()),
            user_speech_end=utc_iso(time.time() - waited_s),
            waited_s=waited_s,
            reason=reason,
            request_id=request_id,
        )
        self._writer.write(record)

    def _session_record(self, end_reason: str) -> SessionRecord:
        bill = self._bill
        usage_reason = bill.usage_reason(self._sums)
        cost_usd, cost_reason, cost_note = bill.cost(usage_reason)
        waits_s = sorted(self._waits_s)
        return SessionRecord(
            origin=self._origin,
            timestamp=utc_iso(time.time()),
            sums=copy.deepcopy(self._sums),
            latency_budget_s=self._settings.metrics_latency_budget_s,
            context_compression=self._provider_session.context_compression,
            tokens=bill.tokens or dict.fromkeys(TOKEN_FIELDS, None if self._sums.responses else 0),
            usage_reason=usage_reason,
            cost_usd=cost_usd,
            cost_reason=cost_reason,
            cost_note=cost_note,
            unbooked_total_tokens=bill.unbooked_total_tokens,
            unbooked_cost_usd=None if bill.unbooked_usd is None else float(bill.unbooked_usd),
            time_to_first_audio_p50_s=percentile(waits_s, 0.50),
            time_to_first_audio_p95_s=percentile(waits_s, 0.95),
            time_to_first_audio_max_s=percentile(waits_s, 1.0),
            time_to_first_audio_reason=None if waits_s else "no answer to speech has a known wait",
            duration_s=time.monotonic() - self._began_at,
            end_reason=end_reason,
            price_data=self._prices.source,
            sinks={},
        )

    def _cost(self, tokens: Tokens | None, model: str, at: float, reason: str | None = None) -> Cost:
        if tokens is None:
            return Cost(None, reason)
        self._sums.price_date = utc_iso(at)[:10]
        return self._prices.cost(tokens, model, self._provider.price_list, at)

    # -- faults and the end

    def _on_error(self, event: ErrorEvent) -> None:
        if isinstance(event.error, RealtimeModelError):  # else of a part that the owner added, such as a TTS
            self._connection_is_lost()
            self._say_failure(event.error.error, recoverable=event.error.recoverable)

    def _connection_is_lost(self) -> None:
        self._responses.connection_lost()
        self._turns.connection_lost()

    def _say_failure(self, error: BaseException, *, recoverable: bool) -> None:
        failure = self._failure(error)
        count = self._sums.error(failure.kind)
        if not recoverable:
            logger.error(failure.happened)
            logger.error(failure.todo)
        elif count == 1:
            logger.warning("%s; reconnecting", failure.happened)
        elif math.log10(count).is_integer():  # a connection can close many times a second
            logger.warning("%s; reconnecting, %d times by now. %s", failure.happened, count, failure.todo)

    def _failure(self, error: BaseException) -> errors.Failure:
        return errors.describe(error, self._provider, connected=self.connected)

    def _on_close(self, event: CloseEvent) -> None:
        error = event.error
        self.close(self._failure(error.error).kind if isinstance(error, RealtimeModelError) else event.reason.value)

    def close(self, end_reason: str) -> None:
        """Records what is still open, then the session, and lets the writer drain. Only the first call counts. Never
        raises."""
        self._failures.guard(self._close, end_reason)

    def _close(self, end_reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._failures.guard(self._turns.close)
        self._failures.guard(self._responses.close)
        self._writer.close(self._session_record(self.end_reason or end_reason))

    async def aclose(self, reason: str = "") -> None:
        """`close`, then waits until every record is written, at most `writer.DRAIN_S`. A job's shutdown callback: where
        the session was not closed before, the job ended without one; its reason can be anybody's words."""
        self.close("job_crashed" if reason == "job crashed" else "job_shutdown")
        await self._writer.drained()
