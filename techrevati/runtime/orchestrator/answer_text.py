"""Where an answer keeps its text, and whether it was cut off: by its shape, in dicts and in objects.

Known are OpenAI chat completions (``choices[0].message.content``, ``finish_reason`` "length"), OpenAI
responses (``output_text``; ``incomplete_details.reason`` "max_output_tokens") and Anthropic messages
(``content[*].text``, ``stop_reason`` "max_tokens").
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

_CUT = ("length", "max_tokens", "max_output_tokens")


def _get(thing: Any, *path: str | int) -> Any:
    """What lies there in dicts, lists and objects; None where nothing does."""
    for step in path:
        if isinstance(step, int):
            inside = isinstance(thing, (list, tuple)) and len(thing) > step
            thing = thing[step] if inside else None
        else:
            thing = thing.get(step) if isinstance(thing, dict) else getattr(thing, step, None)
        if thing is None:
            return None
    return thing


def _put(thing: Any, name: str, value: object) -> None:
    if isinstance(thing, dict):
        thing[name] = value
    else:
        setattr(thing, name, value)


def was_cut(answer: object) -> bool:
    """Whether the provider ended it at the maximum of tokens."""
    found = (
        _get(answer, "choices", 0, "finish_reason"),
        _get(answer, "incomplete_details", "reason"),
        _get(answer, "stop_reason"),
    )
    return any(isinstance(one, str) and one in _CUT for one in found)


def _blocks(answer: object) -> list[Any]:
    """What holds the text, and under which name."""
    message = _get(answer, "choices", 0, "message")
    if message is not None:
        return [(message, "content")] if isinstance(_get(message, "content"), str) else []
    items = _get(answer, "content")
    if isinstance(items, list):
        return [(item, "text") for item in items if isinstance(_get(item, "text"), str)]
    outputs = _get(answer, "output")
    if isinstance(outputs, list):
        parts = [part for item in outputs for part in (_get(item, "content") or ())]
        return [(part, "text") for part in parts if isinstance(_get(part, "text"), str)]
    return []


def text_of(answer: object) -> str:
    """All its text; "" where none is known."""
    if isinstance(answer, str):
        return answer
    return "".join(str(_get(holder, name)) for holder, name in _blocks(answer))


def joined(parts: Sequence[object]) -> object:
    """One answer for several parts: a copy of the last one with the text of all; the last one where no text
    is known."""
    if all(isinstance(part, str) for part in parts):
        return "".join(map(str, parts))
    last = deepcopy(parts[-1])
    blocks = _blocks(last)
    if blocks:
        holder, name = blocks[0]
        _put(holder, name, "".join(map(text_of, parts[:-1])) + str(_get(holder, name)))
    return last
