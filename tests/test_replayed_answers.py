"""Answers that reach the engine past the questions, in replay and config files, meet the same check."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.exceptions import FailedHookException

from template_answers.rules import QUESTIONS
from tests.baked import DEFAULT_SLUG, TEMPLATE, bake, run_cookiecutter
from tests.test_answers import REFUSED, nothing_was_left

BAD_REPLAYS: list[tuple[str, Any]] = [
    *((question, answer) for question, answer, _ in REFUSED),
    ("model", "gemini-live-2.5-flash-native-audio"),
    ("metrics_sink", "foo"),
    ("project_slug", "a/b/c"),
    ("project_slug", 5),
    ("temperature", 0.8),
    ("temperature", None),
    ("instructions", ["a"]),
    ("project_name", {"a": 1}),
    ("agent_name", True),
]


def context(**answers: Any) -> dict[str, Any]:
    """Return what the engine would keep in a replay file."""
    engine = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    answered = {name: default[0] if isinstance(default, list) else default for name, default in QUESTIONS.items()}
    answered |= {"project_slug": DEFAULT_SLUG, "agent_name": DEFAULT_SLUG} | answers
    private = {name: value for name, value in engine.items() if name.startswith("_") and name != "__prompts__"}
    return {"cookiecutter": answered | private}


def replay(output: Path, **answers: Any) -> subprocess.CompletedProcess[str]:
    file = output.parent.parent / "replay.json"
    file.write_text(json.dumps(context(**answers)), encoding="utf-8")
    return run_cookiecutter("--replay-file", str(file), output=output)


def test_a_good_replay_file_renders_what_the_same_answers_render(output: Path, tmp_path: Path) -> None:
    told = replay(output)
    assert told.returncode == 0, told.stdout + told.stderr
    rendered = {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    other = bake(tmp_path / "other").path.parent
    assert rendered == {path.relative_to(other): path.read_bytes() for path in other.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("question", "answer"), BAD_REPLAYS, ids=ascii)
def test_a_bad_replay_file_is_refused_before_a_folder_exists(
    question: str, answer: Any, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cookiecutter.generate import generate_files

    monkeypatch.chdir(output)
    monkeypatch.syspath_prepend(TEMPLATE)
    with pytest.raises(FailedHookException, match=rf"(?m)^  {question}: "):
        generate_files(
            TEMPLATE,
            context(**{question: answer, "_output_dir": str(output)}),
            output_dir=str(output),
            accept_hooks=False,
        )
    assert nothing_was_left(output)


@pytest.mark.parametrize("slug", ["a/b/c", "../../evil", "x" * 300, ""])
def test_a_replay_file_with_a_bad_slug_is_refused_in_words(slug: str, output: Path) -> None:
    told = replay(output, project_slug=slug)
    assert told.returncode == 1
    assert told.stdout.startswith("No project was rendered. Please change:\n  project_slug: ")
    assert "Traceback" not in told.stderr
    assert nothing_was_left(output)


def test_a_config_file_with_bad_answers_is_refused_in_words(output: Path) -> None:
    config = output.parent.parent / "config.yaml"
    config.write_text('default_context:\n  temperature: 9\n  voice: Kora\n  project_slug: "a\\tb"\n', encoding="utf-8")
    told = run_cookiecutter("--no-input", "--config-file", str(config), output=output)
    assert told.returncode == 1
    assert "  temperature: '9' is not a number from 0 to 2" in told.stdout
    assert "  project_slug: 'a\\tb' must be" in told.stdout
    assert "  voice: 'Kora' is none of Gemini's voices. Did you mean Kore?\n" in told.stdout
    assert nothing_was_left(output)


def test_the_hooks_are_valid_python_as_they_lie() -> None:
    for hook in (TEMPLATE / "hooks").glob("*.py"):
        compile(hook.read_text(encoding="utf-8"), hook.name, "exec")
