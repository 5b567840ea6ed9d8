"""What this package asks of a provider: usage, the end of a generation, words for failures, prices, voices, key.

The two classes here are the defaults: they work with any plugin, from LiveKit's public interface alone. To add a
provider, put a file with its own two beside `google_live.py`, choose it in `startup.PROVIDER`, and let `agent.py` make
its model.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from livekit.agents.llm import RealtimeSession
from livekit.agents.metrics import RealtimeModelMetrics

from .errors import Failure
from .usage import UsageMessage, from_metrics


class Listener(Protocol):
    """Who is told what a provider's session does. Moments are `time.monotonic()`."""

    def generation_completed(self, at: float) -> None:
        """The newest response is generated as a whole; some of it can be still to be played."""

    def generation_ended(self, at: float, finish_reason: str | None, *, whole: bool) -> None:
        """Nothing more comes of the newest response, be it whole or cut off with its connection."""

    def turn_was_empty(self, finish_reason: str | None) -> None:
        """The provider ended a turn in which it made no response."""

    def usage_came_alone(self, message: UsageMessage) -> None:
        """Usage has come that the plugin has no response for."""

    def usage_was_malformed(self) -> None:
        """Usage has come that cannot be booked, and that the plugin has no response for."""


class ProviderSession:
    """One realtime session, as LiveKit's interface alone tells it.

    Attributes:
        marks_ends: whether it calls the listener when a generation ends; else the metrics mark its end.
        go_aways: how often the provider announced the end of a connection; `None` where it does not tell.
    """

    marks_ends = False
    go_aways: int | None = None

    def __init__(self, session: RealtimeSession[Any], listener: Listener) -> None: ...

    def usage(self, metrics: RealtimeModelMetrics) -> UsageMessage:
        """What the metrics that are being emitted count.

        Raises:
            MalformedUsageError: a count is none.
        """
        return from_metrics(metrics)

    @property
    def can_resume(self) -> bool | None:
        """Whether a new connection would go on with the conversation; `None` where that is not known."""
        return None

    @property
    def context_compression(self) -> bool | None:
        """Whether the provider shortens the context by itself; `None` where that is not known."""
        return None


class Provider:
    """A provider. This one tells nothing of its own."""

    title = "The realtime model"
    """Who it is, in a sentence."""
    price_list: str | None = None
    """Its id in genai-prices; `None`: the price list knows the model by its name."""
    voices: tuple[str, ...] = ()
    """The voices that it has; empty: any name goes."""

    def missing_key(self, environ: Mapping[str, str]) -> str | None:
        """Why it cannot be used with this environment, in a line that says what to do."""
        return None

    def failure(self, error: BaseException, text: str) -> Failure | None:
        """What `error` means, where the provider knows better than `errors`. `text` is its message, cleaned."""
        return None

    def watch(self, session: RealtimeSession[Any], listener: Listener) -> ProviderSession:
        """Listens to one of its sessions."""
        return ProviderSession(session, listener)
