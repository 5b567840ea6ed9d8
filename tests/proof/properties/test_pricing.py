"""Any price is the library's, to the last digit."""

from datetime import UTC, datetime
from typing import get_args

import genai_prices
from genai_prices import Usage
from hypothesis import given
from hypothesis import strategies as st
from livekit.plugins.google.realtime.api_proto import LiveAPIModels

from realtime_metrics.pricing import PriceList
from realtime_metrics.records import TOKEN_FIELDS
from realtime_metrics.tariff import USAGE

MODEL = "gemini-2.5-flash-native-audio-preview-12-2025"
TODAY = datetime(2026, 11, 23, tzinfo=UTC)


def counts(**known: int) -> dict[str, int | None]:
    return {**dict.fromkeys(TOKEN_FIELDS, 0), **{f"{name}_tokens": count for name, count in known.items()}}


PARTS = st.integers(min_value=0, max_value=10**9)
MODALITIES = ("audio", "image", "video")


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
    assert PriceList().cost(tokens, model, "Gemini", TODAY).usd == library.total_price


@given(st.lists(st.integers(min_value=0, max_value=20), min_size=6, max_size=6))
def test_whether_counts_contradict_each_other_is_for_the_library_to_say(numbers: list[int]) -> None:
    names = ("input", "input_audio", "input_cached", "input_cached_audio", "output", "output_audio")
    known = dict(zip(names, numbers, strict=True))
    usage = {
        **dict.fromkeys(USAGE, 0),
        **{f"{name}_tokens": count for name, count in known.items() if "cached" not in name},
        "cache_read_tokens": known["input_cached"],
        "cache_audio_read_tokens": known["input_cached_audio"],
    }
    try:
        expected = genai_prices.calc_price(Usage(**usage), model_ref=MODEL, provider_id="google").total_price
    except ValueError:
        expected = None
    assert PriceList().cost(counts(total=1, **known), MODEL, "Gemini", TODAY).usd == expected


@given(st.integers(min_value=0, max_value=10**15), st.integers(min_value=0, max_value=10**15))
def test_costs_are_exact_and_add_up(first: int, second: int) -> None:
    costs = [
        PriceList().cost(counts(output=n, output_audio=n, total=n), MODEL, "Gemini", TODAY).usd
        for n in (first, second, first + second)
    ]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[0] + costs[1] == costs[2]
