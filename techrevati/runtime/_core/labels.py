"""What callers say of a call, for reports: checked before the call is paid for, not when it is written."""

from __future__ import annotations

from collections.abc import Mapping

from techrevati.runtime._core import arguments

CERTAINTIES = ("measured", "estimated", "unknown")
MAX_TEXT = 1_000


def short_text(name: str, value: str) -> str:
    """A non-empty text that a report can show."""
    if len(arguments.name(name, value)) > MAX_TEXT:
        raise ValueError(f"{name} must have at most {MAX_TEXT} characters, got {len(value)}")
    return value


def optional_text(name: str, value: str | None) -> str:
    """A text or nothing, as a column holds it."""
    if value is None:
        return ""
    return short_text(name, value)


def checked_tags(tags: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Texts by name, or nothing."""
    if tags is None:
        return None
    if not isinstance(tags, Mapping) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in tags.items()
    ):
        raise TypeError(f"tags must map names to texts, got {tags!r}")
    return tags


def checked_certainty(certainty: str) -> str:
    """One of ``CERTAINTIES``."""
    if certainty not in CERTAINTIES:
        raise ValueError(f"certainty must be one of {', '.join(CERTAINTIES)}; got {certainty!r}")
    return certainty


def sayable(value: str) -> str:
    """What somebody else named, as a file can hold it: shortened, without half a surrogate pair."""
    return (
        value
        if value.isascii() and len(value) <= MAX_TEXT
        else value[:MAX_TEXT].encode(errors="replace").decode()
    )
