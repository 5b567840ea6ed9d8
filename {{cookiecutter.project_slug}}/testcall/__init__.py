"""A caller with a stopwatch, in a real room: `uv run -m testcall`."""
