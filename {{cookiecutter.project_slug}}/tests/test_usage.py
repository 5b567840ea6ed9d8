"""Token counts: all that the provider sent, each message counted once."""

import functools
import re

import pytest
from google.genai import types

from realtime_metrics.google_live import from_raw
from realtime_metrics.responses import Response, Responses
from realtime_metrics.usage import (
    MOST,
    TOKEN_FIELDS,
    Tokens,
    UsageBook,
    UsageMessage,
    added,
    from_metrics,
)
from tests.fakes.realtime import Usage, metrics
from tests.fakes.samples import booked, snapshot


def details(**counts: int) -> list[types.ModalityTokenCount]:
    return [
        types.ModalityTokenCount(modality=types.MediaModality(name.upper()), token_count=n)
        for name, n in counts.items()
    ]


# -- one message


def test_every_count_and_modality_that_gemini_sends_is_kept() -> None:
    sent = types.UsageMetadata(
        prompt_token_count=160,
        prompt_tokens_details=details(audio=100, text=20, image=10, video=20, document=10),
        cached_content_token_count=30,
        cache_tokens_details=details(text=20, audio=10),
        response_token_count=70,
        response_tokens_details=details(audio=60, text=10),
        thoughts_token_count=15,
        tool_use_prompt_token_count=8,
        tool_use_prompt_tokens_details=details(text=8),
        total_token_count=253,
    )
    known = {name: count for name, count in from_raw(sent).tokens.items() if count}
    assert known == {
        "input_tokens": 160,
        "input_audio_tokens": 100,
        "input_text_tokens": 20,
        "input_image_tokens": 10,
        "input_video_tokens": 20,
        "input_document_tokens": 10,
        "input_cached_tokens": 30,
        "input_cached_text_tokens": 20,
        "input_cached_audio_tokens": 10,
        "output_tokens": 70,
        "output_audio_tokens": 60,
        "output_text_tokens": 10,
        "thoughts_tokens": 15,
        "tool_use_tokens": 8,
        "tool_use_text_tokens": 8,
        "total_tokens": 253,
    }


def test_what_the_details_leave_of_a_total_has_no_known_modality() -> None:
    sent = types.UsageMetadata(
        prompt_token_count=100,
        prompt_tokens_details=details(audio=60, modality_unspecified=5),
        response_token_count=50,
        cached_content_token_count=10,
    )
    tokens = from_raw(sent).tokens
    assert tokens["input_unknown_tokens"] == 40
    assert tokens["output_unknown_tokens"] == 50
    assert tokens["input_cached_unknown_tokens"] == 10


def test_cached_content_that_only_has_details_is_counted() -> None:
    tokens = from_raw(types.UsageMetadata(cache_tokens_details=details(text=20, audio=10))).tokens
    assert (tokens["input_cached_tokens"], tokens["input_cached_unknown_tokens"]) == (30, 0)


def test_details_above_their_total_leave_nothing_unknown() -> None:
    tokens = from_raw(types.UsageMetadata(response_token_count=10, response_tokens_details=details(audio=15))).tokens
    assert (tokens["output_tokens"], tokens["output_audio_tokens"], tokens["output_unknown_tokens"]) == (10, 15, 0)


def test_the_total_is_the_providers_and_not_derived() -> None:
    tokens = from_raw(types.UsageMetadata(prompt_token_count=1, thoughts_token_count=5, total_token_count=1)).tokens
    assert tokens["total_tokens"] == 1


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (types.UsageMetadata(prompt_token_count=-1), "input_tokens is -1"),
        (types.UsageMetadata(response_tokens_details=details(audio=-3)), "output_audio_tokens is -3"),
        (types.UsageMetadata(total_token_count=10**400), r"total_tokens is above 2\^53"),
    ],
)
def test_a_count_below_0_or_too_large_for_json_is_malformed(sent: types.UsageMetadata, said: str) -> None:
    assert re.fullmatch(f"malformed usage message: {said}", from_raw(sent).problem or "")


def test_huge_counts_are_exact() -> None:
    assert from_raw(types.UsageMetadata(total_token_count=MOST)).tokens["total_tokens"] == MOST


def test_a_message_that_counts_nothing_is_no_usage() -> None:
    assert from_raw(types.UsageMetadata()).is_empty
    assert not from_raw(types.UsageMetadata(total_token_count=1)).is_empty


def test_public_metrics_give_what_they_carry_and_the_rest_is_unknown() -> None:
    tokens = from_metrics(metrics("GR_1", Usage(input_unknown=7, input_cached=3))).tokens
    assert tokens["input_tokens"] == 147
    assert tokens["input_unknown_tokens"] == 7
    assert (tokens["input_cached_tokens"], tokens["input_cached_text_tokens"]) == (3, 3)
    unknown = {name for name, count in tokens.items() if count is None}
    assert "thoughts_tokens" in unknown
    assert {name for name in TOKEN_FIELDS if "video" in name or "document" in name or "tool_use" in name} < unknown


# -- the messages of one response


def test_without_a_message_nothing_is_known() -> None:
    assert UsageBook().total() is None


def test_a_snapshot_that_brings_the_details_replaces_the_one_that_had_none() -> None:
    first = from_raw(types.UsageMetadata(response_token_count=50)).tokens
    second = from_raw(types.UsageMetadata(response_token_count=50, response_tokens_details=details(audio=50))).tokens
    total = booked(first, second).total() or {}
    assert (total["output_tokens"], total["output_audio_tokens"], total["output_unknown_tokens"]) == (50, 50, 0)


def test_calls_of_the_model_in_one_turn_are_added() -> None:
    """As 3.8 extended thinking was recorded to bill: 3,125/33, then 5,966/38."""
    assert booked(snapshot(3125, 33), snapshot(5966, 38)).total() == snapshot(9091, 71)


def test_a_newer_snapshot_of_the_same_call_replaces_the_one_before() -> None:
    book = booked(snapshot(90, 0), snapshot(90, 20), snapshot(90, 20), snapshot(90, 35))
    assert book.total() == snapshot(90, 35)
    assert book.messages == 4


def test_a_response_that_shrank_is_another_call() -> None:
    assert booked(snapshot(90, 20), snapshot(90, 10), snapshot(90, 30)).total() == snapshot(180, 50)


def test_a_count_that_only_one_message_knows_is_that_ones() -> None:
    public, raw = dict.fromkeys(TOKEN_FIELDS), snapshot(1, 2)
    public["input_tokens"] = 5
    total = added(public, raw)
    assert (total["input_tokens"], total["output_tokens"]) == (6, 2)


# -- a prompt that is counted ahead of its response


@pytest.mark.parametrize("begins", [False, True], ids=["that never begins", "that begins"])
async def test_a_prompt_that_is_told_twice_ahead_of_a_response_is_billed_once(begins: bool) -> None:
    prompt: Tokens = {**dict.fromkeys(TOKEN_FIELDS, 0), "input_tokens": 100, "total_tokens": 100}
    recorded: list[Response] = []
    alone: list[Tokens] = []
    responses = Responses(recorded.append, lambda tokens, _: alone.append(tokens))
    responses.used_alone(UsageMessage(prompt, of_next_response=True))
    responses.used_alone(UsageMessage(prompt, of_next_response=True))
    if begins:
        responses.created(Response("GR_1"))
        responses.used(metrics("GR_1"), UsageMessage(prompt, of_next_response=True))
    responses.close()
    assert alone == ([] if begins else [prompt])
    assert [response.usage.total() for response in recorded] == ([prompt] if begins else [])


async def test_usage_without_a_response_that_is_told_twice_is_billed_once() -> None:
    alone: list[Tokens] = []
    responses = Responses(lambda _: None, lambda tokens, _: alone.append(tokens))
    for count in (10, 10, 20):
        responses.used_alone(UsageMessage(snapshot(90, count)))
    assert functools.reduce(added, alone) == snapshot(90, 20)
    responses.created(Response("GR_1"))
    responses.used_alone(UsageMessage(snapshot(90, 20)))
    assert functools.reduce(added, alone) == snapshot(180, 40), "what comes after a response is another call"
