"""`ops/compose.yaml` leads to calls with sound: the caller on the host, LiveKit and the agent each in a container.

Without Docker: network namespaces are its network, and the programs of this machine are its images.
"""

import re
import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from demo.agent_process import PROJECT, AgentProcess
from demo.gemini_server import GeminiLiveServer
from demo.scenario import Reply, Scenario, Turn
from tests.proof.monitoring.prometheus_server import scraped
from tests.proof.room.livekit_server import LiveKitServer, needs_livekit_server
from tests.proof.room.namespaces import Address, Network, why_not
from tests.proof.room.place import ROOM_AGENT, Place, testcall
from tests.proof.room.test_calls import STOPWATCH_S, WAY_S

COMPOSE = PROJECT / "ops" / "compose.yaml"
pytestmark = [
    needs_livekit_server,
    pytest.mark.skipif(not COMPOSE.exists(), reason="ops/ was deleted"),
    pytest.mark.timing,
]

TALK = Scenario(
    greeting=Reply(text="Hello!", audio_s=0.8, latency_s=0.2),
    turns=(
        Turn(user="rain", text="No, it stays sunny. " * 10, audio_s=5.0, latency_s=0.3),
        Turn(user="moon", text="Far, far away.", audio_s=1.5, latency_s=0.6),
    ),
)


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if reason := why_not():
        pytest.skip(reason)


@pytest.mark.parametrize("docker", ["on Linux", "Desktop"])
async def test_a_caller_on_the_host_talks_to_the_agent_in_its_container(docker: str, tmp_path: Path) -> None:
    services = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    network = Network("livekit", "agent", "prometheus", host_on_bridge=docker == "on Linux")
    async with AsyncExitStack() as stack:
        gemini = await stack.enter_async_context(GeminiLiveServer(TALK))
        await stack.enter_async_context(network)
        livekit = await stack.enter_async_context(ComposedServer(tmp_path, network, services["livekit"]))
        jsonl = tmp_path / "metrics.jsonl"
        settings: dict[str, str] = services["agent"]["environment"]
        beside = {"METRICS_SINKS": f"jsonl,{settings['METRICS_SINKS']}", "METRICS_JSONL_PATH": str(jsonl)}
        lead_to_gemini(network, gemini)
        agent = ContainedAgent(network.containers["agent"].within, {**gemini.env, **settings, **beside})
        it = Place(livekit, gemini, jsonl, [await stack.enter_async_context(agent)], stack)
        await livekit.registered()

        call_it = ("--turns", "2", "--json", "--records", str(jsonl))
        result = await testcall(livekit, *call_it)
        assert (result.code, result.figures["unanswered"]) == (0, 0), result.stdout + result.stderr
        (call,) = result.figures["calls"]
        for turn in call["turns"]:
            assert -STOPWATCH_S <= turn["difference_s"] <= WAY_S + STOPWATCH_S, call
        assert call["time_to_answer_s"] is not None, "the greeting is heard"
        assert call["turns"][1]["talk_over_s"] > 0, "and the agent hears the caller while it speaks"
        assert livekit.ways_of_sound() == ["udp", "udp"], "both the caller's and the agent's"
        session = await it.session(call["room"])
        assert (session["user_turns"], session["unanswered"], session["interrupted"]) == (2, 0, 1)
        assert list(it.billed().values()) == [session["total_tokens"]]

        # Prometheus' container reaches the agent's
        scrape = partial(scraped, int(settings["METRICS_PROMETHEUS_PORT"]), network.containers["agent"].address)
        metrics = network.containers["prometheus"].run(scrape)
        assert metrics["realtime_responses_total"] == len(it.records("response")) == 3


class ComposedServer(LiveKitServer):
    """LiveKit as compose runs it, for a caller on the host."""

    def __init__(self, folder: Path, network: Network, service: dict[str, Any]) -> None:
        super().__init__(folder)
        self.within = network.host.within
        self.env = {
            "LIVEKIT_URL": "ws://localhost:7880",
            "LIVEKIT_API_KEY": "devkey",
            "LIVEKIT_API_SECRET": "secret",
        }
        self._command = [*network.containers["livekit"].within, "livekit-server", *shlex.split(service["command"])]
        for kind, at, port in published(service):
            network.publish(kind, at, "livekit", port)

    async def answers(self) -> None:
        """`depends_on` waits until it runs, and no longer."""

    def ways_of_sound(self) -> list[str]:
        """What each participant's sound came by, in the order in which they came."""
        return re.findall(r'participant active\t.*"connectionType": "(\w+)"', self.log.read_text("utf-8"))


class ContainedAgent(AgentProcess):
    """An agent server in its container."""

    def __init__(self, within: Sequence[str], env: dict[str, str]) -> None:
        super().__init__("start", ROOM_AGENT, env=env)
        self._command = [*within, *self._command]


def published(service: dict[str, Any]) -> Iterator[tuple[socket.SocketKind, Address, int]]:
    """Its ports: the kind, the host's address, and the container's port."""
    for line in service["ports"]:
        ports, _, protocol = line.partition("/")
        host, port, inside = ports.split(":")
        yield socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM, (host, int(port)), int(inside)


def lead_to_gemini(network: Network, gemini: GeminiLiveServer) -> None:
    """The agent's own loopback leads to that of the test, where the local Gemini Live server is."""
    url = urlsplit(gemini.env["GOOGLE_GEMINI_BASE_URL"])
    assert url.hostname is not None
    assert url.port is not None
    at = (url.hostname, url.port)
    network.pass_on(network.containers["agent"].socket(socket.SOCK_STREAM, at), of_the_test, at)


def of_the_test() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    return made
