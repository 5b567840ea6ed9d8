"""All scenarios: those of the demo, and more faults that nobody needs to see to learn from."""

from pathlib import Path

from demo import scenario
from demo.scenario import Scenario, read

HERE = Path(__file__).parent
FILES = {path.stem: path for folder in (scenario.FOLDER, HERE) for path in folder.glob("*.toml")}


def names() -> list[str]:
    """The names of all, in order."""
    return sorted(FILES)


def load(name: str) -> Scenario:
    """The scenario with this name."""
    return read(FILES[name])
