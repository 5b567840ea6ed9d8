import shutil
from pathlib import Path

import pytest

from demo.agent_process import PROJECT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project, to change."""
    folder = tmp_path / "project"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "tests")
    shutil.copytree(PROJECT, folder, ignore=ignored)
    return folder
