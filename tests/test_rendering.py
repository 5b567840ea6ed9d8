"""What a person gets from the questions' answers."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from template_answers import toml
from template_answers.rules import QUESTIONS, VOICES
from tests.baked import DEFAULT_SLUG, RENDERED_FILES, SOURCE, TEMPLATE, BakedProject, bake, content_of, run_cookiecutter

CHOICES = [(name, choice) for name, default in QUESTIONS.items() if isinstance(default, list) for choice in default]


def answers_in(project: BakedProject) -> dict[str, object]:
    """Return what agent.toml holds under the names of the questions."""
    settings = project.toml("agent.toml")
    return {
        "agent_name": settings["name"],
        "voice": settings["voice"],
        "temperature": settings["temperature"],
        "model": settings["model"],
        "instructions": settings["instructions"],
        "metrics_sink": settings["metrics_sinks"],
    }


DEFAULTS: dict[str, object] = {
    "agent_name": DEFAULT_SLUG,
    "voice": "Puck",
    "temperature": 0.8,
    "model": "gemini-2.5-flash-native-audio-preview-12-2025",
    "instructions": QUESTIONS["instructions"],
    "metrics_sink": ["console"],
}


def test_the_default_answers_land_in_agent_toml(default_project: BakedProject) -> None:
    assert answers_in(default_project) == DEFAULTS
    assert default_project.toml("pyproject.toml")["project"]["name"] == DEFAULT_SLUG


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_changes_the_project(question: str, default_project: BakedProject, output: Path) -> None:
    others = {"voice": "Kore", "temperature": "1.5"}
    default = QUESTIONS[question]
    other = others.get(question) or (default[-1] if isinstance(default, list) else "another")
    assert bake(output, **{question: other}).files() != default_project.files()


@pytest.mark.parametrize(("question", "choice"), CHOICES)
def test_every_choice_lands_in_agent_toml(question: str, choice: str, output: Path) -> None:
    expected = [choice] if question == "metrics_sink" else choice
    assert answers_in(bake(output, **{question: choice})) == DEFAULTS | {question: expected}


@pytest.mark.parametrize("voice", VOICES)
def test_every_voice_lands_in_agent_toml_however_it_is_capitalised(voice: str, output: Path) -> None:
    for number, answer in enumerate((voice, voice.lower(), voice.upper())):
        assert answers_in(bake(output / str(number), voice=answer)) == DEFAULTS | {"voice": voice}


@pytest.mark.parametrize(
    ("answer", "value"), [("0", 0.0), ("0.0", 0.0), ("2", 2.0), ("2.0", 2.0), ("1.25", 1.25), ("0.00001", 0.00001)]
)
def test_a_temperature_lands_as_a_float(answer: str, value: float, output: Path) -> None:
    temperature = bake(output, temperature=answer).toml("agent.toml")["temperature"]
    assert (type(temperature), temperature) == (float, value)


def test_an_empty_agent_name_asks_for_automatic_dispatch(output: Path) -> None:
    for blank in ("", " "):
        assert bake(output / f"{len(blank)}", agent_name=blank).toml("agent.toml")["name"] == ""


def test_the_slug_and_the_agent_name_follow_from_the_project_name(output: Path) -> None:
    project = bake(output, project_name="Café №1: Bestellungen!")
    assert project.path.name == "cafe-no1-bestellungen"
    assert project.toml("agent.toml")["name"] == "cafe-no1-bestellungen"


def test_a_project_name_without_a_letter_still_gets_a_slug(output: Path) -> None:
    assert bake(output, project_name="🎉").path.name == "voice-agent"


def test_a_project_name_of_the_greatest_length_gets_a_slug_that_is_allowed(output: Path) -> None:
    assert len(bake(output, project_name="a " * 50).path.name) <= 63


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"project_name": '"""\\', "instructions": 'x"; import os  # \\', "agent_name": "'''"},
        {"metrics_sink": "otlp", "voice": "Kore", "temperature": "2", "agent_name": ""},
    ],
)
def test_all_but_three_files_are_the_same_byte_for_byte_whatever_is_answered(
    answers: dict[str, str], output: Path
) -> None:
    source = content_of(SOURCE)
    rendered = bake(output, **{"project_slug": "x"} | answers).files()
    assert rendered.keys() == source.keys()
    assert {name for name in source if rendered[name] != source[name]} <= RENDERED_FILES


def test_no_python_file_of_the_template_holds_jinja() -> None:
    """Jinja's own comment and block marks too; `{{` alone is an escaped brace in an f-string."""
    guilty = [
        path
        for path in SOURCE.rglob("*.py")
        if any(mark in path.read_text(encoding="utf-8") for mark in ("{%", "{#", "cookiecutter."))
    ]
    assert guilty == []


def test_no_jinja_is_left_in_what_was_rendered(default_project: BakedProject) -> None:
    for name in RENDERED_FILES:
        text = default_project.files()[name].decode()
        assert "{{" not in text
        assert "{%" not in text


PARSERS: dict[str, Callable[[str], object]] = {
    ".json": json.loads,
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.safe_load_all(text)),
    ".yml": lambda text: list(yaml.safe_load_all(text)),
}


def test_every_rendered_file_of_a_known_format_parses(default_project: BakedProject) -> None:
    parsed = set()
    for name, content in default_project.files().items():
        if (suffix := Path(name).suffix) in PARSERS and "cache" not in name:
            PARSERS[suffix](content.decode())
            parsed.add(suffix)
    assert parsed >= {".py", ".toml", ".yml"}


def test_nothing_is_rendered_that_git_does_not_know(default_project: BakedProject) -> None:
    """What lies in a clone's template folder is copied: an environment, a report, a secret. Caches do no harm."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", SOURCE.name],
        cwd=TEMPLATE, capture_output=True, check=True, encoding="utf-8",
    ).stdout  # fmt: skip
    known = {name.partition("/")[2] for name in listing.split("\0") if name}
    assert {name for name in default_project.files().keys() - known if "cache" not in name} == set()


def test_the_next_commands_are_told_after_rendering(output: Path) -> None:
    told = run_cookiecutter("--no-input", output=output)
    assert told.returncode == 0, told.stdout + told.stderr
    commands = [line.strip() for line in told.stdout.splitlines() if line.startswith("    ")]
    assert commands[0] == f'cd "{output / DEFAULT_SLUG}"'
    assert [line.split("  ")[0] for line in commands[1:]] == ["uv run -m demo", "uv run agent.py console"]
    assert max(map(len, commands[1:])) < 76


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("to", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "| head -c0", ">/dev/full"])
def test_a_project_is_kept_though_nobody_can_read_the_next_commands(to: str, output: Path) -> None:
    cookiecutter = shlex.join([sys.executable, "-m", "cookiecutter", "--no-input", str(TEMPLATE)])
    subprocess.run(f"{{ {cookiecutter}; echo $? >&9; }} 9>code {to}", shell=True, cwd=output, check=False)  # noqa: S602
    assert (output / "code").read_text(encoding="utf-8") == "0\n"
    assert (output / DEFAULT_SLUG / "agent.toml").exists()


def test_a_project_is_kept_though_the_terminal_cannot_show_its_folders_name(output: Path) -> None:
    folder = output / "数据"
    folder.mkdir()
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", str(folder), str(TEMPLATE)]
    told = subprocess.run(
        command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}, check=False
    )
    assert told.returncode == 0, told.stderr
    assert b"??" in told.stdout
    assert (folder / DEFAULT_SLUG / "agent.toml").exists()


def test_rendering_into_a_folder_that_exists_is_refused_and_leaves_it_alone(output: Path) -> None:
    mine = output / DEFAULT_SLUG / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    told = run_cookiecutter("--no-input", output=output)
    assert (told.returncode, told.stdout.count("already exists")) == (1, 1)
    assert content_of(output) == {f"{DEFAULT_SLUG}/mine.txt": b"mine"}


def test_rendering_again_over_a_project_keeps_the_files_that_a_person_added(output: Path) -> None:
    project = bake(output)
    mine = [project.path / folder / "mine.txt" for folder in (".", "tests", "demo/scenarios")]
    for file in mine:
        file.write_text("mine", encoding="utf-8")
    told = run_cookiecutter("--no-input", "--overwrite-if-exists", output=output)
    assert told.returncode == 0, told.stdout + told.stderr
    assert [file.read_text(encoding="utf-8") for file in mine] == ["mine"] * 3


@pytest.mark.parametrize("text", ['"', "\\", "\t\n\r\b\f", "\x00\x1f\x7f\x9f", "🎉\u2028é", "\\u0041", "${HOME} {x} #"])
def test_the_toml_filter_writes_what_toml_reads_back(text: str) -> None:
    assert tomllib.loads(f"x = {toml(text)}")["x"] == text
