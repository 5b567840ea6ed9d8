"""Recordings: the wire of a call without anything that anybody said, one JSON object a line.

The first line says what it is. Every other line is something that came, at `at_s` seconds since the recording began,
from the server, the client or the user. A server's message keeps its shape and its usage: a text is
`{"length": 12}`, audio `{"audio_s": 0.1, "quiet_s": 0.02, "level": 1400}` (its length, the silence that it begins with,
and its root mean square, of 32768). Of the client's messages there are the kind and the size. Nothing is kept because
it looks harmless, only because it is known to be: names of the wire, numbers of usage, names of declared tools.
"""

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from google.genai.types import LiveServerMessage
from livekit import rtc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from demo.gemini_session import OUTPUT_SAMPLE_RATE
from demo.hearing import LOUD, SAMPLE_RATE
from realtime_metrics.ears import BLOCK_S, NOISE_MEMORY_S, SOUND, Sound, SoundFinder
from realtime_metrics.log import clean

FOLDER = Path(__file__).parent / "recordings"
FORMAT = 1
AT_ONCE_S = 0.1
PURE_SILENCE = 2.0
"""A level that no microphone gives."""
PACKAGES = ("livekit-agents", "livekit-plugins-google", "google-genai")
NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
MODEL = re.compile(r"[\w./-]{1,100}", re.ASCII)
TIME_LEFT = re.compile(r"\d{1,6}(\.\d{1,9})?s", re.ASCII)
VERTEX_NAMES = {"candidatesTokenCount", "candidatesTokensDetails"}
"""What google-genai reads by another name."""
UNLIKE_THE_WIRE = (ValueError, TypeError, AttributeError, KeyError, StopIteration)
"""What comes of reading a message that is none of the wire's."""


class RecordingError(Exception):
    """A recording that cannot be made, read or played; the text says which, and what is wrong."""


class Line(BaseModel):
    """Something that came over the wire, or that the user said."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, protected_namespaces=())

    at_s: float = Field(ge=0, allow_inf_nan=False)
    """Since the recording began."""
    source: Literal["server", "client", "user"] = Field(alias="from")
    kind: str
    """Server: `accept`, `refused`, `message`, `garbage` (no message), `close`. Client: `connect`, `close`, and what it
    sent: `setup`, `audio`, `client_content`, `tool_response`, …. User: `sound`."""
    connection: int = Field(0, ge=0)
    """Its number, from 0."""
    bytes: int = Field(0, ge=0)
    binary: bool = True
    """The kind of frame that the server used."""
    message: dict[str, dict[str, Any]] = {}
    audio_s: float = Field(0, ge=0, le=60)
    level: float = Field(0, ge=0, le=32768)
    until_s: float = Field(0, ge=0, allow_inf_nan=False)
    """When the user's sound ended."""
    model: str = ""
    tools: tuple[str, ...] = ()
    """The tools that a setup declares."""
    resumes: bool = False
    """Whether a setup goes on with an earlier conversation."""
    turns: tuple[tuple[str, int], ...] = ()
    """Roles and lengths of what `client_content` holds."""
    complete: bool = False
    """Whether `client_content` asks for a reply."""
    code: int = Field(1006, ge=1000, le=4999)
    """Of `close`; 1006 where the connection broke."""
    status: int = Field(502, ge=300, le=599)
    """Of `refused`."""
    reason: str = ""


class Recorder:
    """Writes a recording while the call goes on; each message is looked at, and forgotten."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingError: there is such a recording already."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise RecordingError(f"{path} exists: give another name, or delete it") from None
        self.path = path
        self.lines = 0
        self._tools: set[str] = set()
        self._calls: dict[str, str] = {}
        self._secrets: set[str] = set()
        self._ears: SoundFinder | None = None
        self._loudest: list[tuple[float, float]] = []
        packages = {name: version(name) for name in PACKAGES}
        self._print({"recording": FORMAT, "recorded": datetime.now(UTC).isoformat(timespec="seconds"), **packages})

    def hide(self, secret: str) -> None:
        """A key, which no reason for closing may tell."""
        if secret:
            self._secrets.add(secret)

    def note(self, at_s: float, source: str, kind: str, connection: int, **more: Any) -> None:
        """Writes a line; a reason is cleaned."""
        if "reason" in more:
            for secret in self._secrets:
                more["reason"] = more["reason"].replace(secret, "…")
            more["reason"] = clean(more["reason"])
        self._write(Line.model_validate({"at_s": at_s, "from": source, "kind": kind, "connection": connection, **more}))

    def server(self, at_s: float, connection: int, raw: str | bytes) -> None:
        """Writes what a message of the server's is without its words."""
        kind, known = "message", dict[str, Any](bytes=len(raw), binary=isinstance(raw, bytes))
        try:
            message = json.loads(raw)
            self.hide(str(message.get("sessionResumptionUpdate", {}).get("newHandle") or ""))
            known["message"] = self._silent(message)
            if not all(isinstance(part, dict) for part in known["message"].values()):
                raise TypeError("every part of a message is an object")
        except UNLIKE_THE_WIRE:
            kind = "garbage"
        self.note(at_s, "server", kind, connection, **known)

    def client(self, at_s: float, connection: int, raw: str | bytes) -> None:
        """Writes what a message of the client's is: kind, size, and how loud it is."""
        try:
            kind, known = described(json.loads(raw))
        except UNLIKE_THE_WIRE:
            kind, known = "unknown", {}
        if kind == "audio":
            pcm = known.pop("pcm")
            known.update(audio_s=round(len(pcm) / 2 / SAMPLE_RATE, 4), level=_level(pcm))
            if self._ears is None:
                self._room = pcm if known["level"] < LOUD else bytes(len(pcm))
                self._ears = _used_to(self._room, at_s)
            # the framework sends pure silence in the place of what could be the agent's echo
            hear(self._ears, pcm if known["level"] >= PURE_SILENCE else self._room, at_s)
            self._loudest.append((at_s, known["level"]))
        self._tools.update(known.get("tools", ()))
        self.note(at_s, "client", kind, connection, bytes=len(raw), **known)
        while self._ears and len(self._ears.sounds) > 1:
            self._write_sound(self._ears.sounds.popleft())

    def close(self) -> None:
        """Writes the user's last sound."""
        while self._ears and self._ears.sounds:
            self._write_sound(self._ears.sounds.popleft())
        self._file.close()

    def _write_sound(self, sound: Sound) -> None:
        inside = [level for at_s, level in self._loudest if sound.began_at < at_s <= sound.ended_at + 0.05]
        self._loudest = [piece for piece in self._loudest if piece[0] > sound.ended_at]
        level = round(float(np.mean(inside)), 1) if inside else 0.0
        began_at, ended_at = max(0.0, round(sound.began_at, 4)), max(0.0, round(sound.ended_at, 4))
        self._write(Line(at_s=began_at, source="user", kind="sound", until_s=ended_at, level=level))

    def _write(self, line: Line) -> None:
        self.lines += 1
        self._print(line.model_dump(by_alias=True, exclude_defaults=True) | {"at_s": round(line.at_s, 4)})

    def _print(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()

    def _silent(self, value: Any, name: str = "", counts: bool = False) -> Any:
        """A value of a message without its words; `counts` is whether it is part of the usage."""
        if isinstance(value, dict):
            if name == "inlineData" and str(value.get("mimeType", "")).startswith("audio/pcm"):
                return _silent_audio(value)
            return {
                (known := key if key in _names() else "unknown"): self._of_tools(known, each)
                if known in ("functionCalls", "toolCallCancellation")
                else self._silent(each, known, counts or known == "usageMetadata")
                for key, each in value.items()
                if each is not None
            }
        if isinstance(value, list):
            return [self._silent(each, name, counts) for each in value]
        if isinstance(value, str):
            known = TIME_LEFT.fullmatch(value) if name == "timeLeft" else value in _words_of_the_wire()
            return value if known and name != "text" else {"length": len(value)}
        if isinstance(value, bool) or value is None:
            return value
        return value if counts else 0

    def _of_tools(self, name: str, value: Any) -> Any:
        """Calls by number, with the names of declared tools and arguments of the same types."""
        if name == "toolCallCancellation":
            return {"ids": [self._calls.get(str(each), "call-0") for each in value.get("ids", ())]}
        return [
            {
                "id": self._calls.setdefault(str(call.get("id")), f"call-{len(self._calls) + 1}"),
                "name": call.get("name") if call.get("name") in self._tools else "undeclared_tool",
                "args": _types(call.get("args") or {}),
            }
            for call in value
        ]


class Recording:
    """A recording that was read; `lines` are in order of time."""

    def __init__(self, path: Path, lines: list[Line]) -> None:
        self.path = path
        self.name = path.stem
        self.lines = sorted(lines, key=lambda line: line.at_s)

    @property
    def setups(self) -> list[Line]:
        return [line for line in self.lines if line.kind == "setup"]

    @property
    def steps(self) -> list[tuple[float, Line]]:
        """Every line with its time; what the user said twice, with the times of its beginning and its end."""
        ends = [(line.until_s, line) for line in self.lines if line.kind == "sound"]
        return sorted([(line.at_s, line) for line in self.lines] + ends, key=lambda step: step[0])

    @property
    def typed(self) -> list[Line]:
        """What the user typed: text that a request for a reply follows at once."""
        sent = [line for line in self.lines if line.kind == "client_content"]
        return [
            line
            for line, following in pairwise(sent)
            if following.complete
            and not line.complete
            and following.at_s - line.at_s < AT_ONCE_S
            and {role for role, _ in line.turns} == {"user"}
        ]

    @property
    def tools(self) -> list[tuple[str, float]]:
        """Every call of a tool, and the seconds until its result came."""
        calls: list[tuple[str, float]] = []
        for number, line in enumerate(self.lines):
            called = line.message.get("toolCall", {}).get("functionCalls", ())
            results = (later.at_s for later in self.lines[number:] if later.kind == "tool_response")
            took_s = next(results, math.inf) - line.at_s if called else 0.0
            calls += [(call["name"], took_s) for call in called]
        return calls


def path_of(name: str) -> Path:
    """Where the recording with this name lies.

    Raises:
        RecordingError: it is no name.
    """
    if not NAME.fullmatch(name):
        raise RecordingError(f"{name!r} is no name for a recording: use letters, digits, . _ -")
    return FOLDER / f"{name}.jsonl"


def read(name: str) -> Recording:
    """The recording with this name, or in this file.

    Raises:
        RecordingError: there is none, or it cannot be read.
    """
    path = Path(name) if name.endswith(".jsonl") else path_of(name)
    try:
        first, *rest = path.read_text("utf-8").splitlines() or [""]
    except FileNotFoundError:
        there = ", ".join(sorted(file.stem for file in FOLDER.glob("*.jsonl"))) or "none"
        raise RecordingError(f"no recording {name!r}; there are: {there}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} cannot be read: {error}") from None
    if not (found := re.match(r'\{"recording": ?(\d+)\b', first)):
        raise RecordingError(f"{path} is no recording: its first line does not say so")
    if int(found[1]) != FORMAT:
        raise RecordingError(f"{path} is a recording of format {found[1]}; this reads {FORMAT}")
    lines = []
    for number, text in enumerate(rest, 2):
        try:
            lines.append(Line.model_validate_json(text))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "line"
            raise RecordingError(f"{path}, line {number}: {clean(where)}: {clean(problem['msg'])}") from None
    return Recording(path, lines)


def described(message: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Kind of a client's message, and what is known of it; `pcm` of audio."""
    kind, content = next(iter(message.items()))
    if kind == "setup":
        declared = [one for tool in content.get("tools") or () for one in _either(tool, "functionDeclarations") or ()]
        model = str(content.get("model", "")).removeprefix("models/")
        return kind, {
            "model": model if MODEL.fullmatch(model) else "",
            "tools": tuple(str(one["name"]) for one in declared if NAME.fullmatch(str(one.get("name")))),
            "resumes": bool((_either(content, "sessionResumption") or {}).get("handle")),
        }
    if kind in ("realtime_input", "realtimeInput") and (media := content.get("audio")):
        return "audio", {"pcm": _pcm(media["data"])}
    if kind in ("client_content", "clientContent"):
        turns = [
            (str(turn.get("role")), sum(len(str(part.get("text", ""))) for part in turn.get("parts") or ()))
            for turn in content.get("turns") or ()
        ]
        turns = [(role if role in ("user", "model") else "unknown", length) for role, length in turns]
        return "client_content", {"turns": tuple(turns), "complete": bool(_either(content, "turnComplete"))}
    known = {"tool_response": "tool_response", "toolResponse": "tool_response", "realtime_input": "realtime_input"}
    return known.get(kind, "unknown"), {}


def hear(ears: SoundFinder, pcm: bytes, at_s: float) -> None:
    """Lets the same ear that the agent has hear a piece of the user's audio."""
    if pcm:
        ears.hear(rtc.AudioFrame(pcm, SAMPLE_RATE, 1, len(pcm) // 2), at_s)


def _used_to(pcm: bytes, at_s: float) -> SoundFinder:
    """An ear for which it has been as loud as this for a while: a new one takes steady noise for a sound at first."""
    ears, piece_s = SoundFinder(), max(BLOCK_S, len(pcm) / 2 / SAMPLE_RATE)
    for number in range(round(2 * NOISE_MEMORY_S / piece_s), 0, -1):
        hear(ears, pcm, at_s - number * piece_s)
    ears.sounds.clear()
    return ears


def _either(content: Mapping[str, Any], name: str) -> Any:
    """The value under a name that google-genai writes in one way or the other."""
    return content.get(name, content.get(re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)))


def _silent_audio(data: Mapping[str, Any]) -> dict[str, Any]:
    mime, pcm = str(data["mimeType"]), _pcm(data.get("data") or "")
    rate = int(found[1]) if (found := re.search(r"rate=(\d{4,6})\b", mime)) else OUTPUT_SAMPLE_RATE
    samples = np.frombuffer(pcm, np.int16).astype(np.float32)
    block = round(rate * BLOCK_S)
    quiet = (np.mean(samples[start : start + block] ** 2) <= SOUND for start in range(0, len(samples), block))
    blocks = next((number for number, is_quiet in enumerate(quiet) if not is_quiet), 0)
    return {
        "mimeType": f"audio/pcm;rate={OUTPUT_SAMPLE_RATE}",
        "data": {
            "audio_s": round(len(samples) / rate, 6),
            "quiet_s": round(blocks * BLOCK_S, 2),
            "level": _level(pcm),
        },
    }


def _pcm(data: str) -> bytes:
    """Samples of two bytes; the plugin writes base64 with the alphabet for addresses."""
    pcm = base64.b64decode(data.replace("-", "+").replace("_", "/"))
    return pcm[: len(pcm) // 2 * 2]


def _level(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, np.int16).astype(np.float32)
    return round(float(np.sqrt(np.mean(samples**2))), 1) if len(samples) else 0.0


def _types(value: Any) -> Any:
    """A value of the same type, that says nothing."""
    if isinstance(value, dict):
        return {f"arg_{number}": _types(each) for number, each in enumerate(value.values(), 1)}
    if isinstance(value, list):
        return [_types(each) for each in value]
    if isinstance(value, str):
        return {"length": len(value)}
    return None if value is None else type(value)(0)


@cache
def _names() -> frozenset[str]:
    """All names that google-genai knows in a message of the server's."""
    return frozenset(name for part in _schema() for name in part.get("properties", ())) | VERTEX_NAMES


@cache
def _words_of_the_wire() -> frozenset[str]:
    """All values of its enumerations, such as `AUDIO`."""
    return frozenset(word for part in _schema() for word in part.get("enum", ()))


@cache
def _schema() -> list[dict[str, Any]]:
    schema = LiveServerMessage.model_json_schema(by_alias=True)
    return [schema, *schema["$defs"].values()]
