"""What the caller heard, put together: figures, JSON, a table."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from realtime_metrics.waits import percentile
from testcall.caller import Call, Turn
from testcall.records import AgentRecords

UNSURE_S = 0.05
"""Where this machine was later than that, the figures say so."""


class Results:
    """All calls, and what the agent says of them, where its records are known."""

    def __init__(self, calls: Sequence[Call], records: AgentRecords | None, budget_s: float | None) -> None:
        self.calls = calls
        self._records = records
        self._budget_s = budget_s
        self._waits_s = sorted(turn.wait_s for call in calls for turn in call.turns if turn.wait_s is not None)

    @property
    def unanswered(self) -> int:
        return sum(turn.unanswered is not None for call in self.calls for turn in call.turns)

    @property
    def over_budget(self) -> int:
        return sum(self._is_over(wait_s) for wait_s in self._waits_s)

    @property
    def are_good(self) -> bool:
        """Whether every call came about, every turn was answered, and none too late."""
        return not (self.unanswered or self.over_budget or any(call.problem for call in self.calls))

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "calls": [self._call(call) for call in self.calls],
            "turns": sum(len(call.turns) for call in self.calls),
            "unanswered": self.unanswered,
            "wait_p50_s": percentile(self._waits_s, 0.5),
            "wait_p95_s": percentile(self._waits_s, 0.95),
            "wait_max_s": percentile(self._waits_s, 1.0),
            "budget_s": self._budget_s,
            "over_budget": None if self._budget_s is None else self.over_budget,
        }

    def _call(self, call: Call) -> dict[str, Any]:
        session = self._records.session(call.room) if self._records else None
        return {
            "room": call.room,
            "problem": call.problem,
            "time_to_answer_s": call.time_to_answer_s,
            "record_first_audio_after_s": session and session.get("first_audio_after_s"),
            "record_unanswered": session and session.get("unanswered"),
            "stopwatch_late_s": call.late_s,
            "turns": [self._turn(call, turn) for turn in call.turns],
        }

    def _turn(self, call: Call, turn: Turn) -> dict[str, Any]:
        record = self._records.answer(call, turn) if self._records else None
        record_s: float | None = record.get("time_to_first_audio_s") if record else None
        return {
            "turn": turn.number,
            "said": turn.said,
            "wait_s": turn.wait_s,
            "talk_over_s": turn.talk_over_s,
            "unanswered": turn.unanswered,
            "record_s": record_s,
            "difference_s": None if record_s is None or turn.wait_s is None else turn.wait_s - record_s,
            "record_network_round_trip_s": record and record.get("network_round_trip_s"),
            "record_request_id": record and record.get("request_id"),
        }

    def table(self) -> Table:
        """One row a turn."""
        table = Table(box=box.SIMPLE_HEAD, title="By the caller's stopwatch", title_justify="left")
        figures = ("Waited", "Record", "The way", "Talk-over") if self._records else ("Waited", "Talk-over")
        table.add_column("Turn", justify="right", no_wrap=True)
        table.add_column("You said", overflow="ellipsis", no_wrap=True)
        for name in figures:
            table.add_column(name, justify="right", no_wrap=True)
        for call in self.calls:
            for turn in self._call(call)["turns"]:
                number = f"{call.number}.{turn['turn']}" if len(self.calls) > 1 else str(turn["turn"])
                cells = [number, escape(turn["said"]), self._waited(turn)]
                if self._records:
                    cells += [_seconds(turn["record_s"]), _seconds(turn["difference_s"])]
                table.add_row(*cells, _seconds(turn["talk_over_s"], unknown=""))
        return table

    def summary(self) -> list[str]:
        """Lines below the table."""
        calls = [self._call(call) for call in self.calls]
        to_answer, of_jobs, unanswered = (
            sorted(call[key] for call in calls if call[key] is not None)
            for key in ("time_to_answer_s", "record_first_audio_after_s", "record_unanswered")
        )
        of_jobs_s = f"; of this after the job's start: {_spread(of_jobs)}" if len(of_jobs) == 1 else ""
        of_records = f"; by the records {sum(unanswered)}" if unanswered else ""
        lines = [
            f"Time to answer  {_spread(to_answer)}{of_jobs_s}",
            f"Waits           {_spread(self._waits_s)}, mouth to ear",
            f"Unanswered      {self.unanswered} of {sum(len(call.turns) for call in self.calls)} turns{of_records}",
        ]
        if self._budget_s is not None:
            lines.append(
                f"Over budget     {self.over_budget} of {len(self._waits_s)} waits are over {self._budget_s:g} s"
            )
        late_s = max((call.late_s for call in self.calls), default=0.0)
        if late_s > UNSURE_S:
            lines.append(f"[yellow]This machine was busy: the stopwatch can be off by {late_s:.2f} s[/]")
        return lines

    def _waited(self, turn: dict[str, Any]) -> str:
        if turn["wait_s"] is None:
            return "[red]no answer[/]"
        return f"[red]{turn['wait_s']:.2f} s[/]" if self._is_over(turn["wait_s"]) else f"{turn['wait_s']:.2f} s"

    def _is_over(self, wait_s: float) -> bool:
        return self._budget_s is not None and wait_s > self._budget_s


def _spread(ordered_s: Sequence[float]) -> str:
    if len(ordered_s) < 2:
        return _seconds(ordered_s[0] if ordered_s else None)
    return ", ".join(
        f"{name} {_seconds(percentile(ordered_s, share))}"
        for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))
    )


def _seconds(value: float | None, unknown: str = "unknown") -> str:
    return unknown if value is None else f"{value:.2f} s"
