"""What tokens cost, and what is said where that is unknown."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args

import genai_prices
import pytest
from livekit.plugins.google.realtime.api_proto import LiveAPIModels

from realtime_metrics.prices import AS_TEXT, Cost, PriceFileError, Prices
from realtime_metrics.usage import TOKEN_FIELDS

MODEL = "gemini-2.5-flash-native-audio-preview-12-2025"
TODAY = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
OWN_PRICES = """
[my-model]
input_mtok = 0.5
input_audio_mtok = 3
output_mtok = 2
output_audio_mtok = 12
cache_read_mtok = 0.05
cache_audio_read_mtok = 0.3
"""


def counts(**known: int) -> dict[str, int | None]:
    return {**dict.fromkeys(TOKEN_FIELDS, 0), **{f"{name}_tokens": count for name, count in known.items()}}


@pytest.fixture
def own_prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(OWN_PRICES, encoding="utf-8")
    return path


def price(path: Path | None = None, model: str = "my-model", **known: int) -> Cost:
    return Prices(path).cost(counts(**known), model, "google", TODAY)


def test_each_modality_has_its_price_and_thoughts_are_output_text(own_prices: Path) -> None:
    cost = price(
        own_prices,
        input=1000,
        input_audio=800,
        input_text=200,
        input_cached=100,
        input_cached_text=100,
        output=500,
        output_audio=480,
        output_text=20,
        thoughts=50,
        tool_use=30,
        tool_use_text=30,
        total=1530,
    )
    text_in, cached, audio_in, text_out, audio_out = 200 - 100 + 30, 100, 800, 20 + 50, 480
    expected = text_in * Decimal("0.5") + cached * Decimal("0.05") + audio_in * 3 + text_out * 2 + audio_out * 12
    assert cost.usd == expected / 1_000_000
    assert (cost.reason, cost.notes) == (None, ())


@pytest.mark.parametrize("model", get_args(LiveAPIModels))
def test_every_live_model_of_the_plugin_has_a_price(model: str) -> None:
    tokens = counts(input=100, input_audio=100, output=100, output_audio=100, total=200)
    cost = Prices().cost(tokens, model, "google", TODAY)
    assert cost.usd is not None
    assert cost.usd > 0


def test_audio_costs_more_than_as_much_text() -> None:
    audio = price(model=MODEL, output=1000, output_audio=1000, total=1000)
    text = price(model=MODEL, output=1000, output_text=1000, total=1000)
    assert audio.usd is not None
    assert text.usd is not None
    assert audio.usd > text.usd


def test_tokens_of_unknown_modality_are_priced_as_text_and_the_cost_says_so(own_prices: Path) -> None:
    cost = price(own_prices, output=100, output_audio=60, output_unknown=40, total=100)
    assert cost.usd == Decimal(60 * 12 + 40 * 2) / 1_000_000
    assert cost.notes == (AS_TEXT,)


def test_a_model_without_a_price_costs_nobody_knows_what_and_never_nothing() -> None:
    cost = price(model="gemini-of-tomorrow", output=100, total=100)
    assert cost.usd is None
    assert cost.reason == f"genai-prices {genai_prices.__version__} has no price for model 'gemini-of-tomorrow'"


def test_audio_of_a_model_without_a_price_for_audio_is_not_priced_as_text(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("[text-model]\ninput_mtok = 1\noutput_mtok = 2\n", encoding="utf-8")
    assert price(path, "text-model", output=10, output_text=10, total=10).usd == Decimal(20) / 1_000_000
    cost = price(path, "text-model", input=10, input_audio=10, output=10, output_audio=10, total=20)
    assert cost.usd is None
    assert cost.reason is not None
    assert cost.reason.endswith("has no price for audio input of model 'text-model'")


def test_a_document_costs_what_an_image_does() -> None:
    document = price(model=MODEL, input=100, input_document=100, total=100)
    assert document.usd == price(model=MODEL, input=100, input_image=100, total=100).usd


def test_counts_that_contradict_each_other_have_no_cost() -> None:
    cost = price(model=MODEL, output=10, output_audio=15, total=10)
    assert cost.usd is None
    assert cost.reason is not None
    assert cost.reason.startswith("the provider's counts contradict each other")


def test_a_teams_own_prices_come_before_the_librarys(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(f'["{MODEL}"]\ninput_mtok = 1\noutput_mtok = 1000\n', encoding="utf-8")
    prices = Prices(path)
    assert prices.cost(counts(output=7, total=7), MODEL, "google", TODAY).usd == Decimal("0.007")
    assert prices.source == f"prices.toml over genai-prices {genai_prices.__version__}"


def test_a_model_that_the_team_has_no_price_for_has_the_librarys(own_prices: Path) -> None:
    assert price(own_prices, model=MODEL, output=100, total=100) == price(model=MODEL, output=100, total=100)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[my-model", "cannot be read"),
        pytest.param("my-model = " + "[" * 3000, "cannot be read", id="nested without end"),
        ("my-model = 3", "'my-model' needs a table with input_mtok and output_mtok"),
        ("[my-model]", "'my-model' needs a table with input_mtok and output_mtok"),
        ("[my-model]\ninput_mtok = 1", "'my-model' needs a table with input_mtok and output_mtok"),
        ("[my-model]\ninput_mtok = 1\noutput_mtok = -1", "'my-model': output_mtok = -1 is no price"),
        ('[my-model]\ninput_mtok = 1\noutput_mtok = "free"', "output_mtok = 'free' is no price"),
        ("[my-model]\ninput_mtok = 1\noutput_mtok = true", "output_mtok = True is no price"),
        ("[my-model]\ninput_mtok = 1\noutput_mtok = nan", "is no price"),
        ("[my-model]\ninput_mtok = 1\noutput_mtok = inf", "is no price"),
        ("[my-model]\ninput_mtok = 1\noutput_mtok = 1e400", "is no price: USD per million tokens, 0 to 1,000,000"),
        (
            "[my-model]\ninput_mtok = 1\noutput_mtok = 1\npeanuts_mtok = 1",
            "peanuts_mtok is no price: choose from input_mtok",
        ),
        (
            "[gemini-2.5-live]\ninput_mtok = 1\noutput_mtok = 1",
            "'gemini-2' needs a table with input_mtok and output_mtok",
        ),
        ("[gemini-2.5-live]\ninput_mtok = 1\noutput_mtok = 1", "a name that has a dot stands in quotes"),
        ("[my-model]\ninput_mtok = 1\noutput_mtok = 1\ncache_audio_read_mtok = 1", "cache_read_mtok, input_audio_mtok"),
        ("# to come", "holds no prices"),
    ],
)
def test_a_price_file_that_cannot_be_used_is_refused_in_words(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PriceFileError) as refused:
        Prices(path)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_price_file_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match="cannot be read"):
        Prices(tmp_path / "nowhere.toml")
