"""Call an OpenAI-compatible chat completions endpoint with nothing but the standard library.

Errors carry the facts that ``classify`` looks at: status, body, headers, request id; trouble on the network
is raised as Python raises it.  Redirects are not followed, so the key goes to the endpoint that was named and
nowhere else, and it is taken out of every error that comes back, and out of final texts, which are
shown and recorded.  A reply with tool calls is left as it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from textwrap import shorten
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from techrevati.runtime._core.deadline import shortened
from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from techrevati.runtime.cli.demo_spend import Books

MAX_REPLY_BYTES = 10_000_000
SHORTEST_SECRET = 8  # shorter keys are dummies such as "none", and are only redacted as whole words
SHORTEST_SILENCE_S = 0.001  # sockets take 0 for "do not wait at all"
MAX_SHOWN = 90  # characters of an endpoint's words in one line
REDACTED = "[redacted]"


class UnusableEndpointError(TechrevatiError, ValueError):
    """The base URL or the key cannot be used; nothing was sent."""


class ChatError(TechrevatiError, RuntimeError):
    """The endpoint answered with an error status.

    Attributes:
        status_code: The HTTP status.
        body: The parsed JSON body, or its text.
        headers: The response headers, names in lower case.
        request_id: The endpoint's name for the request, if it gave one.
        code: The error code in the body, if there is one.
        message: The endpoint's words.
    """

    def __init__(self, status_code: int, body: object, headers: Mapping[str, str]) -> None:
        self.status_code: int = status_code
        self.body: object = body
        self.headers: dict[str, str] = dict(headers)
        self.request_id: str | None = self.headers.get("x-request-id") or self.headers.get("request-id")
        error = body.get("error") if isinstance(body, dict) else None
        facts = error if isinstance(error, dict) else {"message": error or body}
        code = facts.get("code") or facts.get("type")
        self.code: str | None = code if isinstance(code, str) else None
        self.message: str = " ".join(str(facts.get("message") or "").split())[:300]
        super().__init__(status_code, body, self.headers)

    def __str__(self) -> str:
        first = shorten(re.split(r"(?<=[.!?]) ", self.message)[0], MAX_SHOWN, placeholder=" …")
        return ": ".join(part for part in (f"{self.status_code} {self.code or ''}".rstrip(), first) if part)


class UnreadableReplyError(TechrevatiError, ConnectionError):
    """The endpoint, or something in between, answered 200 with something that is no chat completion."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model asks for; *arguments* is None when they were no JSON object."""

    id: str
    name: str
    arguments: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class ChatReply:
    """One answer of the model.

    Attributes:
        text: What it says.
        tool_calls: What it wants to use.
        message: The answer as it goes back into the conversation.
        usage: What the endpoint says it used, as it says it.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    message: dict[str, object] = field(repr=False)
    usage: object


class ChatClient:
    """One endpoint.  Thread-safe: every request has a connection of its own.

    Args:
        base_url: What OpenAI clients call ``base_url``; usually ends in ``/v1``.
        api_key: Sent as a bearer token; None sends none.
        timeout_seconds: How long the endpoint may be silent; never longer than the running deadline.

    Raises:
        UnusableEndpointError: The URL is no plain http(s) URL, or the key cannot be part of a header.
    """

    def __init__(self, base_url: str, api_key: str | None = None, *, timeout_seconds: float = 60.0) -> None:
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError as error:
            raise UnusableEndpointError(f"the base URL cannot be read: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UnusableEndpointError("the base URL must look like https://host/v1")
        if parts.username or parts.password:
            raise UnusableEndpointError(
                "the base URL holds a user name or key; the key comes from the environment"
            )
        if api_key and not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
            raise UnusableEndpointError("the key holds characters that a key cannot have")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = port
        self._target = (
            parts.path.rstrip("/") + "/chat/completions" + (f"?{parts.query}" if parts.query else "")
        )
        self._key = api_key or None
        self._timeout_s = timeout_seconds
        self._stored_under: Mapping[str, str] | None = None
        # Without the query: some endpoints are given their key there.
        self.address: str = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return self._key is not None

    def __repr__(self) -> str:
        return f"ChatClient({self.address!r})"

    def reach(self) -> None:
        """Connect and hang up.

        Raises:
            OSError: Nobody can be reached there.
        """
        connection = self._connection()
        try:
            connection.connect()
        finally:
            connection.close()

    def keep(self, books: Books) -> None:
        """Write every request into *books*, for clients that do so themselves."""

    def on_behalf(self, role: str, session: str) -> None:
        """Whose requests the next ones are; for clients that keep books."""

    def store_under(self, metadata: Mapping[str, str] | None) -> None:
        """Have the provider store the next answers under *metadata*; None asks for nothing."""
        self._stored_under = metadata

    def close(self) -> None:
        """End what is open; nothing is, between requests."""

    def complete(
        self,
        model: str,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] = (),
        *,
        may_use_tools: bool = True,
    ) -> ChatReply:
        """Send one request, once.

        Raises:
            ChatError: The endpoint answered with an error.
            UnreadableReplyError: It answered something else than a chat completion.
            OSError: The connection could not be made, or broke.
        """
        request: dict[str, object] = {"model": model, "messages": list(messages)}
        if tools:
            request["tools"] = list(tools)
            request["tool_choice"] = "auto" if may_use_tools else "none"
        request.update(self._storing())
        status, headers, raw = self._posted(json.dumps(request).encode())
        body = _parsed(raw)
        if status != 200:
            raise ChatError(status, self._redacted(body), self._redacted_headers(headers))
        reply = reply_of(body)
        if reply.tool_calls or self._key is None or len(self._key) < SHORTEST_SECRET:
            return reply
        return reply_of(self._redacted(body))

    def _storing(self) -> dict[str, object]:
        return {} if self._stored_under is None else {"store": True, "metadata": dict(self._stored_under)}

    def _connection(self) -> HTTPConnection:
        kind = HTTPSConnection if self._secure else HTTPConnection
        silent_s = max(SHORTEST_SILENCE_S, shortened(self._timeout_s))
        return kind(self._host, self._port, timeout=silent_s)

    def _posted(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {"content-type": "application/json", "accept": "application/json"}
        headers["user-agent"] = "techrevati-demo"
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        connection = self._connection()
        try:
            connection.request("POST", self._target, body, headers)
            response = connection.getresponse()
            raw = response.read(MAX_REPLY_BYTES + 1)
            if len(raw) > MAX_REPLY_BYTES:
                raise UnreadableReplyError(f"the reply is longer than {MAX_REPLY_BYTES:,} bytes")
            if response.length:
                raise ConnectionError(f"the reply broke off {response.length:,} bytes before its end")
            return response.status, {name.lower(): value for name, value in response.getheaders()}, raw
        except HTTPException as error:
            if isinstance(error, OSError):  # hung up without an answer: Python says what it is
                raise
            raise ConnectionError(f"the reply broke off: {type(error).__name__}") from error
        finally:
            connection.close()

    def _redacted(self, value: object) -> object:
        if self._key is None:
            return value
        if isinstance(value, str):
            if len(self._key) >= SHORTEST_SECRET:
                return value.replace(self._key, REDACTED)
            return re.sub(rf"(?<!\w){re.escape(self._key)}(?!\w)", REDACTED, value)
        if isinstance(value, list):
            return [self._redacted(inner) for inner in value]
        if isinstance(value, dict):
            return {name: self._redacted(inner) for name, inner in value.items()}
        return value

    def _redacted_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: str(self._redacted(value)) for name, value in headers.items()}


def _parsed(raw: bytes) -> object:
    text = raw.decode("utf-8", "replace")
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def reply_of(body: object) -> ChatReply:
    """What a chat completion says.

    Raises:
        UnreadableReplyError: It is none.
    """
    try:
        message = body["choices"][0]["message"]  # type: ignore[index]  # pyright: ignore
        text = message.get("content") or ""
        calls = tuple(_tool_call(call) for call in message.get("tool_calls") or ())
        usage: object = body.get("usage")  # type: ignore[attr-defined]  # pyright: ignore
    except (AttributeError, IndexError, KeyError, TypeError):
        raise UnreadableReplyError("the reply is no chat completion") from None
    if not isinstance(text, str):
        raise UnreadableReplyError("the reply's content is no text")
    kept = {name: message[name] for name in ("content", "tool_calls") if message.get(name) is not None}
    return ChatReply(text, calls, {"role": "assistant", "content": None, **kept}, usage)


def _tool_call(raw: Mapping[str, Mapping[str, str]]) -> ToolCall:
    function = raw["function"]
    try:
        arguments: object = json.loads(function.get("arguments") or "{}")
    except ValueError:
        arguments = None
    return ToolCall(str(raw["id"]), str(function["name"]), arguments if isinstance(arguments, dict) else None)
