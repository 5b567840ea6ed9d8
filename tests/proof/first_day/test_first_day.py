"""An owner's first day: whatever owners change or add, their own tests, style and types stay green."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.proof.counts import LONG
from tests.proof.first_day.project import assert_the_owners_checks_pass, fresh_copy, run, set_line, take
from tests.proof.provider import other_live

INSTRUCTIONS = '''instructions = """
You are the front desk of a small hotel.

- Say "Grüezi" first.
- Never promise a room: {name} and \\\\ are no placeholders.
"""'''
GREETING = 'greeting = "Say \\"Grüezi\\", and ask for the name."'
SHOWN = "from realtime_metrics.settings import read_settings; print(read_settings().greeting)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return fresh_copy(tmp_path)


def test_as_it_was_rendered(project: Path) -> None:
    """Its tests run with another greeting (below), and in the rendered project itself (`tests/run.py`)."""
    assert_the_owners_checks_pass(project, one_of_many=True)


def test_another_greeting_and_instructions_of_several_lines(project: Path) -> None:
    set_line(project / "agent.toml", "instructions", INSTRUCTIONS)
    set_line(project / "agent.toml", "greeting", GREETING)
    assert _greeting(project) == 'Say "Grüezi", and ask for the name.'
    assert_the_owners_checks_pass(project)


def test_a_wrong_setting_ends_the_tests_in_words(project: Path) -> None:
    set_line(project / "agent.toml", "voice", 'voice = "Pucc"')
    done = run(project, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 2
    assert "agent.toml: voice = 'Pucc': " in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr


def test_the_environment_overrides_the_greeting(project: Path) -> None:
    set_line(project / "agent.toml", "greeting", GREETING)
    assert _greeting(project, AGENT_GREETING="Say nothing but hello.") == "Say nothing but hello."
    assert _greeting(project, AGENT_GREETING=" ") == 'Say "Grüezi", and ask for the name.'


@pytest.mark.parametrize(
    "exercise", ["1-add-a-row.patch", "2-add-a-sink.patch", "3-add-a-tool.patch", "5-add-a-field.patch"]
)
def test_a_row_a_sink_a_tool_a_field(project: Path, exercise: str) -> None:
    take(project, exercise)
    assert_the_owners_checks_pass(project, one_of_many=True)


def test_another_provider(project: Path) -> None:
    """It is a file and a line; the owner's tests of settings and failures name the provider that they are about. The
    demo is Gemini's, and so are its tests."""
    package = project / "realtime_metrics"
    shutil.copy(str(other_live.__file__), package / "other_live.py")
    startup = (package / "startup.py").read_text("utf-8")
    chosen = startup.replace(".google_live import GoogleLive", ".other_live import OtherLive")
    (package / "startup.py").write_text(chosen.replace("= GoogleLive()", "= OtherLive()"), "utf-8")
    set_line(project / "agent.toml", "voice", 'voice = "alloy"')
    tests = ["tests", "--ignore=tests/test_demo.py"] if LONG else ["tests/test_settings.py", "tests/test_errors.py"]
    done = run(project, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout + done.stderr


def _greeting(project: Path, **variables: str) -> str:
    """What the agent would be asked to say first."""
    shown = run(project, sys.executable, "-c", SHOWN, **variables)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.strip()
