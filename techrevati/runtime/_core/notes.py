"""Say more about an exception of the caller's, in its notes, whatever it makes of being written to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def facts(error: BaseException) -> dict[str, Any]:
    """The attributes of *error*, around a ``__setattr__`` of its own: a frozen exception has them too."""
    try:
        return error.__dict__
    except Exception:
        return {}


def note(error: BaseException, text: str) -> None:
    """Let *error* say *text*, once: the same exception may be raised again and again."""
    notes = facts(error).setdefault("__notes__", [])
    if isinstance(notes, list) and text not in notes:
        notes.append(text)
