"""The local extension that cookiecutter loads: filters that write answers as data, and the check of the answers.

Why a package of its own name: cookiecutter puts the template's folder last on `sys.path`, so a common name could be
somebody else's module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment
from jinja2.ext import Extension

from .rules import problems

PROJECT_FOLDER = "{{cookiecutter.project_slug}}"


def toml(text: str) -> str:
    """Return `text` as a TOML basic string, quotes included.

    JSON's escapes are TOML's, but for DEL, which TOML wants escaped and JSON does not.
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_answers(answers: Mapping[str, Any]) -> str:
    """Return an empty string, or raise what the program shows without a traceback.

    That is FailedHookException for cookiecutter. cruft shows a traceback with every exception but SystemExit.
    """
    if not (found := problems(answers)):
        return ""
    from .again import command, started_by_cookiecutter  # only here: nobody else waits for it

    lines = [f"  {question}: {problem}" for question, of_it in found.items() for problem in of_it]
    message = "\n".join(["No project was rendered. Please change:", *lines])
    if again := command(answers, refused=found):
        message += f"\n\nThis asks again, with your other answers filled in:\n\n    {again}\n"
    raise FailedHookException(message) if started_by_cookiecutter(answers) else SystemExit(message)


class TemplateAnswers(Extension):
    """Adds the filters above to the engine's environment, and has the answers checked before a folder is made."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters.update({"toml": toml, "check_answers": check_answers})

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Put the check in front of the project folder's name.

        This name is what the engine renders first when all is answered, whichever way: at the prompts, on a command
        line, in a config or a replay file, by cruft. A folder by a bad name would have done its harm by then.
        """
        return "{{ cookiecutter | check_answers }}" + source if source == PROJECT_FOLDER else source
