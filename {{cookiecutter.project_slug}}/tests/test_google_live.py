"""What the reporting needs of the Google plugin's private parts. Fails when a new version lacks them."""

import inspect

import pytest
from google.genai import types
from livekit.plugins.google.realtime import realtime_api


@pytest.mark.parametrize("name", ["_handle_usage_metadata", "_handle_server_content", "_handle_go_away"])
def test_the_plugin_has_the_handler_that_is_listened_in_on(name: str) -> None:
    parameters = inspect.signature(getattr(realtime_api.RealtimeSession, name)).parameters
    assert len(parameters) == 2, "itself and the message"


def test_the_plugin_has_the_marks_that_are_read() -> None:
    source = inspect.getsource(realtime_api)
    assert "_current_generation" in source
    assert "_session_should_close" in source
    assert "context_window_compression" in source
    assert "turn_complete_reason" in types.LiveServerContent.model_fields
