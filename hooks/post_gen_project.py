"""Tells the next commands. It runs in the rendered project, touches nothing, and stays silent in a cruft update.

cruft renders into temporary folders, where these commands would lead nobody; only cookiecutter sets `_output_dir`.
"""

import os  # not pathlib: importing it takes as long as starting Python

if int("{{ ('_output_dir' in cookiecutter) | int }}"):
    print(f"""
Your agent is ready. Next:

    cd "{os.getcwd()}"
    uv run -m demo             a whole call with its reports, offline: no keys, no microphone
    uv run agent.py console    talk to it: first copy .env.example to .env.local and fill in the keys
""")  # noqa: PTH109
