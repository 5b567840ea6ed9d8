"""No test uses the person's keys and settings: neither their environment nor `.env.local` is read."""

import os
import re

PERSONAL = re.compile(r"(AGENT|METRICS|OTEL|GOOGLE|GEMINI|LIVEKIT|LK)_", re.IGNORECASE)

os.environ["PYTHON_DOTENV_DISABLED"] = "1"
for name in [name for name in os.environ if PERSONAL.match(name)]:
    del os.environ[name]
