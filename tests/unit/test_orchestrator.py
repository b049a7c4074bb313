"""A session wires the primitives together: in the right order, each fact said once, nothing paid for lost."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import queue
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from techrevati.runtime import TechrevatiError
from techrevati.runtime.agent_events import (
    AgentEvent,
    AgentEventName as Name,
    AgentEventStatus as Status,
    AgentFailureClass,
)
from techrevati.runtime.agent_lifecycle import AgentRegistry, AgentStatus
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.guardrails import GuardrailOutcome, GuardrailViolatedError
from techrevati.runtime.handoffs import Handoff
from techrevati.runtime.orchestrator import (
    AgentSession,
    BudgetExceededError,
    MaxIterationsExceededError,
    OrchestrationSession,
    Orchestrator,
    PermissionDeniedError,
    SessionEndedError,
    TurnTimeoutError,
    current_session,
)
from techrevati.runtime.orchestrator.life import EVENT_CAPACITY
from techrevati.runtime.permissions import (
    PermissionEnforcer,
    PermissionMode,
    PermissionOutcome,
    PermissionPolicy,
    RolePermissionConfig,
)
from techrevati.runtime.policy_engine import (
    PhaseContext,
    PolicyAction,
    PolicyActionData,
    PolicyEngine,
    PolicyRule,
)
from techrevati.runtime.pricing import PRICING_TABLE, ModelPricing, register_pricing
from techrevati.runtime.quality_gate import QualityGate, QualityLevel
from techrevati.runtime.retry_policy import HISTORY_CAPACITY, FailureScenario
from techrevati.runtime.sinks import RingBufferEventSink, RingBufferUsageSink
from techrevati.runtime.testing import FakeClock
from techrevati.runtime.usage import UsageSnapshot

PATIENCE = 10.0  # seconds until something that should have happened counts as hung
SOON = 0.01  # a real timeout, where a thread must really be waited for
MODEL = "test-model-of-a-dollar-a-token"
INTERRUPTS = [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]

request_id: ContextVar[str] = ContextVar("request_id", default="none")


class FailedError(Exception):
    """What a turn or a tool raises."""


class Recorder:
    """A sink for both that others can wait on."""

    def __init__(self) -> None:
        self.events: list[AgentEvent] = []
        self.usage: queue.Queue[tuple[str, UsageSnapshot, float]] = queue.Queue()
        self.late: queue.Queue[AgentEvent] = queue.Queue()

    def emit(self, event: AgentEvent) -> None:
        self.events.append(event)
        if event.event is Name.AGENT_LATE_RESULT:
            self.late.put(event)

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        self.usage.put((model, usage, cost_usd))


class Watch:
    """A guardrail that writes down when it is asked and refuses where told."""

    def __init__(self, name: str, log: list[str], refuse: str = "") -> None:
        self.name = name
        self.log = log
        self.refuse = refuse

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        self.log.append(f"{self.name} pre {role} {tool}")
        return GuardrailOutcome(self.refuse != "pre", "not so")

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        self.log.append(f"{self.name} post {value}")
        return GuardrailOutcome(self.refuse != "post", "not so")


def fail() -> None:
    raise FailedError("the model is broken")


def names(session: OrchestrationSession) -> list[str]:
    return [event.event.value for event in session.events]


def only(session: OrchestrationSession, name: Name) -> AgentEvent:
    (event,) = [event for event in session.events if event.event is name]
    return event


@pytest.fixture
def priced() -> Iterator[None]:
    """One token in or out of MODEL costs one US dollar."""
    register_pricing(MODEL, ModelPricing(1_000_000, 1_000_000))
    yield
    PRICING_TABLE.pop(MODEL, None)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Hung calls wait for it; nothing stays behind after a test."""
    event = threading.Event()
    yield event
    event.set()


# --- life ---------------------------------------------------------------------------------------------------


def test_a_session_walks_its_worker_through_life() -> None:
    """Initializing, running, completed; the worker is in the registry, and each step is told once."""
    registry = AgentRegistry()
    orchestrator = Orchestrator("writer", "draft", "project-1", registry=registry)
    with orchestrator.session() as session:
        assert session.worker.status is AgentStatus.RUNNING
        assert registry.get(session.worker.worker_id) is session.worker
        assert (session.role, session.phase, session.project_id) == ("writer", "draft", "project-1")
        assert session.registry is registry
    moves = [move.status for move in session.worker.events]
    assert moves == [AgentStatus.INITIALIZING, AgentStatus.RUNNING, AgentStatus.COMPLETED]
    assert names(session) == ["agent.started", "agent.completed"]
    assert {(event.role, event.phase, event.project_id) for event in session.events} == {
        ("writer", "draft", "project-1")
    }
    assert AgentSession is Orchestrator


def test_a_failure_fails_the_worker_and_goes_on() -> None:
    """The very exception comes out; the worker is FAILED with the cause, which is told once."""
    error = TimeoutError("read timed out")
    with pytest.raises(TimeoutError) as caught, Orchestrator("writer", "draft").session() as session:
        raise error
    assert caught.value is error
    assert session.worker.status is AgentStatus.FAILED
    assert session.worker.last_error is not None
    assert "read timed out" in session.worker.last_error["message"]
    failed = only(session, Name.AGENT_FAILED)
    assert failed.failure_class is AgentFailureClass.LLM_TIMEOUT
    assert "read timed out" in (failed.detail or "")
    assert names(session) == ["agent.started", "agent.failed"]


@pytest.mark.parametrize("kind", INTERRUPTS)
@pytest.mark.parametrize("where", ["block", "turn", "timed turn", "tool"])
def test_interrupts_leave_the_worker_cancelled(kind: type[BaseException], where: str) -> None:
    """Ctrl-C, SystemExit and cancellation leave no running worker behind, wherever they hit."""

    def interrupted() -> None:
        raise kind

    breaker = CircuitBreaker("api", 1)
    with pytest.raises(kind), Orchestrator("writer", "draft", circuit_breaker=breaker).session() as session:
        if where == "turn":
            session.run_turn(interrupted)
        elif where == "timed turn":
            session.run_turn(interrupted, timeout=PATIENCE)
        elif where == "tool":
            session.run_tool("search", interrupted)
        interrupted()
    assert session.worker.status is AgentStatus.CANCELLED
    assert names(session)[-1] == "agent.cancelled"
    assert names(session).count("agent.cancelled") == 1
    assert breaker.state() is CircuitState.CLOSED


def test_a_session_can_be_ended_early() -> None:
    """``complete``, ``fail`` and ``cancel`` end it at once; leaving the block adds nothing."""
    with Orchestrator("writer", "draft").session() as done:
        done.complete("early")
    with Orchestrator("writer", "draft").session() as failed:
        failed.fail("no model", AgentFailureClass.DEPENDENCY_FAILED)
    with Orchestrator("writer", "draft").session() as cancelled:
        cancelled.cancel("not needed")
    assert [done.worker.status, failed.worker.status, cancelled.worker.status] == [
        AgentStatus.COMPLETED,
        AgentStatus.FAILED,
        AgentStatus.CANCELLED,
    ]
    assert only(done, Name.AGENT_COMPLETED).detail == "early"
    assert only(failed, Name.AGENT_FAILED).failure_class is AgentFailureClass.DEPENDENCY_FAILED
    assert only(failed, Name.AGENT_FAILED).detail == "no model"
    assert only(cancelled, Name.AGENT_CANCELLED).detail == "not needed"
    assert [len(names(session)) for session in (done, failed, cancelled)] == [2, 2, 2]


@pytest.mark.parametrize("order", [1, -1])
def test_fail_takes_text_and_class_in_either_order(order: int) -> None:
    """And an exception in place of the text, which is then classified."""
    arguments = ["no model", AgentFailureClass.TOOL_ERROR][::order]
    with Orchestrator("writer", "draft").session() as session:
        session.fail(*arguments)  # type: ignore[arg-type]
    told = only(session, Name.AGENT_FAILED)
    assert (told.detail, told.failure_class) == ("no model", AgentFailureClass.TOOL_ERROR)
    with Orchestrator("writer", "draft").session() as session:
        session.fail(TimeoutError("slow"))
    assert only(session, Name.AGENT_FAILED).failure_class is AgentFailureClass.LLM_TIMEOUT
    with Orchestrator("writer", "draft").session() as session:
        session.fail()
    assert only(session, Name.AGENT_FAILED).failure_class is AgentFailureClass.UNKNOWN


def test_an_early_end_survives_a_later_error() -> None:
    """A completed worker stays completed although the block raises afterwards."""
    with pytest.raises(FailedError), Orchestrator("writer", "draft").session() as session:
        session.complete()
        fail()
    assert session.worker.status is AgentStatus.COMPLETED
    assert names(session) == ["agent.started", "agent.completed"]


@pytest.mark.parametrize("when", ["before", "after", "ended early"])
@pytest.mark.parametrize(
    "use",
    [
        lambda s: s.run_turn(lambda: called.append(1)),
        lambda s: s.run_tool("search", lambda: called.append(1)),
        lambda s: s.handoff_to("editor", "done"),
        lambda s: s.complete(),
        lambda s: s.fail("x"),
        lambda s: s.cancel(),
    ],
    ids=["run_turn", "run_tool", "handoff_to", "complete", "fail", "cancel"],
)
def test_a_session_that_does_not_run_refuses(
    when: str, use: Callable[[OrchestrationSession], object]
) -> None:
    """Before it is entered and after its end nothing is called; the error says which of both."""
    called.clear()
    session = Orchestrator("writer", "draft").session()
    if when != "before":
        with session:
            if when == "ended early":
                session.cancel()
                with pytest.raises(SessionEndedError, match="cancelled"):
                    use(session)
    with pytest.raises(SessionEndedError) as refusal:
        use(session)
    assert isinstance(refusal.value, RuntimeError)
    expected = {"before": "not entered", "after": "completed", "ended early": "cancelled"}[when]
    assert refusal.value.state == expected
    assert called == []


called: list[int] = []


def test_a_session_is_entered_once() -> None:
    """A session is one run: entering it again is refused and changes nothing."""
    session = Orchestrator("writer", "draft").session()
    with session:
        with pytest.raises(SessionEndedError):
            session.__enter__()
        assert session.worker.status is AgentStatus.RUNNING
        assert current_session() is session
    with pytest.raises(SessionEndedError):
        session.__enter__()
    assert current_session() is None


def test_an_empty_registry_is_used_too() -> None:
    """Parts that are false in a boolean context are parts all the same."""
    registry = AgentRegistry()
    assert len(registry) == 0
    with Orchestrator("writer", "draft", registry=registry).session():
        assert len(registry) == 1


# --- turns --------------------------------------------------------------------------------------------------


def test_a_turn_returns_what_fn_returned() -> None:
    """The result as it is, a tuple not unpacked; usage is zero when nobody says."""
    with Orchestrator("writer", "draft").session() as session:
        assert session.run_turn(lambda: (1, 2)) == ((1, 2), UsageSnapshot())
        for result in (None, "text", 5, [], {}, object()):
            assert session.run_turn(lambda result=result: result) == (result, UsageSnapshot())
        assert session._iteration_count == 7
        assert session.tracker.turns == 7


def test_where_usage_comes_from() -> None:
    """Given, else estimated, else read from the result; the sink gets the same."""
    response = {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    given, estimated, read = UsageSnapshot(1, 1), UsageSnapshot(2, 2), UsageSnapshot(3, 4)
    sink = RingBufferUsageSink()
    with Orchestrator("writer", "draft", usage_sink=sink).session() as session:
        turn = session.run_turn
        assert turn(lambda: response, "m", given, lambda _: estimated)[1] == given
        assert turn(lambda: response, "m", None, lambda _: estimated)[1] == estimated
        assert turn(lambda: response, "m")[1] == read
    assert [(model, usage) for model, usage, _ in sink.records] == [
        ("m", given),
        ("m", estimated),
        ("m", read),
    ]
    assert (session.tracker.total_input_tokens, session.tracker.total_output_tokens) == (6, 7)


@pytest.mark.parametrize("broken", [lambda _: 1 / 0, lambda _: "many"])
def test_a_broken_estimate_costs_nobody_the_result(
    broken: Callable[[object], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The result was paid for: it is returned, and the log says what is wrong."""
    with (
        caplog.at_level(logging.WARNING, "techrevati.runtime.orchestrator"),
        Orchestrator("writer", "draft").session() as session,
    ):
        assert session.run_turn(lambda: "paid", estimate_usage=broken) == ("paid", UsageSnapshot())
    assert "estimate_usage" in caplog.text


def test_a_failed_turn_is_met_with_one_recovery() -> None:
    """The very error comes out after one recovery event; used up, it is an escalation.  The session goes
    on."""
    error = TimeoutError("slow")

    def slow() -> None:
        raise error

    with Orchestrator("writer", "draft").session() as session:
        for _ in range(3):
            with pytest.raises(TimeoutError) as caught:
                session.run_turn(slow)
            assert caught.value is error
        assert session.run_turn(lambda: "fine")[0] == "fine"
    assert names(session) == [
        "agent.started",
        "agent.recovery.attempted",
        "agent.recovery.attempted",
        "agent.recovery.escalated",
        "agent.completed",
    ]
    assert {event.failure_class for event in session.events[1:4]} == {AgentFailureClass.LLM_TIMEOUT}
    assert session.recovery.attempt_count(FailureScenario.LLM_TIMEOUT) == 2
    assert len(session.recovery.events) == 3


def test_turns_are_counted_before_fn_runs() -> None:
    """The turn past the cap is refused, also when turns failed; the error says how many there may be."""
    ran: list[int] = []
    with Orchestrator("writer", "draft", max_iterations=2).session() as session:
        session.run_turn(lambda: ran.append(1))
        with pytest.raises(FailedError):
            session.run_turn(fail)
        for _ in range(2):
            with pytest.raises(MaxIterationsExceededError) as refusal:
                session.run_turn(lambda: ran.append(2))
        assert refusal.value.max_iterations == 2
        assert session._iteration_count == 2
    assert ran == [1]
    with Orchestrator("writer", "draft", max_iterations=0).session() as session:
        with pytest.raises(MaxIterationsExceededError):
            session.run_turn(lambda: ran.append(3))
        session.complete()
    assert ran == [1]
    assert Orchestrator("writer", "draft").max_iterations == 25


def test_threads_share_a_session() -> None:
    """Eight turns of one session meet at a barrier inside fn; of twenty more, exactly the rest run."""
    barrier = threading.Barrier(8)
    ends: queue.Queue[str] = queue.Queue()

    def turn(fn: Callable[[], object]) -> None:
        try:
            session.run_turn(fn, "m", UsageSnapshot(1, 2))
        except MaxIterationsExceededError:
            ends.put("refused")
        else:
            ends.put("ran")

    def start(count: int, fn: Callable[[], object]) -> list[str]:
        threads = [threading.Thread(target=turn, args=(fn,), daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        answers = [ends.get(timeout=PATIENCE) for _ in threads]
        for thread in threads:
            thread.join(PATIENCE)
        return sorted(answers)

    breaker = CircuitBreaker("api")
    with Orchestrator("writer", "draft", circuit_breaker=breaker, max_iterations=13).session() as session:
        assert start(8, lambda: barrier.wait(PATIENCE)) == ["ran"] * 8
        assert start(20, int) == ["ran"] * 5 + ["refused"] * 15
    assert session.tracker.turns == 13
    assert session.tracker.total_output_tokens == 26


def test_wrong_usage_is_refused_before_the_call() -> None:
    """A dict is no UsageSnapshot: nothing is called, nothing counted."""
    with Orchestrator("writer", "draft").session() as session:
        with pytest.raises(TypeError, match="usage"):
            session.run_turn(lambda: called.append(1), usage={"input_tokens": 1})  # type: ignore[arg-type]
        assert session._iteration_count == 0


# --- turns with a timeout -----------------------------------------------------------------------------------


def test_a_hung_turn_ends_at_the_deadline(release: threading.Event) -> None:
    """The caller gets ``TurnTimeoutError`` while fn hangs; it is a failure for the breaker and for
    recovery."""
    breaker = CircuitBreaker("api", 1)
    with Orchestrator("writer", "draft", circuit_breaker=breaker).session() as session:
        with pytest.raises(TurnTimeoutError) as timeout:
            session.run_turn(lambda: release.wait(PATIENCE), timeout=SOON)
        assert not release.is_set()
        assert timeout.value.timeout_seconds == SOON
        assert breaker.state() is CircuitState.OPEN
        told = only(session, Name.RECOVERY_ATTEMPTED)
        assert told.failure_class is AgentFailureClass.LLM_TIMEOUT
        with pytest.raises(CircuitOpenError):
            session.run_turn(int)


def test_what_an_abandoned_turn_returns_is_told_and_booked(release: threading.Event, priced: None) -> None:
    """Later it becomes one event with the result, and its usage is booked, although the session ended."""
    recorder = Recorder()

    def late() -> dict[str, object]:
        release.wait(PATIENCE)
        return {"text": "late", "usage": {"prompt_tokens": 5, "completion_tokens": 2}}

    orchestrator = Orchestrator("writer", "draft", event_sink=recorder, usage_sink=recorder)
    with orchestrator.session() as session, pytest.raises(TurnTimeoutError):
        session.run_turn(late, MODEL, timeout=SOON)
    assert session.tracker.turns == 0
    release.set()
    assert recorder.usage.get(timeout=PATIENCE) == (MODEL, UsageSnapshot(5, 2), 7.0)
    told = recorder.late.get(timeout=PATIENCE)
    assert told.status is Status.COMPLETED
    assert told.run_id == session.run_id
    assert told.data is not None
    assert told.data["model"] == MODEL
    assert told.data["result"] == late()
    assert session.tracker.total_cost() == 7.0
    assert recorder.late.empty()
    assert names(session).count("agent.late_result") == 1
    assert session.worker.status is AgentStatus.COMPLETED


@pytest.mark.parametrize("how", ["given", "estimated"])
def test_a_late_turn_is_booked_as_a_timely_one(release: threading.Event, how: str) -> None:
    """What the caller said about usage holds for a late result too."""
    recorder = Recorder()
    used = UsageSnapshot(11, 3)

    def late() -> str:
        release.wait(PATIENCE)
        return "late"

    with Orchestrator("writer", "draft", usage_sink=recorder).session() as session:
        with pytest.raises(TurnTimeoutError):
            if how == "given":
                session.run_turn(late, "m", used, timeout=SOON)
            else:
                session.run_turn(late, "m", estimate_usage=lambda _: used, timeout=SOON)
        release.set()
        assert recorder.usage.get(timeout=PATIENCE)[:2] == ("m", used)


def test_a_late_result_can_exceed_the_budget(release: threading.Event, priced: None) -> None:
    """It was paid for: the over-budget event is told, and an enforced budget lets no further turn start."""
    recorder = Recorder()

    def late() -> dict[str, object]:
        release.wait(PATIENCE)
        return {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}

    orchestrator = Orchestrator(
        "writer", "draft", budget_usd=6, enforce_budget=True, event_sink=recorder, usage_sink=recorder
    )
    with orchestrator.session() as session:
        threads: list[threading.Thread] = []

        def turn() -> dict[str, object]:
            threads.append(threading.current_thread())
            return late()

        with pytest.raises(TurnTimeoutError):
            session.run_turn(turn, MODEL, timeout=SOON)
        release.set()
        threads[0].join(PATIENCE)
        assert only(session, Name.AGENT_FAILED).data == {"budget_usd": 6}
        with pytest.raises(BudgetExceededError):
            session.run_turn(lambda: called.append(1), MODEL)


def test_what_an_abandoned_turn_raises_is_told(release: threading.Event) -> None:
    """A late error becomes one event, classified."""
    recorder = Recorder()

    def late() -> None:
        release.wait(PATIENCE)
        raise ConnectionResetError("late and broken")

    with Orchestrator("writer", "draft", event_sink=recorder).session() as session:
        with pytest.raises(TurnTimeoutError):
            session.run_turn(late, timeout=SOON)
        release.set()
        told = recorder.late.get(timeout=PATIENCE)
    assert told.status is Status.FAILED
    assert told.failure_class is AgentFailureClass.DEPENDENCY_FAILED
    assert "late and broken" in (told.detail or "")
    assert session.tracker.turns == 0


def test_a_timed_turn_sees_the_callers_context() -> None:
    """Context variables and the current session are there, in a daemon thread."""
    request_id.set("r-1")
    with Orchestrator("writer", "draft").session() as session:
        seen, _ = session.run_turn(
            lambda: (request_id.get(), current_session(), threading.current_thread().daemon),
            timeout=PATIENCE,
        )
    assert seen == ("r-1", session, True)


def test_a_timed_turn_in_time_is_an_ordinary_turn() -> None:
    """Result, usage and errors are the same with a timeout that is not reached, infinity included."""
    error = FailedError()

    def broken() -> None:
        raise error

    with Orchestrator("writer", "draft").session() as session:
        for seconds in (PATIENCE, float("inf")):
            assert session.run_turn(lambda: "fine", "m", UsageSnapshot(1), timeout=seconds) == (
                "fine",
                UsageSnapshot(1),
            )
        with pytest.raises(FailedError) as caught:
            session.run_turn(broken, timeout=PATIENCE)
        assert caught.value is error
    assert "agent.late_result" not in names(session)


def test_ctrl_c_during_a_timed_turn_loses_no_late_result(release: threading.Event) -> None:
    """The worker is CANCELLED at once; the call that was interrupted is booked when it returns."""
    recorder = Recorder()
    caller = threading.get_ident()

    def late() -> dict[str, object]:
        signal.pthread_kill(caller, signal.SIGINT)
        release.wait(PATIENCE)
        return {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            Orchestrator("writer", "draft", usage_sink=recorder).session() as session,
        ):
            session.run_turn(late, "m", timeout=float("inf"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert session.worker.status is AgentStatus.CANCELLED
    release.set()
    assert recorder.usage.get(timeout=PATIENCE)[1] == UsageSnapshot(5, 2)


@pytest.mark.parametrize("value", [-1, float("nan"), True, "5"])
def test_a_wrong_timeout_is_the_callers_mistake(value: float) -> None:
    """It is refused before anything starts: fn is not called, no turn is used up, nobody's failure is
    counted, and the text names ``timeout``."""
    called.clear()
    breaker = CircuitBreaker("api", 1)
    with Orchestrator("writer", "draft", circuit_breaker=breaker).session() as session:
        with pytest.raises((ValueError, TypeError)) as refusal:
            session.run_turn(lambda: called.append(1), timeout=value)
        assert "timeout" in str(refusal.value)
        assert repr(value) in str(refusal.value)
        assert session._iteration_count == 0
        assert names(session) == ["agent.started"]
    assert called == []
    assert breaker.state() is CircuitState.CLOSED


# --- the breaker --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CircuitBreaker, AsyncCircuitBreaker])
def test_turns_go_through_the_breaker(kind: type) -> None:
    """Failed turns open it, an open one lets no fn run; a breaker of the other colour works too."""
    ran: list[int] = []
    breaker = kind("api", 2)
    argument = "circuit_breaker" if kind is CircuitBreaker else "async_circuit_breaker"
    with Orchestrator("writer", "draft", **{argument: breaker}).session() as session:
        for _ in range(2):
            with pytest.raises(FailedError):
                session.run_turn(fail)
        with pytest.raises(CircuitOpenError) as refusal:
            session.run_turn(lambda: ran.append(1))
        assert refusal.value.name == "api"
        assert session.run_tool("search", lambda: "tools are not its business") != ""
    assert ran == []


# --- budget -------------------------------------------------------------------------------------------------


def test_an_enforced_budget_hands_over_what_was_paid(priced: None) -> None:
    """The turn that goes over raises with result and usage; the next one is refused unpaid; the overrun is
    one AGENT_FAILED event, and leaving with the error adds no second one."""
    ran: list[int] = []
    result = {"text": "paid"}
    with (
        pytest.raises(BudgetExceededError) as outer,
        Orchestrator("writer", "draft", budget_usd=10, enforce_budget=True).session() as session,
    ):
        assert session.run_turn(lambda: "ten", MODEL, UsageSnapshot(10))[0] == "ten"  # not strictly over
        with pytest.raises(BudgetExceededError) as refusal:
            session.run_turn(lambda: result, MODEL, UsageSnapshot(2, 1))
        error = refusal.value
        assert error.result is result
        assert error.has_result is True
        assert error.usage == UsageSnapshot(2, 1)
        assert (error.budget_usd, error.current_cost_usd) == (10, 13)
        session.run_turn(lambda: ran.append(1), MODEL)
    assert outer.value.has_result is False
    assert ran == []
    assert session._iteration_count == 2
    assert session.worker.status is AgentStatus.FAILED
    assert only(session, Name.AGENT_FAILED).data == {"budget_usd": 10}
    assert "agent.recovery.attempted" not in names(session)


def test_a_paid_none_is_a_result(priced: None) -> None:
    """``has_result`` tells a call that returned None from no call at all."""
    with Orchestrator("writer", "draft", budget_usd=0, enforce_budget=True).session() as session:
        with pytest.raises(BudgetExceededError) as refusal:
            session.run_turn(lambda: None, MODEL, UsageSnapshot(1))
        assert refusal.value.has_result is True
        assert refusal.value.result is None
        session.complete()


def test_a_budget_that_is_not_enforced_only_tells(priced: None) -> None:
    """One event however often it is overspent; every turn goes on, and the session completes."""
    with Orchestrator("writer", "draft", budget_usd=1.5).session() as session:
        for _ in range(3):
            assert session.run_turn(lambda: "fine", MODEL, UsageSnapshot(1))[0] == "fine"
    assert names(session) == ["agent.started", "agent.failed", "agent.completed"]
    assert only(session, Name.AGENT_FAILED).data == {"budget_usd": 1.5}


def test_a_budget_is_exact(priced: None) -> None:
    """Ten times a tenth of a dollar is one dollar, and not over a budget of one."""
    register_pricing(MODEL, ModelPricing(0.1e6, 0))
    with Orchestrator(
        "writer", "draft", budget_usd=1, enforce_budget=True, max_iterations=99
    ).session() as session:
        for _ in range(10):
            session.run_turn(str, MODEL, UsageSnapshot(1))
        with pytest.raises(BudgetExceededError):
            session.run_turn(str, MODEL, UsageSnapshot(1))
        session.complete()


@pytest.mark.parametrize(
    ("result", "kept"),
    [({"text": "paid"}, True), (None, True), (lambda: "no", False), (threading.Lock(), False)],
    ids=["dict", "None", "function", "lock"],
)
def test_budget_errors_pickle_whatever_was_paid(result: object, kept: bool) -> None:
    """What pickles is kept; what does not is dropped and said so.  A shallow copy keeps everything."""
    error = BudgetExceededError(1.0, 2.5, has_result=True, result=result, usage=UsageSnapshot(3, 4))
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(twin) is BudgetExceededError
    assert (twin.budget_usd, twin.current_cost_usd, twin.usage) == (1.0, 2.5, UsageSnapshot(3, 4))
    assert twin.has_result is True
    assert twin.result_dropped is not kept
    assert twin.result == (result if kept else None)
    assert copy.copy(error).result is result
    assert error.result is result
    assert error.result_dropped is False


# --- tools --------------------------------------------------------------------------------------------------


def policy(**more: Any) -> PermissionPolicy:
    return PermissionPolicy([RolePermissionConfig("writer", PermissionMode.READ_ONLY, **more)])


def test_a_tool_call_is_two_events() -> None:
    """Called and completed, with the tool's name; the value comes out as it is."""
    value = object()
    with Orchestrator("writer", "draft").session() as session:
        assert session.run_tool("search", lambda: value) is value
    assert names(session) == [
        "agent.started",
        "agent.tool_called",
        "agent.tool_completed",
        "agent.completed",
    ]
    for name in (Name.AGENT_TOOL_CALLED, Name.AGENT_TOOL_COMPLETED):
        data = only(session, name).data
        assert data is not None
        assert data["tool"] == "search"
    assert only(session, Name.AGENT_TOOL_COMPLETED).status is Status.COMPLETED


def test_permission_guardrails_tool_guardrails() -> None:
    """Asked in this order, each once; guardrails in the order given, before and after."""
    log: list[str] = []

    class Asked(PermissionPolicy):
        def authorize(self, role: str, tool_name: str) -> PermissionOutcome:
            log.append(f"may {role} {tool_name}")
            return PermissionOutcome(True)

    orchestrator = Orchestrator(
        "writer", "draft", permissions=Asked(), guardrails=[Watch("a", log), Watch("b", log)]
    )

    def tool() -> str:
        log.append("tool")
        return "value"

    with orchestrator.session() as session:
        assert session.run_tool("search", tool) == "value"
    assert log == [
        "may writer search",
        "a pre writer search",
        "b pre writer search",
        "tool",
        "a post value",
        "b post value",
    ]
    assert names(session) == [
        "agent.started",
        "hook.pre_tool",
        "agent.tool_called",
        "hook.post_tool",
        "agent.tool_completed",
        "agent.completed",
    ]


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_denied_tool_does_not_run(wrapped: bool) -> None:
    """Neither it nor a guardrail is asked; the error carries the outcome, one event says blocked, and the
    session goes on."""
    log: list[str] = []
    permissions = policy(denied_tools=["Delete"])
    orchestrator = Orchestrator(
        "writer",
        "draft",
        permissions=PermissionEnforcer(permissions) if wrapped else permissions,
        guardrails=[Watch("a", log)],
    )
    with orchestrator.session() as session:
        assert session.authorize("search").allowed
        assert not session.authorize("delete").allowed
        with pytest.raises(PermissionDeniedError) as refusal:
            session.run_tool("delete", lambda: log.append("tool"))
        assert not refusal.value.outcome.allowed
        assert isinstance(refusal.value, PermissionError)
        assert session.worker.status is AgentStatus.RUNNING
    assert log == []
    assert names(session) == ["agent.started", "agent.blocked", "agent.completed"]
    assert refusal.value.outcome.reason in str(refusal.value)


def test_without_permissions_everything_is_allowed() -> None:
    """``authorize`` says yes, also for names nobody knows."""
    with Orchestrator("writer", "draft").session() as session:
        assert session.authorize("anything").allowed


@pytest.mark.parametrize("stage", ["pre", "post"])
def test_a_guardrail_stops_the_tool(stage: str) -> None:
    """Before: the tool does not run.  After: its value is withheld.  Later guardrails are not consulted."""
    log: list[str] = []
    guardrails = [Watch("a", log), Watch("b", log, stage), Watch("c", log)]
    with Orchestrator("writer", "draft", guardrails=guardrails).session() as session:
        with pytest.raises(GuardrailViolatedError) as refusal:
            session.run_tool("search", lambda: log.append("tool"))
        error = refusal.value
        assert (error.guardrail, error.role, error.tool, error.stage) == ("b", "writer", "search", stage)
    asked_before = ["a pre writer search", "b pre writer search"]
    if stage == "pre":
        assert log == asked_before
        assert names(session)[1:-1] == ["hook.pre_tool", "agent.blocked"]
    else:
        assert log == [*asked_before, "c pre writer search", "tool", "a post None", "b post None"]
        assert names(session)[1:-1] == [
            "hook.pre_tool",
            "agent.tool_called",
            "hook.post_tool",
            "agent.tool_completed",
        ]
        assert only(session, Name.AGENT_TOOL_COMPLETED).status is Status.FAILED


@pytest.mark.parametrize("kind", [FailedError, StopIteration, KeyboardInterrupt])
def test_a_tool_that_raises_is_completed_as_failed(kind: type[BaseException]) -> None:
    """The very error comes out, StopIteration included; called and completed are told once each."""
    error = kind("broken")

    def broken() -> None:
        raise error

    with Orchestrator("writer", "draft").session() as session:
        with pytest.raises(kind) as caught:
            session.run_tool("search", broken)
        assert caught.value is error
    assert names(session)[1:-1] == ["agent.tool_called", "agent.tool_completed"]
    told = only(session, Name.AGENT_TOOL_COMPLETED)
    assert told.status is Status.FAILED
    assert told.failure_class is AgentFailureClass.TOOL_ERROR


# --- policy, gate, handoff ----------------------------------------------------------------------------------


class Seen:
    """A condition that keeps what it was shown."""

    def __init__(self) -> None:
        self.contexts: list[PhaseContext] = []

    def matches(self, ctx: PhaseContext) -> bool:
        self.contexts.append(ctx)
        return True


def test_the_policy_sees_the_session(priced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elapsed time comes from the monotonic clock, cost and exhausted recoveries from the books, the rest
    from the caller."""
    seen, clock = Seen(), FakeClock(100.0)

    def slow() -> None:
        raise TimeoutError

    action = PolicyActionData(PolicyAction.NOTIFY)
    engine = PolicyEngine([PolicyRule("all", seen, [action])])
    with Orchestrator("writer", "draft", policy_engine=engine, clock=clock).session() as session:
        session.run_turn(str, MODEL, UsageSnapshot(2))
        for _ in range(2):
            with suppress(TimeoutError):
                session.run_turn(slow)
        clock.advance(42)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert session.evaluate_policy() == [action]
        session.evaluate_policy(
            gate_score=0.5,
            gate_threshold=0.7,
            completed_roles={"a"},
            failed_roles=["b"],
            all_roles={"a", "b"},
            elapsed_seconds=0.0,
            phase_completed=True,
            quality_level=QualityLevel.STRICT,
        )
    first, second = seen.contexts
    assert (first.phase, first.elapsed_seconds, first.total_cost_usd) == ("draft", 42.0, 2.0)
    assert set(first.retry_exhausted_scenarios) == {FailureScenario.LLM_TIMEOUT}
    assert (first.quality_level, first.phase_completed, first.gate_score) == (None, False, 0.0)
    assert not first.completed_roles
    assert (second.gate_score, second.gate_threshold, second.elapsed_seconds) == (0.5, 0.7, 0.0)
    assert set(second.completed_roles) == {"a"}
    assert set(second.failed_roles) == {"b"}
    assert set(second.all_roles) == {"a", "b"}
    assert second.phase_completed
    assert second.quality_level is QualityLevel.STRICT


def test_without_policy_and_gate_there_is_nothing_to_say() -> None:
    """No actions, no outcome and no event."""
    with Orchestrator("writer", "draft").session() as session:
        assert session.evaluate_policy() == []
        assert session.evaluate_gate(QualityLevel.RELEASE) is None
    assert names(session) == ["agent.started", "agent.completed"]


@pytest.mark.parametrize(
    ("observed", "name"),
    [
        (QualityLevel.STRICT, "phase.gate_passed"),
        (QualityLevel.RELEASE, "phase.gate_passed"),
        (QualityLevel.STANDARD, "phase.gate_failed"),
        (None, "phase.gate_failed"),
    ],
)
def test_the_gate_speaks_once(observed: QualityLevel | None, name: str) -> None:
    """One event with the outcome: green when passed, red when failed."""
    orchestrator = Orchestrator("writer", "draft", quality_gate=QualityGate(QualityLevel.STRICT))
    with orchestrator.session() as session:
        outcome = session.evaluate_gate(observed)
    assert outcome is not None
    assert outcome.is_satisfied() == (name == "phase.gate_passed")
    assert outcome.observed_level is observed
    assert names(session) == ["agent.started", name, "agent.completed"]
    assert session.events[1].status is (Status.GREEN if outcome.satisfied else Status.RED)


def test_a_handoff_ends_one_worker_and_begins_another() -> None:
    """The source is COMPLETED, the target INITIALIZING in the same registry, told once with the handoff in
    the data."""
    registry = AgentRegistry()
    with Orchestrator("writer", "draft", "project-1", registry=registry).session() as session:
        context = {"pages": 3}
        handoff = session.handoff_to("editor", "needs polish", context)
        context["pages"] = 4
        assert isinstance(handoff, Handoff)
        target = registry.get(handoff.target_worker_id)
        assert target is not None
        assert (target.role, target.phase, target.project_id) == ("editor", "draft", "project-1")
        assert target.status is AgentStatus.INITIALIZING
        assert session.worker.status is AgentStatus.COMPLETED
        assert (handoff.source_role, handoff.target_role, handoff.reason) == (
            "writer",
            "editor",
            "needs polish",
        )
        assert handoff.context == {"pages": 3}
        with pytest.raises(SessionEndedError):
            session.run_turn(int)
    assert names(session) == ["agent.started", "agent.completed"]
    assert only(session, Name.AGENT_COMPLETED).data == {"handoff": handoff.to_dict()}


def test_a_session_takes_a_handoff_up() -> None:
    """The target's session runs the worker that was created for it, and only one session does."""
    registry = AgentRegistry()
    with Orchestrator("writer", "draft", registry=registry).session() as source:
        handoff = source.handoff_to("editor", "needs polish")
    editor = Orchestrator("editor", "draft", registry=registry)
    with editor.session(handoff) as session:
        assert session.worker.worker_id == handoff.target_worker_id
        assert session.worker.status is AgentStatus.RUNNING
        with pytest.raises(ValueError, match="running"):
            editor.session(handoff).__enter__()
        assert current_session() is session
    assert len(registry) == 2
    assert session.worker.status is AgentStatus.COMPLETED


def test_whoever_takes_over_knows_whose_child_it_is() -> None:
    """The run that handed over is the parent of the run that takes over, in every event; the context that
    was handed over stays what it was."""
    registry = AgentRegistry()
    with Orchestrator("writer", "draft", registry=registry).session() as source:
        handoff = source.handoff_to("editor", "needs polish", {"pages": 3})
    with Orchestrator("editor", "draft", registry=registry).session(handoff) as session:
        pass
    assert handoff.context == {"pages": 3}
    assert session.parent_id == source.run_id
    assert {event.parent_id for event in session.events} == {source.run_id}


def test_a_handoff_to_nobody_we_know_is_refused() -> None:
    """A worker of another registry is a KeyError that names the id; nothing is entered."""
    with Orchestrator("writer", "draft").session() as session:
        handoff = session.handoff_to("editor", "needs polish")
    stranger = Orchestrator("editor", "draft").session(handoff)
    with pytest.raises(KeyError, match=handoff.target_worker_id):
        stranger.__enter__()
    assert current_session() is None


@pytest.mark.parametrize("wrong", [{"target_role": ""}, {"target_role": None}, {"context": 5}])
def test_a_refused_handoff_changes_nothing(wrong: dict[str, Any]) -> None:
    """No worker is left behind, and the session goes on."""
    registry = AgentRegistry()
    with Orchestrator("writer", "draft", registry=registry).session() as session:
        with pytest.raises((ValueError, TypeError)):
            session.handoff_to(**{"target_role": "editor", "reason": "x", **wrong})
        assert registry.list_active() == [session.worker]
        assert session.worker.status is AgentStatus.RUNNING


# --- sinks and events ---------------------------------------------------------------------------------------


class BrokenSink:
    """Raises at everything."""

    def emit(self, event: AgentEvent) -> None:
        raise FailedError("emit is broken")

    def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
        raise FailedError("record is broken")


def test_sinks_that_raise_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The session does its work as if nothing were, and each failure is logged with its prefix."""
    sink = BrokenSink()
    with (
        caplog.at_level(logging.WARNING, "techrevati.runtime.orchestrator"),
        Orchestrator("writer", "draft", event_sink=sink, usage_sink=sink).session() as session,
    ):
        assert session.run_turn(lambda: "fine")[0] == "fine"
        assert session.run_tool("search", lambda: "found") == "found"
    messages = [record.getMessage() for record in caplog.records]
    assert sum(message.startswith("event_sink.emit raised ") for message in messages) == 4
    assert sum(message.startswith("usage_sink.record raised ") for message in messages) == 1
    assert all("is broken" in message for message in messages)
    assert session.worker.status is AgentStatus.COMPLETED
    assert len(session.events) == 4


def test_the_sinks_get_what_the_session_keeps(priced: None) -> None:
    """The same events in the same order, numbered from 1 with ids of their own; usage with its cost."""
    events, usage = RingBufferEventSink(), RingBufferUsageSink()
    with Orchestrator("writer", "draft", event_sink=events, usage_sink=usage).session() as session:
        session.run_turn(str, MODEL, UsageSnapshot(1, 1))
        session.run_tool("search", int)
    assert events.events == session.events
    assert [event.sequence for event in events.events] == [1, 2, 3, 4]
    assert len({event.id for event in events.events}) == 4
    assert {event.run_id for event in events.events} == {session.run_id}
    assert usage.records == [(MODEL, UsageSnapshot(1, 1), 2.0)]


def test_a_sink_may_use_the_session() -> None:
    """Events are handed over outside any lock: a sink may read and tell, also through another thread."""
    sessions: list[OrchestrationSession] = []
    counts: list[int] = []

    class Curious:
        def emit(self, event: AgentEvent) -> None:
            if sessions and event.event is Name.AGENT_TOOL_CALLED:
                helper = threading.Thread(target=lambda: counts.append(len(sessions[0].events)), daemon=True)
                helper.start()
                helper.join(PATIENCE)
                sessions[0].run_turn(int)

    with Orchestrator("writer", "draft", event_sink=Curious()).session() as session:
        sessions.append(session)
        session.run_tool("search", int)
    assert counts == [2]
    assert session.tracker.turns == 1


def test_credentials_do_not_reach_events_and_worker() -> None:
    """What an error quotes is cut out of every event, the recovery and the worker's last error."""
    key = "sk-abcdefghijklmnopqrstuvwxyz123456"

    def leaks() -> None:
        raise FailedError(f"401 for Authorization: Bearer {key}")

    with pytest.raises(FailedError), Orchestrator("writer", "draft").session() as session:
        with suppress(FailedError):
            session.run_tool("search", leaks)
        session.run_turn(leaks)
    assert key not in json.dumps(session.summary(), default=repr)


def test_the_summary_is_plain() -> None:
    """Five keys, and all of it can be written as JSON."""
    registry = AgentRegistry()
    with Orchestrator("writer", "draft", registry=registry).session() as session:
        session.run_turn(lambda: "x", "", UsageSnapshot(3, 4))
        with suppress(FailedError):
            session.run_turn(fail)
        session.handoff_to("editor", "done", {"pages": 3})
    summary = session.summary()
    assert set(summary) == {"worker", "usage", "per_model_cost", "recovery_events", "agent_events"}
    wire = json.loads(json.dumps(summary))
    assert wire["usage"]["total_input_tokens"] == 3
    assert wire["worker"]["status"] == "completed"
    assert len(wire["recovery_events"]) == 1
    assert [event["event"] for event in wire["agent_events"]] == names(session)


def test_a_session_that_was_never_entered_says_so() -> None:
    """Asking it for its books is a clear error, not a missing attribute of ours."""
    session = Orchestrator("writer", "draft").session()
    assert "not entered" in repr(session)
    assert session.events == []
    with pytest.raises(SessionEndedError):
        session.summary()


# --- flat and bounded ---------------------------------------------------------------------------------------


def test_a_hundred_thousand_turns_hold_no_more_than_a_thousand(priced: None) -> None:
    """What a session holds stops growing: after 99,000 more turns it holds the same, and the totals are
    exact."""
    events, usage = RingBufferEventSink(), RingBufferUsageSink()
    orchestrator = Orchestrator(
        "writer",
        "draft",
        circuit_breaker=CircuitBreaker("api"),
        budget_usd=1e9,
        max_iterations=1_000_000,
        event_sink=events,
        usage_sink=usage,
    )
    used = UsageSnapshot(1, 2)
    with orchestrator.session() as session:
        for _ in range(2_000):
            session.run_turn(str, MODEL, used)
        tracemalloc.start()
        try:
            for _ in range(1_000):
                session.run_turn(str, MODEL, used)
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(10_000):
                session.run_turn(str, MODEL, used)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        for _ in range(87_000):
            session.run_turn(str, MODEL, used)
    assert after - before < 20_000  # two bytes a turn
    assert session.tracker.turns == 100_000
    assert session.tracker.total_cost() == 300_000.0
    assert session.tracker.total_output_tokens == 200_000
    assert len(usage.records) == 1_000


def test_histories_are_bounded() -> None:
    """A session that fails and calls tools without end keeps the newest events and recoveries; sequence
    numbers go on."""
    with Orchestrator("writer", "draft", max_iterations=10**6).session() as session:
        for _ in range(EVENT_CAPACITY):
            session.run_tool("search", int)
            with suppress(FailedError):
                session.run_turn(fail)
    assert len(session.events) == EVENT_CAPACITY
    assert session.events[-1].event is Name.AGENT_COMPLETED
    assert session.events[-1].sequence == 3 * EVENT_CAPACITY + 2
    assert len(session.recovery.events) == HISTORY_CAPACITY
    assert len(session.worker.events) <= 10


# --- current_session ----------------------------------------------------------------------------------------


def test_current_session_is_the_innermost() -> None:
    """Nested sessions cover and uncover each other; children know their parent; outside there is none."""
    assert current_session() is None
    with Orchestrator("writer", "draft").session() as outer:
        assert current_session() is outer
        with Orchestrator("editor", "draft").session() as inner:
            assert current_session() is inner
            assert inner.parent_id == outer.run_id
        assert current_session() is outer
        with suppress(FailedError), Orchestrator("editor", "draft").session():
            fail()
        assert current_session() is outer
    assert current_session() is None
    assert outer.parent_id is None


def test_plain_threads_do_not_see_the_session() -> None:
    """It is a context variable: a thread starts without one, and sessions of threads do not mix."""
    seen: list[object] = []

    def work() -> None:
        seen.append(current_session())
        with Orchestrator("editor", "draft").session() as own:
            seen.append(current_session() is own)

    with Orchestrator("writer", "draft").session() as session:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert current_session() is session
    assert seen == [None, True]


# --- arguments and errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("role", ""),
        ("role", "  "),
        ("role", None),
        ("phase", ""),
        ("phase", 5),
        ("registry", object()),
        ("permissions", object()),
        ("circuit_breaker", object()),
        ("circuit_breaker", AsyncCircuitBreaker("api")),
        ("async_circuit_breaker", CircuitBreaker("api")),
        ("policy_engine", object()),
        ("quality_gate", object()),
        ("budget_usd", -0.01),
        ("budget_usd", float("nan")),
        ("budget_usd", True),
        ("budget_usd", "10"),
        ("max_iterations", -1),
        ("max_iterations", 2.5),
        ("max_iterations", float("nan")),
        ("max_iterations", float("inf")),
        ("max_iterations", True),
        ("max_iterations", None),
        ("guardrails", [object()]),
        ("guardrails", 5),
        ("event_sink", object()),
        ("event_sink", print),
        ("usage_sink", object()),
        ("clock", 5.0),
    ],
)
def test_wrong_arguments_are_named(argument: str, value: Any) -> None:
    """An orchestrator that cannot work is refused when it is written down, with argument and value."""
    arguments = {"role": "writer", "phase": "draft", argument: value}
    with pytest.raises((ValueError, TypeError)) as refusal:
        Orchestrator(**arguments)
    assert argument in str(refusal.value)
    shown = value[0] if isinstance(value, list) else value
    assert repr(shown) in str(refusal.value)


@pytest.mark.parametrize(
    ("error", "facts", "kind"),
    [
        (MaxIterationsExceededError(7), {"max_iterations": 7}, Exception),
        (
            PermissionDeniedError(PermissionOutcome(False, "may not", "READ_ONLY", "FULL_ACCESS")),
            {"outcome": PermissionOutcome(False, "may not", "READ_ONLY", "FULL_ACCESS")},
            PermissionError,
        ),
        (SessionEndedError("completed"), {"state": "completed"}, RuntimeError),
        (TurnTimeoutError(1.5), {"timeout_seconds": 1.5}, TimeoutError),
        (BudgetExceededError(1.0, 2.0), {"budget_usd": 1.0, "current_cost_usd": 2.0}, Exception),
        (
            BudgetExceededError(0, 0, limit=5, used=6, unit="turns", has_result=True, result=[1]),
            {"limit": 5, "used": 6, "unit": "turns", "result": [1], "has_result": True},
            Exception,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_carry_their_facts(error: TechrevatiError, facts: dict[str, object], kind: type) -> None:
    """One root, the built-in they specialise, and facts, text and notes that pickle and copy."""
    error.add_note("a note")
    assert isinstance(error, TechrevatiError)
    assert isinstance(error, kind)
    for twin in (error, pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301
        assert type(twin) is type(error)
        assert {name: getattr(twin, name) for name in facts} == facts
        assert str(twin) == str(error)
        assert twin.__notes__ == ["a note"]


def test_errors_of_users_own_pickle_too() -> None:
    """A subclass with another constructor, keyword-only arguments included, keeps its facts."""
    error = OwnError(budget=3, why="because")
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (twin.budget, twin.why, str(twin)) == (3, "because", "because")


class OwnError(TechrevatiError, ValueError):
    """An error of a user."""

    def __init__(self, *, budget: int, why: str) -> None:
        super().__init__(why)
        self.budget = budget
        self.why = why
