"""Thousands of hostile answers: each is refused in words with nothing left, or lands exactly as it was given."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from template_answers.rules import QUESTIONS, VOICES, unwanted_characters
from tests.baked import RENDERED_FILES, SOURCE, TEMPLATE, BakedProject, typed
from tests.test_replayed_answers import context

pytestmark = pytest.mark.slow

CASES = 50_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 2_000
STATIC_FILE = "agent.py"

FRAGMENTS = """
{{7*7}} {{ {% %} {# #} {%raw%} {{cookiecutter}} {{''.__class__.__mro__[1].__subclasses__()}} }}
" ''' \"\"\" \\ \\n \\" \\u0022 \\x22 "] [tool.uv] # = {
[[x]] 'a'='b' \x00 \x07 \x1b[2J \x7f \x85 \u2028 \u202e \ufeff \ud800
; import os; __import__('os').system('touch owned') exec(open('/etc/passwd').read()) f"{x}" %s %(x)s
$(touch owned) `touch owned` ${HOME} && || | > < & ^ %PATH% !x ~ * ? -rf --help -o/tmp/x
../../evil .. . / \\ C:\\ \\\\server\\share con NUL aux.txt com1 lpt9.
<b>&amp;<!-- --> [x](y) ~~~ ``` --- ... !!python/object 👩\u200d👩\u200d👧 數據 é ﬁ
\u200b \u200d می\u200cخواهم क्\u200dष ❤\ufe0f \ufe0f\ufe0f \U000e0041\U000e007f \u2066 \ue000 \u3164 Kore kore Puck
livekit-agents livekit_agents pydantic Rich 0.8 nan inf 1e999 -0 0x1 ٣ true null [] {}
""".replace("\n", " ").split(" ")

anything = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=8).map("".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(" ".join),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=3), st.integers(100, 12_000)),
)
slugs = st.one_of(
    st.from_regex(r"[a-z0-9-]{1,70}", fullmatch=True),
    st.sampled_from([fragment for fragment in FRAGMENTS if fragment.isascii()]),
    anything,
)
spellings = st.sampled_from([spelling for name in VOICES for spelling in (name, name.lower(), f"{name}s")])
temperatures = st.one_of(st.floats(allow_nan=True).map(str), st.decimals(0, 2, places=3).map(str), anything)
free_answers = {
    "project_name": anything,
    "project_slug": slugs,
    "agent_name": anything,
    "voice": spellings | anything,
    "temperature": temperatures,
    "instructions": anything,
}
# Mostly one or two hostile answers at a time: with six, nearly every case would be refused for the first of them.
some_answers = st.lists(st.sampled_from(list(free_answers)), min_size=1, max_size=6, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: free_answers[name] for name in names})
)
not_text = st.none() | st.booleans() | st.integers() | st.floats() | st.lists(anything, max_size=2)
replayed_answers = some_answers | st.dictionaries(st.sampled_from(list(QUESTIONS)), anything | not_text, max_size=3)


@pytest.fixture(scope="session")
def slim_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with one static file only; the others are copied in the same way, which takes time."""
    template = tmp_path_factory.mktemp("slim") / "template"
    (template / SOURCE.name).mkdir(parents=True)
    for name in [*RENDERED_FILES, STATIC_FILE]:
        shutil.copy(SOURCE / name, template / SOURCE.name / name)
    shutil.copy(TEMPLATE / "cookiecutter.json", template)
    shutil.copytree(TEMPLATE / "hooks", template / "hooks")
    return template


STARTS = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect"}
WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link"}


class Watch:
    """Notes what this process starts, connects to, and writes outside the folders where it may."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)  # cannot be taken away again, so it is made once

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        starts_a_hook = event == "subprocess.Popen" and str(args[1][-1]).endswith(".py")
        writes = event in WRITES or (event == "open" and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if (event in STARTS and not starts_a_hook) or (writes and not self._may_write(args[0])):
            self.seen.append(f"{event} {args}")

    def _may_write(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):  # an open file's number
            return True
        return os.path.realpath(os.fsdecode(path)).startswith((*(self.allowed or ()), os.devnull))

    @contextmanager
    def only(self, *folders: str) -> Iterator[None]:
        self.seen.clear()
        self.allowed = tuple(map(os.path.realpath, folders))
        # a module that is imported for the first time would leave its compiled form in the environment
        before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            yield
        finally:
            sys.dont_write_bytecode = before
            self.allowed = None


@pytest.fixture(scope="session")
def watch() -> Watch:
    return Watch()


def render_and_judge(template: Path, watch: Watch, expected: dict[str, Any], *, hooks: bool, **how: Any) -> bool:
    """Render; return whether it was accepted, having looked at all that must hold in either case."""
    with tempfile.TemporaryDirectory() as outer:
        output = Path(outer, "output")
        output.mkdir()
        replays = str(Path(os.environ["COOKIECUTTER_CONFIG"]).parent)
        allowed = [str(output), replays, *([tempfile.gettempdir()] if hooks else [])]
        try:
            with watch.only(*allowed):
                cookiecutter(str(template), output_dir=str(output), accept_hooks=hooks, **how)
        except FailedHookException as refusal:
            told, _, again = str(refusal).partition("\n\n")
            assert told.startswith("No project was rendered. Please change:\n  ")
            assert told.isascii()
            assert not [line for line in [*told.split("\n"), *again.split("\n")] if unwanted_characters(line)]
            assert list(output.iterdir()) == []
            return False
        finally:
            assert watch.seen == []
            assert list(Path(outer).iterdir()) == [output]
        slug = expected["project_slug"]
        assert [path.name for path in output.iterdir()] == [slug]
        project = BakedProject(output / slug)
        settings = project.toml("agent.toml")
        assert settings["name"] == expected["agent_name"]
        assert settings["instructions"] == expected["instructions"]
        assert settings["temperature"] == float(expected["temperature"])
        assert [settings["voice"], settings["model"], settings["metrics_sinks"]] == [
            expected["voice"].capitalize(),
            expected["model"],
            [expected["metrics_sink"]],
        ]
        assert project.toml("pyproject.toml")["project"]["name"] == slug
        assert f"# {expected['project_name']}\n" in (project.path / "README.md").read_text(encoding="utf-8")
        assert (project.path / STATIC_FILE).read_bytes() == (template / SOURCE.name / STATIC_FILE).read_bytes()
        return True


def as_typed(answers: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the keystrokes, and what the engine takes them for: it strips a line, and Enter takes the default."""
    lines = {name: answer.replace("\n", " ") for name, answer in answers.items()}
    expected = context()["cookiecutter"] | {name: line.strip() for name, line in lines.items() if line}
    # What follows from the project's name is fixed here, so that a case is about one answer.
    for derived in ("project_slug", "agent_name"):
        lines[derived] = lines.get(derived) or expected[derived]
    return typed(**lines), expected


def render_typed(template: Path, watch: Watch, answers: dict[str, str], *, hooks: bool) -> bool:
    keys, expected = as_typed(answers)
    with (
        patch("sys.stdin", io.StringIO(keys, newline="\n")),
        patch("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8", errors="replace")),
    ):
        return render_and_judge(template, watch, expected, hooks=hooks)


def hostile(cases: int) -> settings:
    return settings(
        max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, database=None
    )


@hostile(CASES // 2)
@given(answers=some_answers)
def test_answers_typed_at_the_prompts(slim_template: Path, watch: Watch, answers: dict[str, str]) -> None:
    render_typed(slim_template, watch, answers, hooks=False)


@hostile(CASES // 2 - 50)
@given(answers=replayed_answers)
def test_answers_in_a_replay_file(slim_template: Path, watch: Watch, answers: dict[str, Any]) -> None:
    replay = Path(os.environ["COOKIECUTTER_CONFIG"]).parent / "hostile.json"
    contents = context(**answers)
    replay.write_text(json.dumps(contents), encoding="utf-8")
    render_and_judge(slim_template, watch, contents["cookiecutter"], hooks=False, replay=str(replay))


@hostile(50)
@given(answers=some_answers)
def test_answers_typed_at_the_prompts_with_the_hooks_as_processes(
    slim_template: Path, watch: Watch, answers: dict[str, str]
) -> None:
    render_typed(slim_template, watch, answers, hooks=True)


def test_the_generated_answers_are_both_refused_and_accepted(slim_template: Path, watch: Watch) -> None:
    """Else the tests above would say nothing."""
    seen = {False: 0, True: 0}

    @hostile(200)
    @given(answers=some_answers)
    def count(answers: dict[str, str]) -> None:
        seen[render_typed(slim_template, watch, answers, hooks=False)] += 1

    count()
    assert min(seen.values()) >= 20, seen
