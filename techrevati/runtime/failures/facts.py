"""What an exception carries: statuses, codes, headers, bodies, as the SDKs of the providers leave them.

Everything is duck-typed and distrusted: an attribute may be missing, of a wrong type, or a property that
raises.  Only what is already in memory is read: a property of a response can be a read from the network.
"""

from __future__ import annotations

from techrevati.runtime.failures.bodies import MAX_SPELT, MAX_TEXT_LENGTH, read_body, spelt
from techrevati.runtime.failures.headers import Hints
from techrevati.runtime.failures.known import HOSTS, SDKS
from techrevati.runtime.failures.probing import attribute, is_dict, is_list, status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import TypeAlias

    _Source: TypeAlias = "Callable[[Facts, BaseException, dict[str, object], str], None]"

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
_hosts: dict[str, str | None] = {}


def offered(kind: type[BaseException]) -> tuple[str, ...]:
    """Which of ``ATTRIBUTES`` a class has itself: as class attributes, properties or slots."""
    own = [vars(cls) for cls in kind.__mro__ if cls not in (object, BaseException, Exception)]
    if any("__getattr__" in names or "__getattribute__" in names for names in own):
        return ATTRIBUTES
    return tuple(name for name in ATTRIBUTES if any(name in names for names in own))


def text_of(error: BaseException) -> str:
    """``str(error)``, bounded; its type's name when that is empty or fails."""
    try:
        text = str(error)[:MAX_TEXT_LENGTH]
    except Exception:
        text = ""
    return text or type(error).__name__


class Facts(Hints):
    """The evidence of one exception.

    Attributes:
        status: The HTTP status, a failing one wherever it was found, else e.g. 200; None without one.
        codes: Every code found, in lower case, the most exact first.
        code: The provider's code as it spells it.
        message: The provider's own words, from a body.
        provider: Who answered, if known.
    """

    __slots__ = ("code", "codes", "message", "provider", "status")

    def __init__(self) -> None:  # what Hints sets too, without the call
        self.headers: dict[str, object] = {}
        self.limits: list[object] = []
        self.spent: bool = False
        self.wait_s: float | None = None
        self.request: str | None = None
        self.status: int | None = None
        self.codes: list[str] = []
        self.code: str | None = None
        self.message: str | None = None
        self.provider: str | None = None

    def fill_from(self, more: Facts) -> None:
        """Take from *more*, the same refusal seen elsewhere in a chain, what is missing here."""
        self.fill_hints(more)
        self.code = self.code or more.code
        self.provider = self.provider or more.provider
        self.status = self.status or more.status

    def add_code(self, value: object) -> None:
        """Take *value* as a code, or as a failing status where it is one."""
        if isinstance(value, str):
            lower = spelt.get(value)
            if lower is not None:
                if self.code is None:
                    self.code = value
                self.codes.append(lower)
                return None
            if len(value) == 3 and value.isdigit():
                return self._add_status(status_of(value))
            if len(value) > 200 or not value.isidentifier():
                value = value[:200].rpartition("#")[2].partition(":")[0].strip()  # AWS: namespace#Code:url
                if not value or " " in value:
                    return None
            if len(value) <= 100:
                lower = value.lower()
                if not value.lstrip("-").isdigit():
                    if self.code is None:
                        self.code = value
                    if value.isidentifier() and len(spelt) < MAX_SPELT:
                        spelt[value] = lower
                self.codes.append(lower)
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
            self.message = value[:MAX_TEXT_LENGTH]

    # --- the sources; each is read on its own, so that a broken one does not hide the others ---

    def read_status(self, error: BaseException, held: dict[str, object], package: str) -> None:
        if package == "litellm" and type(error).__name__ == "APIConnectionError":
            return  # it says 500 where nobody answered
        value = held.get("status_code")
        if type(value) is int and 100 <= value <= 599:
            self.status = value
            return
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
            if is_dict(details) or is_list(details):
                body = details
            elif error.args and is_dict(error.args[0]):
                body = error.args[0]
        if isinstance(body, (dict, list)):
            read_body(self, body)
            body = None
        response = held.get("response")
        if response is None and "raw_response" in held:
            response = held["raw_response"]
        if response is not None:
            # openai cuts a body down to its "error": for xAI the code stands outside of that.
            self._add_response(response, wanted=not self.codes)
        if body is not None:
            read_body(self, body)

    def _add_response(self, response: object, *, wanted: bool) -> None:
        if isinstance(response, dict):  # botocore
            error, metadata = response.get("Error"), response.get("ResponseMetadata")
            if is_dict(error):
                self.add_code(error.get("Code"))
                self.add_message(error.get("Message", error.get("message")))
            if is_dict(metadata):
                self.status = status_of(metadata.get("HTTPStatusCode")) or self.status
                self.add_headers(metadata.get("HTTPHeaders"))
                self.add_request(metadata.get("RequestId"))
            return
        if self.status is None:
            self.status = status_of(attribute(response, "status_code")) or status_of(
                attribute(response, "status")
            )
        try:
            headers = response.headers  # type: ignore[attr-defined]  # pyright: ignore
        except Exception:
            headers = None
        if headers is not None:
            self.add_headers(headers)
        memory = attribute(response, "__dict__") if wanted else None
        if memory is not None and is_dict(memory):
            for name in ("_content", "_body", "content", "text", "body"):  # bytes already here, never a read
                body = memory.get(name)
                if isinstance(body, (str, bytes)) and body:
                    read_body(self, body)
                    break

    def read_codes(self, error: BaseException, held: dict[str, object], package: str) -> None:
        if not self.codes:  # else they are what the body said
            for name in _CODES:
                value = held.get(name)
                if value is not None and (
                    name != "type" or package != "litellm"
                ):  # a word of its own for every 429
                    self.add_code(value)
        if "sqlite_errorname" in held:
            sqlite = held["sqlite_errorname"]
            if isinstance(sqlite, str):
                self.add_code("_".join(sqlite.split("_")[:2]))  # SQLITE_BUSY_SNAPSHOT is SQLITE_BUSY
        nested = held.get("error")
        if nested is not None and not isinstance(nested, str):
            inner = attribute(nested, "innererror")
            if is_dict(inner):
                self.add_code(inner.get("code"))
            self.add_code(attribute(nested, "code"))
            self.add_message(attribute(nested, "message"))
        if (
            not package
            and isinstance(error, OSError)
            and isinstance(error.errno, int)
            and self.status is None
        ):
            from errno import errorcode

            self.add_code(errorcode.get(error.errno))

    def read_rest(self, error: BaseException, held: dict[str, object], package: str) -> None:
        if "retry_after" in held:
            self.add_wait(held["retry_after"])
        if self.request is None and "request_id" in held:
            self.add_request(held["request_id"])
        if package == "litellm":
            self.add_headers(held.get("litellm_response_headers"))
            provider = held.get("llm_provider")
            if isinstance(provider, str) and provider:
                self.provider = provider[:100]
        elif package:
            request = held["request"] if "request" in held else held.get("request_info")
            self.provider = (None if request is None else _provider_at(request)) or SDKS[package]


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
    try:
        own = error.__dict__
    except Exception:
        own = None
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
        if not is_dict(args[0]):
            if not isinstance(error, OSError):
                return facts
            sources = _CODES_ALONE
    if sources is _SOURCES:
        try:
            facts.read_status(error, held, package)
            facts.read_content(error, held, package)
            if not facts.codes or not package or "error" in held:
                facts.read_codes(error, held, package)
            facts.read_rest(error, held, package)
        except Exception:
            facts = Facts()  # a hostile attribute; what the others tell still counts
        else:
            return facts
    for read in sources:
        try:
            read(facts, error, held, package)
        except Exception:
            continue
    return facts


def _provider_at(request: object) -> str | None:
    """The provider that the host of *request* belongs to."""
    try:
        host: object = request.url.host  # type: ignore[attr-defined]  # pyright: ignore
    except Exception:
        host = None
    if type(host) is str and host in _hosts:
        return _hosts[host]
    if not isinstance(host, str):
        url = attribute(request, "url")
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
