"""The command that gives the good answers again, so that nobody types all answers twice."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Collection, Mapping
from typing import Any

from .rules import QUESTIONS, unwanted_characters

# In double quotes, cmd or PowerShell would obey these (PowerShell takes curly quotes for straight ones).
_NOT_FOR_WINDOWS = re.compile(r'["“”„%!$`]')
_ON_WINDOWS = os.name == "nt"


def command(answers: Mapping[str, Any], refused: Collection[str]) -> str:
    """Return a line for a shell that starts the same program with the good answers.

    It is empty where the template's name cannot be written in a shell. An answer that cannot is left out, and so is
    one that follows from a refused one: the question comes again.
    """
    given = _good(answers, refused)
    template = _without_secrets(str(answers.get("_template", "")))
    if started_by_cookiecutter(answers):
        words = ["cookiecutter", template]
        if answers["_output_dir"] != os.getcwd():  # noqa: PTH109
            words += ["--output-dir", answers["_output_dir"]]
        if checkout := answers.get("_checkout"):
            words += ["--checkout", checkout]
        words += [f"{question}={answer}" for question, answer in given.items()]
    else:
        words = ["cruft", "create", template, "--extra-context", json.dumps(given, ensure_ascii=False)]
    if "UV" in os.environ:  # uv sets it for what it starts
        words.insert(0, "uvx")
    quoted = _quoted_for_windows if _ON_WINDOWS else shlex.quote
    return " ".join(map(quoted, words)) if template and all(map(_can_be_pasted, words)) else ""


def started_by_cookiecutter(answers: Mapping[str, Any]) -> bool:
    """Return whether cookiecutter itself renders, not cruft, which does not set this."""
    return "_output_dir" in answers


def _good(answers: Mapping[str, Any], refused: Collection[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for question, default in QUESTIONS.items():
        follows_from = {other for other in QUESTIONS if f"cookiecutter.{other}" in default}
        if question not in refused and follows_from <= given.keys() and _can_be_pasted(answers[question]):
            given[question] = answers[question]
    return given


def _without_secrets(template: str) -> str:
    """A password, or a token in its place, does not belong on a screen."""
    if "://" not in template:
        return template
    return re.sub(r"(?i)(?<=http://)[^/]*@|(?<=https://)[^/]*@|(?<=://)[^/]*:[^/]*@", "", template).partition("?")[0]


def _can_be_pasted(text: object) -> bool:
    if not isinstance(text, str) or any(unwanted_characters(text)) or (_ON_WINDOWS and _NOT_FOR_WINDOWS.search(text)):
        return False
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _quoted_for_windows(word: str) -> str:
    return word if re.fullmatch(r"[\w.:=/\\-]+", word) else '"' + re.sub(r"(\\+)$", r"\1\1", word) + '"'
