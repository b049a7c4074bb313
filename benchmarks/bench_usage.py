"""What it takes to read a response's usage, as a dict and as an object with attributes, and a stream's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from benchmarks.harness import Aim, Comparison, Effort, Figure, Subject, answer, compare_all, floor
from techrevati.runtime.usage import UsageAccumulator, UsageSnapshot

AIM = Aim(6e-6, "s")

CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
    "usage": {
        "prompt_tokens": 1600,
        "completion_tokens": 200,
        "total_tokens": 1800,
        "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0},
    },
}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-opus-4-8",
    "content": [{"type": "text", "text": "Hi"}],
    "usage": {
        "input_tokens": 800,
        "output_tokens": 200,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 800,
        "service_tier": "standard",
    },
}
GEMINI: dict[str, Any] = {
    "candidates": [{"finishReason": "STOP", "content": {"parts": [{"text": "Hi"}]}}],
    "modelVersion": "gemini-2.5-flash",
    "usageMetadata": {"promptTokenCount": 1600, "candidatesTokenCount": 200, "cachedContentTokenCount": 800},
}
PARTS = (800, 200, 800)
_CODE = "found = read(response)\nresult = (found.input_tokens, found.output_tokens, found.cache_read_tokens)"


def _object(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{name: _object(each) for name, each in value.items()})
    return [_object(each) for each in value] if isinstance(value, list) else value


def _chunks() -> tuple[dict[str, Any], ...]:
    chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": "x"}}], "usage": None}
    return (*[chunk] * 19, {"model": "m", "choices": [], "usage": CHAT["usage"]})


def comparisons() -> list[Comparison]:
    """Each form over the floor, a call."""
    base = Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1)
    read = UsageSnapshot.from_response
    forms = (
        ("OpenAI chat, a dict", CHAT),
        ("OpenAI chat, objects", _object(CHAT)),
        ("Anthropic message, a dict", MESSAGE),
        ("Anthropic message, objects", _object(MESSAGE)),
        ("Gemini, a dict", GEMINI),
    )
    found = [
        Comparison(
            f"from_response: {what}",
            base,
            [Subject("ours", _CODE, {"read": read, "response": response}, PARTS)],
            AIM if isinstance(response, dict) else None,
        )
        for what, response in forms
    ]
    stream = (
        "seen = Accumulator()\nfor chunk in chunks:\n    seen.add(chunk)\n"
        "result = seen.complete and seen.snapshot().input_tokens"
    )
    names = {"Accumulator": UsageAccumulator, "chunks": _chunks()}
    return [
        *found,
        Comparison(
            "UsageAccumulator, per chunk of 20", base, [Subject("ours", stream, names, 800, operations=20)]
        ),
    ]


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """All figures; the packages that price read usage too, but no two of them mean the same."""
    return compare_all(comparisons(), effort)
