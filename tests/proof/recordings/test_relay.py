"""The relay passes everything on as it is, at once, and only to a service that proves who it is."""

import asyncio
import contextlib
import http
import json
import os
import ssl
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

from demo.agent_process import PROJECT, clean_environment
from demo.gemini_server import GeminiLiveServer
from demo.record import Relay
from demo.recording import FOLDER, Line, Recorder, read

ADDED_S = 0.005


async def echo(end: ServerConnection) -> None:
    async for message in end:
        await end.send(message)


@asynccontextmanager
async def service(
    serving: Callable[[ServerConnection], Awaitable[None]], refuses: int | None = None
) -> AsyncIterator[str]:
    """A service without TLS; its base URL."""

    def answer(end: ServerConnection, request: Request) -> Response | None:
        return end.respond(http.HTTPStatus(refuses), "no such key: k3y") if refuses else None

    async with serve(serving, "127.0.0.1", 0, process_request=answer, max_size=None) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def relayed(url: str, folder: Path, authorities: str | None = None) -> AsyncIterator[ClientConnection]:
    """A connection to a service through the relay."""
    recorder = Recorder(folder / "relay.jsonl")
    async with Relay(url, authorities, recorder) as relay:
        trusted = ssl.create_default_context(cafile=relay.env["SSL_CERT_FILE"])
        address = relay.env["GOOGLE_GEMINI_BASE_URL"].replace("https", "wss")
        async with connect(
            f"{address}/ws/x?alt=1",
            ssl=trusted,
            proxy=None,
            max_size=None,
            additional_headers={"x-goog-api-key": "k3y"},
        ) as end:
            yield end
    recorder.close()


def lines(folder: Path, kind: str) -> list[Line]:
    return [line for line in read(str(folder / "relay.jsonl")).lines if line.kind == kind]


async def test_frames_keep_their_kind_and_their_content(tmp_path: Path) -> None:
    sent: list[str | bytes] = ['{"a": {}}', b'{"b": {}}', "no JSON", b"\x00\xff", "x" * 3_000_000]
    async with service(echo) as url, relayed(url, tmp_path) as end:
        for message in sent:
            await end.send(message)
        assert [await end.recv() for _ in sent] == sent
    assert [line.binary for line in lines(tmp_path, "message")] == [False, True]


async def test_path_and_headers_are_those_of_the_client(tmp_path: Path) -> None:
    async def tell(end: ServerConnection) -> None:
        assert end.request is not None
        await end.send(
            f"{end.request.path} {end.request.headers['x-goog-api-key']} {end.request.headers['User-Agent']}"
        )

    async with service(tell) as url, relayed(url, tmp_path) as end:
        assert end.request is not None
        assert await end.recv() == f"/ws/x?alt=1 k3y {end.request.headers['User-Agent']}"
    assert "k3y" not in (tmp_path / "relay.jsonl").read_text("utf-8")


@pytest.mark.parametrize(("code", "reason"), [(1011, "Internal error encountered."), (1008, "leaked k3y"), (1000, "")])
async def test_the_services_close_arrives_with_code_and_reason(tmp_path: Path, code: int, reason: str) -> None:
    async with service(lambda end: end.close(code, reason)) as url, relayed(url, tmp_path) as end:
        with pytest.raises(ConnectionClosed):
            await end.recv()
        assert (end.close_code, end.close_reason) == (code, reason)
    (close,) = lines(tmp_path, "close")
    assert (close.source, close.code, close.reason) == ("server", code, reason.replace("k3y", "…"))


async def test_the_clients_close_arrives_with_code_and_reason(tmp_path: Path) -> None:
    seen: asyncio.Future[tuple[int | None, str | None]] = asyncio.get_running_loop().create_future()

    async def wait(end: ServerConnection) -> None:
        await end.wait_closed()
        seen.set_result((end.close_code, end.close_reason))

    async with service(wait) as url, relayed(url, tmp_path) as end:
        await end.close(4001, "enough")
        assert await asyncio.wait_for(seen, 3) == (4001, "enough")
    (close,) = lines(tmp_path, "close")
    assert (close.source, close.code) == ("client", 4001)


async def test_a_connection_that_breaks_breaks_at_the_other_end_too(tmp_path: Path) -> None:
    async def break_off(end: ServerConnection) -> None:
        end.transport.abort()

    async with service(break_off) as url, relayed(url, tmp_path) as end:
        with pytest.raises(ConnectionClosed):
            await end.recv()
        assert end.close_code == 1006
    (close,) = lines(tmp_path, "close")
    assert (close.source, close.code) == ("server", 1006)


async def test_a_refusal_arrives_with_its_status(tmp_path: Path) -> None:
    async with service(echo, refuses=401) as url:
        with pytest.raises(InvalidStatus) as refused:
            async with relayed(url, tmp_path):
                pass
    assert refused.value.response.status_code == 401
    assert refused.value.response.body == b"no such key: k3y"
    (line,) = lines(tmp_path, "refused")
    assert (line.status, line.reason) == (401, "no such key: …")


async def test_a_service_that_cannot_prove_who_it_is_gets_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with GeminiLiveServer() as impostor:
        with pytest.raises(InvalidStatus) as refused:
            async with relayed(impostor.env["GOOGLE_GEMINI_BASE_URL"], tmp_path):
                pass
        assert refused.value.response.status_code == 502
        assert impostor.times("connect") == []
    assert "certificate verify failed" in capsys.readouterr().err


@pytest.mark.timing
async def test_less_than_5_ms_are_added_and_the_command_says_how_much() -> None:
    async with service(echo) as url:
        env = clean_environment({"GOOGLE_GEMINI_BASE_URL": url, "no_proxy": "127.0.0.1"})
        client = (sys.executable, "-m", "tests.proof.recordings.echo_client", url)
        with unused_name() as name:
            running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "demo.record", name, "--", *client),
                cwd=PROJECT,
                env=env,
                stdout=asyncio.subprocess.PIPE,
            )
            told = (await running.communicate())[0].decode().splitlines()
    took_s = json.loads(told[0])
    through_s, past_s = (statistics.quantiles(took_s[way], n=100)[98] for way in ("through", "past"))
    assert (through_s - past_s) / 2 < ADDED_S, (through_s, past_s)
    assert "Passing a message on took" in told[1]
    assert float(told[1].split("(median), ")[1].split(" ms")[0]) / 1e3 < ADDED_S


@contextlib.contextmanager
def unused_name() -> Iterator[str]:
    name = f"proof-{os.getpid()}"
    try:
        yield name
    finally:
        (FOLDER / f"{name}.jsonl").unlink(missing_ok=True)
