"""Reliability primitives for LLM agent loops, with nothing but the standard library.

Every module stands alone; every public name is here too and is loaded when it is first used.
"""

__version__ = "0.5.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from techrevati.runtime._core.errors import (
        TechrevatiError as TechrevatiError,
    )
    from techrevati.runtime.agent_events import (
        AgentEvent as AgentEvent,
        AgentEventName as AgentEventName,
        AgentEventStatus as AgentEventStatus,
        AgentFailureClass as AgentFailureClass,
    )
    from techrevati.runtime.agent_lifecycle import (
        AgentRegistry as AgentRegistry,
        AgentStatus as AgentStatus,
        AgentWorker as AgentWorker,
        AgentWorkerEvent as AgentWorkerEvent,
        InvalidTransitionError as InvalidTransitionError,
        UnknownWorkerError as UnknownWorkerError,
    )
    from techrevati.runtime.circuit_breaker import (
        AsyncCircuitBreaker as AsyncCircuitBreaker,
        BreakerRegistry as BreakerRegistry,
        BreakerSnapshot as BreakerSnapshot,
        CircuitBreaker as CircuitBreaker,
        CircuitGuard as CircuitGuard,
        CircuitOpenError as CircuitOpenError,
        CircuitState as CircuitState,
    )
    from techrevati.runtime.deadlines import (
        Deadline as Deadline,
        DeadlineExceededError as DeadlineExceededError,
        LateOutcome as LateOutcome,
        Timeout as Timeout,
        TurnTimeoutError as TurnTimeoutError,
        current_deadline as current_deadline,
    )
    from techrevati.runtime.failover import (
        Failover as Failover,
        NoTargetError as NoTargetError,
        PassedTarget as PassedTarget,
        Target as Target,
        TargetSwitch as TargetSwitch,
    )
    from techrevati.runtime.failures import (
        Failure as Failure,
        FailureKind as FailureKind,
        FailureOrigin as FailureOrigin,
        FailureScenario as FailureScenario,
        classify as classify,
        classify_exception as classify_exception,
        provider_failures as provider_failures,
        register_rule as register_rule,
    )
    from techrevati.runtime.guardrails import (
        AllowAllGuardrail as AllowAllGuardrail,
        Guardrail as Guardrail,
        GuardrailOutcome as GuardrailOutcome,
        GuardrailStage as GuardrailStage,
        GuardrailViolatedError as GuardrailViolatedError,
    )
    from techrevati.runtime.handoffs import (
        Handoff as Handoff,
    )
    from techrevati.runtime.hedging import (
        Hedge as Hedge,
        HedgedRequest as HedgedRequest,
        HedgeSnapshot as HedgeSnapshot,
        Loser as Loser,
    )
    from techrevati.runtime.orchestrator import (
        AgentSession as AgentSession,
        AsyncOrchestrationSession as AsyncOrchestrationSession,
        InputStateError as InputStateError,
        MaxIterationsExceededError as MaxIterationsExceededError,
        OrchestrationSession as OrchestrationSession,
        Orchestrator as Orchestrator,
        PermissionDeniedError as PermissionDeniedError,
        SessionEndedError as SessionEndedError,
        current_session as current_session,
    )
    from techrevati.runtime.permissions import (
        PermissionEnforcer as PermissionEnforcer,
        PermissionMode as PermissionMode,
        PermissionOutcome as PermissionOutcome,
        PermissionPolicy as PermissionPolicy,
        RolePermissionConfig as RolePermissionConfig,
    )
    from techrevati.runtime.policy_engine import (
        PhaseContext as PhaseContext,
        PolicyAction as PolicyAction,
        PolicyActionData as PolicyActionData,
        PolicyCondition as PolicyCondition,
        PolicyEngine as PolicyEngine,
        PolicyRule as PolicyRule,
    )
    from techrevati.runtime.pricing import (
        PRICING_TABLE as PRICING_TABLE,
        ModelPricing as ModelPricing,
        has_pricing as has_pricing,
        load_pricing_from_file as load_pricing_from_file,
        register_pricing as register_pricing,
    )
    from techrevati.runtime.quality_gate import (
        QualityGate as QualityGate,
        QualityGateOutcome as QualityGateOutcome,
        QualityLevel as QualityLevel,
    )
    from techrevati.runtime.retry_policy import (
        EscalationPolicy as EscalationPolicy,
        Recovery as Recovery,
        RecoveryContext as RecoveryContext,
        RecoveryEvent as RecoveryEvent,
        RecoveryNews as RecoveryNews,
        RecoveryRecipe as RecoveryRecipe,
        RecoveryResult as RecoveryResult,
        RecoveryStep as RecoveryStep,
        Retry as Retry,
        RetryAttempt as RetryAttempt,
        RetryBudget as RetryBudget,
        aattempt_recovery as aattempt_recovery,
        attempt_recovery as attempt_recovery,
        backoff_delay as backoff_delay,
        next_provider as next_provider,
        recipe_for as recipe_for,
        smaller_context_budget as smaller_context_budget,
    )
    from techrevati.runtime.sinks import (
        DEFAULT_RING_CAPACITY as DEFAULT_RING_CAPACITY,
        EventSink as EventSink,
        FanOutEventSink as FanOutEventSink,
        FanOutUsageSink as FanOutUsageSink,
        JsonlEventSink as JsonlEventSink,
        JsonlUsageSink as JsonlUsageSink,
        NoopEventSink as NoopEventSink,
        NoopUsageSink as NoopUsageSink,
        RingBufferEventSink as RingBufferEventSink,
        RingBufferUsageSink as RingBufferUsageSink,
        UsageSink as UsageSink,
    )
    from techrevati.runtime.usage import (
        UsageNotFoundError as UsageNotFoundError,
        UsageSnapshot as UsageSnapshot,
    )
    from techrevati.runtime.usage_tracking import (
        BudgetExceededError as BudgetExceededError,
        UsageTracker as UsageTracker,
        _warned_unpriced_models as _warned_unpriced_models,
    )
else:
    from techrevati.runtime._core.exports import HOME, MODULES
    from techrevati.runtime._core.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(__name__, HOME, MODULES)

__all__ = [
    "__version__",
    "aattempt_recovery",
    "AgentEvent",
    "AgentEventName",
    "AgentEventStatus",
    "AgentFailureClass",
    "AgentRegistry",
    "AgentSession",
    "AgentStatus",
    "AgentWorker",
    "AgentWorkerEvent",
    "AllowAllGuardrail",
    "AsyncCircuitBreaker",
    "AsyncOrchestrationSession",
    "attempt_recovery",
    "backoff_delay",
    "BreakerRegistry",
    "BreakerSnapshot",
    "BudgetExceededError",
    "CircuitBreaker",
    "CircuitGuard",
    "CircuitOpenError",
    "CircuitState",
    "classify",
    "classify_exception",
    "current_deadline",
    "current_session",
    "Deadline",
    "DeadlineExceededError",
    "DEFAULT_RING_CAPACITY",
    "EscalationPolicy",
    "EventSink",
    "Failover",
    "Failure",
    "FailureKind",
    "FailureOrigin",
    "FailureScenario",
    "FanOutEventSink",
    "FanOutUsageSink",
    "Guardrail",
    "GuardrailOutcome",
    "GuardrailStage",
    "GuardrailViolatedError",
    "Handoff",
    "has_pricing",
    "Hedge",
    "HedgedRequest",
    "HedgeSnapshot",
    "InputStateError",
    "InvalidTransitionError",
    "JsonlEventSink",
    "JsonlUsageSink",
    "LateOutcome",
    "load_pricing_from_file",
    "Loser",
    "MaxIterationsExceededError",
    "ModelPricing",
    "next_provider",
    "NoopEventSink",
    "NoopUsageSink",
    "NoTargetError",
    "OrchestrationSession",
    "Orchestrator",
    "PassedTarget",
    "PermissionDeniedError",
    "PermissionEnforcer",
    "PermissionMode",
    "PermissionOutcome",
    "PermissionPolicy",
    "PhaseContext",
    "PolicyAction",
    "PolicyActionData",
    "PolicyCondition",
    "PolicyEngine",
    "PolicyRule",
    "PRICING_TABLE",
    "provider_failures",
    "QualityGate",
    "QualityGateOutcome",
    "QualityLevel",
    "recipe_for",
    "Recovery",
    "RecoveryContext",
    "RecoveryEvent",
    "RecoveryNews",
    "RecoveryRecipe",
    "RecoveryResult",
    "RecoveryStep",
    "register_pricing",
    "register_rule",
    "Retry",
    "RetryAttempt",
    "RetryBudget",
    "RingBufferEventSink",
    "RingBufferUsageSink",
    "RolePermissionConfig",
    "SessionEndedError",
    "smaller_context_budget",
    "Target",
    "TargetSwitch",
    "TechrevatiError",
    "Timeout",
    "TurnTimeoutError",
    "UnknownWorkerError",
    "UsageNotFoundError",
    "UsageSink",
    "UsageSnapshot",
    "UsageTracker",
]
