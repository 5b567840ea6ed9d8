"""Every fault of the demo's scenarios: nothing hangs, the log is short and true, the records account for it."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from demo.gemini_server import GeminiLiveServer
from tests.proof.scenarios import names
from tests.proof.wire.in_process import WireSession, led_to, recorded, sent
from tests.proof.wire.quick import quick

PLAYED_S = 0.3
"""For the last reply to be played."""
PLAY_S = 7.0
"""What a quick scenario may take; those that never end are cut off."""


@dataclass(frozen=True)
class Expected:
    """What the records and the log say of a scenario."""

    responses: int
    session: dict[str, Any] = field(default_factory=dict)
    """Fields of the session record; those not named are as in a session without faults."""
    says: tuple[str, ...] = ()
    """Parts of the lines that the person reads, in order."""
    unbooked: bool = False
    """Whether some usage came late, or without a response."""


NO_GENERATION = "received server content but no active generation"
NO_METRICS = "no active generation to report metrics for"
FAULTLESS = {
    "silent": 0,
    "without_usage": 0,
    "reconnects": 0,
    "resumptions": 0,
    "go_aways": 0,
    "errors": {},
    "end_reason": "user_initiated",
}
RECONNECTED = {"reconnects": 1, "resumptions": 1}
ANSWERED = Expected(2)
EXPECTED = {
    "normal": Expected(5),
    "barge-in": Expected(3),
    "interrupted": Expected(3),
    "huge-counts": ANSWERED,
    "rich-usage": Expected(3),
    "text-only": Expected(2, {"silent": 1}),
    "barge-in-greeting": Expected(1, {}, (NO_GENERATION, NO_METRICS) * 2),
    "cost-limit": Expected(3),  # nobody set the limit here: test_cost_limit.py does
    "cough": ANSWERED,
    "empty-turn": Expected(3),
    "empty-turn-no-usage": ANSWERED,
    "gemini-3.1": Expected(3, {}, (NO_GENERATION,)),
    "gemini-3.8": Expected(3, {}, (NO_GENERATION,)),
    "ignored": ANSWERED,
    "interrupted-complete": Expected(3),
    "prompt-usage-first": Expected(2, {}, (NO_GENERATION, NO_METRICS, NO_GENERATION)),
    "rejected": Expected(3),
    "thinking-twice": Expected(2, {}, (NO_GENERATION,)),
    "tool-call-slow": Expected(3),
    "tool-call-vertex": Expected(3),
    "transcription-only": ANSWERED,
    "typed": ANSWERED,
    "usage-negative": Expected(2, {"without_usage": 1, "errors": {"malformed_usage": 1}}),
    "thinking": ANSWERED,
    "tool-call": Expected(3),
    "usage-early": ANSWERED,
    "usage-growing": ANSWERED,
    "usage-absent": Expected(2, {"without_usage": 1}),
    "usage-before": Expected(2, {"without_usage": 1}, (NO_GENERATION, NO_METRICS), unbooked=True),
    "usage-late": Expected(3, {"without_usage": 1}, unbooked=True),
    "usage-twice": ANSWERED,
    "usage-malformed": Expected(
        3,
        {**RECONNECTED, "without_usage": 1, "errors": {"malformed_message": 1}},
        ("no message of its protocol; reconnecting",),
    ),
    "garbage": Expected(
        3,
        {**RECONNECTED, "without_usage": 1, "errors": {"malformed_message": 1}},
        ("no message of its protocol; reconnecting",),
    ),
    "go-away": Expected(
        3, {**RECONNECTED, "without_usage": 1, "go_aways": 1}, ("server indicates disconnection soon",)
    ),
    "close-1000": Expected(
        3,
        {"without_usage": 1, **RECONNECTED, "errors": {"connection_closed_1000": 1}},
        ("(1000): no reason given; reconnecting",),
    ),
    "close-1007": Expected(
        2,
        {"without_usage": 1, "errors": {"invalid_argument": 1}, "end_reason": "invalid_argument"},
        ("invalid argument (1007)", "AGENT_CONTEXT_COMPRESSION"),
    ),
    "close-1008": Expected(
        3, {**RECONNECTED, "without_usage": 1, "errors": {"not_supported": 1}}, ("operation is not supported",)
    ),
    "close-1011": Expected(
        3,
        {"without_usage": 1, **RECONNECTED, "errors": {"connection_closed_1011": 1}},
        ("(1011): Internal error encountered.",),
    ),
    "deadline-expired": Expected(
        3, {**RECONNECTED, "without_usage": 1, "errors": {"connection_expired": 1}}, ("Deadline expired",)
    ),
    "unknown-message": Expected(
        3,
        {**RECONNECTED, "without_usage": 1, "errors": {"malformed_message": 1}},
        ("no message of its protocol; reconnecting",),
    ),
    "stale-handle": Expected(
        2,
        {
            "without_usage": 1,
            "reconnects": None,
            "resumptions": None,
            "errors": {"connection_closed_1011": 1, "session_expired": 1},
            "end_reason": "session_expired",
        },
        ("Internal error encountered.; reconnecting", "BidiGenerateContent session not found", "a new conversation"),
    ),
    "closed-again": Expected(
        0,
        {"reconnects": 3, "errors": {"connection_closed_1011": 4}, "end_reason": "connection_closed_1011"},
        ("currently unavailable.; reconnecting", "currently unavailable.", "status page"),
    ),
    "quota": Expected(
        0,
        {"errors": {"rate_limited": 1}, "end_reason": "rate_limited"},
        ("You exceeded your current quota", "raise the quota"),
    ),
    "leaked-key": Expected(
        0,
        {"errors": {"api_key_leaked": 1}, "end_reason": "api_key_leaked"},
        ("reported as leaked", "Revoke it"),
    ),
    "invalid-key": Expected(
        0,
        {"errors": {"api_key_refused": 1}, "end_reason": "api_key_refused"},
        ("refused the API key", "GOOGLE_API_KEY in .env.local"),
    ),
    "refused-401": Expected(
        0,
        {"errors": {"api_key_refused": 1}, "end_reason": "api_key_refused"},
        ("refused the API key", "GOOGLE_API_KEY in .env.local"),
    ),
    "refused-429": Expected(
        0,
        {"errors": {"rate_limited": 1}, "end_reason": "rate_limited"},
        ("refused more requests", "raise the quota"),
    ),
    "unknown-model": Expected(
        0,
        {"errors": {"model_not_found": 1}, "end_reason": "model_not_found"},
        ("not found for API version", "AGENT_MODEL"),
    ),
    "setup-unanswered": Expected(
        0, {"errors": {"setup_timeout": 1}}, ("timed out", "did not answer the connection's setup", "proxy")
    ),
    "silence": Expected(1, {"errors": {"reply_timeout": 1}}, ("timed out", "did not begin a reply", "status page")),
}


def test_every_scenario_is_expected_to_end_somehow() -> None:
    assert sorted(EXPECTED) == sorted(names())


@pytest.mark.parametrize("name", names())
async def test_a_fault_is_survived_told_and_accounted_for(name: str, caplog: pytest.LogCaptureFixture) -> None:
    expected = EXPECTED[name]
    async with GeminiLiveServer() as server:
        with led_to(server), caplog.at_level(logging.WARNING):
            session = WireSession(server, quick(name))
            await session.start()
            await session.play(PLAY_S)
            await session.read()
            await asyncio.sleep(PLAYED_S)
            record = await session.end()

    wanted = {key: value for key, value in {**FAULTLESS, **expected.session}.items() if value is not None}
    flat = record.as_dict()
    assert {key: flat[key] for key in wanted} == wanted
    assert record.sums.responses == len(session.responses) == expected.responses
    assert recorded(record) == sent(session.ledger), "the session's record is the bill"
    assert (record.unbooked_total_tokens > 0) is expected.unbooked

    lines = [entry for entry in caplog.records if entry.name.startswith("livekit") or entry.name == "asyncio"]
    assert not [entry for entry in lines if entry.exc_info], "a traceback"
    assert len(lines) == len(expected.says), [entry.getMessage() for entry in lines]
    for entry, part in zip(lines, expected.says, strict=True):
        assert part in entry.getMessage()


async def test_a_response_that_lost_its_connection_says_so() -> None:
    async with GeminiLiveServer() as server:
        with led_to(server):
            session = WireSession(server, quick("garbage"))
            await session.start()
            await session.play(PLAY_S)
            await session.end()
    greeting, cut, after = session.responses
    assert (greeting.connection_lost, cut.connection_lost, after.connection_lost) == (False, True, False)
    assert cut.usage_reason == "the connection ended before usage arrived"
    assert cut.cost_reason == cut.usage_reason


async def test_the_conversation_is_resumed_after_go_away() -> None:
    async with GeminiLiveServer() as server:
        with led_to(server):
            session = WireSession(server, quick("go-away"))
            await session.start()
            await session.play(PLAY_S)
            await session.end()
    first, second = session.connections
    assert (first.reconnect, first.resumed, first.go_away) == (False, False, False)
    assert (second.reconnect, second.resumed, second.go_away) == (True, True, True)
    setups = [setup.message for setup in server.setups]
    assert "handle" not in setups[0]["sessionResumption"]
    assert setups[1]["sessionResumption"]["handle"]
