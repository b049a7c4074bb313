"""Which module each public name lives in.  A test holds this equal to the package's ``__all__``."""

from __future__ import annotations

_NAMES = {
    "_core.errors": "TechrevatiError",
    "agent_events": "AgentEvent AgentEventName AgentEventStatus AgentFailureClass",
    "agent_lifecycle": (
        "AgentRegistry AgentStatus AgentWorker AgentWorkerEvent InvalidTransitionError UnknownWorkerError"
    ),
    "circuit_breaker": (
        "AsyncCircuitBreaker BreakerRegistry BreakerSnapshot CircuitBreaker CircuitGuard "
        "CircuitOpenError CircuitState"
    ),
    "deadlines": "Deadline DeadlineExceededError LateOutcome Timeout TurnTimeoutError current_deadline",
    "failover": "Failover NoTargetError PassedTarget Target TargetSwitch",
    "failures": (
        "Failure FailureKind FailureOrigin FailureScenario classify classify_exception provider_failures "
        "register_rule"
    ),
    "guardrails": "AllowAllGuardrail Guardrail GuardrailOutcome GuardrailStage GuardrailViolatedError",
    "handoffs": "Handoff",
    "hedging": "Hedge HedgeSnapshot HedgedRequest Loser",
    "orchestrator": (
        "AgentSession AsyncOrchestrationSession InputStateError MaxIterationsExceededError "
        "OrchestrationSession Orchestrator PermissionDeniedError SessionEndedError current_session"
    ),
    "permissions": (
        "PermissionEnforcer PermissionMode PermissionOutcome PermissionPolicy RolePermissionConfig"
    ),
    "policy_engine": "PhaseContext PolicyAction PolicyActionData PolicyCondition PolicyEngine PolicyRule",
    "pricing": "ModelPricing PRICING_TABLE has_pricing load_pricing_from_file register_pricing",
    "quality_gate": "QualityGate QualityGateOutcome QualityLevel",
    "retry_policy": (
        "EscalationPolicy Recovery RecoveryContext RecoveryEvent RecoveryNews RecoveryRecipe RecoveryResult "
        "RecoveryStep Retry "
        "RetryAttempt RetryBudget aattempt_recovery attempt_recovery backoff_delay next_provider "
        "recipe_for smaller_context_budget"
    ),
    "sinks": (
        "DEFAULT_RING_CAPACITY EventSink FanOutEventSink FanOutUsageSink JsonlEventSink JsonlUsageSink "
        "NoopEventSink NoopUsageSink RingBufferEventSink RingBufferUsageSink UsageSink"
    ),
    "usage": "UsageNotFoundError UsageSnapshot",
    "usage_tracking": "BudgetExceededError UsageTracker _warned_unpriced_models",
}

HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

MODULES = (
    "agent_events",
    "agent_lifecycle",
    "chaos",
    "circuit_breaker",
    "cli",
    "deadlines",
    "failover",
    "failures",
    "guardrails",
    "handoffs",
    "hedging",
    "orchestrator",
    "otel",
    "permissions",
    "policy_engine",
    "pricing",
    "quality_gate",
    "retry_policy",
    "sinks",
    "testing",
    "usage",
    "usage_tracking",
)
