"""How results are stored: as JSON by default, never pickled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from techrevati.runtime._core.scrub import REDACTED, is_word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Codec(Protocol):
    """Turns a result into text and back."""

    def encode(self, value: object) -> str:
        """The text; whatever it raises means that *value* cannot be stored."""
        ...

    def decode(self, text: str) -> object:
        """The result of an earlier life."""
        ...


class JsonCodec:
    """JSON; objects with ``model_dump`` come back as dicts, tuples as lists.

    Args:
        redact: Goes over every text before it is stored.
        hides: Says of the name and the text of a field whether that is secret by its name.
    """

    def __init__(
        self,
        redact: Callable[[str], str] | None = None,
        hides: Callable[[str, str], bool] | None = None,
    ) -> None:
        self._redact = redact
        self._hides = hides

    def encode(self, value: object) -> str:
        """*value* as JSON.

        Raises:
            TypeError, ValueError: JSON would not give it back.
        """
        return compact_json()(self._plain(value))

    def decode(self, text: str) -> object:
        """What was encoded."""
        value, end = _raw_decode()(text)
        if end != len(text):
            import json

            return json.loads(text)  # blanks, or an error that says where
        return value

    def _plain(self, value: object) -> object:
        if isinstance(value, str):
            return value if self._redact is None else self._redact(value)
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise TypeError(f"keys must be strings, got {type(key).__name__}")
            hides = self._hides
            return {
                key: REDACTED
                if hides is not None and isinstance(item, str) and hides(key, item)
                else self._plain(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            if len(value) == 2 and self._hides is not None and _is_secret_pair(self._hides, value):
                return [value[0], REDACTED]  # a header, say
            return [self._plain(item) for item in value]
        dump = getattr(value, "model_dump", None)
        if callable(dump) and not isinstance(value, type):
            return self._plain(dump(mode="json"))
        raise TypeError(f"{type(value).__name__} is no JSON and has no model_dump")


# ``json.dumps`` with options makes an encoder, and ``json.loads`` looks for blanks, at each call.


@lru_cache(1)
def compact_json() -> Callable[[object], str]:
    """``json.dumps`` without blanks and escapes, of what cannot hold itself."""
    from json import JSONEncoder

    return JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


@lru_cache(1)
def _raw_decode() -> Callable[[str], tuple[object, int]]:
    from json import JSONDecoder

    return JSONDecoder().raw_decode


def _is_secret_pair(hides: Callable[[str, str], bool], pair: Sequence[object]) -> bool:
    name, text = pair
    return isinstance(name, str) and isinstance(text, str) and not is_word(text) and hides(name, text)
