"""What this package asks of a provider: usage, the end of a generation, words for failures, prices, voices, key.

`Provider` and `ProviderSession` work as they are with any plugin, from LiveKit's public interface alone. To add a
provider: a file with a `Provider` of its own beside `google_live.py`, and a `ProviderSession` only if its plugin tells
more. `startup.PROVIDER` chooses it, `agent.py` makes its model, `agent.toml` names model and voice, `pyproject.toml`
its plugin, `.env.example` its key. `demo/` and `tests/test_demo.py` are Gemini's: they go with it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from livekit.agents.llm import RealtimeSession
from livekit.agents.metrics import RealtimeModelMetrics

from .errors import Failure
from .usage import UsageMessage, from_metrics


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom a provider's session tells what it does. None of these raises. Moments are `time.monotonic()`."""

    generation_completed: Callable[[float], None]
    """The newest response is generated as a whole; some of it can be still to be played."""
    generation_ended: Callable[[float, str | None, bool], None]
    """Nothing more comes of the newest response: when, the provider's reason, and whether it is whole or was cut off
    with its connection."""
    turn_was_empty: Callable[[str | None], None]
    """The provider ended a turn in which it made no response; its reason."""
    usage_came_alone: Callable[[UsageMessage], None]
    """Usage has come that the plugin has no response for."""
    end_announced: Callable[[], None]
    """The provider has announced the end of the connection."""


class ProviderSession:
    """One realtime session, as LiveKit's interface alone tells it.

    Attributes:
        marks_ends: whether it calls the listener when a generation ends; else the metrics mark its end.
        marks_user_speech: whether the plugin's `input_speech_started` and `…_stopped` are the user's speech, as LiveKit
            has it.
        announces_ends: whether it calls the listener when the provider announces the end of the connection.
        context_compression: whether the provider shortens the context by itself; `None` where that is not known.
        tool_calls_have_usage: whether a tool call has usage of its own, which comes when the tool is done; else the
            answer's holds it.
        was_connected: whether it has been connected; the recorder keeps it.
    """

    marks_ends = False
    marks_user_speech = True
    announces_ends = False
    context_compression: bool | None = None
    tool_calls_have_usage = False
    was_connected = False

    @property
    def voice(self) -> str | None:
        """That it speaks with now; `None` where that is not known."""
        return None

    @property
    def has_usage(self) -> bool:
        """Whether the metrics that are being emitted are known to be its own."""
        return False

    def usage(self, metrics: RealtimeModelMetrics) -> UsageMessage:
        """What the metrics that are being emitted count."""
        return from_metrics(metrics)

    @property
    def can_resume(self) -> bool | None:
        """Whether a new connection would go on with the conversation; `None` where that is not known."""
        return None


class Provider:
    """A provider. This one tells nothing of its own."""

    title = "The realtime model"
    """Who it is, in a sentence."""
    logger = "livekit.plugins"
    """What the logger of its plugin is called."""
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
        return ProviderSession()
