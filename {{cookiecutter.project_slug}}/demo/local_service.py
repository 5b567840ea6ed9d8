"""A local end of the wire that the Google plugin talks to as to Google: TLS with an authority made for one run."""

import ssl
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

HOST = "localhost"
ADDRESS = "127.0.0.1"


class LocalService:
    """What the local Gemini Live server and the relay share: `async with` runs it.

    Attributes:
        env: the environment variables that lead the Google plugin here; they are there once it runs.
    """

    connection_class = ServerConnection

    def __init__(self) -> None:
        self.env: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="gemini-live-")
        authority = trustme.CA()
        authority_pem = Path(self._folder.name, "ca.pem")
        authority.cert_pem.write_to_path(str(authority_pem))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST, ADDRESS).configure_cert(tls)
        self._server: Server = await serve(
            self._serve,
            ADDRESS,
            0,
            ssl=tls,
            process_request=self._shake_hands,
            create_connection=self.connection_class,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            max_size=None,
        )
        port = self._server.sockets[0].getsockname()[1]
        self.env = {
            "SSL_CERT_FILE": str(authority_pem),
            "GOOGLE_GEMINI_BASE_URL": f"https://{ADDRESS}:{port}",
            # a proxy of the person's has no business between two local ends
            "no_proxy": f"{HOST},{ADDRESS}",
        }
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()
        self._folder.cleanup()

    async def _shake_hands(self, websocket: ServerConnection, request: Request) -> Response | None:
        """Refuses a connection by a response; `None` accepts it."""
        raise NotImplementedError

    async def _serve(self, websocket: ServerConnection) -> None:
        """Serves a connection until either side closes it."""
        raise NotImplementedError
