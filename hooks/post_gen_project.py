"""Tells the next commands. It runs in the rendered project, touches nothing, and stays silent in a cruft update.

cruft renders into temporary folders, where these commands would lead nobody; only cookiecutter sets `_output_dir`.
A hook that fails costs the person the rendered project: so nothing that goes wrong with the telling counts.
"""

import os  # not pathlib: importing it takes as long as starting Python
import sys

NEXT = f"""
Your agent is ready. Next:

    cd "{os.getcwd()}"
    uv run -m demo             a whole call, offline: no keys, no microphone
    uv run agent.py console    talk to it (.env.example says where keys go)
"""  # noqa: PTH109

# Where standard output was closed, Python has none.
if int("{{ ('_output_dir' in cookiecutter) | int }}") and sys.stdout:
    try:
        print(NEXT.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding), flush=True)
    except OSError:  # nobody reads any more, so Python's own flush at the end would fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
