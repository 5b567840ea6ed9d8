"""A key or a model that the server refuses: the person at the console reads two lines, and the program ends."""

import pytest

from tests.proof.scenarios import load
from tests.proof.wire.finished import finished_call


@pytest.mark.parametrize(
    ("scenario", "happened", "to_do", "kind"),
    [
        ("invalid-key", "refused the API key", "Set a valid GOOGLE_API_KEY in .env.local", "api_key_refused"),
        ("unknown-model", "not found for API version", "Set AGENT_MODEL", "model_not_found"),
    ],
)
async def test_two_lines_say_what_to_do(scenario: str, happened: str, to_do: str, kind: str) -> None:
    done = await finished_call(load(scenario))
    assert done.left
    first, second = done.problems
    assert happened in first
    assert to_do in second
    assert done.session["end_reason"] == kind
    assert done.responses == []
