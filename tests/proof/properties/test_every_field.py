"""Every field of every record is shown by the console and told by monitoring, or was left out on purpose."""

import io
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
from rich.console import Console

from realtime_metrics.records import AnyRecord, Unanswered
from realtime_metrics.sinks.console import _shown, rendered
from realtime_metrics.sinks.monitoring import FIGURES, measurements, origin
from realtime_metrics.usage import TOKEN_FIELDS
from realtime_metrics.waits import FirstAudioBy, FirstAudioFrom
from tests.fakes.samples import changed, connection_record, response_record, session_record, unanswered_record

CONSOLE_LEAVES_OUT = {
    **dict.fromkeys(("kind", "schema"), "the form of the JSON; the table's title says what it is"),
    **dict.fromkeys(("session_id", "room", "agent_name", "customer", "revision"), "on a terminal there is one call"),
    "connection.timestamp": "it is printed when it happens",
    "connection.voice": "each response says it",
    "unanswered.timestamp": "it is printed when it happens",
    **dict.fromkeys(("unanswered.provider", "unanswered.model", "unanswered.voice"), "each response says them"),
    "unanswered.user_speech_end": "the wait says it",
    "unanswered.request_id": "the response's own table comes with it",
    "session.timestamp": "it is printed when it happens",
    **dict.fromkeys(("session.provider", "session.model", "session.voice"), "each response says them"),
}
"""Field, of all kinds of records or of one -> why."""

MONITORING_LEAVES_OUT = {
    **dict.fromkeys(("session_id", "room", "customer", "revision", "request_id"), "a new series for every call"),
    **dict.fromkeys(("kind", "schema", "type", "label", "timestamp"), "the form of the JSON, or the scrape's own"),
    "voice": "a setting; it would multiply every series",
    "tools": "names that an owner chooses, of any number; `tools_s` is told",
}

NO_LABEL = {"session_id", "room", "customer", "revision", "request_id", "tools"}


