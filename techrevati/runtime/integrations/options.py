"""The options that every adapter takes, said once; see ``CallGuard`` for what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from techrevati.runtime._core.redactor import Redactor
    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, BreakerRegistry, CircuitBreaker
    from techrevati.runtime.deadlines import Deadline
    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.retry_policy import Retry
    from techrevati.runtime.sinks import EventSink


class GuardOptions(TypedDict, total=False):
    """What is around every model call of an adapter; the arguments of ``CallGuard``, all optional."""

    project: str | None
    breaker: CircuitBreaker | AsyncCircuitBreaker | BreakerRegistry | None
    budget: Budget | None
    retry: Retry | None
    ledger: SpendLedger | None
    deadline: Deadline | float | None
    user: str | None
    session: str | None
    run: str | None
    tags: Mapping[str, str] | None
    credential_id: str | None
    event_sink: EventSink | None
    redactor: Redactor | None
    observe_only: bool
    clock: Callable[[], float]
