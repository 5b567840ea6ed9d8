"""`uv run -m demo.record NAME -- uv run agent.py console`: records a real call's wire, without what is said in it.

A relay on this machine stands between the agent's Google plugin and the real service. It passes everything on, as it is
and at once, and writes `demo/recordings/NAME.jsonl`, for `uv run -m demo --replay NAME`.
"""

import argparse
import asyncio
import contextlib
import http
import os
import signal
import ssl
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import certifi
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Close, CloseCode
from websockets.http11 import Request, Response

from demo.local_service import LocalService
from demo.recording import Recorder, RecordingError, path_of
from realtime_metrics.log import clean
from realtime_metrics.settings import SettingsError, load_secrets

GOOGLE = "https://generativelanguage.googleapis.com"
OF_THE_CONNECTION = ("host", "connection", "upgrade", "content-length", "proxy-", "sec-websocket-")
"""Headers that each of the two connections has of its own."""
BROKEN = Close(CloseCode.ABNORMAL_CLOSURE, "")
"""How a connection ends that ends without a word."""


class _Punctual(Connection):
    """A connection that knows when it last received something, before anything is done with it."""

    received_at = 0.0

    def data_received(self, data: bytes) -> None:
        self.received_at = time.perf_counter()
        super().data_received(data)


class _Client(_Punctual, ServerConnection):
    """The plugin's end."""


class _Service(_Punctual, ClientConnection):
    """The real service's end."""


class Relay(LocalService):
    """Passes on what the plugin and the service say to each other.

    Attributes:
        delays_s: of each message, from its arrival until it was handed on.
    """

    connection_class = _Client

    def __init__(self, service: str, authorities: str | None, recorder: Recorder) -> None:
        """`service` is the real base URL; `authorities` a file of who may vouch for it, if not the system's."""
        super().__init__()
        self.delays_s: list[float] = []
        self.connections = count()
        self._service = service.rstrip("/").replace("http", "ws", 1)
        self._authorities = authorities
        self._recorder = recorder
        self._failures: Counter[str] = Counter()
        self._services: dict[ServerConnection, tuple[int, _Service]] = {}

    async def __aenter__(self) -> Self:
        self._began_at = time.perf_counter()
        self._tls = ssl.create_default_context(cafile=self._authorities) if self._service.startswith("wss:") else None
        await super().__aenter__()
        self._trust_the_others_too(Path(self.env["SSL_CERT_FILE"]))
        return self

    def _trust_the_others_too(self, bundle: Path) -> None:
        """What else the agent connects to, such as LiveKit, is to be trusted as before."""
        trusted = Path(self._authorities or certifi.where()).read_text("utf-8")
        bundle.write_text(f"{bundle.read_text('utf-8')}\n{trusted}", "utf-8")

    @property
    def told_delays(self) -> str:
        """How long messages took through the relay, in words."""
        if len(self.delays_s) < 2:
            return ""
        parts = statistics.quantiles(self.delays_s, n=100, method="inclusive")
        median, most = (f"{delay_s * 1e3:.2f} ms" for delay_s in (parts[49], max(self.delays_s)))
        lost = "".join(f" {times} lines are missing: {kind}." for kind, times in self._failures.items())
        return f"Passing a message on took {median} (median), {parts[98] * 1e3:.2f} ms (p99), {most} (longest).{lost}"

    async def _shake_hands(self, websocket: ServerConnection, request: Request) -> Response | None:
        number = next(self.connections)
        self._note(self._recorder.note, "client", "connect", number)
        headers = [each for each in request.headers.raw_items() if not each[0].lower().startswith(OF_THE_CONNECTION)]
        query = parse_qs(urlsplit(request.path).query)
        keys = [*request.headers.get_all("x-goog-api-key"), *request.headers.get_all("authorization")]
        for key in (*keys, *query.get("key", ()), *query.get("access_token", ())):
            self._recorder.hide(key.rpartition(" ")[2])
        try:
            service = await connect(
                f"{self._service}{request.path}",
                ssl=self._tls,
                additional_headers=headers,
                user_agent_header=None,
                create_connection=_Service,
                compression=None,
                max_size=None,
                close_timeout=1,
            )
        except InvalidStatus as refusal:
            body = (refusal.response.body or b"").decode("utf-8", "replace")
            return self._refuse(websocket, number, refusal.response.status_code, body)
        except (OSError, WebSocketException, ImportError) as error:  # ImportError: of a SOCKS proxy
            told = f"{type(error).__name__}: {error}"
            print(f"demo.record: no connection to {clean(self._service)}: {clean(told)}", file=sys.stderr)
            return self._refuse(websocket, number, 502, "the relay has no connection to the service")
        assert isinstance(service, _Service)
        self._services[websocket] = number, service
        self._note(self._recorder.note, "server", "accept", number)
        return None

    def _refuse(self, websocket: ServerConnection, number: int, status: int, body: str) -> Response:
        self._note(self._recorder.note, "server", "refused", number, status=status, reason=body)
        known = status in http.HTTPStatus.__members__.values()
        return websocket.respond(http.HTTPStatus(status) if known else http.HTTPStatus.BAD_GATEWAY, body)

    async def _serve(self, websocket: ServerConnection) -> None:
        number, service = self._services.pop(websocket)
        assert isinstance(websocket, _Client)
        pumps = [
            asyncio.create_task(self._pass_on(service, websocket, number, self._recorder.server)),
            asyncio.create_task(self._pass_on(websocket, service, number, self._recorder.client)),
        ]
        done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        closed = done.pop().result()
        close = closed.protocol.close_rcvd or BROKEN
        source, other = ("server", websocket) if closed is service else ("client", service)
        self._note(self._recorder.note, source, "close", number, code=close.code, reason=close.reason)
        if close.code == CloseCode.ABNORMAL_CLOSURE:
            other.transport.abort()
        else:
            unsaid = close.code == CloseCode.NO_STATUS_RCVD
            await other.close(CloseCode.NORMAL_CLOSURE if unsaid else close.code, close.reason)
        await asyncio.gather(*pumps)

    async def _pass_on(self, source: _Punctual, target: _Punctual, number: int, note: Callable[..., None]) -> _Punctual:
        """Until one of the two is closed: that one."""
        while True:
            try:
                message = await source.recv()
            except ConnectionClosed:
                return source
            came_at = source.received_at
            try:
                await target.send(message)
            except ConnectionClosed:
                return target
            self.delays_s.append(time.perf_counter() - came_at)
            self._note(note, number, message, at=came_at)

    def _note(self, note: Callable[..., None], *what: Any, at: float | None = None, **more: Any) -> None:
        """Has something written down; the call goes on, whatever becomes of that."""
        try:
            note((time.perf_counter() if at is None else at) - self._began_at, *what, **more)
        except Exception as error:
            self._failures[type(error).__name__] += 1


def main() -> int:
    """Runs the command behind the relay; its exit code."""
    parser = argparse.ArgumentParser(
        prog="uv run -m demo.record", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", help="of the recording: demo/recordings/NAME.jsonl")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="what runs the agent, after --")
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        parser.error("say what runs the agent, as in: -- uv run agent.py console")
    try:
        load_secrets()
        recorder = Recorder(path_of(arguments.name))
    except (SettingsError, RecordingError, OSError) as error:
        print(f"demo.record: {error}", file=sys.stderr)
        return 2
    # Ctrl-C is the agent's, which has the same terminal; this program ends when the agent has
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return asyncio.run(_record(recorder, command))
    except OSError as error:
        print(f"demo.record: {command[0]!r} cannot be run: {error.strerror or error}", file=sys.stderr)
        return 2
    finally:
        recorder.close()
        if not recorder.lines:
            recorder.path.unlink()


async def _record(recorder: Recorder, command: list[str]) -> int:
    service = os.environ.get("GOOGLE_GEMINI_BASE_URL") or GOOGLE
    async with Relay(service, os.environ.get("SSL_CERT_FILE"), recorder) as relay:
        unproxied = ",".join(filter(None, [os.environ.get("no_proxy"), relay.env["no_proxy"]]))
        env = {**os.environ, **relay.env, "no_proxy": unproxied, "NO_PROXY": unproxied}
        agent = await asyncio.create_subprocess_exec(*command, env=env)
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.terminate)
        code = await agent.wait()
    if not recorder.lines:
        print("demo.record: nothing was recorded: the agent did not connect to Gemini", file=sys.stderr)
        return code or 1
    print(f"Recorded {recorder.path}: {recorder.lines} lines. {relay.told_delays}")
    print(f"Play it: uv run -m demo --replay {recorder.path.stem}")
    return code


if __name__ == "__main__":
    sys.exit(main())
