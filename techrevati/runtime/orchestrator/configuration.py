"""What a session is made of: an orchestrator is a reusable description, checked when it is written down."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime.agent_lifecycle import AgentRegistry
from techrevati.runtime.guardrails import GuardrailChain
from techrevati.runtime.redaction import Redactor
from techrevati.runtime.sinks import NoopEventSink, NoopUsageSink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal
    from typing import Literal

    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker
    from techrevati.runtime.guardrails import Guardrail
    from techrevati.runtime.handoffs import Handoff
    from techrevati.runtime.journal import Journal
    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.loop_detection import LoopDetection
    from techrevati.runtime.orchestrator.async_session import AsyncOrchestrationSession
    from techrevati.runtime.orchestrator.session import OrchestrationSession
    from techrevati.runtime.permissions import PermissionEnforcer, PermissionPolicy
    from techrevati.runtime.policy_engine import PolicyEngine
    from techrevati.runtime.quality_gate import QualityGate
    from techrevati.runtime.retry_policy import Recovery
    from techrevati.runtime.sinks import EventSink, UsageSink


class Orchestrator:
    """Describes the sessions of one role in one phase; each :meth:`session` is one run of it.

    Stateless but for what it is given; sessions of one orchestrator may run at the same time.

    Args:
        role, phase: Who works where; not empty.
        project_id: For whom.
        registry: Where workers are kept; one of its own when None.
        permissions: Who may use which tool; everybody everything when None.
        circuit_breaker: Guards turns.  A session of the other colour uses the same breaker through
            ``as_async()`` or ``as_sync()`` if only one is given.
        async_circuit_breaker: Guards turns of async sessions.
        policy_engine: Answers ``evaluate_policy``.
        quality_gate: Answers ``evaluate_gate``.
        budget_usd: US dollars a session may spend, >= 0; None for no limit.
        enforce_budget: Whether spending more raises ``BudgetExceededError``.
        max_iterations: Turns a session may have, >= 0.
        guardrails: Asked before and after every tool call, and about prompts and answers of turns where they
            look at those, in order.
        on_guardrail_error: ``"block"``: a guardrail that raises refuses.  ``"allow"``: that is logged.
        event_sink: Told every event, from any thread.
        usage_sink: Told what every turn used, from any thread.
        redactor: Goes over everything a session tells before anybody sees it; the default one when None.
        loop_detection: The rules by which repeated tool calls and answers are stopped; None looks for none.
        ledger: A ``SpendLedger`` that every turn is recorded in, failed ones as what is known of them.
        budget: A ``Budget`` that every turn reserves from before it runs; it may be shared by any number of
            sessions.  Where it limits money or tokens, ``run_turn`` needs a bound: ``input_tokens``,
            ``prompt`` or ``usage``.
        journal: Keeps what every turn, tool and step did, so that a killed run goes on; None for no record.
        run_id: The run to begin or to go on with; a new one each session when None.
        clock: Monotonic seconds, for elapsed times.
        recovery: Makes failed turns again as the recipes say; with None a failed turn is classified, booked
            and raised, as in 0.1.  Each attempt goes through the breaker and has the whole *timeout* of its
            turn; a recipe whose policy is ABORT ends the session.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    def __init__(
        self,
        role: str,
        phase: str,
        project_id: str | None = None,
        registry: AgentRegistry | None = None,
        permissions: PermissionPolicy | PermissionEnforcer | None = None,
        circuit_breaker: CircuitBreaker | None = None,
        async_circuit_breaker: AsyncCircuitBreaker | None = None,
        policy_engine: PolicyEngine | None = None,
        quality_gate: QualityGate | None = None,
        budget_usd: float | Decimal | None = None,
        enforce_budget: bool = False,
        max_iterations: int = 25,
        guardrails: Sequence[Guardrail] = (),
        event_sink: EventSink | None = None,
        usage_sink: UsageSink | None = None,
        *,
        redactor: Redactor | None = None,
        loop_detection: LoopDetection | None = None,
        ledger: SpendLedger | None = None,
        budget: Budget | None = None,
        on_guardrail_error: Literal["block", "allow"] = "block",
        journal: Journal | None = None,
        run_id: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        recovery: Recovery | None = None,
    ) -> None:
        self.role: str = arguments.text("role", role)
        self.phase: str = arguments.text("phase", phase)
        self.project_id: str | None = project_id
        self.registry: AgentRegistry = AgentRegistry() if registry is None else registry
        self.permissions: PermissionPolicy | PermissionEnforcer | None = permissions
        self.circuit_breaker: CircuitBreaker | None = circuit_breaker
        self.async_circuit_breaker: AsyncCircuitBreaker | None = async_circuit_breaker
        self.policy_engine: PolicyEngine | None = policy_engine
        self.quality_gate: QualityGate | None = quality_gate
        if budget_usd is not None:
            arguments.number("budget_usd", budget_usd, infinite=True)
        self.budget_usd: float | Decimal | None = budget_usd
        self.enforce_budget: bool = enforce_budget
        self.max_iterations: int = arguments.count("max_iterations", max_iterations)
        if not isinstance(guardrails, Iterable):
            raise TypeError(f"guardrails must be a sequence of guardrails, got {guardrails!r}")
        self.on_guardrail_error: Literal["block", "allow"] = on_guardrail_error
        self.guardrails: list[Guardrail] = list(guardrails)
        self.event_sink: EventSink = NoopEventSink() if event_sink is None else event_sink
        self.usage_sink: UsageSink = NoopUsageSink() if usage_sink is None else usage_sink
        self.clock: Callable[[], float] = clock
        self.recovery: Recovery | None = recovery
        self.redactor: Redactor = Redactor() if redactor is None else redactor
        self.loop_detection: LoopDetection | None = loop_detection
        self.ledger: SpendLedger | None = ledger
        self.budget: Budget | None = budget
        _demand("ledger", ledger, "transact")
        _demand("budget", budget, "reserve")
        self.journal: Journal | None = journal
        self.run_id: str | None = None if run_id is None else arguments.name("run_id", run_id)
        _demand("journal", journal, "open")
        _demand("redactor", self.redactor, "mapping")
        _demand("loop_detection", loop_detection, "before")
        _demand("registry", self.registry, "create")
        _demand("permissions", permissions, "authorize", "check")
        _demand("circuit_breaker", circuit_breaker, "as_async")
        _demand("async_circuit_breaker", async_circuit_breaker, "as_sync")
        _demand("policy_engine", policy_engine, "evaluate")
        _demand("quality_gate", quality_gate, "evaluate")
        _demand("recovery", recovery, "telling")
        _demand("event_sink", self.event_sink, "emit")
        _demand("usage_sink", self.usage_sink, "record")
        self._chain = GuardrailChain(self.guardrails, on_error=on_guardrail_error)
        self._chained = list(self.guardrails)
        arguments.function("clock", clock)

    def guardrail_chain(self) -> GuardrailChain:
        """The guardrails as sessions ask them; made again only when :attr:`guardrails` was changed."""
        if self._chained != self.guardrails:
            self._chain = GuardrailChain(self.guardrails, on_error=self.on_guardrail_error)
            self._chained = list(self.guardrails)
        return self._chain

    def session(self, handoff: Handoff | None = None) -> OrchestrationSession:
        """A new session for ``with``; *handoff* makes it take over the worker that was created for it.

        Raises:
            TypeError: A guardrail is async.
        """
        if self.guardrail_chain().is_async:
            raise TypeError("guardrails must not be async in a sync session; use asession()")
        from techrevati.runtime.orchestrator.session import OrchestrationSession

        return OrchestrationSession(self, handoff)

    def asession(self, handoff: Handoff | None = None) -> AsyncOrchestrationSession:
        """A new session for ``async with``; *handoff* makes it take over the worker that was created for
        it."""
        from techrevati.runtime.orchestrator.async_session import AsyncOrchestrationSession

        return AsyncOrchestrationSession(self, handoff)

    def __repr__(self) -> str:
        return f"Orchestrator(role={self.role!r}, phase={self.phase!r}, project_id={self.project_id!r})"


AgentSession = Orchestrator


def _demand(name: str, part: object, *methods: str) -> None:
    if part is not None and not any(callable(getattr(part, method, None)) for method in methods):
        raise TypeError(f"{name} must have the method {' or '.join(methods)}, got {part!r}")
