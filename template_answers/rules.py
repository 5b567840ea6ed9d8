"""The rules that answers keep: one set, for every way in which they can be given."""

from __future__ import annotations

import difflib
import json
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_MAX_SHOWN = 60

QUESTIONS: dict[str, Any] = {
    name: default
    for name, default in json.loads((_HERE.parent / "cookiecutter.json").read_text(encoding="utf-8")).items()
    if not name.startswith("_")
}
"""Every question of cookiecutter.json with its default; a list holds the choices."""

VOICES = (_HERE / "voices.txt").read_text(encoding="utf-8").split()
"""Gemini's, as the plugin has them: a test holds the two equal."""

# A Jinja expression would be run by the engine at the project's next `cruft update`, which reads answers as templates.
_JINJA = r"\{[{%#]"
_UNWANTED = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Co": "a private-use character, which only one font can show",
    "Cs": "half a surrogate pair",
    "Zl": "a line break",
    "Zp": "a line break",
}
# Letters, marks and symbols by their category, and still nothing to see.
_BLANK = (
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufdd0-\ufdef\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\ufffe\uffff\U000e0000-\U000e0fff]"
)
# What joins or varies its neighbour belongs to the text only where it has one: Persian and Hindi words (and their
# relatives') need joiners, a family is several emoji, and a heart is red by its variation selector.
_JOINING = (
    "\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\u1a00-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff"
)
_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"
_VARIATION = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_MEANT = (
    f"(?<=[{_JOINING}])[\u200c\u200d]"
    f"|(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])"
    f"|(?<=[#*0-9]|[^\\x00-\x7f\\s\u2000-\u200f{_VARIATION}])[{_VARIATION}]"
)
_WINDOWS_DEVICES = r"con|prn|aux|nul|com[0-9]|lpt[0-9]"


def problems(answers: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what is wrong, by question: the answer, and what is allowed."""
    found = {}
    for question in QUESTIONS:
        answer = answers.get(question)
        if of_it := [f"{_shown(answer)} {problem}" for problem in _problems_of(question, answer)]:
            found[question] = of_it
    return found


def _problems_of(question: str, answer: object) -> Iterator[str]:
    if not isinstance(answer, str):
        yield "is not text (in a replay file, put it in quotes)"
    elif isinstance(choices := QUESTIONS[question], list):
        if answer not in choices:
            yield f"is not one of {', '.join(choices)}"
    else:
        yield from (f"holds {kind}; use visible characters and spaces" for kind in unwanted_characters(answer))
        if match := re.search(_JINJA, answer):
            yield f"holds {match[0]}, which a later update would run as a template; write it into agent.toml afterwards"
        yield from RULES[question](answer)


def unwanted_characters(text: str) -> list[str]:
    """Return the kinds of characters in it that cannot be seen, or that a terminal would obey."""
    if text.isascii() and text.isprintable():  # as most are: no pattern has to be compiled for them
        return []
    text = re.sub(_MEANT, "", text)
    kinds = {_UNWANTED[category] for category in map(unicodedata.category, text) if category in _UNWANTED}
    if re.search(_BLANK, text):
        kinds.add(_UNWANTED["Cf"])
    return sorted(kinds)


def _project_slug(answer: str) -> Iterator[str]:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", answer):
        yield "must be 1 to 63 of a-z, 0-9 and -, and begin and end with a letter or a digit"
    elif re.fullmatch(_WINDOWS_DEVICES, answer):
        yield "is a device on Windows and cannot be a folder there"
    elif re.sub("-+", "-", answer) in (_HERE / "dependencies.txt").read_text(encoding="utf-8").split():
        yield "is a package that the project depends on, which uv would then not install; use another name"


def _voice(answer: str) -> Iterator[str]:
    if answer.capitalize() not in VOICES:  # agent.toml writes it so
        nearest = difflib.get_close_matches(answer.strip().capitalize(), VOICES, n=1)
        names = textwrap.fill(", ".join(VOICES), width=79, initial_indent=" " * 4, subsequent_indent=" " * 4)
        yield f"is none of Gemini's voices.{f' Did you mean {nearest[0]}?' if nearest else ''}\n{names}"


def _temperature(answer: str) -> Iterator[str]:
    if not (re.fullmatch(r"[0-9]+(\.[0-9]+)?", answer) and float(answer) <= 2):
        yield "is not a number from 0 to 2, such as 0.8"


def _length(answer: str, least: int, most: int) -> Iterator[str]:
    if len(answer.strip()) < least:
        yield "is empty"
    if len(answer) > most:
        yield f"has {len(answer)} characters; {most} are allowed"


RULES: dict[str, Callable[[str], Iterator[str]]] = {
    "project_name": partial(_length, least=1, most=100),
    "project_slug": _project_slug,
    "agent_name": partial(_length, least=0, most=100),
    "voice": _voice,
    "temperature": _temperature,
    "instructions": partial(_length, least=1, most=10_000),
}
"""What each question that is answered with text asks of the answer."""


def _shown(answer: object) -> str:
    """The answer in printable ASCII, cut where it is long: it may hold what a terminal would obey."""
    text = ascii(answer)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
