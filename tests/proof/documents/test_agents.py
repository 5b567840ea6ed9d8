"""What AGENTS.md says of how the parts know each other is so."""

import re

import pytest

from demo.agent_process import PROJECT
from tests.proof.documents.markdown import DOCUMENTS, quoted, read

SINKS = sorted((PROJECT / "realtime_metrics" / "sinks").glob("[!_]*.py"))


@pytest.mark.skipif("AGENTS.md" not in DOCUMENTS, reason="its owner deleted it")
def test_which_sinks_know_of_others_is_told() -> None:
    (rule,) = re.findall(r"\n4\. (.+?)\n5\. ", read("AGENTS.md"), re.DOTALL)
    told = {name.removesuffix(".py") for name in quoted(rule)}
    for sink in SINKS:
        for other in re.findall(r"(?m)^from \.(\w+) import", sink.read_text("utf-8")):
            assert other == "base" or {sink.stem, other} <= told
