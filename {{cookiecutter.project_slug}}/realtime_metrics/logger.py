"""The log of this package: a child of the framework's logger, so it is seen, and formatted, wherever that one is."""

import logging

logger = logging.getLogger("livekit.agents.realtime_metrics")


class OwnFailures:
    """What fails in the reporting itself: logged with its traceback, once for each place, and the call goes on."""

    def __init__(self) -> None:
        self._places: set[str] = set()

    def log(self, place: str) -> None:
        """Logs the exception that is being handled."""
        if place not in self._places:
            self._places.add(place)
            logger.exception("the metrics recorder failed in %s; the call goes on", place)
