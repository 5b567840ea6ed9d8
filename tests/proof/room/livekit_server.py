"""A real LiveKit server on this machine, for one test: it listens on loopback alone."""

import asyncio
import json
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import pytest
from livekit import api

from testcall.caller import LiveKit
from tests.fakes.call import until

needs_livekit_server = pytest.mark.skipif(
    shutil.which("livekit-server") is None, reason="livekit-server is not on the PATH (docs.livekit.io: self-hosting)"
)

ADDRESS = "127.0.0.1"
KEY = "testkey"
SECRET = "a-secret-that-only-this-test-knows"


class LiveKitServer:
    """`async with LiveKitServer(folder) as server:` runs it.

    Attributes:
        env: the variables that lead an agent server and `testcall` here.
        livekit: the same, for a caller.
        within: what stands before the command of a caller.
        log: what it writes.
    """

    within: Sequence[str] = ()

    def __init__(self, folder: Path) -> None:
        self.log = folder / "livekit-server.log"
        self._port, udp_port = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
        url = f"ws://{ADDRESS}:{self._port}"
        self.livekit = LiveKit(url, KEY, SECRET)
        # a proxy of the person's has no business between two local ends
        none = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")
        self.env = {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET, "AGENT_PORT": "0", **none}
        rtc = {
            "node_ip": ADDRESS,
            "use_external_ip": False,
            "enable_loopback_candidate": True,
            "ips": {"includes": [f"{ADDRESS}/32"]},
            "tcp_port": 0,
            "udp_port": udp_port,
        }
        config = {
            "port": self._port,
            "bind_addresses": [ADDRESS],
            "keys": {KEY: SECRET},
            "rtc": rtc,
            # this machine is busy with tests: it would send nobody to an agent server at load 0.7
            "agents": {"target_load": 2.0},
        }
        self._command = ["livekit-server", "--config-body", json.dumps(config)]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Starts it, also again; returns when it answers."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdout=log, stderr=log)
        await self.answers()

    async def answers(self) -> None:
        """Until it does.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(20), aiohttp.ClientSession() as client:
            while True:
                with suppress(aiohttp.ClientError):
                    async with client.get(f"http://{ADDRESS}:{self._port}") as answer:
                        if answer.ok:
                            return
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """Ends it at once, without a word to anybody."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def registered(self, number: int = 1, timeout_s: float = 60.0) -> None:
        """Until so many agent servers have registered since the beginning.

        Raises:
            TimeoutError: there are fewer.
        """
        await until(lambda: self.log.read_text("utf-8").count("worker registered") >= number, timeout_s)

    async def rooms(self) -> list[str]:
        """The rooms that there are."""
        async with self.livekit.api() as server:
            return [room.name for room in (await server.room.list_rooms(api.ListRoomsRequest())).rooms]


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port
