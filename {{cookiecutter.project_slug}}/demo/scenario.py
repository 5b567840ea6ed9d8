"""Scenarios: what the local Gemini Live server answers, what goes wrong, and what the user says to it.

A scenario is a TOML file in `scenarios/`, or an object made in Python. Times are seconds; every one can be 0.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from demo.speech import utterance

FOLDER = Path(__file__).parent / "scenarios"


class ScenarioError(Exception):
    """A scenario that does not exist or cannot be used; the text says which, and what is allowed."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Usage(_Part):
    """One `usageMetadata` message of a reply."""

    when: Literal["before", "heard", "early", "with", "late"] = "with"
    """Before anything else of the reply; after what was heard; after the first audio or text; on its `turnComplete`;
    `late_s` after that."""
    late_s: float = Field(0.2, ge=0)
    share: float = Field(1.0, ge=0)
    """How much of the reply the counts cover: below 1 for the earlier of growing snapshots, 0 for the prompt alone."""
    counts: dict[str, Any] | None = None
    """The payload as it goes on the wire; `{}` is what Gemini sends where it has nothing to tell. Made from what was
    heard and said if not given."""


class Fault(_Part):
    """What goes wrong in the middle of a reply."""

    kind: Literal["close", "go_away", "garbage", "unknown_message"]
    """The connection is closed; `goAway` is sent, and the connection closed `time_left_s` later, with 1011; what is no
    JSON is sent; a message is sent that has no key that google-genai knows."""
    after_audio_s: float = Field(0.0, ge=0)
    """How much of the reply's audio is sent before."""
    code: int = 1011
    """Of `close`."""
    reason: str = ""
    """Of `close`."""
    time_left_s: float = Field(50.0, ge=0)
    """Of `go_away`. The message says 50 s, whatever stands here."""


class ToolCall(_Part):
    """A function call that ends a reply. The scenario's next turn is the answer to the tool's result."""

    name: str
    args: dict[str, Any] = {}
    completes_turn: bool = False
    """Once the tool's result is there, the call's turn ends with its own `turnComplete` and usage (as on Vertex). Else
    there is none (as in AI Studio), and what is in `usage` goes with the call."""


class Reply(_Part):
    """What the server sends for one turn."""

    answer: Literal["speech", "nothing", "transcription", "empty", "rejected"] = "speech"
    """What comes: all of it; nothing at all; only what was heard; what was heard, then an empty `turnComplete`; the
    same with the reason `RESPONSE_REJECTED`."""
    text: str = ""
    """What the agent says (`outputTranscription`)."""
    audio_s: float = Field(0.0, ge=0)
    latency_s: float = Field(0.35, ge=0)
    """From noticing the end of the user's speech (or the request) until the first audio or text."""
    thought: str = ""
    """Sent before as a part that is marked as thought. Its tokens are billed; it is never spoken."""
    tool: ToolCall | None = None
    usage: tuple[Usage, ...] = (Usage(),)
    fault: Fault | None = None

    @property
    def answers(self) -> bool:
        """Whether anything is said, or called."""
        return self.answer == "speech"


class Turn(Reply):
    """One more turn: what the user says, and the reply to it."""

    user: str | None = None
    """What the user speaks: an utterance (`speech.toml`), a `.wav` file, or a sentence (`own_speech.py`). None: nobody
    does; the turn follows the one before by itself, or answers a tool's result."""
    typed: str | None = None
    """What the user types, instead of speaking."""
    heard: str | None = None
    """What the server understood (`inputTranscription`), if not the utterance's own words. Empty: none is sent."""
    speaks: Literal["after_reply", "while_agent_speaks", "before_agent_speaks"] = "after_reply"
    """When the user does. Where nobody speaks, the server itself interrupts the reply before."""
    pause_s: float = Field(0.3, ge=0)
    """From that moment until the user speaks (or the server begins by itself)."""


class Connect(_Part):
    """What happens to one attempt to connect."""

    http_status: int | None = None
    """The handshake is refused with this status."""
    close_code: int | None = None
    """The connection is closed: instead of the setup's answer, or, with `accept`, right after it."""
    reason: str = ""
    delay_s: float = Field(0.0, ge=0)
    """Until the setup is answered."""
    accept: bool = True
    """Whether the setup is answered. Neither answered nor closed: the client waits for ever."""


class Expect(_Part):
    """What a call with this scenario ends as, as the demo shows and checks it."""

    ends: Literal["user", "agent"] = "user"
    """Who ends it: the user hangs up after the last turn, or the agent gives up before."""
    responses: int | None = None
    """How many response records there are; None: not known in advance."""


class Scenario(_Part):
    """A whole call."""

    name: str = "unnamed"
    about: str = ""
    """One line for `--list`."""
    model: str | None = None
    """What the agent is to ask for (AGENT_MODEL), where it matters: each family of models has a wire of its own."""
    cost_limit_usd: float | None = Field(None, gt=0)
    """What the call may cost (METRICS_COST_LIMIT_USD), where it matters."""
    entrypoint: str = "agent.py"
    """The agent to run; `demo/tool_agent.py` is the same agent with a tool."""
    connects: tuple[Connect, ...] = ()
    """For the first attempts to connect, in order. Later ones succeed, unless `connects_repeat`."""
    connects_repeat: bool = False
    greeting: Reply | None = Reply(text="Hello!", audio_s=1.0)
    """The answer to the agent's first request for a reply. None: the turns begin at once."""
    turns: tuple[Turn, ...] = ()
    pace: float = Field(4.0, gt=0)
    """Audio is sent this many times faster than real time."""
    waits_for_playback: bool = True
    """Gemini delays `turnComplete` until it thinks that the reply has been played."""
    resumption: bool = True
    """Handles for session resumption are sent."""
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _user_can_speak(self) -> "Scenario":
        for turn in self.turns:
            if turn.user is not None:
                try:
                    utterance(turn.user)
                except ValueError as error:
                    raise ValueError(f"user = {error}") from None
            if turn.user is not None and turn.typed is not None:
                raise ValueError(f"user = {turn.user!r}, typed = {turn.typed!r}: a turn is spoken or typed, not both")
        return self

    def connect(self, attempt: int) -> Connect:
        """What happens to the attempt with this number, from 0."""
        if self.connects and (attempt < len(self.connects) or self.connects_repeat):
            return self.connects[min(attempt, len(self.connects) - 1)]
        return Connect()


def names() -> list[str]:
    """The scenarios that there are files of; `normal` first."""
    return sorted((path.stem for path in FOLDER.glob("*.toml")), key=lambda name: (name != "normal", name))


def load(name: str) -> Scenario:
    """The scenario with this name.

    Raises:
        ScenarioError: there is none, or its file is wrong.
    """
    if name not in names():
        raise ScenarioError(f"no scenario {name!r}; there are: {', '.join(names())}")
    return read(FOLDER / f"{name}.toml")


def read(path: Path) -> Scenario:
    """The scenario in a file.

    Raises:
        ScenarioError: the file is wrong; one line a problem.
    """
    try:
        return Scenario.model_validate({"name": path.stem, **tomllib.loads(path.read_text("utf-8"))})
    except ValidationError as error:
        raise ScenarioError("\n".join(_problems(path, error))) from None
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{path.name}: {error}") from None


def _problems(path: Path, error: ValidationError) -> list[str]:
    return [
        f"{path.name}: {'.'.join(map(str, problem['loc'])) or 'scenario'}: {problem['msg']}"
        for problem in error.errors()
    ]
