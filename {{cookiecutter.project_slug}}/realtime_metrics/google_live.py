"""All that is Gemini's: raw usage, the end of a generation, resumption, words for failures, prices, voices, key.

The Google plugin knows more than it tells: its `_handle_usage_metadata` turns Gemini's `UsageMetadata` into the
framework's metrics and drops thoughts, tool-use prompt tokens, cached content without details, VIDEO and DOCUMENT, and
all usage before the first generation (read in livekit-plugins-google 1.8.9). `emit` is synchronous, so the raw message
can be kept for whoever hears the metrics while that method runs. Only this file uses private names of the plugin; with
a plugin that lacks them the agent runs on with the public figures, and the log says so; a test fails.
"""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, get_args

import google.auth
import pydantic
from google.auth.exceptions import GoogleAuthError
from google.genai.errors import APIError
from google.genai.types import LiveServerContent, TurnCompleteReason, UsageMetadata
from livekit.agents.llm import RealtimeSession
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.plugins.google.realtime import Voice

from .errors import STATUS_PAGE, Failure, code_of, of_code, passed_through, short
from .log import OwnFailures, logger
from .provider import Listener, Provider, ProviderSession
from .usage import MODALITIES, TOKEN_FIELDS, Tokens, UsageMessage, counts_of, from_metrics

_GROUPS = {
    "input": ("prompt_token_count", "prompt_tokens_details"),
    "input_cached": ("cached_content_token_count", "cache_tokens_details"),
    "output": ("response_token_count", "response_tokens_details"),
    "tool_use": ("tool_use_prompt_token_count", "tool_use_prompt_tokens_details"),
}
"""Group of our counts -> Gemini's total and its details."""

_KEY = "Set a valid GOOGLE_API_KEY in .env.local (aistudio.google.com makes one)."
_QUOTA = "Wait, or raise the quota of the key's project."
_MODEL = "Set AGENT_MODEL (`model` in agent.toml) to a live model that this key may use."
_NEW_CALL = "A new call begins a new conversation; handles hold for about two hours."
_NOTHING = "Nothing: the agent connects anew."
_RANDOM = "It comes at random: try again. If it goes on, look at the model and the settings."
_ARGUMENT = "The context is exhausted (see AGENT_CONTEXT_COMPRESSION) or this model does not support a setting."
_WORDS = {
    r"reported as leaked": ("api_key_leaked", "refused the API key", f"Revoke it. {_KEY}"),
    r"^40[13] |api.?key|unauthenticated|permission.denied": ("api_key_refused", "refused the API key", _KEY),
    r"^429 |exceeded your current quota|resource.?exhausted|too many requests": (
        "rate_limited",
        "refused more requests",
        _QUOTA,
    ),
    r"models/\S+ is not found": ("model_not_found", "does not have the model", _MODEL),
    r"BidiGenerateContent session not found": (
        "session_expired",
        "no longer knows the conversation that was to be resumed",
        _NEW_CALL,
    ),
    r"after receiving a GoAway signal|Deadline expired before operation could complete": (
        "connection_expired",
        "ended the connection as announced",
        _NOTHING,
    ),
    r"not implemented, or supported, or enabled": (
        "not_supported",
        "says that the operation is not supported",
        _RANDOM,
    ),
    r"^1008 ": ("policy_violation", "closed the connection (1008)", STATUS_PAGE),
    r"^1007 ": ("invalid_argument", "closed the connection, invalid argument (1007)", _ARGUMENT),
}
"""Close code or status and reason, as seen on the real service -> kind, what happened, what to do."""


class GoogleLive(Provider):
    """Gemini Live, on the Gemini API or Vertex AI; both bill by Google's price list."""

    title = "Gemini Live"
    logger = "livekit.plugins.google"
    price_list = "google"
    voices = get_args(Voice)

    def missing_key(self, environ: Mapping[str, str]) -> str | None:
        if environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").strip().lower() in ("1", "true"):
            return _missing_of_vertex(environ)
        if environ.get("GOOGLE_API_KEY", "").strip():
            return None
        return "GOOGLE_API_KEY is not set: put it into .env.local (aistudio.google.com makes one)"

    def failure(self, error: BaseException, text: str) -> Failure | None:
        if _is_malformed(error):  # its text could be what somebody said
            return Failure(
                "malformed_message",
                "Gemini Live sent something that is no message of its protocol",
                "If it goes on, look for a newer google-genai, or for a proxy that answers in its place.",
            )
        code = error.code if isinstance(error, APIError) else code_of(error)
        if code is None:
            return None
        text = re.sub(r"^\d{3,4} \w+\. ?", "", text) or "no reason given"  # google-genai puts `1008 None. ` before it
        for pattern, (kind, happened, todo) in _WORDS.items():
            if re.search(pattern, f"{code} {text}", re.IGNORECASE):
                return Failure(kind, f"Gemini Live {happened}: {text}", todo)
        return of_code(self.title, code, text) if code >= 1000 else None

    def watch(self, session: RealtimeSession[Any], listener: Listener) -> ProviderSession:
        return GoogleLiveSession(session, listener)


class GoogleLiveSession(ProviderSession):
    """Listens in on one realtime session of the Google plugin."""

    marks_ends = True
    marks_user_speech = False  # they are a generation's begin and end

    def __init__(self, session: RealtimeSession[Any], listener: Listener) -> None:
        self._session: Any = session
        self._listener = listener
        self._unclaimed: UsageMetadata | None = None
        """The usage that the plugin handles now, until the metrics that it makes of it have been heard."""
        self._finish_reason: str | None = None
        self._turn_is_explained = False
        """Whether the turn made a response, or was interrupted before. If neither, its end means that it was empty."""
        self._turn_has_just_ended = False
        self._whole = False
        """Whether the generation that goes on is generated as a whole."""
        self._failures = OwnFailures()
        with suppress(AttributeError):
            options: Any = session._opts  # type: ignore[attr-defined]
            self.context_compression = bool(options.context_window_compression)
            self.tool_calls_have_usage = bool(options.vertexai)  # as recorded
        # despite their names: a generation ended; one began by itself, or was interrupted
        explained = self._failures.guarded(self._on_turn_explained)
        session.on("input_speech_stopped", self._failures.guarded(self._on_generation_ended))
        session.on("input_speech_started", explained)
        session.on("generation_created", explained)
        if type(session).__module__.startswith("livekit.plugins.google"):
            self._listen_in("_handle_usage_metadata", self._usage_comes, self._usage_came)
            self._listen_in("_handle_server_content", self._content_comes, self._content_came)
            self.announces_ends = self._listen_in("_handle_go_away", self._go_away_comes)

    @property
    def voice(self) -> str | None:
        options = getattr(self._session, "_opts", None)
        return str(options.voice) if options is not None else None

    @property
    def has_usage(self) -> bool:
        return self._unclaimed is not None

    def usage(self, metrics: RealtimeModelMetrics) -> UsageMessage:
        raw, self._unclaimed = self._unclaimed, None
        return from_metrics(metrics) if raw is None else self._message(raw)

    @property
    def can_resume(self) -> bool | None:
        try:
            return self._session.session_resumption_handle is not None
        except AttributeError:
            return None

    @property
    def _generates(self) -> bool:
        generation = getattr(self._session, "_current_generation", None)
        return generation is not None and not generation._done

    def _message(self, raw: UsageMetadata) -> UsageMessage:
        message = from_raw(raw)
        # what comes between two turns, and counts a prompt only, is of the next one (seen of 3.1, spring 2026), though
        # the plugin may emit it for the one before
        early = message.of_prompt_only and not self._generates and not self._turn_has_just_ended
        return replace(message, of_next_response=early)

    def _listen_in(self, name: str, before: Callable[[Any], None], after: Callable[[Any], None] | None = None) -> bool:
        """Has the listeners called before the plugin's own handler, and after it."""
        handler = getattr(self._session, name, None)
        if not callable(handler):
            logger.warning("this version of livekit-plugins-google has no %s: reporting its public figures only", name)
            return False

        def with_listeners(message: Any) -> None:
            self._failures.guard(before, message)
            handler(message)
            if after is not None:
                self._failures.guard(after, message)

        setattr(self._session, name, with_listeners)
        return True

    def _usage_comes(self, raw: UsageMetadata) -> None:
        self._unclaimed = raw

    def _usage_came(self, raw: UsageMetadata) -> None:
        if self._unclaimed is None:
            return  # `usage` was asked for it
        self._unclaimed = None
        self._listener.usage_came_alone(self._message(raw))

    def _content_comes(self, content: LiveServerContent) -> None:
        self._turn_has_just_ended = bool(content.turn_complete)
        reason = content.turn_complete_reason and content.turn_complete_reason.name
        # figures are counted by it: one that a server makes up is no new one
        self._finish_reason = reason if reason is None or reason in TurnCompleteReason.__members__ else "OTHER"
        if (content.generation_complete or content.turn_complete) and self._generates and not self._whole:
            self._whole = True
            self._listener.generation_completed(time.monotonic())

    def _content_came(self, content: LiveServerContent) -> None:
        if content.turn_complete:
            # a request that is still to be answered has interrupted the turn before it began
            is_asked = getattr(self._session, "_pending_generation_fut", None) is not None
            if not (self._turn_is_explained or is_asked):
                self._listener.turn_was_empty(self._finish_reason)
            self._turn_is_explained = False

    def _go_away_comes(self, _: Any) -> None:
        self._listener.end_announced()

    def _on_turn_explained(self, _: object) -> None:
        self._turn_is_explained = True

    def _on_generation_ended(self, _: object) -> None:
        # a tool call ends one, too; a connection that ends cuts it off
        closes = getattr(self._session, "_session_should_close", None)
        whole = self._whole or closes is None or not closes.is_set()
        self._whole = False
        self._listener.generation_ended(time.monotonic(), self._finish_reason, whole)


def from_raw(usage: UsageMetadata) -> UsageMessage:
    """Counts of a google-genai `UsageMetadata`, all of them; absent is 0, as in its JSON (proto3)."""
    tokens: Tokens = dict.fromkeys(TOKEN_FIELDS, 0)
    tokens |= {"thoughts_tokens": usage.thoughts_token_count or 0, "total_tokens": usage.total_token_count or 0}
    for group, (total_name, details_name) in _GROUPS.items():
        total, details = getattr(usage, total_name) or 0, getattr(usage, details_name) or ()
        if not (total or details):
            continue
        modalities = dict.fromkeys(MODALITIES, 0)
        for detail in details:
            modality = (detail.modality or "").lower()
            if modality in modalities:
                modalities[modality] += detail.token_count or 0
        if group == "input_cached" and not total:  # cached content can come with details only
            total = sum(modalities.values())
        tokens |= counts_of(group, total, modalities)
    return UsageMessage(tokens)


def _missing_of_vertex(environ: Mapping[str, str]) -> str | None:
    try:
        _, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except GoogleAuthError as error:
        how = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
        return f"GOOGLE_GENAI_USE_VERTEXAI is set, and credentials cannot be had: {how} ({short(error)})"
    if project or environ.get("GOOGLE_CLOUD_PROJECT", "").strip():
        return None
    return "GOOGLE_CLOUD_PROJECT is not set: put it into .env.local (GOOGLE_GENAI_USE_VERTEXAI is set)"


def _is_malformed(error: BaseException) -> bool:
    """Whether google-genai could not read a message: what is no JSON, or of no type that it knows."""
    if str(error).startswith("Failed to parse response"):
        return True
    return isinstance(error, pydantic.ValidationError | TypeError) and passed_through(error, "google.genai")
