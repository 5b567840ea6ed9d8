"""Docker's network without Docker: each container is a network namespace, and published ports are passed on.

The host is a namespace too: nothing of this machine's own network changes, and no port of it is taken.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
Address = tuple[str, int]

CLONE_NEWNET = 0x40000000
"""Of Linux' `sched.h`; `os.setns` is there from Python 3.12 on."""
BRIDGE = "bridge"
GATEWAY = "172.18.0.1"
"""The bridge's own address, as Docker gives it; these addresses exist only in the namespaces."""
LAN = "192.168.178.20"
"""The host's address in a network of its own, where nobody else is."""
ROUTER = "192.168.178.1"


def why_not() -> str:
    """Why no network namespaces can be made here; empty where they can."""
    if sys.platform != "linux":
        return "network namespaces are there on Linux only"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    if shutil.which("ip") is None:
        return "ip (iproute2) is not on the PATH"
    name = f"probe-{os.getpid()}"
    tried = _ip("netns", "add", name), _ip("-n", name, "link", "add", BRIDGE, "type", "bridge")
    _ip("netns", "del", name)
    problems = [done.stderr.strip() for done in tried if done.returncode]
    return f"this machine allows no network namespaces with a bridge: {problems[0]}" if problems else ""


def _ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


class Namespace:
    """One machine, or container.

    Attributes:
        address: its own.
        within: what stands before a command that is to run there.
    """

    def __init__(self, name: str, address: str) -> None:
        self.address = address
        self._name = f"{name}-{os.getpid()}"
        self.within = ("ip", "netns", "exec", self._name)
        self._etc = Path("/etc/netns", self._name)  # `ip netns exec` lays these files over those of /etc
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)

    def make(self, known: dict[str, str]) -> None:
        """`known`: the addresses of those whom it knows by name."""
        done = _ip("netns", "add", self._name)
        assert done.returncode == 0, done.stderr
        self.ip("link set lo up")
        self._etc.mkdir(parents=True)
        hosts = {"localhost": "127.0.0.1", **known}
        self._etc.joinpath("hosts").write_text("".join(f"{at} {name}\n" for name, at in hosts.items()), "utf-8")
        self._etc.joinpath("resolv.conf").write_text("", "utf-8")  # nobody else answers

    def ip(self, words: str) -> None:
        """Runs `ip` in it."""
        done = _ip("-n", self._name, *words.split())
        assert done.returncode == 0, done.stderr

    def plug_into(self, bridge: "Namespace") -> None:
        """A cable to the bridge."""
        plug = f"veth{self.address.rpartition('.')[2]}"
        self.ip(f"link add eth0 type veth peer name {plug} netns {bridge._name}")
        bridge.ip(f"link set {plug} master {BRIDGE} up")
        self.ip(f"address add {self.address}/16 dev eth0")
        self.ip("link set eth0 up")
        self.ip(f"route add default via {GATEWAY}")

    def remove(self) -> None:
        """With everything in it: processes, cables, a bridge."""
        self._thread.shutdown()
        for pid in _ip("netns", "pids", self._name).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "del", self._name)
        shutil.rmtree(self._etc, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._etc.parent.rmdir()  # unless somebody else uses it

    def run(self, function: Callable[[], T]) -> T:
        """What the function returns, whose connections begin there."""
        return self._thread.submit(function).result()

    def socket(self, kind: socket.SocketKind, at: Address | None = None) -> socket.socket:
        """A socket of there, bound to an address if one is given."""
        made = self.run(lambda: socket.socket(socket.AF_INET, kind))
        made.setblocking(False)
        if at is not None:
            made.bind(at)
        return made

    def _enter(self) -> None:
        """A thread can leave its process's namespace, and its sockets stay where they were made."""
        with open(f"/run/netns/{self._name}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")


class Network:
    """`async with Network("livekit", "agent", host_on_bridge=True) as network:` has containers that know each other.

    Attributes:
        host: where ports are published.
        containers: by their names.
    """

    def __init__(self, *names: str, host_on_bridge: bool) -> None:
        """`host_on_bridge`: as on Linux. Docker Desktop's bridge is in a virtual machine, which only ports lead to."""
        self._known = {name: f"172.18.0.{number}" for number, name in enumerate(names, 2)}
        self.containers = {name: Namespace(name, address) for name, address in self._known.items()}
        self.host = Namespace("host", LAN)
        self._docker = self.host if host_on_bridge else Namespace("docker", GATEWAY)
        self._passing_on: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Network":
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._passing_on:
            task.cancel()
        await asyncio.gather(*self._passing_on, return_exceptions=True)
        self._remove()

    def publish(self, kind: socket.SocketKind, at: Address, name: str, port: int) -> None:
        """What comes to an address of the host goes to a container's port: Docker's proxy."""
        to = (self.containers[name].address, port)
        self.pass_on(self.host.socket(kind, at), lambda: self._docker.socket(kind), to)

    def pass_on(self, listening: socket.socket, end: Callable[[], socket.socket], to: Address) -> None:
        """What comes to a socket goes on to an address; each client has an `end` of its own, which is made for it."""
        self._passing_on.append(asyncio.create_task(_Proxy(listening, end, to).run()))

    def _make(self) -> None:
        for namespace in {self.host, self._docker}:
            namespace.make({})
        self.host.ip("link add lan type veth peer name router")
        self.host.ip(f"address add {LAN}/24 dev lan")
        self.host.ip("link set lan up")
        self.host.ip("link set router up")
        self.host.ip(f"route add default via {ROUTER}")
        self._docker.ip(f"link add {BRIDGE} type bridge")
        self._docker.ip(f"address add {GATEWAY}/16 dev {BRIDGE}")
        self._docker.ip(f"link set {BRIDGE} up")
        for container in self.containers.values():
            container.make(self._known)
            container.plug_into(self._docker)

    def _remove(self) -> None:
        for namespace in {self.host, self._docker, *self.containers.values()}:
            namespace.remove()


class _Proxy:
    """Passes on what comes to one socket."""

    def __init__(self, listening: socket.socket, end: Callable[[], socket.socket], to: Address) -> None:
        self._listening = listening
        self._end = end
        self._to = to
        self._loop = asyncio.get_running_loop()
        self._clients: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            with self._listening:
                await (self._streams() if self._listening.type == socket.SOCK_STREAM else self._datagrams())
        finally:
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    async def _streams(self) -> None:
        self._listening.listen()
        while True:
            near, _ = await self._loop.sock_accept(self._listening)
            self._start(self._stream(near))

    async def _stream(self, near: socket.socket) -> None:
        with near, self._end() as far, contextlib.suppress(OSError):
            await self._loop.sock_connect(far, self._to)
            await asyncio.gather(self._one_way(near, far), self._one_way(far, near))

    async def _one_way(self, source: socket.socket, to: socket.socket) -> None:
        while data := await self._loop.sock_recv(source, 1 << 16):
            await self._loop.sock_sendall(to, data)
        to.shutdown(socket.SHUT_WR)

    async def _datagrams(self) -> None:
        ends: dict[Address, socket.socket] = {}
        while True:
            data, client = await self._loop.sock_recvfrom(self._listening, 1 << 16)
            if client not in ends:
                ends[client] = self._end()
                ends[client].connect(self._to)
                self._start(self._datagrams_back(ends[client], client))
            with contextlib.suppress(ConnectionRefusedError):  # nobody listens any more
                await self._loop.sock_sendall(ends[client], data)

    async def _datagrams_back(self, end: socket.socket, client: Address) -> None:
        with end:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    data = await self._loop.sock_recv(end, 1 << 16)
                    await self._loop.sock_sendto(self._listening, data, client)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._clients.add(asyncio.create_task(work))
