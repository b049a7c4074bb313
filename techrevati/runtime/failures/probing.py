"""Look at objects that may be anything: an attribute may be missing, of a wrong type, or raise when read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeGuard


def is_dict(value: object) -> TypeGuard[dict[object, object]]:
    """Is it one of JSON's objects?"""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Is it one of JSON's arrays?"""
    return isinstance(value, list)


def attribute(holder: object, name: str) -> object:
    """An attribute, or None when there is none or reading it fails."""
    try:
        return getattr(holder, name, None)
    except Exception:
        return None


def status_of(value: object) -> int | None:
    """*value* when it is an HTTP status: an int (an enum, too) or three digits."""
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return int(value)
    return None


def plain(value: object) -> str:
    """A header's name or value as text, bounded unless it is bytes off the wire."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)[:1_000]
