"""Records in the framework's own log, which `start` writes as JSON."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from livekit.agents.cli.log import JsonFormatter

from realtime_metrics.records import AnyRecord
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.log import LogSink
from tests.fakes.samples import connection_record, response_record, session_record


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a job's process logs, with the formatter of `start`."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    framework = logging.getLogger("livekit.agents")
    level = framework.level
    framework.addHandler(handler)
    framework.setLevel(logging.INFO)
    yield stream
    framework.removeHandler(handler)
    framework.setLevel(level)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (connection_record(), "metrics of connection"),
        (response_record(), "metrics of response 2"),
        (session_record(), "metrics of session"),
    ],
)
def test_a_record_is_one_json_line_with_the_record_under_metrics(
    log: io.StringIO, record: AnyRecord, message: str
) -> None:
    sink = LogSink(Settings())
    sink.write(record)
    sink.close()
    (line,) = log.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["message"] == message
    assert entry["level"] == "INFO"
    assert entry["name"] == "livekit.agents.realtime_metrics"
    assert entry["metrics"] == record.as_dict()


def test_figures_are_numbers_and_unknown_is_null(log: io.StringIO) -> None:
    LogSink(Settings()).write(response_record(cost_usd=None, cost_reason="no price"))
    metrics = json.loads(log.getvalue())["metrics"]
    assert metrics["total_tokens"] == 205
    assert metrics["time_to_first_audio_s"] == 0.616
    assert metrics["cost_usd"] is None
