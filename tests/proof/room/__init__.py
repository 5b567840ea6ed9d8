"""The agent in rooms of a real LiveKit server: where `livekit-server` is on the PATH."""
