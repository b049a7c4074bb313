"""What an exception carries: statuses, codes, headers, bodies, as the SDKs of the providers leave them.

Everything is duck-typed and distrusted: an attribute may be missing, of a wrong type, or a property that
raises.  Only what is already in memory is read: a property of a response can be a read from the network.
"""

from __future__ import annotations

from techrevati.runtime.failures import waits
from techrevati.runtime.failures.known import HOSTS, SDKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import TypeAlias, TypeGuard

    _Source: TypeAlias = "Callable[[Facts, BaseException, dict[str, object], str], None]"

_MAX_TEXT_LENGTH = 4_000
_MAX_BODY_LENGTH = 100_000
_MAX_HEADERS = 200
_MAX_DETAILS = 50

# Attributes that are read from an exception.
ATTRIBUTES = (
    "status_code",  # openai, anthropic, groq, mistral, cohere, azure, litellm, pydantic-ai
    "http_status",
    "status",  # aiohttp: HTTP status; google: RESOURCE_EXHAUSTED
    "code",  # openai: the cause; google, urllib: HTTP status
    "error_code",  # anthropic: the cause
    "provider_error_code",  # pydantic-ai
    "provider_error_type",
    "type",  # openai, anthropic: the broad category
    "sqlite_errorname",
    "body",
    "details",  # google: the whole answer
    "error",  # azure: ODataV4Format
    "headers",
    "response",
    "raw_response",  # mistral
    "litellm_response_headers",
    "llm_provider",  # litellm
    "retry_after",  # pydantic-ai, our own
    "request_id",
    "request",
    "request_info",  # aiohttp
)
# The first that is there is the code to show; google's status says less than the reason in its body.
_CODES = ("error_code", "provider_error_code", "code", "status", "provider_error_type", "type")
_BODY_CODES = ("error_code", "code", "type", "__type", "error_type", "status", "reason")
_BODY_MESSAGES = ("message", "detail", "error_description", "code")
_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-ms-request-id",
    "cf-ray",
)
_WANTED = frozenset({"x-should-retry", "retry-after", "retry-after-ms", *_REQUEST_IDS})
_LIMIT = "ratelimit"
# What a header is for, by its name as it came (text, or bytes from httpx): ``_LIMIT``, its name, or nothing.
_uses: dict[str | bytes, str] = {}
_hosts: dict[str, str | None] = {}


def _is_dict(value: object) -> TypeGuard[dict[object, object]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def attribute(holder: object, name: str) -> object:
    """An attribute, or None when there is none or reading it fails."""
    try:
        return getattr(holder, name, None)
    except Exception:
        return None


def offered(kind: type[BaseException]) -> tuple[str, ...]:
    """Which of ``ATTRIBUTES`` a class has itself: as class attributes, properties or slots."""
    own = [vars(cls) for cls in kind.__mro__ if cls not in (object, BaseException, Exception)]
    if any("__getattr__" in names or "__getattribute__" in names for names in own):
        return ATTRIBUTES
    return tuple(name for name in ATTRIBUTES if any(name in names for names in own))


def status_of(value: object) -> int | None:
    """*value* when it is an HTTP status: an int (an enum, too) or three digits."""
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return int(value)
    return None


def text_of(error: BaseException) -> str:
    """``str(error)``, bounded; its type's name when that is empty or fails."""
    try:
        text = str(error)[:_MAX_TEXT_LENGTH]
    except Exception:
        text = ""
    return text or type(error).__name__


class Facts:
    """The evidence of one exception.

    Attributes:
        status: The HTTP status, a failing one wherever it was found, else e.g. 200; None without one.
        codes: Every code found, in lower case, the most exact first.
        code: The provider's code as it spells it.
        message: The provider's own words, from a body.
        headers: The headers that are hints or ids, names in lower case, values as they came.
        limits: Headers of rate limits, as they came.
        wait_s: A wait that an attribute or a body told.
        provider: Who answered, if known.
    """

    __slots__ = ("code", "codes", "headers", "limits", "message", "provider", "request", "status", "wait_s")

    def __init__(self) -> None:
        self.status: int | None = None
        self.codes: list[str] = []
        self.code: str | None = None
        self.message: str | None = None
        self.headers: dict[str, object] = {}
        self.limits: list[tuple[object, object]] = []
        self.wait_s: float | None = None
        self.request: str | None = None
        self.provider: str | None = None

    @property
    def request_id(self) -> str | None:
        """What the provider's support asks for."""
        if self.request is None and self.headers:
            return next((_text(self.headers[name]) for name in _REQUEST_IDS if name in self.headers), None)
        return self.request

    def wait(self, now_s: float | None) -> float | None:
        """Seconds that headers, an attribute or a body ask for, measured from *now_s*."""
        for name, unit_s in (("retry-after-ms", 1e-3), ("retry-after", 1.0)) if self.headers else ():
            if name in self.headers:
                wait_s = waits.asked(_text(self.headers[name]), now_s, unit_s)
                if wait_s is not None:
                    return wait_s
        if self.wait_s is None and any(waits.number(_text(value)) == 0 for _, value in self.limits):
            return waits.until_reset(  # only a limit of which nothing is left asks to wait
                {_text(name).lower(): _text(value) for name, value in self.limits}, now_s
            )
        return self.wait_s

    def should_retry(self) -> bool | None:
        """The provider's own word on whether to try again."""
        word = self.headers.get("x-should-retry")
        return None if word is None else {"true": True, "false": False}.get(_text(word).strip().lower())

    def fill_from(self, more: Facts) -> None:
        """Take from *more*, the same refusal seen elsewhere in a chain, what is missing here."""
        for name, value in more.headers.items():
            self.headers.setdefault(name, value)
        self.limits = self.limits or more.limits
        self.wait_s = more.wait_s if self.wait_s is None else self.wait_s
        self.request = self.request or more.request
        self.code = self.code or more.code
        self.provider = self.provider or more.provider
        self.status = self.status or more.status

    def add_code(self, value: object) -> None:
        """Take *value* as a code, or as a failing status where it is one."""
        if isinstance(value, str):
            if len(value) == 3 and value.isdigit():
                return self._add_status(status_of(value))
            if len(value) > 200 or not value.isidentifier():
                value = value[:200].rpartition("#")[2].partition(":")[0].strip()  # AWS: namespace#Code:url
                if not value or " " in value:
                    return None
            if len(value) <= 100:
                if self.code is None and not value.lstrip("-").isdigit():
                    self.code = value
                self.codes.append(value.lower())
        elif isinstance(value, int) and not isinstance(value, bool):
            status = status_of(value)
            if status is None:
                self.codes.append(str(value)[:20])
            return self._add_status(status)
        return None

    def _add_status(self, status: int | None) -> None:
        if status is not None and status >= 400 and (self.status is None or self.status < 400):
            self.status = status

    def add_message(self, value: object) -> None:
        """Take *value* as the provider's words unless better ones are known."""
        if self.message is None and isinstance(value, str) and value:
            self.message = value[:_MAX_TEXT_LENGTH]

    def add_headers(self, headers: object) -> None:
        """Keep the headers that matter; the first source that has one of them wins."""
        left, known = _MAX_HEADERS, _uses.get
        for name, value in _pairs(headers):
            use = known(name)
            if use is None:
                use = _use_of(name)
            if use:
                if use is _LIMIT:
                    self.limits.append((name, value))
                elif use not in self.headers:
                    self.headers[use] = value
            left -= 1
            if not left:
                break

    def add_body(self, body: object) -> None:
        """Read an error body: parsed, or JSON that still is text."""
        if isinstance(body, (str, bytes, bytearray)):
            body = _parsed(body)
            if isinstance(body, str):
                self.add_message(body)
        if _is_list(body) and body:
            body = body[0]
        if not _is_dict(body):
            return
        error = body.get("error")
        if _is_dict(error):
            self._add_error(error)
        elif error is not None:
            self.add_message(error)
        self._add_error(body)

    def _add_error(self, error: dict[object, object]) -> None:
        if "details" in error:
            details = error["details"]
            if _is_dict(details):
                self.add_code(details.get("error_code"))
            elif _is_list(details):
                self._add_google_details(details)
        if "innererror" in error:
            inner = error["innererror"]
            if _is_dict(inner):
                self.add_code(inner.get("code"))
        if "metadata" in error:
            metadata = error["metadata"]
            if _is_dict(metadata):  # OpenRouter
                if "flagged_input" in metadata:
                    self.add_code("flagged_input")
                self.add_code(metadata.get("error_type"))
                self.add_message(metadata.get("raw"))
                if "headers" in metadata:
                    self.add_headers(metadata["headers"])
        for name in _BODY_CODES:
            if name in error:
                self.add_code(error[name])
        if self.message is None:
            for name in _BODY_MESSAGES:
                value = error.get(name)
                if (
                    isinstance(value, str) and value and (name != "code" or " " in value)
                ):  # xAI: a sentence as code
                    self.message = value[:_MAX_TEXT_LENGTH]
                    break
        if "request_id" in error:
            self._add_request(error["request_id"])

    def _add_request(self, value: object) -> None:
        if self.request is None and isinstance(value, str) and value:
            self.request = value[:200]

    def _add_google_details(self, details: list[object]) -> None:
        for detail in details[:_MAX_DETAILS]:
            if not _is_dict(detail):
                continue
            self.add_code(detail.get("reason"))
            delay = detail.get("retryDelay")
            if isinstance(delay, str) and self.wait_s is None:
                self.wait_s = waits.duration(delay)
            violations = detail.get("violations")
            for violation in violations[:_MAX_DETAILS] if _is_list(violations) else ():
                if _is_dict(violation) and "perday" in str(violation.get("quotaId"))[:500].lower():
                    # A daily quota and a limit per minute share status, code and words; only this tells.
                    self.codes.insert(0, "daily_quota")

    # --- the sources; each is read on its own, so that a broken one does not hide the others ---

    def read_status(self, error: BaseException, held: dict[str, object], package: str) -> None:
        value = held.get("status_code")
        if value is None and "http_status" in held:
            value = held["http_status"]
        self.status = status_of(value) if value is not None else None
        if self.status is None and ("status" in held or "code" in held):
            self.status = status_of(held.get("status"))
            code = held.get("code")
            if package == "grpc" and callable(code):
                self.add_code(attribute(code(), "name"))
            elif self.status is None:
                self.status = status_of(code)

    def read_content(self, error: BaseException, held: dict[str, object], package: str) -> None:
        if "headers" in held:
            self.add_headers(held["headers"])
        body = held.get("body")
        if body is None:
            details = held.get("details")
            if _is_dict(details) or _is_list(details):
                body = details
            elif error.args and _is_dict(error.args[0]):
                body = error.args[0]
        if _is_dict(body) or _is_list(body):
            self.add_body(body)
            body = None
        response = held.get("response")
        if response is None:
            response = held.get("raw_response")
        if response is not None:
            # openai cuts a body down to its "error": for xAI the code stands outside of that.
            self._add_response(response, read_body=not self.codes)
        if body is not None:
            self.add_body(body)

    def _add_response(self, response: object, *, read_body: bool) -> None:
        if _is_dict(response):  # botocore
            error, metadata = response.get("Error"), response.get("ResponseMetadata")
            if _is_dict(error):
                self.add_code(error.get("Code"))
                self.add_message(error.get("Message", error.get("message")))
            if _is_dict(metadata):
                self.status = status_of(metadata.get("HTTPStatusCode")) or self.status
                self.add_headers(metadata.get("HTTPHeaders"))
                self._add_request(metadata.get("RequestId"))
            return
        if self.status is None:
            self.status = status_of(attribute(response, "status_code")) or status_of(
                attribute(response, "status")
            )
        self.add_headers(attribute(response, "headers"))
        memory = attribute(response, "__dict__") if read_body else None
        if _is_dict(memory):
            for name in ("_content", "_body", "content", "text", "body"):  # bytes already here, never a read
                body = memory.get(name)
                if isinstance(body, (str, bytes)) and body:
                    self.add_body(body)
                    break

    def read_codes(self, error: BaseException, held: dict[str, object], package: str) -> None:
        for name in () if self.codes else _CODES:  # else they are what the body said
            value = held.get(name)
            if value is not None and (
                name != "type" or package != "litellm"
            ):  # a word of its own for every 429
                self.add_code(value)
        sqlite = held.get("sqlite_errorname")
        if isinstance(sqlite, str):
            self.add_code("_".join(sqlite.split("_")[:2]))  # SQLITE_BUSY_SNAPSHOT is SQLITE_BUSY
        nested = held.get("error")
        if nested is not None and not isinstance(nested, str):
            inner = attribute(nested, "innererror")
            if _is_dict(inner):
                self.add_code(inner.get("code"))
            self.add_code(attribute(nested, "code"))
            self.add_message(attribute(nested, "message"))
        if (
            isinstance(error, OSError)
            and not package
            and isinstance(error.errno, int)
            and self.status is None
        ):
            from errno import errorcode

            self.add_code(errorcode.get(error.errno))

    def read_rest(self, error: BaseException, held: dict[str, object], package: str) -> None:
        if "retry_after" in held:
            wait_s = waits.number(held["retry_after"])
            self.wait_s = self.wait_s if wait_s is None else waits.bounded(wait_s)
        if "request_id" in held:
            self._add_request(held["request_id"])
        if package == "litellm":
            self.add_headers(held.get("litellm_response_headers"))
            provider = held.get("llm_provider")
            if isinstance(provider, str) and provider:
                self.provider = provider[:100]
        elif package:
            self.provider = _provider_at(held.get("request") or held.get("request_info")) or SDKS.get(package)


_SOURCES: tuple[_Source, ...] = (
    Facts.read_status,
    Facts.read_content,
    Facts.read_codes,
    Facts.read_rest,
)
_CODES_ALONE: tuple[_Source, ...] = (Facts.read_codes,)


def facts_of(error: BaseException, package: str, offers: Collection[str]) -> Facts:
    """All that *error* carries.

    *package* is the SDK in its class hierarchy, or ``""``; *offers* what its class ``offered``.
    """
    facts = Facts()
    own = attribute(error, "__dict__")
    held: dict[str, object] = own if isinstance(own, dict) else {}
    for name in offers:
        # aiohttp's .code is its status again, and warns.
        if name not in held and (name != "code" or package != "aiohttp"):
            value = attribute(error, name)
            if value is not None:
                held = {**held, name: value} if held is own else held
                held[name] = value
    sources: tuple[_Source, ...] = _SOURCES
    if not held and not package:  # all there may be: a body among the arguments, an errno
        args = attribute(error, "args")  # a class may have any other args
        if not isinstance(args, tuple) or not args:
            return facts
        if not _is_dict(args[0]):
            if not isinstance(error, OSError):
                return facts
            sources = _CODES_ALONE
    for read in sources:
        try:
            read(facts, error, held, package)
        except Exception:
            continue  # a hostile attribute; what the others tell still counts
    return facts


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)[:1_000]


def _parsed(body: str | bytes | bytearray) -> object:
    """A JSON body as data; other text as text."""
    body = body[:_MAX_BODY_LENGTH]
    text = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
    if text.lstrip()[:1] not in ("{", "["):
        return text
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _pairs(headers: object) -> Iterable[tuple[str, object]]:
    """Name and value of each header of any headers object; names are text or bytes."""
    if _is_list(headers) or isinstance(headers, tuple):
        return headers  # type: ignore[return-value]  # pyright: ignore
    raw = (
        None if isinstance(headers, dict) else attribute(headers, "raw")
    )  # httpx: a tenth of the time of items()
    if _is_list(raw):
        return raw  # type: ignore[return-value]  # pyright: ignore
    items = attribute(headers, "items")
    return items() if callable(items) else ()  # pyright: ignore


def _use_of(name: object) -> str:
    """What the header *name* is for; remembered, for there are few names and many responses."""
    if not isinstance(name, (str, bytes)):
        return ""
    lower = _text(name).lower()
    if lower in _WANTED:
        use = lower
    else:
        use = _LIMIT if _LIMIT in lower and ("reset" in lower or "remaining" in lower) else ""
    if len(_uses) < 512:
        _uses[name] = use
    return use


def _provider_at(request: object) -> str | None:
    """The provider that the host of *request* belongs to."""
    if request is None:
        return None
    url = attribute(request, "url")
    host = attribute(url, "host")
    if not isinstance(host, str):
        if not isinstance(url, str):
            return None
        host = url[:300].partition("://")[2].partition("/")[0].partition(":")[0]
    if host in _hosts:
        return _hosts[host]
    parts = host.lower()[:300].split(".")
    known = (HOSTS.get(".".join(parts[start:])) for start in range(len(parts)))
    if len(_hosts) >= 256:  # hosts of users' own must not pile up
        _hosts.clear()
    found = _hosts[host] = next((provider for provider in known if provider), None)
    return found
