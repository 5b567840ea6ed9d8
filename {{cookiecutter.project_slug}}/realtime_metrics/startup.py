"""Checks before a call: a wrong setting ends the program in words, one line a problem, before anybody waits."""

import difflib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .google_live import GoogleLive
from .log import clean
from .prices import PriceFileError, prices_of
from .provider import Provider
from .settings import (
    ENVIRONMENT,
    Settings,
    SettingsError,
    in_job_process,
    listening_problem,
    livekit_url_problem,
    load_secrets,
    read_settings,
)
from .sinks import SINKS

PROVIDER: Provider = GoogleLive()
"""Whose words, prices, voices and key the reporting uses: that of the model that `agent.py` makes."""

_CONNECTED_COMMANDS = {"connect", "dev", "start"}
_SERVING_COMMANDS = _CONNECTED_COMMANDS | {"console"}
_HEALTH_PORT = 8081
"""The framework's, where it is deployed and no other is set."""
_LIVEKIT_KEYS = {"LIVEKIT_URL": "--url", "LIVEKIT_API_KEY": "--api-key", "LIVEKIT_API_SECRET": "--api-secret"}


def load_settings() -> Settings:
    """The settings, of `.env.local` too, checked; a wrong one ends the program, with one line a problem."""
    has_command = len(sys.argv) > 1
    if has_command and sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup
        # the terminal is closed: that ends a call as SIGTERM does, which the framework handles
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        load_secrets()
        return checked_settings(os.environ, sys.argv)
    except SettingsError as error:
        sys.exit("\n".join(clean(problem, 500) for problem in error.problems))


def checked_settings(environ: Mapping[str, str], argv: Sequence[str]) -> Settings:
    """The settings of this environment, checked; `argv` is the command line: only some commands need keys or audio.

    Raises:
        SettingsError: with every problem that was found.
    """
    command = argv[1] if len(argv) > 1 else ""
    options = {word.partition("=")[0] for word in argv}
    # a job's server has asked for all this already, and for help nobody needs it
    is_server = not in_job_process() and "--help" not in options
    problems = _misspelt(environ)
    if is_server:
        problems += _missing_keys(environ, command, options) + _missing_audio(command, options)
    try:
        settings = read_settings(environ, sinks=SINKS, voices=PROVIDER.voices)
        problems = _unusable(settings) + problems
        if is_server and command in _SERVING_COMMANDS:
            problems = _cannot_listen(settings, argv) + problems
    except SettingsError as error:
        raise SettingsError(error.problems + problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def server_options(settings: Settings, argv: Sequence[str] | None = None) -> dict[str, Any]:
    """What the `AgentServer` is to be made with, beyond its defaults; `argv` is `sys.argv` unless given."""
    argv = sys.argv if argv is None else argv
    # the framework's debug lines would flood the reports; `--log-level DEBUG` brings them
    options: dict[str, Any] = {"log_level": "INFO", "port": settings.port, "drain_timeout": settings.drain_timeout_s}
    options["preload_modules"] = ["realtime_metrics.hangup"]
    options["host"] = _host(settings, argv)
    if "prometheus" in settings.metrics_sinks:
        options["prometheus_port"] = settings.metrics_prometheus_port
        if not in_job_process():
            from .sinks.prometheus import listen_to_jobs

            listen_to_jobs()
    return {name: value for name, value in options.items() if value is not None}


def _is_deployed(argv: Sequence[str]) -> bool:
    return argv[1:2] == ["start"] and "--dev" not in argv


def _host(settings: Settings, argv: Sequence[str]) -> str | None:
    """Where the server listens; `None`: everywhere. Where only this machine has business, no other gets in, unless a
    setting opens it."""
    shows_figures = "prometheus" in settings.metrics_sinks
    return settings.host or ("127.0.0.1" if shows_figures or not _is_deployed(argv) else None)


def _cannot_listen(settings: Settings, argv: Sequence[str]) -> list[str]:
    """Why the server could not listen where it is to: the framework would end with a traceback."""
    host = _host(settings, argv) or "0.0.0.0"
    if why := listening_problem(host, 0):
        name = settings.named("host") if settings.host else f"AGENT_HOST={host!r}"
        return [f"{name} cannot be listened at ({why}): name an address of this machine"]
    ports = {}
    if "--simulation" not in argv:  # many of these run side by side, without a health check
        by_default = _HEALTH_PORT if _is_deployed(argv) else 0
        ports["AGENT_PORT"] = by_default if settings.port is None else settings.port
    if "prometheus" in settings.metrics_sinks:
        ports["METRICS_PROMETHEUS_PORT"] = settings.metrics_prometheus_port
    chosen = [port for port in ports.values() if port != 0]
    if len(chosen) > len(set(chosen)):
        return [f"METRICS_PROMETHEUS_PORT={chosen[0]} is the health check's port, too: name another, or 0 for any"]
    return [
        f"{name}={port} cannot be listened at ({why}): name a free port, or 0 for any"
        for name, port in ports.items()
        if (why := listening_problem(host, port))
    ]


def _unusable(settings: Settings) -> list[str]:
    """What is well-formed but cannot work here."""
    problems = [] if in_job_process() else [SINKS[name]().problem(settings) for name in settings.metrics_sinks]
    try:
        prices_of(settings.metrics_prices_path)
    except PriceFileError as error:
        problems.append(f"{settings.named('metrics_prices_path')}: {error}")
    return [problem for problem in problems if problem]


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """Variables that are nearly ours; others may be somebody else's."""
    problems, ours = [], set(ENVIRONMENT.values())
    for name in environ.keys() - ours:
        for near in difflib.get_close_matches(name, ours, 1, 0.9):
            problems.append(f"{name} is no setting: did you mean {near}?")
    return sorted(problems)


def _missing_keys(environ: Mapping[str, str], command: str, options: set[str]) -> list[str]:
    problems = []
    if command in _SERVING_COMMANDS and (problem := PROVIDER.missing_key(environ)):
        problems.append(problem)
    if command not in _CONNECTED_COMMANDS:
        return problems
    for name, option in _LIVEKIT_KEYS.items():
        if not environ.get(name, "").strip() and option not in options:
            problems.append(f"{name} is not set: put it into .env.local (`{command}` connects to a LiveKit server)")
    url = environ.get("LIVEKIT_URL", "").strip()
    if url and (problem := livekit_url_problem(url)):
        problems.append(problem)
    return problems


def _missing_audio(command: str, options: set[str]) -> list[str]:
    if command != "console" or "--connect-addr" in options:
        return []  # nobody needs it: the LiveKit CLI has its own
    try:
        import sounddevice
    except OSError:
        return [
            "`console` needs PortAudio, which is not installed: `sudo apt install libportaudio2` (Debian, Ubuntu), "
            "`sudo dnf install portaudio` (Fedora); or use `lk agent console`; or `uv run -m demo`, without audio"
        ]
    if options & {"--text", "--list-devices"}:
        return []
    devices = sounddevice.query_devices()
    channels = {"microphone": "max_input_channels", "loudspeaker": "max_output_channels"}
    missing = [name for name, key in channels.items() if not any(device[key] for device in devices)]
    if not missing:
        return []
    return [f"`console` finds no {' and no '.join(missing)}: plug one in, or add --text; or `uv run -m demo`"]
