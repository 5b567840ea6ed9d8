"""The real agent as a child process, through the real CLI, with nothing of the person's keys and settings."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal

PROJECT = Path(__file__).parent.parent
PERSONAL = re.compile(r"(AGENT|METRICS|OTEL|GOOGLE|GEMINI|LIVEKIT|LK)_", re.IGNORECASE)
"""The person's variables that no demo or test may use."""
WINDOWS = sys.platform == "win32"

# On Windows a child of its own process group can only be sent Ctrl-Break, which the framework does not handle.
WINDOWS_LAUNCHER = (
    "import runpy, signal; "
    "signal.signal(signal.SIGBREAK, lambda *_: signal.raise_signal(signal.SIGINT)); "
    "runpy.run_module('livekit.agents', run_name='__main__', alter_sys=True)"
)


def clean_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """The person's environment without keys and settings, and with the overrides; `.env.local` is not read."""
    inherited = {name: value for name, value in os.environ.items() if not PERSONAL.match(name)}
    return inherited | {"PYTHON_DOTENV_DISABLED": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **overrides}


def python_command(*arguments: str) -> list[str]:
    """The command line that runs the framework's CLI with these arguments."""
    launch = ["-c", WINDOWS_LAUNCHER] if WINDOWS else ["-m", "livekit.agents"]
    return [sys.executable, *launch, *arguments]


class AgentProcess:
    """`python -m livekit.agents …` from the project's root, in a process group of its own.

    Attributes:
        stdout: what it printed, reports and the framework's log.
        stderr: what it printed there.
    """

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = PROJECT) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()
        self._command = python_command(*arguments)
        self._env = clean_environment(env or {})
        self._cwd = cwd
        self._output = AgentOutput()
        self._readers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "AgentProcess":
        # the console's second Ctrl-C kills its whole process group: it must not be ours
        own_group: dict[str, int] = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if WINDOWS
            else {"start_new_session": True}
        )
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            limit=1 << 20,
            **own_group,  # type: ignore[arg-type]
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read(self._process.stdout, self.stdout, self._output)),
            asyncio.create_task(self._read(self._process.stderr, self.stderr, None)),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    @property
    def reports(self) -> "list[str]":
        """Lines on stdout that are not the framework's log, so far."""
        return self._output.reports

    @property
    def log(self) -> "list[str]":
        """Lines of the framework's log, without colours, and of stderr."""
        errors = self.stderr.decode("utf-8", "replace").splitlines()
        return [plain(line) for line in self._output.log] + errors

    def interrupt(self) -> None:
        """Ctrl-C."""
        if sys.platform == "win32":
            self.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self.send_signal(signal.SIGINT)

    def send_signal(self, number: int) -> None:
        """Sends a signal, if the process still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """Ends the process and its children at once."""
        if sys.platform != "win32":
            # children can outlive their parent, so the group is killed in any case
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        elif self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def wait(self, timeout_s: float) -> int:
        """Until it has ended by itself and all it printed has been read; its exit code.

        Raises:
            TimeoutError: it still runs.
        """
        async with asyncio.timeout(timeout_s):
            await asyncio.wait(self._readers)
            return await self._process.wait()

    async def stop(self, timeout_s: float = 15.0) -> int:
        """Ctrl-C, and the exit code.

        Raises:
            TimeoutError: it still runs.
        """
        self.interrupt()
        return await self.wait(timeout_s)

    async def _read(self, pipe: asyncio.StreamReader, into: bytearray, output: "AgentOutput | None") -> None:
        while line := await pipe.readline():
            into += line
            if output is not None:
                output.take(line.decode("utf-8", "replace").rstrip("\n"))


class AgentOutput:
    """Tells reports from the framework's log, which share stdout.

    The framework begins each entry of its console log with a carriage return; a traceback may follow it.
    """

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.log: list[str] = []
        self._place: Literal["report", "entry", "traceback", "error"] = "report"

    def take(self, line: str) -> None:
        """Takes the next line."""
        self._place = self._placed(line)
        (self.reports if self._place == "report" else self.log).append(line.strip("\r"))

    def _placed(self, line: str) -> Literal["report", "entry", "traceback", "error"]:
        text = line.strip()
        if line.startswith(("\r", "    | ")):  # an entry, or what follows of one (`errors.say_failures_plainly`)
            return "entry"
        if self._place == "report":
            return "report"
        if text.startswith(TRACEBACK_BEGINS):
            return "traceback"
        if self._place == "traceback":
            return "error" if EXCEPTION.match(line) else "traceback"
        # after the exception's own line, more of its message may come, and the traceback of another
        if self._place == "error" and (not text or text.startswith(("Hint:", "For more information"))):
            return "error"
        return "report"


TRACEBACK = "Traceback (most recent call last)"
TRACEBACK_BEGINS = (
    TRACEBACK,
    "During handling of the above",
    "The above exception was",
    "+ Exception Group Traceback",
)
EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(:|$)")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def plain(line: str) -> str:
    """The line without colours."""
    return _ESCAPES.sub("", line)
