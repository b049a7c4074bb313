"""The adapter conformance kit: every adapter offline against the chaos endpoint, the same demands on each."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import pytest

from techrevati.runtime.approvals import Approvals
from techrevati.runtime.approvals.vocabulary import ApprovalError
from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.chaos import Fault, FaultKind
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker, CircuitOpenError
from techrevati.runtime.deadlines import DeadlineExceededError
from techrevati.runtime.guardrails import GuardrailOutcome, GuardrailViolatedError
from techrevati.runtime.integrations import ToolGuard, assert_guarded, coverage
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.permissions import (
    PermissionDeniedError,
    PermissionMode,
    PermissionPolicy,
    RolePermissionConfig,
)
from techrevati.runtime.retry_policy import Retry
from techrevati.runtime.stores.memory import MemoryStore
from tests.integration.adapters import ADAPTERS, DELETED, Adapter, assert_no_task_left
from tests.integration.guard_shapes import ANSWER, endpoint

BUSY = Fault(FaultKind.UNAVAILABLE)
HERE = [one for one in ADAPTERS if one.available()]


def each(those: list[Adapter]) -> Any:
    return pytest.mark.parametrize("adapter", those, ids=[one.name for one in those])


every = each(HERE)
every_stream = each([one for one in HERE if one.streamed])
every_task = each([one for one in HERE if one.task])
every_tool = each([one for one in HERE if one.tool is not None])


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls."""
    coverage(reset=True)
    DELETED.clear()


class Waits(list[float]):
    """A retry that notes its waits and does not wait."""

    def retry(self, attempts: int = 3) -> Retry:
        async def asleep(seconds: float) -> None:
            self.append(seconds)

        return Retry(attempts, base_delay_seconds=0, sleep=self.append, asleep=asleep)


def options(**more: Any) -> dict[str, Any]:
    return {"project": "acme", "breaker": BreakerRegistry(), **more}


@every
def test_usage_equals_the_bill(adapter: Adapter, ledger: SpendLedger) -> None:
    """Two refusals and an answer: three physical requests on both sides, the same tokens and money."""
    budget = Budget("acme", 1, ledger=ledger)
    with endpoint(BUSY, BUSY) as server:
        made = options(budget=budget, ledger=ledger, retry=Waits().retry())
        assert adapter.run(server, made) == ANSWER
        server.wait_idle()
        records = list(ledger.records())
        billed = server.bill.usage
        assert server.bill.requests == len(records) == 3
        assert ledger.total(project="acme") == server.bill.cost_usd > 0
        assert sum(record.usage.input_tokens for record in records) == billed.input_tokens
        assert sum(record.usage.output_tokens for record in records) == billed.output_tokens
        assert {record.certainty for record in records} == {"measured"}
    assert budget.snapshot().settled["usd"] == ledger.total()
    assert not any(budget.snapshot().reserved.values())
    assert sum(row.requests for row in coverage()) == 3
    assert_guarded()


@every
def test_an_open_breaker_sends_nothing(adapter: Adapter) -> None:
    """The refusal is ours, of its own type."""
    breaker = CircuitBreaker("api")
    breaker.force_open()
    with endpoint() as server:
        with pytest.raises(CircuitOpenError):
            adapter.run(server, options(breaker=breaker))
        server.wait_idle()
        assert server.bill.requests == 0


@every
def test_a_spent_budget_sends_nothing(adapter: Adapter) -> None:
    """So is a budget's, and nothing stays reserved."""
    budget = Budget("small", 0.000001)
    with endpoint() as server:
        with pytest.raises(BudgetExceededError):
            adapter.run(server, options(budget=budget))
        server.wait_idle()
        assert server.bill.requests == 0
    assert not any(budget.snapshot().reserved.values())


@every
def test_a_deadline_that_is_over_sends_nothing(adapter: Adapter) -> None:
    """So is a deadline's."""
    with endpoint() as server:
        with pytest.raises(DeadlineExceededError):
            adapter.run(server, options(deadline=1e-9))
        server.wait_idle()
        assert server.bill.requests == 0


@every
def test_failures_open_the_breaker(adapter: Adapter) -> None:
    """A breaker that stands on the framework's way sees the provider's failures."""
    breaker = CircuitBreaker("api", failure_threshold=2)
    with endpoint(*[BUSY] * 9) as server:
        with pytest.raises((CircuitOpenError, _error(adapter))):
            adapter.run(server, options(breaker=breaker, retry=Waits().retry(2)))
        with pytest.raises(CircuitOpenError):
            adapter.run(server, options(breaker=breaker, retry=Waits().retry(2)))
        server.wait_idle()
        assert server.bill.requests == 2


def _error(adapter: Adapter) -> type[Exception]:
    for full_name in adapter.error:
        module, _, name = full_name.rpartition(".")
        found = getattr(importlib.import_module(module), name, None)
        if found is not None:
            return found
    raise AssertionError(adapter.error)


@every
def test_retry_after_is_waited_for_once(adapter: Adapter) -> None:
    """One wait of two seconds, and no retries of the SDK inside of ours."""
    limited = Fault(FaultKind.RATE_LIMIT, retry_after_s=2)
    waits = Waits()
    with endpoint(limited) as server:
        assert adapter.run(server, options(retry=waits.retry())) == ANSWER
        server.wait_idle()
        assert server.bill.requests == 2
    assert waits == [2.0]


@every
def test_errors_keep_their_type(adapter: Adapter) -> None:
    """After the last attempt comes what the framework raises without us."""
    with endpoint(*[BUSY] * 9) as server:
        with pytest.raises(_error(adapter)) as caught:
            adapter.run(server, options(retry=Waits().retry(2)))
        server.wait_idle()
        assert server.bill.requests == 2
    raised, wanted = type(caught.value), _error(adapter)
    assert (raised.__module__, raised.__name__) == (wanted.__module__, wanted.__name__)


@every_stream
def test_a_stream_that_is_left_is_estimated(adapter: Adapter, ledger: SpendLedger) -> None:
    """Its books hold what had come, say that it is an estimate, and nothing stays reserved."""
    budget = Budget("acme", 1, ledger=ledger)
    slow = Fault(FaultKind.SLOW_STREAM, delay_s=0.05)
    with endpoint(slow) as server:
        adapter.run(server, options(budget=budget, ledger=ledger), take=2)
    (record,) = ledger.records()
    assert record.certainty == "estimated"
    assert not any(budget.snapshot().reserved.values())


@every_task
def test_cancellation_lands(adapter: Adapter, ledger: SpendLedger) -> None:
    """A cancelled call ends at once, leaves no task and no reservation, and is no failure."""
    budget = Budget("acme", 1, ledger=ledger)
    breaker = CircuitBreaker("api", failure_threshold=1)

    async def go(server: Any) -> None:
        made = options(budget=budget, ledger=ledger, breaker=breaker)
        task = asyncio.ensure_future(adapter.ask(server, made, None))
        while not server.injected:
            await asyncio.sleep(0.01)
            assert not task.done()
        task.cancel()
        if sys.version_info < (3, 12) and adapter.name == "langchain, astream":
            # langchain-openai waits for chunks with asyncio.wait_for, which loses a cancellation that comes
            # together with a chunk: https://github.com/python/cpython/issues/86296
            await asyncio.wait({task}, timeout=5)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await assert_no_task_left()

    with endpoint(Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=20)) as server:
        asyncio.run(go(server))
    assert not any(budget.snapshot().reserved.values())
    assert not breaker.is_open()


def call_tool(adapter: Adapter, guard: ToolGuard, call_id: str = "call_1") -> Any:
    """One tool call, in a loop of its own where it is async."""
    assert adapter.tool is not None
    made = adapter.tool(guard, call_id)
    return asyncio.run(made) if asyncio.iscoroutine(made) else made


@every_tool
def test_a_permission_refuses(adapter: Adapter) -> None:
    """The tool does not run; the refusal comes out, or is told to the model."""
    policy = PermissionPolicy(
        [RolePermissionConfig("reader", PermissionMode.READ_ONLY)],
        {"delete_file": PermissionMode.FULL_ACCESS},
    )
    with pytest.raises(PermissionDeniedError):
        call_tool(adapter, ToolGuard(role="reader", permissions=policy))
    telling = ToolGuard(role="reader", permissions=policy, on_refusal="tell")
    assert "was refused" in call_tool(adapter, telling)
    assert DELETED == []
    assert call_tool(adapter, ToolGuard(role="writer", permissions=policy)) == "deleted a.txt"


class Renaming:
    """A guardrail that rewrites the argument and the result."""

    name = "renaming"

    def check_pre(self, *, role: str, tool: str, arguments: Any = None) -> GuardrailOutcome:
        """Other arguments."""
        return GuardrailOutcome.rewrite({"path": "b.txt"})

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Another result."""
        return GuardrailOutcome.rewrite(f"<{value}>")


class Refusing:
    """A guardrail that refuses."""

    name = "refusing"

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        """No."""
        return GuardrailOutcome(False, "no")

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Yes."""
        return GuardrailOutcome(True)


@every_tool
def test_guardrails_see_arguments_and_result(adapter: Adapter) -> None:
    """They may refuse, and rewrite both."""
    with pytest.raises(GuardrailViolatedError):
        call_tool(adapter, ToolGuard(guardrails=[Refusing()]))
    assert DELETED == []
    assert call_tool(adapter, ToolGuard(guardrails=[Renaming()])) == "<deleted b.txt>"
    assert DELETED == ["b.txt"]


@every_tool
def test_tool_calls_are_counted(adapter: Adapter) -> None:
    """The one too many does not run."""
    guard = ToolGuard(budget=Budget("acme", limits={"tool_calls": 1}))
    call_tool(adapter, guard)
    with pytest.raises(BudgetExceededError):
        call_tool(adapter, guard, "call_2")
    assert DELETED == ["a.txt"]


@every_tool
def test_a_double_resume_is_refused(adapter: Adapter) -> None:
    """A granted call runs once: asked, granted, resumed; resumed again it is refused."""
    approvals = Approvals(MemoryStore())
    guard = ToolGuard(approvals=approvals, ask_first=["delete_file"], run="r1")
    with pytest.raises(ApprovalError, match="nobody has decided"):
        call_tool(adapter, guard)
    approvals.grant("r1/call_1", "alice")
    assert call_tool(adapter, guard) == "deleted a.txt"
    with pytest.raises(ApprovalError, match="used already"):
        call_tool(adapter, guard)
    assert DELETED == ["a.txt"]
