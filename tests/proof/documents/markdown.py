"""The documents as data: sections, tables, commands, quoted code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from demo.agent_process import PROJECT

PAGES = ("README.md", "AGENTS.md", "SECURITY.md", "docs/walkthrough.md", "docs/reference.md", "docs/monitoring.md")
DOCUMENTS = tuple(name for name in PAGES if (PROJECT / name).exists())
"""Those that the owner did not delete."""


class Fence(NamedTuple):
    """A fenced block: what stands behind its backticks, and what is in it."""

    info: str
    content: str


def read(name: str) -> str:
    """A document without its title, which is the project's name and may hold anything."""
    return (PROJECT / name).read_text("utf-8").partition("\n")[2]


def fences(text: str) -> list[Fence]:
    return [Fence(info, content) for info, content in re.findall(r"(?ms)^ {0,3}```(.*?)\n(.*?)^ {0,3}```$", text)]


def commands(text: str) -> list[str]:
    """Each line of the blocks that are to be typed."""
    shells = ("sh", "sh keys", "powershell")
    return [line for info, content in fences(text) if info in shells for line in content.splitlines()]


def headings(text: str) -> list[str]:
    return [line.lstrip("# ") for line in _without_fences(text).splitlines() if re.match("#+ ", line)]


def section(text: str, title: str) -> str:
    """From a heading to the next one that is not below it; fenced blocks are left out."""
    text = _without_fences(text)
    (heading,) = re.findall(rf"(?m)^#+ {re.escape(title)}$", text)
    level = heading.index(" ")
    after = text.split(f"\n{heading}\n")[1]
    return re.split(rf"(?m)^#{{1,{level}}} ", after)[0]


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each table's rows, without its head."""
    lines = _without_fences(text).splitlines()
    rows = [_cells(line) if line.startswith("|") else None for line in lines]
    found: list[list[list[str]]] = [[]]
    for row in rows:
        if row is not None:
            found[-1].append(row)
        elif found[-1]:
            found.append([])
    return [table[2:] for table in found if table]


def rows(text: str) -> list[list[str]]:
    """The rows of all tables."""
    return [row for table in tables(text) for row in table]


def quoted(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", _without_fences(text))


def links(text: str) -> Iterator[str]:
    """Where the links lead that do not leave the project."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_fences(text)):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchor(heading: str) -> str:
    """What a link calls a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def resolves(target: str, document: str) -> bool:
    """Whether a link in a document leads to a file, and to a heading in it."""
    path, _, name = target.partition("#")
    file = (PROJECT / document).parent / path if path else PROJECT / document
    return file.exists() and (not name or name in map(anchor, headings(Path(file).read_text("utf-8"))))


def _without_fences(text: str) -> str:
    return re.sub(r"(?ms)^ {0,3}```.*?^ {0,3}```$", "", text)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]
