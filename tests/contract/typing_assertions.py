"""Read by mypy and pyright, never run: what a stranger's type checker must conclude.

A line with an ``ignore`` is a mistake that checkers must find: both report an ignore that nothing needs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from decimal import Decimal
from typing import Literal, assert_type

import techrevati.runtime
from techrevati.runtime import (
    PRICING_TABLE,
    AgentEvent,
    AgentEventName,
    AgentEventStatus,
    AgentFailureClass,
    AgentRegistry,
    AgentSession,
    AgentStatus,
    AgentWorker,
    AgentWorkerEvent,
    AllowAllGuardrail,
    AsyncCircuitBreaker,
    AsyncOrchestrationSession,
    BreakerRegistry,
    BreakerSnapshot,
    BudgetExceededError,
    Bulkhead,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    Deadline,
    EventSink,
    Failure,
    FailureScenario,
    FanOutEventSink,
    FanOutUsageSink,
    Guardrail,
    GuardrailOutcome,
    GuardrailStage,
    GuardrailViolatedError,
    Handoff,
    InvalidTransitionError,
    JsonlEventSink,
    JsonlUsageSink,
    ModelPricing,
    NoopEventSink,
    NoopUsageSink,
    OrchestrationSession,
    Orchestrator,
    PermissionDeniedError,
    PermissionEnforcer,
    PermissionMode,
    PermissionOutcome,
    PermissionPolicy,
    PhaseContext,
    Pipeline,
    PolicyActionData,
    PolicyCondition,
    PolicyEngine,
    PolicyRule,
    QualityGate,
    QualityGateOutcome,
    QualityLevel,
    RateLimit,
    RecoveryContext,
    RecoveryResult,
    Retry,
    RetryAttempt,
    RetryBudget,
    RingBufferEventSink,
    RingBufferUsageSink,
    RolePermissionConfig,
    TechrevatiError,
    Timeout,
    TurnTimeoutError,
    UsageNotFoundError,
    UsageSink,
    UsageSnapshot,
    UsageTracker,
    aattempt_recovery,
    attempt_recovery,
    backoff_delay,
    classify,
    classify_exception,
    current_session,
    has_pricing,
    next_provider,
    register_pricing,
)
from techrevati.runtime.guardrails import run_post_checks, run_pre_checks
from techrevati.runtime.policy_engine import And, Or, QualityAt, TimedOut


def add(a: int, b: str = "") -> float:
    return a + len(b)


async def fetch(url: str, *, retries: int) -> bytes:
    return url.encode() * retries


# --- the lazy package --------------------------------------------------------------------------------------


def names_are_known_and_misspelt_ones_are_not() -> None:
    assert_type(techrevati.runtime.__version__, str)
    assert_type(techrevati.runtime.CircuitBreaker("b"), CircuitBreaker)
    techrevati.runtime.CircuitBraker("b")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


# --- circuit breaker ---------------------------------------------------------------------------------------


def breaker_keeps_signatures(breaker: CircuitBreaker) -> None:
    assert_type(breaker.call(add, 1, b="x"), float)
    assert_type(breaker.call(lambda: "x"), str)
    breaker.call(add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    breaker.call(add, 1, c=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    breaker.call(add)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def stream(n: int) -> Generator[int, str, bytes]:
    return str((yield n)).encode()


async def astream(n: int, *, word: str = "") -> AsyncGenerator[str, None]:
    yield word * n


async def decorators_keep_signatures(breaker: CircuitBreaker, retry: Retry) -> None:
    both = retry(breaker(add))
    assert_type(both(1, b="x"), float)
    assert_type(await retry(breaker(fetch))("u", retries=1), bytes)
    assert_type(await breaker.as_async()(fetch)("u", retries=1), bytes)
    assert_type(retry(breaker(stream))(1), Generator[int, str, bytes])
    assert_type(breaker.as_async()(retry(astream))(1, word="w"), AsyncGenerator[str, None])
    both("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    both(1, c=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    breaker(3)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    with breaker as inside, breaker.guard() as guard:
        assert_type(inside, CircuitBreaker)
        guard.returned(1)
    async with breaker.as_async() as face:
        assert_type(face, AsyncCircuitBreaker)


async def retries_keep_signatures(retry: Retry, budget: RetryBudget) -> None:
    assert_type(retry.call(add, 1, b="x"), float)
    assert_type(await retry.acall(fetch, "u", retries=1), bytes)
    retry.call(add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    retry.call(add, 1, c=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

    def listener(attempt: RetryAttempt) -> None:
        assert_type(attempt.failure, Failure | None)
        assert_type(attempt.wait_seconds, float | None)

    Retry(3, jitter="full", budget=budget, on_attempt=listener)
    Retry(jitter="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(budget.take(), bool)
    with Deadline(3) as deadline:
        assert_type(deadline.remaining(), float)


async def pipelines_keep_signatures(retry: Retry, breaker: CircuitBreaker) -> None:
    pipeline = Pipeline(Timeout(9), retry, breaker.as_async(), RateLimit(60), Bulkhead(2))
    assert_type(pipeline.call(add, 1, b="x"), float)
    assert_type(await pipeline.acall(fetch, "u", retries=1), bytes)
    assert_type(pipeline(add)(1, b="x"), float)
    assert_type(await pipeline(fetch)("u", retries=1), bytes)
    assert_type(pipeline(stream)(1), Generator[int, str, bytes])
    assert_type(pipeline(astream)(1, word="w"), AsyncGenerator[str, None])
    assert_type(pipeline.explain(), str)
    pipeline.call(add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    pipeline(add)(1, c=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Pipeline(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def rooms_keep_signatures(rooms: Bulkhead, limit: RateLimit, timeout: Timeout) -> None:
    assert_type(rooms.call(add, 1, b="x"), float)
    assert_type(await rooms.acall(fetch, "u", retries=1), bytes)
    assert_type(rooms(stream)(1), Generator[int, str, bytes])
    assert_type(limit.call(add, 1, b="x"), float)
    assert_type(await limit(fetch)("u", retries=1), bytes)
    assert_type(limit.reserve(5).wait_seconds, float)
    assert_type(timeout.call(add, 1, b="x"), float)
    assert_type(timeout(astream)(1, word="w"), AsyncGenerator[str, None])
    rooms.call(add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    limit.call(add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def breakers_have_options(registry: BreakerRegistry) -> None:
    CircuitBreaker("b", window_calls=3, failure_rate=0.5, counts_as_failure=lambda e: isinstance(e, OSError))
    AsyncCircuitBreaker("b", window_seconds=3.0, observe_only=True)
    AsyncCircuitBreaker("b", window=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(registry.get("p", "m"), CircuitBreaker)
    assert_type(registry.get("p").snapshot(), BreakerSnapshot)


def breaker_answers(breaker: CircuitBreaker, error: CircuitOpenError) -> None:
    assert_type(breaker.state(), CircuitState)
    assert_type(breaker.is_open(), bool)
    assert_type(breaker.as_async(), AsyncCircuitBreaker)
    assert_type(breaker.as_async().as_sync(), CircuitBreaker)
    assert_type(error.name, str)
    assert_type(error.retry_after, float | None)
    CircuitBreaker("b", "5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CircuitBreaker()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def listener(name: str, before: CircuitState, after: CircuitState) -> None: ...


def wrong_listener(name: int) -> None: ...


def breaker_takes_clock_and_listener() -> None:
    CircuitBreaker("b", clock=lambda: 0.0, on_state_change=listener)
    CircuitBreaker("b", clock=lambda: "now")  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
    CircuitBreaker("b", on_state_change=wrong_listener)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def async_breaker_keeps_signatures(breaker: AsyncCircuitBreaker) -> None:
    assert_type(await breaker.call(fetch, "u", retries=2), bytes)
    await breaker.call(fetch, "u", retries="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await breaker.call(add, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await breaker.is_open(), bool)
    assert_type(await breaker.state(), CircuitState)


# --- sessions ----------------------------------------------------------------------------------------------


def session_keeps_result_types(orchestrator: Orchestrator) -> None:
    with orchestrator.session() as session:
        assert_type(session, OrchestrationSession)
        assert_type(session.run_turn(lambda: "answer"), tuple[str, UsageSnapshot])
        assert_type(session.run_tool("search", lambda: [1, 2]), list[int])
        assert_type(session.evaluate_gate(QualityLevel.STRICT), QualityGateOutcome | None)
        assert_type(session.handoff_to("editor", "done"), Handoff)
        assert_type(session.summary(), dict[str, object])
        assert_type(session.events, list[AgentEvent])
        assert_type(session.worker, AgentWorker)
        assert_type(session.tracker, UsageTracker)
        session.run_turn("answer")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
        session.run_tool(7, lambda: 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        session.arun_turn(lambda: 1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def estimate(result: str) -> UsageSnapshot:
    return UsageSnapshot(len(result))


def estimates_see_the_result(session: OrchestrationSession) -> None:
    assert_type(session.run_turn(lambda: "answer", estimate_usage=estimate), tuple[str, UsageSnapshot])
    session.run_turn(lambda: 1, estimate_usage=estimate)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]


async def async_session_keeps_result_types(orchestrator: Orchestrator) -> None:
    async with orchestrator.asession() as session:
        assert_type(session, AsyncOrchestrationSession)
        result, usage = await session.arun_turn(lambda: fetch("u", retries=1))
        assert_type(result, bytes)
        assert_type(usage, UsageSnapshot)
        assert_type(await session.arun_tool("fetch", lambda: fetch("u", retries=1)), bytes)
        assert_type(await session.arun_tool("add", lambda: add(1)), float)
        assert_type(await session.pause_for_input("go on?"), str)
        session.provide_input(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def the_alias_and_the_current_session() -> None:
    assert_type(AgentSession("r", "p"), Orchestrator)
    assert_type(current_session(), OrchestrationSession | AsyncOrchestrationSession | None)
    Orchestrator("r", "p", budget_usd=Decimal("0.10"))
    Orchestrator("r", "p", budget_usd="0.10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- protocols: anything of the right shape will do --------------------------------------------------------


class MySink:
    def emit(self, event: AgentEvent) -> None: ...

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None: ...


class WrongSink:
    def emit(self, event: str) -> None: ...


class MyGuardrail:
    name: str = "mine"

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        return GuardrailOutcome(True)

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        return GuardrailOutcome(True)


class HalfGuardrail:
    name: str = "half"

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        return GuardrailOutcome(True)


class MyCondition:
    def matches(self, ctx: PhaseContext) -> bool:
        return ctx.gate_score > 0.5


def shapes_are_enough() -> None:
    events: list[EventSink] = [
        MySink(),
        NoopEventSink(),
        RingBufferEventSink(),
        JsonlEventSink("events.jsonl"),
        FanOutEventSink(MySink(), NoopEventSink()),
    ]
    usages: list[UsageSink] = [
        MySink(),
        NoopUsageSink(),
        RingBufferUsageSink(),
        JsonlUsageSink("usage.jsonl"),
        FanOutUsageSink(MySink()),
    ]
    guardrails: list[Guardrail] = [MyGuardrail(), AllowAllGuardrail()]
    condition: PolicyCondition = And([MyCondition(), Or([TimedOut(1), QualityAt(QualityLevel.STRICT)])])
    Orchestrator("r", "p", event_sink=events[0], usage_sink=usages[0], guardrails=guardrails)
    PolicyRule("rule", condition, [])
    run_pre_checks(guardrails, role="r", tool="t")
    run_post_checks(guardrails, object(), role="r", tool="t")


def wrong_shapes_are_found() -> None:
    Orchestrator("r", "p", event_sink=WrongSink())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Orchestrator("r", "p", usage_sink=WrongSink())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Orchestrator("r", "p", guardrails=[HalfGuardrail()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    PolicyRule("rule", object(), [])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FanOutEventSink(object())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- events and workers ------------------------------------------------------------------------------------


class MyEvent(AgentEvent):
    pass


def events_keep_their_class(event: AgentEvent) -> None:
    assert_type(MyEvent.started("r", "p"), MyEvent)
    assert_type(MyEvent.started("r", "p").with_detail("d"), MyEvent)
    assert_type(MyEvent.from_json("{}"), MyEvent)
    assert_type(event.event, AgentEventName)
    assert_type(event.status, AgentEventStatus)
    assert_type(event.failure_class, AgentFailureClass | None)
    assert_type(event.emitted_at, str)
    assert_type(event.data, dict[str, object] | None)
    assert_type(event.to_dict(), dict[str, object])
    assert_type(event.to_otel_attributes(), dict[str, str])
    event.detail = "x"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    AgentEvent.failed("r", "p", "unknown")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def workers(registry: AgentRegistry, error: InvalidTransitionError) -> None:
    assert_type(registry.create("r", "p"), AgentWorker)
    assert_type(registry.get("id"), AgentWorker | None)
    assert_type(registry.transition("id", AgentStatus.RUNNING), AgentWorkerEvent)
    assert_type(registry.list_active(), list[AgentWorker])
    assert_type(error.current, AgentStatus)
    assert_type(error.target, AgentStatus)
    registry.transition("id", "running")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- rings and usage ---------------------------------------------------------------------------------------


def rings(events: RingBufferEventSink, usages: RingBufferUsageSink) -> None:
    assert_type(events.events, list[AgentEvent])
    assert_type(usages.records, list[tuple[str, UsageSnapshot, float]])
    assert_type(events.dropped, int)
    assert_type(events.capacity, int)


class MyUsage(UsageSnapshot):
    pass


def usage_and_prices(tracker: UsageTracker) -> None:
    assert_type(UsageSnapshot(1) + UsageSnapshot(2), UsageSnapshot)
    assert_type(MyUsage.from_response({}), MyUsage)
    assert_type(MyUsage.from_json("{}"), MyUsage)
    assert_type(tracker.total_cost(), float)
    assert_type(tracker.budget_remaining(Decimal(1)), float)
    assert_type(tracker.summary(), dict[str, object])
    assert_type(tracker.per_model_summary(), dict[str, float])
    assert_type(PRICING_TABLE, dict[str, ModelPricing])
    assert_type(has_pricing("m"), bool)
    register_pricing("m", ModelPricing(1.0, 2.0))
    register_pricing("m", 1.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    UsageSnapshot(1).input_tokens = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    UsageSnapshot("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- decisions ---------------------------------------------------------------------------------------------


def read_file() -> str:
    return ""


def permissions(policy: PermissionPolicy) -> None:
    enforcer = PermissionEnforcer(policy)
    assert_type(enforcer.check("r", "t"), PermissionOutcome)
    assert_type(enforcer.filter_tools("r", [read_file]), list[Callable[[], str]])
    RolePermissionConfig("r", PermissionMode.READ_ONLY, allowed_tools=["a"], denied_tools=("b",))
    enforcer.filter_tools("r", ["read_file"])  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def gates_and_policies(engine: PolicyEngine) -> None:
    assert_type(QualityGate(QualityLevel.STRICT).evaluate(None), QualityGateOutcome)
    assert_type(QualityLevel.STRICT.label, str)
    assert_type(engine.evaluate(PhaseContext()), list[PolicyActionData])
    assert_type(engine.rules, list[PolicyRule])


def stages(stage: GuardrailStage) -> None:
    assert_type(stage, Literal["pre", "post"])
    GuardrailViolatedError(
        GuardrailOutcome(False),
        guardrail="g",
        role="r",
        tool="t",
        stage="during",  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


async def recovery(ctx: RecoveryContext) -> None:
    assert_type(attempt_recovery(FailureScenario.LLM_ERROR, ctx), RecoveryResult)
    assert_type(await aattempt_recovery(FailureScenario.LLM_ERROR, ctx), RecoveryResult)
    assert_type(backoff_delay(1), float)
    assert_type(next_provider(["a"], "a"), str | None)
    assert_type(classify_exception(ValueError()), FailureScenario)
    assert_type(classify(ValueError()), Failure)
    backoff_delay(1, jitter="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def timeouts() -> None:
    assert_type(Timeout(1.0).call(read_file), str)
    assert_type(await Timeout(1.0).acall(lambda: fetch("u", retries=1)), bytes)


# --- errors ------------------------------------------------------------------------------------------------


def errors(
    budget: BudgetExceededError,
    timeout: TurnTimeoutError,
    denied: PermissionDeniedError,
    usage: UsageNotFoundError,
) -> None:
    everything: list[TechrevatiError] = [budget, timeout, denied, usage]
    del everything
    as_built_in: tuple[TimeoutError, PermissionError, ValueError] = (timeout, denied, usage)
    del as_built_in
    assert_type(budget.budget_usd, float)
    assert_type(budget.current_cost_usd, float)
    assert_type(budget.has_result, bool)
    assert_type(timeout.timeout_seconds, float)
    assert_type(denied.outcome, PermissionOutcome)
