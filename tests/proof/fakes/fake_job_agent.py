"""The project's agent, whose assigned jobs are fake ones: there is no room to join behind `LiveKitServer`."""

from livekit.agents.job import RunningJobInfo

from agent import server

server.load_fnc = lambda: 0.0  # a busy machine would refuse jobs


@server.once("worker_started")
def _launch_fake_jobs() -> None:
    launch_job = server._proc_pool.launch_job

    async def launch_fake_job(info: RunningJobInfo) -> None:
        info.fake_job = True
        await launch_job(info)

    server._proc_pool.launch_job = launch_fake_job  # type: ignore[method-assign]
