"""No test uses the person's keys and settings: neither their environment nor `.env.local` is read."""

import os

from demo.agent_process import PERSONAL

os.environ["PYTHON_DOTENV_DISABLED"] = "1"
for name in [name for name in os.environ if PERSONAL.match(name)]:
    del os.environ[name]
