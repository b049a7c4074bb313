"""The session for tasks: the same promises, plus cancellation and waiting for a person."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from techrevati.runtime.agent_events import (
    AgentEvent,
    AgentEventName as Name,
    AgentEventStatus as Status,
    AgentFailureClass,
)
from techrevati.runtime.agent_lifecycle import AgentRegistry, AgentStatus, InvalidTransitionError
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.deadlines import CANCELLATION_GRACE_SECONDS
from techrevati.runtime.guardrails import GuardrailOutcome, GuardrailViolatedError
from techrevati.runtime.orchestrator import (
    AsyncOrchestrationSession,
    BudgetExceededError,
    MaxIterationsExceededError,
    Orchestrator,
    PermissionDeniedError,
    SessionEndedError,
    TurnTimeoutError,
    current_session,
)
from techrevati.runtime.permissions import PermissionMode, PermissionPolicy, RolePermissionConfig
from techrevati.runtime.pricing import PRICING_TABLE, ModelPricing, register_pricing
from techrevati.runtime.quality_gate import QualityGate, QualityLevel
from techrevati.runtime.retry_policy import FailureScenario, RecoveryStep
from techrevati.runtime.sinks import RingBufferUsageSink
from techrevati.runtime.testing import run
from techrevati.runtime.usage import UsageSnapshot

PATIENCE = 10.0  # seconds until something that should have happened counts as hung
MODEL = "test-model-of-a-dollar-a-token"

request_id: ContextVar[str] = ContextVar("request_id", default="none")


class FailedError(Exception):
    """What a turn or a tool raises."""


async def fail() -> None:
    raise FailedError("the model is broken")


async def fine() -> str:
    return "fine"


async def stubborn() -> dict[str, object]:
    """Swallows its cancellation and answers a hundred seconds later."""
    try:
        await asyncio.sleep(10_000)
    except asyncio.CancelledError:
        await asyncio.sleep(100)
    return {"text": "late", "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


def names(session: AsyncOrchestrationSession) -> list[str]:
    return [event.event.value for event in session.events]


def only(session: AsyncOrchestrationSession, name: Name) -> AgentEvent:
    (event,) = [event for event in session.events if event.event is name]
    return event


def in_session(
    work: Callable[[AsyncOrchestrationSession], Awaitable[object]], **arguments: Any
) -> AsyncOrchestrationSession:
    """A session, ended, in which *work* was done, in virtual time."""

    async def main() -> AsyncOrchestrationSession:
        async with Orchestrator("writer", "draft", **arguments).asession() as session:
            await work(session)
        return session

    return run(main())


@pytest.fixture
def priced() -> Iterator[None]:
    """One token in or out of MODEL costs one US dollar."""
    register_pricing(MODEL, ModelPricing(1_000_000, 1_000_000))
    yield
    PRICING_TABLE.pop(MODEL, None)


# --- life ---------------------------------------------------------------------------------------------------


def test_a_session_walks_its_worker_through_life() -> None:
    """Initializing, running, completed, each told once."""

    async def work(session: AsyncOrchestrationSession) -> None:
        assert session.worker.status is AgentStatus.RUNNING
        assert current_session() is session

    session = in_session(work)
    assert [move.status for move in session.worker.events] == [
        AgentStatus.INITIALIZING,
        AgentStatus.RUNNING,
        AgentStatus.COMPLETED,
    ]
    assert names(session) == ["agent.started", "agent.completed"]


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        (FailedError, AgentStatus.FAILED, "agent.failed"),
        (asyncio.CancelledError, AgentStatus.CANCELLED, "agent.cancelled"),
        (KeyboardInterrupt, AgentStatus.CANCELLED, "agent.cancelled"),
        (SystemExit, AgentStatus.CANCELLED, "agent.cancelled"),
        (GeneratorExit, AgentStatus.CANCELLED, "agent.cancelled"),
    ],
)
def test_how_it_ends_says_how_the_worker_ends(
    kind: type[BaseException], status: AgentStatus, name: str
) -> None:
    """The very exception comes out; errors fail the worker, interrupts cancel it, told once."""
    error = kind("reason")
    session = Orchestrator("writer", "draft").asession()

    async def main() -> None:
        with pytest.raises(kind) as caught:
            async with session:
                raise error
        assert caught.value is error

    run(main())
    assert session.worker.status is status
    assert names(session) == ["agent.started", name]


@pytest.mark.parametrize("where", ["block", "turn", "timed turn", "tool", "pause"])
def test_a_cancelled_task_leaves_a_cancelled_worker(where: str) -> None:
    """Wherever the task waits; nothing of it is a failure, for the breaker either."""
    breaker = AsyncCircuitBreaker("api", 1)
    session = Orchestrator("writer", "draft", async_circuit_breaker=breaker).asession()

    async def forever() -> None:
        await asyncio.Event().wait()

    async def work() -> None:
        async with session:
            if where == "turn":
                await session.arun_turn(forever)
            elif where == "timed turn":
                await session.arun_turn(forever, timeout=1_000)
            elif where == "tool":
                await session.arun_tool("search", forever)
            elif where == "pause":
                await session.pause_for_input("?")
            await forever()

    async def main() -> float:
        task = asyncio.create_task(work())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.get_running_loop().time()

    assert run(main()) == 5.0
    assert session.worker.status is AgentStatus.CANCELLED
    assert names(session)[-1] == "agent.cancelled"
    assert names(session).count("agent.cancelled") == 1
    assert not any("recovery" in name or "failed" in name for name in names(session))
    assert breaker.as_sync().state() is CircuitState.CLOSED


def test_cancelling_a_probe_turn_gives_its_permit_back() -> None:
    """A half-open breaker is not stuck when the task of its probe is cancelled."""

    async def main() -> None:
        breaker = AsyncCircuitBreaker("api", 1, 10.0, clock=asyncio.get_running_loop().time)
        await breaker.record_failure()
        await asyncio.sleep(10)
        async with Orchestrator("writer", "draft", async_circuit_breaker=breaker).asession() as session:
            turn = asyncio.create_task(session.arun_turn(asyncio.Event().wait, timeout=1_000))
            await asyncio.sleep(1)
            with pytest.raises(CircuitOpenError):
                await session.arun_turn(fine)
            turn.cancel()
            with pytest.raises(asyncio.CancelledError):
                await turn
            assert await breaker.state() is CircuitState.HALF_OPEN
            assert (await session.arun_turn(fine))[0] == "fine"

    run(main())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_session_that_does_not_run_refuses(when: str) -> None:
    """Before it is entered and after its end nothing is called."""
    session = Orchestrator("writer", "draft").asession()
    called: list[int] = []

    async def call() -> None:
        called.append(1)

    async def main() -> None:
        if when == "after":
            async with session:
                pass
        uses: list[Coroutine[Any, Any, object]] = [
            session.arun_turn(call),
            session.arun_tool("search", call),
            session.pause_for_input("?"),
        ]
        for use in uses:
            with pytest.raises(SessionEndedError):
                await use

    run(main())
    assert called == []


# --- turns --------------------------------------------------------------------------------------------------


def test_a_turn_returns_what_fn_returned(priced: None) -> None:
    """Async or not, a tuple not unpacked; usage given, estimated or read is booked with its cost."""
    sink = RingBufferUsageSink()
    response = {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}

    async def answered() -> dict[str, dict[str, int]]:
        return response

    async def pair() -> tuple[int, int]:
        return 1, 2

    async def work(session: AsyncOrchestrationSession) -> None:
        assert await session.arun_turn(pair) == ((1, 2), UsageSnapshot())
        assert await session.arun_turn(lambda: "plain") == ("plain", UsageSnapshot())
        assert (await session.arun_turn(answered, MODEL))[1] == UsageSnapshot(3, 4)
        assert (await session.arun_turn(answered, MODEL, UsageSnapshot(1)))[1] == UsageSnapshot(1)
        estimate = UsageSnapshot(2)
        assert (await session.arun_turn(answered, MODEL, estimate_usage=lambda _: estimate))[1] == estimate

    session = in_session(work, usage_sink=sink)
    assert [cost for _, _, cost in sink.records] == [0.0, 0.0, 7.0, 1.0, 2.0]
    assert session.tracker.total_cost() == 10.0


def test_a_failed_turn_is_met_with_one_recovery() -> None:
    """The error comes out after one recovery event, without any virtual time; used up, it escalates."""

    async def slow() -> None:
        raise TimeoutError("slow")

    async def work(session: AsyncOrchestrationSession) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await session.arun_turn(slow)
        assert asyncio.get_running_loop().time() == 0.0

    session = in_session(work)
    assert names(session)[1:-1] == ["agent.recovery.attempted"] * 2 + ["agent.recovery.escalated"]
    assert session.recovery.attempt_count(FailureScenario.LLM_TIMEOUT) == 2


def test_async_recovery_handlers_run() -> None:
    """A handler registered with the session is awaited when a turn fails."""
    taken: list[FailureScenario] = []

    async def back_off(scenario: FailureScenario) -> None:
        await asyncio.sleep(3)
        taken.append(scenario)

    async def slow() -> None:
        raise TimeoutError("slow")

    async def work(session: AsyncOrchestrationSession) -> None:
        session.recovery.register_handler(RecoveryStep.RETRY_WITH_BACKOFF, back_off)
        with pytest.raises(TimeoutError):
            await session.arun_turn(slow)
        assert asyncio.get_running_loop().time() == 3.0

    in_session(work)
    assert taken == [FailureScenario.LLM_TIMEOUT]


def test_turns_may_run_side_by_side() -> None:
    """Of five simultaneous turns three fit the cap; the others are refused before fn runs."""
    ran: list[int] = []

    async def turn() -> None:
        ran.append(1)
        await asyncio.sleep(1)

    async def work(session: AsyncOrchestrationSession) -> None:
        answers = await asyncio.gather(*(session.arun_turn(turn) for _ in range(5)), return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, MaxIterationsExceededError)]
        assert [error.max_iterations for error in refused] == [3, 3]

    session = in_session(work, max_iterations=3)
    assert len(ran) == 3
    assert session.tracker.turns == 3


@pytest.mark.parametrize("kind", [CircuitBreaker, AsyncCircuitBreaker])
def test_turns_go_through_the_breaker(kind: type) -> None:
    """Failed turns open it, an open one lets no fn run; a breaker of the other colour works too."""
    breaker = kind("api", 2)
    argument = "circuit_breaker" if kind is CircuitBreaker else "async_circuit_breaker"
    ran: list[int] = []

    async def work(session: AsyncOrchestrationSession) -> None:
        for _ in range(2):
            with pytest.raises(FailedError):
                await session.arun_turn(fail)
        with pytest.raises(CircuitOpenError):
            await session.arun_turn(lambda: ran.append(1))

    in_session(work, **{argument: breaker})
    assert ran == []


def test_each_colour_uses_its_own_breaker() -> None:
    """With two breakers given, an async session asks the async one."""
    sync, tasks = CircuitBreaker("sync", 1), AsyncCircuitBreaker("tasks", 1)

    async def work(session: AsyncOrchestrationSession) -> None:
        with pytest.raises(FailedError):
            await session.arun_turn(fail)

    in_session(work, circuit_breaker=sync, async_circuit_breaker=tasks)
    assert sync.state() is CircuitState.CLOSED
    assert tasks.as_sync().state() is CircuitState.OPEN


def test_an_enforced_budget_hands_over_what_was_paid(priced: None) -> None:
    """The turn that goes over raises with result and usage; the next one is refused unpaid."""
    ran: list[int] = []

    async def work(session: AsyncOrchestrationSession) -> None:
        with pytest.raises(BudgetExceededError) as refusal:
            await session.arun_turn(fine, MODEL, UsageSnapshot(2))
        assert (refusal.value.result, refusal.value.usage) == ("fine", UsageSnapshot(2))
        with pytest.raises(BudgetExceededError) as refusal:
            await session.arun_turn(lambda: ran.append(1))
        assert not refusal.value.has_result

    session = in_session(work, budget_usd=1, enforce_budget=True)
    assert only(session, Name.AGENT_FAILED).data == {"budget_usd": 1}
    assert ran == []


# --- timeouts -----------------------------------------------------------------------------------------------


def test_a_slow_turn_ends_at_the_deadline() -> None:
    """It is cancelled exactly then, a failure for breaker and recovery, and nothing is late."""
    breaker = AsyncCircuitBreaker("api", 1)

    async def work(session: AsyncOrchestrationSession) -> None:
        with pytest.raises(TurnTimeoutError) as timeout:
            await session.arun_turn(asyncio.Event().wait, timeout=30)
        assert timeout.value.timeout_seconds == 30
        assert asyncio.get_running_loop().time() == 30.0

    session = in_session(work, async_circuit_breaker=breaker)
    assert breaker.as_sync().state() is CircuitState.OPEN
    assert only(session, Name.RECOVERY_ATTEMPTED).failure_class is AgentFailureClass.LLM_TIMEOUT
    assert "agent.late_result" not in names(session)


def test_a_turn_that_swallows_its_cancellation_is_told_when_it_ends(priced: None) -> None:
    """The caller waits no longer than the stated grace; the late result is one event, and is booked."""

    async def work(session: AsyncOrchestrationSession) -> None:
        with pytest.raises(TurnTimeoutError):
            await session.arun_turn(stubborn, MODEL, timeout=30)
        assert asyncio.get_running_loop().time() == 30.0 + CANCELLATION_GRACE_SECONDS
        assert "agent.late_result" not in names(session)
        assert session.tracker.turns == 0
        await asyncio.sleep(200)

    session = in_session(work)
    told = only(session, Name.AGENT_LATE_RESULT)
    assert told.status is Status.COMPLETED
    assert told.data is not None
    assert told.data["model"] == MODEL
    assert told.data["usage"] == UsageSnapshot(5, 2).to_dict()
    assert isinstance(told.data["result"], dict)
    assert session.tracker.total_cost() == 7.0


@pytest.mark.parametrize("how", ["given", "estimated"])
def test_a_late_turn_is_booked_as_a_timely_one(how: str) -> None:
    """What the caller said about usage holds for a late result too."""
    used = UsageSnapshot(11, 3)

    async def work(session: AsyncOrchestrationSession) -> None:
        with pytest.raises(TurnTimeoutError):
            if how == "given":
                await session.arun_turn(stubborn, "m", used, timeout=30)
            else:
                await session.arun_turn(stubborn, "m", estimate_usage=lambda _: used, timeout=30)
        await asyncio.sleep(200)

    session = in_session(work)
    assert (session.tracker.total_input_tokens, session.tracker.total_output_tokens) == (11, 3)


def test_a_cancelled_session_still_books_its_late_turn(priced: None) -> None:
    """The worker is CANCELLED within the grace; the turn that swallowed the cancellation is booked when it
    ends."""
    session = Orchestrator("writer", "draft").asession()

    async def work() -> None:
        async with session:
            await session.arun_turn(stubborn, MODEL, timeout=1_000)

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.get_running_loop().time() == 5.0 + CANCELLATION_GRACE_SECONDS
        assert session.worker.status is AgentStatus.CANCELLED
        await asyncio.sleep(200)

    run(main())
    assert names(session) == ["agent.started", "agent.cancelled", "agent.late_result"]
    assert session.tracker.total_cost() == 7.0


def test_a_timed_turn_sees_the_callers_context() -> None:
    """Context variables and the current session are there."""

    async def look() -> tuple[str, object]:
        return request_id.get(), current_session()

    async def work(session: AsyncOrchestrationSession) -> None:
        request_id.set("r-1")
        assert (await session.arun_turn(look, timeout=5))[0] == ("r-1", session)

    in_session(work)


@pytest.mark.parametrize("value", [-1, float("nan"), True, "5"])
def test_a_wrong_timeout_is_the_callers_mistake(value: float) -> None:
    """It is refused before anything starts: fn is not called, no turn is used up, nobody's failure is
    counted, and the text names ``timeout``."""
    called: list[int] = []
    breaker = AsyncCircuitBreaker("api", 1)

    async def work(session: AsyncOrchestrationSession) -> None:
        with pytest.raises((ValueError, TypeError)) as refusal:
            await session.arun_turn(lambda: called.append(1), timeout=value)
        assert "timeout" in str(refusal.value)
        assert repr(value) in str(refusal.value)
        assert session._iteration_count == 0

    session = in_session(work, async_circuit_breaker=breaker)
    assert called == []
    assert names(session) == ["agent.started", "agent.completed"]
    assert breaker.as_sync().state() is CircuitState.CLOSED


# --- tools --------------------------------------------------------------------------------------------------


class Watch:
    """A guardrail that writes down when it is asked and refuses where told."""

    def __init__(self, log: list[str], refuse: str = "") -> None:
        self.name = "watch"
        self.log = log
        self.refuse = refuse

    def check_pre(self, *, role: str, tool: str) -> GuardrailOutcome:
        self.log.append("pre")
        return GuardrailOutcome(self.refuse != "pre", "not so")

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        self.log.append(f"post {value}")
        return GuardrailOutcome(self.refuse != "post", "not so")


@pytest.mark.parametrize("refuse", ["", "pre", "post"])
def test_guardrails_surround_a_tool(refuse: str) -> None:
    """Before, the tool, after with the awaited value; a refusal stops what would follow."""
    log: list[str] = []

    async def tool() -> str:
        log.append("tool")
        return "value"

    async def work(session: AsyncOrchestrationSession) -> None:
        if refuse:
            with pytest.raises(GuardrailViolatedError) as refusal:
                await session.arun_tool("search", tool)
            assert refusal.value.stage == refuse
        else:
            assert await session.arun_tool("search", tool) == "value"

    in_session(work, guardrails=[Watch(log, refuse)])
    assert (
        log
        == {"": ["pre", "tool", "post value"], "pre": ["pre"], "post": ["pre", "tool", "post value"]}[refuse]
    )


def test_a_denied_tool_does_not_run() -> None:
    """The factory is not even called; the session goes on with tools that are not async."""
    called: list[int] = []
    permissions = PermissionPolicy([RolePermissionConfig("writer", PermissionMode.READ_ONLY, ["search"])])

    async def work(session: AsyncOrchestrationSession) -> None:
        with pytest.raises(PermissionDeniedError):
            await session.arun_tool("delete", lambda: called.append(1))
        assert await session.arun_tool("search", lambda: "found") == "found"
        assert await session.arun_tool("search", fine) == "fine"
        with pytest.raises(FailedError):
            await session.arun_tool("search", fail)

    session = in_session(work, permissions=permissions)
    assert called == []
    assert names(session)[1:-1] == [
        "agent.blocked",
        *["agent.tool_called", "agent.tool_completed"] * 3,
    ]


def test_gate_and_handoff_are_the_same_as_ever() -> None:
    """What is not awaited works in an async session as in a sync one."""
    registry = AgentRegistry()

    async def main() -> AsyncOrchestrationSession:
        writer = Orchestrator(
            "writer", "draft", registry=registry, quality_gate=QualityGate(QualityLevel.STANDARD)
        )
        async with writer.asession() as session:
            outcome = session.evaluate_gate(QualityLevel.STRICT)
            assert outcome is not None
            assert outcome.satisfied
            handoff = session.handoff_to("editor", "done")
        async with Orchestrator("editor", "draft", registry=registry).asession(handoff) as editor:
            assert editor.worker.worker_id == handoff.target_worker_id
        return session

    assert names(run(main())) == ["agent.started", "phase.gate_passed", "agent.completed"]


# --- waiting for a person -----------------------------------------------------------------------------------


def test_a_pause_waits_for_the_answer() -> None:
    """The worker is WAITING_FOR_INPUT meanwhile and RUNNING afterwards; the pause is one blocked and one
    ready event."""

    async def work(session: AsyncOrchestrationSession) -> None:
        async def person() -> None:
            await asyncio.sleep(3_600)
            assert session.worker.status is AgentStatus.WAITING_FOR_INPUT
            session.provide_input("yes")

        task = asyncio.create_task(person())
        assert await session.pause_for_input("Publish?") == "yes"
        assert asyncio.get_running_loop().time() == 3_600.0
        assert session.worker.status is AgentStatus.RUNNING
        await task

    session = in_session(work)
    assert names(session) == ["agent.started", "agent.blocked", "agent.ready", "agent.completed"]
    assert only(session, Name.AGENT_BLOCKED).detail == "Publish?"


def test_an_answer_may_come_from_another_thread() -> None:
    """A thread with no loop of its own wakes the loop that waits; so does one with another loop."""

    async def main() -> list[str]:
        answers: list[str] = []
        async with Orchestrator("writer", "draft").asession() as session:

            async def elsewhere() -> None:
                session.provide_input("from another loop")

            for helper in (
                lambda: session.provide_input("from a thread"),
                lambda: asyncio.run(elsewhere()),
            ):
                pause = asyncio.create_task(session.pause_for_input("?"))
                await asyncio.sleep(0)
                thread = threading.Thread(target=helper, daemon=True)
                thread.start()
                answers.append(await asyncio.wait_for(pause, PATIENCE))
                thread.join(PATIENCE)
        return answers

    # In debug mode a loop refuses to be touched by threads that it does not know about.
    assert asyncio.run(main(), debug=True) == ["from a thread", "from another loop"]


def test_a_second_pause_is_refused() -> None:
    """One question at a time; the first one is still answered, and later ones may follow."""

    async def work(session: AsyncOrchestrationSession) -> None:
        first = asyncio.create_task(session.pause_for_input("first?"))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await session.pause_for_input("second?")
        assert session.worker.status is AgentStatus.WAITING_FOR_INPUT
        session.provide_input("one")
        assert await first == "one"
        third = asyncio.create_task(session.pause_for_input("third?"))
        await asyncio.sleep(0)
        session.provide_input("three")
        assert await third == "three"

    assert names(in_session(work)).count("agent.blocked") == 2


def test_an_answer_nobody_waits_for_is_refused() -> None:
    """Before a pause, after it, and twice for one pause."""

    async def work(session: AsyncOrchestrationSession) -> None:
        with pytest.raises(RuntimeError):
            session.provide_input("too early")
        pause = asyncio.create_task(session.pause_for_input("?"))
        await asyncio.sleep(0)
        session.provide_input("yes")
        with pytest.raises(RuntimeError):
            session.provide_input("and again")
        assert await pause == "yes"
        with pytest.raises(RuntimeError):
            session.provide_input("too late")

    in_session(work)


def test_a_second_answer_from_a_thread_is_refused_too() -> None:
    """Two answers before the loop has seen the first: the second is an error, not silently lost."""
    refused: list[str] = []

    async def main() -> str:
        async with Orchestrator("writer", "draft").asession() as session:
            pause = asyncio.create_task(session.pause_for_input("?"))
            await asyncio.sleep(0)

            def people() -> None:
                for answer in ("yes", "no"):
                    try:
                        session.provide_input(answer)
                    except RuntimeError:
                        refused.append(answer)

            thread = threading.Thread(target=people, daemon=True)
            thread.start()
            thread.join(PATIENCE)
            return await asyncio.wait_for(pause, PATIENCE)

    assert asyncio.run(main(), debug=True) == "yes"
    assert refused == ["no"]


def test_a_cancelled_pause_can_be_repeated() -> None:
    """The worker runs again and the session asks anew."""

    async def work(session: AsyncOrchestrationSession) -> None:
        pause = asyncio.create_task(session.pause_for_input("?"))
        await asyncio.sleep(1)
        pause.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pause
        assert session.worker.status is AgentStatus.RUNNING
        with pytest.raises(RuntimeError):
            session.provide_input("to nobody")
        again = asyncio.create_task(session.pause_for_input("?"))
        await asyncio.sleep(0)
        session.provide_input("yes")
        assert await again == "yes"

    in_session(work)


def test_a_pause_that_cannot_begin_leaves_nothing_pending() -> None:
    """A worker that was ended from outside cannot wait; the failed pause blocks no later one."""

    async def work(session: AsyncOrchestrationSession) -> None:
        session.registry.transition(session.worker.worker_id, AgentStatus.CANCELLED)
        for _ in range(2):
            with pytest.raises((InvalidTransitionError, SessionEndedError)):
                await session.pause_for_input("?")

    in_session(work)


def test_ending_the_session_ends_the_pause() -> None:
    """Whoever waits for a person when the session is cancelled does not wait for ever."""

    async def work(session: AsyncOrchestrationSession) -> None:
        pause = asyncio.create_task(session.pause_for_input("?"))
        await asyncio.sleep(1)
        session.cancel("nobody will answer")
        with pytest.raises((SessionEndedError, asyncio.CancelledError)):
            await asyncio.wait_for(pause, 60)

    session = in_session(work)
    assert session.worker.status is AgentStatus.CANCELLED
    assert names(session)[-1] == "agent.cancelled"


# --- current_session ----------------------------------------------------------------------------------------


def test_tasks_have_sessions_of_their_own() -> None:
    """Simultaneous tasks do not see each other's session; a task started inside one inherits it."""

    async def agent(role: str) -> None:
        async with Orchestrator(role, "draft").asession() as session:
            for _ in range(3):
                await asyncio.sleep(1)
                assert current_session() is session
            assert await asyncio.create_task(inherits()) is session

    async def inherits() -> object:
        return current_session()

    async def main() -> None:
        async with Orchestrator("chief", "draft").asession() as chief:
            await asyncio.gather(*(agent(role) for role in ("writer", "editor", "reviewer")))
            assert current_session() is chief
        assert current_session() is None

    run(main())


def test_a_session_left_in_another_context_is_left_all_the_same() -> None:
    """Entered in one task and left in another, as generators and fixtures may: the worker completes."""

    async def main() -> None:
        session = Orchestrator("writer", "draft").asession()
        await asyncio.create_task(session.__aenter__())
        assert current_session() is None
        await asyncio.create_task(session.__aexit__(None, None, None))
        assert session.worker.status is AgentStatus.COMPLETED

    run(main())


def test_one_orchestrator_has_many_sessions_at_once() -> None:
    """Sessions of both colours of one orchestrator share nothing but registry, breaker and sinks."""
    orchestrator = Orchestrator("writer", "draft", circuit_breaker=CircuitBreaker("api", 3))

    async def one(number: int) -> AsyncOrchestrationSession:
        async with orchestrator.asession() as session:
            for _ in range(number):
                await session.arun_turn(fine, "m", UsageSnapshot(1))
                await asyncio.sleep(1)
        return session

    async def main() -> list[AsyncOrchestrationSession]:
        return await asyncio.gather(*(one(number) for number in range(1, 5)))

    sessions = run(main())
    with orchestrator.session() as session, suppress(FailedError):
        session.run_turn(lambda: "fine")
    assert [session.tracker.turns for session in sessions] == [1, 2, 3, 4]
    assert len({session.run_id for session in sessions}) == 4
    assert len(orchestrator.registry) == 5
