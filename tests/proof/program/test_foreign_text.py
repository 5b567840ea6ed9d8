"""Text of the provider, a proxy, a room's or a model's name: no secret of it is told, none of it steers a terminal."""

import asyncio
import json
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.agent_process import PROJECT, clean_environment
from demo.scenario import Fault, Reply, Scenario, ToolCall, Turn
from realtime_metrics.log import clean, visible
from realtime_metrics.settings import Settings
from realtime_metrics.sinks.otlp import OtlpSink
from tests.proof.wire.finished import finished_call

FORGED = "12:00:00 ERROR forged"
STEERING = f"\x1b]0;x\x07\x1b[2J\x9b31m\u202e\u2066\u200b\U000e0041\r\n{FORGED}"
SECRET = "hunter2Hunter2"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

HOSTILE = Scenario(
    name="hostile",
    greeting=Reply(text=f"Hello {STEERING}", audio_s=0.3, latency_s=0.05),
    turns=(
        Turn(text="", tool=ToolCall(name=f"get{STEERING}"), latency_s=0.05, usage=()),
        Turn(
            text=f"Well {STEERING}",
            audio_s=0.4,
            latency_s=0.05,
            fault=Fault(kind="close", after_audio_s=0.2, reason=f"http://u:{SECRET}@proxy/?key={SECRET} {STEERING}"),
        ),
        Turn(text="Again.", audio_s=0.3, latency_s=0.05),
    ),
)

SECRETS = [
    f"https://me:{SECRET}@proxy:8080/path",
    f"https://me:a@{SECRET}@proxy:8080",
    f"https://me:a/{SECRET}@proxy:8080",
    f"cannot connect to proxy me:{SECRET}@proxy:8080",
    f"wss://host/ws?key={SECRET}&alt=sse",
    f"GET /ws/BidiGenerateContent?key={SECRET} failed",
    f"Authorization: Bearer {SECRET}",
    f"{{'Authorization': 'Bearer {SECRET}'}}",
    f"authorization=Basic {SECRET}",
    f"LIVEKIT_API_SECRET='{SECRET}'",
    f"GOOGLE_API_KEY={SECRET}",
    f'{{"api_key": "{SECRET}"}}',
    f"x-api-key: {SECRET}",
    f"access_token={SECRET}",
    "key AIzaSyhunter2Hunter2xxxxx",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_secret_is_told(text: str) -> None:
    assert "unter2" not in clean(text)


@pytest.mark.parametrize(
    "text", ["no response came in 8.0 s", "https://ai.google.dev/gemini-api/docs", "input_tokens: 5", "a@b.example"]
)
def test_what_is_no_secret_is_told_as_it_is(text: str) -> None:
    assert clean(text) == text


@given(st.text(), st.integers(2, 300))
def test_foreign_text_is_one_line_that_can_be_shown_encoded_and_is_short(text: str, most: int) -> None:
    shown = clean(text, most)
    assert shown.isprintable()
    assert len(shown) <= most
    shown.encode()
    assert len(visible(text)) == len(text)
    visible(text).encode()


async def test_what_the_provider_sends_steers_no_terminal_forges_no_line_and_tells_no_secret() -> None:
    done = await finished_call(HOSTILE, sinks="console,jsonl,log", env={"AGENT_MODEL": f"gemini{STEERING}"})
    assert len(done.responses) == 4
    assert done.session["errors"], "the close reason was told"
    for line in (*done.reports, *done.log):
        shown = COLOUR.sub("", line)
        assert shown.isprintable(), shown
        assert not shown.lstrip().startswith(FORGED), "a line of its own"
        assert SECRET not in shown
    for record in done.records:
        assert json.dumps(record, ensure_ascii=False).isprintable()


def test_a_malformed_header_of_the_exporter_is_named_and_its_value_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(metrics_sinks=("otlp",))
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"):
        for malformed in (SECRET, f"a=b,{SECRET}", f"authorization: Bearer {SECRET}", f"a=b\x1b{SECRET}"):
            monkeypatch.setenv(name, malformed)
            problem = OtlpSink.problem(settings)
            assert problem is not None
            assert name in problem
            assert SECRET not in problem
        monkeypatch.setenv(name, f"authorization=Bearer {SECRET}, x-scope=a%20b")
        assert OtlpSink.problem(settings) is None


def demo(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment({"TMPDIR": str(folder), "COLUMNS": "80", **variables})
    return subprocess.run(
        [sys.executable, "-m", "demo", *variables.pop("ARGUMENTS", "").split()],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs links and modes")
async def test_the_demo_keeps_its_log_where_nobody_waits_for_it_and_shows_what_was_said_harmlessly(
    tmp_path: Path,
) -> None:
    shared, scenario, precious = tmp_path / "shared", tmp_path / "hostile.toml", tmp_path / "precious"
    shared.mkdir()
    precious.write_text("mine")
    (shared / f"{PROJECT.name}-demo.log").symlink_to(precious)
    said = "".join(f"\\U{ord(sign):08X}" for sign in f"Hello {STEERING}")
    scenario.write_text(f'[greeting]\ntext = "{said}"\naudio_s = 0.3\n', "utf-8")
    done = await asyncio.to_thread(demo, shared, ARGUMENTS=f"--scenario {scenario}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Hello" in done.stdout
    for line in done.stdout.splitlines():
        assert line.isprintable(), line
        assert not line.lstrip().startswith(FORGED)
    assert precious.read_text() == "mine"
    (log,) = [path for path in shared.glob("*-demo-*.log") if not path.is_symlink()]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert str(log) in "".join(done.stdout.split("\n"))


async def test_a_terminal_of_no_width_gets_a_demo_that_can_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = await asyncio.to_thread(demo, Path(folder), COLUMNS="0", ARGUMENTS="--list")
        assert done.returncode == 0
        done = await asyncio.to_thread(demo, Path(folder), COLUMNS="0")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) > 60
