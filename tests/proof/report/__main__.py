"""`python -m tests.proof.report`: how long the report on 1,000,000 records takes, beside reading them with `json`."""

import json
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.proof.report import records
from tests.proof.report.measured import report

COUNT = 1_000_000


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "metrics.jsonl")
        console.print(f"Making up {COUNT:,} records …")
        records.write(path, COUNT)
        table = Table(
            "", "Seconds", "CPU seconds", "MB", title=f"{COUNT:,} records, {path.stat().st_size / 1e9:.2f} GB"
        )
        for name, arguments in (
            ("report", []),
            ("report --by customer", ["--by", "customer"]),
            ("report --html", ["--html", Path(folder, "report.html")]),
            ("report --csv", ["--csv"]),
            ("report --by voice --compare Puck Kore", ["--by", "voice", "--compare", "Puck", "Kore"]),
        ):
            used = report(path, *arguments)
            table.add_row(name, f"{used.seconds:.1f}", f"{used.cpu_s:.1f}", f"{used.memory_mb:.0f}")
        began, cpu = time.monotonic(), time.process_time()
        with path.open("rb") as file:
            for line in file:
                json.loads(line)
        table.add_row(
            "json.loads of each line",
            f"{time.monotonic() - began:.1f}",
            f"{time.process_time() - cpu:.1f}",
            "",
            style="dim",
        )
    console.print(table)


if __name__ == "__main__":
    main()
