"""Sums over a session's records, and the bill: all usage that reached the process, also what no response holds."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from .prices import Cost
from .usage import OUTPUT_UNCOUNTED, PUBLIC_ONLY, WITH_ANSWER, Tokens, added

if TYPE_CHECKING:
    from .records import ResponseRecord


@dataclass(slots=True)
class Sums:
    """What is counted while the session goes on; part of its record."""

    responses: int = 0
    interrupted: int = 0
    """Responses that were cut short."""
    silent: int = 0
    """Responses with text but no audio."""
    without_usage: int = 0
    """Responses that no usage arrived for: their tokens and cost are missing from the sums."""
    talk_overs: int = 0
    """How often the caller interrupted and both could be heard."""
    connections: int = 0
    reconnects: int = 0
    resumptions: int | None = 0
    """How often a conversation was resumed on a new connection; unknown where the plugin does not tell."""
    errors: dict[str, int] = field(default_factory=dict)
    """Kind -> count, see `errors`."""
    greeting_s: float | None = None
    """The wait for what the agent said first; `None` where the user was first, or the program did not ask for it."""
    first_audio_after_s: float | None = None
    """From `watch()`, called as the job begins, to the first sound of the agent; unknown where there was none."""
    user_turns: int = 0
    """Stretches of the caller's speech between two sounds of the agent; typed turns, too."""
    unanswered: int = 0
    """Of these, those that were not answered in time."""
    longest_wait_s: float | None = None
    """The longest that the caller waited, unanswered or not; `None` where nobody waited."""
    over_latency_budget: int | None = None
    """Responses that took longer than the budget; unknown without one."""
    go_aways: int | None = 0
    """How often the provider announced the end of a connection; unknown where the plugin does not tell."""
    price_date: str | None = None
    """The day whose prices were taken; `None` where there was nothing to price."""

    def connected(self, *, reconnect: bool, resumed: bool | None) -> None:
        self.connections += 1
        self.reconnects += reconnect
        self.resumptions = None if resumed is None or self.resumptions is None else self.resumptions + resumed

    def responded(self, record: "ResponseRecord", *, text_only: bool, comes_first: bool) -> None:
        self.responses += 1
        self.interrupted += record.interrupted
        self.silent += text_only
        self.talk_overs += record.talk_over_s is not None
        if record.over_latency_budget is not None:
            self.over_latency_budget = (self.over_latency_budget or 0) + record.over_latency_budget
        # a tool call's usage comes with the answer
        self.without_usage += record.usage_messages == 0 and record.usage_reason != WITH_ANSWER
        if record.turn == 1 and comes_first and record.wait.time_to_first_audio_from == "reply_requested":
            self.greeting_s = record.wait.time_to_first_audio_s

    def error(self, kind: str) -> int:
        """Counts a failure; how many of its kind there were."""
        self.errors[kind] = count = self.errors.get(kind, 0) + 1
        return count


class Bill:
    """All usage that reached the process, and what it costs."""

    def __init__(self) -> None:
        self.tokens: Tokens | None = None
        self.usd = Decimal(0)
        """What is known of the cost."""
        self.unpriced_reason: str | None = None
        """Why some of it is not known, if some is not."""
        self.unbooked_total_tokens = 0
        self.unbooked_usd: Decimal | None = Decimal(0)
        self._priced = 0
        self._notes: Counter[str] = Counter()

    def book(self, tokens: Tokens, cost: Cost) -> None:
        """Usage of a response."""
        self.tokens = tokens if self.tokens is None else added(self.tokens, tokens)
        if cost.usd is None:
            self.unpriced_reason = cost.reason
            why = (cost.reason or "").partition(":")[0]  # what follows is of one call
            self._notes[f"leaves out a call of the model: {why}"] += 1
        else:
            self._priced += 1
            self.usd += cost.usd
        self._notes.update(cost.notes)

    def book_alone(self, tokens: Tokens, cost: Cost) -> None:
        """Usage that no response's record holds."""
        self.book(tokens, cost)
        self.unbooked_total_tokens += tokens["total_tokens"] or 0
        self.unbooked_usd = None if cost.usd is None or self.unbooked_usd is None else self.unbooked_usd + cost.usd

    def cost(self, usage_reason: str | None) -> tuple[float | None, str | None, str | None]:
        """`cost_usd`, `cost_reason` and `cost_note` of the session."""
        if self.tokens is not None and not self._priced:
            return None, self.unpriced_reason, None
        if self.tokens is None and usage_reason is not None:
            return None, usage_reason, None
        notes = (note if count == 1 else f"{note} ({count} times)" for note, count in self._notes.items())
        return float(self.usd), None, "; ".join(notes) or None

    def usage_reason(self, sums: Sums) -> str | None:
        """Why counts of the session are missing; `None` where none are."""
        reasons = []
        if sums.without_usage:
            reasons.append(f"responses came without usage: {sums.without_usage} of {sums.responses}")
        if uncounted := self._notes[OUTPUT_UNCOUNTED]:
            reasons.append(f"{OUTPUT_UNCOUNTED}: in {uncounted} of {sums.responses} responses")
        if self.tokens is not None and None in self.tokens.values():
            reasons.append(PUBLIC_ONLY)
        return "; ".join(reasons) or None
