"""The code that docs/walkthrough.md quotes stands in the files, word for word, and so do the names it mentions."""

import re
from pathlib import Path

import pytest

from demo.agent_process import PROJECT
from realtime_metrics.sinks import SINKS
from tests.proof.documents.markdown import Fence, fences, quoted, read, section

WALKTHROUGH = read("docs/walkthrough.md")
QUOTES = [fence for fence in fences(WALKTHROUGH) if fence.info.startswith("python ")]


def test_the_walkthrough_quotes_every_part_of_the_pattern() -> None:
    quoted_files = {quote.info.removeprefix("python ") for quote in QUOTES}
    assert {"agent.py", "realtime_metrics/recorder.py", "realtime_metrics/records.py"} <= quoted_files


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: quote.content.splitlines()[0].strip())
def test_what_is_quoted_stands_in_its_file(quote: Fence) -> None:
    assert quote.content in (PROJECT / quote.info.removeprefix("python ")).read_text("utf-8")


def test_the_diagram_shows_sinks_that_there_are() -> None:
    (diagram,) = [content for info, content in fences(WALKTHROUGH) if info == "mermaid"]
    shown = re.findall(r"pipeline --> (.*)", diagram)[0].split(" & ")
    assert {"console", "jsonl", "log"} <= set(shown) <= set(SINKS)


def test_the_map_for_coding_agents_shows_every_module_and_folder() -> None:
    named = {Path(name).name for name in quoted(section(read("AGENTS.md"), "Map: where a change belongs"))}
    modules = {path.name for path in (PROJECT / "realtime_metrics").glob("[a-z]*.py")}
    folders = {path.parent.name for path in PROJECT.glob("*/*.py")} - {"realtime_metrics"}
    assert modules | folders <= named


TO_BE_WRITTEN = {"realtime_metrics/sinks/alarm.py", "demo/scenarios/close-before-audio.toml"}
IN_ITS_FOLDER = {"log.py": "realtime_metrics/sinks/log.py", "close-1011.toml": "demo/scenarios/close-1011.toml"}


@pytest.mark.parametrize("document", ["AGENTS.md", "docs/walkthrough.md"])
def test_every_file_that_a_document_names_is_there(document: str) -> None:
    package = PROJECT / "realtime_metrics"
    named = {name for name in quoted(read(document)) if re.fullmatch(r"[\w./-]+(\.(py|toml|md|example)|/)", name)}
    assert named
    for name in named - TO_BE_WRITTEN:
        path = IN_ITS_FOLDER.get(name, name)
        assert (PROJECT / path).exists() or (package / path).exists(), name
