"""`python -m tests.proof.report.picture OUT.png`: the upper part of the page, for a README."""

import sys
import tempfile
from pathlib import Path

from tests.proof.report import records
from tests.proof.report.browser import browser
from tests.proof.report.measured import report

WIDTH, HEIGHT = 1000, 1095

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, browser() as page:
        path = Path(folder, "metrics.jsonl")
        records.write(path, 5000)
        report(path, "--html", Path(folder, "report.html"))
        page.open(Path(folder, "report.html"))
        page.look(WIDTH, sharpness=1)
        page.picture(Path(sys.argv[1]), HEIGHT)
