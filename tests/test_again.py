"""After refused answers: one command to copy gives the good ones again."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from template_answers import again
from template_answers.rules import QUESTIONS, unwanted_characters
from tests.baked import TEMPLATE, BakedProject, clone_of_the_template, run, run_cookiecutter, typed
from tests.test_replayed_answers import context

GOOD = {
    "project_name": "He said \"hi\" \\ 'bye' $(touch owned) `touch owned` & ; !! #",
    "project_slug": "front-desk",
    "agent_name": "",
    "model": "gemini-3.8-live",
    "instructions": "می\u200cخواهم 👩\u200d👧 ${HOME} %PATH% }} %} \\n ~ * 'x' \"y\"",
    "metrics_sink": "jsonl",
}
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
# What started this test is not what a person starts.
PERSON = {name: value for name, value in os.environ.items() if name not in {"UV", "VIRTUAL_ENV"}}
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def command_in(told: str) -> str:
    assert "\n\nThis asks again, with your other answers filled in:\n\n" in told
    return told.rpartition("\n\n    ")[2].strip()


def command(refused: tuple[str, ...] = ("voice",), **answers: Any) -> str:
    told = {"_template": "here", "_output_dir": os.getcwd(), "_checkout": None}  # noqa: PTH109
    with patch.dict(os.environ, PERSON, clear=True):
        return again.command(context(**answers)["cookiecutter"] | told | answers, refused)


@posix
def test_the_command_renders_with_the_good_answers_when_it_is_pasted(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UV", raising=False)
    told = run_cookiecutter(output=output, stdin=typed(**GOOD | {"agent_name": " ", "voice": "Kora"}))
    assert told.returncode == 1, told.stderr
    pasted = f"{command_in(told.stdout)} --no-input"
    assert "voice" not in pasted
    done = run("sh", "-c", pasted, cwd=output, PATH=PATH)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in output.iterdir()] == ["front-desk"]
    project = BakedProject(output / "front-desk")
    settings = project.toml("agent.toml")
    assert [settings[name] for name in ("name", "voice", "model", "instructions", "metrics_sinks")] == [
        "", "Puck", GOOD["model"], GOOD["instructions"], ["jsonl"],
    ]  # fmt: skip
    assert (project.path / "README.md").read_text(encoding="utf-8").startswith(f"# {GOOD['project_name']}\n")


@posix
def test_the_command_keeps_the_folder_and_the_version_that_were_asked_for(output: Path) -> None:
    with_git = clone_of_the_template(output / "template")
    told = run(
        sys.executable, "-m", "cookiecutter", str(with_git), "-o", "a b", "--checkout", "main", "--no-input",
        "voice=Kora", cwd=output,
    )  # fmt: skip
    words = shlex.split(command_in(told.stdout))
    assert words[words.index("cookiecutter") + 1] == str(with_git)
    assert words[words.index("--output-dir") + 1] == str(output / "a b")
    assert words[words.index("--checkout") + 1] == "main"


@posix
def test_under_cruft_it_is_a_command_for_cruft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    template = clone_of_the_template(tmp_path / "template")
    create = [sys.executable, "-m", "cruft", "create", str(template), "--no-input", "--extra-context"]
    told = run(*create, '{"voice": "Kora", "project_name": "It\'s"}', cwd=tmp_path)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("No project was rendered. Please change:\n  voice: 'Kora' ")
    assert [path.name for path in tmp_path.iterdir()] == ["template"]
    pasted = command_in(told.stderr)
    done = run("sh", "-c", f"{pasted} --no-input", cwd=tmp_path, PATH=PATH)
    assert done.returncode == 0, done.stdout + done.stderr
    assert BakedProject(tmp_path / "it-s").toml("agent.toml")["voice"] == "Puck"


def test_what_follows_from_a_refused_answer_is_asked_for_again() -> None:
    assert "slug" not in command(refused=("project_name",))
    assert "agent_name" not in command(refused=("project_name",))
    assert "agent_name" not in command(refused=("project_slug",))
    assert "project_name" in command(refused=("project_slug",))


def test_where_uv_started_the_program_the_command_starts_with_uvx() -> None:
    with patch.dict(os.environ, UV="/somewhere/uv"):
        assert again.command(context(_template="here", _output_dir="x")["cookiecutter"], {"voice"}).startswith(
            "uvx cookiecutter here "
        )


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("gh:owner/name", "gh:owner/name"),
        ("git@example.org:owner/name.git", "git@example.org:owner/name.git"),
        ("ssh://git@example.org/owner/name", "ssh://git@example.org/owner/name"),
        ("ssh://me:secret@example.org/owner/name", "ssh://example.org/owner/name"),
        ("https://me:secret@example.org/owner/name.git", "https://example.org/owner/name.git"),
        ("https://me:se@cret@example.org/name.git", "https://example.org/name.git"),
        ("HTTPS://secret@example.org/name.git", "HTTPS://example.org/name.git"),
        ("git+https://secret@example.org/name.git", "git+https://example.org/name.git"),
        ("https://me:x@example.org/name.zip?token=secret", "https://example.org/name.zip"),
        ("/home/me/a?b@c", "/home/me/a?b@c"),
    ],
)
def test_the_template_is_named_as_it_was_but_for_secrets(template: str, shown: str) -> None:
    assert shlex.split(command(_template=template))[1] == shown


@pytest.mark.parametrize("template", ["a\x1b[2Jb", "a\nb", "a\u202eb", "a\udcffb", ""])
def test_no_command_is_given_where_the_templates_name_would_harm_the_terminal(template: str) -> None:
    assert command(_template=template) == ""


def test_an_answer_that_the_terminals_encoding_lacks_is_left_out(output: Path) -> None:
    command = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", "voice=Kora", "project_name=数据"]
    ascii_only = PERSON | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    told = subprocess.run(command, cwd=output, env=ascii_only, capture_output=True, check=False, encoding="ascii")
    assert (told.returncode, told.stderr) == (1, "")
    assert "project_name" not in command_in(told.stdout)
    assert "temperature=0.8" in command_in(told.stdout)


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@posix
@given(answers=st.fixed_dictionaries(dict.fromkeys(("project_name", "agent_name", "instructions"), texts)))
def test_a_shell_reads_from_the_command_what_was_answered(
    answers: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    refused = {name for name, answer in answers.items() if unwanted_characters(answer)}
    line = command(refused=("voice", *refused), **answers)
    done = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {line}"], cwd=tmp_path_factory.getbasetemp(), capture_output=True, check=True,
        encoding="utf-8",
    )  # fmt: skip
    words = done.stdout.split("\0")[:-1]
    given = dict(word.split("=", 1) for word in words[2:])
    assert words[:2] == ["cookiecutter", "here"]
    assert given.items() <= (context()["cookiecutter"] | answers).items()
    left_out = {"voice", *refused} | ({"project_slug", "agent_name"} if "project_name" in refused else set())
    assert given.keys() == QUESTIONS.keys() - left_out


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "_ON_WINDOWS", True)


@pytest.mark.usefixtures("on_windows")
def test_on_windows_words_stand_in_double_quotes_which_cmd_and_powershell_both_know() -> None:
    line = command(project_name="It's a & b", instructions="Look in C:\\", _template="C:\\my templates\\it")
    assert '"C:\\my templates\\it" "project_name=It\'s a & b" project_slug=my-voice-agent' in line
    assert '"instructions=Look in C:\\\\"' in line


@pytest.mark.usefixtures("on_windows")
@pytest.mark.parametrize("text", ['say "hi"', "%PATH%", "wow!", "$HOME", "`n", "“quoted”"])
def test_on_windows_an_answer_that_a_shell_would_change_is_left_out(text: str) -> None:
    assert "instructions" not in command(instructions=text)
    assert "temperature" in command(instructions=text)


@posix
def test_the_answers_for_cruft_are_json() -> None:
    answers = context()["cookiecutter"] | {"_template": "here"}
    words = shlex.split(again.command(answers, {"voice"}))
    assert words[-2] == "--extra-context"
    assert json.loads(words[-1]).keys() == QUESTIONS.keys() - {"voice"}
