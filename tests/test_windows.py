"""What can be known from here about Windows; the CI workflow runs the rest there."""

from __future__ import annotations

import re
import subprocess
from pathlib import PurePosixPath

import pytest

from tests.baked import SOURCE, TEMPLATE, BakedProject

RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=TEMPLATE, capture_output=True, check=True, encoding="utf-8")
    return [name for name in listing.stdout.split("\0") if name]


def test_every_name_can_be_checked_out_on_windows(tracked: list[str]) -> None:
    for name in tracked:
        for part in PurePosixPath(name).parts:
            assert not re.search(r'[<>:"\\|?*\x00-\x1f]', part), name
            assert not RESERVED.fullmatch(part), name
            assert part[-1] not in " .", name


def test_no_two_names_differ_in_case_only(tracked: list[str]) -> None:
    assert len({name.casefold() for name in tracked}) == len(tracked)


def test_no_path_of_the_template_has_a_hundred_characters(tracked: list[str]) -> None:
    assert max(map(len, tracked)) < 100


def test_a_project_with_the_longest_slug_leaves_room_for_the_folder_it_lies_in(default_project: BakedProject) -> None:
    assert max(len(f"{'x' * 63}/{name}") for name in default_project.files()) < 160  # of Windows' 260


def test_lines_end_as_they_do_in_the_repository_on_every_system(default_project: BakedProject) -> None:
    for name, content in default_project.files().items():
        assert name.endswith(".wav") or "cache" in name or b"\r" not in content, name
    assert "* text=auto eol=lf" in (TEMPLATE / ".gitattributes").read_text(encoding="utf-8")


def test_no_link_and_nothing_that_needs_an_executable_bit_is_rendered(default_project: BakedProject) -> None:
    for path in SOURCE.rglob("*"):
        assert not path.is_symlink(), path
    assert not [name for name in default_project.files() if name.endswith(".sh")]


def test_the_hooks_are_python_which_cookiecutter_starts_everywhere() -> None:
    assert {path.suffix for path in (TEMPLATE / "hooks").iterdir() if path.is_file()} == {".py"}


def test_the_prompts_fit_a_terminal_of_any_encoding() -> None:
    assert (TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8").isascii()
