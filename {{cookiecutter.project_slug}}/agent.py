"""A LiveKit agent on Gemini Live that reports, for every response, what it cost and how long the caller waited.

Read it top to bottom: it is LiveKit's recipe "Realtime model metrics", in its six steps; the reporting is done by
`realtime_metrics/`.
"""

from google.genai import types
from livekit.agents import NOT_GIVEN, Agent, AgentServer, AgentSession, JobContext, JobProcess, cli
from livekit.agents.metrics import RealtimeModelMetrics
from livekit.plugins import google, silero

from realtime_metrics.log import visible
from realtime_metrics.recorder import Recorder
from realtime_metrics.startup import load_settings, server_options
from realtime_metrics.watch import watch

# 1. Secrets come from .env.local, the rest from agent.toml. A wrong setting ends the program here, in words.
settings = load_settings()
server = AgentServer(**server_options(settings))
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
        self.realtime_llm_session.on("metrics_collected", self._on_metrics_collected)
        self.session.generate_reply(instructions=settings.greeting or NOT_GIVEN)

    # 4. This runs on the audio loop: the recorder makes a record, and the sinks (tables, files, …) work in threads.
    def _on_metrics_collected(self, metrics: RealtimeModelMetrics) -> None:
        self._recorder.add(metrics)

    # A tool is a method that the model may call. Import `function_tool` from livekit.agents, and:
    #
    # @function_tool
    # async def get_forecast(self, city: str) -> str:
    #     """Tells tomorrow's weather of a city."""
    #     return f"sunny in {city}"


# 5. A call: the session with its realtime model, and the recorder that watches it to the end, however it ends.
@server.rtc_session(agent_name=settings.name)
async def entrypoint(ctx: JobContext) -> None:
    ctx.log_context_fields = {"room": visible(ctx.room.name)}
    session: AgentSession[None] = AgentSession(
        llm=google.realtime.RealtimeModel(
            voice=settings.voice,
            temperature=settings.temperature,
            model=settings.model,
            context_window_compression=SLIDING_WINDOW if settings.context_compression else NOT_GIVEN,
        ),
        vad=ctx.proc.userdata["vad"],
    )
    recorder = watch(ctx, session, settings)

    await session.start(agent=MetricsAgent(recorder), room=ctx.room)
    await ctx.connect()


# 6. Run it with `console`, `dev` or `start`. `lk agent console | dev` finds `server` in this file by itself.
if __name__ == "__main__":
    cli.run_app(server)
