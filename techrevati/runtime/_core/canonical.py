"""One text, and one hash, for the arguments of a call, the same in every process.

Equal JSON gives equal text, whatever the order of keys.  What JSON cannot say is told by ``model_dump`` or by
type and fields, never by an address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

_MAX_DEPTH = 64
_AS_THEY_ARE = frozenset((str, int, float, bool, type(None)))


def argument_hash(value: object) -> str:
    """A SHA-256 of what *value* says, as 64 hexadecimal digits."""
    sha256, encode = _tools()
    return sha256(encode(_plain(value, _MAX_DEPTH)).encode()).hexdigest()


@lru_cache(1)
def _tools() -> tuple[Callable[[bytes], _Hash], Callable[[object], str]]:
    from hashlib import sha256
    from json import JSONEncoder

    encoder = JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, check_circular=False)
    return sha256, encoder.encode  # _plain made a tree


def _plain(value: object, depth: int) -> object:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if depth <= 0:
        raise ValueError(f"arguments must be nested at most {_MAX_DEPTH} levels")
    if type(value) is dict or isinstance(value, Mapping):
        # Keys of other types than str must not fall together with their texts.
        return {
            key if isinstance(key, str) else f"\0{type(key).__name__}:{key!r}": (
                item if type(item) in _AS_THEY_ARE else _plain(item, depth - 1)
            )
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1) for item in value]
    if isinstance(value, (set, frozenset)):
        import json

        items = [json.dumps(_plain(item, depth - 1), sort_keys=True) for item in value]
        return {"\0set": sorted(items)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"\0bytes": bytes(value).hex()}
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return {f"\0{kind}": _plain(dump(), depth - 1)}
    if type(value).__repr__ is not object.__repr__:
        return {f"\0{kind}": repr(value)}
    return {f"\0{kind}": _plain(dict(getattr(value, "__dict__", {})), depth - 1)}
