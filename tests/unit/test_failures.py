"""What exceptions of Python, of users and of this package amount to, and what a failure is."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import errno
import json
import pickle
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import urllib.error
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

import techrevati.runtime
from techrevati.runtime._core.errors import BudgetExceededError, TechrevatiError
from techrevati.runtime._core.failure_class import AgentFailureClass
from techrevati.runtime.failures import (
    KINDS,
    MAX_USER_RULES,
    RULES,
    Failure,
    FailureKind,
    FailureOrigin,
    FailureScenario,
    Rule,
    classification,
    classify,
    classify_exception,
    provider_failures,
    register_rule,
)
from techrevati.runtime.failures.index import TABLE
from techrevati.runtime.failures.words import COMPLAINS, SAYS, TEXT, Text, has_phrase

K, Origin, S = FailureKind, FailureOrigin, FailureScenario


socket_timeout = vars(socket)["timeout"]  # old names of TimeoutError
asyncio_timeout = vars(asyncio)["TimeoutError"]


class StatusError(Exception):
    """What users write: an error that carries facts."""

    def __init__(self, message: str = "no", **facts: object) -> None:
        super().__init__(message)
        self.__dict__.update(facts)


# --- the vocabulary -------------------------------------------------------------------------------


def test_the_enums_are_the_contract() -> None:
    kinds = (
        "timeout rate_limit quota_exhausted overloaded server_error network auth permission not_found"
        " invalid_request context_overflow content_policy output_validation tool_error storage_corruption"
        " resource_exhausted cancelled unknown"
    )
    assert [kind.value for kind in FailureKind] == kinds.split()
    origins = "provider network tool caller storage runtime"
    assert [origin.value for origin in FailureOrigin] == origins.split()
    for member in (*FailureKind, *FailureOrigin, *FailureScenario):
        assert member.value == member.name.lower()
        assert member == member.value
        assert hash(member) == hash(member.value)
    assert len(FailureScenario) == 7


def test_every_kind_has_a_row_and_these_are_retryable() -> None:
    assert set(KINDS) == set(FailureKind)
    retryable = {kind for kind in FailureKind if Failure(kind).retryable}
    assert retryable == {K.TIMEOUT, K.RATE_LIMIT, K.OVERLOADED, K.SERVER_ERROR, K.NETWORK}


def test_a_failure_is_immutable() -> None:
    failure = classify(TimeoutError())
    with pytest.raises(AttributeError, match="immutable"):
        failure.kind = K.UNKNOWN  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        failure.anything = 1
    with pytest.raises(AttributeError, match="immutable"):
        del failure.kind  # type: ignore[misc]
    assert failure.kind is K.TIMEOUT


def test_a_failure_has_its_facts_in_order() -> None:
    failure = Failure(K.RATE_LIMIT, False, 1.5, Origin.TOOL, "acme", 429, "slow", "r1", "text")
    assert (failure.kind, failure.retryable, failure.retry_after, failure.origin) == (
        K.RATE_LIMIT,
        False,
        1.5,
        Origin.TOOL,
    )
    assert (failure.provider, failure.status_code, failure.code) == ("acme", 429, "slow")
    assert (failure.request_id, failure.message) == ("r1", "text")
    assert Failure("timeout").kind is K.TIMEOUT  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no such kind"):
        Failure("no such kind")  # type: ignore[arg-type]


def test_failures_compare_pickle_and_copy() -> None:
    failure = classify(StatusError("try again in 2s", status_code=429, code="slow", request_id="r1"))
    for same in (pickle.loads(pickle.dumps(failure)), copy.copy(failure), copy.deepcopy(failure)):  # noqa: S301
        assert same == failure
        assert hash(same) == hash(failure)
        assert same.scenario is failure.scenario
    assert failure != Failure(K.RATE_LIMIT)
    assert failure != "rate_limit"
    json_failure = classify(caught_json_error())
    assert pickle.loads(pickle.dumps(json_failure)).scenario is S.MEMORY_CORRUPTION  # noqa: S301


def caught_json_error() -> Exception:
    import json

    try:
        json.loads("{")
    except ValueError as error:
        return error
    raise AssertionError("that was JSON")


def test_to_dict_is_json() -> None:
    import json

    written = classify(StatusError("no", status_code=503)).to_dict()
    assert json.loads(json.dumps(written)) == written
    assert written["kind"] == "overloaded"
    assert written["retryable"] is True
    assert written["scenario"] == "provider_failure"
    assert written["failure_class"] == "dependency_failed"
    assert {name for name, value in written.items() if value is None} == {
        "retry_after",
        "provider",
        "code",
        "request_id",
    }


@pytest.mark.parametrize("where", ["message", "code", "request_id"])
def test_no_secret_leaves_a_failure(where: str) -> None:
    secret = "sk-proj-abcdefghijklmnopqrstuv"
    failure = Failure(K.AUTH, **{where: secret})  # type: ignore[arg-type]
    for text in (repr(failure), str(failure), str(failure.to_dict()), failure.message):
        assert secret not in text
    if where == "message":
        assert secret.encode() not in pickle.dumps(failure)


def test_repr_says_what_matters() -> None:
    text = repr(classify(StatusError("no", status_code=429, retry_after=3)))
    assert text.startswith("Failure(rate_limit, retryable, retry_after=3.0")
    assert "status_code=429" in text


def test_messages_are_bounded() -> None:
    assert len(classify(Exception("x" * 1_000_000)).message) <= 2_000
    assert classify(Exception()).message == "Exception"
    assert len(Failure(K.UNKNOWN, message="x" * 1_000_000)._text) <= 4_000  # before it is read, too


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["says", "complains", "text"])
def test_every_phrase_is_found_by_its_row_or_an_earlier_one(column: str) -> None:
    """The word that a phrase is looked up by never hides it."""
    number_of_column = {"says": SAYS, "complains": COMPLAINS, "text": TEXT}[column]
    phrases = [(phrase, rule) for rule in RULES for phrase in getattr(rule, column)]
    for number, (phrase, rule) in enumerate(phrases):
        bare = phrase.strip("*")
        texts = [bare, f"so {bare}.", f"é {bare}", f"“{bare}”"]
        texts += [f"{bare}xyz"] if phrase.endswith("*") else []
        texts += [f"xyz{bare}"] if phrase.startswith("*") else []
        for text in texts:
            found = TABLE.phrases.first(Text(text), (number_of_column,))
            assert found is not None, text
            assert found in [earlier for _, earlier in phrases[: number + 1]] or found is rule
        if not phrase.endswith("*"):
            assert not has_phrase(f"{bare}xyz", phrase)


@pytest.mark.parametrize("column", ["types", "codes", "statuses", "broad", "kin"])
def test_no_row_repeats_what_an_earlier_row_decided(column: str) -> None:
    seen: dict[object, Rule] = {}
    for rule in RULES:
        for evidence in getattr(rule, column):
            assert evidence not in seen, f"{evidence} of {rule.kind} is decided by {seen[evidence].kind}"
            seen[evidence] = rule


def test_every_row_speaks_for_something() -> None:
    for rule in RULES:
        columns = (
            "types", "codes", "says", "complains", "statuses", "broad", "kin", "text", "bugs", "last",
            "sharpens",
        )  # fmt: skip
        assert any(getattr(rule, column) for column in columns)


# --- Python's own ---------------------------------------------------------------------------------


def sqlite_error(script: str) -> Exception:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(script)
    except sqlite3.Error as error:
        return error
    finally:
        connection.close()
    raise AssertionError("that was SQL")


def sqlite_locked(path: Any) -> Exception:
    holder, other = sqlite3.connect(path), sqlite3.connect(path, timeout=0)
    try:
        holder.execute("BEGIN EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        return error
    finally:
        holder.close()
        other.close()
    raise AssertionError("nobody locked")


@pytest.mark.parametrize(
    ("error", "kind", "origin", "counts"),
    [
        (TimeoutError(), K.TIMEOUT, Origin.NETWORK, True),
        (asyncio_timeout(), K.TIMEOUT, Origin.NETWORK, True),
        (concurrent.futures.TimeoutError(), K.TIMEOUT, Origin.NETWORK, True),
        (socket_timeout("timed out"), K.TIMEOUT, Origin.NETWORK, True),
        (OSError(errno.ETIMEDOUT, "x"), K.TIMEOUT, Origin.NETWORK, True),
        (ConnectionError("x"), K.NETWORK, Origin.NETWORK, True),
        (ConnectionRefusedError(111, "x"), K.NETWORK, Origin.NETWORK, True),
        (ConnectionResetError(), K.NETWORK, Origin.NETWORK, True),
        (BrokenPipeError(), K.NETWORK, Origin.NETWORK, True),
        (OSError(errno.EHOSTUNREACH, "x"), K.NETWORK, Origin.NETWORK, True),
        (socket.gaierror(-2, "Name or service not known"), K.NETWORK, Origin.NETWORK, True),
        (ssl.SSLError(1, "handshake failure"), K.NETWORK, Origin.NETWORK, True),
        (asyncio.IncompleteReadError(b"", 1), K.NETWORK, Origin.NETWORK, True),
        (asyncio.CancelledError(), K.CANCELLED, Origin.CALLER, False),
        (concurrent.futures.CancelledError(), K.CANCELLED, Origin.CALLER, False),
        (KeyboardInterrupt(), K.CANCELLED, Origin.CALLER, False),
        (SystemExit(1), K.CANCELLED, Origin.CALLER, False),
        (GeneratorExit(), K.CANCELLED, Origin.CALLER, False),
        (TypeError("429 too many requests"), K.INVALID_REQUEST, Origin.CALLER, False),
        (KeyError("timeout"), K.INVALID_REQUEST, Origin.CALLER, False),
        (AttributeError("rate limit"), K.INVALID_REQUEST, Origin.CALLER, False),
        (NotImplementedError(), K.INVALID_REQUEST, Origin.CALLER, False),
        (ZeroDivisionError(), K.INVALID_REQUEST, Origin.CALLER, False),
        (AssertionError("connection refused"), K.INVALID_REQUEST, Origin.CALLER, False),
        (ValueError("n must be positive"), K.INVALID_REQUEST, Origin.CALLER, False),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), K.INVALID_REQUEST, Origin.CALLER, False),
        (MemoryError(), K.RESOURCE_EXHAUSTED, Origin.RUNTIME, False),
        (RecursionError(), K.RESOURCE_EXHAUSTED, Origin.CALLER, False),
        (OSError(errno.ENOSPC, "No space left on device"), K.RESOURCE_EXHAUSTED, Origin.STORAGE, False),
        (OSError(errno.EMFILE, "Too many open files"), K.RESOURCE_EXHAUSTED, Origin.RUNTIME, False),
        (OSError(errno.EIO, "x"), K.STORAGE_CORRUPTION, Origin.STORAGE, False),
        (FileNotFoundError(2, "x"), K.NOT_FOUND, Origin.CALLER, False),
        (PermissionError(13, "x"), K.PERMISSION, Origin.CALLER, False),
        (subprocess.TimeoutExpired("cmd", 1), K.TIMEOUT, Origin.TOOL, False),
        (subprocess.CalledProcessError(1, "cmd"), K.TOOL_ERROR, Origin.TOOL, False),
        (sqlite_error("select no from nowhere"), K.INVALID_REQUEST, Origin.CALLER, False),
        (sqlite3.OperationalError("database is locked"), K.TIMEOUT, Origin.STORAGE, False),
        (
            sqlite3.DatabaseError("database disk image is malformed"),
            K.STORAGE_CORRUPTION,
            Origin.STORAGE,
            False,
        ),
        (sqlite3.OperationalError("database or disk is full"), K.RESOURCE_EXHAUSTED, Origin.STORAGE, False),
        (Exception("boom"), K.UNKNOWN, Origin.PROVIDER, True),
        (RuntimeError("cannot schedule new futures"), K.UNKNOWN, Origin.PROVIDER, True),
        (OSError(), K.UNKNOWN, Origin.PROVIDER, True),
    ],
    ids=lambda value: f"{type(value).__name__}-{value}"[:40] if isinstance(value, BaseException) else None,
)
def test_builtin_exceptions(
    error: BaseException, kind: FailureKind, origin: FailureOrigin, counts: bool
) -> None:
    failure = classify(error)
    assert (failure.kind, failure.origin, provider_failures(error)) == (kind, origin, counts)
    assert failure.retryable is KINDS[kind][1]


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLCertVerificationError(1, "expired"),
        type("ConnectError", (Exception,), {"__module__": "httpx"})("[SSL: CERTIFICATE_VERIFY_FAILED] no"),
        Exception("certificate verify failed: unable to get local issuer certificate"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_wrong_certificate_is_a_network_error_that_no_repetition_mends(error: Exception) -> None:
    for failure in (classify(error), classify(chained(RuntimeError("no answer"), error))):
        assert (failure.kind, failure.origin, failure.retryable) == (K.NETWORK, Origin.NETWORK, False)


def test_sqlite_codes_are_facts(tmp_path: Any) -> None:
    locked = sqlite_locked(tmp_path / "a.db")
    failure = classify(locked)
    assert (failure.kind, failure.origin, failure.retryable) == (K.TIMEOUT, Origin.STORAGE, True)
    assert (failure.code, failure.scenario) == ("SQLITE_BUSY", S.DEPENDENCY_TIMEOUT)
    (tmp_path / "b.db").write_bytes(b"not a database at all, but long enough to be read as one" * 40)
    broken = sqlite3.connect(tmp_path / "b.db")
    with pytest.raises(sqlite3.DatabaseError) as caught:
        broken.execute("select * from x")
    broken.close()
    assert classify(caught.value).kind is K.STORAGE_CORRUPTION


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ToolError", K.TOOL_ERROR),
        ("ToolExecutionError", K.TOOL_ERROR),
        ("SearchToolFailure", K.TOOL_ERROR),
        ("MyToolException", K.TOOL_ERROR),
        ("ToolboxClosed", K.UNKNOWN),
        ("LLMTimeoutError", K.TIMEOUT),
        ("AcmeRateLimitError", K.RATE_LIMIT),
        ("RateLimitError", K.RATE_LIMIT),
        ("GatewayConnectionError", K.NETWORK),
        ("MyAuthenticationError", K.AUTH),
        ("ServiceUnavailableError", K.OVERLOADED),
        ("ContextWindowExceededError", K.CONTEXT_OVERFLOW),
        ("MyError", K.UNKNOWN),
    ],
)
def test_class_names_of_users_speak(name: str, kind: FailureKind) -> None:
    error = type(name, (Exception,), {})("no")
    assert classify(error).kind is kind
    assert classify(type("Derived", (type(error),), {})("no")).kind is kind


def test_a_tool_that_hit_a_rate_limit_is_a_tools_failure() -> None:
    error = type("ToolError", (Exception,), {})("429 too many requests")
    assert classify_exception(error) is S.TOOL_EXECUTION_ERROR
    assert not provider_failures(error)


# --- our own --------------------------------------------------------------------------------------


def own(name: str, *bases: type, **facts: object) -> Any:
    kind = type(name, (TechrevatiError, *bases), {"__module__": "techrevati.runtime.somewhere"})
    error = kind("no")
    error.__dict__.update(facts)
    return error


@pytest.mark.parametrize(
    ("error", "kind", "origin", "counts"),
    [
        (own("CircuitOpenError", retry_after=12.5), K.OVERLOADED, Origin.RUNTIME, False),
        (own("TurnTimeoutError", TimeoutError, timeout_seconds=3), K.TIMEOUT, Origin.PROVIDER, True),
        (own("DeadlineExceededError", TimeoutError), K.TIMEOUT, Origin.RUNTIME, False),
        (own("BulkheadFullError"), K.OVERLOADED, Origin.RUNTIME, False),
        (BudgetExceededError(1.0, 2.0), K.RESOURCE_EXHAUSTED, Origin.RUNTIME, False),
        (own("MaxIterationsExceededError"), K.RESOURCE_EXHAUSTED, Origin.RUNTIME, False),
        (own("PermissionDeniedError", PermissionError), K.PERMISSION, Origin.RUNTIME, False),
        (own("GuardrailViolatedError"), K.CONTENT_POLICY, Origin.RUNTIME, False),
        (own("InvalidTransitionError", ValueError), K.INVALID_REQUEST, Origin.CALLER, False),
        (own("ApprovalPendingError"), K.PERMISSION, Origin.RUNTIME, False),
        (own("UnknownApprovalError", KeyError), K.PERMISSION, Origin.RUNTIME, False),
        (own("RunBusyError", retry_after=2.5), K.OVERLOADED, Origin.RUNTIME, False),
        (own("InDoubtError"), K.INVALID_REQUEST, Origin.RUNTIME, False),
        (own("ReplayMismatchError", ValueError), K.INVALID_REQUEST, Origin.RUNTIME, False),
        (own("ResultNotStorableError", TypeError), K.OUTPUT_VALIDATION, Origin.RUNTIME, False),
        (own("StoreUnavailableError", OSError), K.RESOURCE_EXHAUSTED, Origin.STORAGE, False),
        (own("SomethingNewError", ValueError), K.INVALID_REQUEST, Origin.RUNTIME, False),
        (own("SomethingNewError", RuntimeError, status_code=503), K.OVERLOADED, Origin.PROVIDER, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_our_own_errors(error: BaseException, kind: FailureKind, origin: FailureOrigin, counts: bool) -> None:
    """Our refusals are no news about a provider; a turn without an answer is."""
    failure = classify(error)
    assert (failure.kind, failure.origin, provider_failures(error)) == (kind, origin, counts)


def test_an_open_circuit_says_when() -> None:
    assert classify(own("CircuitOpenError", retry_after=12.5)).retry_after == 12.5
    assert classify(own("CircuitOpenError", retry_after=None)).retry_after is None


def test_a_denied_tool_is_a_tool_error_in_events() -> None:
    failure = classify(own("PermissionDeniedError", PermissionError))
    assert (failure.failure_class, failure.scenario) == (AgentFailureClass.TOOL_ERROR, S.TOOL_EXECUTION_ERROR)


# --- attributes of anybody's errors ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"status_code": 429}, K.RATE_LIMIT),
        ({"status": 503}, K.OVERLOADED),
        ({"code": 401}, K.AUTH),
        ({"code": "429"}, K.RATE_LIMIT),
        ({"code": "insufficient_quota"}, K.QUOTA_EXHAUSTED),
        ({"body": {"error": {"code": "context_length_exceeded"}}}, K.CONTEXT_OVERFLOW),
        ({"body": '{"error": {"code": "context_length_exceeded"}}'}, K.CONTEXT_OVERFLOW),
        ({"body": b'{"detail": "rate limit", "status": 429}'}, K.RATE_LIMIT),
        ({"body": [{"error": {"code": 503}}]}, K.OVERLOADED),
        ({"status_code": 200, "body": {"error": {"code": 502}}}, K.SERVER_ERROR),
        ({"status_code": 429, "body": {"message": "too many tokens in the last window"}}, K.RATE_LIMIT),
        ({"status_code": 400, "body": {"message": "too many tokens in the prompt"}}, K.CONTEXT_OVERFLOW),
        ({"status_code": 500, "body": {"message": "our content filter crashed"}}, K.SERVER_ERROR),
        ({"http_status": 401}, K.AUTH),
        ({"status_code": True}, K.UNKNOWN),
        ({"status_code": 4290}, K.UNKNOWN),
        ({"status_code": "no"}, K.UNKNOWN),
        ({"code": -32603}, K.UNKNOWN),
        ({"code": 7}, K.UNKNOWN),
    ],
    ids=str,
)
def test_facts_of_unknown_classes(facts: dict[str, object], kind: FailureKind) -> None:
    assert classify(StatusError(**facts)).kind is kind


def test_statuses_may_be_enums_and_class_attributes() -> None:
    from http import HTTPStatus

    assert classify(StatusError(status_code=HTTPStatus.BAD_GATEWAY)).status_code == 502
    assert type(classify(StatusError(status_code=HTTPStatus.BAD_GATEWAY)).status_code) is int

    class Limited(Exception):
        status_code = 429

    class Slotted(Exception):
        __slots__ = ("status_code",)

    slotted = Slotted()
    slotted.status_code = 429
    assert classify(Limited()).kind is classify(slotted).kind is K.RATE_LIMIT


# --- chains and groups ----------------------------------------------------------------------------


def chained(outer: BaseException, inner: BaseException, *, named: bool = True) -> BaseException:
    if named:
        outer.__cause__ = inner
    outer.__context__ = inner
    return outer


LIMITED = {"status_code": 429}


def test_a_wrapper_is_what_caused_it() -> None:
    for named in (True, False):
        failure = classify(
            chained(RuntimeError("agent failed"), StatusError(retry_after=3, **LIMITED), named=named)
        )
        assert (failure.kind, failure.retry_after, failure.message) == (K.RATE_LIMIT, 3.0, "agent failed")
    deep = chained(
        RuntimeError("a"), chained(RuntimeError("b"), chained(Exception("c"), StatusError(**LIMITED)))
    )
    assert classify(deep).kind is K.RATE_LIMIT


def test_a_reason_that_is_an_exception_is_a_cause() -> None:
    assert classify(urllib.error.URLError(TimeoutError("timed out"))).kind is K.TIMEOUT
    assert classify(urllib.error.URLError("timed out while it resolved")).kind is K.NETWORK
    assert classify(UnicodeDecodeError("utf-8", b"x", 0, 1, "timeout")).kind is K.INVALID_REQUEST


def test_a_suppressed_context_is_not_followed() -> None:
    error = RuntimeError("agent failed")
    error.__context__ = StatusError(**LIMITED)
    error.__suppress_context__ = True
    assert classify(error).kind is K.UNKNOWN


def test_facts_of_its_own_go_before_what_was_being_handled() -> None:
    failure = classify(chained(StatusError(status_code=503), StatusError(**LIMITED), named=False))
    assert failure.kind is K.OVERLOADED


def test_text_goes_before_a_bug_that_was_being_handled() -> None:
    """``except KeyError: raise Exception("429 ...")`` is about the 429."""
    for named in (True, False):
        assert (
            classify(chained(Exception("429 Too Many Requests"), KeyError("x"), named=named)).kind
            is K.RATE_LIMIT
        )
    assert classify(chained(RuntimeError("bad row"), KeyError("x"))).kind is K.INVALID_REQUEST
    assert classify(chained(RuntimeError("boom"), KeyError("x"), named=False)).kind is K.UNKNOWN


def test_a_bug_is_a_bug_whatever_was_being_handled() -> None:
    assert classify(chained(TypeError("x"), StatusError(**LIMITED), named=False)).kind is K.INVALID_REQUEST


def test_cancellation_is_never_taken_from_a_chain() -> None:
    timeout = chained(TimeoutError(), asyncio.CancelledError())
    assert classify(timeout).kind is K.TIMEOUT
    assert classify(chained(RuntimeError("boom"), asyncio.CancelledError())).kind is K.UNKNOWN
    assert classify(chained(RuntimeError("boom"), timeout)).kind is K.TIMEOUT


def test_a_timeout_of_asyncio_is_a_timeout() -> None:
    async def main() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(3600)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(main())
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert classify(caught.value).kind is K.TIMEOUT


def test_cycles_and_endless_chains_end() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert classify(first).kind is K.UNKNOWN
    error: BaseException = StatusError(**LIMITED)
    for _ in range(10_000):
        error = chained(RuntimeError("x"), error)
    assert classify(error).kind is K.UNKNOWN  # deeper than anybody looks


def test_a_group_is_its_least_retryable_member() -> None:
    slow, limited = TimeoutError(), StatusError(retry_after=9, **LIMITED)
    assert classify(ExceptionGroup("g", [slow, limited])).retry_after == 9
    group = ExceptionGroup("g", [slow, ExceptionGroup("h", [limited, TypeError("x")])])
    failure = classify(group)
    assert (failure.kind, failure.retryable, failure.message) == (K.INVALID_REQUEST, False, "x")
    assert classify(ExceptionGroup("g", [Exception("boom"), StatusError(status_code=401)])).kind is K.AUTH
    assert classify(BaseExceptionGroup("g", [KeyboardInterrupt(), slow])).kind is K.CANCELLED
    assert classify(chained(RuntimeError("x"), ExceptionGroup("g", [slow, limited]))).retry_after == 9
    forbidden = StatusError(headers={"x-should-retry": "false"}, status_code=500)
    assert classify(ExceptionGroup("g", [limited, forbidden])).retryable is False


class Counted(Exception):
    """Counts how often anybody looks at one of them."""

    judged = 0

    @property
    def status_code(self) -> int:
        Counted.judged += 1
        return 503


def test_a_group_of_many_is_judged_whole() -> None:
    members: list[Exception] = [TimeoutError()] * 255
    assert classify(ExceptionGroup("g", members)).retryable is True
    assert classify(ExceptionGroup("g", [*members, TypeError("x")])).kind is K.INVALID_REQUEST


def test_what_a_group_has_beyond_the_bound_is_unknown_and_not_retried() -> None:
    read = 0

    class Slow(TimeoutError):
        def __str__(self) -> str:
            nonlocal read
            read += 1
            return "slow"

    assert classify(ExceptionGroup("g", [Slow() for _ in range(256)])).retryable is True
    nested = [ExceptionGroup("h", [Counted(TimeoutError()) for _ in range(1_000)]) for _ in range(100)]
    Counted.judged = 0
    for group in (ExceptionGroup("g", [Slow()] * 257), ExceptionGroup("g", nested)):
        failure = classify(group)
        assert (failure.kind, failure.retryable) == (K.UNKNOWN, False)
    assert read <= 2
    assert Counted.judged <= 256
    many: list[Exception] = [*[KeyError("k")] * 3, *[TimeoutError()] * 1_000]
    assert classify(ExceptionGroup("g", many)).kind is K.INVALID_REQUEST


def test_groups_that_cause_their_members_end() -> None:
    """Without a memory of the groups met this would take fifty to the eighth power steps."""
    members = [RuntimeError("x") for _ in range(50)]
    group = ExceptionGroup("g", members)
    for member in members:
        member.__cause__ = group
    assert classify(group).kind is classify(members[0]).kind is K.UNKNOWN
    below: Exception = StatusError(**LIMITED)
    for _ in range(4):
        several = [RuntimeError("x") for _ in range(50)]
        for member in several:
            member.__cause__ = below
        below = ExceptionGroup("g", several)
    assert classify(below).kind is K.RATE_LIMIT


def test_groups_nested_deeply_end() -> None:
    group: Exception = TimeoutError()
    for _ in range(200):
        group = ExceptionGroup("g", [group])
    assert classify(group).kind in (K.UNKNOWN, K.TIMEOUT)


# --- rules of users -------------------------------------------------------------------------------


class AcmeError(Exception):
    pass


def test_a_rule_of_a_user_goes_first_until_it_is_taken_out() -> None:
    error = StatusError("x", status_code=500)
    unregister = register_rule(Rule(K.OVERLOADED, types=f"{__name__}.StatusError"))
    try:
        assert classify(error).kind is K.OVERLOADED
    finally:
        unregister()
        unregister()
    assert classify(error).kind is K.SERVER_ERROR


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (Rule(K.OVERLOADED, types="AcmeError"), AcmeError()),
        (Rule(K.OVERLOADED, types=["*meError"]), AcmeError()),
        (Rule(K.OVERLOADED, codes="ACME-7"), StatusError(code="acme-7")),
        (Rule(K.OVERLOADED, statuses=[418]), StatusError(status_code=418)),
        (Rule(K.OVERLOADED, says="come back on monday"), Exception("Closed; come back on Monday.")),
        (Rule(K.OVERLOADED, text=["acme*"]), Exception("acmeish")),
        (lambda error: K.OVERLOADED if "acme" in str(error) else None, Exception("acme")),
        (lambda error: "overloaded", Exception("x")),
        (lambda error: Failure(K.OVERLOADED, message="mine"), Exception("x")),
    ],
)
def test_rules_of_users_decide_by_any_evidence(rule: Any, error: Exception) -> None:
    assert classify(error).kind is not K.OVERLOADED
    unregister = register_rule(rule)
    try:
        assert classify(error).kind is K.OVERLOADED
        assert classify(chained(RuntimeError("wrapped"), error)).kind is K.OVERLOADED
    finally:
        unregister()


def test_the_newest_rule_is_asked_first_and_origin_is_kept() -> None:
    takers = [
        register_rule(Rule(K.AUTH, types="AcmeError")),
        register_rule(Rule(K.TIMEOUT, Origin.STORAGE, S.DEPENDENCY_TIMEOUT, types="AcmeError")),
    ]
    try:
        failure = classify(AcmeError("x"))
        assert (failure.kind, failure.origin, failure.scenario) == (
            K.TIMEOUT,
            Origin.STORAGE,
            S.DEPENDENCY_TIMEOUT,
        )
    finally:
        for take_out in takers:
            take_out()


def test_a_rule_of_a_user_sharpens_what_the_table_decides() -> None:
    limited = StatusError("seats of your plan are taken", code="ThrottlingException")
    named = type("ConnectError", (Exception,), {"__module__": "httpx"})("seats of your plan are taken")
    unregister = [
        register_rule(Rule(K.QUOTA_EXHAUSTED, sharpens=("seats of your plan",), within=K.RATE_LIMIT)),
        register_rule(Rule(K.NETWORK, retryable=False, sharpens="seats of your plan", within=K.NETWORK)),
    ]
    try:
        assert classify(limited).kind is K.QUOTA_EXHAUSTED
        assert classify(StatusError("no", status_code=429)).kind is K.RATE_LIMIT
        assert (classify(named).kind, classify(named).retryable) == (K.NETWORK, False)
    finally:
        for take_out in unregister:
            take_out()
    assert (classify(limited).kind, classify(named).retryable) == (K.RATE_LIMIT, True)


@pytest.mark.parametrize("given", [{"sharpens": ("a",)}, {"within": K.NETWORK}])
def test_sharpens_and_within_belong_together(given: Any) -> None:
    with pytest.raises(ValueError, match="sharpens and within"):
        Rule(K.NETWORK, **given)


def test_a_rule_may_say_whether_to_retry_and_the_server_overrules_it() -> None:
    unregister = register_rule(Rule(K.SERVER_ERROR, retryable=False, codes="acme_down"))
    try:
        assert not classify(StatusError(code="acme_down")).retryable
        assert classify(StatusError(code="acme_down", headers={"x-should-retry": "true"})).retryable
    finally:
        unregister()


def test_a_bug_of_the_callers_is_never_retried_whatever_caused_it() -> None:
    for bug in (TypeError("x"), KeyError("x"), AttributeError("x")):
        failure = classify(chained(bug, TimeoutError()))
        assert (failure.kind, failure.origin, failure.retryable) == (K.INVALID_REQUEST, Origin.CALLER, False)


def test_a_rule_that_raises_is_skipped_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def broken(error: BaseException) -> FailureKind:
        raise RuntimeError("rule is broken")

    unregister = register_rule(broken)
    try:
        assert [classify(StatusError(**LIMITED)).kind for _ in range(3)] == [K.RATE_LIMIT] * 3
        assert classify(TimeoutError()).kind is K.TIMEOUT
    finally:
        unregister()
    assert len([record for record in caplog.records if record.name == "techrevati.runtime.failures"]) == 1


def test_a_rule_may_answer_nonsense() -> None:
    unregister = register_rule(lambda error: "no such kind")  # type: ignore[arg-type, return-value]
    try:
        assert classify(TimeoutError()).kind is K.TIMEOUT
    finally:
        unregister()


def test_rules_are_bounded_and_checked() -> None:
    with pytest.raises(TypeError, match="rule must be"):
        register_rule("timeout")  # type: ignore[arg-type]
    takers = [register_rule(lambda error: None) for _ in range(MAX_USER_RULES)]
    try:
        with pytest.raises(ValueError, match=str(MAX_USER_RULES)):
            register_rule(lambda error: None)
    finally:
        for take_out in takers:
            take_out()
    register_rule(lambda error: None)()


def test_registering_from_many_threads_loses_nothing() -> None:
    threads, start = 8, threading.Barrier(8)
    results: list[FailureKind] = []

    def work(number: int) -> None:
        name = f"Acme{number}Error"
        error = type(name, (Exception,), {})("x")
        start.wait()
        for _ in range(50):
            unregister = register_rule(Rule(K.OVERLOADED, types=name))
            results.append(classify(error).kind)
            unregister()
            results.append(classify(error).kind)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results.count(K.OVERLOADED) == results.count(K.UNKNOWN) == threads * 50


# --- hostile exceptions ---------------------------------------------------------------------------


class Hostile(Exception):
    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError("str")


class Mocking(Exception):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock()


class BrokenDict(dict[Any, Any]):
    def get(self, *args: object) -> object:
        raise RuntimeError("get")

    items = __contains__ = __getitem__ = get  # type: ignore[assignment]


def endless() -> Any:
    while True:
        yield ("retry-after", "5")


@pytest.mark.parametrize(
    "error",
    [
        Mocking(),
        StatusError(response=MagicMock(), body=MagicMock(), headers=MagicMock(), code=MagicMock()),
        StatusError(body=BrokenDict(), headers=BrokenDict(), response=BrokenDict()),
        StatusError(headers=[None, (1,), ("a", "b", "c"), 7]),
        StatusError(headers={None: None, 1: 2, b"\xff": b"\xff"}),
        StatusError(body="{" * 100_000),
        StatusError(body="[" * 100_000),
        StatusError(body=b"\xff\xfe{"),
        StatusError(details=[None, {"violations": [None, {"quotaId": 7}]}, {"retryDelay": 7}]),
        StatusError(body={"error": {"details": {"error_code": []}, "innererror": 7, "metadata": []}}),
        StatusError(retry_after=MagicMock(), request_id=7, status_code=float("nan")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_hostile_exceptions_are_classified_all_the_same(error: BaseException) -> None:
    failure = classify(error)
    assert failure.retry_after is None
    assert repr(failure)
    assert isinstance(provider_failures(error), bool)
    assert classify(chained(RuntimeError("x"), error)) == classify(chained(RuntimeError("x"), error))


def test_an_exception_that_answers_nothing_is_unknown() -> None:
    """Not even its ``__class__`` or ``__cause__`` can be read."""
    error = Hostile()
    assert classify(error).kind is K.UNKNOWN
    assert classify(error).message == "Hostile"
    assert provider_failures(error) is True


def test_a_broken_attribute_does_not_hide_the_others() -> None:
    class Half(Exception):
        status_code = 429

        @property
        def body(self) -> object:
            raise RuntimeError("closed")

        headers = BrokenDict()

    assert classify(Half("x")).kind is K.RATE_LIMIT


def unreadable_args(self: BaseException) -> object:
    raise RuntimeError("args")


def test_the_short_way_and_the_long_one_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that decides alone is answered at once, but only when nothing else could have a say."""
    words = ("", "no", "try again in 3 seconds", "certificate verify failed", "tokens per day")
    kinds = [TimeoutError, KeyError, ConnectionResetError, MemoryError, asyncio.CancelledError, OSError]
    kinds += [json.JSONDecodeError, RecursionError, FileNotFoundError, PermissionError, ValueError, TypeError]
    kinds += [type("ToolError", (Exception,), {}), type("NetworkError", (Exception,), {})]
    kinds.append(type("UsageLimitExceeded", (Exception,), {}))
    errors: list[BaseException] = []
    for kind in kinds:
        for text in words:
            made = kind(text, "", 0) if kind is json.JSONDecodeError else kind(*([text] if text else []))
            errors += [
                made,
                chained(RuntimeError("x"), made),
                chained(made, StatusError(retry_after=2, **LIMITED)),
            ]
    errors += [
        TimeoutError({"error": {"code": "insufficient_quota"}}),
        OSError(28, "full"),
        TimeoutError(110, "t"),
    ]
    held = TimeoutError("t")
    held.__dict__.update(status_code=504, headers={"x-should-retry": "false"})
    errors.append(held)
    for code in ("invalid_api_key", "insufficient_quota", "rate_limit_exceeded", "context_length_exceeded"):
        for status in (200, 401, 429, 529):
            body = {"message": "Your certificate has expired", "code": code}
            told = StatusError(
                status_code=status, headers={"retry-after": "3", "x-request-id": "req_a"}, body=body
            )
            errors += [told, chained(told, StatusError(retry_after=2, **LIMITED))]
    short = [classify(error, now=0) for error in errors]
    monkeypatch.setattr(classification, "_bare", lambda error, values: None)
    with_facts = [classify(error, now=0) for error in errors]
    forget = register_rule(lambda error: None)  # somebody has rules: nothing is decided early
    try:
        whole = [classify(error, now=0) for error in errors]
    finally:
        forget()
    for error, one, two, three in zip(errors, short, with_facts, whole, strict=True):
        assert one == two == three, repr(error)
    assert classify(held).retryable is False


@pytest.mark.parametrize("args", [7, True, {"a": 1}, "text", [], property(unreadable_args)])
def test_args_of_another_shape_do_not_hide_what_the_text_says(args: object) -> None:
    kind = type("Foreign", (Exception,), {"args": args, "__str__": lambda self: "rate limit reached"})
    assert classify(kind()).kind is K.RATE_LIMIT


def test_headers_without_end_are_read_for_a_while() -> None:
    class Headers:
        def items(self) -> Any:
            return endless()

    assert classify(StatusError(headers=Headers(), **LIMITED)).retry_after == 5.0


def test_interrupts_inside_a_property_are_not_swallowed() -> None:
    class Interrupted(Exception):
        @property
        def status_code(self) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify(Interrupted())


def test_classes_made_on_the_fly_do_not_pile_up() -> None:
    from techrevati.runtime.failures import index

    for number in range(2_000):
        classify(type(f"Fly{number}Error", (Exception,), {})("x"))
    assert len(index._classes) <= index.MAX_CLASSES


# --- loading --------------------------------------------------------------------------------------


def test_loading_and_classifying_facts_imports_nothing_heavy() -> None:
    place = str(Path(techrevati.runtime.__file__).parents[2])
    script = (
        f"import sys; sys.path.insert(0, {place!r})"
        + """
before = set(sys.modules)
from techrevati.runtime.failures import classify
loaded = set(sys.modules) - before
heavy = {"asyncio", "sqlite3", "json", "logging", "random", "ssl", "http", "email", "dataclasses", "typing",
         "re", "contextlib", "datetime", "openai", "anthropic"}
assert not loaded & heavy, loaded & heavy
error = Exception("x"); error.status_code = 429; error.headers = {"retry-after": "3"}
failure = classify(error)
assert failure.retry_after == 3.0
assert "re" not in set(sys.modules) - before, "a regular expression was not needed"
print("ok")
"""
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "ok\n", done.stderr
