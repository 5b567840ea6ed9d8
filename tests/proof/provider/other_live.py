"""A second provider, as somebody would add it: one file beside `google_live.py`. It is nobody's; it shows the seam.

It differs in all that the seam is for: its plugin tells a real time to first token, `input_speech_stopped` means that
the user has stopped, its failures have other words, its prices and key are its own.
"""

from collections.abc import Mapping

from realtime_metrics.errors import Failure
from realtime_metrics.provider import Provider


class OtherLive(Provider):
    title = "Other Live"
    price_list = "openai"
    voices = ("alloy", "sage")

    def missing_key(self, environ: Mapping[str, str]) -> str | None:
        return None if environ.get("OTHER_API_KEY") else "OTHER_API_KEY is not set: put it into .env.local"

    def failure(self, error: BaseException, text: str) -> Failure | None:
        if "session_expired" not in text:
            return None
        return Failure("session_expired", f"Other Live ends a session after an hour: {text}", "Begin a new call.")
