"""The synchronous session: one call each for a turn and a tool."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from techrevati.runtime.deadlines import Timeout
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.phase import SessionPhase
from techrevati.runtime.orchestrator.tools import SessionTools
from techrevati.runtime.orchestrator.turns import SessionTurns
from techrevati.runtime.retry_policy import attempt_recovery

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self, TypeVar

    from techrevati.runtime.circuit_breaker import CircuitBreaker
    from techrevati.runtime.retry_policy import Recovery
    from techrevati.runtime.usage import UsageSnapshot

    T = TypeVar("T")


class OrchestrationSession(SessionTurns, SessionTools, SessionPhase):
    """One run of an agent, for ``with``.

    Entering walks the worker to RUNNING.  Leaving cleanly completes it; an exception is classified, moves it
    to FAILED and goes on; Ctrl-C and the like move it to CANCELLED and go on.
    """

    def __enter__(self) -> Self:
        self._enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(error)

    def run_turn(
        self,
        fn: Callable[[], T],
        model: str = "",
        usage: UsageSnapshot | None = None,
        estimate_usage: Callable[[T], UsageSnapshot] | None = None,
        timeout: float | None = None,
    ) -> tuple[T, UsageSnapshot]:
        """Run one model call and book it.

        Args:
            fn: Makes the call and returns its result.
            model: What to price it as; ``""`` counts tokens only.
            usage: What it used, if known before.
            estimate_usage: Says from the result what it used.  With neither, the result itself is read,
                and one that says nothing counts as zero.
            timeout: Seconds to wait for it, in a thread of its own (see ``deadlines.Timeout``).

        Returns:
            The result and what it used.

        Raises:
            MaxIterationsExceededError, CircuitOpenError: *fn* was not called.
            TurnTimeoutError: It did not end in time; what it returns later becomes an event.
            BudgetExceededError: The budget is enforced and used up: before the call, or after it with the
                paid result in ``result``.
            Exception: Whatever *fn* raised, after a recovery event; with a ``recovery``, what the last
                attempt raised.
        """
        self._begin_turn(usage, estimate_usage, timeout)
        call = fn
        if timeout is not None:
            late = self._late_outcome(model, usage, estimate_usage)
            call = partial(Timeout(timeout, on_late=late).call, fn)
        config = self._config
        breaker = config.circuit_breaker
        if breaker is None and config.async_circuit_breaker is not None:
            breaker = config.async_circuit_breaker.as_sync()
        if config.recovery is not None:
            return self._end_turn(
                self._recovered(config.recovery, call, breaker, model), model, usage, estimate_usage
            )
        try:
            result = call() if breaker is None else breaker.call(call)
        except Exception as error:
            failure = classify(error)
            self._failed_turn(error, failure, attempt_recovery(failure.scenario, self.recovery))
            raise
        return self._end_turn(result, model, usage, estimate_usage)

    def _recovered(
        self, recovery: Recovery, call: Callable[[], T], breaker: CircuitBreaker | None, model: str
    ) -> T:
        from techrevati.runtime.orchestrator.recoveries import TurnRecovery

        turn = TurnRecovery(self, model)

        def attempt() -> T:
            turn.may_go_on()
            return call() if breaker is None else breaker.call(call)

        return recovery.telling(turn).call(attempt)

    def run_tool(self, tool_name: str, fn: Callable[[], T]) -> T:
        """Run one tool: permission, guardrails, *fn*, guardrails.

        Raises:
            PermissionDeniedError: The role may not; *fn* was not called.
            GuardrailViolatedError: A guardrail refused before (*fn* was not called) or after.
            Exception: Whatever *fn* raised.
        """
        with self._tool(tool_name) as look_at:
            value = fn()
            look_at(value)
        return value
