"""The texts inside a value, with the place of each, and the same value with other texts.

Guardrails doubt: what cannot be looked through raises, and so blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.scrub import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 64
_LONGEST_KEY_SHOWN = 40
_KEYS = (bytes, int, tuple, frozenset)  # besides str: what a text may hide in, as a key


class UnreadableValueError(TechrevatiError, ValueError):
    """A value that cannot be looked through, or not be rewritten."""


def texts(value: object, path: str = "$", depth: int = MAX_DEPTH) -> Iterator[tuple[str, str]]:
    """(path, text) of every text in *value*, keys of mappings and long numbers included."""
    if depth <= 0:
        raise UnreadableValueError(f"nested too deeply at {path}")
    if isinstance(value, str):
        yield path, str(value)
    elif isinstance(value, (bytes, bytearray)):
        yield path, value.decode("latin-1")
    elif isinstance(value, memoryview):  # its repr shows only where it is
        yield path, value.tobytes().decode("latin-1")
    elif value is None or isinstance(value, (bool, float)):
        return
    elif isinstance(value, int):
        if abs(value) > 99_999:  # a card number may come as a number
            yield path, str(value)
    elif isinstance(value, Mapping):
        for place, (key, item) in enumerate(value.items()):
            if isinstance(key, str):
                yield f"{path}.(key {place})", key
            elif isinstance(key, _KEYS):
                yield from texts(key, f"{path}.(key {place})", depth - 1)
            yield from texts(item, f"{path}.{shown_key(key)}", depth - 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for place, item in enumerate(value):
            yield from texts(item, f"{path}[{place}]", depth - 1)
    else:
        facts = facts_of(value)
        yield from texts(repr(value) if facts is None else facts, path, depth - 1)


def shown_key(key: object) -> str:
    """A key as part of a path, bounded and without credentials."""
    return without_credentials(str(key)[:_LONGEST_KEY_SHOWN])


def facts_of(value: object) -> Mapping[object, object] | None:
    """What an object holds: as its ``model_dump``, its fields, or its attributes say; None: nothing says."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and isinstance(dumped := dump(), Mapping):
        return dumped
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name, None) for name in fields}
    facts = getattr(value, "__dict__", None)
    return facts or None


def rewritten(value: object, change: Callable[[str], str], path: str = "$", depth: int = MAX_DEPTH) -> object:
    """*value* with every text changed; the same object where nothing did.

    Raises:
        UnreadableValueError: A text inside an object of another kind would have to change.
    """
    if depth <= 0:
        raise UnreadableValueError(f"nested too deeply at {path}")
    if isinstance(value, str):
        changed = change(value)
        return value if changed == value else changed
    if isinstance(value, Mapping):
        kept = {
            rewritten(key, change, f"{path}.(key {place})", depth - 1)
            if isinstance(key, (str, *_KEYS))
            else key: rewritten(item, change, f"{path}.{shown_key(key)}", depth - 1)
            for place, (key, item) in enumerate(value.items())
        }
        same = len(kept) == len(value) and all(
            was is now and key == other
            for (key, was), (other, now) in zip(value.items(), kept.items(), strict=True)
        )
        return value if same else kept
    if type(value) in (list, tuple, set, frozenset):
        items = list(value)  # type: ignore[call-overload]
        new = [rewritten(item, change, f"{path}[{place}]", depth - 1) for place, item in enumerate(items)]
        if all(was is now for was, now in zip(items, new, strict=True)):
            return value
        return type(value)(new)  # type: ignore[call-arg]
    for where, text in texts(value, path, depth):
        if change(text) != text:
            if isinstance(value, int):
                return change(text)
            raise UnreadableValueError(f"{type(value).__name__} cannot be rewritten at {where}")
    return value
