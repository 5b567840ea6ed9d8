"""Measure how long rendering this template takes, as a multiple of the engine's floor.

The floor is a template of one file and no hooks, rendered by the same cookiecutter. Both run as whole processes, as a
user runs them, in turns, so that what else the machine does touches both alike.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import track

TEMPLATE = Path(__file__).parent.parent
# What a clone on somebody's machine does not have, and a working copy may.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".tools", "build", "*_cache", "__pycache__")
# In memory where the system offers that: how long a disk takes for the same files was seen to differ by ten times.
FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
ROUNDS = 30
GOAL = 1.25


def one_file_template(folder: Path) -> Path:
    project = folder / "floor" / "{{cookiecutter.project_slug}}"
    project.mkdir(parents=True)
    (project.parent / "cookiecutter.json").write_text('{"project_slug": "floor"}', encoding="utf-8")
    (project / "README.md").write_text("# {{ cookiecutter.project_slug }}\n", encoding="utf-8")
    return project.parent


def rendering_time_s(template: Path, output: Path) -> float:
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--default-config", "-o", str(output), str(template)]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    took_s = time.perf_counter() - started
    shutil.rmtree(output)
    return took_s


def measured(rounds: int) -> tuple[list[float], list[float]]:
    """Return the times of the floor and of this template, in seconds."""
    floor, ours = [], []
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        smallest = one_file_template(Path(folder))
        template = shutil.copytree(TEMPLATE, Path(folder, "template"), ignore=LEFT_OUT)
        for number in track(range(rounds), "Rendering …", transient=True):
            floor.append(rendering_time_s(smallest, Path(folder, f"floor-{number}")))
            ours.append(rendering_time_s(template, Path(folder, f"ours-{number}")))
    return floor, ours


def main() -> None:
    floor, ours = measured(ROUNDS)
    print(f"Rendering, {ROUNDS} rounds of whole processes        fastest   median  slowest")
    for name, times in (("engine's floor (one file)", floor), ("this template", ours)):
        figures = "".join(f"{figure * 1e3:6.0f} ms" for figure in (min(times), statistics.median(times), max(times)))
        print(f"  {name:<42}{figures}")
    kept = "not kept" if sys.dont_write_bytecode else "kept"
    print(f"  (Python's bytecode is {kept}; where it is kept, the floor is half as high)")
    ratios = min(ours) / min(floor), statistics.median(ours) / statistics.median(floor)
    print(f"  {f'ratio (goal: at most {GOAL})':<42}{ratios[0]:9.2f}{ratios[1]:9.2f}")


if __name__ == "__main__":
    main()
