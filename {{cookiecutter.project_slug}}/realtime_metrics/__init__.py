"""Honest figures for a LiveKit realtime agent: what each response cost and how long the user waited for it."""
