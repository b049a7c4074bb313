"""Errors: one root, the built-in where habit expects one, and facts that travel."""

from __future__ import annotations

import builtins
import copy
import importlib
import pickle
import pkgutil
import threading
from typing import Any

import pytest

import techrevati.runtime
from techrevati.runtime import (
    AgentStatus,
    BudgetExceededError,
    CircuitOpenError,
    DeadlineExceededError,
    GuardrailOutcome,
    GuardrailViolatedError,
    InputStateError,
    InvalidTransitionError,
    LoopDetectedError,
    MaxIterationsExceededError,
    NoTargetError,
    OutputInvalidError,
    PermissionDeniedError,
    PermissionOutcome,
    SessionEndedError,
    StreamStalledError,
    TechrevatiError,
    TurnTimeoutError,
    UnknownWorkerError,
    UsageNotFoundError,
    UsageSnapshot,
)
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.unbegun import CoroutineGiven
from techrevati.runtime.approvals import (
    ApprovalConsumedError,
    ApprovalDeniedError,
    ApprovalError,
    ApprovalExpiredError,
    ApprovalMismatchError,
    ApprovalPendingError,
    UnknownApprovalError,
)
from techrevati.runtime.budgets import ReservationSettledError
from techrevati.runtime.bulkhead import BulkheadFullError
from techrevati.runtime.guardrails.walking import UnreadableValueError
from techrevati.runtime.integrations import CallCoverage, UnguardedCallsError
from techrevati.runtime.integrations.answer_tap import StreamError
from techrevati.runtime.journal import (
    InDoubtError,
    JournalError,
    RecordedFailureError,
    ReplayMismatchError,
    ResultNotStorableError,
    RunBusyError,
    Step,
)
from techrevati.runtime.ledger import IdempotencyConflictError, UnknownReservationError
from techrevati.runtime.pipeline import PipelineOrderError
from techrevati.runtime.pricing import UnknownModelError, UnknownPriceError
from techrevati.runtime.rate_limit import RateLimitExceededError
from techrevati.runtime.stores import (
    NewerSchemaError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from techrevati.runtime.testing import EverythingWaitsError, ScriptExhaustedError

OTHER_ROOMS = ("chaos",)  # its errors are shown at work in its own tests


def error_classes() -> list[type[BaseException]]:
    """Every exception class of the library; the program's stand-in for a provider's client is none of it."""
    found: dict[str, type[BaseException]] = {}
    for module in pkgutil.walk_packages(techrevati.runtime.__path__, "techrevati.runtime."):
        if module.name.endswith("__main__") or module.name.startswith("techrevati.runtime.cli"):
            continue
        try:
            imported = importlib.import_module(module.name)
        except ImportError:  # an adapter, where the framework is not installed
            if not module.name.startswith("techrevati.runtime.integrations."):
                raise
            continue
        for value in vars(imported).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseException)
                and value.__module__.startswith("techrevati.runtime")
                and not value.__name__.startswith("_")  # never leaves its module
                and value is not CoroutineGiven  # no error, and never leaves the package
            ):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return [found[name] for name in sorted(found)]


CLASSES = error_classes()
REFUSED = PermissionOutcome(False, "no bash for writers", "READ_ONLY", "FULL_ACCESS")
BLOCKED = GuardrailOutcome(False, "too long")

EXAMPLES: list[tuple[TechrevatiError, type[BaseException], dict[str, Any], tuple[str, ...]]] = [
    (TechrevatiError("it broke"), Exception, {}, ("it broke",)),
    (
        BudgetExceededError(1.0, 1.25),
        Exception,
        {
            "budget_usd": 1.0,
            "current_cost_usd": 1.25,
            "has_result": False,
            "result": None,
            "usage": None,
            "limit": None,
            "used": None,
            "unit": None,
            "result_dropped": False,
        },
        ("1.25", "1"),
    ),
    (
        BudgetExceededError(1.0, 1.25, result={"answer": 42}, usage=UsageSnapshot(1, 2)),
        Exception,
        {"has_result": True, "result": {"answer": 42}, "usage": UsageSnapshot(1, 2), "result_dropped": False},
        ("1.25", "result"),
    ),
    (
        BudgetExceededError(1.0, 0.0, limit=100, used=120, unit="tokens", asked=20),
        Exception,
        {"limit": 100, "used": 120, "unit": "tokens"},
        ("100", "120", "tokens"),
    ),
    (CircuitOpenError("api", 2.5), Exception, {"name": "api", "retry_after": 2.5}, ("api", "2.5")),
    (CircuitOpenError("api"), Exception, {"name": "api", "retry_after": None}, ("api",)),
    (
        GuardrailViolatedError(BLOCKED, guardrail="size", role="writer", tool="bash", stage="post"),
        Exception,
        {"outcome": BLOCKED, "guardrail": "size", "role": "writer", "tool": "bash", "stage": "post"},
        ("size", "bash", "post", "too long"),
    ),
    (
        InvalidTransitionError(AgentStatus.IDLE, AgentStatus.RUNNING),
        ValueError,
        {"current": AgentStatus.IDLE, "target": AgentStatus.RUNNING},
        ("idle", "running", "initializing"),
    ),
    (
        OutputInvalidError(3, "not JSON", answer="sk-secret", usage=UsageSnapshot(1, 2)),
        ValueError,
        {"asks": 3, "problem": "not JSON", "answer": "sk-secret", "usage": UsageSnapshot(1, 2)},
        ("3 times", "not JSON"),
    ),
    (
        LoopDetectedError("repeated_call", period=1, repetitions=5, limit=5, step="tool 'a'"),
        RuntimeError,
        {
            "kind": "repeated_call",
            "period": 1,
            "repetitions": 5,
            "limit": 5,
            "step": "tool 'a'",
            "result": None,
        },
        ("the same call", "5 times", "tool 'a'"),
    ),
    (MaxIterationsExceededError(25), RuntimeError, {"max_iterations": 25}, ("25",)),
    (PermissionDeniedError(REFUSED), PermissionError, {"outcome": REFUSED}, ("no bash for writers",)),
    (UnknownWorkerError("w-1"), KeyError, {"worker_id": "w-1"}, ("w-1",)),
    (InputStateError("nobody waits"), RuntimeError, {"problem": "nobody waits"}, ("nobody waits",)),
    (SessionEndedError("completed"), RuntimeError, {"state": "completed"}, ("completed",)),
    (TurnTimeoutError(1.5), TimeoutError, {"timeout_seconds": 1.5}, ("1.5",)),
    (UsageNotFoundError("dict with a, b"), ValueError, {"seen": "dict with a, b"}, ("dict with a, b",)),
    (EverythingWaitsError(), RuntimeError, {}, ("waits",)),
    (DeadlineExceededError(2.5), TimeoutError, {"seconds": 2.5}, ("2.5 s",)),
    (
        StreamStalledError("idle", 2.5, 7),
        TimeoutError,
        {"phase": "idle", "seconds": 2.5, "chunks": 7},
        ("7 chunks", "2.5 s"),
    ),
    (NoTargetError((), 2.0), RuntimeError, {"skipped": (), "retry_after": 2.0}, ("2 s",)),
    (ScriptExhaustedError(3), AssertionError, {"entries": 3}, ("3 entries",)),
]
EXAMPLES += [
    (
        ReservationSettledError("call-1", "settled"),
        RuntimeError,
        {"key": "call-1", "state": "settled"},
        ("call-1", "settled"),
    ),
    (
        BulkheadFullError("api", "queue_full", max_concurrent=2, running=2, queued=3, waited_seconds=0.5),
        TechrevatiError,
        {"name": "api", "reason": "queue_full", "max_concurrent": 2, "running": 2, "queued": 3},
        ("api", "2 of 2", "3 wait"),
    ),
    (UnreadableValueError("nested too deeply at $"), ValueError, {}, ("nested too deeply at $",)),
    (
        IdempotencyConflictError("call-1", ("usage",)),
        ValueError,
        {"key": "call-1", "differs": ("usage",)},
        ("call-1", "usage"),
    ),
    (UnknownReservationError("call-1"), KeyError, {"key": "call-1"}, ("call-1",)),
    (
        PipelineOrderError("A breaker stands outside a retry."),
        ValueError,
        {"why": "A breaker stands outside a retry."},
        ("A breaker", "outermost first"),
    ),
    (
        UnknownModelError("gpt-9", ("gpt-5",)),
        KeyError,
        {"model": "gpt-9", "near": ("gpt-5",)},
        ("gpt-9", "did you mean 'gpt-5'"),
    ),
    (
        UnknownPriceError("gpt-5", "tier 'fast'"),
        LookupError,
        {"model": "gpt-5", "wanted": "tier 'fast'"},
        ("gpt-5", "tier 'fast'"),
    ),
    (
        RateLimitExceededError("api", "60 requests", 2.5),
        TechrevatiError,
        {"name": "api", "limit": "60 requests", "retry_after": 2.5, "reason": "wait"},
        ("api", "60 requests", "2.5 s"),
    ),
    (
        StoreError("runs.db", "it is a folder"),
        TechrevatiError,
        {"place": "runs.db", "reason": "it is a folder"},
        ("runs.db: it is a folder",),
    ),
    (
        StoreLockedError("runs.db", "locked", "locked"),
        OSError,
        {"place": "runs.db", "reason": "locked", "cause": "locked"},
        ("runs.db: locked",),
    ),
    (
        StoreUnavailableError("runs.db", "locked", "busy"),
        OSError,
        {"place": "runs.db", "reason": "locked", "cause": "busy"},
        ("runs.db: locked",),
    ),
    (StoreCorruptError("runs.db", "not a database"), StoreError, {"place": "runs.db"}, ("not a database",)),
    (
        NewerSchemaError("runs.db", "ledger", 9, 1),
        StoreError,
        {"place": "runs.db", "found": 9, "known": 1},
        ("ledger", "9", "1"),
    ),
]
STEP, OTHER_STEP = Step("pay", "tool", "bank"), Step("mail", "tool", "post")
APPROVALS: tuple[tuple[type[ApprovalError], type[BaseException]], ...] = (
    (ApprovalError, TechrevatiError),
    (UnknownApprovalError, KeyError),
    (ApprovalPendingError, ApprovalError),
    (ApprovalDeniedError, PermissionError),
    (ApprovalExpiredError, ApprovalError),
    (ApprovalConsumedError, ApprovalError),
    (ApprovalMismatchError, ValueError),
)
EXAMPLES += [
    *(
        (kind("a-1", "bank", "no"), built_in, {"id": "a-1", "tool": "bank", "problem": "no"}, ("a-1", "bank"))
        for kind, built_in in APPROVALS
    ),
    (
        JournalError("r-1", "closed"),
        TechrevatiError,
        {"run_id": "r-1", "problem": "closed"},
        ("r-1", "closed"),
    ),
    (RunBusyError("r-1", "open elsewhere", 2.5), JournalError, {"retry_after": 2.5}, ("r-1", "elsewhere")),
    (InDoubtError("r-1", STEP), JournalError, {"run_id": "r-1", "step": STEP}, ("r-1", "pay")),
    (
        ReplayMismatchError("r-1", STEP, OTHER_STEP),
        ValueError,
        {"recorded": STEP, "asked": OTHER_STEP},
        ("pay", "bank", "mail", "post"),
    ),
    (
        ResultNotStorableError("r-1", "pay", {"paid": 1}, "no JSON"),
        TypeError,
        {"key": "pay", "result": {"paid": 1}},
        ("pay", "no JSON"),
    ),
    (
        RecordedFailureError("r-1", "pay", {"type": "BankError", "message": "shut"}),
        JournalError,
        {"key": "pay", "failure": {"type": "BankError", "message": "shut"}},
        ("pay", "BankError", "shut"),
    ),
]
EXAMPLES += [
    (
        UnguardedCallsError((CallCoverage("openai", "POST /images/generations", "passed through", 2),)),
        AssertionError,
        {"rows": (CallCoverage("openai", "POST /images/generations", "passed through", 2),)},
        ("openai", "POST /images/generations", "passed through"),
    ),
    (
        StreamError({"error": {"type": "overloaded_error", "message": "Busy"}}),
        TechrevatiError,
        {"type": "overloaded_error", "body": {"error": {"type": "overloaded_error", "message": "Busy"}}},
        ("Busy",),
    ),
]
IDS = [type(example[0]).__name__ for example in EXAMPLES]


def travelled(error: TechrevatiError) -> list[TechrevatiError]:
    """*error* after every way an error travels."""
    pickled = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]  # noqa: S301
    return [copy.copy(error), copy.deepcopy(error), *pickled]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__[19:]}.{kind.__name__}")
def test_every_error_has_one_root(kind: type[BaseException]) -> None:
    """Each class derives from TechrevatiError and is named for what it is."""
    assert issubclass(kind, TechrevatiError)
    assert kind.__name__.endswith("Error")
    assert kind.__name__ not in vars(builtins)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__[19:]}.{kind.__name__}")
def test_every_error_class_has_its_example_here(kind: type[BaseException]) -> None:
    """A new error of the runtime is tried out below."""
    room = kind.__module__.split(".")[2]
    assert room in OTHER_ROOMS or kind in {type(example[0]) for example in EXAMPLES}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: f"{kind.__module__[19:]}.{kind.__name__}")
def test_any_error_travels_whatever_its_constructor(kind: type[TechrevatiError]) -> None:
    """Arguments, attributes and notes arrive; the constructor is not asked."""
    error = kind.__new__(kind)
    error.args = ("a", 1)
    error.__dict__["fact"] = {"deep": [1, 2]}
    error.add_note("seen in test")
    if kind is BudgetExceededError:
        error.__dict__.update(result=None, usage=None)
    for again in travelled(error):
        assert type(again) is kind
        assert again.args == ("a", 1)
        assert again.__dict__ == error.__dict__


@pytest.mark.parametrize(("error", "built_in", "facts", "words"), EXAMPLES, ids=IDS)
def test_errors_carry_their_facts(
    error: TechrevatiError, built_in: type[BaseException], facts: dict[str, Any], words: tuple[str, ...]
) -> None:
    """As attributes for code, in the text for people, and by the built-in they specialise."""
    assert isinstance(error, built_in)
    assert {name: getattr(error, name) for name in facts} == facts
    for word in words:
        assert word in str(error)
    with pytest.raises(built_in):
        raise error


@pytest.mark.parametrize(("error", "built_in", "facts", "words"), EXAMPLES, ids=IDS)
def test_errors_travel(
    error: TechrevatiError, built_in: type[BaseException], facts: dict[str, Any], words: tuple[str, ...]
) -> None:
    """Copied, deep-copied and pickled with every protocol, they say and are the same."""
    for again in travelled(error):
        assert type(again) is type(error)
        assert isinstance(again, built_in)
        assert {name: getattr(again, name) for name in facts} == facts
        assert (str(again), again.args) == (str(error), error.args)


def test_subclasses_of_users_travel() -> None:
    """Also with keyword-only constructors and attributes of their own."""
    error = QuotaError(limit=3, owner="me")
    for again in travelled(error):
        assert isinstance(again, QuotaError)
        assert (again.limit, again.owner, str(again)) == (3, "me", "quota of me")


class QuotaError(TechrevatiError, RuntimeError):
    def __init__(self, *, limit: int, owner: str) -> None:
        super().__init__(f"quota of {owner}")
        self.limit = limit
        self.owner = owner


def test_a_result_that_cannot_be_pickled_is_dropped_and_said_so() -> None:
    """The error arrives without it; usage and figures arrive; the original keeps everything."""
    lock = threading.Lock()
    error = BudgetExceededError(1.0, 2.0, has_result=True, result=lock, usage=UsageSnapshot(1))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.has_result, again.result, again.result_dropped) == (True, None, True)
    assert (again.usage, again.current_cost_usd) == (UsageSnapshot(1), 2.0)
    assert error.result is lock
    assert error.result_dropped is False
    assert copy.copy(error).result is lock


def test_a_paid_none_is_a_result() -> None:
    """``has_result`` tells a call that returned None from no call at all."""
    assert BudgetExceededError(1.0, 2.0, has_result=True, result=None).has_result is True
    assert BudgetExceededError(1.0, 2.0).has_result is False
    assert BudgetExceededError(1.0, 2.0, result="").has_result is True


def test_the_text_of_a_budget_error_does_not_show_the_result() -> None:
    """An answer may hold anything; it is in ``.result``, not in logs."""
    error = BudgetExceededError(1.0, 2.0, has_result=True, result="the secret plan")
    assert "secret plan" not in str(error)
    assert "secret plan" not in repr(error)


def test_an_error_without_arguments_still_says_something() -> None:
    """Its name."""
    assert str(TechrevatiError()) == "TechrevatiError"
    assert str(TechrevatiError("a", 1)) == "a, 1"


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError, TechrevatiError])
def test_error_text_has_no_credentials(kind: type[Exception]) -> None:
    """What events and logs say of an error names its type and hides keys."""
    text = error_text(kind("401 for Bearer abcdefghij0123456789 with sk-proj-abcdefghijklmnop0123456789"))
    assert text.startswith(f"{kind.__name__}: ")
    assert "0123456789" not in text
    assert "401" in text


def test_error_text_of_hostile_errors() -> None:
    """An error whose ``str`` raises is named by its type; an empty one too; a long one is cut."""

    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert error_text(HostileError()) == "HostileError"
    assert error_text(ValueError()) == "ValueError"
    assert len(error_text(ValueError("x" * 1_000_000))) <= 2_000
