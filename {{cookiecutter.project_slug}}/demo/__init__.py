"""The same agent, offline: a local Gemini Live server and a user who speaks from a WAV file (`uv run -m demo`)."""
