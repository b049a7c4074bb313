"""What a session says about its phase: policy, quality gate, handoff, and its books as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.agent_lifecycle import AgentStatus
from techrevati.runtime.handoffs import Handoff
from techrevati.runtime.orchestrator.life import SessionLife
from techrevati.runtime.policy_engine import PhaseContext, PolicyActionData

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from techrevati.runtime.orchestrator.spending import SessionSpending
    from techrevati.runtime.quality_gate import QualityGateOutcome, QualityLevel


class SessionPhase(SessionLife):
    """Asks the policy and the gate of the orchestrator, and passes work on."""

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
        ``recovery_events`` and ``agent_events``; with a ledger or a budget also ``spend``; with
        ``unknown_attempts`` how many failed attempts may have been billed although nobody knows what they
        used, if any did (with ``recovery=`` only)."""
        spending: SessionSpending | None = getattr(self, "_spending", None)
        told: dict[str, object] = {} if spending is None else {"spend": spending.summary()}
        unknown = getattr(self, "_unknown_attempts", 0)
        if unknown:
            told["unknown_attempts"] = unknown
        return {
            "worker": self.worker.to_dict(),
            "usage": self.tracker.summary(),
            "per_model_cost": self.tracker.per_model_summary(),
            "recovery_events": [event.to_dict() for event in self.recovery.events],
            "agent_events": [event.to_dict() for event in self.events],
            **told,
        }
