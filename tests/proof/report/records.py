"""Makes up records of calls, as `realtime_metrics` writes them (schema 1): the same ones for the same seed."""

import itertools
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

MODELS = ("gemini-2.5-flash-native-audio-preview-12-2025", "gemini-3.1-flash-live-preview")
VOICES = ("Puck", "Kore", "Charon")
MODALITIES = ("audio", "text", "image", "video", "document", "unknown")
BEGIN = datetime(2026, 11, 1, 8, tzinfo=UTC)
BUDGET_S = 1.5

# USD per million tokens, as `genai-prices` has them: input text, input audio, output text, output audio
PRICES = {MODELS[0]: (0.5, 3.0, 2.0, 12.0), MODELS[1]: (0.75, 3.0, 4.5, 12.0)}

Record = dict[str, Any]


def iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def tokens(model: str, text_in: int, audio_in: int, audio_out: int, thoughts: int) -> Record:
    """The token counts and the cost of a record."""
    price = PRICES[model]
    counts: Record = {"input_tokens": text_in + audio_in}
    counts |= {f"input_{name}_tokens": 0 for name in MODALITIES}
    counts |= {"input_audio_tokens": audio_in, "input_text_tokens": text_in, "input_cached_tokens": 0}
    counts |= {f"input_cached_{name}_tokens": 0 for name in MODALITIES}
    counts |= {"output_tokens": audio_out} | {f"output_{name}_tokens": 0 for name in MODALITIES}
    counts |= {"output_audio_tokens": audio_out, "thoughts_tokens": thoughts, "tool_use_tokens": 0}
    counts |= {f"tool_use_{name}_tokens": 0 for name in MODALITIES}
    counts["total_tokens"] = text_in + audio_in + audio_out
    cost = text_in * price[0] + audio_in * price[1] + thoughts * price[2] + audio_out * price[3]
    return counts | {"usage_reason": None, "cost_usd": round(cost / 1e6, 9), "cost_reason": None, "cost_note": None}


def call(number: int, at: datetime, chance: random.Random, slower_s: float = 0.0) -> Iterator[Record]:
    """One call: a connection, a greeting, answers, now and then none, and the session."""
    model = MODELS[number % 7 == 3]
    common: Record = {
        "schema": 1,
        "session_id": f"AJ_{number:08x}",
        "room": f"support-{number}",
        "agent_name": "my-voice-agent",
        "customer": (None, "acme", "globex", "initech")[number % 4],
        "revision": ("1f0c9a3b", "77d2e410")[number % 2],
        "provider": "Gemini",
        "model": model,
        "voice": VOICES[number % 3],
    }
    begin = at
    yield {"kind": "connection", "timestamp": iso(at), **common} | {
        "connection_s": round(chance.uniform(0.2, 0.6), 3),
        "reconnect": False,
        "resumed": False,
        "go_away": False,
    }
    text_in, audio_in = 60, 0
    bill = [0, 0, 0, 0]
    waits: list[float] = []
    counts = {"responses": 0, "user_turns": 0, "unanswered": 0, "interrupted": 0, "over_latency_budget": 0}
    counts |= {"silent": 0, "without_usage": 0, "talk_overs": 0}
    longest, greeting = 0.0, round(chance.uniform(0.3, 0.9), 3)
    for turn in range(1, 3 + int(chance.expovariate(1 / 17))):
        first = turn == 1
        if not first:
            said_s = chance.uniform(1, 6)
            at += timedelta(seconds=said_s)
            audio_in += int(said_s * 25)
            counts["user_turns"] += 1
        if not first and chance.random() < 0.02:
            waited = round(chance.uniform(8, 8.1), 3)
            end = at
            at += timedelta(seconds=waited)
            counts["unanswered"] += 1
            longest = max(longest, waited)
            yield {"kind": "unanswered", "timestamp": iso(at), **common} | {
                "user_speech_end": iso(end),
                "waited_s": waited,
                "reason": chance.choice(("no_response", "response_without_audio")),
                "request_id": None,
            }
            continue
        wait = greeting if first else round(0.25 + chance.lognormvariate(-0.7, 0.45) + slower_s, 3)
        known = first or chance.random() > 0.01
        if known and not first:
            waits.append(wait)
            longest = max(longest, wait)
        generation = round(wait * 0.4, 3)
        interrupted = not first and chance.random() < 0.08
        speaks_s = round(chance.uniform(1.5, 9), 3)
        heard_s = round(speaks_s * (chance.uniform(0.2, 0.9) if interrupted else 1), 3)
        audio_out = int(speaks_s * 25)
        usage = (text_in, audio_in, audio_out, 12 if model == MODELS[1] else 0)
        bill = [a + b for a, b in zip(bill, usage, strict=True)]
        counts["responses"] += 1
        counts["interrupted"] += interrupted
        counts["talk_overs"] += interrupted
        counts["over_latency_budget"] += known and wait > BUDGET_S
        yield (
            {"kind": "response", "timestamp": iso(at + timedelta(seconds=generation)), **common}
            | tokens(model, *usage)
            | {
                "turn": turn,
                "request_id": f"GR_{number:06x}{turn:06x}",
                "label": "livekit.plugins.google.realtime.realtime_api.RealtimeModel",
                "type": "realtime_model_metrics",
                "time_to_first_audio_s": wait if known else None,
                "time_to_first_audio_from": ("reply_requested" if first else "user_speech_end") if known else None,
                "time_to_first_audio_by": "audio" if known else None,
                "time_to_first_audio_reason": None if known else "no end of the user's speech was noticed",
                "framework_latency_s": round(wait - 0.1, 3) if known else None,
                "time_to_generation_s": generation if known else None,
                "generation_to_audio_s": round(wait - generation - 0.02, 3) if known else None,
                "playback_latency_s": 0.02 if known else None,
                "network_round_trip_s": 0.038,
                "over_latency_budget": wait > BUDGET_S if known else None,
                "tools": ["look_up_order"] if turn % 9 == 4 else [],
                "tools_s": 0.31 if turn % 9 == 4 else None,
                "duration_s": speaks_s,
                "duration_reason": None,
                "framework_duration_s": round(speaks_s + generation, 3),
                "tokens_per_second": round(audio_out / speaks_s, 2),
                "audio_s": speaks_s,
                "heard_s": heard_s,
                "talk_over_s": round(chance.uniform(0.2, 1.1), 3) if interrupted else None,
                "finish_reason": None,
                "usage_messages": 1,
                "interrupted": interrupted,
                "connection_lost": False,
            }
        )
        audio_in += audio_out
        at += timedelta(seconds=wait + heard_s)
    ranked = sorted(waits)
    rank = [ranked[max(0, -(-len(ranked) * share // 100) - 1)] for share in (50, 95, 100)] if ranked else [None] * 3
    yield (
        {"kind": "session", "timestamp": iso(at), **common}
        | tokens(model, *bill)
        | counts
        | {
            "latency_budget_s": BUDGET_S,
            "connections": 1,
            "reconnects": 0,
            "go_aways": 0,
            "resumptions": 0,
            "context_compression": True,
            "errors": {"unavailable": 1} if number % 50 == 7 else {},
            "unbooked_total_tokens": 0,
            "unbooked_cost_usd": 0.0,
            "time_to_first_audio_p50_s": rank[0],
            "time_to_first_audio_p95_s": rank[1],
            "time_to_first_audio_max_s": rank[2],
            "time_to_first_audio_reason": None if ranked else "there was no answer with a known wait",
            "greeting_s": greeting,
            "first_audio_after_s": round(greeting + 0.5, 3),
            "longest_wait_s": longest or None,
            "duration_s": round((at - begin).total_seconds(), 3),
            "end_reason": "participant_disconnected",
            "price_data": "genai-prices 0.2.3",
            "price_date": begin.date().isoformat(),
            "sinks": {"jsonl": {"written": counts["responses"] + 1, "failed": 0, "dropped": 0}},
        }
    )


def records(seed: int = 1, slower_s: float = 0.0, every_s: float = 47.0) -> Iterator[Record]:
    """Records of calls without an end; a call begins every `every_s`, and each answer takes `slower_s` longer."""
    chance = random.Random(seed)
    at, number = BEGIN, 0
    while True:
        yield from call(number, at, chance, slower_s)
        at += timedelta(seconds=every_s)
        number += 1


BLOCK = 20_000
"""So many records are made up; more are these again, of other calls."""


def write(path: Path, count: int, seed: int = 1, slower_s: float = 0.0) -> None:
    """Writes `count` records to `path`."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    block = [encode(record) for record in itertools.islice(records(seed, slower_s), min(count, BLOCK))]
    text = "\n".join(block) + "\n"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for again in range(count // len(block)):
            file.write(text.replace('"AJ_', f'"AJ_{again:04x}') if again else text)
        for line in block[: count % len(block)]:
            file.write(line.replace('"AJ_', '"AJ_rest') + "\n")
