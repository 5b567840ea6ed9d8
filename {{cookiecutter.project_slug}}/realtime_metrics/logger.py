"""The log of this package: a child of the framework's logger, so it is seen, and formatted, wherever that one is."""

import logging

logger = logging.getLogger("livekit.agents.realtime_metrics")
