"""What docs/reference.md says that one sees of a fault is what the demo shows of it, 80 columns wide.

In the long run of every fault; else of one of each kind, as a demo takes ten seconds and more.
"""

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.proof.counts import LONG
from tests.proof.demo.conftest import run_demo
from tests.proof.documents.markdown import quoted, read, rows, section
from tests.proof.scenarios import FILES

ONE_OF_EACH_KIND = ("invalid-key", "go-away", "rejected", "tool-call-slow")
FAULTS = rows(section(read("docs/reference.md"), "When something goes wrong"))
ALL_SEEN = {quoted(row[0])[0]: quoted(row[1]) for row in FAULTS if len(row) == 4}
SEEN = ALL_SEEN if LONG else {name: ALL_SEEN[name] for name in ONE_OF_EACH_KIND}
AT_ONCE = 3 if LONG else 1
"""A demo waits for most of its time; but tests beside it measure times."""

Played = dict[str, Future[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(run_demo, "--scenario", str(FILES[name])) for name in SEEN}


@pytest.mark.parametrize("name", SEEN)
def test_what_is_said_to_be_seen_of_a_fault_is_shown(name: str, played: Played) -> None:
    done = played[name].result()
    assert done.returncode == 0, done.stdout + done.stderr
    shown = _without_space(done.stdout)
    for words in SEEN[name]:
        for part in words.split("…"):
            assert _without_space(part) in shown, f"{words}\n\n{done.stdout}"


def _without_space(text: str) -> str:
    """A line that is full goes on in the next one."""
    return "".join(text.split())
