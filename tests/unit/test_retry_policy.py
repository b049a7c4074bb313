"""What is done about a failure, how often, and how long is waited."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings, strategies as st

from techrevati.runtime.deadlines import Deadline
from techrevati.runtime.retry_policy import (
    HISTORY_CAPACITY,
    EscalationPolicy,
    FailureScenario,
    RecoveryContext,
    RecoveryRecipe,
    RecoveryResult,
    RecoveryStep,
    aattempt_recovery,
    attempt_recovery,
    backoff_delay,
    classify_exception,
    next_provider,
    recipe_for,
    smaller_context_budget,
)
from techrevati.runtime.testing import run

On, Step, Then = FailureScenario, RecoveryStep, EscalationPolicy
STABLE = settings(derandomize=True, deadline=None, max_examples=300)


class FailedError(Exception):
    """What a handler raises."""


class StopsAt(RecoveryContext):
    """A recovery that stops at one step, as 0.1 subclasses do."""

    def __init__(self, step: int | None) -> None:
        super().__init__()
        self.step = step

    def _fail_at_step(self) -> int | None:
        return self.step


def no_sleep(seconds: float) -> None:
    pytest.fail(f"slept {seconds} s")


async def no_asleep(seconds: float) -> None:
    pytest.fail(f"slept {seconds} s")


def both(scenario: FailureScenario, make: Callable[[], RecoveryContext], times: int = 1) -> list[object]:
    """What both colours say and remember, each over a context of its own; they must not differ."""
    contexts = make(), make()

    async def main() -> list[RecoveryResult]:
        return [await aattempt_recovery(scenario, contexts[1], sleeper=no_asleep) for _ in range(times)]

    results = [attempt_recovery(scenario, contexts[0], sleeper=no_sleep) for _ in range(times)]
    assert run(main()) == results
    remembered = [
        [(event.event_type, event.scenario, event.recipe_steps, event.result) for event in ctx.events]
        for ctx in contexts
    ]
    assert remembered[0] == remembered[1]
    assert contexts[0].attempt_count(scenario) == contexts[1].attempt_count(scenario)
    return [*results]


# --- recipes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "steps", "attempts", "then"),
    [
        (On.LLM_TIMEOUT, [Step.RETRY_WITH_BACKOFF], 2, Then.ALERT_HUMAN),
        (On.LLM_ERROR, [Step.RETRY_WITH_BACKOFF, Step.SWITCH_PROVIDER], 2, Then.ALERT_HUMAN),
        (On.TOOL_EXECUTION_ERROR, [Step.RESTART_AGENT], 1, Then.LOG_AND_CONTINUE),
        (On.CONTEXT_OVERFLOW, [Step.RETRY_WITH_SMALLER_CONTEXT, Step.REDUCE_TOOL_SET], 1, Then.ALERT_HUMAN),
        (On.DEPENDENCY_TIMEOUT, [Step.RETRY_WITH_BACKOFF], 1, Then.ALERT_HUMAN),
        (On.MEMORY_CORRUPTION, [Step.CLEAR_MEMORY_CACHE, Step.RESTART_AGENT], 1, Then.ABORT),
        (On.PROVIDER_FAILURE, [Step.SWITCH_PROVIDER, Step.RETRY_WITH_BACKOFF], 2, Then.ABORT),
    ],
)
def test_the_default_recipes(
    scenario: FailureScenario, steps: list[RecoveryStep], attempts: int, then: EscalationPolicy
) -> None:
    """Each scenario has the steps, attempts and escalation of 0.1, also when asked for by value."""
    for key in (scenario, scenario.value):
        recipe = recipe_for(key)  # type: ignore[arg-type]
        assert recipe.scenario is scenario
        assert list(recipe.steps) == steps
        assert recipe.max_attempts == attempts
        assert recipe.escalation_policy is then


def test_every_scenario_has_a_recipe() -> None:
    """No failure is without an answer, and what is no scenario has none."""
    assert {recipe_for(scenario).scenario for scenario in FailureScenario} == set(FailureScenario)
    with pytest.raises(ValueError, match="nonsense"):
        recipe_for("nonsense")  # type: ignore[arg-type]


@pytest.mark.parametrize("attempts", [0, -1, 1.5, float("nan"), True, "2", None])
def test_a_recipe_without_attempts_is_refused(attempts: int) -> None:
    """A recipe is tried at least once; the text names argument and value."""
    with pytest.raises((ValueError, TypeError)) as refusal:
        RecoveryRecipe(On.LLM_ERROR, [Step.RESTART_AGENT], attempts, Then.ABORT)
    assert "max_attempts" in str(refusal.value)
    assert repr(attempts) in str(refusal.value)


def test_recipes_are_immutable() -> None:
    """Neither a field nor, through the list it was given, the steps can be changed afterwards."""
    steps = [Step.RESTART_AGENT]
    recipe = RecoveryRecipe(On.LLM_ERROR, steps, 1, Then.ABORT)
    steps.append(Step.ESCALATE_TO_HUMAN)
    assert list(recipe.steps) == [Step.RESTART_AGENT]
    with pytest.raises(AttributeError):
        recipe.max_attempts = 9  # type: ignore[misc]


# --- recovery with a plain context --------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", list(FailureScenario))
def test_a_plain_context_recovers_until_exhausted(scenario: FailureScenario) -> None:
    """Every step is taken for done, as often as the recipe says; then a person is needed, and the reason
    says why.  Nothing sleeps."""
    recipe = recipe_for(scenario)
    results = both(scenario, RecoveryContext, recipe.max_attempts + 2)
    for result in results[: recipe.max_attempts]:
        assert isinstance(result, RecoveryResult)
        assert result.outcome == "recovered"
        assert result.steps_taken == len(recipe.steps)
        assert list(result.recovered_steps) == list(recipe.steps)
        assert list(result.remaining_steps) == []
    for result in results[recipe.max_attempts :]:
        assert isinstance(result, RecoveryResult)
        assert result.outcome == "escalation_required"
        assert result.steps_taken == 0
        assert list(result.recovered_steps) == []
        assert list(result.remaining_steps) == list(recipe.steps)
        assert "exhausted" in (result.reason or "")


def test_attempts_are_counted_per_scenario() -> None:
    """One scenario's attempts use up nothing of another; refused attempts are not counted."""
    ctx = RecoveryContext()
    assert ctx.attempt_count(On.LLM_TIMEOUT) == 0
    for _ in range(5):
        attempt_recovery(On.LLM_TIMEOUT, ctx)
    assert ctx.attempt_count(On.LLM_TIMEOUT) == 2
    assert ctx.exhausted_scenarios == {On.LLM_TIMEOUT}
    assert attempt_recovery(On.LLM_ERROR, ctx).outcome == "recovered"
    assert ctx.attempt_count(On.LLM_ERROR) == 1
    assert ctx.exhausted_scenarios == {On.LLM_TIMEOUT}


@pytest.mark.parametrize("scenario", list(FailureScenario))
@pytest.mark.parametrize("stop", [None, 0, 1, 2, 99])
def test_a_recipe_that_stops_says_what_is_left(scenario: FailureScenario, stop: int | None) -> None:
    """Stopped at the first step nothing was recovered; later, part of it; beyond the end, all."""
    steps = list(recipe_for(scenario).steps)
    (result,) = both(scenario, lambda: StopsAt(stop))
    assert isinstance(result, RecoveryResult)
    taken = len(steps) if stop is None or stop >= len(steps) else stop
    if taken == len(steps):
        assert result.outcome == "recovered"
    elif taken:
        assert result.outcome == "partial_recovery"
    else:
        assert result.outcome == "escalation_required"
        assert "exhausted" not in (result.reason or "")
    assert result.steps_taken == taken
    assert list(result.recovered_steps) == steps[:taken]
    assert list(result.remaining_steps) == steps[taken:]


def test_each_recovery_is_one_event() -> None:
    """Succeeded, failed and escalated, with the recipe, the result and a time; all of it plain in
    ``to_dict``."""
    ctx = StopsAt(None)
    recovered = attempt_recovery(On.PROVIDER_FAILURE, ctx)
    ctx.step = 1
    partial = attempt_recovery(On.PROVIDER_FAILURE, ctx)
    exhausted = attempt_recovery(On.PROVIDER_FAILURE, ctx)
    assert [event.event_type for event in ctx.events] == ["succeeded", "failed", "escalated"]
    assert [event.result for event in ctx.events] == [recovered, partial, exhausted]
    assert {event.scenario for event in ctx.events} == {On.PROVIDER_FAILURE}
    wire = ctx.events[1].to_dict()
    assert wire.pop("timestamp") == ctx.events[1].timestamp
    assert ctx.events[1].timestamp.endswith("+00:00")
    assert wire == {
        "event_type": "failed",
        "scenario": "provider_failure",
        "recipe_steps": ["switch_provider", "retry_with_backoff"],
        "result": {
            "outcome": "partial_recovery",
            "steps_taken": 1,
            "recovered_steps": ["switch_provider"],
            "remaining_steps": ["retry_with_backoff"],
            "reason": partial.reason,
        },
    }


def test_the_history_is_bounded() -> None:
    """The newest recoveries are kept; what a caller was given is a copy."""
    ctx = RecoveryContext()
    for _ in range(HISTORY_CAPACITY):
        attempt_recovery(On.LLM_ERROR, ctx)
    attempt_recovery(On.CONTEXT_OVERFLOW, ctx)
    assert len(ctx.events) == HISTORY_CAPACITY
    assert ctx.events[-1].scenario is On.CONTEXT_OVERFLOW
    ctx.events.clear()
    assert len(ctx.events) == HISTORY_CAPACITY


def test_what_is_no_scenario_is_refused() -> None:
    """A misspelt scenario is a ValueError and leaves no trace; a value is as good as a member."""
    ctx = RecoveryContext()
    with pytest.raises(ValueError, match="nonsense"):
        attempt_recovery("nonsense", ctx)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nonsense"):
        run(aattempt_recovery("nonsense", ctx))  # type: ignore[arg-type]
    assert ctx.events == []
    assert attempt_recovery("llm_error", ctx).outcome == "recovered"  # type: ignore[arg-type]
    assert ctx.attempt_count(On.LLM_ERROR) == 1


# --- recovery with handlers ---------------------------------------------------------------------------------


def test_handlers_take_the_steps_in_order() -> None:
    """Each handler is called once with the scenario; all succeeded, so it is recovered."""
    taken: list[tuple[str, FailureScenario]] = []
    ctx = RecoveryContext(
        {
            Step.REDUCE_TOOL_SET: lambda on: taken.append(("reduce", on)),
            Step.RETRY_WITH_SMALLER_CONTEXT: lambda on: taken.append(("smaller", on)),
        }
    )
    assert attempt_recovery(On.CONTEXT_OVERFLOW, ctx).outcome == "recovered"
    assert taken == [("smaller", On.CONTEXT_OVERFLOW), ("reduce", On.CONTEXT_OVERFLOW)]


@pytest.mark.parametrize("how", ["raises", "returns False"])
@pytest.mark.parametrize("index", [0, 1])
def test_a_handler_that_fails_ends_the_recipe(how: str, index: int, caplog: pytest.LogCaptureFixture) -> None:
    """Later steps are not taken, it is not recovered, and the reason names step and cause."""
    taken: list[RecoveryStep] = []
    steps = list(recipe_for(On.MEMORY_CORRUPTION).steps)

    def handler(step: RecoveryStep) -> Callable[[FailureScenario], object]:
        def act(_: FailureScenario) -> object:
            taken.append(step)
            if step is not steps[index]:
                return None
            if how == "raises":
                raise FailedError("disk is gone")
            return False

        return act

    def make() -> RecoveryContext:
        return RecoveryContext({step: handler(step) for step in steps})

    with caplog.at_level(logging.WARNING, "techrevati.runtime.retry_policy"):
        (result,) = both(On.MEMORY_CORRUPTION, make)
    assert isinstance(result, RecoveryResult)
    assert result.outcome == ("partial_recovery" if index else "escalation_required")
    assert taken == steps[: index + 1] * 2  # once for each colour
    assert steps[index].value in (result.reason or "")
    if how == "raises":
        assert "disk is gone" in (result.reason or "")
        assert "disk is gone" in caplog.text


def test_a_step_nobody_takes_is_not_done() -> None:
    """Once there are handlers, a step without one has failed, and is not waved through."""
    (result,) = both(On.LLM_ERROR, lambda: RecoveryContext({Step.RETRY_WITH_BACKOFF: lambda _: None}))
    assert isinstance(result, RecoveryResult)
    assert result.outcome == "partial_recovery"
    assert list(result.remaining_steps) == [Step.SWITCH_PROVIDER]


def test_backing_off_waits_by_itself() -> None:
    """With handlers, backing off needs none: it waits no longer than the backoff of that attempt, through
    the sleeper given, in both colours."""
    waits: list[float] = []

    async def asleep(seconds: float) -> None:
        waits.append(seconds)

    for _ in range(20):
        sync, async_ = (RecoveryContext({Step.SWITCH_PROVIDER: lambda _: None}) for _ in range(2))
        for _ in range(2):
            assert attempt_recovery(On.LLM_ERROR, sync, sleeper=waits.append).outcome == "recovered"
            assert run(aattempt_recovery(On.LLM_ERROR, async_, sleeper=asleep)).outcome == "recovered"
    first = [wait for index, wait in enumerate(waits) if index % 4 < 2]
    second = [wait for index, wait in enumerate(waits) if index % 4 >= 2]
    assert len(waits) == 80
    assert all(0 <= wait <= 2 for wait in first)
    assert all(0 <= wait <= 4 for wait in second)
    assert max(second) > 2


def test_a_context_does_not_wait_beyond_the_running_deadline() -> None:
    """Nobody would try again then: the step did not work, and both colours say why at once."""
    handlers = {Step.SWITCH_PROVIDER: lambda scenario: True}

    async def main() -> RecoveryResult:
        return await aattempt_recovery(On.LLM_ERROR, RecoveryContext(handlers), sleeper=no_asleep)

    with Deadline(1e-6, clock=lambda: 0.0):
        results = [
            attempt_recovery(On.LLM_ERROR, RecoveryContext(handlers), sleeper=no_sleep),
            run(main()),
        ]
    for result in results:
        assert result.outcome == "escalation_required"
        assert result.reason == "retry_with_backoff: the next attempt would begin after the deadline"


def test_the_default_sleepers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a sleeper it is ``time.sleep``, and in a task the loop's own time."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    assert attempt_recovery(On.LLM_ERROR, RecoveryContext({Step.SWITCH_PROVIDER: str})).outcome == "recovered"
    assert len(waits) == 1

    async def main() -> float:
        monkeypatch.setattr(random, "random", lambda: 0.5)
        await aattempt_recovery(On.LLM_ERROR, RecoveryContext({Step.SWITCH_PROVIDER: str}))
        return asyncio.get_running_loop().time()

    assert run(main()) == 1.0
    assert len(waits) == 1


def test_a_plain_context_never_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even without a sleeper: no virtual time passes and ``time.sleep`` is not called."""
    monkeypatch.setattr(time, "sleep", no_sleep)
    monkeypatch.setattr(asyncio, "sleep", no_asleep)

    async def main() -> float:
        for scenario in FailureScenario:
            await aattempt_recovery(scenario, RecoveryContext())
        return asyncio.get_running_loop().time()

    for scenario in FailureScenario:
        attempt_recovery(scenario, RecoveryContext())
    assert run(main()) == 0.0


def test_async_handlers_are_awaited() -> None:
    """In a task a handler may be async; what it raises or returns counts."""
    taken: list[str] = []

    async def fine(_: FailureScenario) -> None:
        await asyncio.sleep(1)
        taken.append("fine")

    async def refuses(_: FailureScenario) -> bool:
        await asyncio.sleep(1)
        taken.append("refuses")
        return False

    ctx = RecoveryContext({Step.CLEAR_MEMORY_CACHE: fine, Step.RESTART_AGENT: refuses})
    assert run(aattempt_recovery(On.MEMORY_CORRUPTION, ctx)).outcome == "partial_recovery"
    assert taken == ["fine", "refuses"]


def test_an_async_handler_without_a_loop_is_not_recovered() -> None:
    """A synchronous recovery cannot run an async handler: it must not say that the step was taken."""
    taken: list[int] = []

    class Answer:
        """An awaitable, as an async handler returns it."""

        def __await__(self) -> None:
            taken.append(1)

    ctx = RecoveryContext({Step.RESTART_AGENT: lambda _: Answer()})
    result = attempt_recovery(On.TOOL_EXECUTION_ERROR, ctx)
    assert taken == []
    assert result.outcome == "escalation_required"
    assert ctx.events[0].event_type == "escalated"


def test_interrupts_pass_through_handlers() -> None:
    """Ctrl-C and cancellation are not failures of a handler: they come out, and the attempt is used."""

    def interrupted(_: FailureScenario) -> None:
        raise KeyboardInterrupt

    def cancelled(_: FailureScenario) -> None:
        raise asyncio.CancelledError

    ctx = RecoveryContext({Step.RESTART_AGENT: interrupted})
    with pytest.raises(KeyboardInterrupt):
        attempt_recovery(On.TOOL_EXECUTION_ERROR, ctx)
    assert ctx.attempt_count(On.TOOL_EXECUTION_ERROR) == 1

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            await aattempt_recovery(On.TOOL_EXECUTION_ERROR, RecoveryContext({Step.RESTART_AGENT: cancelled}))

    run(main())


@pytest.mark.parametrize("value", [None, 5, "restart"])
def test_a_handler_must_be_callable(value: object) -> None:
    """What cannot be called is refused at once, in the constructor and later."""
    with pytest.raises(TypeError) as refusal:
        RecoveryContext({Step.RESTART_AGENT: value})  # type: ignore[dict-item]
    assert repr(value) in str(refusal.value)
    with pytest.raises(TypeError):
        RecoveryContext().register_handler(Step.RESTART_AGENT, value)  # type: ignore[arg-type]


def test_a_handler_for_no_step_is_refused() -> None:
    """A misspelt step is refused at once; the text names the argument and the value."""
    with pytest.raises((ValueError, TypeError), match=r"step.*bogus"):
        RecoveryContext({"bogus": str})  # type: ignore[dict-item]


@STABLE
@given(
    scenarios=st.lists(st.sampled_from(list(FailureScenario)), max_size=12),
    answers=st.dictionaries(
        st.sampled_from(list(RecoveryStep)), st.sampled_from([None, True, False, 0, "raise"]), max_size=7
    ),
    stop=st.none() | st.integers(0, 2),
)
def test_both_colours_decide_the_same(
    scenarios: list[FailureScenario], answers: dict[RecoveryStep, object], stop: int | None
) -> None:
    """Over any series of failures, handlers and stops, both colours give the same results, take the same
    steps and remember the same."""

    def handler(answer: object, taken: list[tuple[RecoveryStep, FailureScenario]], step: RecoveryStep):  # type: ignore[no-untyped-def]
        def act(scenario: FailureScenario) -> object:
            taken.append((step, scenario))
            if answer == "raise":
                raise FailedError(step.value)
            return answer

        return act

    def context(taken: list[tuple[RecoveryStep, FailureScenario]]) -> RecoveryContext:
        ctx = StopsAt(stop)
        for step, answer in answers.items():
            ctx.register_handler(step, handler(answer, taken, step))
        return ctx

    async def main() -> list[RecoveryResult]:
        async def asleep(seconds: float) -> None:
            assert 0 <= seconds <= 60

        return [await aattempt_recovery(scenario, contexts[1], sleeper=asleep) for scenario in scenarios]

    taken: tuple[list[tuple[RecoveryStep, FailureScenario]], ...] = ([], [])
    contexts = context(taken[0]), context(taken[1])
    results = [attempt_recovery(scenario, contexts[0], sleeper=lambda _: None) for scenario in scenarios]
    assert run(main()) == results
    assert taken[0] == taken[1]
    assert contexts[0].exhausted_scenarios == contexts[1].exhausted_scenarios
    assert [event.result for event in contexts[0].events] == results
    assert [event.event_type for event in contexts[0].events] == [
        event.event_type for event in contexts[1].events
    ]
    counts = Counter(scenarios)
    for scenario in FailureScenario:
        steps, tries = list(recipe_for(scenario).steps), recipe_for(scenario).max_attempts
        assert contexts[0].attempt_count(scenario) == min(tries, counts[scenario])
        for result in (result for on, result in zip(scenarios, results, strict=True) if on is scenario):
            assert [*result.recovered_steps, *result.remaining_steps] == steps
            assert result.steps_taken == len(result.recovered_steps)
            assert (result.outcome == "recovered") == (not result.remaining_steps)
            assert (result.outcome == "escalation_required") == (not result.recovered_steps)
            assert (result.reason is None) == (result.outcome == "recovered")


# --- backoff ------------------------------------------------------------------------------------------------

attempts = st.integers(0, 50) | st.integers(51, 100_000)
bases = st.floats(1e-3, 1e6) | st.floats(0.9, 1.1) | st.sampled_from([1.0, 2.0])
caps = st.floats(0, 1e6)
dice = st.floats(0, 1, exclude_max=True)


def exponential(attempt: int, base: float, cap: float) -> float:
    try:
        return min(cap, base**attempt)
    except OverflowError:
        return cap


@STABLE
@given(attempt=attempts, base=bases, cap=caps)
@example(attempt=10_000, base=1.001, cap=60.0)
@example(attempt=10_000, base=0.999, cap=60.0)
def test_backoff_without_jitter_is_the_exponential(attempt: int, base: float, cap: float) -> None:
    """``min(cap, base ** attempt)``, also where the power is far too large; False means the same."""
    expected = exponential(attempt, base, cap)
    assert backoff_delay(attempt, base, "none", cap) == expected
    assert backoff_delay(attempt, base, False, cap) == expected


@STABLE
@given(attempt=attempts, base=bases, cap=caps, die=dice)
def test_full_and_equal_jitter(attempt: int, base: float, cap: float, die: float) -> None:
    """Full is anywhere from 0 to the exponential, equal from half of it to all; True means full."""
    longest = backoff_delay(attempt, base, "none", cap)

    def rng() -> float:
        return die

    full = backoff_delay(attempt, base, "full", cap, rng=rng)
    equal = backoff_delay(attempt, base, "equal", cap, rng=rng)
    assert full == pytest.approx(longest * die)
    assert equal == pytest.approx(longest / 2 + longest / 2 * die)
    assert 0 <= full <= longest
    assert longest / 2 <= equal <= longest
    assert backoff_delay(attempt, base, True, cap, rng=rng) == full


@STABLE
@given(attempt=attempts, base=bases, cap=caps, previous=st.just(0.0) | st.floats(0, 1e6), die=dice)
def test_decorrelated_jitter(attempt: int, base: float, cap: float, previous: float, die: float) -> None:
    """Anywhere between base and three times the wait before (base when there was none), at most cap,
    whatever the attempt."""
    delay = backoff_delay(attempt, base, "decorrelated", cap, previous, rng=lambda: die)
    longest = max(base, 3 * (previous or base))
    assert delay == pytest.approx(min(cap, base + (longest - base) * die))
    assert min(cap, base) <= delay <= min(cap, longest) * (1 + 1e-12)
    assert delay == backoff_delay(attempt + 1, base, "decorrelated", cap, previous, rng=lambda: die)


def test_backoff_defaults() -> None:
    """Decorrelated between 2 and 6 seconds at first, and never more than 60; it does vary."""
    first = [backoff_delay(1) for _ in range(200)]
    assert all(2 <= delay <= 6 for delay in first)
    assert len(set(first)) > 100
    delay = 0.0
    for attempt in range(200):
        delay = backoff_delay(attempt, prev_delay=delay)
        assert 2 <= delay <= 60


def test_no_wait_is_ever_not_a_number() -> None:
    """Even without a cap and with an overflowing power, every mode gives a number."""
    for mode, die, attempt in itertools.product(
        ("none", "full", "equal", "decorrelated"), (0.0, 0.5), (1, 1_000, 10**9)
    ):
        delay = backoff_delay(attempt, 10.0, mode, math.inf, rng=lambda die=die: die)  # type: ignore[arg-type,misc]
        assert not math.isnan(delay), (mode, die, attempt)
        assert delay >= 0


@pytest.mark.parametrize("jitter", ["FULL", "", "exponential", None, 1, 0, 2.0, ["full"]])
def test_unknown_jitter_is_refused(jitter: str) -> None:
    """Only the four modes and the two bools are known."""
    with pytest.raises(ValueError, match="unknown jitter mode"):
        backoff_delay(1, jitter=jitter)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("attempt", -1),
        ("attempt", 1.5),
        ("attempt", float("nan")),
        ("attempt", "1"),
        ("base", 0),
        ("base", -2.0),
        ("base", float("nan")),
        ("base", float("inf")),
        ("base", "2"),
        ("cap", -1),
        ("cap", float("nan")),
        ("cap", None),
        ("prev_delay", -0.1),
        ("prev_delay", float("nan")),
        ("prev_delay", True),
    ],
)
@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated"])
def test_wrong_backoff_numbers_are_named(argument: str, value: object, jitter: str) -> None:
    """In every mode, with the argument and the value."""
    given: dict[str, object] = {"attempt": 1, "jitter": jitter, argument: value}
    with pytest.raises((ValueError, TypeError)) as refusal:
        backoff_delay(**given)  # type: ignore[arg-type]
    assert argument in str(refusal.value)
    assert repr(value) in str(refusal.value)


# --- whom to ask, how much to send --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("providers", "current", "expected"),
    [
        (["a", "b", "c"], "a", "b"),
        (["a", "b", "c"], "c", "a"),
        (["a", "b"], "x", "a"),
        (["a", "b"], None, "a"),
        (["a", "a"], "a", None),
        (["a"], "a", None),
        ([], "a", None),
    ],
)
def test_next_provider(providers: list[str], current: str | None, expected: str | None) -> None:
    """The first that is not the current one; None when there is no other."""
    assert next_provider(providers, current) == expected


@STABLE
@given(tokens=st.integers(0, 10**9), reduction=st.floats(0, 1, exclude_min=True))
def test_a_smaller_context_is_smaller(tokens: int, reduction: float) -> None:
    """Three quarters by default; never more than there was, never less than one token of many."""
    assert smaller_context_budget(1_000) == 750
    smaller = smaller_context_budget(tokens, reduction)
    assert smaller <= tokens
    assert smaller == max(min(1, tokens), int(tokens * reduction))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("n", -1),
        ("n", 1.5),
        ("n", True),
        ("reduction", 0),
        ("reduction", -0.5),
        ("reduction", 1.01),
        ("reduction", float("nan")),
        ("reduction", "half"),
    ],
)
def test_wrong_context_numbers_are_named(argument: str, value: object) -> None:
    """With the argument and the value."""
    given: dict[str, object] = {"n": 100, argument: value}
    with pytest.raises((ValueError, TypeError)) as refusal:
        smaller_context_budget(**given)  # type: ignore[arg-type]
    assert argument in str(refusal.value)
    assert repr(value) in str(refusal.value)


def test_the_failure_words_are_at_home_here_too() -> None:
    """0.1 code imports the scenarios and ``classify_exception`` from this module."""
    assert classify_exception(TimeoutError()) is FailureScenario.LLM_TIMEOUT
    assert RecoveryStep.ESCALATE_TO_HUMAN.value == "escalate_to_human"
    assert {policy.value for policy in EscalationPolicy} == {"alert_human", "log_and_continue", "abort"}
