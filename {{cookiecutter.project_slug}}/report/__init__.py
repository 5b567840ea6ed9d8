"""Looks back at the records of calls: `uv run -m report metrics.jsonl`."""
