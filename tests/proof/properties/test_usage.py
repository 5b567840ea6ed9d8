"""The messages of one response, whatever they count: repeats, growing snapshots, and others."""

from hypothesis import given
from hypothesis import strategies as st

from realtime_metrics.usage import Tokens
from tests.fakes.samples import booked, snapshot

COUNTS = st.integers(min_value=0, max_value=10**12)
MESSAGES = st.builds(snapshot, COUNTS, COUNTS)


@given(MESSAGES, st.integers(min_value=1, max_value=5))
def test_a_message_counts_once_however_often_it_is_repeated(message: Tokens, times: int) -> None:
    book = booked(*[message] * times)
    assert book.total() == message
    assert book.messages == times


@given(COUNTS, st.lists(COUNTS, min_size=1, max_size=6))
def test_of_growing_snapshots_of_one_call_the_last_counts(prompt: int, outputs: list[int]) -> None:
    assert booked(*(snapshot(prompt, output) for output in sorted(outputs))).total() == snapshot(prompt, max(outputs))


@given(st.lists(COUNTS, min_size=1, max_size=6, unique=True), COUNTS)
def test_calls_of_the_model_with_other_prompts_are_added(prompts: list[int], output: int) -> None:
    total = booked(*(snapshot(prompt, output) for prompt in prompts)).total()
    assert total == snapshot(sum(prompts), output * len(prompts))


@given(st.lists(MESSAGES, min_size=1, max_size=6))
def test_the_total_is_at_least_every_message_and_at_most_their_sum(messages: list[Tokens]) -> None:
    total = booked(*messages).total() or {}
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        counts = [message[name] or 0 for message in messages]
        assert max(counts) <= (total[name] or 0) <= sum(counts)
