"""Show what happened without showing what must stay secret.

One object knows what a secret looks like: by its shape, by the name it stands under, by its very value.
Everything that leaves the program (events, texts, lines in files) goes through it once.  What is clean comes
back as the very same object, so that looking costs little and copying nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from techrevati.runtime._core import arguments
from techrevati.runtime._core.scrub import MAX_TEXT_LENGTH, REDACTED, is_word, without_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Sequence
    from typing import Any

    from techrevati.runtime.agent_events import AgentEvent

# Names of fields whose values are secret, without regard to case, "-", "_" and blanks.
_SECRET_NAMES = frozenset({
    "authorization", "proxyauthorization", "auth", "token", "cookie", "setcookie", "pwd", "passphrase",
    "passwd", "password", "secret", "secrets", "credential", "credentials", "bearer",
})  # fmt: skip
_SECRET_ENDINGS = (
    "apikey", "accesskey", "accesskeyid", "secretkey", "privatekey", "subscriptionkey", "authkey",
    "accesstoken", "authtoken", "refreshtoken", "sessiontoken", "securitytoken", "idtoken", "bearertoken",
    "apitoken", "clientsecret", "authorization", "password", "passwd", "cookie",
)  # fmt: skip
_ENVIRONMENT = ("API_KEY", "ACCESS_KEY", "SECRET_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_SHORTEST_FROM_ENVIRONMENT = 12  # shorter ones are dummies, and would blank ordinary words
_SHORTEST_TOKEN = 12  # under the name "token"
_SHORTEST_TEXT = 6  # no credential pattern matches less
_LONGEST_PART = 256
_MAX_DEPTH = 32
_MAX_ITEMS = 10_000
_PLAIN = (bool, int, float, complex, type(None))


class Redactor:
    """Takes secrets out of texts, values and events.  Immutable; thread-safe.

    Known by shape are the keys of the common providers, ``Authorization`` and cookie headers, private keys,
    passwords in URLs, and whatever follows a name such as ``api_key``; by name the values of mappings under
    ``authorization``, ``api_key``, ``password``, ``token`` and the like; by value what *secrets* and the
    environment hold.  A secret that was encoded (base64, say) is not found.

    Args:
        patterns: Further regular expressions; a match is replaced but for what its group ``keep`` matched.
        keys: Further names of secret fields, in any case, with or without ``-`` and ``_``.
        secrets: Exact values, at least 4 characters long.
        credentials: Whether the built-in shapes and names are looked for.
        environment: Whether values of variables such as ``OPENAI_API_KEY`` or ``…_TOKEN`` count as *secrets*,
            if 12 characters or longer; read once, at construction.
        max_length: Characters kept of a text inside a value, >= 100; no pattern sees more than twice that.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.

    >>> Redactor(secrets=["tuesday at nine"]).value({"api_key": "x", "note": "see you tuesday at nine"})
    {'api_key': '[redacted]', 'note': 'see you [redacted]'}
    """

    __slots__ = ("_credentials", "_keys", "_max_length", "_patterns", "_secrets", "_shortest")

    def __init__(
        self,
        *,
        patterns: Iterable[str | re.Pattern[str]] = (),
        keys: Iterable[str] = (),
        secrets: Iterable[str] = (),
        credentials: bool = True,
        environment: bool = True,
        max_length: int = 50_000,
    ) -> None:
        self._credentials = credentials
        self._patterns = [_compiled(pattern) for pattern in _several("patterns", patterns)]
        self._keys = frozenset(_folded(arguments.text("keys", str(key))) for key in _several("keys", keys))
        exact = {_exact(secret) for secret in _several("secrets", secrets)}
        if environment:
            exact |= _of_environment()
        self._secrets: tuple[str, ...] = tuple(sorted(exact, key=len, reverse=True))
        self._max_length: int = arguments.count("max_length", max_length, minimum=100)
        self._shortest = 0 if self._patterns else min([_SHORTEST_TEXT, *map(len, self._secrets)])

    def text(self, text: str, *, max_length: int = MAX_TEXT_LENGTH) -> str:
        """*text* without secrets, cut to *max_length* characters; the same object when nothing changed."""
        if len(text) < self._shortest:
            return text
        was_cut = len(text) > max_length * 2
        if was_cut:
            text = text[: max_length * 2]
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        if self._credentials:
            text = without_credentials(text)
        for pattern, replacement in self._patterns:
            text = pattern.sub(replacement, text)
        if was_cut:  # the end may be a part of a secret that no pattern knew
            max_length = min(max_length, max(1, len(text) - _LONGEST_PART))
        return text if len(text) <= max_length else text[: max_length - 1] + "…"

    def error_text(self, error: BaseException) -> str:
        """``Type: message`` of *error* without secrets; an error whose ``str`` fails is named by type."""
        try:
            message = str(error)
        except Exception:
            message = ""
        name = type(error).__name__
        return self.text(f"{name}: {message}" if message else name)

    def value(self, value: object) -> object:
        """*value* without secrets: texts and containers of them, to the 32nd level and 10,000 items.

        Another object stays itself if its ``repr`` is clean and not longer than *max_length*; otherwise the
        redacted ``repr`` takes its place.  Clean containers stay the same object.
        """
        return self._value(value, _MAX_DEPTH, [_MAX_ITEMS])

    def mapping(self, data: Mapping[str, object]) -> Mapping[str, object]:
        """:meth:`value` for a mapping."""
        return self._mapping(data, _MAX_DEPTH, [_MAX_ITEMS])

    def event(self, event: AgentEvent) -> AgentEvent:
        """*event* with ``detail`` and ``data`` redacted; the same object when they were clean."""
        detail = event.detail
        if detail is not None and (clean := self.text(detail)) is not detail:
            event = event.with_detail(clean)
        data = event.data
        if data is not None and (kept := self.mapping(data)) is not data:
            event = event.with_data(kept)
        return event

    def _value(self, value: object, depth: int, left: list[int]) -> object:
        if isinstance(value, str):
            clean = self.text(value, max_length=self._max_length)
            return value if clean is value or clean == value else clean
        if isinstance(value, _PLAIN):
            return value
        if depth <= 0:
            return "[not shown: nested too deeply]"
        if isinstance(value, Mapping):
            return self._mapping(value, depth, left)
        if type(value) in (list, tuple, set, frozenset):
            return self._items(value, depth, left)  # type: ignore[arg-type]
        return self._object(value)

    def _mapping(self, data: Mapping[str, object], depth: int, left: list[int]) -> Mapping[str, object]:
        changed: dict[str, object] = {}
        same = type(data) is dict
        for key, item in data.items():
            left[0] -= 1
            if left[0] < 0:
                changed["[not shown]"] = "too many items"
                same = False
                break
            shown = key
            if self._is_secret(key) and not isinstance(item, (bool, type(None))):
                clean: object = REDACTED
            else:
                clean = self._value(item, depth - 1, left)
                shown = (
                    self.text(key) if isinstance(key, str) else _hashable(self._value(key, depth - 1, left))
                )
            same = same and clean is item and shown is key
            changed[shown] = clean
        return data if same else changed

    def _is_secret_pair(self, pair: Sequence[object]) -> bool:
        """Whether it is a name and its secret, as headers in lists are: ``("x-api-key", "…")``."""
        name, text = pair
        if isinstance(text, (bytes, bytearray)):
            text = text.decode("latin-1")
        if not isinstance(text, str) or is_word(text) or not self._is_secret(name):
            return False
        return not isinstance(name, str) or self.hides(name, text)

    def _items(self, items: Iterable[object], depth: int, left: list[int]) -> object:
        if isinstance(items, (list, tuple)) and len(items) == 2 and self._is_secret_pair(items):
            return [items[0], REDACTED] if isinstance(items, list) else (items[0], REDACTED)
        found: list[object] = []
        same = True
        for item in items:
            left[0] -= 1
            if left[0] < 0:
                found.append("[not shown: too many items]")
                same = False
                break
            clean = self._value(item, depth - 1, left)
            same = same and clean is item
            found.append(clean)
        if same:
            return items
        if isinstance(items, (list, tuple)):
            return found if isinstance(items, list) else tuple(found)
        hashable = map(_hashable, found)
        return frozenset(hashable) if isinstance(items, frozenset) else set(hashable)

    def _object(self, value: object) -> object:
        try:
            # A view shows only where it is.
            shown = repr(value.tobytes() if isinstance(value, memoryview) else value)
        except Exception:
            return f"[not shown: {type(value).__name__}]"
        return value if self.text(shown, max_length=self._max_length) == shown else self.text(shown)

    def hides(self, name: str, text: str) -> bool:
        """Whether *text* is secret because of the *name* it stands under.

        ``token`` names words of a model, too (log probabilities): there only what can be no word is secret.
        """
        if not self._is_secret(name):
            return False
        return _folded(name) != "token" or (len(text) >= _SHORTEST_TOKEN and not text.strip().isalpha())

    def _is_secret(self, key: object) -> bool:
        if isinstance(key, bytes):
            key = key.decode("latin-1")
        if not isinstance(key, str):
            return False
        folded = _folded(key)
        if folded in self._keys:
            return True
        return self._credentials and (folded in _SECRET_NAMES or folded.endswith(_SECRET_ENDINGS))

    def __repr__(self) -> str:
        known = f"{len(self._secrets)} secrets, {len(self._patterns)} patterns, {len(self._keys)} keys"
        return f"Redactor({known}, credentials={self._credentials})"


def _folded(key: str) -> str:
    key = key.lower()
    return key.replace("-", "").replace("_", "").replace(" ", "").rstrip("0123456789") or key


def _hashable(value: object) -> Any:
    try:
        hash(value)
    except TypeError:
        return str(value)
    return value


def _several(name: str, values: Iterable[object]) -> list[object]:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name} must be several, in a list say, got {type(values).__name__}")
    return list(values)


def _compiled(pattern: object) -> tuple[re.Pattern[str], str]:
    import re

    if not isinstance(pattern, (str, re.Pattern)):
        raise TypeError(f"patterns must be strings or compiled patterns, got {type(pattern).__name__}")
    try:
        compiled: re.Pattern[str] = re.compile(pattern)
        if compiled.search("") is not None:
            raise ValueError(f"patterns must not match the empty text, got {compiled.pattern!r}")
    except (re.error, TypeError) as error:
        raise ValueError(f"patterns must be regular expressions for text: {error}") from None
    return compiled, rf"\g<keep>{REDACTED}" if "keep" in compiled.groupindex else REDACTED


def _exact(secret: object) -> str:
    if not isinstance(secret, str):
        raise TypeError(f"secrets must be strings, got {type(secret).__name__}")
    if len(secret.strip()) < 4:  # the value is not shown
        raise ValueError(f"secrets must have at least 4 characters, got one of {len(secret)}")
    return secret


def _of_environment() -> set[str]:
    import os

    return {
        value
        for name, value in os.environ.items()
        if name.upper().endswith(_ENVIRONMENT) and len(value) >= _SHORTEST_FROM_ENVIRONMENT
    }
