"""Whether two values say the same, as a number that is cheap to keep.

Answers of models carry ids, times and counts that differ every time; those do not matter here.
"""

from __future__ import annotations

from collections.abc import Mapping

_MAX_DEPTH = 16
_MAX_ITEMS = 10_000
# Fields of a response that say nothing about the answer.
_VOLATILE = frozenset(
    [
        "id",
        "created",
        "created_at",
        "completed_at",
        "usage",
        "system_fingerprint",
        "request_id",
        "_request_id",
        "service_tier",
        "call_id",
        "tool_call_id",
        "response_id",
        "item_id",
        "timestamp",
    ]
)


def fingerprint(value: object, *, of_answer: bool = False) -> int:
    """Equal for values that say the same; within one process.

    Args:
        value: Anything; looked through to the 16th level and 10,000 items.
        of_answer: Leave out what differs between equal answers of a model: ids, times, usage.
    """
    return hash(_plain(value, _VOLATILE if of_answer else frozenset(), _MAX_DEPTH, [_MAX_ITEMS]))


def _plain(value: object, without: frozenset[str], depth: int, left: list[int]) -> object:
    left[0] -= 1
    if value is None or isinstance(value, (str, bytes, int, float)):
        return value
    if depth <= 0 or left[0] < 0:
        return type(value).__qualname__
    if isinstance(value, Mapping):
        items = [
            (str(key), _plain(item, without, depth - 1, left))
            for key, item in value.items()
            if key not in without
        ]
        return tuple(sorted(items, key=lambda item: item[0]))
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item, without, depth - 1, left) for item in value)
    if isinstance(value, (set, frozenset)):
        return frozenset(_plain(item, without, depth - 1, left) for item in value)
    name = type(value).__qualname__
    facts = _facts(value)
    return (name, repr(value)) if facts is None else (name, _plain(facts, without, depth - 1, left))


def _facts(value: object) -> Mapping[str, object] | None:
    """What an object holds, if it shows that; ``repr`` would show addresses."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        try:
            dumped = dump()
        except Exception:
            dumped = None
        if isinstance(dumped, Mapping):
            return dumped
    if type(value).__repr__ is not object.__repr__:
        return None
    return getattr(value, "__dict__", None) or {}
