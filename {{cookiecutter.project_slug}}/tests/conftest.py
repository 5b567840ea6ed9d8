"""No test uses the person's keys and settings: neither their environment nor `.env.local` is read."""

import os
import re

import pytest

PERSONAL = re.compile(r"(AGENT|METRICS|OTEL|GOOGLE|GEMINI|LIVEKIT|LK)_", re.IGNORECASE)

os.environ["PYTHON_DOTENV_DISABLED"] = "1"
for name in [name for name in os.environ if PERSONAL.match(name)]:
    del os.environ[name]


def pytest_sessionstart() -> None:
    """A wrong `agent.toml` is told in words, as the agent does, before a test imports the agent."""
    from realtime_metrics.settings import SettingsError  # whose libraries look at the environment
    from realtime_metrics.startup import checked_settings

    try:
        checked_settings({}, [])
    except SettingsError as error:
        pytest.exit(str(error), returncode=2)
