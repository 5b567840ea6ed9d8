import shutil
from pathlib import Path

import pytest

from demo.agent_process import PROJECT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is here starts real agents, or plays real calls."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project, to change."""
    folder = tmp_path / "project"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "tests")
    shutil.copytree(PROJECT, folder, ignore=ignored)
    return folder
