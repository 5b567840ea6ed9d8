"""What the agent is can be changed without rendering again: it arrives in the `setup` that the server sees."""

import re
from pathlib import Path
from typing import Any

from demo.agent_process import PROJECT
from demo.call import call
from demo.scenario import Scenario
from tests.proof.wire.finished import asked_for

OTHER = {
    "model": "gemini-3.8-live",
    "temperature": 1.25,
    "voice": "Kore",
    "instructions": 'Say "ahoy", and nothing else.',
}
VARIABLES = {
    "AGENT_MODEL": OTHER["model"],
    "AGENT_TEMPERATURE": str(OTHER["temperature"]),
    "AGENT_VOICE": OTHER["voice"],
    "AGENT_INSTRUCTIONS": OTHER["instructions"],
}


async def setup_seen(project: Path = PROJECT, env: dict[str, str] | None = None) -> dict[str, Any]:
    async with call(Scenario(), env=env, project=project) as starting:
        await starting.server.wait_for("setup", timeout_s=20)
        return starting.server.setups[0].message


async def test_by_the_environment() -> None:
    setup = await setup_seen(env={**VARIABLES, "AGENT_CONTEXT_COMPRESSION": "false"})  # type: ignore[dict-item]
    assert asked_for(setup) == OTHER
    assert "contextWindowCompression" not in setup


async def test_by_env_local(project: Path) -> None:
    lines = [f"{name}='{value}'" for name, value in VARIABLES.items()]
    (project / ".env.local").write_text("\n".join(lines), encoding="utf-8")
    assert asked_for(await setup_seen(project, {"PYTHON_DOTENV_DISABLED": "0"})) == OTHER


async def test_by_an_edit_of_agent_toml(project: Path) -> None:
    path = project / "agent.toml"
    text = path.read_text(encoding="utf-8")
    for key, value in {**OTHER, "instructions": '"""Say "ahoy", and nothing else."""'}.items():
        written = value if key in ("temperature", "instructions") else f'"{value}"'
        text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {written}", text)
    path.write_text(text, encoding="utf-8")
    assert asked_for(await setup_seen(project)) == OTHER
