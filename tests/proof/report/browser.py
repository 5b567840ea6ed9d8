"""Headless Chromium, asked over its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """A page that is open."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []
        """What the browser told beside its answers."""

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command.

        Raises:
            RuntimeError: the browser refused it.
        """
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=20))
            if message.get("id") != self._number:
                self.events.append(message)
            elif "error" in message:
                raise RuntimeError(message["error"])
            else:
                return dict(message["result"])

    def value(self, expression: str) -> Any:
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def open(self, path: Path) -> None:
        """Opens a file, and waits until it is there."""
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self._socket.recv(timeout=20)))

    def look(self, width: int, dark: bool = False, sharpness: int = 2) -> None:
        """As on a screen of this width, with the system's light or dark colours."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=sharpness,
            mobile=width < 500,
        )
        self.ask("Emulation.setScrollbarsHidden", hidden=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, height: int | None = None) -> None:
        """Writes the page, or its upper part, as PNG."""
        width, whole = self.value("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": height or whole, "scale": 1}
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    """An empty page in a browser of its own."""
    assert CHROMIUM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        with subprocess.Popen([*command, f"--user-data-dir={profile}"], stderr=subprocess.DEVNULL) as process:
            try:
                port_file = Path(profile, "DevToolsActivePort")
                end = time.monotonic() + 30
                while not (port_file.exists() and port_file.read_text().count("\n")):
                    assert process.poll() is None, "Chromium did not start"
                    assert time.monotonic() < end, "Chromium opened no port in 30 s"
                    time.sleep(0.05)
                port, address = port_file.read_text().split("\n")[:2]
                with connect(f"ws://127.0.0.1:{port}{address}", max_size=None, proxy=None) as socket:
                    target = Page(socket).ask("Target.createTarget", url="about:blank")["targetId"]
                    with connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", max_size=None, proxy=None) as own:
                        yield Page(own)
            finally:
                process.terminate()
