"""What a model's tokens cost, as one rate for each kind of token.

genai-prices takes 0.1 ms for the price of one response (measured with 0.2.3), nearly all of it to find out which price
goes with which count. That stays the same from response to response: it is asked for each kind of token once, and the
price of a response is a sum. `tests/test_pricing.py` holds the sums against the library's own.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from genai_prices import Usage
from genai_prices.types import ModelPrice, TieredPrices

MILLION = 1_000_000

_MODALITIES = ("audio", "image", "video")
"""Those with prices of their own; all else is text."""

USAGE = (
    *("input_tokens", "output_tokens", "cache_read_tokens"),
    *(f"{direction}_{modality}_tokens" for direction in ("input", "output") for modality in _MODALITIES),
    *(f"cache_{modality}_read_tokens" for modality in _MODALITIES),
)
"""genai-prices' names of the counts; cached tokens are part of the input, each modality is part of its direction."""

_INPUT = tuple((f"input_{modality}_tokens", f"cache_{modality}_read_tokens") for modality in _MODALITIES)
_OUTPUT = tuple(f"output_{modality}_tokens" for modality in _MODALITIES)
_KINDS = (
    *(kind for names in _INPUT for kind in ({"input_tokens", names[0]}, {"input_tokens", "cache_read_tokens", *names})),
    {"input_tokens"},
    {"input_tokens", "cache_read_tokens"},
    *({"output_tokens", name} for name in _OUTPUT),
    {"output_tokens"},
)
"""By what each kind of token is counted, in the order of `_of_each_kind`."""


class Tariff:
    """Prices of one model.

    Args:
        price: the model's prices, as genai-prices has them.
    """

    def __init__(self, price: ModelPrice) -> None:
        self._price = price
        tiered = any(isinstance(value, TieredPrices) for value in vars(price).values())
        by_request = bool(self._usd_of({}))  # a price of each request comes on top of its tokens'
        linear = not (tiered or by_request)
        self._per_million = [self._usd_of(dict.fromkeys(kind, MILLION)) for kind in _KINDS] if linear else None

    def usd(self, usage: Mapping[str, int]) -> Decimal:
        """The price of `usage`, which has all names of `USAGE`.

        Raises:
            ValueError: the counts contradict each other.
        """
        numbers = list(_of_each_kind(usage))
        if self._per_million is None or min(numbers) < 0:
            return self._usd_of(usage)
        priced = (usd * number for usd, number in zip(self._per_million, numbers, strict=True) if number)
        return sum(priced, Decimal(0)) / MILLION

    def _usd_of(self, usage: Mapping[str, int]) -> Decimal:
        return self._price.calc_price(Usage(**dict.fromkeys(USAGE, 0) | dict(usage)))["total_price"]


def _of_each_kind(usage: Mapping[str, int]) -> Iterator[int]:
    text, cached_text = usage["input_tokens"], usage["cache_read_tokens"]
    for name, cached_name in _INPUT:
        number, cached = usage[name], usage[cached_name]
        text, cached_text = text - number, cached_text - cached
        yield number - cached
        yield cached
    yield text - cached_text
    yield cached_text
    text = usage["output_tokens"]
    for name in _OUTPUT:
        text -= usage[name]
        yield usage[name]
    yield text
