"""What README.md shows a newcomer is what there is; and every document's links lead somewhere."""

import pytest

from realtime_metrics.settings import ENVIRONMENT
from realtime_metrics.sinks import SINKS
from realtime_metrics.sinks.console import response_rows
from tests.fakes.samples import response_record
from tests.proof.documents.markdown import DOCUMENTS, fences, links, quoted, read, resolves, section, tables

README = read("README.md")
LINES = 225
"""A page to begin with: what is longer belongs into the reference."""


def test_it_is_a_page_to_begin_with() -> None:
    assert len(README.splitlines()) <= LINES


def test_the_settings_at_a_glance_are_settings() -> None:
    (table,) = tables(section(README, "Settings"))
    for _, keys, variables in table:
        assert [ENVIRONMENT[key] for key in quoted(keys)] == quoted(variables)


def test_every_sink_is_named() -> None:
    assert set(SINKS) <= set(quoted(section(README, "Settings")))


def test_the_report_that_is_shown_has_rows_that_reports_have() -> None:
    (report,) = [content for info, content in fences(README) if info == "text"]
    shown = [line[:20].strip() for line in report.splitlines()[1:]]
    assert shown == [name for name, _ in response_rows(response_record()) if name != "Interrupted"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    lost = [target for target in links(read(document)) if not resolves(target, document)]
    assert not lost
