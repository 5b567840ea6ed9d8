"""What the records say: figures of all calls or of groups of them, and the details behind them.

Unknown is `None`, never 0. A percentile is a value that was measured (nearest rank). Waits are waits of a user for an
answer, from the end of what they said; the greeting's is apart.
"""

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from genai_prices import Usage, calc_price

from .load import MODALITIES, NO_FAILURE, WITH_ANSWER, Records, iso

BY = ("model", "voice", "customer", "revision", "agent_name")
ALL = "all calls"
NONE = "(none)"
"""Stands for the value of calls that have none, such as those without a customer."""

IS_WAIT = "kind = 'response' AND time_to_first_audio_from = 'user_speech_end' AND time_to_first_audio_s IS NOT NULL"
_NO_COST = f"kind = 'response' AND cost_usd IS NULL AND usage_reason IS DISTINCT FROM '{WITH_ANSWER}'"
_NO_WAIT = "kind = 'response' AND time_to_first_audio_s IS NULL"

_SHOWN = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)

_CALLS = f"""
    CREATE OR REPLACE TABLE calls AS SELECT
        call, any_value(room) AS room, min(time_s) AS began, max(time_s) AS ended,
        {", ".join(f"arg_max({name}, coalesce(time_s, 0)) AS {name}" for name in BY)},
        bool_or(kind = 'session') AS closed,
        sum(cost_usd) FILTER (kind = 'session') AS bill_usd,
        sum(cost_usd) FILTER (kind = 'response') AS booked_usd,
        coalesce(bill_usd, booked_usd) AS cost_usd,
        sum(unbooked_cost_usd) FILTER (kind = 'session') AS unbooked_usd,
        CASE WHEN bill_usd IS NOT NULL THEN coalesce(sum(without_usage) FILTER (kind = 'session'), 0)
             ELSE count(*) FILTER ({_NO_COST}) END AS without_cost,
        coalesce(sum(duration_s) FILTER (kind = 'session'), ended - began) AS length_s,
        sum(user_turns) FILTER (kind = 'session') AS turns,
        CASE WHEN turns IS NOT NULL THEN sum(unanswered) FILTER (kind = 'session') END AS unanswered,
        bool_or(end_reason NOT IN {NO_FAILURE}) FILTER (kind = 'session') AS failed,
        count(*) FILTER (kind = 'response') > 0 OR coalesce(bill_usd, 0) > 0 AS responded
    FROM records GROUP BY call"""


@dataclass(frozen=True)
class Figures:
    """Figures of some calls. USD, seconds, and shares from 0 to 1."""

    value: str
    """Which calls: `all calls`, or the value that they have in common."""
    calls: int
    calls_without_end: int
    """Calls that have no session record: they still run, or their process was killed."""
    calls_failed: int | None
    """Calls that a failure ended, of those that say why they ended."""
    calls_failed_share: float | None
    began: str | None
    """Time of the first record, UTC in ISO 8601."""
    ended: str | None
    minutes: float | None
    """Length of all calls together; of one without an end: from its first record to its last."""
    turns: int | None
    """Stretches of the user's speech, in calls that ended."""
    responses: int
    cost_usd: float | None
    """The bills of the calls that ended, and the responses of the others."""
    cost_per_call_usd: float | None
    """Of the calls whose cost is known; without `calls_without_response`, which would make it look cheaper."""
    cost_per_minute_usd: float | None
    """Of the same calls."""
    calls_without_response: int | None
    """Calls that had no response, and cost nothing."""
    calls_without_bill: int
    """Calls whose cost is the sum of their responses, as no session record says it."""
    unbooked_usd: float | None
    """Part of the cost that no response's record holds."""
    responses_without_cost: int
    waits: int
    responses_without_wait: int
    wait_p50_s: float | None
    wait_p90_s: float | None
    wait_p95_s: float | None
    wait_p99_s: float | None
    wait_max_s: float | None
    greeting_p50_s: float | None
    unanswered: int
    """Records of waits that ended without an answer."""
    unanswered_turns: int | None
    """Those in calls that ended, of their `turns`."""
    unanswered_share: float | None
    interrupted: int | None
    interrupted_share: float | None
    talk_overs: int
    """Responses whose talk-over was measured."""
    talk_over_p50_s: float | None
    network_round_trip_p50_s: float | None
    reconnects: int | None


@dataclass(frozen=True)
class Modality:
    """Tokens of one kind over all responses, and their price by the price list of genai-prices."""

    name: str
    tokens: int
    cost_usd: float | None


@dataclass(frozen=True)
class Model:
    """Of the responses of one model."""

    name: str
    responses: int
    cost_usd: float | None
    without_cost: int


@dataclass(frozen=True)
class Slow:
    """One of the slowest answers: where it is to be found, and the parts of its wait."""

    call: str
    turn: int | None
    time_s: float | None
    wait_s: float
    to_generation_s: float | None
    to_audio_s: float | None
    playback_s: float | None
    tools_s: float | None


@dataclass(frozen=True)
class Growth:
    """How the context, and so the cost of a response, grows: medians over the calls that had so many.

    `turn` is the response's number, as in the records.
    """

    turn: int
    responses: int
    input_tokens: int | None
    cost_usd: float | None


@dataclass(frozen=True)
class Details:
    """What stands behind the figures of all calls."""

    models: list[Model]
    modalities: list[Modality]
    modalities_note: str | None
    """Why the modalities have no price."""
    slowest: list[Slow]
    growth: list[Growth]
    reasons_without_wait: dict[str, int]
    reasons_without_cost: dict[str, int]
    reasons_unanswered: dict[str, int]
    errors: dict[str, int]
    ends: dict[str, int]


def figures(records: Records, by: str | None = None) -> list[Figures]:
    """The figures of all calls, or one for each value of the field `by`; the most calls first."""
    records.db.execute(_CALLS)
    group = f"coalesce(calls.{by}, '{NONE}')" if by else f"'{ALL}'"
    of_calls = records.rows(f"""
        SELECT {group} AS value, count(*), count(*) FILTER (NOT closed), min(began), max(ended), sum(length_s) / 60,
            sum(turns)::BIGINT, sum(cost_usd), count(*) FILTER (bill_usd IS NULL), sum(unbooked_usd),
            sum(without_cost)::BIGINT, sum(unanswered)::BIGINT, sum(turns) FILTER (unanswered IS NOT NULL)::BIGINT,
            count(cost_usd) FILTER (responded), sum(length_s) FILTER (responded AND cost_usd IS NOT NULL) / 60,
            count(*) FILTER (NOT responded), count(failed), count(*) FILTER (failed)
        FROM calls GROUP BY value ORDER BY 2 DESC, value""")
    of_records = records.rows(f"""
        SELECT {group} AS value, count(*) FILTER (kind = 'response'),
            count(*) FILTER ({IS_WAIT}), count(*) FILTER ({_NO_WAIT}),
            quantile_disc(time_to_first_audio_s, [0.5, 0.9, 0.95, 0.99, 1]) FILTER ({IS_WAIT}),
            quantile_disc(time_to_first_audio_s, 0.5) FILTER (time_to_first_audio_from = 'reply_requested'),
            count(*) FILTER (kind = 'unanswered'),
            count(interrupted) FILTER (kind = 'response'), count(*) FILTER (kind = 'response' AND interrupted),
            count(talk_over_s), quantile_disc(talk_over_s, 0.5), quantile_disc(network_round_trip_s, 0.5),
            count(reconnect) FILTER (kind = 'connection'), count(*) FILTER (kind = 'connection' AND reconnect)
        FROM records {"JOIN calls USING (call)" if by else ""} GROUP BY value""")
    rest_of = {value: rest for value, *rest in of_records}
    return [_figures(value, of_call, rest_of[value]) for value, *of_call in of_calls]


def _figures(value: str, of_calls: list[Any], of_records: list[Any]) -> Figures:
    calls, open_calls, began, ended, minutes, turns, cost, without_bill, unbooked, without_cost = of_calls[:10]
    unanswered_turns, of_turns, calls_with_cost, minutes_with_cost, without_response, ended_how, failed = of_calls[10:]
    responses, waits, without_wait, ranks, greeting, unanswered, known, interrupted, *others = of_records
    p50, p90, p95, p99, longest = ranks or [None] * 5
    return Figures(
        value=value,
        calls=calls,
        calls_without_end=open_calls,
        calls_failed=failed if ended_how else None,
        calls_failed_share=_per(failed, ended_how),
        began=iso(began),
        ended=iso(ended),
        minutes=minutes,
        turns=turns,
        responses=responses,
        cost_usd=cost,
        cost_per_call_usd=_per(cost, calls_with_cost),
        cost_per_minute_usd=_per(cost, minutes_with_cost),
        calls_without_response=without_response,
        calls_without_bill=without_bill,
        unbooked_usd=unbooked,
        responses_without_cost=without_cost,
        waits=waits,
        responses_without_wait=without_wait,
        wait_p50_s=p50,
        wait_p90_s=p90,
        wait_p95_s=p95,
        wait_p99_s=p99,
        wait_max_s=longest,
        greeting_p50_s=greeting,
        unanswered=unanswered,
        unanswered_turns=unanswered_turns,
        unanswered_share=_per(unanswered_turns, of_turns),
        interrupted=interrupted if known else None,
        interrupted_share=_per(interrupted, known),
        talk_overs=others[0],
        talk_over_p50_s=others[1],
        network_round_trip_p50_s=others[2],
        reconnects=others[4] if others[3] else None,
    )


def _per(total: float | None, count: float | None) -> float | None:
    return total / count if total is not None and count else None


def details(records: Records) -> Details:
    """What stands behind the figures of all calls."""
    modalities, note = _modalities(records)
    return Details(
        models=[
            Model(*row)
            for row in records.rows(f"""
                SELECT coalesce(model, '{NONE}') AS name, count(*), sum(cost_usd), count(*) FILTER ({_NO_COST})
                FROM records WHERE kind = 'response' GROUP BY name ORDER BY 3 DESC NULLS LAST, name""")
        ],
        modalities=modalities,
        modalities_note=note,
        slowest=[
            Slow(*row)
            for row in records.rows(f"""
                SELECT call, turn, time_s, time_to_first_audio_s, time_to_generation_s, generation_to_audio_s,
                    playback_latency_s, tools_s
                FROM records WHERE {IS_WAIT} ORDER BY time_to_first_audio_s DESC, call, turn LIMIT 5""")
        ],
        growth=[
            Growth(*row)
            for row in records.rows("""
                SELECT turn, count(*), quantile_disc(input_tokens, 0.5), quantile_disc(cost_usd, 0.5)
                FROM records WHERE kind = 'response' AND turn BETWEEN 1 AND 1000 GROUP BY turn ORDER BY turn""")
        ],
        reasons_without_wait=_reasons(records, "time_to_first_audio_reason", _NO_WAIT),
        reasons_without_cost=_reasons(records, "coalesce(cost_reason, usage_reason)", _NO_COST),
        reasons_unanswered=_reasons(records, "reason", "kind = 'unanswered'"),
        errors=_errors(records),
        ends=_reasons(records, "end_reason", "kind = 'session'"),
    )


def some_responses(growth: list[Growth]) -> list[Growth]:
    """A handful, from the first to the last that is no single call's."""
    several = [grown for grown in growth if grown.input_tokens is not None or grown.cost_usd is not None]
    several = [grown for grown in several if grown.responses > 1] or several
    return [grown for grown in several if grown.turn in _SHOWN or grown is several[-1]] if len(several) > 1 else []


def _reasons(records: Records, field: str, where: str) -> dict[str, int]:
    return dict(
        records.rows(f"""
            SELECT coalesce({field}, 'no reason given') AS why, count(*) FROM records WHERE {where}
            GROUP BY why ORDER BY 2 DESC, why LIMIT 12""")
    )


def _errors(records: Records) -> dict[str, int]:
    total: Counter[str] = Counter()
    for text, count in records.rows("SELECT errors, count(*) FROM records WHERE errors IS NOT NULL GROUP BY errors"):
        try:
            errors = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(errors, dict):
            for kind, times in errors.items():
                total[kind] += times * count if isinstance(times, int) and 0 < times < 1_000_000_000 else 0
    return {kind: times for kind, times in total.most_common(12) if times}


_TOKENS = {
    **{f"{name} in": (f"input_{name}_tokens", f"tool_use_{name}_tokens") for name in MODALITIES},
    **{f"{name} out": (f"output_{name}_tokens",) for name in MODALITIES},
    "thoughts": ("thoughts_tokens",),
}


def _modalities(records: Records) -> tuple[list[Modality], str | None]:
    """Tokens of all responses by modality, priced by genai-prices, if that agrees with what the records say.

    A team with prices of its own gets no price by modality here: the records hold a response's whole cost only.
    """
    sums = ", ".join(f"sum({' + '.join(f'coalesce({f}, 0)' for f in fields)})::BIGINT" for fields in _TOKENS.values())
    rows = records.rows(f"""
        SELECT model, max(time_s), sum(cost_usd), {sums} FROM records
        WHERE kind = 'response' AND cost_usd IS NOT NULL GROUP BY model""")
    tokens = dict.fromkeys(_TOKENS, 0)
    usd = dict.fromkeys(_TOKENS, 0.0)
    note = None
    for model, at, said_usd, *counts in rows:
        found = dict(zip(_TOKENS, counts, strict=True))
        prices = _prices(model or "", datetime.fromtimestamp(at, UTC) if at else datetime.now(UTC))
        total = sum(found[name] * price for name, price in prices.items())
        for name, count in found.items():
            tokens[name] += count
            usd[name] += count * prices.get(name, 0)
        if not prices:
            note = f"the price list of genai-prices does not know the model {model!r}"
        elif abs(total - said_usd) > 0.02 * said_usd + 1e-6:
            note = "the records' costs are not by the price list of genai-prices"
    return [Modality(name, count, None if note else usd[name]) for name, count in tokens.items() if count], note


def _prices(model: str, at: datetime) -> dict[str, float]:
    """USD of one token of each kind; empty where genai-prices does not know the model."""
    million = 1_000_000
    prices = {}
    try:
        for name in _TOKENS:
            modality, way = {"thoughts": ("text", "out")}.get(name) or name.split()
            field = "input" if way == "in" else "output"
            usage = {f"{field}_tokens": million}
            if modality in ("audio", "image", "video"):
                usage[f"{field}_{modality}_tokens"] = million
            price = calc_price(Usage(**usage), model, provider_id="google", genai_request_timestamp=at)
            prices[name] = float(price.total_price) / million
    except (LookupError, ValueError):
        return {}
    return prices
