"""What the reporting needs of the Google plugin's private parts. Fails when a new version lacks them."""

import inspect

import pytest
from google.genai import types
from livekit.plugins.google.realtime import realtime_api


@pytest.mark.parametrize("name", ["_handle_usage_metadata", "_handle_server_content", "_handle_go_away"])
def test_the_plugin_has_the_handler_that_is_listened_in_on(name: str) -> None:
    parameters = inspect.signature(getattr(realtime_api.RealtimeSession, name)).parameters
    assert len(parameters) == 2, "itself and the message"


@pytest.mark.parametrize(
    "name",
    [
        *("_current_generation", "_done: bool", "_pending_generation_fut", "_session_should_close"),
        *("def session_resumption_handle", "context_window_compression"),
    ],
)
def test_the_plugin_has_the_mark_that_is_read(name: str) -> None:
    assert name in inspect.getsource(realtime_api)


def test_the_service_tells_why_a_turn_is_complete() -> None:
    assert "turn_complete_reason" in types.LiveServerContent.model_fields
