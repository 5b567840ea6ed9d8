"""The agent, as the demo runs it: with a sink that shows the first response as a table, and the others as lines.

So that the conversation stays in sight. `DEMO_AGENT` names the agent's module.
"""

import importlib
import os

from livekit.agents import AgentServer

from realtime_metrics.records import AnyRecord, ResponseRecord, SessionRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks import SINKS
from realtime_metrics.sinks.base import Sink
from realtime_metrics.sinks.console import ConsoleSink
from realtime_metrics.sinks.line import LineSink


class DemoSink(Sink):
    """Tables for the first response and the session, lines for the rest."""

    def __init__(self, settings: Settings) -> None:
        self._tables, self._lines = ConsoleSink(settings), LineSink(settings)

    def write(self, record: AnyRecord) -> None:
        is_first = isinstance(record, ResponseRecord) and record.turn == 1
        (self._tables if is_first or isinstance(record, SessionRecord) else self._lines).write(record)


# the agent's module reads its settings, and so looks for the sink, when it is imported
SINKS["demo"] = lambda: DemoSink
server: AgentServer = importlib.import_module(os.environ["DEMO_AGENT"]).server
