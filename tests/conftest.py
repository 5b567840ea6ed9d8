from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.baked import BakedProject, bake


@pytest.fixture(autouse=True, scope="session")
def own_cookiecutter_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep cookiecutter, and programs that use it, from the person's own settings and replay files."""
    folder = tmp_path_factory.mktemp("cookiecutter")
    config = folder / "config.yaml"
    config.write_text(f"cookiecutters_dir: '{folder}'\nreplay_dir: '{folder}'\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COOKIECUTTER_CONFIG", str(config))
        yield


@pytest.fixture(scope="session")
def default_project(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A project rendered with the default answers. Look, do not touch."""
    return bake(tmp_path_factory.mktemp("default"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An empty folder to render into, inside another one: what escapes from it is still seen."""
    folder = tmp_path / "outer" / "output"
    folder.mkdir(parents=True)
    return folder
