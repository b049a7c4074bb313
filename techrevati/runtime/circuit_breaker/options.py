"""The keyword-only arguments that both faces of a breaker take, for type checkers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.circuit_breaker.books import StateListener
    from techrevati.runtime.stores.protocol import Store


class BreakerOptions(TypedDict, total=False):
    """See :class:`CircuitBreaker`."""

    probe_lease_seconds: float | None
    on_state_change: StateListener | None
    window_calls: int | None
    window_seconds: float | None
    failure_rate: float | None
    slow_call_seconds: float | None
    slow_call_rate: float | None
    minimum_calls: int | None
    counts_as_failure: Callable[[Exception], bool] | None
    result_is_failure: Callable[[object], bool] | None
    open_growth: float
    max_open_seconds: float
    open_jitter: float
    respect_retry_after: bool
    observe_only: bool
    rng: Callable[[], float] | None
    store: Store | None
    when_store_fails: str
