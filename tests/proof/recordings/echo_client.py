"""What `demo.record` runs in a test: a client that measures round trips, through the relay and past it."""

import asyncio
import base64
import json
import os
import ssl
import sys
import time

from websockets.asyncio.client import ClientConnection, connect

PIECES = 400
PIECE = json.dumps({"realtime_input": {"audio": {"data": base64.b64encode(bytes(1600)).decode()}}})


async def main() -> None:
    tls = ssl.create_default_context()
    relay = os.environ["GOOGLE_GEMINI_BASE_URL"].replace("https", "wss")
    service = sys.argv[1].replace("http", "ws")
    through, past = [], []
    async with connect(relay, ssl=tls, proxy=None) as by_relay, connect(service, proxy=None) as directly:
        for _ in range(PIECES):
            # in turns: what the machine does besides is in both
            through.append(await round_trip_s(by_relay))
            past.append(await round_trip_s(directly))
            await asyncio.sleep(0.005)
    sys.stdout.write(json.dumps({"through": through, "past": past}) + "\n")


async def round_trip_s(end: ClientConnection) -> float:
    """Of a piece of audio as the plugin sends them, in both directions."""
    began_at = time.perf_counter()
    await end.send(PIECE)
    await end.recv()
    return time.perf_counter() - began_at


if __name__ == "__main__":
    asyncio.run(main())
