"""Every knob, typed and checked: the environment over `agent.toml` over the defaults.

A blank environment variable means unset, except `LIVEKIT_AGENT_NAME`, where blank means automatic dispatch.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from livekit.plugins.google.realtime import Voice
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .pricing import PriceFileError, price_list
from .sinks import SINKS, sink_type

PROJECT = Path(__file__).resolve().parent.parent
AGENT_TOML = PROJECT / "agent.toml"

Port = Annotated[int, Field(ge=0, le=65535)]

ENVIRONMENT = {
    "name": "LIVEKIT_AGENT_NAME",
    "voice": "AGENT_VOICE",
    "temperature": "AGENT_TEMPERATURE",
    "model": "AGENT_MODEL",
    "instructions": "AGENT_INSTRUCTIONS",
    "context_compression": "AGENT_CONTEXT_COMPRESSION",
    "host": "AGENT_HOST",
    "port": "AGENT_PORT",
    "metrics_sinks": "METRICS_SINKS",
    "metrics_jsonl_path": "METRICS_JSONL_PATH",
    "metrics_latency_budget_s": "METRICS_LATENCY_BUDGET_S",
    "metrics_prices_path": "METRICS_PRICES_PATH",
    "metrics_prometheus_port": "METRICS_PROMETHEUS_PORT",
}
"""Key in `agent.toml` -> environment variable."""

_CONNECTED_COMMANDS = {"dev", "start"}
_LIVEKIT_KEYS = {"LIVEKIT_URL": "--url", "LIVEKIT_API_KEY": "--api-key", "LIVEKIT_API_SECRET": "--api-secret"}


class SettingsError(Exception):
    """Settings that cannot work; `problems` has one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class Settings(BaseSettings):
    """What this agent is and where its figures go. Field names are the keys of `agent.toml`."""

    model_config = SettingsConfigDict(toml_file=AGENT_TOML, extra="forbid", frozen=True)

    name: str = ""
    """The name LiveKit dispatches by; empty: automatic dispatch."""
    voice: Voice = "Puck"
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    model: Annotated[str, Field(min_length=1)] = "gemini-2.5-flash-native-audio-preview-12-2025"
    instructions: str = "You are a helpful voice AI assistant."
    context_compression: bool = True
    """Lets Gemini shorten the context: without it an audio session ends after about 15 minutes."""
    host: str | None = None
    """Address of the health check and of `/metrics`; unset: see `server_host`."""
    port: Port | None = None
    """Of the health check; unset: the framework's (8081 for `start`)."""
    metrics_sinks: Annotated[tuple[str, ...], NoDecode] = ("console",)
    metrics_jsonl_path: Path = Path("metrics.jsonl")
    metrics_latency_budget_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The longest time to first audio that is within budget."""
    metrics_prices_path: Path | None = None
    """A team's own prices, see `pricing`."""
    metrics_prometheus_port: Port = 9464
    """Where the agent server serves `/metrics` with the prometheus sink."""

    @field_validator("metrics_sinks", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("metrics_sinks")
    @classmethod
    def _known_sinks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in SINKS]:
            raise ValueError(f"no sink is called {', '.join(unknown)}: choose from {', '.join(SINKS)}")
        return tuple(dict.fromkeys(names))

    @property
    def server_host(self) -> str | None:
        """The address that the agent server listens at; with figures to show, this machine's own unless a setting opens
        it; without, `None`: the framework's, which is every one."""
        return self.host or ("127.0.0.1" if "prometheus" in self.metrics_sinks else None)

    def server_options(self) -> dict[str, Any]:
        """What the `AgentServer` is to be made with, beyond its defaults."""
        options: dict[str, Any] = {"host": self.server_host, "port": self.port}
        if "prometheus" in self.metrics_sinks:
            from .sinks.prometheus_files import shared_directory

            options["prometheus_port"] = self.metrics_prometheus_port
            options["prometheus_multiproc_dir"] = shared_directory()
        return {name: value for name, value in options.items() if value is not None}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(environ: Mapping[str, str] | None = None, argv: Sequence[str] | None = None) -> Settings:
    """The settings, checked; a wrong one ends the program before a call comes, with one line a problem.

    Args:
        environ: the environment; `os.environ` unless given.
        argv: the command line, for what only some commands need; `sys.argv` unless given.
    """
    try:
        return checked_settings(os.environ if environ is None else environ, sys.argv if argv is None else argv)
    except SettingsError as error:
        sys.exit(str(error))


def checked_settings(environ: Mapping[str, str], argv: Sequence[str]) -> Settings:
    """Like `load_settings`.

    Raises:
        SettingsError: with every problem that was found.
    """
    command = argv[1] if len(argv) > 1 else ""
    problems = _missing_keys(environ, argv, command) + _missing_port_audio(argv, command)
    given = {key: environ[name] for key, name in ENVIRONMENT.items() if environ.get(name, "").strip()}
    if "LIVEKIT_AGENT_NAME" in environ:
        given["name"] = environ["LIVEKIT_AGENT_NAME"].strip()
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError([*(_in_words(detail, given) for detail in error.errors()), *problems]) from None
    except ValueError as error:  # what is no TOML
        raise SettingsError([f"agent.toml cannot be read: {error}", *problems]) from None
    problems = _unusable(settings) + problems
    if problems:
        raise SettingsError(problems)
    return settings


def _unusable(settings: Settings) -> list[str]:
    """What is well-formed but cannot work here."""
    found = [sink_type(name).problem(settings) for name in settings.metrics_sinks]
    if settings.metrics_prices_path is not None:
        try:
            price_list(settings.metrics_prices_path)
        except PriceFileError as error:
            found.append(f"METRICS_PRICES_PATH={str(settings.metrics_prices_path)!r}: {error}")
    return [problem for problem in found if problem]


def _in_words(detail: Any, given: Mapping[str, str]) -> str:
    """A line of one pydantic error: setting, value, and what is allowed."""
    key = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        return f"agent.toml: {key!r} is no setting: choose from {', '.join(ENVIRONMENT)}"
    where = f"{ENVIRONMENT[key]}={given[key]!r}" if key in given else f"agent.toml: {key} = {detail['input']!r}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "literal_error":
        message = f"choose from {', '.join(get_args(Voice))}"
    return f"{where}: {message[0].lower()}{message[1:]}"


def _missing_keys(environ: Mapping[str, str], argv: Sequence[str], command: str) -> list[str]:
    problems = []
    vertex = environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").strip().lower() in ("1", "true")
    if command in _CONNECTED_COMMANDS | {"console"} and not vertex and not environ.get("GOOGLE_API_KEY", "").strip():
        problems.append("GOOGLE_API_KEY is not set: put it into .env.local (aistudio.google.com makes one)")
    if command in _CONNECTED_COMMANDS:
        for name, option in _LIVEKIT_KEYS.items():
            if not environ.get(name, "").strip() and not any(word.split("=")[0] == option for word in argv):
                problems.append(f"{name} is not set: put it into .env.local (`{command}` connects to a LiveKit server)")
    return problems


def _missing_port_audio(argv: Sequence[str], command: str) -> list[str]:
    if command != "console" or any(word.split("=")[0] == "--connect-addr" for word in argv):
        return []  # nobody needs it: the LiveKit CLI has its own
    try:
        import sounddevice  # noqa: F401
    except OSError:
        return [
            "`console` needs PortAudio, which is not installed: `sudo apt install libportaudio2` (Debian, Ubuntu), "
            "`sudo dnf install portaudio` (Fedora); or use `lk agent console`; or `uv run -m demo`, without audio"
        ]
    return []
