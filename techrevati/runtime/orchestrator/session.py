"""A session: its worker, its books and its events, and the synchronous way to run turns and tools.

``_Session`` holds what both colours share: everything but the calling and the waiting.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import BudgetExceededError
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text, scrubbed
from techrevati.runtime.agent_events import (
    AgentEvent,
    AgentEventName as Name,
    AgentEventStatus as Status,
    AgentFailureClass,
)
from techrevati.runtime.agent_lifecycle import AgentStatus, AgentWorker, UnknownWorkerError
from techrevati.runtime.deadlines import LateOutcome, Timeout
from techrevati.runtime.failures import classify
from techrevati.runtime.guardrails import GuardrailViolatedError, run_post_checks, run_pre_checks
from techrevati.runtime.handoffs import Handoff
from techrevati.runtime.orchestrator.current import current
from techrevati.runtime.orchestrator.errors import (
    MaxIterationsExceededError,
    PermissionDeniedError,
    SessionEndedError,
)
from techrevati.runtime.permissions import PermissionOutcome
from techrevati.runtime.policy_engine import PhaseContext, PolicyActionData
from techrevati.runtime.pricing import picodollars, usd
from techrevati.runtime.retry_policy import RecoveryContext, RecoveryResult, attempt_recovery
from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot
from techrevati.runtime.usage_tracking import UsageTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from types import TracebackType
    from typing import Self, TypeVar

    from techrevati.runtime.agent_lifecycle import AgentRegistry
    from techrevati.runtime.failures import Failure
    from techrevati.runtime.orchestrator.async_session import AsyncOrchestrationSession
    from techrevati.runtime.orchestrator.configuration import Orchestrator
    from techrevati.runtime.pricing import Picodollars
    from techrevati.runtime.quality_gate import QualityGateOutcome, QualityLevel

    T = TypeVar("T")

announce("orchestrator")

EVENT_CAPACITY = 1000
_ZERO = UsageSnapshot()


class _Session:
    """What both colours share.  Thread-safe: turns and tools may run side by side.

    Attributes:
        tracker: What was used and what that cost.
        recovery: What recovery did.
        registry, role, phase, project_id: From the orchestrator.
        run_id: Unique; in every event of this session.
        parent_id: The run in whose session this one was entered, or which handed over to it.
    """

    def __init__(self, config: Orchestrator, handoff: Handoff | None) -> None:
        self._config = config
        self._handoff = handoff
        self.tracker: UsageTracker = UsageTracker()
        self.recovery: RecoveryContext = RecoveryContext()
        self.registry: AgentRegistry = config.registry
        self.role: str = config.role
        self.phase: str = config.phase
        self.project_id: str | None = config.project_id
        self.run_id: str = os.urandom(8).hex()
        self.parent_id: str | None = None
        self._budget = _exact_budget(config)
        self._budget_reported = False
        self._reported_error: BaseException | None = None
        self._events: deque[AgentEvent] = deque(maxlen=EVENT_CAPACITY)
        self._event_lock = Lock()
        self._event_count = 0
        self._turn_lock = Lock()
        self._iteration_count = 0
        self._state = "not entered"
        self._started_at = 0.0
        self._worker: AgentWorker | None = None
        self._end_told = False
        self._outer: OrchestrationSession | AsyncOrchestrationSession | None = None

    @property
    def worker(self) -> AgentWorker:
        """The worker whose life this is.

        Raises:
            SessionEndedError: The session was not entered.
        """
        if self._worker is None:
            raise SessionEndedError("not entered")
        return self._worker

    # --- life ----------------------------------------------------------------------------------------------

    def _enter(self, session: OrchestrationSession | AsyncOrchestrationSession) -> None:
        if self._state != "not entered":
            raise SessionEndedError("entered before")
        self._outer = current.get()
        self.parent_id = None if self._outer is None else self._outer.run_id
        worker = self._own_worker()
        if worker.status is AgentStatus.IDLE:
            worker.transition(AgentStatus.INITIALIZING)
        worker.transition(AgentStatus.RUNNING)
        self._worker = worker
        self._state = "running"
        self._started_at = self._config.clock()
        current.set(session)
        try:
            self.emit(Name.AGENT_STARTED, Status.RUNNING)
        except (
            BaseException
        ) as error:  # Ctrl-C inside the sink: the block is not entered, so nobody leaves it
            self._leave(error)
            raise

    def _own_worker(self) -> AgentWorker:
        handoff = self._handoff
        if handoff is None:
            return self.registry.create(self.role, self.phase, self.project_id)
        if handoff.target_role != self.role:
            raise ValueError(
                f"handoff must be for the role {self.role!r}, got one for {handoff.target_role!r}"
            )
        worker = self.registry.get(handoff.target_worker_id)
        if worker is None:
            raise UnknownWorkerError(handoff.target_worker_id)
        self.parent_id = handoff.source_run_id or self.parent_id
        return worker

    def _leave(self, error: BaseException | None) -> None:
        if error is None:
            self._end(AgentStatus.COMPLETED, None, None)
        elif isinstance(error, Exception):
            self._end(AgentStatus.FAILED, error_text(error), classify(error).failure_class, error)
        else:  # Ctrl-C, SystemExit, a cancelled task, a closed generator
            self._end(AgentStatus.CANCELLED, error_text(error), None)
        # Not by token: sessions may be left in another order, or in another context, than they were entered.
        inner = current.get()
        while inner is not None and inner._state != "running":
            inner = inner._outer
        current.set(inner)

    def _end(
        self,
        status: AgentStatus,
        detail: str | None,
        failure_class: AgentFailureClass | None,
        error: BaseException | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Move the worker to its end, if it is not there yet, and say so once."""
        if self._end_told:
            return
        self._end_told = True
        worker = self.worker
        if worker.is_terminal:  # somebody ended it through the registry
            status, detail, failure_class = worker.status, None, None
        else:
            if status is AgentStatus.COMPLETED and worker.status is AgentStatus.WAITING_FOR_INPUT:
                worker.transition(AgentStatus.RUNNING)
            worker.transition(status, detail)
        self._state = status.value
        self._on_end()
        if error is None or error is not self._reported_error:
            name, event_status = _ENDS[status]
            self.emit(name, event_status, failure_class, detail, data)

    def _on_end(self) -> None:
        """For the async session: nobody may wait for input any more."""

    def complete(self, detail: str | None = None) -> None:
        """End well now; leaving the ``with`` block then changes nothing more."""
        self._require_running()
        self._end(AgentStatus.COMPLETED, detail, None)

    def fail(
        self,
        detail: str | AgentFailureClass | BaseException | None = None,
        failure_class: AgentFailureClass | str | None = None,
    ) -> None:
        """End badly now.

        Args:
            detail: What happened, for people, or the exception, which is then classified.
            failure_class: Why; UNKNOWN when nothing says.  The two may come in either order.
        """
        self._require_running()
        if isinstance(detail, AgentFailureClass):
            text = failure_class
            detail, failure_class = (None if text is None else str(text)), detail
        if isinstance(detail, BaseException):
            failure_class = failure_class or classify(detail).failure_class
            detail = error_text(detail)
        why = AgentFailureClass(failure_class or AgentFailureClass.UNKNOWN)
        self._end(AgentStatus.FAILED, None if detail is None else scrubbed(detail), why)

    def cancel(self, detail: str | None = None) -> None:
        """End as cancelled now."""
        self._require_running()
        self._end(AgentStatus.CANCELLED, detail, None)

    def _require_running(self) -> None:
        if self._state != "running":
            raise SessionEndedError(self._state)
        if self.worker.is_terminal:
            raise SessionEndedError(self.worker.status.value)

    # --- events --------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[AgentEvent]:
        """A copy of this session's last ``EVENT_CAPACITY`` events, oldest first."""
        with self._event_lock:
            return list(self._events)

    def emit(
        self,
        name: Name,
        status: Status,
        failure_class: AgentFailureClass | None = None,
        detail: str | None = None,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Tell an event of this run: it gets the next sequence number and goes to the event sink.

        Everything a session does it tells by itself; this is for what only the program knows.
        """
        with self._event_lock:  # so that sequence numbers and the order in the ring agree
            self._event_count += 1
            event = AgentEvent(
                name,
                status,
                None,
                self.role,
                self.phase,
                self.project_id,
                failure_class,
                detail,
                data,
                None,
                self._event_count,
                self.run_id,
                self.parent_id,
            )
            self._events.append(event)
        try:
            self._config.event_sink.emit(event)
        except Exception as error:
            logger("orchestrator").warning("event_sink.emit raised %s", error_text(error))

    # --- around a turn -------------------------------------------------------------------------------------

    def _begin_turn(self, usage: UsageSnapshot | None, timeout: float | None) -> None:
        self._require_running()
        if timeout is not None:
            arguments.number("timeout", timeout, infinite=True)
        if usage is not None and not isinstance(usage, UsageSnapshot):
            raise TypeError(f"usage must be a UsageSnapshot, got {usage!r}")
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
        self,
        result: T,
        model: str,
        usage: UsageSnapshot | None,
        estimate_usage: Callable[[T], UsageSnapshot] | None,
    ) -> tuple[T, UsageSnapshot]:
        """Book a turn that was paid for."""
        if usage is None:
            usage = _usage_of(result, estimate_usage)
        over = self._book(model, usage)
        if over and self._config.enforce_budget:
            raise self._over_budget(has_result=True, result=result, usage=usage)
        return result, usage

    def _book(self, model: str, usage: UsageSnapshot) -> bool:
        """Record what was used; True when that is more than the budget."""
        tracker = self.tracker
        cost = tracker.add(model, usage)
        try:
            self._config.usage_sink.record(model, usage, usd(cost))
        except Exception as error:
            logger("orchestrator").warning("usage_sink.record raised %s", error_text(error))
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
        self,
        model: str,
        usage: UsageSnapshot | None,
        estimate_usage: Callable[[T], UsageSnapshot] | None,
    ) -> Callable[[LateOutcome], None]:
        """What is told about a turn that nobody waited for: an event, and what it used is booked."""

        def tell(late: LateOutcome) -> None:
            if late.error is not None:
                why = classify(late.error).failure_class
                self.emit(Name.AGENT_LATE_RESULT, Status.FAILED, why, error_text(late.error))
                return
            used = _usage_of(cast("T", late.result), estimate_usage) if usage is None else usage
            self.emit(
                Name.AGENT_LATE_RESULT,
                Status.COMPLETED,
                None,
                "a turn that had timed out returned after all",
                {"model": model, "usage": used.to_dict(), "result": late.result},
            )
            self._book(model, used)

        return tell

    def _failed_turn(self, error: Exception, failure: Failure, result: RecoveryResult) -> None:
        """Say which recovery a failed turn was met with."""
        self.worker.retry_count += 1
        escalated = result.outcome == "escalation_required"
        self.emit(
            Name.RECOVERY_ESCALATED if escalated else Name.RECOVERY_ATTEMPTED,
            Status.BLOCKED if escalated else Status.RUNNING,
            failure.failure_class,
            error_text(error),
            {"scenario": failure.scenario.value, **result.to_dict()},
        )

    # --- around a tool -------------------------------------------------------------------------------------

    def authorize(self, tool: str) -> PermissionOutcome:
        """Whether this session's role may use *tool*; yes when no permissions were given."""
        policy = self._config.permissions
        if policy is None:
            return PermissionOutcome(True)
        ask = getattr(policy, "authorize", None) or policy.check  # type: ignore[union-attr]
        outcome: PermissionOutcome = ask(self.role, tool)
        return outcome

    @contextmanager
    def _tool(self, tool: str) -> Iterator[Callable[[object], None]]:
        """Everything around one tool call; gives what must look at its result."""
        self._require_running()
        outcome = self.authorize(tool)
        if not outcome.allowed:
            self._blocked(tool, "permission", outcome.reason)
            raise PermissionDeniedError(outcome)
        self._check_before(tool)
        self.emit(Name.AGENT_TOOL_CALLED, Status.RUNNING, None, None, {"tool": tool})
        try:
            yield lambda value: self._check_after(tool, value)
        except BaseException as error:
            why = classify(error).failure_class if isinstance(error, GuardrailViolatedError) else None
            why = why or AgentFailureClass.TOOL_ERROR
            self.emit(Name.AGENT_TOOL_COMPLETED, Status.FAILED, why, error_text(error), {"tool": tool})
            raise
        self.emit(Name.AGENT_TOOL_COMPLETED, Status.COMPLETED, None, None, {"tool": tool})

    def _check_before(self, tool: str) -> None:
        guardrails = self._config.guardrails
        if not guardrails:
            return
        try:
            run_pre_checks(guardrails, role=self.role, tool=tool)
        except GuardrailViolatedError as refusal:
            self.emit(Name.HOOK_PRE_TOOL, Status.RED, None, str(refusal), {"tool": tool})
            self._blocked(tool, refusal.guardrail, refusal.outcome.reason)
            raise
        self.emit(Name.HOOK_PRE_TOOL, Status.GREEN, None, None, {"tool": tool})

    def _check_after(self, tool: str, value: object) -> None:
        guardrails = self._config.guardrails
        if not guardrails:
            return
        try:
            run_post_checks(guardrails, value, role=self.role, tool=tool)
        except GuardrailViolatedError as refusal:
            self.emit(Name.HOOK_POST_TOOL, Status.RED, None, str(refusal), {"tool": tool})
            raise
        self.emit(Name.HOOK_POST_TOOL, Status.GREEN, None, None, {"tool": tool})

    def _blocked(self, tool: str, by: str, reason: str | None) -> None:
        self.emit(Name.AGENT_BLOCKED, Status.BLOCKED, None, reason, {"tool": tool, "by": by})

    # --- policy, gate, handoff, books ----------------------------------------------------------------------

    def evaluate_policy(
        self,
        gate_score: float = 0.0,
        gate_threshold: float = 0.0,
        completed_roles: Collection[str] | None = None,
        failed_roles: Collection[str] | None = None,
        all_roles: Collection[str] | None = None,
        elapsed_seconds: float | None = None,
        phase_completed: bool = False,
        quality_level: QualityLevel | None = None,
    ) -> list[PolicyActionData]:
        """The actions that the policy asks for now; none without a policy.

        What is not given is empty, except: *elapsed_seconds* is the age of this session, and cost and
        exhausted scenarios come from its books.
        """
        engine = self._config.policy_engine
        if engine is None:
            return []
        if elapsed_seconds is None:
            elapsed_seconds = self._config.clock() - self._started_at
        return engine.evaluate(
            PhaseContext(
                phase=self.phase,
                quality_level=quality_level,
                gate_score=gate_score,
                gate_threshold=gate_threshold,
                completed_roles=completed_roles or frozenset(),
                failed_roles=failed_roles or frozenset(),
                all_roles=all_roles or frozenset(),
                elapsed_seconds=elapsed_seconds,
                retry_exhausted_scenarios=self.recovery.exhausted_scenarios,
                phase_completed=phase_completed,
                total_cost_usd=self.tracker.total_cost(),
            )
        )

    def evaluate_gate(self, observed: QualityLevel | None) -> QualityGateOutcome | None:
        """What the quality gate says of *observed*, also as an event; None without a gate."""
        gate = self._config.quality_gate
        if gate is None:
            return None
        outcome = gate.evaluate(observed)
        seen = "nothing" if observed is None else observed.label
        detail = f"observed {seen}, required {outcome.required_level.label}"
        if outcome.satisfied:
            self.emit(Name.PHASE_GATE_PASSED, Status.GREEN, None, detail, outcome.to_dict())
        else:
            self.emit(Name.PHASE_GATE_FAILED, Status.RED, None, detail, outcome.to_dict())
        return outcome

    def handoff_to(
        self, target_role: str, reason: str, context: Mapping[str, object] | None = None
    ) -> Handoff:
        """Pass the work on: this session's worker is COMPLETED, a new one of *target_role* INITIALIZING in
        the same registry.  ``orchestrator.session(handoff)`` takes it up."""
        self._require_running()
        # Everything that can be wrong is said before a worker exists for it.
        handoff = Handoff(
            self.role,
            target_role,
            self.phase,
            reason,
            {} if context is None else context,
            self.project_id,
            source_run_id=self.run_id,
        )
        target = self.registry.create(target_role, self.phase, self.project_id)
        target.transition(AgentStatus.INITIALIZING, f"handed over by {self.role}")
        handoff = replace(handoff, target_worker_id=target.worker_id)
        data = {"handoff": handoff.to_dict()}
        self._end(AgentStatus.COMPLETED, f"handed over to {target_role}: {reason}", None, None, data)
        return handoff

    def summary(self) -> dict[str, object]:
        """The session's books as plain values: ``worker``, ``usage``, ``per_model_cost`` (US dollars),
        ``recovery_events`` and ``agent_events``."""
        return {
            "worker": self.worker.to_dict(),
            "usage": self.tracker.summary(),
            "per_model_cost": self.tracker.per_model_summary(),
            "recovery_events": [event.to_dict() for event in self.recovery.events],
            "agent_events": [event.to_dict() for event in self.events],
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}(role={self.role!r}, phase={self.phase!r}, {self._state})"


_ENDS = {
    AgentStatus.COMPLETED: (Name.AGENT_COMPLETED, Status.COMPLETED),
    AgentStatus.FAILED: (Name.AGENT_FAILED, Status.FAILED),
    AgentStatus.CANCELLED: (Name.AGENT_CANCELLED, Status.FAILED),
}


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


class OrchestrationSession(_Session):
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
            Exception: Whatever *fn* raised, after a recovery event.
        """
        self._begin_turn(usage, timeout)
        call = fn
        if timeout is not None:
            late = self._late_outcome(model, usage, estimate_usage)
            call = partial(Timeout(timeout, on_late=late).call, fn)
        config = self._config
        breaker = config.circuit_breaker
        if breaker is None and config.async_circuit_breaker is not None:
            breaker = config.async_circuit_breaker.as_sync()
        try:
            result = call() if breaker is None else breaker.call(call)
        except Exception as error:
            failure = classify(error)
            self._failed_turn(error, failure, attempt_recovery(failure.scenario, self.recovery))
            raise
        return self._end_turn(result, model, usage, estimate_usage)

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
