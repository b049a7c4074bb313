"""Which module each public name lives in.  A test holds this equal to the package's ``__all__``."""

from __future__ import annotations

_NAMES = {
    "_core.errors": "TechrevatiError",
    "agent_events": "AgentEvent AgentEventName AgentEventStatus AgentFailureClass",
    "agent_lifecycle": (
        "AgentRegistry AgentStatus AgentWorker AgentWorkerEvent InvalidTransitionError UnknownWorkerError"
    ),
    "approvals": (
        "Approval ApprovalConsumedError ApprovalDeniedError ApprovalError ApprovalExpiredError "
        "ApprovalMismatchError ApprovalPendingError Approvals UnknownApprovalError"
    ),
    "bulkhead": "Bulkhead BulkheadFullError BulkheadSnapshot",
    "budgets": (
        "Budget BudgetSnapshot BudgetThreshold Reservation ReservationSettledError estimate_input_tokens"
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
    "guardrails": (
        "AllowAllGuardrail Guardrail GuardrailChain GuardrailOutcome GuardrailStage GuardrailViolatedError "
        "JsonSchema PathGuardrail PatternGuardrail PiiGuardrail PromptInjectionGuardrail SchemaGuardrail "
        "SchemaProblem SecretsGuardrail SizeGuardrail UrlGuardrail"
    ),
    "handoffs": "Handoff",
    "hedging": "Hedge HedgeSnapshot HedgedRequest Loser",
    "journal": (
        "Happened InDoubtError Journal JournalError OpenStep RecordedFailureError Recorder "
        "ReplayMismatchError Replayer ResultNotStorableError RunBusyError RunJournal RunReplay RunSummary "
        "Step"
    ),
    "loop_detection": "LoopDetectedError LoopDetection LoopFinding LoopState",
    "ledger": (
        "Doubt IdempotencyConflictError SpendGroup SpendLedger SpendRecord SpendReport "
        "UnknownReservationError"
    ),
    "orchestrator": (
        "AgentSession AsyncOrchestrationSession AsyncSessionStream InputStateError "
        "MaxIterationsExceededError OrchestrationSession Orchestrator PermissionDeniedError "
        "SessionEndedError SessionStream ToolCall ToolResult current_session"
    ),
    "permissions": (
        "PermissionEnforcer PermissionMode PermissionOutcome PermissionPolicy RolePermissionConfig"
    ),
    "pipeline": "Pipeline PipelineOrderError",
    "policy_engine": "PhaseContext PolicyAction PolicyActionData PolicyCondition PolicyEngine PolicyRule",
    "pricing": (
        "ModelPricing PRICING_TABLE PriceBook Quote UnknownModelError UnknownPriceError cost_usd has_pricing "
        "load_pricing_from_file output_limit quote register_pricing use_price_book worst_case_picodollars"
    ),
    "quality_gate": "QualityGate QualityGateOutcome QualityLevel",
    "rate_limit": ("RateLimit RateLimitExceededError RateLimitSnapshot RateLimitedCall "),
    "redaction": "Redactor",
    "retry_policy": (
        "EscalationPolicy Recovery RecoveryContext RecoveryEvent RecoveryNews RecoveryRecipe RecoveryResult "
        "RecoveryStep Retry "
        "RetryAttempt RetryBudget aattempt_recovery attempt_recovery backoff_delay next_provider "
        "recipe_for smaller_context_budget"
    ),
    "sinks": (
        "DEFAULT_RING_CAPACITY EventSink FanOutEventSink FanOutUsageSink JsonlEventSink JsonlUsageSink "
        "LoggingSink NoopEventSink NoopUsageSink RingBufferEventSink RingBufferUsageSink UsageSink"
    ),
    "stores": (
        "MemoryStore NewerSchemaError SqliteStore Store StoreCorruptError StoreError StoreLockedError"
        " StoreUnavailableError"
    ),
    "streaming": (
        "AsyncWatchedStream StreamOutcome StreamStalledError StreamUsage UsageReader WatchedStream watch"
    ),
    "usage": "UsageAccumulator UsageNotFoundError UsageSnapshot",
    "usage_tracking": "BudgetExceededError UsageTracker _warned_unpriced_models",
}

HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

MODULES = (
    "agent_events",
    "agent_lifecycle",
    "approvals",
    "bulkhead",
    "chaos",
    "budgets",
    "circuit_breaker",
    "cli",
    "deadlines",
    "failover",
    "failures",
    "guardrails",
    "handoffs",
    "hedging",
    "integrations",
    "journal",
    "loop_detection",
    "ledger",
    "orchestrator",
    "otel",
    "permissions",
    "pipeline",
    "policy_engine",
    "pricing",
    "quality_gate",
    "rate_limit",
    "redaction",
    "retry_policy",
    "sinks",
    "stores",
    "streaming",
    "testing",
    "usage",
    "usage_tracking",
)
