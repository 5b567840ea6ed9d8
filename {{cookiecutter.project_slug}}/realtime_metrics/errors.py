"""What can fail between the agent and the provider: its kind, what happened, and what to do.

The plugin logs each failure several times with its traceback; `say_failures_plainly` leaves the two lines that help.
"""

import logging
import re
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from livekit.agents import APIConnectionError, APITimeoutError
from livekit.agents.llm import RealtimeError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .log import clean, visible

if TYPE_CHECKING:
    from .provider import Provider

CODES = {
    *(1000, 1001, 1002, 1006, 1007, 1008, 1009, 1011, 1012, 1013),
    *(400, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504),
}
"""Those that failures are counted by; a server that invents others makes no new kinds."""
STATUS_PAGE = "If it goes on, see the provider's status page."

_FAILURES = (APIConnectionError, ConnectionClosed, InvalidHandshake, OSError)
_OF_A_LOST_ROOM = re.compile(
    r"livekit::rtc_engine:.*(session close|resuming|restarting|reconnect)|livekit_signaling:"
    r"|failed to (send session event|publish agent transcription)|_SegmentSynchronizerImpl.aclose timed out"
)
"""What the framework says, at each try and of each thing that it cannot send, when the LiveKit server is gone."""
_NOISY_LOGGERS = ("livekit", "livekit.agents", "asyncio")


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
    no_reply = isinstance(error, RealtimeError) and "timed out" in str(error)
    if isinstance(error, TimeoutError | APITimeoutError) or (no_reply and not connected):
        return Failure(
            "setup_timeout",
            f"{who} did not answer the connection's setup in time",
            "Check the network and what is between, such as a proxy, then try again.",
        )
    if no_reply:
        return Failure("reply_timeout", f"{who} did not begin a reply within 5 s", STATUS_PAGE)
    if (failure := provider.failure(error, text)) is not None:
        return failure
    if (code := code_of(error)) is not None:
        return of_code(who, code, text)
    if isinstance(error, OSError | APIConnectionError):
        return Failure("unreachable", f"{who} cannot be reached: {text}", "Check the network, proxy and firewall.")
    return Failure(
        "unexpected", f"{who} failed: {type(error).__name__}: {text}", "The traceback in the log says where."
    )


def of_code(who: str, code: int, text: str) -> Failure:
    """A connection that was closed, or refused, with a code that says no more."""
    kind, did = ("http", "refused") if code < 1000 else ("connection_closed", "closed")
    number = code if code in CODES else "other"
    return Failure(f"{kind}_{number}", f"{who} {did} the connection ({code}): {text}", STATUS_PAGE)


def short(error: BaseException) -> str:
    """The first line of its message, cleaned."""
    return clean(next(iter(str(error).strip().splitlines()), "")) or "no reason given"


def code_of(error: BaseException) -> int | None:
    """What a connection was closed with (1006: without a word), or the HTTP status that it was refused with."""
    if isinstance(error, ConnectionClosed):
        return error.rcvd.code if error.rcvd else 1006
    return error.response.status_code if isinstance(error, InvalidStatus) else None


def passed_through(error: BaseException, package: str) -> bool:
    """Whether code of that package was at work when the error was raised."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(str(frame.f_globals.get("__name__", "")).startswith(package) for frame in frames)


def say_failures_plainly(provider: "Provider") -> None:
    """Keeps tracebacks of provider failures, and of a lost LiveKit server, out of the log, where two lines of ours say
    each; and what the framework quotes of others steers no terminal. Safe to call twice."""
    for name in (*_NOISY_LOGGERS, provider.logger):
        logging.getLogger(name).addFilter(_Plain(provider))  # no second one that is equal


@dataclass(frozen=True)
class _Plain:
    provider: "Provider"

    def filter(self, record: logging.LogRecord) -> bool:
        with suppress(Exception):  # of what is logged: its text, or its arguments do not fit; logging says so
            error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
            if error is not None and self._is_said_elsewhere(error):
                return False
            record.msg, record.args = record.getMessage(), None
            if record.exc_info and not record.exc_text:
                record.exc_text = logging.Formatter().formatException(record.exc_info)
        for name, value in vars(record).items():
            if isinstance(value, str):
                lines = "\n".join(map(visible, value.splitlines()))
                # all but the first are marked: none passes for a line of its own
                setattr(record, name, re.sub(r"\n(?! {4}\| )", "\n    | ", lines))
        return not _OF_A_LOST_ROOM.match(str(record.msg))  # `watch` says it

    def _is_said_elsewhere(self, error: BaseException) -> bool:
        if isinstance(error, RealtimeError):
            return True
        if error.__traceback__ is not None and not passed_through(error, "livekit.plugins"):
            return False  # that of a tool is the owner's to see
        return isinstance(error, _FAILURES) or self.provider.failure(error, short(error)) is not None
