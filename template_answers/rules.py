"""The rules that answers keep: one set, for every way in which they can be given."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
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

# A Jinja expression would be run by the engine at the project's next `cruft update`, which reads answers as templates.
_JINJA = re.compile(r"\{[{%#]")
_UNPRINTABLE = {"Cc": "a control character", "Cs": "half a surrogate pair", "Zl": "a line break", "Zp": "a line break"}
_WINDOWS_DEVICES = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")


def problems(answers: Mapping[str, Any]) -> list[str]:
    """Return everything that is wrong, one line each: the question, the answer, what is allowed."""
    return [
        f"{question}: {_shown(answers.get(question))} {problem}"
        for question in QUESTIONS
        for problem in _problems_of(question, answers.get(question))
    ]


def _problems_of(question: str, answer: object) -> Iterator[str]:
    if not isinstance(answer, str):
        yield "is not text (in a replay file, put it in quotes)"
    elif isinstance(choices := QUESTIONS[question], list):
        if answer not in choices:
            yield f"is not one of {', '.join(choices)}"
    else:
        yield from _unwanted_characters(answer)
        yield from _RULES[question](answer)


def _unwanted_characters(answer: str) -> Iterator[str]:
    kinds = {_UNPRINTABLE[kind] for kind in map(unicodedata.category, answer) if kind in _UNPRINTABLE}
    yield from (f"holds {kind}; use visible characters and spaces" for kind in sorted(kinds))
    if match := _JINJA.search(answer):
        yield f"holds {match[0]}, which a later update would run as a template; write it into agent.toml afterwards"


def _project_name(answer: str) -> Iterator[str]:
    yield from _length(answer, least=1, most=100)


def _project_slug(answer: str) -> Iterator[str]:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", answer):
        yield "must be 1 to 63 of a-z, 0-9 and -, and begin and end with a letter or a digit"
    elif _WINDOWS_DEVICES.fullmatch(answer):
        yield "is a device on Windows and cannot be a folder there"
    elif re.sub("-+", "-", answer) in (_HERE / "dependencies.txt").read_text(encoding="utf-8").split():
        yield "is a package that the project depends on, which uv would then not install; use another name"


def _agent_name(answer: str) -> Iterator[str]:
    yield from _length(answer, least=0, most=100)


def _temperature(answer: str) -> Iterator[str]:
    if not (re.fullmatch(r"[0-9]+(\.[0-9]+)?", answer) and float(answer) <= 2):
        yield "is not a number from 0 to 2, such as 0.8"


def _instructions(answer: str) -> Iterator[str]:
    yield from _length(answer, least=1, most=10_000)


_RULES: dict[str, Callable[[str], Iterator[str]]] = {
    "project_name": _project_name,
    "project_slug": _project_slug,
    "agent_name": _agent_name,
    "temperature": _temperature,
    "instructions": _instructions,
}


def _length(answer: str, *, least: int, most: int) -> Iterator[str]:
    if len(answer.strip()) < least:
        yield "is empty"
    if len(answer) > most:
        yield f"has {len(answer)} characters; {most} are allowed"


def _shown(answer: object) -> str:
    """The answer in printable ASCII, cut where it is long: it may hold what a terminal would obey."""
    text = ascii(answer)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
