"""What stands around a model call: may it start, what did it use, what did that cost, what if it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import BudgetExceededError
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.agent_events import (
    AgentEventName as Name,
    AgentEventStatus as Status,
    AgentFailureClass,
)
from techrevati.runtime.failures import classify
from techrevati.runtime.orchestrator.errors import MaxIterationsExceededError
from techrevati.runtime.orchestrator.life import SessionLife
from techrevati.runtime.pricing import picodollars, usd
from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from techrevati.runtime.deadlines import LateOutcome
    from techrevati.runtime.failures import Failure
    from techrevati.runtime.handoffs import Handoff
    from techrevati.runtime.orchestrator.async_session import AsyncOrchestrationSession
    from techrevati.runtime.orchestrator.configuration import Orchestrator
    from techrevati.runtime.orchestrator.journalled import TurnOnRecord
    from techrevati.runtime.orchestrator.session import OrchestrationSession
    from techrevati.runtime.orchestrator.spending import SessionSpending, TurnSpend
    from techrevati.runtime.orchestrator.turn_layers import Model, TurnTerms
    from techrevati.runtime.orchestrator.validation import Asking
    from techrevati.runtime.pricing import Picodollars
    from techrevati.runtime.retry_policy import RecoveryResult

    T = TypeVar("T")

_ZERO = UsageSnapshot()


class SessionTurns(SessionLife):
    """Turns are counted, booked and held to the budget; they may run side by side."""

    def __init__(self, config: Orchestrator, handoff: Handoff | None) -> None:
        super().__init__(config, handoff)
        self._budget = _exact_budget(config)
        self._budget_reported = False
        self._turn_lock = fork_safe_lock()
        self._iteration_count = 0
        self._unknown_attempts = 0
        self._spending: SessionSpending | None = None

    def _enter(self, session: OrchestrationSession | AsyncOrchestrationSession) -> None:
        config = self._config
        if config.ledger is not None or config.budget is not None:
            from techrevati.runtime.orchestrator.spending import SessionSpending

            self._spending = SessionSpending(config, self.run_id, self.parent_id)
        super()._enter(session)

    def _begin_turn(self, terms: TurnTerms) -> None:
        self._require_running()
        usage, timeout = terms.usage, terms.timeout
        if timeout is not None:
            arguments.number("timeout", timeout, infinite=True)
        if usage is not None and not isinstance(usage, UsageSnapshot):
            raise TypeError(f"usage must be a UsageSnapshot, got {usage!r}")
        if terms.estimate_usage is not None:
            arguments.function("estimate_usage", terms.estimate_usage)
        config = self._config
        if self._budget_reported and config.enforce_budget:
            raise self._over_budget()
        self._turn_lock.acquire()  # not ``with``: that costs twice as much, and this runs every turn
        try:
            if self._iteration_count >= config.max_iterations:
                raise MaxIterationsExceededError(config.max_iterations)
            self._iteration_count += 1
        finally:
            self._turn_lock.release()

    def _end_turn(
        self, result: T, terms: TurnTerms, recorded: TurnOnRecord | None
    ) -> tuple[T, UsageSnapshot]:
        """Book a turn that was paid for; one that is only repeated in this life was booked."""
        asked = terms if recorded is None else recorded
        usage, replayed = asked.usage, False
        if usage is None:
            usage = _usage_of(result, terms.estimate_usage)
        if recorded is not None:
            if recorded.repeated:
                return result, usage
            replayed = recorded.replayed
        over = self._book(named(asked.model), usage, replayed)
        if over and self._config.enforce_budget:
            raise self._over_budget(has_result=True, result=result, usage=usage)
        return result, usage

    def _note_unknown(self) -> None:
        """An attempt failed, may have been billed, and nobody knows what it used."""
        with self._turn_lock:
            self._unknown_attempts += 1

    def _book(self, model: str, usage: UsageSnapshot, replayed: bool = False) -> bool:
        """Record what was used; True when that is more than the budget."""
        tracker = self.tracker
        cost = tracker.add(model, usage)
        try:
            if not replayed:  # the sink was told when it happened
                self._config.usage_sink.record(model, usage, usd(cost))
        except Exception as error:
            logger("orchestrator").warning("usage_sink.record raised %s", self._redactor.error_text(error))
        if self._budget is None or tracker.total_picodollars <= self._budget:
            return False
        if not self._budget_reported:
            self._budget_reported = True
            detail = str(self._over_budget())
            data = {"budget_usd": self._config.budget_usd}
            self.emit(Name.AGENT_FAILED, Status.FAILED, AgentFailureClass.UNKNOWN, detail, data)
        return True

    def _over_budget(
        self, *, has_result: bool = False, result: object = None, usage: object = None
    ) -> BudgetExceededError:
        spent = self.tracker.total_cost()
        error = BudgetExceededError(
            float(self._config.budget_usd or 0), spent, has_result=has_result, result=result, usage=usage
        )
        self._reported_error = error
        return error

    def _late_outcome(
        self, terms: TurnTerms, spend: TurnSpend | None = None
    ) -> Callable[[LateOutcome], None]:
        """What is told about a turn that nobody waited for: an event, and what it used is booked."""

        def tell(late: LateOutcome) -> None:
            if late.error is not None:
                if spend is not None:
                    spend.late(None, late.error)
                why = classify(late.error).failure_class
                self.emit(Name.AGENT_LATE_RESULT, Status.FAILED, why, self._redactor.error_text(late.error))
                return
            used = terms.usage
            if used is None:
                used = _usage_of(late.result, terms.estimate_usage)
            asked = named(terms.model)
            self.emit(
                Name.AGENT_LATE_RESULT,
                Status.COMPLETED,
                None,
                "a turn that had timed out returned after all",
                {"model": asked, "usage": used.to_dict(), "result": late.result},
            )
            self._book(asked, used)
            if spend is not None:
                spend.late(used, None)

        return tell

    def _asks_again(self, asking: Asking) -> None:
        """Say that an answer was not valid, and that the model is asked once more."""
        assert asking.feedback is not None
        self.emit(
            Name.RECOVERY_ATTEMPTED,
            Status.RUNNING,
            AgentFailureClass.VALIDATION_ERROR,
            asking.feedback.problem,
            {"step": "ask_again", "asks": asking.asks, "max_asks": asking.max_asks},
        )

    def _failed_turn(self, error: Exception, failure: Failure, result: RecoveryResult) -> None:
        """Say which recovery a failed turn was met with."""
        self.worker.retry_count += 1
        escalated = result.outcome == "escalation_required"
        self.emit(
            Name.RECOVERY_ESCALATED if escalated else Name.RECOVERY_ATTEMPTED,
            Status.BLOCKED if escalated else Status.RUNNING,
            failure.failure_class,
            self._redactor.error_text(error),
            {"scenario": failure.scenario.value, **result.to_dict()},
        )


def named(model: Model) -> str:
    """The model that is asked now."""
    return model if isinstance(model, str) else model()


def _exact_budget(config: Orchestrator) -> Picodollars | None:
    if config.budget_usd is None or config.budget_usd == float("inf"):
        return None
    return picodollars(config.budget_usd)


def _usage_of(result: T, estimate_usage: Callable[[T], UsageSnapshot] | None) -> UsageSnapshot:
    """What a paid result used; a broken estimate must not cost the caller the result."""
    if estimate_usage is not None:
        try:
            estimated = estimate_usage(result)
            if isinstance(estimated, UsageSnapshot):
                return estimated
            raise TypeError(f"estimate_usage must return a UsageSnapshot, got {estimated!r}")
        except Exception as error:
            logger("orchestrator").warning("estimate_usage raised %s", error_text(error))
    if result is None or isinstance(result, (str, bytes, int, float)):
        return _ZERO  # an answer, not a response
    try:
        return UsageSnapshot.from_response(result)
    except UsageNotFoundError:
        return _ZERO
