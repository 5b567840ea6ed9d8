"""What can fail between the agent and the provider: its kind, what happened, and what to do.

The plugin logs each failure several times with its traceback; `say_failures_plainly` leaves the two lines that help.
"""

import logging
import re
from dataclasses import dataclass

import pydantic
from google.genai.errors import APIError
from livekit.agents import APIConnectionError
from livekit.agents.llm import RealtimeError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

_PROVIDER_ERRORS = (
    APIError,
    APIConnectionError,
    ConnectionClosed,
    InvalidHandshake,
    RealtimeError,
    OSError,
    TimeoutError,
)
_NOISY_LOGGERS = ("livekit.agents", "livekit.plugins.google", "asyncio")
_KEY = re.compile(r"api.?key|unauthenticated|permission.denied", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure in words."""

    kind: str
    """Short and of bounded number: counts are kept by it."""
    happened: str
    todo: str


def describe(error: BaseException, *, connected: bool = True) -> Failure:
    """What `error`, raised between the agent and the provider, means for a person.

    `connected` says whether there was a connection before.

    Close codes, as measured of Gemini Live: 1007 is an invalid argument (a wrong key, or an exhausted context), 1008 a
    policy violation, usually a model the API does not have.
    """
    code, text = _code(error), _in_short(error)
    if isinstance(error, TimeoutError) or (_is_reply_timeout(error) and not connected):
        return Failure(
            "setup_timeout",
            "Gemini Live did not answer the connection's setup in time",
            "Check the network and what is between, such as a proxy, then try again.",
        )
    if _is_reply_timeout(error):
        return Failure(
            "reply_timeout",
            "Gemini Live did not begin a reply within 5 s",
            "If it goes on, see the provider's status page.",
        )
    if code in (401, 403) or _KEY.search(text):
        return Failure(
            "api_key_refused",
            f"Gemini Live refused the API key: {text}",
            "Set a valid GOOGLE_API_KEY in .env.local (aistudio.google.com makes one).",
        )
    if code == 429 or "RESOURCE_EXHAUSTED" in text:
        return Failure(
            "rate_limited",
            f"Gemini Live refused the connection, too many requests: {text}",
            "Wait, or raise the quota of the key's project.",
        )
    if code == 1008:
        return Failure(
            "policy_violation",
            f"Gemini Live closed the connection, policy violation (1008): {text}",
            "Usually it is the model: set AGENT_MODEL (`model` in agent.toml) to a live model that this key may use.",
        )
    if code == 1007:
        return Failure(
            "invalid_argument",
            f"Gemini Live closed the connection, invalid argument (1007): {text}",
            "The context is exhausted (see AGENT_CONTEXT_COMPRESSION) or a setting is not supported by this model.",
        )
    if code is not None:
        closed = code >= 1000
        return Failure(
            f"connection_closed_{code}" if closed else f"http_{code}",
            f"Gemini Live {'closed' if closed else 'refused'} the connection ({code}): {text}",
            "If it goes on, see the provider's status page.",
        )
    if _is_malformed(error):
        return Failure(
            "malformed_message",
            "Gemini Live sent something that is no message of its protocol",  # its text could be what somebody said
            "If it goes on, look for a proxy that answers in its place.",
        )
    if isinstance(error, OSError):
        return Failure(
            "unreachable", f"Gemini Live cannot be reached: {text}", "Check the network, proxy and firewall."
        )
    return Failure(type(error).__name__, f"The realtime model failed: {text}", "The traceback in the log says where.")


def say_failures_plainly() -> None:
    """Keeps tracebacks of provider failures out of the log: the recorder says each in two lines. Safe to call twice."""
    for name in _NOISY_LOGGERS:
        target = logging.getLogger(name)
        if not any(isinstance(known, _ProviderTracebacks) for known in target.filters):
            target.addFilter(_ProviderTracebacks())


class _ProviderTracebacks(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        return error is None or not (isinstance(error, _PROVIDER_ERRORS) or _is_malformed(error))


def _code(error: BaseException) -> int | None:
    if isinstance(error, APIError):
        return error.code
    if isinstance(error, InvalidStatus):
        return error.response.status_code
    if isinstance(error, ConnectionClosed):
        return error.rcvd.code if error.rcvd else 1006
    return None


def _is_reply_timeout(error: BaseException) -> bool:
    return isinstance(error, RealtimeError) and "timed out" in str(error)


def _is_malformed(error: BaseException) -> bool:
    # google-genai raises a plain ValueError for what is no JSON
    return isinstance(error, pydantic.ValidationError) or str(error).startswith("Failed to parse response")


def _in_short(error: BaseException) -> str:
    """The first line, without the code that google-genai puts before it (`1008 None. …`)."""
    line = next(iter(str(error).strip().splitlines()), "")
    return re.sub(r"^\d{3,4} \w+\. ?", "", line)[:200] or "no reason given"
