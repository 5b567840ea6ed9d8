"""Wrong settings, told by the real command lines: a line each, no traceback, a non-zero exit, before a call."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from demo.agent_process import PROJECT, clean_environment, python_command

NO_PORT_AUDIO = 'raise OSError("PortAudio library not found")\n'
"""What the module `sounddevice` does where PortAudio is missing."""


@dataclass(frozen=True)
class Start:
    """A command line, and what is wrong with its settings."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    agent_toml: Mapping[str, str] = field(default_factory=dict)
    """Key -> its new line."""
    env_local: str = ""


CONSOLE = (sys.executable, "agent.py", "console")
START = tuple(python_command("start", "agent.py"))

STARTS = {
    "console": Start(CONSOLE, {"METRICS_SINKS": "jsonl", "METRICS_JSONL_PATH": "nowhere/metrics.jsonl"}),
    "start": Start(
        START,
        {"METRICS_SINKS": "foo", "AGENT_TEMPERATURE": "9", "AGENT_VOICE": "Nobody", "LIVEKIT_API_KEY": "topsecret"},
    ),
    "broken agent.toml": Start(START, {"GOOGLE_API_KEY": "k"}, {"voice": "voice = Puck"}),
    "files": Start(
        CONSOLE,
        {"PYTHON_DOTENV_DISABLED": "0"},
        {"temperature": "temperature = 7"},
        "GOOGLE_API_KEY=from-env-local\nAGENT_VOICE=Somebody\n",
    ),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, subprocess.CompletedProcess[str]]:
    """What each start said. They run two at a time: each takes seconds to import."""
    folders = {name: copy_of_the_project(tmp_path_factory, name, start) for name, start in STARTS.items()}
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(STARTS, pool.map(run, STARTS.values(), folders.values()), strict=True))


def copy_of_the_project(tmp_path_factory: pytest.TempPathFactory, name: str, start: Start) -> Path:
    folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
    shutil.copytree(PROJECT / "realtime_metrics", folder / "realtime_metrics")
    shutil.copy(PROJECT / "agent.py", folder)
    text = (PROJECT / "agent.toml").read_text("utf-8")
    for key, line in start.agent_toml.items():
        text = re.sub(rf"(?m)^{key} = .*$", line, text)
    (folder / "agent.toml").write_text(text, encoding="utf-8")
    (folder / ".env.local").write_text(start.env_local, encoding="utf-8")
    (folder / "sounddevice.py").write_text(NO_PORT_AUDIO, encoding="utf-8")
    return folder


def run(start: Start, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        start.command,
        cwd=folder,
        env=clean_environment(start.env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


Told = Mapping[str, subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("name", STARTS)
def test_a_wrong_setting_ends_the_program_without_a_traceback(told: Told, name: str) -> None:
    said = told[name]
    assert said.returncode not in (0, None)
    assert said.stdout == ""
    assert "Traceback" not in said.stderr
    assert "topsecret" not in said.stderr


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "console",
            [
                r"METRICS_JSONL_PATH='nowhere[/\\]+metrics\.jsonl' cannot be written to \(.+\): name a file .+",
                r"GOOGLE_API_KEY is not set: put it into \.env\.local .+",
                r"`console` needs PortAudio, which is not installed: .+ or `uv run -m demo`, without audio",
            ],
        ),
        (
            "start",
            [
                r"AGENT_VOICE='Nobody': there is no 'Nobody': choose from .*Puck.*",
                r"AGENT_TEMPERATURE='9': input should be less than or equal to 2",
                r"METRICS_SINKS='foo': there is no 'foo': choose from console, jsonl, line, log.*",
                r"GOOGLE_API_KEY is not set: put it into \.env\.local .+",
                r"LIVEKIT_URL is not set: put it into \.env\.local .+",
                r"LIVEKIT_API_SECRET is not set: put it into \.env\.local .+",
            ],
        ),
        (
            "broken agent.toml",
            [
                r"agent\.toml cannot be read: .+line \d+.+",
                r"LIVEKIT_URL is not set: .+",
                r"LIVEKIT_API_KEY is not set: .+",
                r"LIVEKIT_API_SECRET is not set: .+",
            ],
        ),
        (
            "files",
            [
                r"AGENT_VOICE='Somebody': there is no 'Somebody': choose from .+",
                r"agent\.toml: temperature = 7: input should be less than or equal to 2",
                r"`console` needs PortAudio, .+",
            ],
        ),
    ],
)
def test_every_problem_is_one_line_that_says_what_to_set_where(told: Told, name: str, lines: list[str]) -> None:
    said = told[name].stderr.splitlines()
    assert len(said) == len(lines), said
    for line, pattern in zip(said, lines, strict=True):
        assert re.fullmatch(pattern, line), line
