"""A LiveKit agent on Gemini Live that reports, for every response, what it cost and how long the user waited.

Read it top to bottom: it is LiveKit's recipe "Realtime model metrics", in its six steps; the reporting is done by
`realtime_metrics/`.
"""

from dotenv import load_dotenv
from google.genai import types
from livekit.agents import NOT_GIVEN, Agent, AgentServer, AgentSession, JobContext, JobProcess, cli
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.plugins import google, silero

from realtime_metrics.ending import end_job_on_failure
from realtime_metrics.pipeline import Pipeline
from realtime_metrics.recorder import Recorder
from realtime_metrics.settings import load_settings

# 1. Secrets come from .env.local, the rest from agent.toml. A wrong setting ends the program here, in words.
load_dotenv(".env.local")
settings = load_settings()
server = AgentServer(**settings.server_options())
SLIDING_WINDOW = types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow())


# 2. Silero's VAD is loaded once per process, before a call comes.
def prewarm(proc: JobProcess) -> None:
    proc.userdata["vad"] = silero.VAD.load()


server.setup_fnc = prewarm


class MetricsAgent(Agent):
    """Greets the user, and passes on what its realtime model reports."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(instructions=settings.instructions)
        self._recorder = recorder

    # 3. The realtime session's own event carries the metrics: listen to it, then ask for a first reply.
    async def on_enter(self) -> None:
        self._recorder.watch_model(self.realtime_llm_session)
        self.realtime_llm_session.on("metrics_collected", self._on_metrics_collected)
        self.session.generate_reply()

    # 4. This runs on the audio loop, so it only takes a note. The sinks (tables, files, …) work in a thread.
    def _on_metrics_collected(self, metrics: RealtimeModelMetrics) -> None:
        self._recorder.add(metrics)


# 5. A call: the session with its realtime model, and the recorder that watches both to the end, however it ends.
@server.rtc_session(agent_name=settings.name)
async def entrypoint(ctx: JobContext) -> None:
    ctx.log_context_fields = {"room": ctx.room.name}
    recorder = Recorder(Pipeline.from_settings(settings), settings, session_id=ctx.job.id, room=ctx.room.name)
    ctx.add_shutdown_callback(recorder.aclose)

    session: AgentSession[None] = AgentSession(
        llm=google.realtime.RealtimeModel(
            voice=settings.voice,
            temperature=settings.temperature,
            model=settings.model,
            context_window_compression=SLIDING_WINDOW if settings.context_compression else NOT_GIVEN,
        ),
        vad=ctx.proc.userdata["vad"],
    )
    recorder.watch_session(session)
    end_job_on_failure(ctx, session, recorder)

    await session.start(agent=MetricsAgent(recorder), room=ctx.room)
    await ctx.connect()


# 6. Run it with `console`, `dev` or `start`. `lk agent console | dev` finds `server` in this file by itself.
if __name__ == "__main__":
    cli.run_app(server)
