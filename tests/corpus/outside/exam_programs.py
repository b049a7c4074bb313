"""The examiner's failures without a provider's answer: HTTP clients, the machine, wrappers, groups and words."""

from __future__ import annotations

import asyncio
import errno
import http.client
import io
import json
import pickle
import socket
import sqlite3
import ssl
import subprocess
import urllib.error
import zipfile
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

from techrevati.runtime.failures import FailureKind as K, FailureOrigin as O
from tests.corpus.case import NOW, Case, during, raised
from tests.corpus.endpoint import moment

Make = Callable[[], BaseException | None]


def _http(name: str) -> Iterator[Case]:
    """httpx and httpx2 alike."""
    import importlib

    lib: Any = importlib.import_module(name)
    group = f"exam {name}"
    request = lib.Request("POST", "https://api.example.com/v1/chat?timeout=503")

    def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Make:
        def make() -> None:
            lib.Response(code, headers=headers, content=body, request=request).raise_for_status()

        return make

    def told(kind: str, message: str) -> Make:
        return lambda: getattr(lib, kind)(message, request=request)

    yield Case(
        group,
        "connect",
        told("ConnectError", "[Errno -2] Name or service not known"),
        K.NETWORK,
        origin=O.NETWORK,
    )
    yield Case(group, "connect timeout", told("ConnectTimeout", ""), K.TIMEOUT, also=(K.NETWORK,))
    yield Case(group, "read timeout", told("ReadTimeout", "The read operation timed out"), K.TIMEOUT)
    yield Case(
        group, "pool timeout", told("PoolTimeout", ""), K.TIMEOUT, also=(K.OVERLOADED, K.RESOURCE_EXHAUSTED)
    )
    yield Case(
        group,
        "incomplete",
        told("RemoteProtocolError", "peer closed connection without sending complete message body"),
        K.NETWORK,
    )
    yield Case(
        group,
        "url",
        lambda: lib.UnsupportedProtocol("Request URL is missing an 'http://' or 'https://' protocol."),
        K.INVALID_REQUEST,
    )
    yield Case(
        group,
        "redirects",
        told("TooManyRedirects", "Exceeded maximum allowed redirects."),
        K.INVALID_REQUEST,
        also=(K.UNKNOWN,),
    )
    yield Case(group, "429", status(429, {"retry-after": "7"}), K.RATE_LIMIT, retry_after=7.0)
    yield Case(
        group, "429, a date", status(429, {"Retry-After": moment(NOW + 90)}), K.RATE_LIMIT, retry_after=90.0
    )
    yield Case(group, "503", status(503), K.OVERLOADED, also=(K.SERVER_ERROR,))
    yield Case(group, "401", status(401), K.AUTH)
    yield Case(group, "404", status(404), K.NOT_FOUND)
    yield Case(group, "stream consumed", lambda: lib.StreamConsumed(), K.INVALID_REQUEST, also=(K.UNKNOWN,))


def _requests() -> Iterator[Case]:
    import requests

    def status(code: int, reason: str, headers: dict[str, str] | None = None) -> Make:
        def make() -> None:
            response = requests.Response()
            response.status_code, response.reason, response.url = code, reason, "https://api.example.com/429"
            response.headers.update(headers or {})
            response.raise_for_status()

        return make

    def not_json() -> None:
        response = requests.Response()
        response.status_code, response._content = 200, b"<html>"
        response.json()

    def schemeless() -> None:
        requests.get("api.example.com/503")

    e = requests.exceptions
    group = "exam requests"
    yield Case(
        group,
        "aborted",
        lambda: e.ConnectionError(
            "('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))"
        ),
        K.NETWORK,
        origin=O.NETWORK,
    )
    yield Case(
        group,
        "read",
        lambda: e.ReadTimeout("HTTPSConnectionPool(host='x', port=443): Read timed out. (read timeout=429)"),
        K.TIMEOUT,
    )
    yield Case(
        group,
        "certificate",
        lambda: e.SSLError(
            "HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: / (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1000)')))"
        ),
        K.NETWORK,
        retryable=False,
    )
    yield Case(
        group,
        "chunk",
        lambda: e.ChunkedEncodingError("('Connection broken: IncompleteRead(0 bytes read)')"),
        K.NETWORK,
    )
    yield Case(group, "proxy", lambda: e.ProxyError("Cannot connect to proxy."), K.NETWORK)
    yield Case(group, "schema", schemeless, K.INVALID_REQUEST, origin=O.CALLER)
    yield Case(
        group,
        "redirects",
        lambda: e.TooManyRedirects("Exceeded 30 redirects."),
        K.INVALID_REQUEST,
        also=(K.UNKNOWN,),
    )
    yield Case(
        group, "429", status(429, "Too Many Requests", {"Retry-After": "3"}), K.RATE_LIMIT, retry_after=3.0
    )
    yield Case(group, "500", status(500, "Internal Server Error"), K.SERVER_ERROR)
    yield Case(group, "404", status(404, "Not Found"), K.NOT_FOUND)
    yield Case(group, "not json", not_json, K.OUTPUT_VALIDATION, also=(K.SERVER_ERROR,))


def _aiohttp() -> Iterator[Case]:
    import aiohttp
    from aiohttp.client_reqrep import ConnectionKey
    from yarl import URL

    key: Any = ConnectionKey("api.example.com", 443, True, True, None, None, None)
    info: Any = aiohttp.RequestInfo(
        URL("https://api.example.com/"), "POST", {}, URL("https://api.example.com/")
    )  # type: ignore[arg-type]

    def status(code: int, **headers: str) -> Make:
        return lambda: aiohttp.ClientResponseError(
            info,
            (),
            status=code,
            message="",
            headers={n.replace("_", "-"): v for n, v in headers.items()},  # type: ignore[arg-type]
        )

    group = "exam aiohttp"
    yield Case(
        group,
        "refused",
        lambda: aiohttp.ClientConnectorError(key, OSError(errno.ECONNREFUSED, "Connect call failed")),
        K.NETWORK,
        origin=O.NETWORK,
    )
    yield Case(group, "disconnected", lambda: aiohttp.ServerDisconnectedError(), K.NETWORK)
    yield Case(
        group,
        "payload",
        lambda: aiohttp.ClientPayloadError(
            "Response payload is not completed: <ContentLengthError: 400, message='Not enough data to satisfy content length header.'>"
        ),
        K.NETWORK,
    )
    yield Case(
        group, "socket", lambda: aiohttp.SocketTimeoutError("Timeout on reading data from socket"), K.TIMEOUT
    )
    yield Case(
        group,
        "connect",
        lambda: aiohttp.ConnectionTimeoutError("Connection timeout to host https://x"),
        K.TIMEOUT,
        also=(K.NETWORK,),
    )
    yield Case(group, "url", lambda: aiohttp.InvalidURL("503"), K.INVALID_REQUEST)
    yield Case(
        group,
        "certificate",
        lambda: aiohttp.ClientConnectorCertificateError(
            key, ssl.SSLCertVerificationError(1, "certificate verify failed")
        ),
        K.NETWORK,
        retryable=False,
    )
    yield Case(group, "429", status(429, Retry_After="30"), K.RATE_LIMIT, retry_after=30.0)
    yield Case(group, "502", status(502), K.SERVER_ERROR, also=(K.OVERLOADED,))
    yield Case(group, "403", status(403), K.PERMISSION)
    yield Case(
        group,
        "content type",
        lambda: aiohttp.ContentTypeError(
            info, (), status=200, message="Attempt to decode JSON with unexpected mimetype: text/html"
        ),
        K.SERVER_ERROR,
        also=(K.OUTPUT_VALIDATION,),
    )
    yield Case(
        group,
        "websocket",
        lambda: aiohttp.WSServerHandshakeError(info, (), status=401, message="Invalid response status"),
        K.AUTH,
    )


def _urllib() -> Iterator[Case]:
    import urllib3

    def status(code: int, **headers: str) -> Make:
        def make() -> BaseException:
            told = Message()
            for name, value in headers.items():
                told[name.replace("_", "-")] = value
            return urllib.error.HTTPError("https://x/429", code, "no", told, io.BytesIO(b"{}"))

        return make

    pool: Any = None
    group = "exam urllib"
    yield Case(
        group, "503", status(503, Retry_After="4"), K.OVERLOADED, retry_after=4.0, also=(K.SERVER_ERROR,)
    )
    yield Case(group, "404", status(404), K.NOT_FOUND)
    yield Case(
        group,
        "name",
        lambda: urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution")),
        K.NETWORK,
        origin=O.NETWORK,
    )
    yield Case(
        group,
        "timed out",
        lambda: urllib.error.URLError(TimeoutError("timed out")),
        K.TIMEOUT,
        also=(K.NETWORK,),
    )
    yield Case(
        group,
        "certificate",
        lambda: urllib.error.URLError(
            ssl.SSLCertVerificationError(
                1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch"
            )
        ),
        K.NETWORK,
        retryable=False,
    )
    yield Case(
        group, "unknown type", lambda: urllib.error.URLError("unknown url type: htps"), K.INVALID_REQUEST
    )
    yield Case(group, "incomplete", lambda: http.client.IncompleteRead(b"x", 503), K.NETWORK)
    yield Case(
        group,
        "disconnected",
        lambda: http.client.RemoteDisconnected("Remote end closed connection without response"),
        K.NETWORK,
    )
    yield Case(
        group, "bad status", lambda: http.client.BadStatusLine("\x00\x01"), K.NETWORK, also=(K.SERVER_ERROR,)
    )
    yield Case(
        group,
        "urllib3 read",
        lambda: urllib3.exceptions.ReadTimeoutError(pool, "/", "Read timed out."),
        K.TIMEOUT,
    )
    yield Case(
        group,
        "urllib3 tries",
        lambda: urllib3.exceptions.MaxRetryError(
            pool, "/429", urllib3.exceptions.NewConnectionError(pool, "[Errno 111] Connection refused")
        ),
        K.NETWORK,
    )
    yield Case(
        group,
        "urllib3 statuses",
        lambda: urllib3.exceptions.MaxRetryError(
            pool, "/", urllib3.exceptions.ResponseError("too many 503 error responses")
        ),
        K.OVERLOADED,
        also=(K.SERVER_ERROR, K.NETWORK),
    )
    yield Case(
        group,
        "urllib3 place",
        lambda: urllib3.exceptions.LocationParseError("https://[503"),
        K.INVALID_REQUEST,
    )


def _run(*command: str, **options: Any) -> Make:
    def make() -> None:
        subprocess.run(command, check=True, capture_output=True, **options)

    return make


def _python(source: str) -> Make:
    def make() -> None:
        exec(source, {})  # noqa: S102 - nothing but the lines below

    return make


def _sql(*statements: str) -> Make:
    def make() -> None:
        connection = sqlite3.connect(":memory:")
        try:
            for statement in statements:
                connection.execute(statement)
        finally:
            connection.close()

    return make


def _errno(code: int) -> Make:
    return lambda: OSError(code, errno.errorcode[code], "/var/lib/503")


def _machine() -> Iterator[Case]:
    group = "exam machine"
    for code, kind, also, retryable in (
        (errno.ECONNREFUSED, K.NETWORK, (), None),
        (errno.ECONNRESET, K.NETWORK, (), None),
        (errno.ECONNABORTED, K.NETWORK, (), None),
        (errno.EPIPE, K.NETWORK, (), None),
        (errno.ENETUNREACH, K.NETWORK, (), None),
        (errno.EHOSTUNREACH, K.NETWORK, (), None),
        (errno.ENETDOWN, K.NETWORK, (), None),
        (errno.ETIMEDOUT, K.TIMEOUT, (K.NETWORK,), None),
        (errno.ENOSPC, K.RESOURCE_EXHAUSTED, (), None),
        (errno.EDQUOT, K.RESOURCE_EXHAUSTED, (), None),
        (errno.EMFILE, K.RESOURCE_EXHAUSTED, (), None),
        (errno.ENFILE, K.RESOURCE_EXHAUSTED, (), None),
        (errno.ENOMEM, K.RESOURCE_EXHAUSTED, (), None),
        (errno.EIO, K.STORAGE_CORRUPTION, (K.RESOURCE_EXHAUSTED,), None),
        (errno.EROFS, K.PERMISSION, (K.RESOURCE_EXHAUSTED,), None),
        (errno.EACCES, K.PERMISSION, (), None),
        (errno.EPERM, K.PERMISSION, (), None),
        (errno.ENOENT, K.NOT_FOUND, (K.INVALID_REQUEST, K.TOOL_ERROR), None),
        (errno.EEXIST, K.INVALID_REQUEST, (K.TOOL_ERROR,), None),
        (errno.EISDIR, K.INVALID_REQUEST, (K.TOOL_ERROR, K.NOT_FOUND), None),
        (errno.ENOTDIR, K.INVALID_REQUEST, (K.TOOL_ERROR, K.NOT_FOUND), None),
        (errno.ENAMETOOLONG, K.INVALID_REQUEST, (K.TOOL_ERROR,), None),
        (errno.EINVAL, K.INVALID_REQUEST, (K.TOOL_ERROR, K.UNKNOWN), None),
    ):
        yield Case(group, errno.errorcode[code], _errno(code), kind, retryable, also=also)
    yield Case(group, "json", lambda: json.loads("{'a': 503}"), K.OUTPUT_VALIDATION)
    yield Case(
        group,
        "unicode",
        lambda: b"\xff429".decode("utf-8") and None,
        K.OUTPUT_VALIDATION,
        also=(K.INVALID_REQUEST,),
    )
    yield Case(group, "exit code", _run("false"), K.TOOL_ERROR, origin=O.TOOL)
    yield Case(
        group,
        "killed",
        lambda: subprocess.CalledProcessError(-9, ["rg", "timeout"]),
        K.TOOL_ERROR,
        origin=O.TOOL,
    )
    yield Case(
        group, "no program", _run("no-such-program-503"), K.NOT_FOUND, also=(K.TOOL_ERROR, K.INVALID_REQUEST)
    )
    yield Case(
        group,
        "program too slow",
        lambda: subprocess.TimeoutExpired(["make"], 30),
        K.TIMEOUT,
        origin=O.TOOL,
        also=(K.TOOL_ERROR,),
    )
    yield Case(
        group,
        "sqlite: locked",
        lambda: sqlite3.OperationalError("database is locked"),
        K.RESOURCE_EXHAUSTED,
        True,
        also=(K.OVERLOADED, K.TIMEOUT),
        origin=O.STORAGE,
    )
    yield Case(
        group,
        "sqlite: malformed",
        lambda: sqlite3.DatabaseError("database disk image is malformed"),
        K.STORAGE_CORRUPTION,
        origin=O.STORAGE,
    )
    yield Case(
        group,
        "sqlite: no database",
        lambda: sqlite3.DatabaseError("file is not a database"),
        K.STORAGE_CORRUPTION,
    )
    yield Case(
        group,
        "sqlite: full",
        lambda: sqlite3.OperationalError("database or disk is full"),
        K.RESOURCE_EXHAUSTED,
    )
    yield Case(
        group,
        "sqlite: read-only",
        lambda: sqlite3.OperationalError("attempt to write a readonly database"),
        K.PERMISSION,
        also=(K.RESOURCE_EXHAUSTED,),
    )
    yield Case(
        group,
        "sqlite: no table",
        _sql("select * from timeouts"),
        K.INVALID_REQUEST,
        also=(K.TOOL_ERROR, K.NOT_FOUND),
    )
    yield Case(group, "sqlite: syntax", _sql("selekt 503"), K.INVALID_REQUEST, also=(K.TOOL_ERROR,))
    yield Case(
        group,
        "sqlite: unique",
        _sql("create table a (b unique)", "insert into a values (1)", "insert into a values (1)"),
        K.INVALID_REQUEST,
        also=(K.TOOL_ERROR,),
    )
    yield Case(group, "memory", lambda: MemoryError(), K.RESOURCE_EXHAUSTED, origin=O.RUNTIME)
    yield Case(group, "recursion", _python("def f(): f()\nf()"), K.RESOURCE_EXHAUSTED)
    yield Case(group, "cancelled", lambda: asyncio.CancelledError(), K.CANCELLED, origin=O.CALLER)
    yield Case(group, "ctrl-c", lambda: KeyboardInterrupt(), K.CANCELLED)
    yield Case(group, "exit", lambda: SystemExit(1), K.CANCELLED, also=(K.UNKNOWN,))

    async def late() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(9)

    async def waited() -> None:
        await asyncio.wait_for(asyncio.sleep(9), 0)

    yield Case(group, "asyncio.timeout", lambda: asyncio.run(late()), K.TIMEOUT)
    yield Case(group, "asyncio.wait_for", lambda: asyncio.run(waited()), K.TIMEOUT)
    yield Case(group, "cut read", lambda: asyncio.IncompleteReadError(b"", 503), K.NETWORK)
    yield Case(
        group,
        "zip",
        lambda: zipfile.ZipFile(io.BytesIO(b"x")) and None,
        K.STORAGE_CORRUPTION,
        also=(K.OUTPUT_VALIDATION, K.INVALID_REQUEST),
    )
    yield Case(
        group,
        "pickle",
        lambda: pickle.loads(b"\x80"),  # noqa: S301 - ours
        K.STORAGE_CORRUPTION,
        also=(K.OUTPUT_VALIDATION, K.INVALID_REQUEST),
    )
    yield Case(
        group,
        "certificate",
        lambda: ssl.SSLCertVerificationError(1, "certificate verify failed: certificate has expired"),
        K.NETWORK,
        False,
    )
    yield Case(
        group, "tls cut", lambda: ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), K.NETWORK
    )
    yield Case(group, "no name", lambda: socket.gaierror(-2, "Name or service not known"), K.NETWORK)
    for name, source in (
        ("key", "{}['rate_limit']"),
        ("type", "'503' + 1"),
        ("attribute", "None.timeout"),
        ("index", "[][429]"),
        ("name", "overloaded"),
        ("zero", "1 / 0"),
        ("assert", "assert False, 'connection reset by peer'"),
        ("import", "import not_there_429"),
        ("todo", "raise NotImplementedError('timeout')"),
        ("unpack", "a, b = 1, 2, 3"),
        ("int", "int('timeout')"),
    ):
        yield Case(group, f"bug: {name}", _python(source), K.INVALID_REQUEST, origin=O.CALLER)

    def unparsed() -> None:
        from pydantic import BaseModel

        class Answer(BaseModel):
            city: str

        Answer.model_validate({"town": 503})

    yield Case(group, "pydantic", unparsed, K.OUTPUT_VALIDATION)


class AgentError(Exception):
    """What programs call their own."""


class ToolError(Exception):
    """What tools raise."""


def _like(module: str, name: str, base: type[Exception] = Exception) -> type[Exception]:
    return type(name, (base,), {"__module__": module})


def _fact(name: str, status: int, code: str | None = None, message: str = "no", **more: Any) -> Exception:
    error = type(name, (Exception,), {"__module__": "acme.sdk"})(message)
    for key, value in {"status_code": status, "code": code, **more}.items():
        setattr(error, key, value)
    return error


def _wrapped() -> Iterator[Case]:
    group = "exam wrapped"
    limit = {"headers": {"retry-after": "9"}}
    yield Case(
        group,
        "rate limit",
        lambda: raised(RuntimeError("LLM call failed"), _fact("E", 429, "rate_limit_exceeded", **limit)),
        K.RATE_LIMIT,
        retry_after=9.0,
    )
    yield Case(
        group,
        "no quota",
        lambda: raised(
            RuntimeError("LLM call failed, try again later"), _fact("E", 429, "insufficient_quota")
        ),
        K.QUOTA_EXHAUSTED,
    )
    yield Case(
        group,
        "key, three deep",
        lambda: raised(AgentError("turn 7"), raised(AgentError("step 3"), _fact("E", 401))),
        K.AUTH,
    )
    yield Case(
        group,
        "hidden",
        lambda: raised(AgentError("turn 7"), ConnectionResetError("reset"), hide=True),
        K.UNKNOWN,
    )
    yield Case(group, "implicit", lambda: during(TimeoutError("timed out"), AgentError("turn 7")), K.TIMEOUT)
    yield Case(
        group,
        "bug in a handler",
        lambda: during(_fact("E", 503), KeyError("usage")),
        K.INVALID_REQUEST,
        origin=O.CALLER,
    )
    yield Case(
        group,
        "bug from a failure",
        lambda: raised(TypeError("no"), _fact("E", 503)),
        K.INVALID_REQUEST,
        origin=O.CALLER,
    )
    yield Case(group, "a bug below", lambda: raised(AgentError("turn 7"), TypeError("no")), K.INVALID_REQUEST)
    yield Case(
        group,
        "tool from network",
        lambda: raised(ToolError("search failed"), ConnectionError("reset")),
        K.TOOL_ERROR,
        also=(K.NETWORK,),
        origin=O.TOOL,
    )
    yield Case(
        group,
        "cancelled below",
        lambda: during(asyncio.CancelledError(), AgentError("turn 7 failed")),
        K.UNKNOWN,
        also=(K.CANCELLED,),
    )
    yield Case(
        group,
        "overflow",
        lambda: raised(AgentError("request failed with timeout"), _fact("E", 400, "context_length_exceeded")),
        K.CONTEXT_OVERFLOW,
    )

    def tenacity() -> None:
        from tenacity import retry, stop_after_attempt

        @retry(stop=stop_after_attempt(2))
        def call() -> None:
            raise _fact("E", 429, "insufficient_quota")

        call()

    yield Case(group, "tenacity", tenacity, K.QUOTA_EXHAUSTED)
    yield Case(
        group,
        "group, all later",
        lambda: ExceptionGroup("two", [TimeoutError(), ConnectionResetError()]),
        K.TIMEOUT,
        also=(K.NETWORK,),
    )
    yield Case(
        group,
        "group, one bug",
        lambda: ExceptionGroup("two", [TimeoutError(), TypeError("no")]),
        K.INVALID_REQUEST,
    )
    yield Case(
        group,
        "group in group",
        lambda: ExceptionGroup(
            "a",
            [TimeoutError(), ExceptionGroup("b", [_fact("E", 503), _fact("E", 429, "insufficient_quota")])],
        ),
        K.QUOTA_EXHAUSTED,
    )
    yield Case(
        group,
        "group, ctrl-c",
        lambda: BaseExceptionGroup("a", [TimeoutError(), KeyboardInterrupt()]),
        K.CANCELLED,
    )
    yield Case(
        group,
        "wrapped group",
        lambda: raised(AgentError("turn"), ExceptionGroup("a", [TimeoutError(), _fact("E", 401)])),
        K.AUTH,
    )

    async def tasks() -> None:
        async def fails() -> None:
            raise _fact("E", 402)

        async with asyncio.TaskGroup() as many:
            many.create_task(fails())

    yield Case(group, "task group", lambda: asyncio.run(tasks()), K.QUOTA_EXHAUSTED)
    lite = "litellm.exceptions"
    yield Case(
        group,
        "litellm: window",
        lambda: _like(lite, "ContextWindowExceededError")(
            "litellm.BadRequestError: ContextWindowExceededError: too long"
        ),
        K.CONTEXT_OVERFLOW,
    )
    yield Case(
        group,
        "litellm: policy",
        lambda: _like(lite, "ContentPolicyViolationError")("litellm.ContentPolicyViolationError: no"),
        K.CONTENT_POLICY,
    )
    yield Case(
        group,
        "litellm: budget",
        lambda: _like(lite, "BudgetExceededError")(
            "Budget has been exceeded! Current cost: 12.1, Max budget: 10.0"
        ),
        K.QUOTA_EXHAUSTED,
        also=(K.RESOURCE_EXHAUSTED,),
    )
    yield Case(
        group,
        "litellm: timeout",
        lambda: _like(lite, "Timeout")("litellm.Timeout: APITimeoutError - Request timed out."),
        K.TIMEOUT,
    )
    yield Case(
        group,
        "litellm: connection",
        lambda: _like(lite, "APIConnectionError")("litellm.APIConnectionError: Connection error."),
        K.NETWORK,
    )
    yield Case(
        group, "mcp: closed", lambda: _mcp(-32000, "Connection closed"), K.NETWORK, also=(K.TOOL_ERROR,)
    )
    yield Case(
        group,
        "mcp: parameters",
        lambda: _mcp(-32602, "Invalid params"),
        K.INVALID_REQUEST,
        also=(K.TOOL_ERROR,),
    )


def _mcp(code: int, message: str) -> Exception:
    error = _like("mcp.shared.exceptions", "MCPError")(message)
    error.error = type("ErrorData", (), {"code": code, "message": message, "data": None})()  # type: ignore[attr-defined]
    return error


TEXTS: tuple[tuple[str, K, tuple[K, ...], float | None], ...] = (
    ("Error code: 429 - Too Many Requests", K.RATE_LIMIT, (), None),
    ("HTTP 503 Service Unavailable", K.OVERLOADED, (K.SERVER_ERROR,), None),
    ("server responded with status 500", K.SERVER_ERROR, (), None),
    ("Connection reset by peer", K.NETWORK, (), None),
    ("[Errno 111] Connection refused", K.NETWORK, (), None),
    ("Temporary failure in name resolution", K.NETWORK, (), None),
    ("HTTPSConnectionPool(host='x', port=443): Read timed out. (read timeout=30)", K.TIMEOUT, (), None),
    ("upstream request timeout", K.TIMEOUT, (), None),
    ("the request took longer than 60 seconds and was aborted", K.TIMEOUT, (K.UNKNOWN,), None),
    ("This model's maximum context length is 128000 tokens, you sent 140503", K.CONTEXT_OVERFLOW, (), None),
    ("prompt is too long: 213000 tokens > 200000 maximum", K.CONTEXT_OVERFLOW, (), None),
    (
        "You exceeded your current quota, please check your plan and billing details.",
        K.QUOTA_EXHAUSTED,
        (),
        None,
    ),
    ("Insufficient credits. Add more using the console.", K.QUOTA_EXHAUSTED, (), None),
    ("Invalid API key provided", K.AUTH, (), None),
    ("401 Unauthorized", K.AUTH, (), None),
    ("overloaded_error: Overloaded", K.OVERLOADED, (), None),
    ("the model is currently overloaded with other requests", K.OVERLOADED, (), None),
    ("Rate limit reached, please try again in 20s", K.RATE_LIMIT, (), 20.0),
    ("Too many requests. Retry after 15 seconds.", K.RATE_LIMIT, (), 15.0),
    ("502 Bad Gateway", K.SERVER_ERROR, (K.OVERLOADED,), None),
    ("Internal server error", K.SERVER_ERROR, (), None),
    ("The model `gpt-9` does not exist", K.NOT_FOUND, (), None),
    ("Permission denied: '/etc/shadow'", K.PERMISSION, (), None),
    ("No space left on device", K.RESOURCE_EXHAUSTED, (), None),
    ("database disk image is malformed", K.STORAGE_CORRUPTION, (), None),
    ("The request was flagged by the content filter", K.CONTENT_POLICY, (), None),
    (
        "Peer closed connection without sending complete message body (incomplete chunked read)",
        K.NETWORK,
        (),
        None,
    ),
    # that only look like it
    ("could not connect to port 4290", K.NETWORK, (K.UNKNOWN,), None),
    ("invoice 503 not found", K.UNKNOWN, (K.NOT_FOUND,), None),
    ("timeout must be positive", K.INVALID_REQUEST, (K.UNKNOWN,), None),
    ("order 429 was shipped late", K.UNKNOWN, (), None),
    ("room 401 is taken", K.UNKNOWN, (), None),
    ("processed 500 rows before stopping", K.UNKNOWN, (), None),
    ("max_retries must be >= 0", K.INVALID_REQUEST, (K.UNKNOWN,), None),
    ("unknown option: rate_limit_per_minute", K.INVALID_REQUEST, (K.UNKNOWN,), None),
    ("option 'quota' is missing", K.INVALID_REQUEST, (K.UNKNOWN,), None),
    ("expected 3 tokens, got 4", K.UNKNOWN, (K.INVALID_REQUEST, K.OUTPUT_VALIDATION), None),
    ("user 'timeout' does not exist", K.UNKNOWN, (K.NOT_FOUND, K.INVALID_REQUEST), None),
    ("step 404 of 1000 diverged", K.UNKNOWN, (), None),
    ("rate_limit must be an int", K.INVALID_REQUEST, (K.UNKNOWN,), None),
    ("connection_string is required", K.INVALID_REQUEST, (K.UNKNOWN,), None),
    ("retry_after may not be negative", K.INVALID_REQUEST, (K.UNKNOWN,), None),
    ("the employee quota for department sales has not been met", K.UNKNOWN, (), None),
    ("cannot cancel a finished order", K.UNKNOWN, (K.INVALID_REQUEST,), None),
    ("this form is overloaded with fields", K.UNKNOWN, (K.INVALID_REQUEST,), None),
    ("flight UA 502 to Denver has no seats", K.UNKNOWN, (), None),
    ("the half-time out of bounds rule was not applied", K.UNKNOWN, (), None),
    (
        "network.yaml: unexpected indent in line 503",
        K.UNKNOWN,
        (K.INVALID_REQUEST, K.OUTPUT_VALIDATION),
        None,
    ),
    ("no timeout was configured for worker 7", K.UNKNOWN, (K.INVALID_REQUEST,), None),
    ("retries and timeout are mutually exclusive", K.INVALID_REQUEST, (K.UNKNOWN,), None),
    ("the connection between smoking and cancer was reset in the draft", K.UNKNOWN, (), None),
    (
        "HTTP status 503 is not in the list of allowed codes",
        K.UNKNOWN,
        (K.INVALID_REQUEST, K.OVERLOADED, K.SERVER_ERROR),
        None,
    ),
)


# Words of failures that tell of none: names of settings, other senses, other worlds.
LOOKALIKES = (
    "the meeting timed out of the calendar view",
    "please set timeout to a number",
    "timeout and deadline cannot both be given",
    "unexpected keyword argument 'timeout'",
    "timeout: expected float, got str",
    "timeouts are disabled in this build",
    "invalid timeout value '5x'",
    "the connection parameter is missing",
    "connection name 'main' is already registered",
    "no connection registered under 'main'",
    "connection pool size must be at least 1",
    "network 'bridge' already exists",
    "the network name is invalid",
    "rate limit must be greater than zero",
    "rate limits are configured in limits.toml",
    "unknown rate limit scope 'galaxy'",
    "invalid value for rate_limit: -1",
    "missing header Retry-After in fixture",
    "ticket 503 is closed",
    "chapter 429 has no title",
    "429 apples were counted but 430 expected",
    "error in line 500 of report.csv",
    "found 502 duplicate rows",
    "page 404 of the manual is blank",
    "user 401 has no email",
    "room 500 does not have a projector",
    "the value 529 is not prime",
    "port 5030 is already used by service overloaded-queue",
    "class Overloaded has no attribute x",
    "the truck is overloaded",
    "schedule overloaded: teacher has 9 lessons",
    "internal error margin too small",
    "server name must not be empty",
    "server error page template missing",
    "the server list is empty",
    "bad gateway address '10.0.0'",
    "invalid gateway 'x'",
    "service unavailable_dates must be a list",
    "unavailable product: 17",
    "item temporarily unavailable in store 12",
    "too many requests for vacation in June",
    "throttle position sensor reading out of range",
    "please slow down, said the sign",
    "high demand for tickets is expected",
    "connection closed flag expected to be bool",
    "cannot connect table A with table B: no foreign key",
    "could not connect node a to node b in graph",
    "failed to connect the dots",
    "broken pipe in the bathroom reported",
    "reset by peer review board",
    "the deadline exceeded the project end date",
    "deadline must be after start",
    "the operation timeout_s was ignored",
    "time limit for the exam is 60 minutes",
    "max retries must be an integer",
    "internal server error handler is not registered",
    "no handler for status 503",
    "expected status 200 but the mock returned 'overloaded'",
    "retry policy 'rate_limit' not found",
    "unknown error class: ConnectionError",
    "ReadTimeout is not a subclass of Exception",
    "hostname must be a string",
    "dns lookup table has wrong checksum length",
    "unsupported proxy scheme 'foo'",
    "proxy error budget must be positive",
)
# As libraries and services write them.
REPORTS: tuple[tuple[K, str], ...] = (
    (K.TIMEOUT, "Request timed out."),
    (K.TIMEOUT, "request to https://api.x.com timed out after 30s"),
    (K.TIMEOUT, "The read operation timed out"),
    (K.TIMEOUT, "Operation timed out after 30001 milliseconds with 0 bytes received"),
    (K.TIMEOUT, "context deadline exceeded"),
    (K.TIMEOUT, "Deadline Exceeded"),
    (K.TIMEOUT, "504 Gateway Timeout"),
    (K.TIMEOUT, "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"),
    (K.TIMEOUT, "Timeout waiting for response from model"),
    (K.TIMEOUT, "timeout"),
    (K.TIMEOUT, "ReadTimeout"),
    (K.TIMEOUT, "Navigation timeout of 30000 ms exceeded"),
    (K.OVERLOADED, "Overloaded"),
    (K.OVERLOADED, "The server is overloaded or not ready yet."),
    (K.OVERLOADED, "Our servers are currently overloaded. Please try again later."),
    (K.OVERLOADED, "That model is currently overloaded with other requests. You can retry your request"),
    (K.OVERLOADED, "Engine overloaded"),
    (K.OVERLOADED, "backend is overloaded, retry later"),
    (K.OVERLOADED, "anthropic: overloaded_error"),
    (K.OVERLOADED, "API overloaded"),
    (K.OVERLOADED, "The service is overloaded"),
    (K.OVERLOADED, "Error 529: overloaded"),
    (K.OVERLOADED, "503 Service Temporarily Unavailable"),
    (K.OVERLOADED, "Model is overloaded, please wait"),
    (K.OVERLOADED, "System overloaded"),
    (K.OVERLOADED, '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'),
    (K.RATE_LIMIT, "rate limited"),
    (K.RATE_LIMIT, "Rate limit exceeded"),
    (K.RATE_LIMIT, "Rate limit exceeded: 60 requests per minute"),
    (K.RATE_LIMIT, "429 Client Error: Too Many Requests for url: https://x"),
    (K.RATE_LIMIT, "ThrottlingException: Rate exceeded"),
    (K.RATE_LIMIT, "Request was throttled. Expected available in 12 seconds."),
    (K.NETWORK, "Connection error."),
    (K.NETWORK, "Cannot connect to host api.x.com:443 ssl:default [Connect call failed]"),
    (K.NETWORK, "All connection attempts failed"),
    (K.NETWORK, "Connection aborted."),
    (K.NETWORK, "Server disconnected without sending a response."),
    (K.NETWORK, "connection closed unexpectedly"),
    (K.NETWORK, "failed to connect to all addresses"),
    (K.NETWORK, "ECONNRESET"),
    (K.NETWORK, "read: connection reset by peer"),
    (K.NETWORK, "network is unreachable"),
    (K.SERVER_ERROR, "500 Server Error: Internal Server Error for url: https://x"),
    (K.SERVER_ERROR, "internal error"),
    (K.SERVER_ERROR, "The server had an error processing your request"),
    (K.SERVER_ERROR, "HTTP Error 500: Internal Server Error"),
    (K.SERVER_ERROR, "Received status code 502 from upstream"),
)


def lookalikes() -> Iterator[Case]:
    """Some of them a reader of words cannot tell; counted apart, by what would be repeated."""
    for text in LOOKALIKES:
        yield Case("exam lookalikes", text, lambda text=text: RuntimeError(text), K.UNKNOWN)  # type: ignore[misc]


def _texts() -> Iterator[Case]:
    for kind, report in REPORTS:
        yield Case("exam reports", report, lambda text=report: RuntimeError(text), kind)  # type: ignore[misc]
    for text, kind, also, wait in TEXTS:
        yield Case("exam texts", text, lambda text=text: RuntimeError(text), kind, None, wait, also)  # type: ignore[misc]


def cases() -> Iterator[Case]:
    """Those of a library that is not there are left out."""
    for build in (
        lambda: _http("httpx"),
        lambda: _http("httpx2"),
        _requests,
        _aiohttp,
        _urllib,
        _machine,
        _wrapped,
        _texts,
    ):
        try:
            yield from build()
        except ImportError:
            continue
