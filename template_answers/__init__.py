"""The local extension that cookiecutter loads: filters that write answers as data, the check of the answers, and speed.

Why a package of its own name: cookiecutter puts the template's folder last on `sys.path`, so a common name could be
somebody else's module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment, Template
from jinja2.ext import Extension
from jinja2.runtime import Context

from template_answers.rules import QUESTIONS, problems


def toml(text: str) -> str:
    """Return `text` as a TOML basic string, quotes included.

    JSON's escapes are TOML's, but for DEL, which TOML wants escaped and JSON does not.
    """
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def hexadecimal(text: str) -> str:
    """Return `text` in an alphabet that no hook can mistake for code; `bytes.fromhex(…).decode()` reads it."""
    return text.encode().hex()


def refusal(answers: Mapping[str, Any]) -> str:
    """Return what is wrong with the answers, one line a problem, or an empty string."""
    found = problems(answers)
    return "\n".join(["No project was rendered. Please change:", *(f"  {line}" for line in found)]) if found else ""


def check_answers(answers: Mapping[str, Any]) -> str:
    """Return an empty string, or raise FailedHookException, which cookiecutter shows without a traceback."""
    if message := refusal(answers):
        raise FailedHookException(message)
    return ""


class CheckedContext(Context):
    """What Jinja renders a template with. It refuses bad answers before the engine makes the project's directory.

    A replay file reaches the engine without a question or a private variable being rendered: this still sees it.
    """

    def __init__(self, environment: Environment, parent: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        answers = parent.get("cookiecutter", {})
        # Once is enough for an environment; and while questions are still being asked, answers are missing.
        if not environment.answers_checked and answers.keys() >= QUESTIONS.keys():  # type: ignore[attr-defined]
            check_answers(answers)
            environment.answers_checked = True  # type: ignore[attr-defined]
        super().__init__(environment, parent, *args, **kwargs)


class Constant:
    """A text with nothing to render in it, in a compiled template's place."""

    def __init__(self, text: str) -> None:
        self._text = text

    def render(self, *_: object, **__: object) -> str:
        return self._text


def compiling_what_needs_it(from_string: Callable[..., Template]) -> Callable[..., Template | Constant]:
    """Return `Environment.from_string`, but for constant texts of one line, which it does not compile.

    The engine has every path of the project compiled: that took half of the time that rendering adds to its floor.
    """

    def constant_or_compiled(source: Any, *args: Any, **kwargs: Any) -> Template | Constant:
        if isinstance(source, str) and not set("{\r\n") & set(source):  # Jinja changes newlines, too
            return Constant(source)
        return from_string(source, *args, **kwargs)

    return constant_or_compiled


class TemplateAnswers(Extension):
    """Adds the filters above to the engine's environment, and has every rendering check its answers."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.context_class = CheckedContext
        environment.extend(answers_checked=False)
        environment.from_string = compiling_what_needs_it(environment.from_string)  # type: ignore[method-assign, assignment]
        environment.filters.update(
            {
                "toml": toml,
                "hexadecimal": hexadecimal,
                "refusal": refusal,
                "check_answers": check_answers,
            }
        )
