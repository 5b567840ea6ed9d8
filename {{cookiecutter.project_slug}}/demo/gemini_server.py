"""A local Gemini Live server: the real Google plugin talks to it as to Google, and hears what a scenario says.

`async with GeminiLiveServer(load("normal")) as server:` runs it; processes with `server.env` connect to it.
"""

import http
from itertools import count
from typing import Self

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from demo.gemini_session import Client, GeminiConnection
from demo.ledger import Ledger
from demo.local_service import LocalService
from demo.scenario import Scenario
from demo.seen import Seen, Setup, What

DEFAULT_KEY = "demo-key"


class GeminiLiveServer(LocalService):
    """Serves any number of clients at once; a client is whoever uses the same API key.

    Attributes:
        seen: setups, ledger and stopwatch.
    """

    def __init__(self, scenario: Scenario | None = None) -> None:
        """`scenario` is what clients hear that `add` was not called for."""
        super().__init__()
        self.seen = Seen()
        self._scenario = scenario or Scenario()
        self._clients: dict[str, Client] = {}
        self._numbers = count()
        self._expected: dict[ServerConnection, GeminiConnection] = {}

    @property
    def setups(self) -> list[Setup]:
        """Every `setup` message, in the order they came."""
        return self.seen.setups

    @property
    def ledger(self) -> Ledger:
        """Every usage message that was sent."""
        return self.seen.ledger

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.env["GOOGLE_API_KEY"] = DEFAULT_KEY
        return self

    def add(self, scenario: Scenario) -> str:
        """A new API key; whoever connects with it hears this scenario."""
        key = f"{DEFAULT_KEY}-{len(self._clients) + 1}"
        self._clients[key] = Client(key, scenario)
        return key

    def client(self, key: str = DEFAULT_KEY) -> Client:
        """Where the client with this API key is in its scenario."""
        return self._clients.setdefault(key, Client(key, self._scenario))

    def times(self, what: What, key: str = DEFAULT_KEY) -> list[float]:
        """When something happened to a client, each time."""
        return self.seen.times(what, key)

    async def wait_for(self, what: What, key: str = DEFAULT_KEY, *, times: int = 1, timeout_s: float = 10.0) -> None:
        """Until something has happened to a client so many times.

        Raises:
            TimeoutError: it has not.
        """
        await self.seen.until(lambda: len(self.times(what, key)) >= times, timeout_s)

    async def wait_for_end(self, key: str = DEFAULT_KEY, *, timeout_s: float = 30.0) -> None:
        """Until every turn of a client's scenario has been played, late usage included.

        Raises:
            TimeoutError: it has not.
        """
        await self.seen.until(lambda: self.client(key).at_end, timeout_s)

    async def _shake_hands(self, websocket: ServerConnection, request: Request) -> Response | None:
        client = self.client(request.headers.get("x-goog-api-key", DEFAULT_KEY))
        connect = client.scenario.connect(client.attempts)
        client.attempts += 1
        self.seen.note("connect", client.key, -1)
        if connect.http_status is not None:
            self.seen.note("refused", client.key, -1)
            return websocket.respond(http.HTTPStatus(connect.http_status), connect.reason)
        self._expected[websocket] = GeminiConnection(self.seen, client, websocket, next(self._numbers), connect)
        return None

    async def _serve(self, websocket: ServerConnection) -> None:
        await self._expected.pop(websocket).run()
