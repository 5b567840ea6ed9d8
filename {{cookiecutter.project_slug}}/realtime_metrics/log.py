"""The log of this package: a child of the framework's logger, so it is seen, and formatted, wherever that one is.

Text from outside (a provider's reason, a room's name, an exception) is cleaned before a log, a terminal or a record
gets it.
"""

import logging
import re
import sys
import traceback
from collections.abc import Callable
from typing import TypeVarTuple

logger = logging.getLogger("livekit.agents.realtime_metrics")

Ts = TypeVarTuple("Ts")

_USER_OF_ADDRESS = re.compile(r"(?<=://)\S*@|[^\s/:@]+:[^\s/@]+@(?=\w)")
_QUERY_OF_ADDRESS = re.compile(r"(?<=://)([^\s?#]*)[?#]\S*|\?[^\s?]*=\S*")
_SECRET = re.compile(
    r"""\b(?:AIza[\w-]{10,}|ya29\.[\w.-]+|(?:Bearer|Basic)\s+\S+
    |[\w-]{0,40}(?:api[_-]?(?:key|secret)|token|secret|password|authorization)["']?\s*[=:]\s*["']?(?:(?:Bearer|Basic)\s+)?\S+)""",
    re.IGNORECASE | re.VERBOSE,
)


def clean(text: object, most: int = 200) -> str:
    """Foreign text as one line that is safe to show: `visible`, without the user, password and query of an address,
    without keys, and not longer than `most` characters."""
    line = visible(str(text)[: 4 * most], " ")
    line = _QUERY_OF_ADDRESS.sub(r"\1?…", _USER_OF_ADDRESS.sub("…@", line))
    line = " ".join(_SECRET.sub("…", line).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def visible(text: str, instead: str = "\N{REPLACEMENT CHARACTER}") -> str:
    """The text with something visible `instead` of every character that could steer a terminal, begin a new line, or
    turn a line around: control, escape, bidi and other invisible characters, halves of surrogate pairs."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else instead for sign in text)


def print_any_text() -> None:
    """Lets a program print every character: a terminal without UTF-8 is no reason to fail, and a pipe or a file on
    Windows takes it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace", **({"encoding": "utf-8"} if sys.platform == "win32" else {}))


def in_a_line(error: BaseException | None) -> str:
    """Its type and its text, which can quote what came from outside, cleaned. Never raises."""
    return clean("".join(traceback.format_exception_only(error)))


class OwnFailures:
    """What fails in the reporting itself: logged with its traceback, once for each place, and the call goes on."""

    def __init__(self) -> None:
        self._places: set[str] = set()

    def guard(self, action: Callable[[*Ts], object], *arguments: *Ts) -> None:
        """Does something that must not raise into the call."""
        try:
            action(*arguments)
        except Exception as error:
            place = getattr(action, "__qualname__", "a listener")
            if place not in self._places:
                self._places.add(place)
                where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
                what = f"the metrics recorder failed in {place}; the call goes on: {in_a_line(error)}"
                logger.error("%s\n%s", what, where)

    def guarded(self, action: Callable[[*Ts], object]) -> Callable[[*Ts], None]:
        """The action, so that it never raises into the call."""

        def guarded(*arguments: *Ts) -> None:
            self.guard(action, *arguments)

        return guarded
