"""Every knob: the environment over agent.toml over the defaults, and words for what is wrong."""

import json
import socket
import sys
from multiprocessing import current_process
from pathlib import Path
from types import SimpleNamespace

import pytest

from realtime_metrics import settings as settings_module
from realtime_metrics import startup
from realtime_metrics.settings import AGENT_TOML, ENVIRONMENT, Settings, SettingsError, load_secrets
from realtime_metrics.startup import checked_settings, server_options
from tests.fakes.call import GEMINI

KEYS = {
    "GOOGLE_API_KEY": "secret-1",
    "LIVEKIT_URL": "ws://localhost",
    "LIVEKIT_API_KEY": "secret-2",
    "LIVEKIT_API_SECRET": "secret-3",
}
VALID_TOML = """
name = "front-desk"
voice = "Kore"
temperature = 1.5
model = "my-model"
instructions = "Be brief."
metrics_sinks = ["jsonl", "log"]
"""


@pytest.fixture(autouse=True)
def gemini(monkeypatch: pytest.MonkeyPatch) -> None:
    """These voices and this key are Gemini's, whichever provider the agent uses."""
    monkeypatch.setattr(startup, "PROVIDER", GEMINI)


@pytest.fixture
def agent_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An agent.toml to change."""
    path = tmp_path / "agent.toml"
    path.write_text(VALID_TOML, encoding="utf-8")
    monkeypatch.setattr(settings_module, "AGENT_TOML", path)
    monkeypatch.chdir(tmp_path)
    return path


def problems(environ: dict[str, str], *argv: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        checked_settings(environ, ["agent.py", *argv])
    return refused.value.problems


def test_a_name_is_taken_however_it_is_capitalized() -> None:
    settings = checked_settings({"AGENT_VOICE": "kore", "METRICS_SINKS": "Console,JSONL"}, ["agent.py"])
    assert (settings.voice, settings.metrics_sinks) == ("Kore", ("console", "jsonl"))


@pytest.mark.usefixtures("agent_toml")
def test_a_variable_that_is_nearly_a_setting_is_told_and_one_of_somebody_else_is_not() -> None:
    with pytest.raises(SettingsError) as told:
        checked_settings({"METRICS_SINK": "jsonl", "AGENT_INSTRUCTION": "hello", "AGENT_ID": "7"}, ["agent.py"])
    assert told.value.problems == [
        "AGENT_INSTRUCTION is no setting: did you mean AGENT_INSTRUCTIONS?",
        "METRICS_SINK is no setting: did you mean METRICS_SINKS?",
    ]


@pytest.mark.usefixtures("agent_toml")
def test_agent_toml_says_what_the_agent_is() -> None:
    settings = checked_settings({}, ["agent.py"])
    assert (settings.name, settings.voice, settings.temperature) == ("front-desk", "Kore", 1.5)
    assert (settings.model, settings.instructions) == ("my-model", "Be brief.")
    assert settings.metrics_sinks == ("jsonl", "log")


def test_this_projects_own_agent_toml_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with its own provider
    assert AGENT_TOML.is_file()
    checked_settings({}, ["agent.py"])


def test_secrets_are_read_beside_agent_toml_however_an_editor_on_windows_saved_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"LIVEKIT_URL": "ws://mine"}
    monkeypatch.setattr("os.environ", environ)
    monkeypatch.setattr(settings_module, "PROJECT", tmp_path)
    file = tmp_path / ".env.local"
    load_secrets()  # there need be none
    file.write_text("GOOGLE_API_KEY=secret\nLIVEKIT_URL=ws://other\n", encoding="utf-8-sig")
    load_secrets()
    assert environ == {"GOOGLE_API_KEY": "secret", "LIVEKIT_URL": "ws://mine"}
    file.write_text("GOOGLE_API_KEY=secret\n", encoding="utf-16")
    with pytest.raises(SettingsError, match=r"^\.env\.local cannot be read: save it as UTF-8$"):
        load_secrets()


@pytest.mark.usefixtures("agent_toml")
def test_every_setting_has_a_variable_that_overrides_agent_toml(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[my-model]\ninput_mtok = 1\noutput_mtok = 1\n", encoding="utf-8")
    given: dict[str, object] = {
        "name": "back-office",
        "voice": "Puck",
        "temperature": 0.5,
        "model": "other",
        "instructions": "Talk.",
        "greeting": "Say hi.",
        "context_compression": False,
        "host": "127.0.0.1",
        "port": 9999,
        "metrics_sinks": ("console",),
        "metrics_jsonl_path": Path("other.jsonl"),
        "metrics_latency_budget_s": 1.5,
        "metrics_answer_limit_s": 5.0,
        "metrics_cost_limit_usd": 0.5,
        "metrics_prices_path": prices,
        "metrics_prometheus_port": 9465,
    }
    text = {key: "console" if key == "metrics_sinks" else str(value) for key, value in given.items()}
    settings = checked_settings({ENVIRONMENT[key]: value for key, value in text.items()}, ["agent.py"])
    found = settings.model_dump()
    assert {key: found[key] for key in given} == given
    assert set(ENVIRONMENT) == set(Settings.model_fields)


@pytest.mark.usefixtures("agent_toml")
def test_a_blank_variable_means_unset() -> None:
    blank = {variable: " " for variable in ENVIRONMENT.values() if variable != "LIVEKIT_AGENT_NAME"}
    assert checked_settings(blank, ["agent.py"]) == checked_settings({}, ["agent.py"])


def test_a_blank_agent_name_means_automatic_dispatch(agent_toml: Path) -> None:
    for blank in ("", " "):
        assert checked_settings({"LIVEKIT_AGENT_NAME": blank}, ["agent.py"]).name == ""
    agent_toml.write_text(VALID_TOML.replace("front-desk", " "), encoding="utf-8")
    assert checked_settings({}, ["agent.py"]).name == ""


@pytest.mark.usefixtures("agent_toml")
def test_sinks_are_named_with_commas_between_them_each_once() -> None:
    settings = checked_settings({"METRICS_SINKS": " console ,jsonl,console,"}, ["agent.py"])
    assert settings.metrics_sinks == ("console", "jsonl")


def test_an_empty_list_of_sinks_in_agent_toml_is_none(agent_toml: Path) -> None:
    agent_toml.write_text("metrics_sinks = []", encoding="utf-8")
    assert checked_settings({}, ["agent.py"]).metrics_sinks == ()


@pytest.mark.usefixtures("agent_toml")
@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("AGENT_TEMPERATURE", "9", "less than or equal to 2"),
        ("AGENT_TEMPERATURE", "-0.1", "greater than or equal to 0"),
        ("AGENT_TEMPERATURE", "hot", "number"),
        ("AGENT_TEMPERATURE", "nan", "less than or equal to 2"),
        ("AGENT_VOICE", "Nobody", "choose from Achernar"),
        ("METRICS_ANSWER_LIMIT_S", "0", "greater than 0"),
        ("AGENT_VOICE", "Pock", "Puck"),
        ("AGENT_PORT", "99999", "65535"),
        ("AGENT_HOST", "front desk", "match pattern"),
        ("AGENT_DRAIN_TIMEOUT_S", "0", "greater than or equal to 1"),
        ("AGENT_CONTEXT_COMPRESSION", "maybe", "boolean"),
        ("METRICS_SINKS", "foo", "choose from "),
        ("METRICS_SINKS", ",", "names no sink: choose from "),
        ("METRICS_LATENCY_BUDGET_S", "0", "greater than 0"),
        ("METRICS_COST_LIMIT_USD", "0", "greater than 0"),
        ("METRICS_COST_LIMIT_USD", "5 cents", "number"),
        ("METRICS_LATENCY_BUDGET_S", "inf", "finite number"),
        ("METRICS_PRICES_PATH", "nowhere.toml", "cannot be read"),
    ],
)
def test_a_wrong_value_is_one_line_with_setting_value_and_what_is_allowed(
    variable: str, value: str, allowed: str
) -> None:
    (problem,) = problems({variable: value})
    assert problem.startswith(f"{variable}={value!r}: ")
    assert allowed in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("temperature = 3", "agent.toml: temperature = 3"),
        ('model = " "', "agent.toml: model = ' '"),
        ('voice = "Nobody"', "agent.toml: voice = 'Nobody': there is no 'Nobody': choose from Achernar"),
        ('metrics_sinks = ["foo"]', "agent.toml: metrics_sinks = 'foo': there is no 'foo': choose from "),
        ('metrics_sinks = ""', "agent.toml: metrics_sinks = '': names no sink: choose from "),
        ("temprature = 1", "agent.toml: 'temprature' is no setting: choose from name, voice"),
        ("voice = Puck", "agent.toml cannot be read: voice: Invalid value (at line "),
    ],
)
def test_a_wrong_line_of_agent_toml_is_told_with_what_is_allowed(agent_toml: Path, line: str, problem: str) -> None:
    key = line.split(" ")[0]
    kept = [old for old in VALID_TOML.splitlines() if not old.startswith(f"{key} ")]
    agent_toml.write_text("\n".join([*kept, line]), encoding="utf-8")
    (told,) = problems({})
    assert told.startswith(problem)
    assert "\n" not in told


def test_an_agent_toml_that_is_no_text_is_told_in_words(agent_toml: Path) -> None:
    agent_toml.write_bytes(b'voice = "\xff"')
    (told,) = problems({})
    assert told.startswith("agent.toml cannot be read: ")


def test_an_agent_toml_that_is_nested_without_end_is_told_in_words(agent_toml: Path) -> None:
    agent_toml.write_text("voice = " + "[" * 3000, encoding="utf-8")
    (told,) = problems({})
    assert told.startswith("agent.toml cannot be read: ")


def test_all_problems_are_told_at_once(agent_toml: Path) -> None:
    agent_toml.write_text('voice = "Nobody"\n', encoding="utf-8")
    told = problems({"AGENT_TEMPERATURE": "9", "METRICS_SINKS": "foo"}, "start")
    assert sorted(line.split("=")[0].split(" ")[0] for line in told) == sorted(
        ["agent.toml:", "AGENT_TEMPERATURE", "METRICS_SINKS", *KEYS]
    )


@pytest.mark.usefixtures("agent_toml")
def test_no_problem_tells_a_secret() -> None:
    assert not any("secret" in line for line in problems({**KEYS, "AGENT_VOICE": "Nobody"}, "dev"))


@pytest.mark.usefixtures("agent_toml")
@pytest.mark.parametrize(
    ("command", "missing"),
    [("console", {"GOOGLE_API_KEY"}), ("connect", set(KEYS)), ("dev", set(KEYS)), ("start", set(KEYS))],
)
def test_keys_are_asked_for_by_the_commands_that_need_them(command: str, missing: set[str]) -> None:
    told = problems({"AGENT_PORT": "0"}, command, "--connect-addr", "127.0.0.1:1")
    assert {line.split(" ")[0] for line in told} == missing
    assert all("is not set: put it into .env.local" in line for line in told)


@pytest.mark.usefixtures("agent_toml")
def test_without_a_command_and_for_help_no_key_is_asked_for() -> None:
    checked_settings({}, ["agent.py"])
    for command in ((), ("console",), ("connect",), ("dev",), ("start",)):
        checked_settings({}, ["agent.py", *command, "--help"])


@pytest.mark.usefixtures("agent_toml")
def test_with_the_keys_every_command_starts() -> None:
    for command in ("connect", "dev", "start"):
        checked_settings({**KEYS, "AGENT_PORT": "0"}, ["agent.py", command])


@pytest.mark.usefixtures("agent_toml")
def test_keys_may_come_from_the_command_line() -> None:
    options = ["--url=ws://localhost", "--api-key", "k", "--api-secret", "s"]
    checked_settings({"GOOGLE_API_KEY": "k"}, ["agent.py", "dev", *options])


@pytest.mark.usefixtures("agent_toml")
def test_vertex_ai_needs_credentials_and_a_project_and_no_google_api_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ, command = {"GOOGLE_GENAI_USE_VERTEXAI": "true"}, ("console", "--connect-addr=127.0.0.1:1")
    path = tmp_path / "credentials.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))  # not the person's own project
    (told,) = problems(environ, *command)
    assert told.startswith("GOOGLE_GENAI_USE_VERTEXAI is set, and credentials cannot be had: run `gcloud auth")
    path.write_text(
        json.dumps({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "t"})
    )
    (told,) = problems(environ, *command)
    assert told.startswith("GOOGLE_CLOUD_PROJECT is not set: put it into .env.local")
    checked_settings({**environ, "GOOGLE_CLOUD_PROJECT": "p"}, ["agent.py", *command])


@pytest.mark.usefixtures("agent_toml")
def test_a_console_without_a_microphone_is_told_before_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [{"max_input_channels": 0, "max_output_channels": 2}]
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(query_devices=lambda: devices))
    assert problems(KEYS, "console") == [
        "`console` finds no microphone: plug one in, or add --text; or `uv run -m demo`"
    ]
    checked_settings(KEYS, ["agent.py", "console", "--text"])
    devices[0]["max_input_channels"] = 1
    checked_settings(KEYS, ["agent.py", "console"])


def test_a_file_from_an_editor_on_windows_is_read(agent_toml: Path) -> None:
    agent_toml.write_text(VALID_TOML, encoding="utf-8-sig")
    assert checked_settings({}, ["agent.py"]).name == "front-desk"


def test_an_agent_without_instructions_is_refused_as_the_template_does(agent_toml: Path) -> None:
    agent_toml.write_text('instructions = ""', encoding="utf-8")
    (told,) = problems({})
    assert told.startswith("agent.toml: instructions = ''")


@pytest.mark.usefixtures("agent_toml")
def test_a_jsonl_file_that_cannot_be_made_is_told_before_a_call(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "metrics.jsonl"
    (told,) = problems({"METRICS_SINKS": "jsonl", "METRICS_JSONL_PATH": str(path)})
    assert told.startswith(f"METRICS_JSONL_PATH={str(path)!r} cannot be written to")


@pytest.mark.parametrize("key", ["metrics_jsonl_path", "metrics_prices_path"])
def test_a_file_that_cannot_be_used_is_told_by_the_setting_that_names_it(agent_toml: Path, key: str) -> None:
    agent_toml.write_text(f'metrics_sinks = ["jsonl"]\n{key} = "nowhere/file"', encoding="utf-8")
    (told,) = problems({})
    assert told.startswith(f"agent.toml: {key} = {str(Path('nowhere/file'))!r}")
    (told,) = problems({ENVIRONMENT[key]: "other/file"})
    assert told.startswith(f"{ENVIRONMENT[key]}={str(Path('other/file'))!r}")


@pytest.mark.usefixtures("agent_toml")
def test_checking_the_jsonl_file_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    checked_settings({"METRICS_SINKS": "jsonl", "METRICS_JSONL_PATH": str(path)}, ["agent.py"])
    assert not path.exists()


@pytest.mark.usefixtures("agent_toml")
def test_a_job_s_process_asks_no_sink_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"METRICS_SINKS": "jsonl", "METRICS_JSONL_PATH": str(tmp_path / "nowhere" / "metrics.jsonl")}
    assert problems(environ)
    monkeypatch.setattr(current_process(), "name", "job_proc")
    assert checked_settings(environ, ["agent.py"]).metrics_sinks == ("jsonl",)


@pytest.mark.usefixtures("agent_toml")
def test_the_jsonl_file_is_not_asked_for_where_nobody_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "metrics.jsonl"
    checked_settings({"METRICS_SINKS": "log", "METRICS_JSONL_PATH": str(path)}, ["agent.py"])


@pytest.mark.usefixtures("agent_toml")
def test_the_health_check_listens_where_the_settings_say() -> None:
    settings = checked_settings({"METRICS_SINKS": "log", "AGENT_PORT": "9090", "AGENT_HOST": "10.0.0.7"}, ["agent.py"])
    for command in ("start", "console"):
        assert server_options(settings, ["agent.py", command]) == {
            "host": "10.0.0.7",
            "port": 9090,
            "preload_modules": ["realtime_metrics.hangup"],
            "log_level": "INFO",
        }


@pytest.mark.usefixtures("agent_toml")
@pytest.mark.parametrize("name", ["AGENT_PORT", "METRICS_PROMETHEUS_PORT"])
def test_a_port_that_is_taken_is_told_before_a_call(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ = {**KEYS, "METRICS_SINKS": "prometheus", "METRICS_PROMETHEUS_PORT": "0", name: port}
        (told,) = problems(environ, "dev")
        assert told.startswith(f"{name}={port} cannot be listened at (")
        assert told.endswith("): name a free port, or 0 for any")
        environ[name] = "0"
        checked_settings(environ, ["agent.py", "dev"])
        environ |= {"AGENT_PORT": port, "METRICS_PROMETHEUS_PORT": port}
        (told,) = problems(environ, "dev")
        assert told == f"METRICS_PROMETHEUS_PORT={port} is the health check's port, too: name another, or 0 for any"
        environ |= {"METRICS_PROMETHEUS_PORT": "0", name: port}
        if name == "AGENT_PORT":
            checked_settings(environ, ["agent.py", "start", "--simulation"])
            checked_settings(environ, ["agent.py"])


@pytest.mark.usefixtures("agent_toml")
def test_an_address_that_is_not_of_this_machine_is_told_once_before_a_call() -> None:
    environ = {**KEYS, "METRICS_SINKS": "prometheus", "AGENT_HOST": "203.0.113.9", "AGENT_PORT": "9090"}
    (told,) = problems(environ, "start")
    assert told.startswith("AGENT_HOST='203.0.113.9' cannot be listened at (")
    assert told.endswith("): name an address of this machine")


@pytest.mark.usefixtures("agent_toml")
def test_only_a_deployed_server_listens_on_every_address() -> None:
    settings = checked_settings({"METRICS_SINKS": "log"}, ["agent.py"])
    assert "host" not in server_options(settings, ["agent.py", "start"])
    for arguments in (["dev"], ["console"], ["start", "agent.py", "--dev"], []):
        assert server_options(settings, ["agent.py", *arguments])["host"] == "127.0.0.1"


@pytest.mark.usefixtures("agent_toml")
@pytest.mark.parametrize(
    "url",
    ["my-project.livekit.cloud", "localhost:7880", "wss://", "wss://[bad", "wss://℀.com", "ws://localhost:78800"],
)
def test_a_livekit_url_that_is_no_address_is_told_before_a_call(url: str) -> None:
    (told,) = problems({**KEYS, "LIVEKIT_URL": url}, "dev")
    assert told == f"LIVEKIT_URL={url!r} is no address: it has to be like wss://HOST (or ws://, http://, https://)"


@pytest.mark.usefixtures("agent_toml")
@pytest.mark.parametrize("url", ["wss://my-project.livekit.cloud", "ws://localhost:7880", "http://[::1]:7880/rtc"])
def test_a_livekit_url_may_have_a_port_and_a_path(url: str) -> None:
    checked_settings({**KEYS, "LIVEKIT_URL": url}, ["agent.py", "dev"])


@pytest.mark.parametrize("change", [{"instructions": "Be long."}, {"greeting": "Sing."}, {"voice": "Kore"}])
def test_the_revision_changes_with_what_the_model_is_told(change: dict[str, str]) -> None:
    before = Settings()
    assert len(before.revision(["look"])) == 8
    assert before.revision(["look", "find"]) == Settings().revision(["find", "look"])
    assert before.revision(["look"]) != before.revision([])
    assert before.revision([]) != Settings.model_validate(change).revision([])
