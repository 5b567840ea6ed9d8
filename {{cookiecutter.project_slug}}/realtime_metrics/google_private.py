"""What the Google plugin knows and does not tell: raw usage, `goAway`, compression. Only here is its private API used.

`RealtimeSession._handle_usage_metadata` turns Gemini's `UsageMetadata` into the framework's metrics and drops thoughts,
tool-use prompt tokens, cached content without details, VIDEO and DOCUMENT (read in livekit-plugins-google 1.8.9).
`emit` is synchronous, so the raw message can be kept for the listener while that method runs.
With a plugin that lacks these methods the agent runs on with the public figures, and the log says so.
`tests/test_google_private.py` fails when the plugin changes.
"""

from collections.abc import Callable
from typing import Any

from .logger import logger

USAGE_HANDLER = "_handle_usage_metadata"
GO_AWAY_HANDLER = "_handle_go_away"


class GooglePrivate:
    """Listens in on one realtime session of the Google plugin.

    Attributes:
        session: the realtime session.
        usage: the raw `UsageMetadata` while the plugin emits the metrics made of it; else `None`.
        generation_complete: whether the model had generated everything when that usage came; `None` where unknown.
        go_aways: how often the server announced the end of a connection; `None` where that cannot be known.
    """

    def __init__(self, realtime_session: Any) -> None:
        self.usage: Any = None
        self.generation_complete: bool | None = None
        self.go_aways: int | None = None
        self.session = realtime_session
        is_google = type(realtime_session).__module__.startswith("livekit.plugins.google")
        if not is_google:
            return
        self._wrap(USAGE_HANDLER, self._keep_usage)
        if self._wrap(GO_AWAY_HANDLER, self._count_go_away):
            self.go_aways = 0

    @property
    def resumption_handle(self) -> bool | None:
        """Whether the session holds a handle to resume its conversation with."""
        try:
            return self.session.session_resumption_handle is not None
        except AttributeError:
            return None

    @property
    def context_compression(self) -> bool | None:
        """Whether context-window compression was asked for."""
        try:
            return bool(self.session._opts.context_window_compression)
        except AttributeError:
            return None

    def _wrap(self, name: str, around: Callable[[Callable[[Any], None], Any], None]) -> bool:
        handler = getattr(self.session, name, None)
        if not callable(handler):
            logger.warning("this version of livekit-plugins-google has no %s: reporting its public figures only", name)
            return False
        setattr(self.session, name, lambda message: around(handler, message))
        return True

    def _keep_usage(self, handler: Callable[[Any], None], usage: Any) -> None:
        self.usage = usage
        try:
            self.generation_complete = self.session._current_generation._completed_timestamp is not None
        except AttributeError:
            self.generation_complete = None
        try:
            handler(usage)
        finally:
            self.usage = None

    def _count_go_away(self, handler: Callable[[Any], None], go_away: Any) -> None:
        self.go_aways = (self.go_aways or 0) + 1
        handler(go_away)
