"""The worker endpoint of a LiveKit server: agent servers register here, and get jobs.

    async with LiveKitServer() as server:
        ...  # start `python -m livekit.agents start` with the variables of server.env
        await server.registered()
        job = await server.assign_job(room="kitchen")
        await server.end_jobs()

There is no media server behind it, so a job cannot join its room: start `FAKE_JOB_AGENT`, whose jobs are the
framework's fake jobs, as the console's are (their `ctx.room.name` is always "console": tell records by `session_id`).
A worker that gets SIGINT or SIGTERM waits for its jobs: end them first. Read in livekit-agents 1.8.9, `worker.py`.
"""

import asyncio
import http
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType

from livekit import api
from livekit.protocol import agent, models
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

ADDRESS = "127.0.0.1"
API_KEY = "devkey"
API_SECRET = "a-secret-that-only-this-test-knows"

FAKE_JOB_AGENT = "tests/proof/fakes/fake_job_agent.py"
"""Entrypoint of the project's agent with fake jobs, for `python -m livekit.agents start` in the project's root."""


class JobRefusedError(Exception):
    """The worker did not accept a job, e.g. as its load is too high."""


@dataclass
class FakeJob:
    """A job that a worker runs.

    Attributes:
        id: the job's; the records' `session_id`.
        room: the room's name.
        worker: who runs it.
        statuses: what the worker told of it so far, e.g. `JS_RUNNING`, `JS_SUCCESS`.
    """

    id: str
    room: str
    worker: "Worker"
    statuses: list[str] = field(default_factory=list)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    async def ended(self, timeout_s: float = 15.0) -> None:
        """Until the job's process has ended.

        Raises:
            TimeoutError: it still runs.
        """
        async with asyncio.timeout(timeout_s):
            await self._ended.wait()

    def take(self, status: str) -> None:
        self.statuses.append(status)
        if status not in ("JS_PENDING", "JS_RUNNING"):
            self._ended.set()


class Worker:
    """An agent server that is connected."""

    def __init__(self, connection: ServerConnection, worker_id: str) -> None:
        self.id = worker_id
        self.connection = connection
        self.answers: dict[str, asyncio.Future[agent.AvailabilityResponse]] = {}

    async def send(self, message: agent.ServerMessage) -> None:
        await self.connection.send(message.SerializeToString())


class LiveKitServer:
    """Takes registrations and hands out jobs.

    Attributes:
        env: the variables that lead an agent server here; they are there once this runs.
        jobs: every job that was assigned, in order.
        registrations: what the workers said of themselves, in the order they came.
        refused: paths and reasons of connections that were no worker's.
    """

    def __init__(self) -> None:
        self.env: dict[str, str] = {}
        self.jobs: list[FakeJob] = []
        self.registrations: list[agent.RegisterWorkerRequest] = []
        self.refused: list[str] = []
        self._workers: list[Worker] = []
        self._numbers = count(1)
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> "LiveKitServer":
        self._server = await serve(self._serve, ADDRESS, 0, process_request=self._check, compression=None)
        port = self._server.sockets[0].getsockname()[1]
        self.env = {
            "LIVEKIT_URL": f"ws://{ADDRESS}:{port}",
            "LIVEKIT_API_KEY": API_KEY,
            "LIVEKIT_API_SECRET": API_SECRET,
            "AGENT_PORT": "0",  # any: several agent servers run beside each other
            # a proxy of the person's has no business between two local ends
            "HTTP_PROXY": "",
            "HTTPS_PROXY": "",
        }
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def registered(self, number: int = 1, timeout_s: float = 30.0) -> list[agent.RegisterWorkerRequest]:
        """The registrations, once there are so many.

        Raises:
            TimeoutError: there are fewer.
        """
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: len(self.registrations) >= number)
        return self.registrations

    async def assign_job(self, room: str, *, worker: int = -1, timeout_s: float = 30.0) -> FakeJob:
        """Offers a job to a worker (the last that registered, unless told) and assigns it.

        The worker then launches it: wait for traces of the job itself, such as its records.

        Raises:
            JobRefusedError: the worker does not want it.
            TimeoutError: it does not answer.
        """
        to = self._workers[worker]
        number = next(self._numbers)
        job = agent.Job(
            id=f"AJ_{number}",
            dispatch_id=f"AD_{number}",
            type=agent.JobType.JT_ROOM,
            room=models.Room(name=room, sid=f"RM_{number}"),
            agent_name=self.registrations[worker].agent_name,
        )
        answer = to.answers[job.id] = asyncio.get_running_loop().create_future()
        await to.send(agent.ServerMessage(availability=agent.AvailabilityRequest(job=job)))
        async with asyncio.timeout(timeout_s):
            if not (await answer).available:
                raise JobRefusedError(f"worker {to.id} refused the job in room {room!r}")
        given = FakeJob(job.id, room, to)
        self.jobs.append(given)
        await to.send(agent.ServerMessage(assignment=agent.JobAssignment(job=job, token="nobody-asks")))
        return given

    async def end_job(self, job: FakeJob, timeout_s: float = 15.0) -> None:
        """Tells the worker to end a job, as LiveKit does when the room is closed, and waits until it has ended."""
        await job.worker.send(agent.ServerMessage(termination=agent.JobTermination(job_id=job.id)))
        await job.ended(timeout_s)

    async def end_jobs(self, timeout_s: float = 15.0) -> None:
        """`end_job` for all that still run."""
        await asyncio.gather(*(self.end_job(job, timeout_s) for job in self.jobs if not job.has_ended))

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        problem = _problem(request)
        if problem is None:
            return None
        self.refused.append(f"{request.path}: {problem}")
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, problem)

    async def _serve(self, connection: ServerConnection) -> None:
        worker = Worker(connection, f"AW_{len(self._workers) + 1}")
        with suppress(ConnectionClosed):
            async for data in connection:
                assert isinstance(data, bytes)
                await self._take(worker, agent.WorkerMessage.FromString(data))

    async def _take(self, worker: Worker, message: agent.WorkerMessage) -> None:
        what = message.WhichOneof("message")
        if what == "register":
            await worker.send(agent.ServerMessage(register=agent.RegisterWorkerResponse(worker_id=worker.id)))
            async with self._changed:
                self._workers.append(worker)
                self.registrations.append(message.register)
                self._changed.notify_all()
        elif what == "availability" and (answer := worker.answers.pop(message.availability.job_id, None)):
            answer.set_result(message.availability)
        elif what == "update_job":
            for job in self.jobs:
                if job.id == message.update_job.job_id:
                    job.take(agent.JobStatus.Name(message.update_job.status))


def _problem(request: Request) -> str | None:
    """Why a connection is no agent server's."""
    if request.path.split("?")[0] != "/agent":
        return "only /agent is served here"
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        claims = api.TokenVerifier(API_KEY, API_SECRET).verify(token)
    except Exception as error:
        return f"token refused: {error}"
    return None if claims.video and claims.video.agent else "the token does not let an agent register"
