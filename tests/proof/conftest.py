"""The proof: tests of a rendered project that its owner does not need. `tests/run.py` lays them over a copy of it."""

import pytest

from demo.agent_process import PROJECT

NEEDED = {"monitoring": "ops", "documents": "docs", "exercises": "docs"}
"""Package of the proof -> the folder that it speaks of, which an owner may delete."""

collect_ignore = [package for package, folder in NEEDED.items() if not (PROJECT / folder).exists()]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "timing: holds figures against clocks: best alone on the machine")


def pytest_report_header() -> str:
    return (
        f"proof: without {', '.join(collect_ignore)}: their folders were deleted" if collect_ignore else "proof: whole"
    )
