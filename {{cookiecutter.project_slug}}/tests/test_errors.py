"""Failures between agent and provider in words: what happened, and what to do, without a traceback."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from google.genai.errors import APIError
from livekit.agents import APIConnectionError
from livekit.agents.llm import RealtimeError
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

from realtime_metrics.errors import Failure, say_failures_plainly
from realtime_metrics.errors import describe as described
from tests.fakes.call import GEMINI, FakeCall, until
from tests.fakes.realtime import Reply


def raised(code: int, details: Any) -> APIError:
    """As google-genai raises it of a closed websocket."""
    with pytest.raises(APIError) as error:
        APIError.raise_error(code, details, None)
    return error.value


def describe(error: BaseException) -> Failure:
    return described(error, GEMINI)


def unreadable(text: str) -> Exception:
    """As google-genai raises it of a message with nothing that it knows."""
    with pytest.raises(TypeError) as error:
        APIError.raise_error(None, {"interactionStatus": text}, None)  # type: ignore[arg-type]
    return error.value


def refused(status: int) -> InvalidStatus:
    """As websockets raises it of a handshake."""
    return InvalidStatus(Response(status, "no", Headers()))


FAILURES = [
    (raised(1007, "API key not valid. Please pass a valid API key."), "api_key_refused", "GOOGLE_API_KEY"),
    (refused(401), "api_key_refused", "GOOGLE_API_KEY"),
    (refused(403), "api_key_refused", "GOOGLE_API_KEY"),
    (refused(429), "rate_limited", "Wait"),
    (raised(1011, "RESOURCE_EXHAUSTED: quota"), "rate_limited", "quota"),
    (
        raised(1011, "You exceeded your current quota, please check your plan and billing details"),
        "rate_limited",
        "quota",
    ),
    (raised(1008, "models/nothing is not found for API version v1beta"), "model_not_found", "AGENT_MODEL"),
    (raised(1008, "Your API key was reported as leaked. Please use another API key."), "api_key_leaked", "Revoke"),
    (raised(1008, "BidiGenerateContent session not found"), "session_expired", "new conversation"),
    (raised(1008, "Connection closed after receiving a GoAway signal from us"), "connection_expired", "anew"),
    (raised(1011, "Deadline expired before operation could complete."), "connection_expired", "anew"),
    (raised(1008, "Operation is not implemented, or supported, or enabled."), "not_supported", "at random"),
    (raised(1008, "Requested entity was not found."), "policy_violation", "status page"),
    (raised(1008, "The operation was aborted."), "policy_violation", "status page"),
    (unreadable("thinking"), "malformed_message", "newer google-genai"),
    (ConnectionClosedError(Close(4321, "odd"), None), "connection_closed_other", "status page"),
    (raised(4321, "odd"), "connection_closed_other", "status page"),
    (refused(418), "http_other", "status page"),
    (PermissionError(13, "Permission denied"), "unreachable", "firewall"),
    (raised(1007, "Request contains an invalid argument."), "invalid_argument", "AGENT_CONTEXT_COMPRESSION"),
    (raised(1011, "Internal error"), "connection_closed_1011", "status page"),
    (raised(1000, ""), "connection_closed_1000", "status page"),
    (ConnectionClosedError(Close(1012, "restart"), None), "connection_closed_1012", "status page"),
    (ConnectionClosedError(None, None), "connection_closed_1006", "status page"),
    (refused(503), "http_503", "status page"),
    (RealtimeError("generate_reply timed out."), "reply_timeout", "status page"),
    (ValueError("Failed to parse response: b'<html>'"), "malformed_message", "proxy"),
    (TimeoutError(), "setup_timeout", "network"),
    (OSError("Network is unreachable"), "unreachable", "network"),
]


@pytest.mark.parametrize(("error", "kind", "hint"), FAILURES, ids=[kind for _, kind, _ in FAILURES])
def test_each_failure_has_a_kind_one_line_of_what_happened_and_one_of_what_to_do(
    error: Exception, kind: str, hint: str
) -> None:
    failure = describe(error)
    assert failure.kind == kind
    assert hint in failure.todo
    assert failure.happened
    assert "\n" not in failure.happened + failure.todo
    assert "None" not in failure.happened


def test_a_failure_that_nobody_thought_of_is_named_by_its_type() -> None:
    failure = describe(ZeroDivisionError("division by zero"))
    assert failure.kind == "unexpected", "kinds are counted, so there are few"
    assert "ZeroDivisionError: division by zero" in failure.happened


def test_a_long_reason_is_cut_and_only_its_first_line_is_told() -> None:
    failure = describe(raised(1011, "x" * 5000 + "\nsecret details"))
    assert len(failure.happened) < 300
    assert "secret" not in failure.happened


def test_no_escape_code_and_no_secret_of_a_reason_is_told() -> None:
    error = OSError("proxy http://me:topsecret@proxy:80/?key=AIzaSecretSecretSecret \x1b[31mred\x1b[0m \u202e")
    told = describe(error).happened
    assert "topsecret" not in told
    assert "Secret" not in told
    assert "\x1b" not in told
    assert "\u202e" not in told


def test_what_the_server_sent_instead_of_a_message_is_not_repeated() -> None:
    assert "html" not in describe(ValueError("Failed to parse response: b'<html>'")).happened


def of_the_plugin(error: Exception) -> Exception:
    """As a task of the Google plugin raises it."""
    with pytest.raises(type(error)) as caught:
        exec("raise error", {"__name__": "livekit.plugins.google.realtime", "error": error})
    return caught.value


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    say_failures_plainly(GEMINI)
    say_failures_plainly(GEMINI)
    logger = logging.getLogger("livekit.plugins.google")
    failures = (raised(1011, "Internal error"), APIConnectionError("lost"), refused(401), unreadable(""))
    for error in map(of_the_plugin, failures):
        logger.error("error in receive task", exc_info=error)
    logger.error("the session ends", exc_info=RealtimeError("generate_reply timed out"))
    logger.warning("a line without an error")
    return [entry.message if not entry.exc_info else str(entry.exc_info[1]) for entry in caplog.records]


def test_tracebacks_of_provider_failures_stay_out_of_the_log(lines: list[str]) -> None:
    assert lines == ["a line without an error"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ZeroDivisionError("bug"),
        lambda: PermissionError("a file"),
        lambda: TypeError("None"),
        lambda: APIConnectionError("another service"),
        lambda: ConnectionClosedError(Close(1011, "another service"), None),
        lambda: raised(429, {"error": {"message": "another model"}}),
    ],
)
def test_what_a_tool_raises_is_logged_even_if_it_looks_like_the_providers_failure(
    make: Callable[[], Exception], caplog: pytest.LogCaptureFixture
) -> None:
    say_failures_plainly(GEMINI)
    try:
        raise make()
    except Exception:
        logging.getLogger("livekit.agents").exception("exception occurred while executing tool")
    assert [entry.message for entry in caplog.records] == ["exception occurred while executing tool"]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_what_cannot_be_made_a_line_of_never_raises_into_who_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # what logging says of it on stderr
    say_failures_plainly(GEMINI)
    logger = logging.getLogger("livekit.agents")
    logger.info("%(a)s", {"b": 1})
    logger.info("%s", Unprintable())
    logger.error("a tool failed", exc_info=Unprintable())


def test_what_a_traceback_quotes_steers_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    say_failures_plainly(GEMINI)
    logging.getLogger("livekit.agents").error("a tool failed", exc_info=of_the_plugin(ValueError("\x1b[2J\u202e")))
    shown = logging.Formatter().format(caplog.records[0])
    assert "Traceback" in shown
    assert not any(sign in shown for sign in "\x1b\u202e")


def test_a_message_of_several_lines_keeps_them_and_none_passes_for_a_line_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    say_failures_plainly(GEMINI)
    logging.getLogger("asyncio").error("Task was destroyed\ntask: %s", "\x1b[2JINFO all is well")
    assert caplog.messages == ["Task was destroyed\n    | task: \N{REPLACEMENT CHARACTER}[2JINFO all is well"]


async def test_a_fatal_failure_ends_the_session_with_two_lines_and_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeCall(Reply()) as call:
        await call.reported()
        call.model.fail(of_the_plugin(raised(1008, "models/nothing is not found")))
        await until(lambda: call.kept.closed)
        session = await call.end()
    assert session.end_reason == "model_not_found"
    assert session.sums.errors == {"model_not_found": 1}
    told = [entry for entry in caplog.records if entry.name == "livekit.agents.realtime_metrics"]
    assert [entry.levelno for entry in told] == [logging.ERROR, logging.ERROR]
    assert "models/nothing is not found" in told[0].message
    assert "AGENT_MODEL" in told[1].message
    assert not any(entry.exc_info for entry in caplog.records)


async def test_a_failure_that_the_plugin_recovers_from_is_a_warning_and_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with FakeCall(Reply()) as call:
        await call.reported()
        call.model.fail(raised(1011, "Internal error"), recoverable=True)
        call.model.connect()
        call.model.connect()
        await call.model.play(Reply("Still here."))
        await call.reported(2)
        session = await call.end()
    assert session.sums.errors == {"connection_closed_1011": 1}
    assert session.end_reason == "user_initiated"
    assert session.sums.reconnects == 1
    told = [entry for entry in caplog.records if entry.name == "livekit.agents.realtime_metrics"]
    assert [entry.levelno for entry in told] == [logging.WARNING]
