"""The messages of one response, whatever they count: repeats, growing snapshots, and others."""

from hypothesis import given
from hypothesis import strategies as st

from realtime_metrics.records import TOKEN_FIELDS
from realtime_metrics.usage import Tokens, UsageBook


def snapshot(*counts: int) -> Tokens:
    tokens: Tokens = dict.fromkeys(TOKEN_FIELDS, 0)
    tokens["input_tokens"], tokens["output_tokens"] = counts
    tokens["total_tokens"] = sum(counts)
    return tokens


def booked(*messages: Tokens) -> UsageBook:
    book = UsageBook()
    for message in messages:
        book.book(message)
    return book


COUNTS = st.integers(min_value=0, max_value=10**12)
MESSAGES = st.builds(snapshot, COUNTS, COUNTS)


@given(MESSAGES, st.integers(min_value=1, max_value=5))
def test_a_message_counts_once_however_often_it_is_repeated(message: Tokens, times: int) -> None:
    book = booked(*[message] * times)
    assert book.total() == message
    assert book.messages == times


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=6))
def test_of_growing_snapshots_the_last_counts(increments: list[tuple[int, int]]) -> None:
    inputs = outputs = 0
    snapshots = []
    for more_input, more_output in increments:
        inputs, outputs = inputs + more_input, outputs + more_output
        snapshots.append(snapshot(inputs, outputs))
    assert booked(*snapshots).total() == snapshots[-1]


@given(st.lists(st.integers(min_value=1, max_value=10**12), min_size=1, max_size=6, unique=True))
def test_messages_that_do_not_grow_are_summed(outputs: list[int]) -> None:
    shrinking = sorted(outputs, reverse=True)
    total = booked(*(snapshot(0, output) for output in shrinking)).total()
    assert total == snapshot(0, sum(shrinking))


@given(st.lists(MESSAGES, min_size=1, max_size=6))
def test_the_total_is_at_least_every_message_and_at_most_their_sum(messages: list[Tokens]) -> None:
    total = booked(*messages).total() or {}
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        counts = [message[name] or 0 for message in messages]
        assert max(counts) <= (total[name] or 0) <= sum(counts)
