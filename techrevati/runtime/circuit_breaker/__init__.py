"""Stop calling a dependency that keeps failing.

    closed --too many failures--> open --recovery time--> half-open --good probes--> closed
                                   ^------- failed probes -----'

``core`` decides over a frozen ``Gate``: pure functions that take the time as an argument, never wait and
never lock.  The breakers add a clock, a lock around each decision and, for tasks, an ``await``.  Every
trip, reopening, closing and reset starts a new *epoch*; news of a call from an older epoch changes
nothing.  A cancelled call gives its permit back and proves nothing.
"""

# People import this package alone, so it stays off ``dataclasses``, ``typing``, ``contextlib`` and
# ``logging``: each of them costs more to import than everything here.

from __future__ import annotations

from techrevati.runtime.circuit_breaker.async_breaker import AsyncCircuitBreaker
from techrevati.runtime.circuit_breaker.breaker import CircuitBreaker
from techrevati.runtime.circuit_breaker.guard import CircuitGuard
from techrevati.runtime.circuit_breaker.registry import BreakerRegistry
from techrevati.runtime.circuit_breaker.snapshot import BreakerSnapshot
from techrevati.runtime.circuit_breaker.vocabulary import CircuitOpenError, CircuitState

__all__ = [
    "AsyncCircuitBreaker",
    "BreakerRegistry",
    "BreakerSnapshot",
    "CircuitBreaker",
    "CircuitGuard",
    "CircuitOpenError",
    "CircuitState",
]
