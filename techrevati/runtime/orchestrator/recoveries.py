"""A turn that is recovered: what each attempt used is booked, and everything that happens becomes an
event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.agent_lifecycle import AgentStatus
from techrevati.runtime.failures import FailureOrigin
from techrevati.runtime.orchestrator.turns import named
from techrevati.runtime.retry_policy import EscalationPolicy, RecoveryResult
from techrevati.runtime.retry_policy.history import never_sent
from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot

if TYPE_CHECKING:
    from techrevati.runtime.failures import Failure
    from techrevati.runtime.orchestrator.turn_layers import Model
    from techrevati.runtime.orchestrator.turns import SessionTurns
    from techrevati.runtime.retry_policy import RecoveryNews

_EVENTS = {
    "attempted": (Name.RECOVERY_ATTEMPTED, Status.RUNNING),
    "provider_switched": (Name.RECOVERY_PROVIDER_SWITCHED, Status.RUNNING),
    "succeeded": (Name.RECOVERY_SUCCEEDED, Status.GREEN),
    "escalated": (Name.RECOVERY_ESCALATED, Status.BLOCKED),
    "failed": (Name.RECOVERY_FAILED, Status.RED),
}
# Where the exceptions of SDKs keep a response that was paid for.
_PAID = ("usage", "completion", "response", "result", "body")


class TurnRecovery:
    """Told what happens to the attempts of one turn."""

    def __init__(self, session: SessionTurns, model: Model) -> None:
        self._session = session
        self._model = model
        self._booked = 0  # attempts that failed and were booked

    def may_go_on(self) -> None:
        """Raise when what failed attempts used was all that may be spent."""
        session = self._session
        if self._booked and session._budget_reported and session._config.enforce_budget:
            raise session._over_budget()

    def __call__(self, news: RecoveryNews) -> None:
        """Tell it, and book what a failed attempt used."""
        session, error, failure = self._session, news.error, news.failure
        unknown = False
        if error is not None and news.attempt > self._booked:
            self._booked = news.attempt
            session.worker.retry_count += 1
            used = usage_of_error(error)
            if used is not None:
                session._book(named(self._model), used)
            elif _may_have_cost(error, failure):
                unknown = True
                session._note_unknown()
        name, status = _EVENTS[news.event]
        facts: dict[str, object] = {
            "scenario": news.scenario.value,
            "attempt": news.attempt,
            "steps": [step.value for step in news.steps],
        }
        if unknown:
            facts["usage"] = "unknown"
        if news.reason is not None:
            facts["reason"] = news.reason
        if news.policy is not None:
            facts["policy"] = news.policy.value
        if error is None:
            session.emit(name, status, None, f"the turn returned at attempt {news.attempt}", facts)
        else:
            session.emit(name, status, failure.failure_class, error_text(error), facts)
        self._remember(news)
        if news.policy is EscalationPolicy.ABORT and error is not None:
            session._end(AgentStatus.FAILED, error_text(error), failure.failure_class, error)

    def _remember(self, news: RecoveryNews) -> None:
        """Write it into the history that ``summary()`` shows."""
        context, steps = self._session.recovery, tuple(news.steps)
        if news.event == "attempted" and news.reason is None:
            context.book_attempt(news.scenario)
        elif news.event == "succeeded":
            context.book("succeeded", news.scenario, RecoveryResult("recovered", len(steps), steps))
        elif news.event == "escalated" or news.event == "failed":
            outcome = RecoveryResult(
                "partial_recovery" if steps else "escalation_required",
                len(steps),
                steps,
                reason=news.reason,
            )
            context.book(news.event, news.scenario, outcome)


def _may_have_cost(error: BaseException, failure: Failure) -> bool:
    """Whether a failed call may have been billed: it was sent, and not turned away by us or the provider."""
    refused = failure.origin is FailureOrigin.RUNTIME or (failure.status_code or 0) >= 400
    return not refused and not never_sent(error)


def usage_of_error(error: BaseException) -> UsageSnapshot | None:
    """What a failed call used, where its exception holds the paid response; None when it does not say."""
    for name in _PAID:
        held = getattr(error, name, None)
        if isinstance(held, UsageSnapshot):
            return held
        if held is None or isinstance(held, (str, bytes)):
            continue
        try:
            return UsageSnapshot.from_response(held)
        except UsageNotFoundError:
            continue
        except Exception:
            continue
    return None
