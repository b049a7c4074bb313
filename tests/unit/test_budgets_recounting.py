"""Budgets without a ledger count what earlier lives of a journalled run used: once, and never too little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.budgets.recounting import NotedSteps
from techrevati.runtime.journal import Journal, Replayer
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.stores import MemoryStore
from techrevati.runtime.testing import FakeClock
from techrevati.runtime.usage import UsageSnapshot

MODEL, USAGE = "recounted-model", UsageSnapshot(200_000, 100_000)  # 3 dollars
LIMITS = {"model_calls": 9, "attempts": 9, "turns": 9, "tool_calls": 9, "total_tokens": 10_000_000}
ONCE = {
    "usd": Decimal(3),
    "model_calls": 1,
    "attempts": 1,
    "turns": 1,
    "tool_calls": 1,
    "total_tokens": 300_000,
}


@pytest.fixture(autouse=True)
def priced() -> None:
    register_pricing(MODEL, ModelPricing(10, 10))


def never(*_: object) -> Any:
    raise AssertionError("called again")


class Usages:
    """Reads the usage of a stream whose items are texts."""

    complete = True

    def add(self, chunk: object) -> None: ...

    def snapshot(self) -> UsageSnapshot:
        return USAGE


def turn(agent: Orchestrator, first: bool) -> None:
    with agent.session() as session:
        session.run_turn((lambda: "answer") if first else never, MODEL, usage=USAGE)
        session.run_tool("t", (lambda: 1) if first else never)


def aturn(agent: Orchestrator, first: bool) -> None:
    async def main() -> None:
        async with agent.asession() as session:
            await session.arun_turn((lambda: "answer") if first else never, MODEL, usage=USAGE)
            await session.arun_tool("t", (lambda: 1) if first else never)

    asyncio.run(main())


def stream(agent: Orchestrator, first: bool) -> None:
    def items() -> Iterator[str]:
        yield "answer"

    with agent.session() as session:
        opened = session.run_stream(
            items if first else never,
            MODEL,
            usage=Usages(),
            input_tokens=200_000,
            max_output_tokens=100_000,
        )
        assert list(opened) == ["answer"]
        session.run_tool("t", (lambda: 1) if first else never)


def astream(agent: Orchestrator, first: bool) -> None:
    async def items() -> AsyncIterator[str]:
        yield "answer"

    async def main() -> None:
        async with agent.asession() as session:
            opened = await session.arun_stream(
                items if first else never,
                MODEL,
                usage=Usages(),
                input_tokens=200_000,
                max_output_tokens=100_000,
            )
            assert [item async for item in opened] == ["answer"]
            await session.arun_tool("t", (lambda: 1) if first else never)

    asyncio.run(main())


Life = Callable[[Orchestrator, bool], None]
each_way = pytest.mark.parametrize("life", [turn, aturn, stream, astream], ids=lambda life: life.__name__)


def agent_with(store: MemoryStore, budget: Budget, **options: Any) -> Orchestrator:
    return Orchestrator(
        "role", "phase", journal=Journal(store, **options), run_id="r", budget=budget, ledger=None
    )


@each_way
def test_a_new_process_counts_what_was_used_before(life: Life) -> None:
    """Each process has a budget of its own; what is used up refuses what is new, not what is on record."""
    store = MemoryStore()
    for first in (True, False, False):
        budget = Budget("b", 10, limits=LIMITS)
        life(agent_with(store, budget), first)
        assert budget.snapshot().settled == ONCE
        assert not any(budget.snapshot().reserved.values())
    small = Budget("b", Decimal("2.5"))
    agent = agent_with(store, small)
    with agent.session() as session:
        if life in (turn, aturn):
            session.run_turn(never, MODEL, usage=USAGE)
        else:
            assert list(session.run_stream(never, MODEL)) == ["answer"]
        session.run_tool("t", never)
        with pytest.raises(BudgetExceededError):
            session.run_turn(never, MODEL, usage=UsageSnapshot(1, 1))
    assert small.snapshot().settled["usd"] == 3


@each_way
def test_one_budget_through_several_lives_counts_once(life: Life) -> None:
    """Resumed in the same process, nothing is counted again: here, or in the parent of a new child."""
    store, budget = MemoryStore(), Budget("b", 10, limits=LIMITS)
    for first in (True, False, False):
        life(agent_with(store, budget), first)
        assert budget.snapshot().settled == ONCE
    store, parent = MemoryStore(), Budget("b", 10, limits=LIMITS)
    for first in (True, False, False):
        child = parent.child("life", 10, limits=LIMITS)
        life(agent_with(store, child), first)
        assert child.snapshot().settled == ONCE
        assert parent.snapshot().settled == ONCE


def test_what_belongs_to_a_window_that_is_over_is_not_counted() -> None:
    clock = FakeClock(1_000_020.0)
    store = MemoryStore(clock=clock)
    turn(agent_with(store, Budget("b", 10, per="minute", clock=clock), clock=clock), True)
    clock.advance(19.9)
    for later_s, usd in ((0.0, 3), (60.0, 0)):
        clock.advance(later_s)
        budget = Budget("b", 10, per="minute", clock=clock)
        turn(agent_with(store, budget, clock=clock), False)
        assert budget.snapshot().settled.get("usd", 0) == usd


def test_a_replay_touches_no_budget() -> None:
    store = MemoryStore()
    turn(agent_with(store, Budget("b", 10)), True)
    budget = Budget("b", 10, limits=LIMITS)
    turn(Orchestrator("role", "phase", journal=Replayer(Journal(store), "r"), budget=budget), False)
    assert budget.snapshot().settled == {}


def test_a_budget_with_a_ledger_remembers_by_itself() -> None:
    store = MemoryStore()
    with SpendLedger(":memory:") as ledger:
        for first in (True, False):
            budget = Budget("b", 10, limits=LIMITS, ledger=ledger)
            turn(agent_with(store, budget), first)
            assert budget.snapshot().settled == ONCE
        assert ledger.total() == 3


def test_thresholds_are_told_and_no_overrun() -> None:
    """A new process hears how much is used; what is counted was not used just now."""
    store = MemoryStore()
    turn(agent_with(store, Budget("b", 10)), True)
    told: list[int] = []
    events: list[str] = []

    class Sink:
        def emit(self, event: Any) -> None:
            events.append(event.event.value)

    budget = Budget("b", 3, on_threshold=lambda news: told.append(news.percent), event_sink=Sink())
    turn(agent_with(store, budget), False)
    assert told[-1] == 100
    assert set(events) == {"budget.threshold"}


def test_noted_steps_are_bounded() -> None:
    """The run that was noted first is forgotten, never the present one."""
    noted = NotedSteps(capacity=4)
    assert [noted.is_new("a", key) for key in ("1", "2", "1")] == [True, True, False]
    assert [noted.is_new("b", key) for key in ("1", "2", "3", "4", "5")] == [True] * 5
    assert not noted.is_new("b", "1")
    assert noted.is_new("a", "1")
    assert noted.is_new("b", "1")
