"""Draw docs/demo.svg: what the demo of a rendered project shows in a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text
from uv import find_uv_bin

PICTURE = Path(__file__).with_name("demo.svg")
WIDTH = 80
ERASE_LINE = "\x1b[2K"
LEFT_OUT = re.compile(r"hanging up|The agent's log: ")
"""A spinner, and a path of this machine."""
# Rich's own format, but for fonts that would be fetched from elsewhere.
SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def shown_by_the_demo(project: Path) -> list[str]:
    """Return the lines that stay on the screen, with their colours."""
    done = subprocess.run(
        [find_uv_bin(), "run", "-m", "demo"],
        cwd=project,
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        check=True,
    )
    lines = [line.rpartition(ERASE_LINE)[2].rstrip() for line in done.stdout.decode().split("\n")]
    return [line for line in lines if not LEFT_OUT.search(line)]


def main() -> None:
    """Take the project's folder from the command line."""
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    console.print(Text.from_ansi("\n".join(shown_by_the_demo(Path(sys.argv[1])))))
    console.save_svg(str(PICTURE), title="uv run -m demo", code_format=SVG_FORMAT)
    print(f"drawn: {PICTURE}")


if __name__ == "__main__":
    main()
