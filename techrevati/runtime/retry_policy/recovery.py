"""Decide what to do about a failure: which recovery steps, how often, and how long to wait.

A recipe says, for each scenario of failure, which steps to take, how many times, and what happens when that
is used up.  A plain context only books what the recipe asks for, and a caller acts on it.  A context with
handlers runs them, and "recovered" is then said only if every step succeeded.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias

from techrevati.runtime._core import arguments
from techrevati.runtime._core.clock import iso_utc
from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.failures import FailureScenario
from techrevati.runtime.retry_policy.backoff import backoff_delay

if TYPE_CHECKING:
    from collections.abc import Generator

announce("retry_policy")

HISTORY_CAPACITY = 256


class RecoveryStep(str, Enum):
    """One thing to do about a failure."""

    RETRY_WITH_BACKOFF = "retry_with_backoff"
    RETRY_WITH_SMALLER_CONTEXT = "retry_with_smaller_context"
    SWITCH_PROVIDER = "switch_provider"
    RESTART_AGENT = "restart_agent"
    CLEAR_MEMORY_CACHE = "clear_memory_cache"
    REDUCE_TOOL_SET = "reduce_tool_set"
    ESCALATE_TO_HUMAN = "escalate_to_human"


class EscalationPolicy(str, Enum):
    """What happens when a recipe is used up."""

    ALERT_HUMAN = "alert_human"
    LOG_AND_CONTINUE = "log_and_continue"
    ABORT = "abort"


class Steps(tuple[RecoveryStep, ...]):
    """Steps in order: a tuple that also equals a list of the same steps, since 0.1 gave lists."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (tuple, list)) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, slots=True)
class RecoveryRecipe:
    """What to do about one scenario.

    Attributes:
        scenario: The failure it is for.
        steps: What to do, in order.
        max_attempts: How often, per context; >= 1.
        escalation_policy: What then.
    """

    scenario: FailureScenario
    steps: Sequence[RecoveryStep]
    max_attempts: int
    escalation_policy: EscalationPolicy

    def __post_init__(self) -> None:
        arguments.member("scenario", self.scenario, FailureScenario)
        steps = Steps(
            arguments.member("steps", step, RecoveryStep)
            for step in arguments.several("steps", self.steps, "steps")
        )
        object.__setattr__(self, "steps", steps)
        arguments.count("max_attempts", self.max_attempts, minimum=1)
        arguments.member("escalation_policy", self.escalation_policy, EscalationPolicy)


def _recipes() -> dict[FailureScenario, RecoveryRecipe]:
    step, then, on = RecoveryStep, EscalationPolicy, FailureScenario
    rows = (
        (on.LLM_TIMEOUT, [step.RETRY_WITH_BACKOFF], 2, then.ALERT_HUMAN),
        (on.LLM_ERROR, [step.RETRY_WITH_BACKOFF, step.SWITCH_PROVIDER], 2, then.ALERT_HUMAN),
        (on.TOOL_EXECUTION_ERROR, [step.RESTART_AGENT], 1, then.LOG_AND_CONTINUE),
        (
            on.CONTEXT_OVERFLOW,
            [step.RETRY_WITH_SMALLER_CONTEXT, step.REDUCE_TOOL_SET],
            1,
            then.ALERT_HUMAN,
        ),
        (on.DEPENDENCY_TIMEOUT, [step.RETRY_WITH_BACKOFF], 1, then.ALERT_HUMAN),
        (on.MEMORY_CORRUPTION, [step.CLEAR_MEMORY_CACHE, step.RESTART_AGENT], 1, then.ABORT),
        (on.PROVIDER_FAILURE, [step.SWITCH_PROVIDER, step.RETRY_WITH_BACKOFF], 2, then.ABORT),
    )
    return {row[0]: RecoveryRecipe(*row) for row in rows}


_RECIPES = _recipes()


def recipe_for(scenario: FailureScenario) -> RecoveryRecipe:
    """The default recipe of a scenario."""
    return _RECIPES[FailureScenario(scenario)]


RecoveryOutcome: TypeAlias = Literal["recovered", "partial_recovery", "escalation_required"]


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """How one recovery went.

    Attributes:
        outcome: ``"recovered"``: every step was taken.  ``"partial_recovery"``: some were.
            ``"escalation_required"``: none was.
        steps_taken: How many.
        recovered_steps: Which.
        remaining_steps: Those that were not.
        reason: Why not all of them, for people; None when recovered.
    """

    outcome: RecoveryOutcome
    steps_taken: int = 0
    recovered_steps: Sequence[RecoveryStep] = ()
    remaining_steps: Sequence[RecoveryStep] = ()
    reason: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "recovered_steps", Steps(self.recovered_steps))
        object.__setattr__(self, "remaining_steps", Steps(self.remaining_steps))

    def to_dict(self) -> dict[str, object]:
        """Every field as a plain value."""
        return {
            "outcome": self.outcome,
            "steps_taken": self.steps_taken,
            "recovered_steps": [step.value for step in self.recovered_steps],
            "remaining_steps": [step.value for step in self.remaining_steps],
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class RecoveryEvent:
    """One recovery in a context's history.

    Attributes:
        event_type: ``"succeeded"``, ``"failed"`` (some steps were taken) or ``"escalated"`` (none was).
        scenario: The failure.
        recipe_steps: What its recipe asks for.
        result: How it went.
        timestamp: ISO-8601 in UTC.
    """

    event_type: Literal["succeeded", "failed", "escalated"]
    scenario: FailureScenario
    recipe_steps: Sequence[RecoveryStep]
    result: RecoveryResult
    timestamp: str

    def to_dict(self) -> dict[str, object]:
        """Every field as a plain value."""
        return {
            "event_type": self.event_type,
            "scenario": self.scenario.value,
            "recipe_steps": [step.value for step in self.recipe_steps],
            "result": self.result.to_dict(),
            "timestamp": self.timestamp,
        }


Handler: TypeAlias = "Callable[[FailureScenario], object]"
"""Takes one step for a scenario; raising, or returning False, means that it did not work."""


class RecoveryContext:
    """What recovery has done so far in one session.  Thread-safe.

    Without handlers it only counts attempts: every step of a recipe is taken for done, as in 0.1.  With
    handlers each step is really taken.  A step without a handler then fails, except backing off, which waits
    by itself, unless the running deadline would end before.  The last ``HISTORY_CAPACITY`` recoveries are
    kept.

    Args:
        handlers: What takes each step; async handlers work with :func:`aattempt_recovery` only.
    """

    def __init__(self, handlers: Mapping[RecoveryStep, Handler] | None = None) -> None:
        self._lock = fork_safe_lock()
        self._attempts: dict[FailureScenario, int] = {}
        self._events: deque[RecoveryEvent] = deque(maxlen=HISTORY_CAPACITY)
        self._handlers: dict[RecoveryStep, Handler] = {}
        for step, handler in (handlers or {}).items():
            self.register_handler(step, handler)

    def register_handler(self, step: RecoveryStep, handler: Handler) -> None:
        """Let *handler* take *step* from now on."""
        arguments.function("handler", handler)
        self._handlers[arguments.member("step", step, RecoveryStep)] = handler

    def attempt_count(self, scenario: FailureScenario) -> int:
        """Recoveries attempted from *scenario*; those refused because it was exhausted do not count."""
        return self._attempts.get(scenario, 0)

    @property
    def events(self) -> list[RecoveryEvent]:
        """A copy of the kept recoveries, oldest first."""
        with self._lock:
            return list(self._events)

    @property
    def exhausted_scenarios(self) -> set[FailureScenario]:
        """Scenarios whose attempts are used up."""
        with self._lock:
            return {on for on, tries in self._attempts.items() if tries >= recipe_for(on).max_attempts}

    def _fail_at_step(self) -> int | None:
        """For subclasses: the index of the step at which every recipe stops; None to let them finish."""
        return None

    def book_attempt(self, scenario: FailureScenario) -> None:
        """Count a recovery that somebody else carries out."""
        with self._lock:
            self._attempts[scenario] = self._attempts.get(scenario, 0) + 1

    def book(
        self,
        event_type: Literal["succeeded", "failed", "escalated"],
        scenario: FailureScenario,
        result: RecoveryResult,
    ) -> None:
        """Remember how a recovery went that somebody else carried out."""
        steps = recipe_for(scenario).steps
        self._note(RecoveryEvent(event_type, scenario, steps, result, iso_utc(time.time())))

    def _take_attempt(self, recipe: RecoveryRecipe) -> int | None:
        """The number of this attempt from 1; None when they are used up."""
        with self._lock:
            tries = self._attempts.get(recipe.scenario, 0)
            if tries >= recipe.max_attempts:
                return None
            self._attempts[recipe.scenario] = tries + 1
            return tries + 1

    def _note(self, event: RecoveryEvent) -> None:
        with self._lock:
            self._events.append(event)


# --- the decision, as a conversation: it yields what to do and is told whether that worked -----------------


@dataclass(frozen=True, slots=True)
class _Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class _Call:
    handler: Handler
    scenario: FailureScenario


def _recovery(
    scenario: FailureScenario, ctx: RecoveryContext
) -> Generator[_Wait | _Call, str | None, RecoveryResult]:
    """Yields each act; is sent None when it worked, else why not; returns the result."""
    recipe = recipe_for(scenario)
    steps = tuple(recipe.steps)
    attempt = ctx._take_attempt(recipe)
    if attempt is None:
        tries = recipe.max_attempts
        reason = f"recovery from {scenario.value} is exhausted after {tries} attempt{'s' * (tries > 1)}"
        result = RecoveryResult("escalation_required", 0, (), steps, reason)
        _note(ctx, recipe, result)
        return result
    stop_at = ctx._fail_at_step()
    for index, step in enumerate(steps):
        failure: str | None = None
        handler = ctx._handlers.get(step)
        if index == stop_at:
            failure = f"stopped at step {index}"
        elif handler is not None:
            failure = yield _Call(handler, scenario)
        elif ctx._handlers and step is RecoveryStep.RETRY_WITH_BACKOFF:
            wait_s, left_s = backoff_delay(attempt, jitter="full"), remaining_s()
            if left_s is not None and wait_s >= left_s:
                failure = "the next attempt would begin after the deadline"
            else:
                failure = yield _Wait(wait_s)
        elif ctx._handlers:
            failure = "no handler is registered for it"
        if failure is not None:
            outcome: RecoveryOutcome = "partial_recovery" if index else "escalation_required"
            reason = f"{step.value}: {failure}"
            result = RecoveryResult(outcome, index, steps[:index], steps[index:], reason)
            _note(ctx, recipe, result)
            return result
    result = RecoveryResult("recovered", len(steps), steps)
    _note(ctx, recipe, result)
    return result


_EVENT_TYPES: dict[RecoveryOutcome, Literal["succeeded", "failed", "escalated"]] = {
    "recovered": "succeeded",
    "partial_recovery": "failed",
    "escalation_required": "escalated",
}


def _note(ctx: RecoveryContext, recipe: RecoveryRecipe, result: RecoveryResult) -> None:
    kind = _EVENT_TYPES[result.outcome]
    ctx._note(RecoveryEvent(kind, recipe.scenario, recipe.steps, result, iso_utc(time.time())))


def attempt_recovery(
    scenario: FailureScenario,
    ctx: RecoveryContext,
    *,
    sleeper: Callable[[float], object] | None = None,
) -> RecoveryResult:
    """Take the steps of *scenario*'s recipe, once, and remember how that went in *ctx*.

    Args:
        sleeper: Waits that many seconds when backing off; ``time.sleep`` when None.  A plain context never
            waits.
    """
    acts = _recovery(FailureScenario(scenario), ctx)
    failure: str | None = None
    while True:
        try:
            act = acts.send(failure)
        except StopIteration as end:
            result: RecoveryResult = end.value
            return result
        failure = None
        if isinstance(act, _Wait):
            (sleeper or time.sleep)(act.seconds)
            continue
        try:
            answer = act.handler(act.scenario)
            if answer is False:
                failure = "its handler returned False"
            elif isinstance(answer, Awaitable):
                failure = "its handler is async: use aattempt_recovery"
                if isinstance(answer, Coroutine):
                    answer.close()
        except Exception as error:
            failure = error_text(error)
            logger("retry_policy").warning("a recovery handler failed: %s", failure)


async def aattempt_recovery(
    scenario: FailureScenario,
    ctx: RecoveryContext,
    *,
    sleeper: Callable[[float], Awaitable[object]] | None = None,
) -> RecoveryResult:
    """:func:`attempt_recovery` for tasks: handlers may be async, and *sleeper* is (``asyncio.sleep`` when
    None)."""
    acts = _recovery(FailureScenario(scenario), ctx)
    failure: str | None = None
    while True:
        try:
            act = acts.send(failure)
        except StopIteration as end:
            result: RecoveryResult = end.value
            return result
        failure = None
        if isinstance(act, _Wait):
            if sleeper is None:
                import asyncio

                sleeper = asyncio.sleep
            await sleeper(act.seconds)
            continue
        try:
            answer = act.handler(act.scenario)
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer is False:
                failure = "its handler returned False"
        except Exception as error:
            failure = error_text(error)
            logger("retry_policy").warning("a recovery handler failed: %s", failure)
