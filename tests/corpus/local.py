"""Failures without a provider: Python's own, our own, and what wraps or gathers others."""

from __future__ import annotations

import asyncio
import binascii
import concurrent.futures
import concurrent.futures.process
import errno
import gzip
import http.client
import json
import os
import pickle
import queue
import re
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.error
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from techrevati.runtime.failures import FailureKind as K
from tests.corpus.case import Case, during, raised

_O = os.strerror


def _files() -> Iterator[Case]:
    table = (
        (errno.ENOSPC, K.RESOURCE_EXHAUSTED), (errno.EDQUOT, K.RESOURCE_EXHAUSTED),
        (errno.EMFILE, K.RESOURCE_EXHAUSTED), (errno.ENFILE, K.RESOURCE_EXHAUSTED),
        (errno.ENOMEM, K.RESOURCE_EXHAUSTED), (errno.EFBIG, K.RESOURCE_EXHAUSTED),
        (errno.EACCES, K.PERMISSION), (errno.EPERM, K.PERMISSION), (errno.EROFS, K.PERMISSION),
        (errno.ENOENT, K.NOT_FOUND), (errno.EEXIST, K.INVALID_REQUEST), (errno.EISDIR, K.INVALID_REQUEST),
        (errno.ENOTDIR, K.INVALID_REQUEST), (errno.EINVAL, K.INVALID_REQUEST), (errno.EBADF, K.INVALID_REQUEST),
        (errno.ENAMETOOLONG, K.INVALID_REQUEST), (errno.ENOTEMPTY, K.INVALID_REQUEST),
        (errno.EIO, K.STORAGE_CORRUPTION),
        (errno.ECONNREFUSED, K.NETWORK), (errno.ECONNRESET, K.NETWORK), (errno.ECONNABORTED, K.NETWORK),
        (errno.EPIPE, K.NETWORK), (errno.ENETUNREACH, K.NETWORK), (errno.EHOSTUNREACH, K.NETWORK),
        (errno.ENETDOWN, K.NETWORK), (errno.EHOSTDOWN, K.NETWORK), (errno.ENOTCONN, K.NETWORK),
        (errno.ENETRESET, K.NETWORK), (errno.ESHUTDOWN, K.NETWORK),
        (errno.ETIMEDOUT, K.TIMEOUT),
    )  # fmt: skip
    for number, kind in table:
        yield Case(
            "OSError", errno.errorcode[number], lambda number=number: OSError(number, _O(number)), kind
        )
    yield Case(
        "OSError",
        "EADDRINUSE",
        lambda: OSError(errno.EADDRINUSE, _O(errno.EADDRINUSE)),
        K.RESOURCE_EXHAUSTED,
        also=(K.INVALID_REQUEST, K.NETWORK),
        retryable=False,
    )
    yield Case(
        "OSError",
        "EAGAIN",
        lambda: BlockingIOError(errno.EAGAIN, _O(errno.EAGAIN)),
        K.RESOURCE_EXHAUSTED,
        also=(K.UNKNOWN,),
    )
    yield Case("OSError", "read a folder", lambda: Path("/").read_text(), K.INVALID_REQUEST)  # type: ignore[return-value]
    yield Case("OSError", "no such file", lambda: Path("/no/such/file").read_text(), K.NOT_FOUND)  # type: ignore[return-value]
    yield Case("OSError", "nobody listens", lambda: socket.create_connection(("127.0.0.1", 1)), K.NETWORK)  # type: ignore[return-value]
    yield Case("OSError", "no such host", lambda: socket.getaddrinfo("no-such-host.invalid", 80), K.NETWORK)  # type: ignore[return-value]
    yield Case(
        "OSError",
        "gaierror again",
        lambda: socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        K.NETWORK,
    )
    yield Case("OSError", "herror", lambda: socket.herror(1, "Unknown host"), K.NETWORK)
    yield Case("OSError", "socket timeout", lambda: TimeoutError("timed out"), K.TIMEOUT)
    yield Case(
        "OSError",
        "text only",
        lambda: OSError("cannot identify image file 'x.png'"),
        K.UNKNOWN,
        also=(K.INVALID_REQUEST, K.STORAGE_CORRUPTION),
    )
    for kind in (
        BrokenPipeError,
        ConnectionResetError,
        ConnectionRefusedError,
        ConnectionAbortedError,
        ConnectionError,
    ):
        yield Case("OSError", kind.__name__, lambda kind=kind: kind(), K.NETWORK)


def _wire() -> Iterator[Case]:
    def certificate(text: str) -> BaseException:
        return ssl.SSLCertVerificationError(
            1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {text} (_ssl.c:1006)"
        )

    for text in (
        "certificate has expired",
        "self-signed certificate",
        "unable to get local issuer certificate",
        "Hostname mismatch, certificate is not valid for 'a'.",
    ):
        yield Case("ssl", text, lambda text=text: certificate(text), K.NETWORK, retryable=False)
    yield Case(
        "ssl",
        "URLError around a certificate",
        lambda: urllib.error.URLError(certificate("certificate has expired")),
        K.NETWORK,
        retryable=False,
    )  # type: ignore[arg-type]
    yield Case(
        "ssl",
        "wrapped certificate",
        lambda: raised(RuntimeError("request failed"), certificate("certificate has expired")),
        K.NETWORK,
        retryable=False,
    )
    yield Case(
        "ssl",
        "connection error over a certificate",
        lambda: raised(
            type("APIConnectionError", (Exception,), {"__module__": "openai"})("Connection error."),
            certificate("certificate has expired"),
        ),
        K.NETWORK,
        retryable=False,
    )
    yield Case(
        "ssl",
        "text of a certificate",
        lambda: RuntimeError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        K.NETWORK,
        retryable=False,
    )
    yield Case(
        "ssl",
        "eof",
        lambda: ssl.SSLEOFError(8, "EOF occurred in violation of protocol (_ssl.c:1006)"),
        K.NETWORK,
    )
    yield Case(
        "ssl",
        "closed",
        lambda: ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed (EOF)"),
        K.NETWORK,
    )
    yield Case(
        "ssl",
        "handshake timeout",
        lambda: TimeoutError("_ssl.c:989: The handshake operation timed out"),
        K.TIMEOUT,
    )
    yield Case("http.client", "incomplete", lambda: http.client.IncompleteRead(b"x", 9), K.NETWORK)
    yield Case(
        "http.client",
        "disconnected",
        lambda: http.client.RemoteDisconnected("Remote end closed connection without response"),
        K.NETWORK,
    )
    yield Case(
        "http.client",
        "status line",
        lambda: http.client.BadStatusLine("what"),
        K.NETWORK,
        also=(K.SERVER_ERROR,),
    )
    yield Case(
        "http.client", "url", lambda: http.client.InvalidURL("nonnumeric port: 'x'"), K.INVALID_REQUEST
    )
    yield Case(
        "http.client",
        "used wrongly",
        lambda: http.client.CannotSendRequest("Request-sent"),
        K.INVALID_REQUEST,
        also=(K.NETWORK,),
        retryable=False,
    )
    yield Case(
        "http.client",
        "line too long",
        lambda: http.client.LineTooLong("header line"),
        K.NETWORK,
        also=(K.SERVER_ERROR,),
    )
    yield Case(
        "urllib",
        "too short",
        lambda: urllib.error.ContentTooShortError("retrieval incomplete", None),
        K.NETWORK,
    )  # type: ignore[arg-type]
    yield Case(
        "urllib",
        "refused",
        lambda: urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")),
        K.NETWORK,
    )
    yield Case(
        "urllib",
        "timed out",
        lambda: urllib.error.URLError(TimeoutError("timed out")),
        K.TIMEOUT,
        also=(K.NETWORK,),
    )
    yield Case(
        "urllib",
        "unknown type",
        lambda: urllib.error.URLError("unknown url type: what"),
        K.INVALID_REQUEST,
        also=(K.NETWORK,),
        retryable=False,
    )


def _stopping() -> Iterator[Case]:
    for kind in (
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
        KeyboardInterrupt,
        SystemExit,
        GeneratorExit,
    ):
        yield Case("cancelled", f"{kind.__module__}.{kind.__name__}", lambda kind=kind: kind(), K.CANCELLED)

    def of_asyncio() -> None:
        async def main() -> None:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(5)

        asyncio.run(main())

    def waited() -> None:
        async def main() -> None:
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)

        asyncio.run(main())

    def future() -> None:
        concurrent.futures.Future[None]().result(timeout=0.001)

    yield Case("cancelled", "asyncio.timeout", of_asyncio, K.TIMEOUT)
    yield Case("cancelled", "wait_for", waited, K.TIMEOUT)
    yield Case("cancelled", "a future", future, K.TIMEOUT)
    yield Case("cancelled", "bare", lambda: TimeoutError(), K.TIMEOUT)
    yield Case(
        "cancelled",
        "over a cancelled cause",
        lambda: raised(RuntimeError("agent stopped"), asyncio.CancelledError()),
        K.UNKNOWN,
        also=(K.CANCELLED,),
    )


class _Bug:
    pass


def _bugs() -> Iterator[Case]:
    calls: tuple[Callable[[], Any], ...] = (
        lambda: {}["timeout"], lambda: [][0], lambda: _Bug().rate_limit,  # type: ignore[attr-defined]
        lambda: int("503"[:0]), lambda: len(5), lambda: 1 / 0, lambda: "a" + 1,  # type: ignore[arg-type, operator]
        lambda: _Bug(timeout=5), lambda: b"\xff".decode(), lambda: "\ud800".encode(),  # type: ignore[call-arg]
        lambda: float("timeout"), lambda: __import__("math").factorial(-1), lambda: next(iter(())),
        lambda: json.dumps({1, 2}), lambda: struct.unpack("i", b""), lambda: re.compile("("),
        lambda: binascii.unhexlify("x"), lambda: compile("1 +", "x", "exec"), lambda: exec("no_such_name"),  # noqa: S102
        lambda: setattr(5, "a", 1), lambda: [*5], lambda: {}.pop("429"), lambda: open("/tmp/x", "what"),  # noqa: SIM115
        lambda: __import__("no_such_module_at_all"), lambda: asyncio.run(5),  # type: ignore[arg-type]
        lambda: __import__("decimal").Decimal("x"), lambda: __import__("enum").Enum("E", "a")("b"),
        lambda: sqlite3.connect(":memory:").execute("select * from nowhere"),
        lambda: sqlite3.connect(":memory:").execute("selekt"),
        lambda: sqlite3.connect(":memory:").executescript("create table a(b unique); insert into a values(1), (1)"),
        lambda: __import__("tomllib").loads("= 5"), lambda: __import__("datetime").datetime(1, 99, 1),
    )  # fmt: skip
    for number, call in enumerate(calls):
        yield Case(
            "bug",
            str(number),
            call,
            K.INVALID_REQUEST,
            also=(K.NOT_FOUND, K.OUTPUT_VALIDATION, K.STORAGE_CORRUPTION),
        )
    for kind in (
        AssertionError,
        NotImplementedError,
        NameError,
        UnboundLocalError,
        LookupError,
        OverflowError,
        ImportError,
    ):
        yield Case("bug", kind.__name__, lambda kind=kind: kind("connection timeout 503"), K.INVALID_REQUEST)
    for text in ("429 too many requests", "timed out", "rate_limit_exceeded", "connection refused"):
        yield Case("bug", f"TypeError: {text}", lambda text=text: TypeError(text), K.INVALID_REQUEST)
        yield Case("bug", f"KeyError: {text}", lambda text=text: KeyError(text), K.INVALID_REQUEST)
        yield Case(
            "bug", f"AttributeError: {text}", lambda text=text: AttributeError(text), K.INVALID_REQUEST
        )


def _data() -> Iterator[Case]:
    yield Case("data", "json", lambda: json.loads("{'a': 1}"), K.OUTPUT_VALIDATION)
    yield Case("data", "json, empty", lambda: json.loads(""), K.OUTPUT_VALIDATION)
    yield Case("data", "json, cut", lambda: json.loads('{"a": [1, 2'), K.OUTPUT_VALIDATION)
    yield Case(
        "data",
        "json raised from",
        lambda: raised(ValueError("bad arguments"), json.JSONDecodeError("x", "y", 0)),
        K.OUTPUT_VALIDATION,
        also=(K.INVALID_REQUEST,),
    )
    yield Case("data", "pickle", lambda: pickle.loads(b"nonsense"), K.STORAGE_CORRUPTION)  # noqa: S301
    yield Case("data", "zlib", lambda: zlib.decompress(b"nonsense"), K.STORAGE_CORRUPTION)  # type: ignore[return-value]
    yield Case("data", "gzip", lambda: gzip.decompress(b"nonsense"), K.STORAGE_CORRUPTION)  # type: ignore[return-value]

    def archive() -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"nonsense" * 9)
            file.flush()
            zipfile.ZipFile(file.name)

    yield Case("data", "zip", archive, K.STORAGE_CORRUPTION)
    try:
        import pydantic
    except ImportError:
        return

    class Answer(pydantic.BaseModel):
        timeout: int

    yield Case("data", "pydantic", lambda: Answer(timeout="503 soon"), K.OUTPUT_VALIDATION)  # type: ignore[arg-type, return-value]
    yield Case("data", "pydantic json", lambda: Answer.model_validate_json("{"), K.OUTPUT_VALIDATION)  # type: ignore[return-value]
    yield Case("data", "pydantic missing", lambda: Answer.model_validate({}), K.OUTPUT_VALIDATION)  # type: ignore[return-value]
    yield Case(
        "data",
        "pydantic wrapped",
        lambda: raised(
            RuntimeError("could not build the answer"),
            Case("", "", lambda: Answer(timeout="x"), K.UNKNOWN).failure(),
        ),
        K.OUTPUT_VALIDATION,
    )  # type: ignore[arg-type, return-value]


def _stores() -> Iterator[Case]:
    def locked() -> None:
        with tempfile.TemporaryDirectory() as folder:
            one, two = (sqlite3.connect(f"{folder}/a", timeout=0) for _ in range(2))
            try:
                one.execute("begin exclusive")
                two.execute("begin exclusive")
            finally:
                one.close()
                two.close()

    def corrupt() -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "a").write_bytes(b"this is no database at all, believe me " * 200)
            store = sqlite3.connect(f"{folder}/a")
            try:
                store.execute("select * from x")
            finally:
                store.close()

    def full() -> None:
        with sqlite3.connect(":memory:") as store:
            store.execute("pragma max_page_count = 2")
            store.execute("create table a (b)")
            store.execute("insert into a values (zeroblob(1000000))")

    yield Case("sqlite3", "locked", locked, K.TIMEOUT, also=(K.RESOURCE_EXHAUSTED,))
    yield Case("sqlite3", "corrupt", corrupt, K.STORAGE_CORRUPTION)
    yield Case("sqlite3", "full", full, K.RESOURCE_EXHAUSTED)
    yield Case(
        "sqlite3",
        "cannot open",
        lambda: sqlite3.connect("/no/such/folder/a"),
        K.INVALID_REQUEST,
        also=(K.NOT_FOUND,),
    )
    yield Case(
        "sqlite3",
        "closed",
        lambda: sqlite3.ProgrammingError("Cannot operate on a closed database."),
        K.INVALID_REQUEST,
    )
    yield Case(
        "sqlite3",
        "malformed by text",
        lambda: sqlite3.DatabaseError("database disk image is malformed"),
        K.STORAGE_CORRUPTION,
    )
    yield Case(
        "sqlite3",
        "disk by text",
        lambda: sqlite3.OperationalError("database or disk is full"),
        K.RESOURCE_EXHAUSTED,
    )
    yield Case(
        "sqlite3", "i/o by text", lambda: sqlite3.OperationalError("disk I/O error"), K.STORAGE_CORRUPTION
    )
    yield Case(
        "sqlite3",
        "read-only by text",
        lambda: sqlite3.OperationalError("attempt to write a readonly database"),
        K.INVALID_REQUEST,
        also=(K.PERMISSION,),
    )


def _machine() -> Iterator[Case]:
    def deep() -> None:
        deep()

    yield Case("machine", "memory", MemoryError, K.RESOURCE_EXHAUSTED)
    yield Case(
        "machine",
        "memory really",
        lambda: b"x" * sys.maxsize,
        K.RESOURCE_EXHAUSTED,
        also=(K.INVALID_REQUEST,),
    )  # type: ignore[return-value]
    yield Case("machine", "recursion", deep, K.RESOURCE_EXHAUSTED)
    yield Case("machine", "threads", lambda: RuntimeError("can't start new thread"), K.RESOURCE_EXHAUSTED)
    yield Case("machine", "queue", lambda: queue.Queue(1).put_nowait(1) or queue.Full(), K.RESOURCE_EXHAUSTED)
    yield Case("machine", "asyncio queue", asyncio.QueueFull, K.RESOURCE_EXHAUSTED)
    yield Case(
        "machine",
        "pool",
        lambda: concurrent.futures.process.BrokenProcessPool(
            "A process in the process pool was terminated abruptly"
        ),
        K.RESOURCE_EXHAUSTED,
        also=(K.UNKNOWN,),
    )
    yield Case("machine", "barrier", threading.BrokenBarrierError, K.UNKNOWN)
    yield Case(
        "machine",
        "closed loop",
        lambda: RuntimeError("Event loop is closed"),
        K.UNKNOWN,
        also=(K.INVALID_REQUEST,),
    )
    yield Case(
        "machine",
        "after shutdown",
        lambda: RuntimeError("cannot schedule new futures after shutdown"),
        K.UNKNOWN,
        also=(K.INVALID_REQUEST, K.CANCELLED),
    )
    yield Case(
        "machine",
        "torch",
        lambda: type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})(
            "CUDA out of memory. Tried to allocate 2.00 GiB"
        ),
        K.RESOURCE_EXHAUSTED,
    )
    run = subprocess.run
    yield Case(
        "process",
        "exit",
        lambda: run([sys.executable, "-c", "raise SystemExit(3)"], check=True),
        K.TOOL_ERROR,
    )  # type: ignore[return-value]
    yield Case(
        "process",
        "timeout",
        lambda: run([sys.executable, "-c", "import time; time.sleep(9)"], timeout=0.01, check=True),
        K.TIMEOUT,
    )  # type: ignore[return-value]
    yield Case("process", "signal", lambda: subprocess.CalledProcessError(-9, ["tool"]), K.TOOL_ERROR)
    yield Case(
        "process",
        "error text with 503",
        lambda: subprocess.CalledProcessError(1, ["curl"], b"", b"503 Service Unavailable"),
        K.TOOL_ERROR,
    )
    yield Case("process", "no program", lambda: run(["/no/such/program"], check=True), K.NOT_FOUND)  # type: ignore[return-value]


def _named(name: str, *bases: type, text: str = "no", **facts: object) -> BaseException:
    error: BaseException = type(name, bases or (Exception,), {"__module__": "somebody.elses"})(text)
    error.__dict__.update(facts)
    return error


def _foreign() -> Iterator[Case]:
    """Classes of packages that are not installed here, by what they carry."""
    for status, kind, also in (
        (400, K.INVALID_REQUEST, ()), (401, K.AUTH, ()), (402, K.QUOTA_EXHAUSTED, ()), (403, K.PERMISSION, ()),
        (404, K.NOT_FOUND, ()), (405, K.INVALID_REQUEST, ()), (406, K.INVALID_REQUEST, ()), (407, K.AUTH, (K.NETWORK,)),
        (408, K.TIMEOUT, ()), (409, K.SERVER_ERROR, (K.INVALID_REQUEST,)), (410, K.NOT_FOUND, ()),
        (411, K.INVALID_REQUEST, ()), (412, K.INVALID_REQUEST, ()), (413, K.CONTEXT_OVERFLOW, ()),
        (414, K.INVALID_REQUEST, (K.CONTEXT_OVERFLOW,)), (415, K.INVALID_REQUEST, ()), (416, K.INVALID_REQUEST, ()),
        (422, K.INVALID_REQUEST, ()), (423, K.SERVER_ERROR, (K.INVALID_REQUEST,)), (424, K.SERVER_ERROR, (K.INVALID_REQUEST,)),
        (425, K.SERVER_ERROR, ()), (426, K.INVALID_REQUEST, ()), (428, K.INVALID_REQUEST, ()), (429, K.RATE_LIMIT, ()),
        (431, K.INVALID_REQUEST, (K.CONTEXT_OVERFLOW,)), (451, K.PERMISSION, (K.CONTENT_POLICY,)), (499, K.CANCELLED, ()),
        (500, K.SERVER_ERROR, ()), (502, K.SERVER_ERROR, (K.OVERLOADED,)), (503, K.OVERLOADED, ()), (504, K.TIMEOUT, ()),
        (520, K.SERVER_ERROR, ()), (522, K.SERVER_ERROR, (K.TIMEOUT, K.NETWORK)), (524, K.TIMEOUT, ()), (529, K.OVERLOADED, ()),
        (598, K.SERVER_ERROR, (K.TIMEOUT,)),
    ):  # fmt: skip
        yield Case(
            "status",
            f"status_code {status}",
            lambda status=status: _named("ApiError", status_code=status),
            kind,
            also=also,
        )
        yield Case(
            "status",
            f"response {status}",
            lambda status=status: _named(
                "SomeError", response=type("R", (), {"status_code": status, "headers": {}})()
            ),
            kind,
            also=also,
        )
        yield Case(
            "status",
            f"text {status}",
            lambda status=status: Exception(f"Request failed with status code {status}"),
            kind,
            also=also,
        )
    for status in (501, 505):
        yield Case(
            "status",
            f"status_code {status}",
            lambda status=status: _named("ApiError", status_code=status),
            K.SERVER_ERROR,
            also=(K.INVALID_REQUEST,),
            retryable=False,
        )
    names = (
        ("RateLimitError", K.RATE_LIMIT), ("RateLimitExceeded", K.RATE_LIMIT), ("TooManyRequests", K.RATE_LIMIT),
        ("ThrottlingError", K.RATE_LIMIT), ("AuthenticationError", K.AUTH), ("UnauthorizedError", K.AUTH),
        ("PermissionDeniedError", K.PERMISSION), ("ForbiddenError", K.PERMISSION), ("NotFoundError", K.NOT_FOUND),
        ("BadRequestError", K.INVALID_REQUEST), ("InvalidRequestError", K.INVALID_REQUEST),
        ("ServiceUnavailableError", K.OVERLOADED), ("OverloadedError", K.OVERLOADED), ("InternalServerError", K.SERVER_ERROR),
        ("APIConnectionError", K.NETWORK), ("APITimeoutError", K.TIMEOUT), ("ReadTimeout", K.TIMEOUT), ("ConnectTimeout", K.TIMEOUT),
        ("ContextWindowExceededError", K.CONTEXT_OVERFLOW), ("ContentPolicyViolationError", K.CONTENT_POLICY),
        ("ContentFilterError", K.CONTENT_POLICY), ("ToolError", K.TOOL_ERROR), ("ToolExecutionError", K.TOOL_ERROR),
        ("OutputParserException", K.OUTPUT_VALIDATION), ("ValidationError", K.OUTPUT_VALIDATION),
        ("QuotaExceededError", K.QUOTA_EXHAUSTED), ("InsufficientQuotaError", K.QUOTA_EXHAUSTED),
        ("BillingError", K.QUOTA_EXHAUSTED), ("DeadlineExceeded", K.TIMEOUT), ("ServiceUnavailable", K.OVERLOADED),
        ("BadGateway", K.SERVER_ERROR), ("GatewayTimeout", K.TIMEOUT), ("Unauthenticated", K.AUTH),
        ("PermissionDenied", K.PERMISSION), ("InvalidArgument", K.INVALID_REQUEST), ("ContextLengthExceeded", K.CONTEXT_OVERFLOW),
        ("GuardrailTripwireTriggered", K.CONTENT_POLICY), ("MaxTurnsExceeded", K.RESOURCE_EXHAUSTED),
        ("MaxIterationsExceeded", K.RESOURCE_EXHAUSTED), ("ModelNotFoundError", K.NOT_FOUND),
        ("StructuredOutputError", K.OUTPUT_VALIDATION), ("CancelledError", K.CANCELLED),
        ("ServerDisconnectedError", K.NETWORK), ("DNSLookupError", K.NETWORK), ("OutOfMemoryError", K.RESOURCE_EXHAUSTED),
    )  # fmt: skip
    for name, kind in names:
        yield Case("class name", name, lambda name=name: _named(name), kind)


def _ours() -> Iterator[Case]:
    import techrevati.runtime as runtime

    def made(name: str, *args: Any, **more: Any) -> Callable[[], BaseException]:
        return lambda: getattr(runtime, name)(*args, **more)

    yield Case("ours", "open circuit", made("CircuitOpenError", "openai", 12.5), K.OVERLOADED, None, 12.5)
    yield Case("ours", "budget", made("BudgetExceededError", 1.0, 2.0), K.RESOURCE_EXHAUSTED)
    yield Case(
        "ours",
        "around a rate limit",
        lambda: raised(
            RuntimeError("turn failed"),
            _named("RateLimitError", status_code=429, headers={"retry-after": "3"}),
        ),
        K.RATE_LIMIT,
        None,
        3.0,
    )

    def of_type(name: str, *bases: type) -> BaseException:
        found = getattr(runtime, name, None)
        if found is None:
            found = type(name, bases or (Exception,), {"__module__": "techrevati.runtime.somewhere"})
        return found.__new__(found)

    for name, kind, retryable in (
        ("TurnTimeoutError", K.TIMEOUT, None), ("MaxIterationsExceededError", K.RESOURCE_EXHAUSTED, None),
        ("PermissionDeniedError", K.PERMISSION, None), ("GuardrailViolatedError", K.CONTENT_POLICY, None),
        ("InvalidTransitionError", K.INVALID_REQUEST, None), ("SessionEndedError", K.INVALID_REQUEST, None),
        ("DeadlineExceededError", K.TIMEOUT, False), ("NoTargetError", K.OVERLOADED, None),
    ):  # fmt: skip
        yield Case("ours", name, lambda name=name: of_type(name), kind, retryable)


def _chains() -> Iterator[Case]:
    def limited(wait: str | None = None) -> BaseException:
        return _named(
            "RateLimitError", text="slow down", status_code=429, headers={"retry-after": wait} if wait else {}
        )

    def quota() -> BaseException:
        return _named("RateLimitError", text="no", status_code=429, code="insufficient_quota")

    def deep(error: BaseException, links: int) -> BaseException:
        for number in range(links):
            error = raised(RuntimeError(f"step {number} failed"), error)
        return error

    yield Case(
        "chain",
        "wrapped",
        lambda: raised(RuntimeError("agent failed"), limited("2")),
        K.RATE_LIMIT,
        None,
        2.0,
    )
    yield Case(
        "chain",
        "wrapped in a custom class",
        lambda: raised(_named("AgentError"), limited("2")),
        K.RATE_LIMIT,
        None,
        2.0,
    )
    yield Case(
        "chain", "wrapped quota", lambda: raised(RuntimeError("rate limited"), quota()), K.QUOTA_EXHAUSTED
    )
    yield Case("chain", "three deep", lambda: deep(limited("2"), 3), K.RATE_LIMIT, None, 2.0)
    yield Case("chain", "eight deep", lambda: deep(ConnectionResetError(), 8), K.NETWORK)
    yield Case(
        "chain",
        "context",
        lambda: during(limited("2"), RuntimeError("agent failed")),
        K.RATE_LIMIT,
        None,
        2.0,
    )
    yield Case(
        "chain", "from None", lambda: raised(RuntimeError("agent failed"), limited("2"), hide=True), K.UNKNOWN
    )
    yield Case(
        "chain",
        "text over from None",
        lambda: raised(RuntimeError("503 Service Unavailable"), quota(), hide=True),
        K.OVERLOADED,
    )
    yield Case(
        "chain",
        "wrapped bug",
        lambda: raised(RuntimeError("agent failed"), TypeError("x is None")),
        K.INVALID_REQUEST,
    )
    yield Case("chain", "bug while handling", lambda: during(limited(), KeyError("retry")), K.INVALID_REQUEST)
    yield Case(
        "chain",
        "bug caused by a timeout",
        lambda: raised(TypeError("no answer"), TimeoutError()),
        K.INVALID_REQUEST,
    )
    yield Case(
        "chain",
        "value error around a timeout",
        lambda: raised(ValueError("no answer"), TimeoutError()),
        K.TIMEOUT,
        also=(K.INVALID_REQUEST,),
    )
    yield Case(
        "chain",
        "tool around a timeout",
        lambda: raised(_named("ToolError", text="search failed"), TimeoutError()),
        K.TOOL_ERROR,
    )
    yield Case(
        "chain",
        "tool around 503",
        lambda: raised(_named("ToolExecutionError"), _named("ApiError", status_code=503)),
        K.TOOL_ERROR,
    )
    yield Case(
        "chain",
        "connection over a reset",
        lambda: raised(_named("APIConnectionError", text="Connection error."), ConnectionResetError()),
        K.NETWORK,
    )
    yield Case(
        "chain",
        "connection over a timeout",
        lambda: raised(_named("APIConnectionError", text="Connection error."), TimeoutError()),
        K.TIMEOUT,
        also=(K.NETWORK,),
    )
    yield Case(
        "chain",
        "connection over a bug",
        lambda: raised(_named("APIConnectionError", text="Connection error."), ValueError("bad header")),
        K.INVALID_REQUEST,
        also=(K.NETWORK,),
    )
    yield Case(
        "chain", "timeout over cancelled", lambda: raised(TimeoutError(), asyncio.CancelledError()), K.TIMEOUT
    )
    yield Case(
        "chain",
        "cancelled over a timeout",
        lambda: during(TimeoutError(), asyncio.CancelledError()),
        K.CANCELLED,
    )
    yield Case(
        "chain",
        "corrupt store",
        lambda: raised(
            RuntimeError("could not load"), sqlite3.DatabaseError("database disk image is malformed")
        ),
        K.STORAGE_CORRUPTION,
    )

    def group(*errors: Exception) -> BaseException:
        return raised(ExceptionGroup("several failed", errors))

    yield Case("group", "limits", lambda: group(limited("2"), limited("9")), K.RATE_LIMIT, None, 9.0)  # type: ignore[arg-type]
    yield Case("group", "limit and key", lambda: group(limited("2"), _named("E", status_code=401)), K.AUTH)  # type: ignore[arg-type]
    yield Case("group", "limit and bug", lambda: group(limited("2"), TypeError("x")), K.INVALID_REQUEST)  # type: ignore[arg-type]
    yield Case("group", "limit and quota", lambda: group(limited("2"), quota()), K.QUOTA_EXHAUSTED)  # type: ignore[arg-type]
    yield Case(
        "group", "network and unknown", lambda: group(ConnectionResetError(), RuntimeError("x")), K.UNKNOWN
    )
    yield Case(
        "group",
        "nested",
        lambda: group(ExceptionGroup("inner", [TimeoutError()]), ConnectionResetError()),
        K.NETWORK,
        also=(K.TIMEOUT,),
    )
    yield Case(
        "group",
        "nested with a bug",
        lambda: group(ExceptionGroup("inner", [KeyError("a")]), ConnectionResetError()),
        K.INVALID_REQUEST,
    )
    yield Case("group", "one", lambda: group(TimeoutError()), K.TIMEOUT)
    yield Case(
        "group",
        "wrapped",
        lambda: raised(RuntimeError("agent failed"), group(limited("2"))),
        K.RATE_LIMIT,
        None,
        2.0,
    )
    yield Case(
        "group",
        "cancelled among them",
        lambda: BaseExceptionGroup("x", [asyncio.CancelledError(), TimeoutError()]),
        K.CANCELLED,
    )

    def task_group() -> None:
        async def fail() -> None:
            raise ConnectionResetError

        async def main() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                tasks.create_task(asyncio.sleep(5))

        asyncio.run(main())

    yield Case("group", "task group", task_group, K.NETWORK)


def cases() -> Iterator[Case]:
    for part in (_files, _wire, _stopping, _bugs, _data, _stores, _machine, _foreign, _ours, _chains):
        yield from part()
