"""Any price is the library's, to the last digit."""

from datetime import UTC, datetime
from typing import get_args

import genai_prices
from genai_prices import Usage
from hypothesis import given
from hypothesis import strategies as st
from livekit.plugins.google.realtime.api_proto import LiveAPIModels

from realtime_metrics.prices import Prices
from realtime_metrics.usage import TOKEN_FIELDS

MODEL = "gemini-2.5-flash-native-audio-preview-12-2025"
TODAY = datetime(2026, 11, 23, tzinfo=UTC)
PARTS = st.integers(min_value=0, max_value=10**9)
MODALITIES = ("audio", "image", "video")


def counts(**known: int) -> dict[str, int | None]:
    return {**dict.fromkeys(TOKEN_FIELDS, 0), **{f"{name}_tokens": count for name, count in known.items()}}


@given(st.sampled_from(get_args(LiveAPIModels)), st.lists(PARTS, min_size=12, max_size=12))
def test_the_price_of_any_usage_is_exactly_the_librarys(model: str, parts: list[int]) -> None:
    fresh, cached, output = parts[:4], parts[4:8], parts[8:]
    usage = {
        "input_tokens": sum(fresh) + sum(cached),
        "cache_read_tokens": sum(cached),
        "output_tokens": sum(output),
        **{f"input_{modality}_tokens": fresh[i] + cached[i] for i, modality in enumerate(MODALITIES)},
        **{f"cache_{modality}_read_tokens": cached[i] for i, modality in enumerate(MODALITIES)},
        **{f"output_{modality}_tokens": output[i] for i, modality in enumerate(MODALITIES)},
    }
    tokens = counts(total=1) | {
        name.replace("cache", "input_cached").replace("_read", ""): count for name, count in usage.items()
    }
    library = genai_prices.calc_price(
        Usage(**usage), model_ref=model, provider_id="google", genai_request_timestamp=TODAY
    )
    assert Prices().cost(tokens, model, "google", TODAY.timestamp()).usd == library.total_price


@given(st.integers(min_value=0, max_value=10**15), st.integers(min_value=0, max_value=10**15))
def test_costs_are_exact_and_add_up(first: int, second: int) -> None:
    costs = [
        Prices().cost(counts(output=n, output_audio=n, total=n), MODEL, "google", TODAY.timestamp()).usd
        for n in (first, second, first + second)
    ]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[0] + costs[1] == costs[2]
