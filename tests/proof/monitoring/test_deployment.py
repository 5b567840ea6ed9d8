"""The manifests as a linter sees them, and the figures of a stop, which have to agree wherever they stand."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from demo.agent_process import PROJECT
from realtime_metrics.writer import DRAIN_S

OPS = PROJECT / "ops"
KUBERNETES = sorted((OPS / "kubernetes").glob("*.yaml"))
KUBE_SCORE = "github.com/zegl/kube-score/cmd/kube-score@v1.20.0"
DOCKER_STOP_S = 10
HANG_UP_S = 1.0


@pytest.mark.skipif(not shutil.which("kube-score") and not shutil.which("go"), reason="needs kube-score, or Go")
def test_the_manifests_have_no_lint() -> None:
    """It asks for distinct probes, a policy for egress, ephemeral storage, and pods that are spread over hosts."""
    command = ["kube-score"] if shutil.which("kube-score") else ["go", "run", KUBE_SCORE]
    # a call whose CPU is throttled stutters; where the image comes from is the owner's
    left_out = ["--ignore-container-cpu-limit", "--ignore-test", "container-image-pull-policy"]
    told = subprocess.run([*command, "score", *left_out, *map(str, KUBERNETES)], capture_output=True, text=True)
    if "dial tcp" in told.stderr or "no such host" in told.stderr:
        pytest.skip("needs a Go module proxy")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "WARNING" not in told.stdout, told.stdout


def test_whoever_stops_an_agent_waits_longer_than_it_lets_its_calls_go_on() -> None:
    pod = _deployment()["spec"]["template"]["spec"]
    drain = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}["AGENT_DRAIN_TIMEOUT_S"]
    agent = yaml.safe_load((OPS / "compose.yaml").read_text("utf-8"))["services"]["agent"]
    (image,) = re.findall(r"AGENT_DRAIN_TIMEOUT_S=(\d+)", (PROJECT / "Dockerfile").read_text("utf-8"))
    graces = {
        int(drain): pod["terminationGracePeriodSeconds"],
        int(agent["environment"]["AGENT_DRAIN_TIMEOUT_S"]): int(agent["stop_grace_period"].removesuffix("s")),
        int(image): DOCKER_STOP_S,
    }
    for drain_s, grace_s in graces.items():
        assert drain_s + HANG_UP_S + DRAIN_S < grace_s, "calls are ended, and report, before they are killed"


def _deployment() -> dict[str, Any]:
    manifests = [part for path in KUBERNETES for part in yaml.safe_load_all(path.read_text("utf-8"))]
    deployment: dict[str, Any] = next(part for part in manifests if part["kind"] == "Deployment")
    return deployment
