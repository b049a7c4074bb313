"""What the headers of an answer hint at: how long to wait, whether to try again, whom to ask.

They are read in one pass and kept as they came; most failures need none of them a second time.
"""

from __future__ import annotations

from itertools import islice

from techrevati.runtime.failures import waits
from techrevati.runtime.failures.probing import attribute, is_list, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_HEADERS = 200
_MAX_KNOWN = 512

_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-ms-request-id",
    "cf-ray",
)
_WANTED = frozenset({"x-should-retry", "retry-after", "retry-after-ms", *_REQUEST_IDS})
_DIGITS = "123456789"
_RESET, _REMAINING = "reset of a limit", "what remains of a limit"
# What a header is for, by its name as it came (text, or bytes from httpx): one of these, its name, or "".
_uses: dict[str | bytes, str] = {}


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
        kept, known, limited = self.headers, _uses.get, False
        try:
            # A name that cannot be looked up ends the reading; what came before it is kept.
            for name, value in islice(_pairs(headers), _MAX_HEADERS):
                use = known(name)
                if use is None:
                    use = _use_of(name)
                if use:
                    if use is _RESET:
                        limited = True
                    elif use is _REMAINING:
                        limited = True
                        if not self.spent and plain(value)[:1] not in _DIGITS:
                            self.spent = waits.number(plain(value)) == 0
                    elif use not in kept:
                        kept[use] = value
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


def _pairs(headers: object) -> Iterable[tuple[str, object]]:
    """Name and value of each header of any headers object; names are text or bytes."""
    if isinstance(headers, dict):
        return headers.items()
    if is_list(headers) or isinstance(headers, tuple):
        return headers  # type: ignore[return-value]  # pyright: ignore
    raw = attribute(headers, "raw")  # httpx: a tenth of the time of items()
    if is_list(raw):
        return raw  # type: ignore[return-value]  # pyright: ignore
    items = attribute(headers, "items")
    return items() if callable(items) else ()  # pyright: ignore


def _use_of(name: object) -> str:
    """What the header *name* is for; remembered, for there are few names and many responses."""
    if not isinstance(name, (str, bytes)):
        return ""
    lower = plain(name).lower()
    if lower in _WANTED:
        use = lower
    elif "ratelimit" in lower and "remaining" in lower:
        use = _REMAINING
    else:
        use = _RESET if "ratelimit" in lower and "reset" in lower else ""
    if len(_uses) < _MAX_KNOWN:
        _uses[name] = use
    return use
