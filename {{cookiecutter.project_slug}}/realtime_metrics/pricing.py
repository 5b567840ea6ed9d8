"""Tokens -> USD, with the prices of `genai-prices` or a team's own.

How a count is billed follows genai-prices' own reading of Google's `usageMetadata` (its `data.py`, provider `google`):
thoughts are output text, tool-use prompt tokens are input, documents are input text. Tokens of no known modality are
priced at the model's text price, and `cost_note` says how many. Cached tokens cost the cache price where the model has
one, else the full input price.
"""

import functools
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import genai_prices
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice

from .tariff import USAGE, Tariff

Tokens = Mapping[str, int | None]

PRICE_DATA = f"genai-prices {genai_prices.__version__}"

get_snapshot()  # reads the prices now, while the process starts: in a call it would hold up the audio for 0.2 s

GOOGLE = {"Gemini", "Vertex AI"}
"""Provider names of the Google plugin; both bill by Google's price list."""

_CHARGED = {
    **{name: (name,) for name in USAGE},
    **{name: (name, name.replace("input", "tool_use")) for name in USAGE if name.startswith("input")},
    **{name: (name.replace("cache", "input_cached").replace("_read", ""),) for name in USAGE if "cache" in name},
    "output_tokens": ("output_tokens", "thoughts_tokens"),
}
"""genai-prices' name of a count -> our counts that it sums up."""

_PRICED_AS_TEXT = ("input_unknown_tokens", "tool_use_unknown_tokens", "output_unknown_tokens")


class PriceFileError(ValueError):
    """A price file that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a number of tokens costs: `usd`, or the `reason` why that is unknown; and what the figure assumes."""

    usd: Decimal | None
    reason: str | None = None
    note: str | None = None


class PriceList:
    """Prices of models: those of a team's own file before those of genai-prices.

    Raises:
        PriceFileError: the file cannot be read, is no TOML, or holds a price that genai-prices does not know.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._own = {} if path is None else _read_prices(path)
        self._tariffs: dict[int, tuple[ModelPrice, Tariff]] = {}
        self.source = PRICE_DATA if path is None else f"{path.name} over {PRICE_DATA}"
        """Where the prices come from."""

    def cost(self, tokens: Tokens, model: str, provider: str, at: datetime) -> Cost:
        """What `tokens` cost, at the prices of the day `at`."""
        if tokens["total_tokens"] is None:
            return Cost(None, "no usage arrived")
        usage = {name: sum(tokens[ours] or 0 for ours in charged) for name, charged in _CHARGED.items()}
        try:
            usd = self._tariff(model, provider, at).usd(usage)
        except LookupError:
            return Cost(None, f"{self.source} has no price for model {model!r}")
        except ValueError as error:
            return Cost(None, f"the provider's counts contradict each other: {error}")
        return Cost(usd, note=_assumption(tokens))

    def _tariff(self, model: str, provider: str, at: datetime) -> Tariff:
        """Of the prices that are valid at that time.

        Raises:
            LookupError: there are none.
        """
        price = self._own.get(model) or _library_price(model, provider, at)
        if id(price) not in self._tariffs:
            self._tariffs[id(price)] = price, Tariff(price)
        return self._tariffs[id(price)][1]


@functools.cache
def price_list(path: Path | None) -> PriceList:
    """The process's `PriceList`: read once, when the settings are checked, and not again when a call comes."""
    return PriceList(path)


def _library_price(model: str, provider: str, at: datetime) -> ModelPrice:
    _, found = get_snapshot().find_provider_model(model, None, "google" if provider in GOOGLE else None, None)
    return found.get_prices(at)


def _assumption(tokens: Tokens) -> str | None:
    unknown = sum(tokens[name] or 0 for name in _PRICED_AS_TEXT)
    return f"{unknown} tokens of unknown modality priced as text" if unknown else None


def _read_prices(path: Path) -> dict[str, ModelPrice]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PriceFileError(f"cannot be read: {error}") from error
    return {model: _model_price(model, prices) for model, prices in tables.items()}


def _model_price(model: str, prices: object) -> ModelPrice:
    if not isinstance(prices, dict) or not prices:
        raise PriceFileError(f"{model!r} needs a table of prices, e.g. input_mtok = 0.5 (USD per million tokens)")
    for key, value in prices.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | Decimal)
            or not Decimal(value).is_finite()
            or value < 0
        ):
            raise PriceFileError(
                f"{model!r}: {key} = {value!r} is no price, which is USD per million tokens, 0 or more"
            )
    if missing := [key for key in ("input_mtok", "output_mtok") if key not in prices]:
        raise PriceFileError(
            f"{model!r} has no {' and no '.join(missing)}: without it these tokens would count as free"
        )
    price = ModelPrice(**{key: Decimal(value) for key, value in prices.items()})
    try:
        with warnings.catch_warnings(action="error"):  # genai-prices only warns of a key it does not know
            price.calc_price(Usage(input_tokens=0, output_tokens=0))
    except (ValueError, UserWarning) as error:
        raise PriceFileError(f"{model!r}: {error}") from error
    return price
