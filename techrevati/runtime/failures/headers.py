"""What the headers of an answer hint at: how long to wait, whether to try again, whom to ask.

They are read in one pass and kept as they came; most failures need none of them a second time.
"""

from __future__ import annotations

from itertools import islice

from techrevati.runtime.failures import waits
from techrevati.runtime.failures.probing import attribute, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MAX_HEADERS = 200
_MAX_KNOWN = 256
_MAX_NAMES = 64

_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-ms-request-id",
    "cf-ray",
)
_WANTED = frozenset({"x-should-retry", "retry-after", "retry-after-ms", *_REQUEST_IDS})
_LEFT = frozenset({*"123456789", *(bytes((digit,)) for digit in b"123456789")})  # how a number above 0 begins
_TEXTS = (str, bytes)
_RESET, _REMAINING = "reset of a limit", "what remains of a limit"
# By the names of all headers of an answer, as they came (text, or bytes from httpx): places and their uses.
_useful: dict[tuple[object, ...], tuple[tuple[int, str], ...]] = {}


class Hints:
    """What the headers say.

    Attributes:
        headers: Those that are hints or ids, names in lower case, values as they came.
        limits: Headers objects in which there are rate limits.
        spent: Of one of those limits nothing remains.
        wait_s: A wait that something else than a header told.
        request: A request id that something else than a header told.
    """

    __slots__ = ("headers", "limits", "request", "spent", "wait_s")

    def __init__(self) -> None:
        self.headers: dict[str, object] = {}
        self.limits: list[object] = []
        self.spent: bool = False
        self.wait_s: float | None = None
        self.request: str | None = None

    @property
    def request_id(self) -> str | None:
        """What the provider's support asks for."""
        headers = self.headers
        if self.request is None and headers:
            for name in _REQUEST_IDS:
                if name in headers:
                    return plain(headers[name])
        return self.request

    def wait(self, now_s: float | None) -> float | None:
        """Seconds that headers, an attribute or a body ask for, measured from *now_s*."""
        headers = self.headers
        if "retry-after-ms" in headers:
            wait_s = waits.asked(plain(headers["retry-after-ms"]), now_s, 1e-3)
            if wait_s is not None:
                return wait_s
        if "retry-after" in headers:
            wait_s = waits.asked(plain(headers["retry-after"]), now_s)
            if wait_s is not None:
                return wait_s
        if self.wait_s is None and self.spent:
            # Only a limit of which nothing is left asks to wait.
            return waits.until_reset(_limits(self.limits), now_s)
        return self.wait_s

    def should_retry(self) -> bool | None:
        """The provider's own word on whether to try again."""
        word = self.headers.get("x-should-retry")
        return None if word is None else {"true": True, "false": False}.get(plain(word).strip().lower())

    def fill_hints(self, more: Hints) -> None:
        """Take from *more*, the same refusal seen elsewhere in a chain, what is missing here."""
        for name, value in more.headers.items():
            self.headers.setdefault(name, value)
        if not self.limits:
            self.limits, self.spent = more.limits, more.spent
        self.wait_s = more.wait_s if self.wait_s is None else self.wait_s
        self.request = self.request or more.request

    def add_headers(self, headers: object) -> None:
        """Keep the headers that matter; the first source that has one of them wins."""
        try:
            pairs: Sequence[tuple[object, object]]
            if type(headers) is dict and len(headers) <= _MAX_HEADERS:
                names = tuple(headers)
                known = _useful.get(names)
                if known is not None:
                    return self._keep([*headers.values()], known, headers)
                pairs = [*headers.items()]
            else:
                found = _pairs(headers)
                if type(found) is list and len(found) <= _MAX_HEADERS:
                    pairs = found
                else:  # some have no end
                    pairs = [*islice(found, _MAX_HEADERS)]
                names = tuple([name for name, _ in pairs])
            useful = _useful.get(names)
            if useful is None:
                useful = _looked_through(names)
        except Exception:  # none, or a broken one
            return self._add_readable(headers)
        return self._keep([value for _, value in pairs], useful, headers)

    def _keep(self, values: Sequence[object], useful: Iterable[tuple[int, str]], headers: object) -> None:
        """Keep what is *useful* of *values*, those of *headers*."""
        kept = self.headers
        for place, use in useful:
            if use is _REMAINING:
                value = values[place]
                if not self.spent and (type(value) not in _TEXTS or value[:1] not in _LEFT):  # type: ignore[index]  # pyright: ignore
                    self.spent = waits.number(plain(value)) == 0
            elif use is _RESET:
                self.limits.append(headers)
            elif use not in kept:
                kept[use] = values[place]

    def _add_readable(self, headers: object) -> None:
        """Keep what can be read of headers that break: those before the first broken one."""
        kept = self.headers
        limited = False
        try:
            # A name that cannot be looked up ends the reading.
            for name, value in islice(_pairs(headers), _MAX_HEADERS):
                use = _use_of(name)
                if use is _RESET or use is _REMAINING:
                    limited = True
                    self.spent = self.spent or (use is _REMAINING and waits.number(plain(value)) == 0)
                elif use:
                    kept.setdefault(use, value)
        finally:
            if limited:
                self.limits.append(headers)

    def add_wait(self, value: object) -> None:
        """Take *value*, seconds, as the wait where it is a number."""
        wait_s = waits.number(value)
        if wait_s is not None:
            self.wait_s = waits.bounded(wait_s)

    def add_request(self, value: object) -> None:
        """Take *value* as the request id unless one is known."""
        if self.request is None and isinstance(value, str) and value:
            self.request = value[:200]


def _limits(sources: Iterable[object]) -> dict[str, str]:
    """All headers of rate limits, names in lower case; those of a broken object up to where it breaks."""
    found: dict[str, str] = {}
    for headers in sources:
        try:
            for name, value in islice(_pairs(headers), _MAX_HEADERS):
                if _use_of(name) in (_RESET, _REMAINING):
                    found[plain(name).lower()] = plain(value)
        except Exception:
            continue
    return found


def _looked_through(names: tuple[object, ...]) -> tuple[tuple[int, str], ...]:
    """Where in *names* something useful is, and its use; ``_RESET`` once where there are rate limits.

    A server sends the same headers with every refusal, so that each set of names is looked through once.
    """
    found: dict[str, int] = {}
    remaining: list[tuple[int, str]] = []
    for place, name in enumerate(names):
        use = _use_of(name)
        if use is _REMAINING:
            remaining.append((place, use))
        if use:
            found.setdefault(_RESET if use is _REMAINING else use, place)
    useful = (*((place, use) for use, place in found.items()), *remaining)
    if len(names) <= _MAX_NAMES:
        if len(_useful) >= _MAX_KNOWN:  # names made up for each answer must not pile up
            _useful.clear()
        _useful[names] = useful
    return useful


def _pairs(headers: object) -> Iterable[tuple[str, object]]:
    """Name and value of each header of any headers object; names are text or bytes."""
    if isinstance(headers, (list, tuple)):
        return headers  # pyright: ignore
    raw = attribute(headers, "raw")  # httpx: a tenth of the time of items()
    if isinstance(raw, list):
        return raw  # pyright: ignore
    items = attribute(headers, "items")
    return items() if callable(items) else ()  # pyright: ignore


def _use_of(name: object) -> str:
    """What the header *name*, text or bytes, is for: one of the uses, its own name, or nothing."""
    if not isinstance(name, (str, bytes)):
        return ""
    lower = plain(name).lower()
    if lower in _WANTED:
        return lower
    if "ratelimit" in lower and "remaining" in lower:
        return _REMAINING
    return _RESET if "ratelimit" in lower and "reset" in lower else ""
