"""What the responses of one session cost, and all of them together."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .pricing import Cost, PriceList, Tokens


class Cashier:
    """Prices responses and keeps the session's sum.

    Args:
        prices: what tokens cost.
    """

    def __init__(self, prices: PriceList) -> None:
        self._prices = prices
        self._responses = 0
        self._sum = Decimal(0)
        self._unpriced = 0
        self._last_reason: str | None = None
        self._with_assumption = 0
        self._price_date: str | None = None

    def price(
        self, tokens: Tokens, model: str, provider: str, created_at: float, usage_reason: str | None
    ) -> dict[str, Any]:
        """The fields of a response's record that tell its cost.

        Args:
            tokens: all counts of `records.TOKEN_FIELDS`.
            model: the model that was asked.
            provider: as the plugin names it.
            created_at: when the response was created (`time.time()`): that day's prices hold.
            usage_reason: why counts are missing, if they are.
        """
        at = datetime.fromtimestamp(created_at, UTC)
        self._responses += 1
        self._price_date = at.date().isoformat()
        try:
            cost = self._prices.cost(tokens, model, provider, at)
        except Exception as error:  # a record is worth more than its price
            cost = Cost(None, f"pricing failed: {type(error).__name__}: {error}")
        if cost.usd is None:
            self._unpriced += 1
            self._last_reason = (usage_reason if tokens["total_tokens"] is None else None) or cost.reason
            return {"cost_reason": self._last_reason}
        self._sum += cost.usd
        self._with_assumption += cost.note is not None
        return {"cost_usd": float(cost.usd), "cost_note": cost.note}

    def as_fields(self, unbooked_total_tokens: int) -> dict[str, Any]:
        """The fields of the session's record that tell its cost; `unbooked_total_tokens` are not in it."""
        fields = {"price_data": self._prices.source, "price_date": self._price_date}
        if self._unpriced and self._unpriced == self._responses:
            return {**fields, "cost_reason": self._last_reason}
        return {**fields, "cost_usd": float(self._sum), "cost_note": self._note(unbooked_total_tokens)}

    def _note(self, unbooked_total_tokens: int) -> str | None:
        notes = []
        if self._unpriced:
            notes.append(f"leaves out {self._unpriced} of {self._responses} responses: {self._last_reason}")
        if unbooked_total_tokens:
            notes.append(f"leaves out {unbooked_total_tokens} tokens that arrived after their response was recorded")
        if self._with_assumption:
            notes.append(f"in {self._with_assumption} responses, tokens of unknown modality are priced as text")
        return "; ".join(notes) or None
