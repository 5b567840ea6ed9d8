"""Tokens -> USD, with the prices of `genai-prices` or a team's own.

How a count is billed follows genai-prices' own reading of Google's `usageMetadata` (its `data.py`, provider `google`):
thoughts are output text, tool-use prompt tokens are input, documents are input text. Tokens of no known modality are
priced at the model's text price, and `cost_note` says how many. Cached tokens cost the cache price where the model has
one, else the full input price.
"""

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

Tokens = Mapping[str, int | None]

PRICE_DATA = f"genai-prices {genai_prices.__version__}"

get_snapshot()  # reads the prices now, while the process starts: in a call it would hold up the audio for 0.2 s

GOOGLE = {"Gemini", "Vertex AI"}
"""Provider names of the Google plugin; both bill by Google's price list."""

_CHARGED_DIRECTIONS = (("input", ("input", "tool_use")), ("output", ("output",)))


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
        self.source = PRICE_DATA if path is None else f"{path.name} over {PRICE_DATA}"
        """Where the prices come from."""

    def cost(self, tokens: Tokens, model: str, provider: str, at: datetime) -> Cost:
        """What `tokens` cost, at the prices of the day `at`."""
        if tokens["total_tokens"] is None:
            return Cost(None, "no usage arrived")
        usage = _usage(tokens)
        try:
            if own := self._own.get(model):
                usd = own.calc_price(usage)["total_price"]
            else:
                usd = genai_prices.calc_price(
                    usage,
                    model_ref=model,
                    provider_id="google" if provider in GOOGLE else None,
                    genai_request_timestamp=at,
                ).total_price
        except LookupError:
            return Cost(None, f"{self.source} has no price for model {model!r}")
        except ValueError as error:
            return Cost(None, f"the provider's counts contradict each other: {error}")
        return Cost(usd, note=_assumption(tokens))


def _usage(tokens: Tokens) -> Usage:
    counts: dict[str, int] = {}
    for direction, groups in _CHARGED_DIRECTIONS:
        for modality in ("audio", "image", "video"):
            counts[f"{direction}_{modality}_tokens"] = sum(
                tokens[f"{group}_{modality}_tokens"] or 0 for group in groups
            )
        counts[f"{direction}_tokens"] = sum(tokens[f"{group}_tokens"] or 0 for group in groups)
    counts["output_tokens"] += tokens["thoughts_tokens"] or 0
    counts["cache_read_tokens"] = tokens["input_cached_tokens"] or 0
    for modality in ("audio", "image", "video"):
        counts[f"cache_{modality}_read_tokens"] = tokens[f"input_cached_{modality}_tokens"] or 0
    return Usage(**counts)


def _assumption(tokens: Tokens) -> str | None:
    unknown = sum(tokens[f"{group}_unknown_tokens"] or 0 for _, groups in _CHARGED_DIRECTIONS for group in groups)
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
