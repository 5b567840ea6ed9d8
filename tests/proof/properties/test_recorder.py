"""Whatever comes when: one record for each response, and no token is lost."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from livekit.agents.voice import SpeechHandle

from realtime_metrics import responses
from tests.fakes.realtime import Usage
from tests.fakes.stage import Stage
from tests.proof.counts import ORDERS_OF_EVENTS

NOW = time.time()
MOVES = ("usage", "repeat", "growth", "message", "speak", "generated", "played", "interrupted", "later")


@settings(max_examples=ORDERS_OF_EVENTS, deadline=None)
@given(
    script=st.lists(st.lists(st.sampled_from(MOVES), max_size=7), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_every_response_has_exactly_one_record_and_no_token_is_lost_in_any_order_of_events(
    script: list[list[str]], order: Any
) -> None:
    asyncio.run(_play(script, order))


async def _play(script: list[list[str]], order: Any) -> None:
    stage = Stage()
    handles: dict[str, SpeechHandle] = {}
    told: dict[str, list[int]] = {}
    left = {f"GR_{number}": list(moves) for number, moves in enumerate(script, 1)}
    patch = pytest.MonkeyPatch()
    patch.setattr(responses, "SETTLE_S", 0.001)
    try:
        while left:
            request_id = order.choice(sorted(left))
            if request_id not in handles:
                handles[request_id] = stage.generate(request_id)
                told[request_id] = []
            elif left[request_id]:
                await _move(stage, left[request_id].pop(0), request_id, handles[request_id], told[request_id])
            else:
                del left[request_id]
        session = await stage.end()
    finally:
        patch.undo()
    created = list(handles)
    assert [record.request_id for record in stage.responses] == created
    assert [record.turn for record in stage.responses] == list(range(1, len(created) + 1))
    booked = sum(record.tokens["total_tokens"] or 0 for record in stage.responses)
    used = sum(sum(calls) for calls in told.values())
    assert booked + session.unbooked_total_tokens == used
    assert (session.tokens["total_tokens"] or 0) == used, "the session's record is the bill"
    assert session.sums.responses == len(created)


async def _move(stage: Stage, what: str, request_id: str, handle: SpeechHandle, calls: list[int]) -> None:
    moves: dict[str, Callable[[], object]] = {
        "message": lambda: stage.message(request_id),
        "speak": lambda: stage.speak(handle, NOW),
        "generated": stage.end_generation,
        "played": lambda: None if handle.done() else stage.end_speech(handle),
        "interrupted": lambda: handle.interrupt(force=True),
    }
    if what == "later":
        await asyncio.sleep(0.003)
    elif what in moves:
        moves[what]()
    else:
        _use(stage, what, request_id, calls)


def _use(stage: Stage, what: str, request_id: str, calls: list[int]) -> None:
    """Sends usage: of a call, the same again, or a newer snapshot of it, which replaces it."""
    prompt = Usage(output_audio=0, output_text=0).total
    last = calls[-1] if calls else Usage().total
    total = {"usage": Usage().total, "repeat": last, "growth": last + 10}[what]
    stage.usage(request_id, Usage(output_audio=total - prompt, output_text=0))
    if calls and total >= calls[-1]:
        calls[-1] = total
    else:
        calls.append(total)
