"""What anybody said, every key and every handle are fed through the recorder, and found nowhere in its file."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.recording import Recorder, RecordingError, read

KEY = "AQ.hush-hush-key-0123456789"
HANDLE = "handle-of-a-conversation/77"
SAID = ("Zebulon", "Quagmire", "4929123456781234", "Yesterday", "Xanthippe", "zanzibar_key", "Wimbledon")
PCM = (np.random.default_rng(2).normal(0, 3000, 2400)).astype(np.int16).tobytes()
AUDIO = base64.b64encode(PCM).decode()

FROM_THE_SERVER: tuple[dict[str, Any], ...] = (
    {"setupComplete": {"sessionId": SAID[0]}},
    {"serverContent": {"inputTranscription": {"text": f"I am {SAID[0]}", "languageCode": SAID[1]}}},
    {"serverContent": {"outputTranscription": {"text": f"Hello {SAID[1]}"}, "interrupted": SAID[0]}},
    {"serverContent": {"modelTurn": {"role": SAID[6], "parts": [{"text": SAID[0], "thoughtSignature": SAID[1]}]}}},
    {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": AUDIO}}]}}},
    {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": SAID[3], "data": AUDIO}}]}}},
    {"serverContent": {"modelTurn": {"parts": [{"executableCode": {"code": SAID[4], "language": "PYTHON"}}]}}},
    {"serverContent": {"groundingMetadata": {"startIndex": int(SAID[2])}}},
    {"serverContent": {"groundingMetadata": {"webSearchQueries": [SAID[0]], SAID[3]: {"uri": SAID[4]}}}},
    {"toolCall": {"functionCalls": [
        {"id": SAID[6], "name": "book", "args": {SAID[5]: SAID[0], "a": int(SAID[2]), "b": [{SAID[5]: SAID[4]}, True]}},
        {"id": "2", "name": SAID[4], "args": {"a": None}},
    ]}},
    {"toolCallCancellation": {"ids": [SAID[6]]}},
    {"sessionResumptionUpdate": {"newHandle": HANDLE, "resumable": True, "lastConsumedClientMessageIndex": SAID[2]}},
    {"goAway": {"timeLeft": SAID[3]}},
    {"usageMetadata": {"promptTokenCount": SAID[0], SAID[5]: 3, "promptTokensDetails": [{"modality": SAID[1]}]}},
    {"serverContent": {"turnComplete": True, "turnCompleteReason": SAID[3]}},
    {SAID[5]: {"text": SAID[0]}},
)  # fmt: skip
FROM_THE_CLIENT: tuple[dict[str, Any], ...] = (
    {"setup": {
        "model": f"models/{SAID[0]} {SAID[1]}",
        "systemInstruction": {"parts": [{"text": SAID[0]}]},
        "sessionResumption": {"handle": HANDLE},
        "tools": [{"functionDeclarations": [{"name": "book", "description": SAID[1], "parameters": {SAID[5]: {}}}]}],
    }},
    {"client_content": {"turns": [{"role": SAID[4], "parts": [{"text": SAID[3]}]}], "turnComplete": True}},
    {"realtime_input": {"audio": {"data": base64.urlsafe_b64encode(PCM).decode(), "mime_type": "audio/pcm"}}},
    {"realtime_input": {"text": SAID[0]}},
    {"tool_response": {"function_responses": [{"id": SAID[6], "name": "book", "response": {"result": SAID[2]}}]}},
    {SAID[5]: SAID[0]},
)  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> str:
    path = tmp_path / "secret.jsonl"
    recorder = Recorder(path)
    recorder.hide(KEY)
    recorder.note(0.0, "client", "connect", 0)
    for number, message in enumerate(FROM_THE_CLIENT):
        recorder.client(0.1 + number / 10, 0, json.dumps(message))
    for number, message in enumerate(FROM_THE_SERVER):
        recorder.server(1 + number / 10, 0, json.dumps(message).encode())
    for garbage in (f"{SAID[0]} is no JSON", f'"{SAID[0]}"', f'["{SAID[1]}", {SAID[2]}]', SAID[2]):
        recorder.server(4.0, 0, garbage)
        recorder.client(4.1, 0, garbage)
    recorder.note(5.0, "server", "refused", 0, status=401, reason=f"key {KEY} was refused\x1b[31m, AIza{'x' * 30}")
    recorder.note(
        5.1, "server", "close", 0, code=1008, reason=f"{HANDLE}: session not found https://u:p@x/?q={SAID[0]}"
    )
    recorder.close()
    return path.read_text("utf-8")


def test_nothing_that_anybody_said_is_in_the_file(written: str) -> None:
    found = [word for word in (*SAID, KEY, HANDLE, "\x1b", "AIza", "u:p@") if word.lower() in written.lower()]
    assert found == []


def test_no_piece_of_any_audio_is_in_the_file(written: str) -> None:
    for text in (AUDIO, base64.urlsafe_b64encode(PCM).decode()):
        assert not any(text[start : start + 12] in written for start in range(0, len(text) - 12, 4))


def test_what_a_replay_needs_is_in_the_file(written: str, tmp_path: Path) -> None:
    lines = read(str(tmp_path / "secret.jsonl")).lines
    messages = [line.message for line in lines if line.kind == "message"]
    called = next(each for each in messages if isinstance(each, dict) and "toolCall" in each)
    call, undeclared = called["toolCall"]["functionCalls"]
    assert call == {
        "id": "call-1",
        "name": "book",
        "args": {"arg_1": {"length": len(SAID[0])}, "arg_2": 0, "arg_3": [{"arg_1": {"length": len(SAID[4])}}, False]},
    }
    assert undeclared["name"] == "undeclared_tool"
    assert {"toolCallCancellation": {"ids": ["call-1"]}} in messages
    assert {"unknown": {"text": {"length": len(SAID[0])}}} in messages
    audio = next(line for line in lines if line.kind == "audio")
    assert audio.audio_s == pytest.approx(0.15)
    assert audio.level == pytest.approx(3000, rel=0.1)
    (close,) = (line for line in lines if line.kind == "close")
    assert (close.code, close.reason) == (1008, "…: session not found https://…@x/?…")


def test_a_recording_is_not_overwritten(tmp_path: Path) -> None:
    Recorder(tmp_path / "monday.jsonl").close()
    with pytest.raises(RecordingError, match=r"monday\.jsonl exists: give another name, or delete it"):
        Recorder(tmp_path / "monday.jsonl")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no recording: its first line does not say so"),
        ('{"kind": "session"}\n', "is no recording: its first line does not say so"),
        ('{"recording": 2}\n', "is a recording of format 2; this reads 1"),
        ('{"recording": 1}\n{"at_s": 0.1, "from"', "line 2: line: Invalid JSON"),
        (
            '{"recording": 1}\n{"at_s": -1, "from": "client", "kind": "connect"}',
            "line 2: at_s: Input should be greater",
        ),
        ('{"recording": 1}\n{"at_s": 1, "from": "me", "kind": "connect"}', "line 2: from: Input should be 'server'"),
    ],
)
def test_a_recording_that_cannot_be_read_is_told_in_words(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(RecordingError) as raised:
        read(str(path))
    assert told in str(raised.value)
    assert "broken.jsonl" in str(raised.value)


def test_a_recording_that_is_not_there_is_told_in_words() -> None:
    with pytest.raises(RecordingError, match="no recording 'tuesday'; there are: "):
        read("tuesday")
