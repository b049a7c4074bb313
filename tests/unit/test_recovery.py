"""Recovery: the steps of a recipe are taken, the call is made again, and only its return is a success."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from techrevati.runtime.circuit_breaker import CircuitBreaker, CircuitOpenError
from techrevati.runtime.deadlines import Deadline
from techrevati.runtime.failures import Failure, FailureKind, FailureScenario
from techrevati.runtime.guardrails import GuardrailViolatedError, SizeGuardrail
from techrevati.runtime.orchestrator import Orchestrator, SessionEndedError
from techrevati.runtime.retry_policy import (
    EscalationPolicy,
    Recovery,
    RecoveryNews,
    RecoveryRecipe,
    RecoveryStep as Step,
    Retry,
    RetryBudget,
)
from techrevati.runtime.sinks import RingBufferEventSink, RingBufferUsageSink
from techrevati.runtime.testing import FakeClock, run
from techrevati.runtime.usage import UsageSnapshot
from techrevati.runtime.usage_tracking import BudgetExceededError


class HttpError(Exception):
    """What an SDK raises: a status and headers."""

    def __init__(self, status_code: int = 503, text: str = "", **headers: object) -> None:
        super().__init__(text or f"status {status_code}")
        self.status_code = status_code
        self.headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}


OVERFLOW = HttpError(400, "context_length_exceeded: maximum context length is 4096 tokens")


class Script:
    """Answers one after the other: exceptions are raised; the last stays.  Counts the calls."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.calls = answers, 0

    def __call__(self) -> object:
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def asked(self) -> object:
        return self()


class Bench:
    """A recovery in fake time, its waits and its news."""

    def __init__(self, handlers: dict[Step, Callable[[Failure], object]] | None = None, **given: Any) -> None:
        self.waits: list[float] = []
        self.news: list[RecoveryNews] = []

        async def asleep(seconds: float) -> None:
            self.waits.append(seconds)

        self.recovery = Recovery(
            handlers,
            jitter="none",
            sleep=self.waits.append,
            asleep=asleep,
            on_event=self.news.append,
            **given,
        )

    def events(self) -> list[str]:
        return [each.event for each in self.news]


@pytest.fixture(params=["call", "acall", "decorated", "async decorated"])
def ask(request: pytest.FixtureRequest) -> Callable[[Bench, Script], object]:
    def asking(bench: Bench, script: Script) -> object:
        if request.param == "call":
            return bench.recovery.call(script)
        if request.param == "decorated":
            return bench.recovery(lambda: script())()
        if request.param == "acall":
            return run(bench.recovery.acall(script.asked))
        return run(bench.recovery(script.asked)())

    return asking


Ask = Callable[[Bench, Script], object]


def test_a_call_that_works_tells_nothing(ask: Ask) -> None:
    """No failure, no news, no wait."""
    bench = Bench()
    assert ask(bench, Script("answer")) == "answer"
    assert (bench.news, bench.waits) == ([], [])


def test_an_overflow_is_recovered_with_a_smaller_context(ask: Ask) -> None:
    """The handlers of both steps run, then the call is made again, and only then it says so."""
    steps: list[str] = []
    bench = Bench(
        {
            Step.RETRY_WITH_SMALLER_CONTEXT: lambda failure: steps.append(failure.kind.value),
            Step.REDUCE_TOOL_SET: lambda failure: steps.append("tools"),
        }
    )
    script = Script(OVERFLOW, "answer")
    assert ask(bench, script) == "answer"
    assert (script.calls, steps, bench.waits) == (2, ["context_overflow", "tools"], [])
    assert bench.events() == ["attempted", "succeeded"]
    assert bench.news[-1].attempt == 2
    assert bench.news[-1].steps == (Step.RETRY_WITH_SMALLER_CONTEXT, Step.REDUCE_TOOL_SET)


def test_backing_off_is_built_in_and_grows(ask: Ask) -> None:
    """Two waits, three attempts: the recipe's maximum; then a human is told."""
    alerts: list[RecoveryNews] = []
    bench = Bench(on_alert=alerts.append)
    script = Script(HttpError(500))
    with pytest.raises(HttpError) as caught:
        ask(bench, script)
    assert (script.calls, bench.waits) == (3, [1, 2])
    assert bench.events() == ["attempted", "attempted", "escalated"]
    assert [each.reason for each in alerts] == ["exhausted after 2 attempts"]
    assert caught.value.__notes__ == ["tried 3 times; exhausted after 2 attempts"]


def test_retry_after_is_a_floor(ask: Ask) -> None:
    """The provider's own wait counts when it is longer than ours."""
    bench = Bench()
    assert ask(bench, Script(HttpError(429, retry_after=7), "answer")) == "answer"
    assert bench.waits == [7]


def test_a_retry_after_beyond_the_cap_is_not_waited_for(ask: Ask) -> None:
    """It gives up instead of sleeping for an hour."""
    bench, script = Bench(), Script(HttpError(429, retry_after=3600), "answer")
    with pytest.raises(HttpError):
        ask(bench, script)
    assert (script.calls, bench.waits, bench.news[-1].reason) == (1, [], "retry-after too long")


def test_another_provider_owes_no_wait_to_the_first(ask: Ask) -> None:
    """After a switch only our own backing off is waited, not what the provider left behind asked for."""
    bench = Bench({Step.SWITCH_PROVIDER: lambda failure: True})
    assert ask(bench, Script(HttpError(429, retry_after=3600), "answer")) == "answer"
    assert bench.waits == [1]
    assert bench.events() == ["attempted", "provider_switched", "succeeded"]


def test_a_handler_that_could_do_nothing_leaves_it_to_the_others(ask: Ask) -> None:
    """False is no step taken; the wait still is one."""
    bench = Bench({Step.SWITCH_PROVIDER: lambda failure: False})
    assert ask(bench, Script(HttpError(500), "answer")) == "answer"
    assert bench.news[-1].steps == (Step.RETRY_WITH_BACKOFF,)


def test_a_handler_that_raises_ends_the_recovery(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """The call's own failure is raised, the handler's is logged, and the token goes back."""

    def broken(failure: Failure) -> None:
        raise LookupError("no messages")

    budget = RetryBudget(5)
    bench = Bench({Step.RETRY_WITH_SMALLER_CONTEXT: broken}, budget=budget)
    script = Script(OVERFLOW, "answer")
    with pytest.raises(HttpError, match="context_length"):
        ask(bench, script)
    assert (script.calls, budget.left) == (1, 5)
    assert bench.events() == ["attempted", "escalated"]
    assert "LookupError" in caplog.text


@pytest.mark.parametrize(
    "error",
    [TypeError("bug"), HttpError(400, "bad request"), HttpError(400, "content policy violation"), OVERFLOW],
)
def test_what_no_step_can_help_is_not_tried_again(ask: Ask, error: Exception) -> None:
    """Bugs and refused requests fail again everywhere, whatever handler is there to switch."""
    bench, script = Bench({Step.SWITCH_PROVIDER: lambda failure: True}), Script(error, "answer")
    with pytest.raises(type(error)):
        ask(bench, script)
    assert (script.calls, bench.waits) == (1, [])
    assert bench.news[-1].reason == "no step of the recipe can help"


def test_a_wrong_key_is_helped_by_another_provider_only(ask: Ask) -> None:
    """401: waiting does not help, switching does."""
    bench = Bench({Step.SWITCH_PROVIDER: lambda failure: None})
    assert ask(bench, Script(HttpError(401, "invalid api key"), "answer")) == "answer"
    assert bench.waits == []
    with pytest.raises(HttpError):
        ask(Bench(), Script(HttpError(401, "invalid api key"), "answer"))


def test_own_recipes(ask: Ask) -> None:
    """A recipe of one's own replaces that of its scenario."""
    recipe = RecoveryRecipe(
        FailureScenario.LLM_ERROR, [Step.RETRY_WITH_BACKOFF], 4, EscalationPolicy.ALERT_HUMAN
    )
    bench, script = Bench(recipes=[recipe]), Script(HttpError(500))
    with pytest.raises(HttpError):
        ask(bench, script)
    assert script.calls == 5


def test_log_and_continue_may_have_a_fallback(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """Its answer is returned and logged, and it is no success."""
    recipe = RecoveryRecipe(
        FailureScenario.LLM_ERROR, [Step.RETRY_WITH_BACKOFF], 1, EscalationPolicy.LOG_AND_CONTINUE
    )
    bench = Bench(recipes=[recipe], fallback=lambda failure: f"no answer: {failure.kind.value}")
    assert ask(bench, Script(HttpError(500))) == "no answer: server_error"
    assert bench.events() == ["attempted", "failed"]
    assert "recovery from llm_error: exhausted" in caplog.text
    with pytest.raises(HttpError):
        ask(Bench(recipes=[recipe]), Script(HttpError(500)))


def test_a_recipe_may_ask_for_a_human(ask: Ask) -> None:
    """Without a handler for it the human is alerted and the call fails; with one it goes on."""
    recipe = RecoveryRecipe(FailureScenario.LLM_ERROR, [Step.ESCALATE_TO_HUMAN], 1, EscalationPolicy.ABORT)
    alerts: list[RecoveryNews] = []
    bench = Bench(recipes=[recipe], on_alert=alerts.append)
    with pytest.raises(HttpError):
        ask(bench, Script(HttpError(500), "answer"))
    assert [each.policy for each in alerts] == [EscalationPolicy.ALERT_HUMAN]
    bench = Bench({Step.ESCALATE_TO_HUMAN: lambda failure: "go on"}, recipes=[recipe])
    assert ask(bench, Script(HttpError(500), "answer")) == "answer"


def test_the_retry_budget_is_shared(ask: Ask) -> None:
    """One token is one further attempt, whoever takes it."""
    budget = RetryBudget(1)
    script = Script(HttpError(500))
    bench = Bench(budget=budget)
    with pytest.raises(HttpError):
        ask(bench, script)
    assert (script.calls, budget.left, bench.news[-1].reason) == (2, 0, "budget")


def test_layers_do_not_multiply() -> None:
    """A retry inside gave up: waiting outside is not tried again, and a retry around makes no more either."""
    script = Script(HttpError(500))
    inner = Retry(max_attempts=3, sleep=lambda seconds: None)
    bench = Bench()
    outer = Retry(max_attempts=4, sleep=lambda seconds: None)
    with pytest.raises(HttpError):
        outer.call(lambda: bench.recovery.call(lambda: inner.call(script)))
    assert script.calls == 3
    script = Script(HttpError(500))
    with pytest.raises(HttpError):
        outer.call(lambda: bench.recovery.call(script))
    assert script.calls == 3


def test_a_wait_that_does_not_fit_the_deadline_is_not_begun(ask: Ask) -> None:
    """It gives up at once, and nothing is taken."""
    clock, budget = FakeClock(), RetryBudget(3)
    bench, script = Bench(budget=budget), Script(HttpError(429, retry_after=20), "answer")
    with Deadline(5, clock=clock), pytest.raises(HttpError):
        ask(bench, script)
    assert (script.calls, bench.waits, bench.news[-1].reason, budget.left) == (1, [], "deadline", 3)


def test_a_call_that_may_have_taken_effect_is_not_repeated(ask: Ask) -> None:
    """Unless nothing can have happened: a refusal."""
    bench, script = Bench(idempotent=False), Script(TimeoutError("read timed out"), "answer")
    with pytest.raises(TimeoutError):
        ask(bench, script)
    assert (script.calls, bench.news[-1].reason) == (1, "may have taken effect")
    assert ask(Bench(idempotent=False), Script(HttpError(429), "answer")) == "answer"


def test_a_layer_around_does_not_repeat_what_a_limit_of_the_recovery_ended() -> None:
    """Though it would wait that long itself, and the recovery made one attempt only."""
    bench, script = Bench(max_retry_after_seconds=1), Script(HttpError(429, retry_after=5), "answer")
    retry = Retry(3, sleep=bench.waits.append)
    with pytest.raises(HttpError):
        retry.call(bench.recovery.call, script)
    assert (script.calls, bench.waits) == (1, [])


def test_observing_and_switching_off(ask: Ask) -> None:
    """Only observing tells what would begin; off tells nothing."""
    bench, script = Bench(observe_only=True), Script(HttpError(500), "answer")
    with pytest.raises(HttpError):
        ask(bench, script)
    assert [(each.event, each.reason) for each in bench.news] == [("attempted", "observed only")]
    bench.recovery.enabled = False
    with pytest.raises(HttpError):
        ask(bench, Script(HttpError(500), "answer"))
    assert (script.calls, len(bench.news)) == (1, 1)


def test_observing_follows_no_escalation_policy(ask: Ask) -> None:
    """What it would not even begin is told, answered and marked by nobody: layers around it go on as ever."""
    alerts: list[RecoveryNews] = []
    bench = Bench(
        observe_only=True, idempotent=False, on_alert=alerts.append, fallback=lambda failure: "instead"
    )
    script = Script(TimeoutError("read timed out"), "answer")
    with pytest.raises(TimeoutError) as caught:
        ask(bench, script)
    assert (bench.news, alerts, vars(caught.value)) == ([], [], {})


def test_async_handlers_work_with_acall_only(caplog: pytest.LogCaptureFixture) -> None:
    """In a sync call an async handler is a handler that fails, and says so."""
    cut: list[int] = []

    async def shrink(failure: Failure) -> None:
        await asyncio.sleep(5)
        cut.append(1)

    bench = Bench({Step.RETRY_WITH_SMALLER_CONTEXT: shrink})
    assert run(bench.recovery.acall(Script(OVERFLOW, "answer").asked)) == "answer"
    assert cut == [1]
    with pytest.raises(HttpError):
        bench.recovery.call(Script(OVERFLOW, "answer"))
    assert "use acall()" in caplog.text


def test_an_async_function_given_to_call_is_refused() -> None:
    """A coroutine is no answer, and never a success."""
    script = Script("answer")
    with pytest.raises(TypeError, match="acall"):
        Bench().recovery.call(script.asked)
    assert script.calls == 0


def test_streams_are_recovered_before_their_first_item_only() -> None:
    """Afterwards a failure is raised: what was handed out cannot be taken back."""
    begun: list[int] = []

    def stream(fails_at: int) -> Iterator[int]:
        begun.append(1)
        for item in range(3):
            if item == fails_at and len(begun) == 1:
                raise HttpError(500)
            yield item

    async def astream(fails_at: int) -> AsyncIterator[int]:
        for item in stream(fails_at):
            yield item

    async def read(fails_at: int) -> list[int]:
        return [item async for item in Bench().recovery(astream)(fails_at)]

    assert list(Bench().recovery(stream)(0)) == [0, 1, 2]
    begun.clear()
    assert run(read(0)) == [0, 1, 2]
    begun.clear()
    with pytest.raises(HttpError):
        list(Bench().recovery(stream)(1))
    begun.clear()
    with pytest.raises(HttpError):
        run(read(1))


@pytest.mark.parametrize("at", ["wait", "handler", "alert"])
def test_a_cancellation_anywhere_gives_back_what_was_taken(at: str) -> None:
    """Cancelled in the wait, in a handler or in the alert: no token is missing, no success is told."""
    budget, news = RetryBudget(3), list[RecoveryNews]()

    async def forever(what: object) -> None:
        await asyncio.Event().wait()

    recovery = Recovery(
        {Step.RETRY_WITH_SMALLER_CONTEXT: forever} if at == "handler" else {},
        budget=budget,
        asleep=forever,
        on_alert=forever,
        on_event=news.append,
    )
    script = Script({"wait": HttpError(500), "handler": OVERFLOW, "alert": TypeError("bug")}[at], "answer")

    async def main() -> None:
        task = asyncio.ensure_future(recovery.acall(script.asked))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert (script.calls, budget.left, budget.taken) == (1, 3, 0)
    assert "succeeded" not in [each.event for each in news]


def test_ctrl_c_in_a_wait_gives_back_too() -> None:
    """Sync: the token of an attempt that is not made goes back."""
    budget = RetryBudget(3)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Recovery(budget=budget, sleep=interrupted).call(Script(HttpError(500)))
    assert (budget.left, budget.taken) == (3, 0)


@pytest.mark.parametrize(
    ("end", "attempt", "reason"),
    [
        (BudgetExceededError(1.0, 2.0), 1, "budget exceeded"),
        ("enabled", 1, "off"),
        ("observe_only", 2, "observed only"),
    ],
)
def test_a_recovery_that_was_begun_is_told_to_its_end(ask: Ask, end: Any, attempt: int, reason: str) -> None:
    """By whatever the next attempt is ended: who shows "attempted" learns that nothing comes any more."""
    bench = Bench()

    class Ended(Script):
        def __call__(self) -> object:
            if self.calls and isinstance(end, str):
                setattr(bench.recovery, end, end == "observe_only")
            return super().__call__()

    script = Ended(HttpError(500), HttpError(502) if isinstance(end, str) else end)
    with pytest.raises((HttpError, BudgetExceededError)) as raised:
        ask(bench, script)
    assert script.calls == 2
    assert bench.events() == ["attempted", "failed"]
    last = bench.news[-1]
    assert (last.attempt, last.reason, last.error, last.policy) == (attempt, reason, raised.value, None)
    assert last.steps == (Step.RETRY_WITH_BACKOFF,)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"handlers": {"dance": print}}, "handlers must be one of"),
        ({"handlers": {Step.RESTART_AGENT: 3}}, "must be callable"),
        ({"recipes": ["backoff"]}, "recipes must hold RecoveryRecipe"),
        ({"jitter": "some"}, "jitter must be one of"),
        ({"base_delay_seconds": -1}, "base_delay_seconds must be"),
        ({"on_alert": 3}, "on_alert must be callable"),
        ({"recipes": 3}, "recipes must hold RecoveryRecipe objects, got 3"),
        ({"handlers": [print]}, "handlers must be a mapping"),
    ],
)
def test_wrong_arguments_are_named(given: dict[str, Any], text: str) -> None:
    """Argument, bound and value."""
    with pytest.raises((ValueError, TypeError), match=text):
        Recovery(**given)


# --- in sessions -------------------------------------------------------------------------------------------


class Desk:
    """An orchestrator with a recovery, and a way to make one turn of either colour."""

    def __init__(self, colour: str, recovery: Recovery | None, **given: Any) -> None:
        self.events, self.usage = RingBufferEventSink(), RingBufferUsageSink()
        self.colour = colour
        self.orchestrator = Orchestrator(
            "writer", "draft", recovery=recovery, event_sink=self.events, usage_sink=self.usage, **given
        )

    def turn(self, script: Script, **given: Any) -> tuple[object, Any]:
        """The result of one turn (or its exception) and the session."""
        if self.colour == "sync":
            with self.orchestrator.session() as session:
                try:
                    return session.run_turn(script, "model-x", **given)[0], session
                except Exception as error:
                    return error, session

        async def main() -> tuple[object, Any]:
            async with self.orchestrator.asession() as session:
                try:
                    return (await session.arun_turn(script.asked, "model-x", **given))[0], session
                except Exception as error:
                    return error, session

        return run(main())

    def names(self) -> list[str]:
        return [event.event.value.removeprefix("agent.") for event in self.events.events]


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_session_recovers_a_turn(colour: str) -> None:
    """One turn, two physical attempts, both through the breaker; the events say so in order."""
    breaker = CircuitBreaker("model-x", window_calls=10)
    desk = Desk(colour, Bench().recovery, circuit_breaker=breaker)
    script = Script(HttpError(500), "answer")
    result, session = desk.turn(script)
    assert (result, script.calls, session._iteration_count) == ("answer", 2, 1)
    snapshot = breaker.snapshot()
    assert (snapshot.window_calls, snapshot.window_failed) == (2, 1)
    assert desk.names() == ["started", "recovery.attempted", "recovery.succeeded", "completed"]
    told = desk.events.events[2]
    assert told.data == {"scenario": "llm_error", "attempt": 2, "steps": ["retry_with_backoff"]}
    assert session.worker.retry_count == 1
    assert session.recovery.attempt_count(FailureScenario.LLM_ERROR) == 1
    assert [each.event_type for each in session.recovery.events] == ["succeeded"]


def test_without_a_recovery_a_session_is_as_it_was(colour: str) -> None:
    """Classify, book, raise: one attempt."""
    desk = Desk(colour, None)
    script = Script(HttpError(500), "answer")
    result, _ = desk.turn(script)
    assert (type(result), script.calls) == (HttpError, 1)
    assert desk.names() == ["started", "recovery.attempted", "completed"]


def test_what_failed_attempts_used_is_booked(colour: str) -> None:
    """An exception that holds the paid response: its usage counts, once for each attempt."""
    first = HttpError(500)
    first.usage = UsageSnapshot(100, 20)  # type: ignore[attr-defined]
    desk = Desk(colour, Bench().recovery)
    result, session = desk.turn(Script(first, "answer"), usage=UsageSnapshot(10, 1))
    assert result == "answer"
    assert [record[1].input_tokens for record in desk.usage.records] == [100, 10]
    assert session.tracker.total_input_tokens == 110


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (TimeoutError("timed out"), True),
        (ConnectionResetError("reset by peer"), True),
        (HttpError(500), False),  # turned away by the provider
        (ConnectionRefusedError("refused"), False),  # nothing was sent
        (CircuitOpenError("api", 0.0), False),
    ],
)
def test_what_a_failed_attempt_used_may_be_unknown(colour: str, error: Exception, unknown: bool) -> None:
    """An attempt that was sent and whose exception says nothing is told and counted as unknown, not as
    nothing; one that was not carried out is neither."""
    recipes = [
        RecoveryRecipe(scenario, [Step.RETRY_WITH_BACKOFF], 2, EscalationPolicy.ALERT_HUMAN)
        for scenario in FailureScenario
    ]
    desk = Desk(colour, Recovery(recipes=recipes, base_delay_seconds=0))
    result, session = desk.turn(Script(error, error, "answer"))
    assert result == "answer"
    told = [event.data.get("usage") for event in desk.events.events if event.data and "steps" in event.data]
    assert told.count("unknown") == 2 * unknown
    assert session.summary().get("unknown_attempts") == (2 if unknown else None)
    assert session.tracker.turns == 1


def test_no_attempt_is_made_on_a_budget_that_is_used_up(colour: str) -> None:
    """The failed attempt cost all there was: the next is refused before it is made."""
    from techrevati.runtime.pricing import PRICING_TABLE, ModelPricing

    PRICING_TABLE["model-x"] = ModelPricing(1_000_000, 0)
    try:
        first = HttpError(500)
        first.usage = UsageSnapshot(5, 0)  # type: ignore[attr-defined]
        desk = Desk(colour, Bench().recovery, budget_usd=1, enforce_budget=True)
        script = Script(first, "answer")
        result, _ = desk.turn(script)
    finally:
        del PRICING_TABLE["model-x"]
    assert (type(result), script.calls) == (BudgetExceededError, 1)


def test_abort_ends_the_session(colour: str) -> None:
    """PROVIDER_FAILURE aborts by default: failed, once, and no further turn."""
    desk = Desk(colour, Bench().recovery)
    result, session = desk.turn(Script(ConnectionError("connection refused")))
    assert type(result) is ConnectionError
    assert desk.names()[-2:] == ["recovery.failed", "failed"]
    assert desk.events.events[-2].data["policy"] == "abort"  # type: ignore[index]
    with pytest.raises(SessionEndedError):
        session._require_running()


def test_an_attempt_that_times_out_is_recovered(colour: str) -> None:
    """Each attempt has the whole timeout; a turn that never answers is an llm_timeout."""
    desk = Desk(colour, Bench().recovery)
    result, _ = desk.turn(Script(TimeoutError("timed out"), "answer"), timeout=30)
    assert result == "answer"
    assert desk.events.events[1].data is not None
    assert desk.events.events[1].data["scenario"] == "llm_timeout"


def test_a_recovered_answer_passes_the_guardrails_too(colour: str) -> None:
    """Recovery is no way around the checks of answers."""
    desk = Desk(colour, Bench().recovery, guardrails=[SizeGuardrail(answer=3)])
    script = Script(HttpError(500), "answer")
    result, _ = desk.turn(script)
    assert (type(result), script.calls) == (GuardrailViolatedError, 2)


def test_recovery_must_be_one() -> None:
    """The argument is named."""
    with pytest.raises(TypeError, match="recovery must"):
        Orchestrator("a", "b", recovery=3)  # type: ignore[arg-type]


def test_the_kinds_used_here() -> None:
    """The exceptions of this file are what they are meant to be."""
    from techrevati.runtime.failures import classify

    assert classify(OVERFLOW).kind is FailureKind.CONTEXT_OVERFLOW
    assert classify(HttpError(500)).kind is FailureKind.SERVER_ERROR


def test_a_refusal_at_the_end_keeps_what_the_provider_said() -> None:
    """A breaker that opened under the call refuses the second attempt: what is raised is caused by the
    provider's failure."""
    error, refusal = HttpError(503), CircuitOpenError("api", 1e6)
    script: list[Exception] = [error, refusal]

    def ask() -> None:
        raise script.pop(0)

    with pytest.raises(CircuitOpenError) as caught:
        Recovery(base_delay_seconds=0).call(ask)
    assert caught.value is refusal
    assert refusal.__cause__ is error
    assert refusal.__traceback__ is not None
