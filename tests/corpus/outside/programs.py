"""What a program meets without any provider: its own bugs, its machine, wrappers of others, and mere words."""

from __future__ import annotations

import asyncio
import concurrent.futures
import concurrent.futures.process
import errno
import http.client
import json
import multiprocessing
import os
import pickle
import queue
import sqlite3
import subprocess
import sys
import urllib.error
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from techrevati.runtime.failures import FailureKind as K
from tests.corpus.case import Case, during, raised

_BUG = (K.TOOL_ERROR, K.UNKNOWN)
_NOTHING = (K.INVALID_REQUEST, K.NOT_FOUND, K.TOOL_ERROR, K.PERMISSION, K.OUTPUT_VALIDATION)


def _foreign(
    module: str, name: str, *args: object, base: type[Exception] = Exception, **facts: object
) -> Exception:
    error = type(name, (base,), {"__module__": module})(*args)
    error.__dict__.update(facts)
    return error


def _locked() -> None:
    path = "file:outside?mode=memory&cache=shared"
    one, two = (sqlite3.connect(path, uri=True, timeout=0, isolation_level=None) for _ in range(2))
    try:
        one.execute("create table t (x)")
        one.execute("begin immediate")
        one.execute("insert into t values (1)")
        two.execute("begin immediate")
    finally:
        two.close()
        one.close()


def _unique() -> None:
    base = sqlite3.connect(":memory:")
    try:
        base.execute("create table t (x unique)")
        base.execute("insert into t values (1)")
        base.execute("insert into t values (1)")
    finally:
        base.close()


def _deep() -> None:
    _deep()


async def _waited() -> None:
    async with asyncio.timeout(0):
        await asyncio.sleep(3600)


async def _grouped() -> None:
    async def broken() -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    async def sleeps() -> None:
        await asyncio.sleep(3600)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeps())
        tasks.create_task(broken())


async def _cut() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"half")
    reader.feed_eof()
    await reader.readexactly(9)


def _attribute() -> None:
    answer: Any = None
    answer.choices.clear()


def _python(code: str, **more: Any) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, **more)


def _pydantic(text: str) -> None:
    from pydantic import BaseModel

    class Plan(BaseModel):
        timeout: int
        rate_limit: int

    Plan.model_validate_json(text)


class _What(NamedTuple):
    name: str
    make: Callable[[], BaseException | None]
    kind: K
    also: tuple[K, ...] = ()
    retryable: bool | None = None
    retry_after: float | None = None


def _limited(message: str = "Error code: 429 - Rate limit reached") -> Exception:
    return _foreign("openai", "RateLimitError", message, status_code=429, code="rate_limit_exceeded")


def _bugs() -> Iterator[_What]:
    yield _What("None has no choices", _attribute, K.INVALID_REQUEST, _BUG)
    for error in (
        KeyError("rate_limit"),
        KeyError(503),
        TypeError("create() got an unexpected keyword argument 'timeout'"),
        ValueError("timeout must be positive"),
        IndexError("list index out of range"),
        ZeroDivisionError("division by zero"),
        AssertionError("expected status 429, got 200"),
        NotImplementedError("retry after a timeout is not implemented"),
        NameError("name 'overloaded' is not defined"),
        ImportError("cannot import name 'RateLimitError' from 'openai'"),
        ModuleNotFoundError("No module named 'timeout_decorator'"),
        AttributeError("module 'openai' has no attribute 'Timeout'"),
        UnboundLocalError(
            "cannot access local variable 'connection' where it is not associated with a value"
        ),
        LookupError("unknown encoding: utf-429"),
        TypeError("Object of type Timeout is not JSON serializable"),
        RuntimeError("dictionary changed size during iteration"),
        RuntimeError("asyncio.run() cannot be called from a running event loop"),
        RuntimeError("Event loop is closed"),
        SyntaxError("invalid syntax"),
        BufferError("Existing exports of data: object cannot be re-sized"),
    ):
        yield _What(repr(error), lambda error=error: error, K.INVALID_REQUEST, _BUG, retryable=False)
    yield _What(
        "a bug while a reset was handled",
        lambda: during(ConnectionResetError("reset"), KeyError("id")),
        K.INVALID_REQUEST,
        _BUG,
        retryable=False,
    )
    yield _What(
        "a bug while a rate limit was handled",
        lambda: during(_limited(), AttributeError("'RateLimitError' object has no attribute 'retry_after'")),
        K.INVALID_REQUEST,
        _BUG,
        retryable=False,
    )
    yield _What("endless recursion", _deep, K.INVALID_REQUEST, (K.RESOURCE_EXHAUSTED, *_BUG), retryable=False)


def _machine() -> Iterator[_What]:
    def os_error(number: int) -> OSError:
        return OSError(number, os.strerror(number))

    yield _What("memory", MemoryError, K.RESOURCE_EXHAUSTED)
    yield _What(
        "threads", lambda: RuntimeError("can't start new thread"), K.RESOURCE_EXHAUSTED, (K.UNKNOWN,), False
    )
    yield _What(
        "disk, wrapped",
        lambda: raised(RuntimeError("could not save the checkpoint"), os_error(errno.ENOSPC)),
        K.RESOURCE_EXHAUSTED,
    )
    yield _What(
        "disk, by words",
        lambda: Exception("[Errno 28] No space left on device: '/var/x'"),
        K.RESOURCE_EXHAUSTED,
    )
    yield _What("files, by words", lambda: Exception("[Errno 24] Too many open files"), K.RESOURCE_EXHAUSTED)
    yield _What("cross-device", lambda: os_error(errno.EXDEV), K.INVALID_REQUEST, (K.UNKNOWN,))
    yield _What("loop of links", lambda: os_error(errno.ELOOP), K.INVALID_REQUEST, (K.UNKNOWN,))
    yield _What("no exec", lambda: os_error(errno.ENOEXEC), K.INVALID_REQUEST, (K.TOOL_ERROR, K.UNKNOWN))
    yield _What(
        "stale handle",
        lambda: os_error(errno.ESTALE),
        K.STORAGE_CORRUPTION,
        (K.UNKNOWN, K.NOT_FOUND, K.NETWORK),
    )
    yield _What("text busy", lambda: os_error(errno.EBUSY), K.RESOURCE_EXHAUSTED, (K.UNKNOWN,))
    yield _What("full queue", queue.Full, K.RESOURCE_EXHAUSTED, (K.UNKNOWN, K.INVALID_REQUEST), False)
    yield _What(
        "full asyncio queue", asyncio.QueueFull, K.RESOURCE_EXHAUSTED, (K.UNKNOWN, K.INVALID_REQUEST), False
    )
    yield _What(
        "killed worker",
        lambda: concurrent.futures.process.BrokenProcessPool(
            "A process in the process pool was terminated abruptly"
        ),
        K.RESOURCE_EXHAUSTED,
        (K.TOOL_ERROR, K.UNKNOWN, K.SERVER_ERROR),
    )
    yield _What(
        "cuda", lambda: RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), K.RESOURCE_EXHAUSTED
    )


def _storage() -> Iterator[_What]:
    yield _What("sqlite: unique", _unique, K.INVALID_REQUEST, (K.TOOL_ERROR,))
    yield _What(
        "sqlite: locked", _locked, K.RESOURCE_EXHAUSTED, (K.TIMEOUT, K.OVERLOADED, K.UNKNOWN, K.SERVER_ERROR)
    )
    for message, kind, also in (
        ("database disk image is malformed", K.STORAGE_CORRUPTION, ()),
        ("file is not a database", K.STORAGE_CORRUPTION, ()),
        ("disk I/O error", K.STORAGE_CORRUPTION, ()),
        ("no such table: runs", K.INVALID_REQUEST, (K.NOT_FOUND, K.STORAGE_CORRUPTION)),
        ("database or disk is full", K.RESOURCE_EXHAUSTED, ()),
        ("attempt to write a readonly database", K.PERMISSION, ()),
    ):
        yield _What(
            f"sqlite: {message}", lambda message=message: sqlite3.OperationalError(message), kind, also
        )
    yield _What(
        "pickle",
        lambda: pickle.loads(b"\x80\x05X"),  # noqa: S301
        K.STORAGE_CORRUPTION,
        (K.INVALID_REQUEST, K.OUTPUT_VALIDATION),
    )
    yield _What(
        "zlib",
        lambda: zlib.decompress(b"what"),
        K.STORAGE_CORRUPTION,
        (K.INVALID_REQUEST, K.OUTPUT_VALIDATION),
    )  # type: ignore[arg-type, return-value]
    yield _What(
        "redis",
        lambda: _foreign(
            "redis.exceptions",
            "ConnectionError",
            "Error 111 connecting to localhost:6379. Connection refused.",
        ),
        K.NETWORK,
    )
    busy = type("ConnectionError", (Exception,), {"__module__": "redis.exceptions"})  # as redis-py has it
    yield _What(
        "redis loading",
        lambda: _foreign(
            "redis.exceptions", "BusyLoadingError", "Redis is loading the dataset in memory", base=busy
        ),
        K.OVERLOADED,
        (K.NETWORK, K.SERVER_ERROR),
    )
    yield _What(
        "redis oom",
        lambda: _foreign(
            "redis.exceptions", "ResponseError", "OOM command not allowed when used memory > 'maxmemory'."
        ),
        K.RESOURCE_EXHAUSTED,
        (K.UNKNOWN, K.SERVER_ERROR),
        False,
    )
    yield _What(
        "postgres: deadlock",
        lambda: _foreign("psycopg.errors", "DeadlockDetected", "deadlock detected"),
        K.SERVER_ERROR,
        (K.OVERLOADED, K.RESOURCE_EXHAUSTED, K.UNKNOWN),
    )
    yield _What(
        "postgres: connections",
        lambda: _foreign(
            "psycopg", "OperationalError", "connection failed: FATAL:  sorry, too many clients already"
        ),
        K.OVERLOADED,
        (K.NETWORK, K.RATE_LIMIT, K.RESOURCE_EXHAUSTED),
    )
    yield _What(
        "postgres: password",
        lambda: _foreign(
            "psycopg",
            "OperationalError",
            'connection failed: FATAL:  password authentication failed for user "x"',
        ),
        K.AUTH,
        (),
        False,
    )
    yield _What(
        "postgres: unique",
        lambda: _foreign(
            "psycopg.errors", "UniqueViolation", 'duplicate key value violates unique constraint "runs_pkey"'
        ),
        K.INVALID_REQUEST,
        (K.UNKNOWN, K.TOOL_ERROR),
        False,
    )


def _tools() -> Iterator[_What]:
    yield _What("exit 429", lambda: _python("import sys; sys.exit(42)"), K.TOOL_ERROR)
    yield _What(
        "stderr speaks of a timeout",
        lambda: _python("import sys; sys.exit('timeout must be positive')"),
        K.TOOL_ERROR,
        (),
        False,
    )
    yield _What(
        "killed", lambda: subprocess.CalledProcessError(-9, ["make"]), K.TOOL_ERROR, (K.RESOURCE_EXHAUSTED,)
    )
    yield _What("slow", lambda: subprocess.TimeoutExpired(["make"], 30), K.TIMEOUT)
    yield _What(
        "no such program",
        lambda: subprocess.run(["no-such-program-503"], check=True),
        K.NOT_FOUND,
        (K.TOOL_ERROR,),
    )  # type: ignore[return-value]
    yield _What("pool timeout", multiprocessing.TimeoutError, K.TIMEOUT)
    yield _What("future timeout", concurrent.futures.TimeoutError, K.TIMEOUT)
    yield _What("json", lambda: json.loads("{'a': 1}"), K.OUTPUT_VALIDATION, (K.INVALID_REQUEST,))
    yield _What(
        "json, wrapped",
        lambda: raised(
            ValueError("the model's answer is no plan"), json.JSONDecodeError("Expecting value", "x", 0)
        ),
        K.OUTPUT_VALIDATION,
        (K.INVALID_REQUEST,),
    )
    yield _What(
        "pydantic",
        lambda: _pydantic('{"timeout": "soon", "rate_limit": 429}'),
        K.OUTPUT_VALIDATION,
        (K.INVALID_REQUEST,),
    )
    yield _What(
        "pydantic, no json",
        lambda: _pydantic("503 Service Unavailable"),
        K.OUTPUT_VALIDATION,
        (K.INVALID_REQUEST,),
    )


def _wire() -> Iterator[_What]:
    yield _What(
        "remote closed",
        lambda: http.client.RemoteDisconnected("Remote end closed connection without response"),
        K.NETWORK,
    )
    yield _What("incomplete", lambda: http.client.IncompleteRead(b"x", 9), K.NETWORK)
    yield _What("asyncio incomplete", lambda: asyncio.run(_cut()), K.NETWORK, (K.UNKNOWN,))
    yield _What("asyncio timeout", lambda: asyncio.run(_waited()), K.TIMEOUT)
    yield _What("task group", lambda: asyncio.run(_grouped()), K.NETWORK)
    yield _What("URLError", lambda: urllib.error.URLError(TimeoutError("timed out")), K.TIMEOUT)  # type: ignore[arg-type]
    yield _What(
        "URLError of a name",
        lambda: urllib.error.URLError(OSError(-3, "Temporary failure in name resolution")),
        K.NETWORK,
    )
    yield _What(
        "websocket",
        lambda: _foreign("websockets.exceptions", "ConnectionClosedError", "no close frame received or sent"),
        K.NETWORK,
    )
    yield _What(
        "grpc",
        lambda: _foreign(
            "grpc._channel",
            "_InactiveRpcError",
            '<_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n\tdetails = "failed to connect to all addresses"',
        ),
        K.NETWORK,
        (K.OVERLOADED, K.SERVER_ERROR),
    )
    yield _What(
        "google.api_core",
        lambda: _foreign(
            "google.api_core.exceptions",
            "ResourceExhausted",
            "429 Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model",
            code=429,
        ),
        K.RATE_LIMIT,
        (K.QUOTA_EXHAUSTED,),
    )
    yield _What(
        "google.auth",
        lambda: _foreign(
            "google.auth.exceptions",
            "RefreshError",
            "('invalid_grant: Bad Request', {'error': 'invalid_grant'})",
        ),
        K.AUTH,
    )
    yield _What(
        "google.auth, none",
        lambda: _foreign(
            "google.auth.exceptions", "DefaultCredentialsError", "Your default credentials were not found."
        ),
        K.AUTH,
    )


def _wrapped() -> Iterator[_What]:
    yield _What(
        "a rate limit in a wrapper",
        lambda: raised(RuntimeError("agent step 3 failed"), _limited()),
        K.RATE_LIMIT,
    )
    yield _What(
        "two wrappers",
        lambda: raised(Exception("run failed"), raised(RuntimeError("step"), TimeoutError())),
        K.TIMEOUT,
    )
    yield _What(
        "hidden cause",
        lambda: raised(ValueError("no plan in the answer"), ConnectionError("x"), hide=True),
        K.INVALID_REQUEST,
        (K.UNKNOWN, K.OUTPUT_VALIDATION),
        False,
    )
    yield _What(
        "cancelled below a timeout", lambda: raised(TimeoutError(), asyncio.CancelledError()), K.TIMEOUT
    )
    yield _What(
        "a wrapper of a cancellation",
        lambda: raised(RuntimeError("stopped"), asyncio.CancelledError()),
        K.UNKNOWN,
        (K.CANCELLED, K.INVALID_REQUEST),
        False,
    )
    yield _What(
        "own class with a status",
        lambda: _foreign("shop.llm", "GatewayError", "upstream said no", status_code=503),
        K.OVERLOADED,
        (K.SERVER_ERROR,),
    )
    yield _What(
        "own class with a code",
        lambda: _foreign("shop.llm", "GatewayError", "no", code="context_length_exceeded"),
        K.CONTEXT_OVERFLOW,
    )
    yield _What(
        "own class with an http status",
        lambda: _foreign("shop.llm", "GatewayError", "no", http_status=401),
        K.AUTH,
    )
    yield _What(
        "own class, status of the order",
        lambda: _foreign("shop.orders", "OrderError", "order is closed", status="closed", code=17),
        K.UNKNOWN,
        (K.INVALID_REQUEST,),
        False,
    )
    yield _What(
        "own class named like a limit",
        lambda: _foreign("shop.orders", "CreditLimitError", "customer 429 may not order"),
        K.UNKNOWN,
        (K.QUOTA_EXHAUSTED, K.PERMISSION, K.INVALID_REQUEST),
        False,
    )
    yield _What(
        "tool says timeout of its own",
        lambda: _foreign("shop.tools", "SearchTimeout", "search took too long"),
        K.TIMEOUT,
        (K.UNKNOWN,),
    )
    yield _What(
        "retry after on an own class",
        lambda: _foreign("shop.llm", "SlowDown", "later", status_code=429, retry_after=4),
        K.RATE_LIMIT,
        (),
        None,
        4.0,
    )


def _groups() -> Iterator[_What]:
    yield _What(
        "a limit and a bug",
        lambda: ExceptionGroup("g", [_limited(), TypeError("x")]),
        K.INVALID_REQUEST,
        (),
        False,
    )
    yield _What(
        "reset and timeout",
        lambda: ExceptionGroup("g", [ConnectionResetError(), TimeoutError()]),
        K.NETWORK,
        (K.TIMEOUT,),
        True,
    )
    yield _What(
        "nested",
        lambda: ExceptionGroup("g", [ExceptionGroup("h", [_limited()]), TimeoutError()]),
        K.RATE_LIMIT,
        (K.TIMEOUT,),
        True,
    )
    yield _What(
        "with an unknown",
        lambda: ExceptionGroup("g", [TimeoutError(), Exception("what")]),
        K.UNKNOWN,
        (),
        False,
    )
    yield _What(
        "of cancellations",
        lambda: BaseExceptionGroup("g", [asyncio.CancelledError(), asyncio.CancelledError()]),
        K.CANCELLED,
    )
    yield _What(
        "Ctrl-C and a reset",
        lambda: BaseExceptionGroup("g", [KeyboardInterrupt(), ConnectionResetError()]),
        K.CANCELLED,
        (),
        False,
    )
    yield _What(
        "wrapped group",
        lambda: raised(
            RuntimeError("fan-out failed"), ExceptionGroup("g", [TimeoutError(), PermissionError(13, "no")])
        ),
        K.PERMISSION,
    )
    yield _What(
        "title that speaks",
        lambda: ExceptionGroup("rate limit reached", [ValueError("x")]),
        K.UNKNOWN,
        (K.INVALID_REQUEST, K.OUTPUT_VALIDATION),
        False,
    )


def _ends() -> Iterator[_What]:
    for kind in (
        asyncio.CancelledError,
        concurrent.futures.CancelledError,
        KeyboardInterrupt,
        SystemExit,
        GeneratorExit,
    ):
        yield _What(
            f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}", lambda kind=kind: kind(), K.CANCELLED
        )
    yield _What("exit with words", lambda: SystemExit("rate limit reached, try again later"), K.CANCELLED)


# Only words, and they mean what they say.
_SAY: tuple[tuple[str, K, tuple[K, ...], float | None], ...] = (
    ("HTTP 429", K.RATE_LIMIT, (), None),
    ("429 Too Many Requests", K.RATE_LIMIT, (), None),
    ("Request failed with status code 503", K.OVERLOADED, (K.SERVER_ERROR,), None),
    ("got 502 Bad Gateway from upstream", K.SERVER_ERROR, (K.NETWORK, K.OVERLOADED), None),
    ("Server returned 500", K.SERVER_ERROR, (), None),
    ("[429] slow down", K.RATE_LIMIT, (K.UNKNOWN,), None),
    ("API error (status 401): invalid token", K.AUTH, (), None),
    ("Rate limited. Retry in 12 seconds.", K.RATE_LIMIT, (), 12.0),
    ("ThrottlingException: Rate exceeded", K.RATE_LIMIT, (), None),
    ("the read operation timed out", K.TIMEOUT, (), None),
    ("Connection reset by peer", K.NETWORK, (), None),
    ("[Errno 111] Connection refused", K.NETWORK, (), None),
    ("getaddrinfo failed: Name or service not known", K.NETWORK, (), None),
    ("Server disconnected without sending a response.", K.NETWORK, (), None),
    ("EOF occurred in violation of protocol", K.NETWORK, (), None),
    ("peer closed connection without sending complete message body (incomplete chunked read)", K.NETWORK, (), None),
    ("The model is currently overloaded with other requests", K.OVERLOADED, (), None),
    ("You exceeded your current quota, please check your plan and billing details.", K.QUOTA_EXHAUSTED, (), None),
    ("Insufficient credits. Please top up your account.", K.QUOTA_EXHAUSTED, (), None),
    ("monthly spend limit reached", K.QUOTA_EXHAUSTED, (K.RESOURCE_EXHAUSTED,), None),
    ("Incorrect API key provided", K.AUTH, (), None),
    ("invalid bearer token", K.AUTH, (), None),
    ("403 Forbidden", K.PERMISSION, (), None),
    ("prompt exceeds the context window of this model", K.CONTEXT_OVERFLOW, (), None),
    ("input is too long: 130000 tokens, maximum is 128000", K.CONTEXT_OVERFLOW, (), None),
    ("Response was blocked by the content filter", K.CONTENT_POLICY, (), None),
    ("model gpt-9 does not exist", K.NOT_FOUND, (), None),
    ("model output is not valid JSON", K.OUTPUT_VALIDATION, (), None),
    ("Expecting value: line 1 column 1 (char 0)", K.OUTPUT_VALIDATION, (K.UNKNOWN,), None),
    ("database disk image is malformed", K.STORAGE_CORRUPTION, (), None),
    ("operation was cancelled by the user", K.CANCELLED, (K.UNKNOWN,), None),
    ("upstream connect error or disconnect/reset before headers", K.NETWORK, (K.SERVER_ERROR, K.OVERLOADED), None),
)  # fmt: skip

# Only words, and they only look like a failure of a call.
_LOOK: tuple[str, ...] = (
    "invoice 503 not found",
    "order 429 was refused by the warehouse",
    "could not find customer 500 in region 502",
    "flight LH504 cancelled its catering",
    "port 4290 is not in the allowed range",
    "chapter 429: too many cooks",
    "expected 503 rows, got 500",
    "429 rows were skipped",
    "error 429 rows were skipped",
    "the column 'timeout' does not exist",
    "timeout must be between 1 and 600",
    "invalid timeout: -3",
    "unknown option --retry-after",
    "rate_limit must be an integer",
    "field 'rate limit' is required",
    "no handler for RateLimitError registered",
    "cannot parse retry-after header 'soon'",
    "the connection pool size must be positive",
    "network must be one of 'main', 'test'",
    "no network policy named 'default'",
    "server name must not be empty",
    "'overloaded' is not a valid state",
    "operator '+' is overloaded for these types",
    "the method is overloaded but no overload matches",
    "max_retries must be >= 0",
    "too many values to unpack (expected 2)",
    "too many arguments for format string",
    "too many positional requests in template",
    "gateway 'stripe' is not configured",
    "bad gateway id: 77",
    "temporary file name is too long",
    "a reset of the counter is not allowed here",
    "the service 'unavailable-items' has no route",
    "capacity of the truck is 503 kg",
    "discount of 50% exceeds the limit",
    "the limit of 5 items per order was exceeded",
    "exceeded the maximum number of attachments (10)",
    "try again with a valid e-mail address",
    "please try again with another card",
    "internal server name 'error' is reserved",
    "wait() was called twice",
    "connection string has no host",
    "row 500: internal reference missing",
    "test case 'returns 503 when overloaded' failed",
    "expected a TimeoutError to be raised",
    "assert response.status == 429",
    "docs say: on 503, retry after a minute; yet there is no minute in the plan",
    "user 'timeout' may not log in",
)


def _texts() -> Iterator[_What]:
    for number, (text, kind, also, wait_s) in enumerate(_SAY):
        made = (RuntimeError, Exception)[number % 2]
        yield _What(text, lambda made=made, text=text: made(text), kind, also, None, wait_s)


def _lookalikes() -> Iterator[_What]:
    for number, text in enumerate(_LOOK):
        made = (RuntimeError, ValueError, Exception)[number % 3]
        yield _What(text, lambda made=made, text=text: made(text), K.UNKNOWN, _NOTHING, False)


_TABLES: tuple[tuple[str, Callable[[], Iterator[_What]]], ...] = (
    ("bug", _bugs), ("machine", _machine), ("storage", _storage), ("tool", _tools), ("wire", _wire),
    ("wrapped", _wrapped), ("group", _groups), ("end", _ends), ("text", _texts), ("lookalike", _lookalikes),
)  # fmt: skip


def cases() -> Iterator[Case]:
    """All of them, each with its label."""
    for group, table in _TABLES:
        for what in table():
            yield Case(
                f"outside: {group}",
                what.name,
                what.make,
                what.kind,
                what.retryable,
                what.retry_after,
                what.also,
            )
