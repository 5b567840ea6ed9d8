"""Every knob, typed: the environment over `agent.toml` over the defaults. `startup` checks them before a call.

A blank environment variable means unset, except `LIVEKIT_AGENT_NAME`, where blank means automatic dispatch.
"""

import hashlib
import json
import os
import re
import socket
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from multiprocessing import current_process
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from dotenv import load_dotenv
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

PROJECT = Path(__file__).resolve().parent.parent
AGENT_TOML = PROJECT / "agent.toml"


def _known(name: str, info: ValidationInfo) -> str:
    known: Collection[str] = (info.context or {}).get(info.field_name) or [name]
    if (found := next((each for each in known if each.lower() == name.lower()), None)) is None:
        raise ValueError(f"there is no {name!r}: choose from {', '.join(known)}")
    return found


def _split(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    names = list(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not names and (known := (info.context or {}).get(info.field_name)):
        raise ValueError(f"names no sink: choose from {', '.join(known)}")
    return names


Known = Annotated[str, AfterValidator(_known)]
"""A name that there is, of those that `read_settings` was given, however it is capitalized."""
Stripped = Annotated[str, AfterValidator(str.strip)]
Port = Annotated[int, Field(ge=0, le=65535)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def in_job_process() -> bool:
    """Whether an agent server started this process for its jobs; it has checked the settings already."""
    # `parent_process()` would not know yet: a job's process imports agent.py while it is being set up
    return current_process().name != "MainProcess"


def livekit_url_problem(url: str) -> str | None:
    """Why the LiveKit server cannot be at this `LIVEKIT_URL`, in a line that says what is allowed."""
    try:
        address = urlsplit(url)
        if address.scheme in ("ws", "wss", "http", "https") and address.hostname and address.port != 0:
            return None
    except ValueError:  # a bracket that is left open, a port that is none
        pass
    return f"LIVEKIT_URL={url!r} is no address: it has to be like wss://HOST (or ws://, http://, https://)"


def listening_problem(host: str, port: int) -> str | None:
    """Why a server cannot listen there: `host` as the framework takes it, port 0 for any."""
    try:
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            socket.create_server(address, family=family).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: no name can be like this
        return str(getattr(error, "strerror", error)).partition(" (")[0]  # Python repeats the address behind it
    return None


class SettingsError(Exception):
    """Settings that cannot work; `problems` has one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Settings(BaseModel):
    """What this agent is and where its figures go. Field names are the keys of `agent.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Stripped = ""
    """The name LiveKit dispatches by; empty: automatic dispatch."""
    voice: Known = "Puck"
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    model: Annotated[Stripped, Field(min_length=1)] = "gemini-2.5-flash-native-audio-preview-12-2025"
    instructions: Annotated[str, Field(min_length=1)] = "You are a helpful voice AI assistant."
    greeting: str = ""
    """What the agent is asked to say first; empty: what it likes."""
    context_compression: bool = True
    """Lets Gemini shorten the context: without it an audio session ends after about 15 minutes."""
    host: Annotated[str, Field(pattern=r"^[\w.:%*-]*$")] | None = None
    """Address of the health check and of `/metrics`; unset: see `startup.server_options`."""
    port: Port | None = None
    """Of the health check; unset: the framework's (8081 for `start`)."""
    drain_timeout_s: Annotated[int, Field(ge=1)] | None = None
    """How long a server that is told to stop lets its calls go on; unset: the framework's (an hour)."""
    metrics_sinks: Annotated[tuple[Known, ...], BeforeValidator(_split)] = ("console",)
    metrics_jsonl_path: Path = Path("metrics.jsonl")
    metrics_latency_budget_s: Positive | None = None
    """The longest time to first audio that is within budget."""
    metrics_answer_limit_s: Positive = 8.0
    """After so long without a sound, the caller was not answered."""
    metrics_cost_limit_usd: Positive | None = None
    """A call that costs more says goodbye and ends; unset: no limit."""
    metrics_prices_path: Path | None = None
    """A team's own prices, see `prices`."""
    metrics_prometheus_port: Port = 9464
    """Where the agent server serves `/metrics` with the prometheus sink."""

    _in_agent_toml: frozenset[str] = frozenset()

    def named(self, key: str) -> str:
        """A setting and its value, as whoever set it wrote it."""
        return _named(key, str(getattr(self, key)), in_file=key in self._in_agent_toml)

    def revision(self, tools: Iterable[str]) -> str:
        """8 hexadecimal digits that change with what the model is told: its figures belong to this revision.

        Args:
            tools: the names of the agent's tools; of a toolset, its own.
        """
        heard = [self.model, self.voice, self.temperature, self.instructions, self.greeting, sorted(tools)]
        return hashlib.sha256(json.dumps(heard).encode("utf-8", "surrogatepass")).hexdigest()[:8]


ENVIRONMENT = {
    key: key.upper() if key.startswith("metrics_") else f"AGENT_{key.upper()}" for key in Settings.model_fields
}
ENVIRONMENT["name"] = "LIVEKIT_AGENT_NAME"
"""Key in `agent.toml` -> environment variable."""


def load_secrets() -> None:
    """Puts what `.env.local` holds into the environment, but for what is there already.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        load_dotenv(PROJECT / ".env.local", encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "save it as UTF-8"
        raise SettingsError([f".env.local cannot be read: {why}"]) from None


def read_settings(
    environ: Mapping[str, str] | None = None, *, sinks: Collection[str] = (), voices: Collection[str] = ()
) -> Settings:
    """The settings of this project.

    Args:
        environ: the environment; `os.environ` unless given.
        sinks: the names that a sink can have; any unless given.
        voices: the voices that there are; any unless given.

    Raises:
        SettingsError: with every problem that was found.
    """
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {key: environ[name] for key, name in ENVIRONMENT.items() if environ.get(name, "").strip()}
    if "LIVEKIT_AGENT_NAME" in environ:
        given["name"] = environ["LIVEKIT_AGENT_NAME"]
    try:
        in_file = _agent_toml()
        settings = Settings.model_validate(in_file | given, context={"metrics_sinks": sinks, "voice": voices})
    except ValidationError as error:
        raise SettingsError([_in_words(detail, given) for detail in error.errors()]) from None
    settings._in_agent_toml = frozenset(in_file) - given.keys()
    return settings


def _agent_toml() -> dict[str, Any]:
    text = ""
    try:
        text = AGENT_TOML.read_text("utf-8-sig")  # editors on Windows put a mark before it
        return tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError([f"agent.toml cannot be read: {_setting_in(str(error), text)}{error}"]) from None


def _setting_in(message: str, text: str) -> str:
    """The setting whose line a TOML error names."""
    number = re.search(r"at line (\d+)", message)
    key = text.splitlines()[int(number[1]) - 1].partition("=")[0].strip() if number else ""
    return f"{key}: " if key in ENVIRONMENT else ""


def _named(key: str, value: Any, *, in_file: bool) -> str:
    return f"agent.toml: {key} = {value!r}" if in_file else f"{ENVIRONMENT[key]}={value!r}"


def _in_words(detail: Any, given: Mapping[str, str]) -> str:
    """A line of one pydantic error: setting, value, and what is allowed."""
    key = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return f"agent.toml: {key!r} is no setting: choose from {', '.join(ENVIRONMENT)}"
    where = _named(key, given.get(key, detail["input"]), in_file=key not in given)
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}"
