"""Answers are checked before a file exists, are told about in words, and are data wherever they land."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from hypothesis import given
from hypothesis import strategies as st

from template_answers.rules import QUESTIONS, RULES, VOICES, unwanted_characters
from tests.baked import DEFAULT_SLUG, TEMPLATE, BakedProject, content_of, run_cookiecutter, typed

INVISIBLE = [
    "Be kind.\U000e0049\U000e0067\U000e006e\U000e006f\U000e0072\U000e0065",  # "Ignore", in tags
    "\U0001f3f4\U000e0067\U000e0062\U000e007f",  # tags, behind a flag too
    "a\u202etxt.exe\u202c",
    "a\u2066b\u2069",
    "a\u200eb\u200f",
    "a\u200bb",
    "a\u2060b",
    "a\ufeffb",
    "a\u00adb",
    "a\u034fb",
    "a\u3164b",
    "a\u2800b",
    "a\u200db",
    "Auf\u200clage",
    "\u200d\u0645",
    "\u0645\u200c\u200d\u200c\u0645",
    "a\ufe0fb",
    "\u2764\ufe0f\ufe0e\ufe01",
    "a\U000e0100b",
]
# Joiners and selectors where writing needs them.
VISIBLE = [
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u06a9\u062a\u0627\u0628\u200c\u0647\u0627",  # Persian
    "\u0647\u200d.",  # Persian, an abbreviation
    "\u0915\u094d\u200d\u0937 \u0915\u094d\u200c\u0937",  # Hindi
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala
    "\u0d28\u0d4d\u200d",  # Malayalam
    "\u09b0\u200d\u09cd\u09af",  # Bengali
    "\U0001f469\u200d\U0001f467",
    "\U0001f469\u200d\u2764\ufe0f\u200d\U0001f48b\u200d\U0001f468",
    "\U0001f469\U0001f3fd\u200d\U0001f680 \U0001f642\u200d\u2194\ufe0f \U0001f3f3\ufe0f\u200d\U0001f308",
    "1\ufe0f\u20e3 \u203c\ufe0f",
    "\u845b\U000e0100",  # a variant of a character, as in Japanese names
    "\U0001fae8",  # newer than the oldest Python's Unicode
]

# What is refused, by question, and a word of the reason.
REFUSED_AS_TEXT = [
    ("temperature", "hot", "0 to 2"),
    ("temperature", "2.1", "0 to 2"),
    ("temperature", "nan", "0 to 2"),
    ("temperature", "inf", "0 to 2"),
    ("temperature", "-1", "0 to 2"),
    ("temperature", "1e999", "0 to 2"),
    ("temperature", "0,8", "0 to 2"),
    ("temperature", "٠.٨", "0 to 2"),
    ("temperature", "1_0", "0 to 2"),
    ("temperature", "9" * 500, "0 to 2"),
    ("temperature", "", "0 to 2"),
    ("project_slug", "", "1 to 63"),
    ("project_slug", "../../evil", "1 to 63"),
    ("project_slug", "/tmp/evil", "1 to 63"),  # noqa: S108
    ("project_slug", "..", "1 to 63"),
    ("project_slug", "-rf", "1 to 63"),
    ("project_slug", "agent-", "1 to 63"),
    ("project_slug", "Agent", "1 to 63"),
    ("project_slug", "a b", "1 to 63"),
    ("project_slug", "a.b", "1 to 63"),
    ("project_slug", "a\\b", "1 to 63"),
    ("project_slug", "x" * 300, "1 to 63"),
    ("project_slug", "con", "Windows"),
    ("project_slug", "lpt1", "Windows"),
    ("project_slug", "livekit-agents", "depends on"),
    ("project_slug", "livekit--agents", "depends on"),
    ("project_slug", "pydantic", "depends on"),
    ("project_name", "", "is empty"),
    ("project_name", "x" * 101, "100 are allowed"),
    ("instructions", "", "is empty"),
    ("instructions", "x" * 10_001, "10000 are allowed"),
    ("agent_name", "x" * 101, "100 are allowed"),
    *((question, "a\x1bb", "control character") for question in ("project_name", "agent_name", "instructions")),
    ("instructions", "a\x7fb", "control character"),
    ("instructions", "a\x85b", "control character"),
    ("instructions", "a\nb", "control character"),
    ("instructions", "a\u2028b", "line break"),
    ("instructions", "a\ud800b", "surrogate"),
    ("agent_name", "\udcff", "surrogate"),  # a byte that the terminal's encoding lacks
    ("project_name", "a\ue000", "private-use"),
    ("voice", "", "none of Gemini's voices"),
    ("voice", "Kora", "Did you mean Kore"),
    ("voice", "zubenelgenub", "Did you mean Zubenelgenubi"),
    ("voice", "17", "none of Gemini's voices"),
    *(("instructions", text, "invisible character") for text in INVISIBLE),
]
# The engine itself runs Jinja in what is given on its command line: these can only be typed, or be in a replay file.
REFUSED_AS_JINJA = [("instructions", text, "run as a template") for text in ("{{7*7}}", "{% raw %}", "{# x")]
REFUSED = REFUSED_AS_TEXT + REFUSED_AS_JINJA

# What a terminal cannot type: Enter takes the default, and a line ends at its end.
UNTYPEABLE = {"", "a\nb", "a\ud800b", "\udcff"}

KEPT = [
    ("project_name", "He said \"hi\" \\ 'bye' [bold]x[/] # &amp; <b>"),
    ("project_name", "🎉 数据 ñ"),
    ("agent_name", 'x"; import os; os.system("touch owned")'),
    ("agent_name", "$(touch owned) `touch owned` %PATH% ${HOME}"),
    ("instructions", '"""\\n" + __import__("os").system("touch owned") + """'),
    ("instructions", "C:\\new\\table }} %} {x} ''' \\u0041 \\"),
    ("instructions", "👩‍👩‍👧 مرحبا — “quotes”"),
    ("instructions", "x" * 4000),
    *(("instructions", text) for text in VISIBLE),
]


def nothing_was_left(output: Path) -> bool:
    """Whether the output folder and the one around it are as they were."""
    outer = output.parent
    return list(outer.iterdir()) == [output] and not list(output.iterdir())


@pytest.mark.parametrize(("question", "answer", "reason"), REFUSED_AS_TEXT, ids=ascii)
def test_a_bad_answer_is_refused_in_words_and_nothing_is_left(
    question: str, answer: str, reason: str, output: Path
) -> None:
    with pytest.raises(FailedHookException, match=rf"(?m)^  {question}: .*{reason}") as refusal:
        cookiecutter(str(TEMPLATE), no_input=True, extra_context={question: answer}, output_dir=str(output))
    assert str(refusal.value).isascii()
    assert all(line.isprintable() for line in str(refusal.value).split("\n"))
    assert nothing_was_left(output)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [case for case in REFUSED_AS_TEXT if case[1] not in UNTYPEABLE][::4] + REFUSED_AS_JINJA,
    ids=ascii,
)
def test_a_bad_answer_typed_at_the_prompt_is_refused_in_words_and_nothing_is_left(
    question: str, answer: str, reason: str, output: Path
) -> None:
    told = run_cookiecutter(output=output, stdin=typed(**{question: answer}))
    assert told.returncode != 0
    assert f"  {question}: " in told.stdout
    assert reason in told.stdout
    assert "Traceback" not in told.stdout + told.stderr
    assert nothing_was_left(output)


def test_all_problems_are_told_at_once(output: Path) -> None:
    told = run_cookiecutter(
        "--no-input", "temperature=hot", "project_slug=con", "project_name=a\x07b", "instructions=", output=output
    )
    assert told.returncode == 1
    assert told.stderr == ""
    assert told.stdout.partition("\n\n")[0] == (
        "No project was rendered. Please change:\n"
        "  project_name: 'a\\x07b' holds a control character; use visible characters and spaces\n"
        "  project_slug: 'con' is a device on Windows and cannot be a folder there\n"
        "  temperature: 'hot' is not a number from 0 to 2, such as 0.8\n"
        "  instructions: '' is empty"
    )


def test_an_unknown_voice_is_told_which_there_are_on_half_a_screen(output: Path) -> None:
    told = run_cookiecutter("--no-input", "voice=Coral", output=output)
    assert (told.returncode, told.stderr) == (1, "")
    problem = told.stdout.partition("\n\n")[0].splitlines()
    assert problem[1] == "  voice: 'Coral' is none of Gemini's voices."
    assert re.findall(r"\w+", " ".join(problem[2:])) == VOICES
    assert len(problem) <= 8
    assert max(map(len, problem)) < 80


@pytest.mark.parametrize("question", ["project_name", "agent_name"])
@pytest.mark.skipif(sys.platform == "win32", reason="arguments are text there, never bytes")
def test_bytes_that_are_no_text_are_refused_in_words(question: str, output: Path) -> None:
    answer = os.fsdecode(f"{question}=a".encode() + b"\xff")
    command = [sys.executable, "-m", "cookiecutter", "--no-input", str(TEMPLATE), answer]
    told = subprocess.run(command, cwd=output, capture_output=True, env=os.environ | {"LC_ALL": "C"}, check=False)
    assert (told.returncode, told.stderr) == (1, b"")
    assert rf"{question}: 'a\udcff' holds half a surrogate pair".encode() in told.stdout
    assert nothing_was_left(output)


def test_every_question_that_is_answered_with_text_has_a_rule() -> None:
    assert set(RULES) == {question for question, default in QUESTIONS.items() if isinstance(default, str)}


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20), st.sampled_from(INVISIBLE))
def test_what_cannot_be_seen_is_found_in_any_text(text: str, invisible: str) -> None:
    assert unwanted_characters(f"{text} {invisible}") == unwanted_characters(f"{text} x\u200b")


@given(st.lists(st.sampled_from(VISIBLE) | st.text("ab 数é\u0645\u0915"), max_size=8).map("".join))
def test_a_text_of_many_scripts_is_not_taken_for_an_invisible_one(text: str) -> None:
    assert unwanted_characters(text) == []


@pytest.mark.parametrize(("question", "answer"), KEPT, ids=ascii)
def test_what_is_typed_comes_out_exactly_as_typed_and_nothing_of_it_runs(
    question: str, answer: str, output: Path
) -> None:
    told = run_cookiecutter(output=output, stdin=typed(**{question: answer, "project_slug": "kept"}))
    assert told.returncode == 0, told.stdout + told.stderr
    project = BakedProject(output / "kept")
    if question == "project_name":
        assert (project.path / "README.md").read_text(encoding="utf-8").startswith(f"# {answer}\n")
    else:
        assert project.toml("agent.toml")[{"agent_name": "name"}.get(question, question)] == answer
    assert not [name for name in content_of(output.parent) if "owned" in name]


def test_a_space_typed_for_the_agent_name_means_none(output: Path) -> None:
    told = run_cookiecutter(output=output, stdin=typed(agent_name=" "))
    assert told.returncode == 0, told.stdout + told.stderr
    assert BakedProject(output / DEFAULT_SLUG).toml("agent.toml")["name"] == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal is played by a pty")
def test_answers_typed_at_a_real_terminal_land_as_typed(output: Path) -> None:
    import pty

    answer = 'Say "hi" \\ 🎉; import os'
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "-o", str(output)])  # noqa: S606
    os.write(terminal, typed(instructions=answer, voice="Kore").encode())
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux says so when the child has gone
            break
        if not piece:
            break
        shown += piece
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown.decode()
    settings = tomllib.loads((output / DEFAULT_SLUG / "agent.toml").read_text(encoding="utf-8"))
    assert (settings["instructions"], settings["voice"]) == (answer, "Kore")
