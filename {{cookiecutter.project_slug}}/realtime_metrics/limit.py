"""A call that costs too much: a warning at 80 % of `METRICS_COST_LIMIT_USD`, above it a goodbye, and the call's end.

What is known counts, also what no response's record holds. The goodbye's own cost comes on top.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession

from .log import logger
from .recorder import Recorder
from .session import Bill

WARN_AT = 0.8
GOODBYE = "Say in one short sentence that this call has to end now, and say goodbye. Ask nothing."
GOODBYE_S = 10.0
"""The call ends after so long, whether the goodbye was heard or not."""


class CostLimit:
    """Ends a call that costs more than a limit.

    Args:
        limit_usd: `METRICS_COST_LIMIT_USD`.
        session: who says goodbye.
        recorder: who knows what the call costs.
        end: ends the call; called once.
    """

    def __init__(
        self, limit_usd: float, session: AgentSession[Any], recorder: Recorder, end: Callable[[], None]
    ) -> None:
        self._limit_usd, self._session, self._recorder, self._end = limit_usd, session, recorder, end
        self._warned = self._said_it_cannot_be_kept = False
        self._leaving: asyncio.Task[None] | None = None
        self._recorded = asyncio.Event()
        if reason := recorder.price_missing():
            self._cannot_be_kept(reason)
        recorder.on_recorded = self._on_recorded

    def _on_recorded(self, bill: Bill) -> None:
        self._recorded.set()
        usd = float(bill.usd)
        if bill.unpriced_reason:
            self._cannot_be_kept(bill.unpriced_reason)
        spent = f"this call has cost ${usd:.4f}, METRICS_COST_LIMIT_USD is {self._limit_usd:g}"
        if usd > self._limit_usd and self._leaving is None:
            logger.warning("%s: the agent says goodbye, and the call ends", spent)
            self._recorder.end_reason = self._recorder.end_reason or "cost_limit"
            self._leaving = asyncio.create_task(self._leave())
        elif usd >= WARN_AT * self._limit_usd and not self._warned and self._leaving is None:
            logger.warning("%s: above it the call ends", spent)
            self._warned = True

    def _cannot_be_kept(self, reason: str) -> None:
        if not self._said_it_cannot_be_kept:
            logger.warning("METRICS_COST_LIMIT_USD cannot be kept, it counts what is known: %s", reason)
            self._said_it_cannot_be_kept = True

    async def _leave(self) -> None:
        with contextlib.suppress(TimeoutError, RuntimeError):  # a session that ends says nothing more
            async with asyncio.timeout(GOODBYE_S):
                self._recorded.clear()
                await self._session.generate_reply(instructions=GOODBYE).wait_for_playout()
                await self._recorded.wait()  # its usage comes when it was played
        self._end()
