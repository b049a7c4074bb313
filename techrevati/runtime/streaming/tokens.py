"""What one chunk says, in the shapes of the common APIs: objects of the SDKs, or dicts."""

from __future__ import annotations

from typing import Any

# Events that come before the model says anything.
_OPENING = frozenset(
    {
        "message_start",
        "content_block_start",
        "ping",
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.metadata",
        "response.output_item.added",
        "response.content_part.added",
    }
)
_SAID = ("content", "text", "partial_json", "thinking", "refusal", "reasoning_content", "reasoning")
_SAYS_NOTHING = frozenset({"role", "content"})


def field(holder: object, name: str) -> Any:
    """One field of an object or a dict; None if it has none."""
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def is_token(chunk: object) -> bool:
    """False for events that open a stream, and for an OpenAI chunk that only says whose turn it is."""
    if field(chunk, "type") in _OPENING:
        return False
    choices = field(chunk, "choices")
    if not isinstance(choices, list) or len(choices) != 1 or field(choices[0], "finish_reason"):
        return True
    delta = field(choices[0], "delta")
    if not field(delta, "role") or field(delta, "content"):
        return True
    said = (
        delta if isinstance(delta, dict) else {**vars(delta), **(getattr(delta, "model_extra", None) or {})}
    )
    return any(value for name, value in said.items() if name not in _SAYS_NOTHING)


def text_bytes(chunk: object) -> int:
    """UTF-8 bytes of what the model said in one chunk; 0 for shapes that are not known."""
    if isinstance(chunk, str):
        return _size(chunk)
    choices = field(chunk, "choices")
    if isinstance(choices, list):
        return sum(_delta_bytes(field(choice, "delta")) for choice in choices)
    return _delta_bytes(field(chunk, "delta"))


def _delta_bytes(delta: object) -> int:
    if delta is None or isinstance(delta, str):
        return _size(delta)
    size = sum(_size(field(delta, name)) for name in _SAID)
    calls = field(delta, "tool_calls")
    if isinstance(calls, list):
        size += sum(_size(field(field(call, "function"), "arguments")) for call in calls)
    return size


def _size(said: object) -> int:
    if not isinstance(said, str):
        return 0
    return len(said) if said.isascii() else len(said.encode("utf-8", "surrogatepass"))
