"""`python -m tests.proof.load calls | soak`: what the reporting costs under load. Exit code 1: a record was lost."""

import argparse
import sys

from rich.console import Console

from tests.proof.load import calls, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.load", description=__doc__)
    loads = parser.add_subparsers(dest="load", required=True)
    many = loads.add_parser("calls", help="many calls at once in one process, over the real wire")
    many.add_argument("--sessions", type=_positive, default=50, metavar="N", help="calls at once (default: 50)")
    many.add_argument("--turns", type=_positive, default=30, metavar="M", help="of each, every 2 s (default: 30)")
    alone = loads.add_parser("soak", help="so many records through every sink but the console")
    alone.add_argument("--records", type=_positive, default=1_000_000, metavar="N", help="(default: 1000000)")
    given = parser.parse_args()
    if given.load == "calls":
        return calls.run(given.sessions, given.turns, Console())
    return soak.run(given.records, Console())


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
