"""What can fail between the agent and the provider: its kind, what happened, and what to do.

The plugin logs each failure several times with its traceback; `say_failures_plainly` leaves the two lines that help.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livekit.agents import APIConnectionError, APITimeoutError
from livekit.agents.llm import RealtimeError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .log import clean, visible

if TYPE_CHECKING:
    from .provider import Provider

STATUS_PAGE = "If it goes on, see the provider's status page."
CLOSE_CODES = (1000, 1001, 1002, 1006, 1007, 1008, 1009, 1011, 1012, 1013)
HTTP_STATUSES = (400, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504)
"""Those that are counted by their number; all others are one kind."""

_FAILURES = (APIConnectionError, ConnectionClosed, InvalidHandshake, RealtimeError)
_NOISY_LOGGERS = ("livekit", "livekit.agents", "livekit.plugins.google", "asyncio")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure in words."""

    kind: str
    """Short and of bounded number: counts are kept by it."""
    happened: str
    todo: str


def describe(error: BaseException, provider: "Provider", *, connected: bool = True) -> Failure:
    """What `error`, raised between the agent and the provider, means for a person.

    `connected` says whether there was a connection before.
    """
    who, text = provider.title, short(error)
    if isinstance(error, TimeoutError | APITimeoutError) or (is_reply_timeout(error) and not connected):
        return Failure(
            "setup_timeout",
            f"{who} did not answer the connection's setup in time",
            "Check the network and what is between, such as a proxy, then try again.",
        )
    if is_reply_timeout(error):
        return Failure("reply_timeout", f"{who} did not begin a reply within 5 s", STATUS_PAGE)
    if (failure := provider.failure(error, text)) is not None:
        return failure
    code = close_code(error)
    if code is not None:
        return closed(who, code, text)
    if (status := http_status(error)) is not None:
        kind = f"http_{status}" if status in HTTP_STATUSES else "http_error"
        return Failure(kind, f"{who} refused the connection ({status}): {text}", STATUS_PAGE)
    if isinstance(error, OSError | APIConnectionError):
        return Failure("unreachable", f"{who} cannot be reached: {text}", "Check the network, proxy and firewall.")
    return Failure(
        "unexpected", f"{who} failed: {type(error).__name__}: {text}", "The traceback in the log says where."
    )


def closed(who: str, code: int, text: str) -> Failure:
    """A connection that was closed with a code that says no more."""
    kind = f"connection_closed_{code}" if code in CLOSE_CODES else "connection_closed"
    return Failure(kind, f"{who} closed the connection ({code}): {text}", STATUS_PAGE)


def short(error: BaseException) -> str:
    """The first line of its message, cleaned."""
    return clean(next(iter(str(error).strip().splitlines()), "")) or "no reason given"


def close_code(error: BaseException) -> int | None:
    """The code that a connection was closed with; 1006: without a word."""
    if isinstance(error, ConnectionClosed):
        return error.rcvd.code if error.rcvd else 1006
    return None


def http_status(error: BaseException) -> int | None:
    """The status that a connection was refused with."""
    return error.response.status_code if isinstance(error, InvalidStatus) else None


def is_reply_timeout(error: BaseException) -> bool:
    """Whether a reply was asked for and did not begin."""
    return isinstance(error, RealtimeError) and "timed out" in str(error)


def passed_through(error: BaseException, package: str) -> bool:
    """Whether code of that package was at work when the error was raised."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith(package):
            return True
        trace = trace.tb_next
    return False


def say_failures_plainly(provider: "Provider") -> None:
    """Keeps tracebacks of provider failures out of the log: the recorder says each in two lines; and what the framework
    quotes of others steers no terminal. Safe to call twice."""
    for name in _NOISY_LOGGERS:
        target = logging.getLogger(name)
        if not any(isinstance(known, _Plain) for known in target.filters):
            target.addFilter(_Plain(provider))


class _Plain(logging.Filter):
    def __init__(self, provider: "Provider") -> None:
        super().__init__()
        self._provider = provider

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None and self._is_said_elsewhere(error):
            return False
        with suppress(TypeError, ValueError):  # its arguments do not fit: logging says so
            record.msg, record.args = visible(record.getMessage()), None
        for name, value in vars(record).items():
            if isinstance(value, str):
                setattr(record, name, visible(value))
        return True

    def _is_said_elsewhere(self, error: BaseException) -> bool:
        if isinstance(error, OSError) and passed_through(error, "livekit.plugins"):
            return True  # of a tool, it would be the owner's to see
        return isinstance(error, _FAILURES) or self._provider.failure(error, short(error)) is not None
