"""How much is tried: enough for every change, or, with `PROOF=long` (`make proof-long`), as much as is promised."""

import os

LONG = os.environ.get("PROOF") == "long"

FUZZED_CALLS = 10_000 if LONG else 200
"""Random calls whose records are held against the server's ledger."""
PLUGIN_CALLS = 500 if LONG else 75
"""Random calls whose ledger is held against what the plugin books."""
ORDERS_OF_EVENTS = 5000 if LONG else 150
SPOKEN_TURNS = 100 if LONG else 20
"""Waits that are held against a stopwatch."""
RANDOM_MESSAGES = 5000 if LONG else 500
"""Random JSON that the provider sends through the real plugin."""
RANDOM_EVENTS = 5000 if LONG else 500
"""Calls of random events that the recorder hears."""
