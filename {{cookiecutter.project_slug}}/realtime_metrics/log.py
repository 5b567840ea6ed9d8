"""The log of this package: a child of the framework's logger, so it is seen, and formatted, wherever that one is.

Text from outside (a provider's reason, a room's name, an exception) is cleaned before a log or a terminal gets it.
"""

import logging
import re
import unicodedata
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("livekit.agents.realtime_metrics")

_MOST = 200
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY_IN_URL = re.compile(r"(?<=://)([^\s?#]*)[?#]\S*")
_SECRET = re.compile(
    r"\b(AIza[\w-]{10,}|ya29\.[\w.-]+|Bearer\s+\S+|(?:api[_-]?key|token|secret|password|authorization)\s*[=:]\s*\S+)",
    re.IGNORECASE,
)


def clean(text: object, most: int = _MOST) -> str:
    """Foreign text as one line that is safe to show: without control, escape, bidi and other invisible characters,
    without the user, password and query of an address, without keys, and not longer than `most` characters."""
    line = "".join(character if _is_visible(character) else " " for character in str(text)[: 20 * most])
    line = _QUERY_IN_URL.sub(r"\1?…", _USER_IN_URL.sub("…@", line))
    line = " ".join(_SECRET.sub("…", line).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _is_visible(character: str) -> bool:
    return character == " " or unicodedata.category(character)[0] not in "CZ"


class OwnFailures:
    """What fails in the reporting itself: logged with its traceback, once for each place, and the call goes on."""

    def __init__(self) -> None:
        self._places: set[str] = set()

    def guard(self, place: str, action: Callable[[Any], None], argument: Any) -> None:
        """Does something that must not raise into the call."""
        try:
            action(argument)
        except Exception:
            self.log(place)

    def log(self, place: str) -> None:
        """Logs the exception that is being handled."""
        if place not in self._places:
            self._places.add(place)
            logger.exception("the metrics recorder failed in %s; the call goes on", place)
