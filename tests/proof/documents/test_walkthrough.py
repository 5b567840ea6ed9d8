"""What docs/walkthrough.md quotes, prints and names is in the files, on the wire, and in the records."""

import json
import re
from pathlib import Path

import pytest
from livekit.agents.metrics import RealtimeModelMetrics

from demo.agent_process import PROJECT
from demo.gemini_server import GeminiLiveServer
from realtime_metrics.sinks import SINKS
from tests.fakes.samples import EVERY_KIND, response_record
from tests.proof.documents.markdown import Fence, fences, quoted, read, section, tables
from tests.proof.wire.in_process import WireAgent, WireSession, led_to
from tests.proof.wire.quick import quick

WALKTHROUGH = read("docs/walkthrough.md")
QUOTES = [fence for fence in fences(WALKTHROUGH) if fence.info.startswith("python ")]
DOWNWARDS = ("recorder", "ears", "responses", "turns", "waits", "usage", "google_live")


def test_the_walkthrough_begins_with_the_recipes_handler_beside_ours() -> None:
    recipe, ours = fences(WALKTHROUGH)[:2]
    assert "metrics.ttft" in recipe.content
    assert ours.info == "python agent.py"


def test_the_walkthrough_quotes_every_part_of_the_heart() -> None:
    files = {quote.info.removeprefix("python ") for quote in QUOTES}
    assert {"agent.py", *(f"realtime_metrics/{name}.py" for name in DOWNWARDS)} <= files


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: quote.content.splitlines()[0].strip())
def test_what_is_quoted_stands_in_its_file(quote: Fence) -> None:
    assert quote.content in (PROJECT / quote.info.removeprefix("python ")).read_text("utf-8")


def test_every_module_of_the_newcomers_paragraph_is_one() -> None:
    paragraph = "".join(line for line in WALKTHROUGH.splitlines() if line.startswith("> "))
    named = re.findall(r"\*\*(\w+)\*\*", paragraph)
    assert len(named) >= 7
    assert all((PROJECT / "realtime_metrics" / f"{name}.py").exists() for name in named)


def test_the_diagram_shows_sinks_that_there_are() -> None:
    (diagram,) = [content for info, content in fences(WALKTHROUGH) if info == "mermaid"]
    assert set(re.findall(r"writer --> (.*)", diagram)[0].split(" & ")) == set(SINKS)


async def test_the_metrics_that_are_printed_are_as_the_plugin_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    (printed,) = [json.loads(content) for info, content in fences(WALKTHROUGH) if info == "json"]
    seen: list[RealtimeModelMetrics] = []
    keep = WireAgent._on_metrics_collected

    def and_look(agent: WireAgent, metrics: RealtimeModelMetrics) -> None:
        seen.append(metrics)
        keep(agent, metrics)

    monkeypatch.setattr(WireAgent, "_on_metrics_collected", and_look)
    async with GeminiLiveServer() as server:
        with led_to(server):
            session = WireSession(server, quick("interrupted"))
            await session.start()
            await session.play()
            await session.read()
            await session.end()
    connect, *responses = [metrics.model_dump() for metrics in seen]
    assert len(responses) == 3
    for response in responses:
        assert _shape(response) == _shape(printed)
        for name in ("type", "label", "ttft", "cancelled", "session_duration", "acquire_time", "connection_reused"):
            assert response[name] == printed[name], name
    assert connect["request_id"] == ""
    assert connect["acquire_time"] > 0


def test_every_field_of_the_metrics_is_set_beside_one_of_ours() -> None:
    (printed,) = [json.loads(content) for info, content in fences(WALKTHROUGH) if info == "json"]
    table = tables(section(WALKTHROUGH, "The recipe, and this"))[0]
    named = [name for row in table for name in quoted(row[0])]
    assert sorted(named) == sorted(printed)
    ours = {name for record in EVERY_KIND for name in record.as_dict()} | {"response", "connection", "session"}
    for row in table:
        said = quoted(row[2])
        assert said or row[2] == "The same names, once for each response"
        assert all(any(re.fullmatch(name.replace("…", "[a-z_]+"), known) for known in ours) for name in said), row


def test_the_line_that_is_shown_is_a_records_and_of_the_same_response() -> None:
    (line,) = [json.loads(content.replace("\n", " ")) for info, content in fences(WALKTHROUGH) if info == "text"]
    (printed,) = [json.loads(content) for info, content in fences(WALKTHROUGH) if info == "json"]
    order = list(response_record().as_dict())
    assert [name for name in order if name in line] == list(line)
    for name in printed.keys() & line.keys() - {"timestamp", "tokens_per_second"}:
        assert line[name] == printed[name], name


def test_every_exercise_is_short_enough_to_be_read_and_begins_with_what_to_do() -> None:
    exercises = re.findall(r"(?ms)^\*\*\d\. (.+?)\*\* (.+?)\n\n", section(WALKTHROUGH, "Change it"))
    assert len(exercises) == 5
    assert all(len(text.split()) <= 90 for _, text in exercises)


def test_the_map_for_coding_agents_shows_every_module_and_folder() -> None:
    named = {Path(name).name for name in quoted(section(read("AGENTS.md"), "Map: where a change belongs"))}
    modules = {path.name for path in (PROJECT / "realtime_metrics").glob("[a-z]*.py")}
    folders = {path.parent.name for path in PROJECT.glob("*/*.py")} - {"realtime_metrics"}
    assert modules | folders <= named


TO_BE_WRITTEN = {
    "realtime_metrics/sinks/alarm.py",
    "demo/scenarios/close-before-audio.toml",
    "demo/scenarios/forecast.toml",
}
IN_ITS_FOLDER = {
    "close-1011.toml": "demo/scenarios/close-1011.toml",
    "console.py": "realtime_metrics/sinks/console.py",
    "monitoring.py": "realtime_metrics/sinks/monitoring.py",
}


@pytest.mark.parametrize("document", ["AGENTS.md", "docs/walkthrough.md"])
def test_every_file_that_a_document_names_is_there(document: str) -> None:
    package = PROJECT / "realtime_metrics"
    named = {name for name in quoted(read(document)) if re.fullmatch(r"[\w./-]+(\.(py|toml|md|example)|/)", name)}
    assert named
    for name in named - TO_BE_WRITTEN:
        path = IN_ITS_FOLDER.get(name, name)
        assert (PROJECT / path).exists() or (package / path).exists(), name


def _shape(value: object) -> object:
    """The names in it, at every level."""
    return {name: _shape(inner) for name, inner in value.items()} if isinstance(value, dict) else None
