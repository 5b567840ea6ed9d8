"""What the reports cost the event loop, beside the published recipe: `uv run -m bench`."""
