"""Tokens -> USD, with the prices of `genai-prices` or a team's own.

How a count is billed follows genai-prices' own reading of Google's `usageMetadata` (its `data.py`, provider `google`):
thoughts are output text, tool-use prompt tokens are input, documents are input images. Tokens of no known modality are
priced at the model's text price, and `cost_note` says so: the provider leaves open what they cost. Cached tokens cost
the cache price where the model has one, else the full input price.
"""

import functools
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import genai_prices
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice

from .usage import Tokens

PRICE_DATA = f"genai-prices {genai_prices.__version__}"

get_snapshot()  # reads the prices now, while the process starts: in a call it would hold up the audio for 0.2 s

_CHARGED = {
    "input_tokens": ("input_tokens", "tool_use_tokens"),
    "input_audio_tokens": ("input_audio_tokens", "tool_use_audio_tokens"),
    "input_image_tokens": (
        *("input_image_tokens", "input_document_tokens"),
        *("tool_use_image_tokens", "tool_use_document_tokens"),
    ),
    "input_video_tokens": ("input_video_tokens", "tool_use_video_tokens"),
    "cache_read_tokens": ("input_cached_tokens",),
    "cache_audio_read_tokens": ("input_cached_audio_tokens",),
    "cache_image_read_tokens": ("input_cached_image_tokens", "input_cached_document_tokens"),
    "cache_video_read_tokens": ("input_cached_video_tokens",),
    "output_tokens": ("output_tokens", "thoughts_tokens"),
    "output_audio_tokens": ("output_audio_tokens",),
    "output_image_tokens": ("output_image_tokens", "output_document_tokens"),
    "output_video_tokens": ("output_video_tokens",),
}
"""genai-prices' name of a count -> our counts that it sums up; each modality is part of its direction."""
_MOST = 1_000_000
"""A higher price is none: a dollar for each token."""
_PRICE_KEYS = [name.replace("_tokens", "_mtok") for name in _CHARGED]

AS_TEXT = "tokens of unknown modality are priced as text: the provider leaves open what they cost"
_PRICED_AS_TEXT = ("input_unknown_tokens", "tool_use_unknown_tokens", "output_unknown_tokens")


class PriceFileError(ValueError):
    """A price file that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of tokens costs: `usd`, or the `reason` why that is unknown; and what the figure assumes."""

    usd: Decimal | None
    reason: str | None = None
    notes: tuple[str, ...] = ()


class Prices:
    """Prices of models: those of a team's own file before those of genai-prices.

    Raises:
        PriceFileError: the file cannot be read, is no TOML, or holds a price that genai-prices does not know.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._own = {} if path is None else _read_prices(path)
        self.source = PRICE_DATA if path is None else f"{path.name} over {PRICE_DATA}"
        """Where the prices come from."""

    def cost(self, tokens: Tokens, model: str, price_list: str | None, at: float) -> Cost:
        """What tokens cost.

        Args:
            tokens: the counts; one that is unknown costs nothing.
            model: the model that was asked.
            price_list: the id of the provider whose prices hold, as genai-prices has it; `None`: whoever has the model.
            at: when it was used (`time.time()`): the prices of that day hold.
        """
        usage = {name: sum(tokens[ours] or 0 for ours in counted) for name, counted in _CHARGED.items()}
        try:
            price = self._own.get(model) or _library_price(model, price_list, datetime.fromtimestamp(at, UTC))
            for way in ("input", "output"):
                if usage[f"{way}_audio_tokens"] and getattr(price, f"{way}_audio_mtok") is None:
                    # genai-prices would charge it as text, silently
                    return Cost(None, f"{self.source} has no price for audio {way} of model {model!r}")
            usd = price.calc_price(Usage(**usage))["total_price"]
        except LookupError:
            return Cost(None, f"{self.source} has no price for model {model!r}")
        except ValueError as error:
            return Cost(None, f"the provider's counts contradict each other: {error}")
        except Exception as error:  # a record is worth more than its price
            return Cost(None, f"pricing failed: {type(error).__name__}: {error}")
        return Cost(usd, notes=(AS_TEXT,) if any(tokens[name] for name in _PRICED_AS_TEXT) else ())


prices_of = functools.cache(Prices)
"""The process's `Prices`: read once, when the settings are checked, and not again when a call comes."""


def _library_price(model: str, price_list: str | None, at: datetime) -> ModelPrice:
    _, found = get_snapshot().find_provider_model(model, None, price_list, None)
    return found.get_prices(at)


def _read_prices(path: Path) -> dict[str, ModelPrice]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    except (OSError, ValueError, RecursionError) as error:
        raise PriceFileError(f"cannot be read: {error}") from error
    if not tables:
        raise PriceFileError("holds no prices: it needs a table for each model")
    return {model: _model_price(model, prices) for model, prices in tables.items()}


def _model_price(model: str, prices: object) -> ModelPrice:
    if not isinstance(prices, dict) or not {"input_mtok", "output_mtok"} <= prices.keys():
        # without one of them these tokens would count as free
        what = f"{model!r} needs a table with input_mtok and output_mtok, in USD per million tokens"
        raise PriceFileError(f"{what}; a name that has a dot stands in quotes")
    for key, value in prices.items():
        if key not in _PRICE_KEYS:
            raise PriceFileError(f"{model!r}: {key} is no price: choose from {', '.join(_PRICE_KEYS)}")
        if type(value) not in (int, Decimal) or not Decimal(value).is_finite() or not 0 <= value <= _MOST:
            shown = repr(value) if isinstance(value, str) else value
            raise PriceFileError(f"{model!r}: {key} = {shown} is no price: USD per million tokens, 0 to {_MOST:,}")
    price = ModelPrice(**{key: Decimal(value) for key, value in prices.items()})
    try:
        price.calc_price(Usage(input_tokens=0, output_tokens=0))
    except ValueError as error:
        raise PriceFileError(f"{model!r}: {str(error).replace('_tokens', '_mtok')}") from error
    return price
