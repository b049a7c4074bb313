"""Count what one agent hands to another: a delegated task of the budget of who hands it over.

It is taken before the other agent does anything, and for good: a task that was begun was handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.integrations.call_guard import CallGuard
    from techrevati.runtime.integrations.model_request import ModelRequest

_NOTHING = UsageSnapshot()
UNIT = "delegated_tasks"


def counts(budget: Budget | None) -> bool:
    """Whether *budget*, or one above it, limits delegated tasks."""
    return budget is not None and UNIT in budget.limited


def delegate(budget: Budget | None, guard: CallGuard, request: ModelRequest) -> None:
    """Take one delegated task out of *budget*.

    Args:
        guard: Whose it is; one that only observes tells the refusal.
        request: What the refusal is told of.

    Raises:
        BudgetExceededError: None is left.
    """
    if budget is None or not counts(budget):
        return
    try:
        budget.reserve(delegated_tasks=1, wall_seconds=0).settle(_NOTHING)
    except Exception as refusal:
        guard._observed(refusal, request)


async def adelegate(budget: Budget | None, guard: CallGuard, request: ModelRequest) -> None:
    """:func:`delegate` without blocking the event loop while a ledger is written."""
    if budget is None or not counts(budget):
        return
    try:
        await (await budget.areserve(delegated_tasks=1, wall_seconds=0)).asettle(_NOTHING)
    except Exception as refusal:
        guard._observed(refusal, request)
