"""Read JSON that a stranger wrote: each function returns the shape asked for, or an empty one of it."""

from __future__ import annotations

from typing import cast


def mapping(value: object) -> dict[str, object]:
    """*value* if it is a JSON object, else an empty one."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """*value* if it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def string(value: object) -> str:
    """*value* if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def parsed(text: str) -> object:
    """The JSON value of *text*; None when it is not JSON."""
    import json

    try:
        return cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return None
