"""How one failing call is recovered: the decision, as a conversation.

``Course.plan`` is told a failure and yields what to do about it: ask a handler, wait.  It is sent what came
of that, and says in the end whether the call is made again.  It has no clock, waits for nothing and awaits
nothing, so threads and tasks share it; ending it early gives back what it took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.notes import note
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.failures import Failure, FailureOrigin, FailureScenario, classify
from techrevati.runtime.failures.elsewhere import fails_over
from techrevati.runtime.retry_policy.attempts import ENOUGH, NO_EFFECT, backoff_s
from techrevati.runtime.retry_policy.history import caused, gave_up_inside, never_sent
from techrevati.runtime.retry_policy.recovery import EscalationPolicy, RecoveryRecipe, RecoveryStep
from techrevati.runtime.retry_policy.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeAlias

    from techrevati.runtime.retry_policy.recovering import Recovery


class RecoveryNews(NamedTuple):
    """One thing that happened while a call was recovered.

    Attributes:
        event: ``"attempted"``: handlers begin, the call will be made again; ``"provider_switched"``: that
            handler has run; then exactly one of ``"succeeded"``: the call returned after all;
            ``"escalated"``: given up, a human is needed; ``"failed"``: given up, ended by a budget, or
            switched off meanwhile; and none of them where the call is cancelled: nobody waits for it.  When
            only observing, ``"attempted"`` with the reason ``"observed only"`` is all.
        attempt: The attempt of the call that failed, or that returned; from 1.
        failure: What it failed with; the last one before, when it returned.
        steps: The steps taken, since the last failure; of all that was tried when it returned.
        policy: What follows, when given up.
        reason: Why it was given up; None otherwise.
        error: The exception; None when it returned.
    """

    event: Literal["attempted", "provider_switched", "succeeded", "escalated", "failed"]
    attempt: int
    failure: Failure
    steps: tuple[RecoveryStep, ...] = ()
    policy: EscalationPolicy | None = None
    reason: str | None = None
    error: Exception | None = None

    @property
    def scenario(self) -> FailureScenario:
        """The scenario whose recipe is followed."""
        return self.failure.scenario


class Wait(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Ask(NamedTuple):
    """Call *fn* with *what*, and send what it answers."""

    fn: Callable[..., object]
    what: object


class Verdict(NamedTuple):
    """Whether the call is made again; if not, the answer instead of it, if there is one."""

    again: bool
    answers: bool = False
    answer: object = None


_AGAIN, _GIVE_UP = Verdict(True), Verdict(False)

if TYPE_CHECKING:
    Acts: TypeAlias = Generator[Wait | Ask, object, Verdict]


class Course:
    """One call: its failures, what was done about them, and how often more."""

    __slots__ = ("_all_taken", "_failure", "_failures", "_last", "_recovery", "_since", "_tries", "_wait_s")

    def __init__(self, recovery: Recovery, since: int) -> None:
        self._recovery = recovery
        self._since = since
        self._failures = 0
        self._failure: Failure | None = None
        self._last: Exception | None = None  # what the call itself last failed with
        self._tries: dict[FailureScenario, int] = {}
        self._wait_s = 0.0
        self._all_taken: list[RecoveryStep] = []

    def plan(self, error: Exception) -> Acts:
        """What to do about *error*; see the module."""
        recovery = self._recovery
        failure = self._failure = classify(error)
        self._failures += 1
        recipe = recovery.recipe(failure.scenario)
        taken: list[RecoveryStep] = []
        reason = self._refused(error, failure, recipe)
        if recovery.observe_only:
            if self._tries:  # it was begun before
                self.ended("observed only", error)
            elif reason is None:
                self._tell("attempted", tuple(recipe.steps), reason="observed only", error=error)
            return _GIVE_UP
        budget = recovery.budget
        claim = None if reason is not None or budget is None else budget.claim()
        if reason is None and budget is not None and claim is None:
            reason = "budget"
        elif reason is None:
            try:
                reason = "interrupted"
                self._tries[failure.scenario] = self._tries.get(failure.scenario, 0) + 1
                self._tell("attempted", tuple(recipe.steps), error=error)
                reason = yield from self._steps(error, failure, recipe, taken)
            finally:
                if reason is not None and claim is not None:
                    claim.give_back()
                if reason == "interrupted":
                    self._last = None
        self._all_taken += taken
        if reason is None:
            if failure.origin is not FailureOrigin.RUNTIME:
                self._last = error
            return _AGAIN
        return (yield from self._give_up(error, failure, recipe, taken, reason))

    def _refused(self, error: Exception, failure: Failure, recipe: RecoveryRecipe) -> str | None:
        """Why nothing may be tried; None when something may."""
        if _time_is_over():
            return "deadline"
        if not self._recovery.idempotent and failure.kind not in NO_EFFECT and not never_sent(error):
            return "may have taken effect"
        tries = self._tries.get(failure.scenario, 0)
        if tries >= recipe.max_attempts:
            return f"exhausted after {tries} attempt{'s' * (tries > 1)}"
        return None

    def _steps(
        self, error: Exception, failure: Failure, recipe: RecoveryRecipe, taken: list[RecoveryStep]
    ) -> Generator[Wait | Ask, object, str | None]:
        """Take the steps that can help; why the call is not made again, or None when it is."""
        recovery = self._recovery
        waits = False
        for step in recipe.steps:
            if _time_is_over():
                return "deadline"
            if step is RecoveryStep.SWITCH_PROVIDER and not fails_over(failure):
                continue  # every provider would refuse it
            handler = recovery.handlers.get(step)
            if handler is not None:
                try:
                    answer = yield Ask(handler, failure)
                except Exception as trouble:
                    logger("retry_policy").warning(
                        "the handler of %s raised %s", step.value, error_text(trouble)
                    )
                    return f"{step.value}: {error_text(trouble)}"
                if answer is False:
                    continue  # there was nothing it could do
                taken.append(step)
                if step is RecoveryStep.SWITCH_PROVIDER:
                    self._tell("provider_switched", tuple(taken), error=error)
            elif step is RecoveryStep.ESCALATE_TO_HUMAN:
                return "the recipe asks for a human"
            elif step is RecoveryStep.RETRY_WITH_BACKOFF:
                waits = True  # at the end: only then it is known whom to wait for
        switched = RecoveryStep.SWITCH_PROVIDER in taken
        asked_s = None if switched else failure.retry_after
        same_again_helps = failure.retryable and not gave_up_inside(error, self._since)
        if not taken and not (waits and same_again_helps):
            return "no step of the recipe can help"
        if asked_s is not None and asked_s > recovery.rules.retry_after_cap_s:
            return "retry-after too long"
        wait_s = asked_s or 0.0
        if waits and failure.retryable:
            self._wait_s = backoff_s(self._failures, self._wait_s, recovery.rules, recovery.random)
            wait_s = max(wait_s, self._wait_s)
            taken.append(RecoveryStep.RETRY_WITH_BACKOFF)
        left_s = remaining_s()
        if left_s is not None and wait_s >= left_s:
            return "deadline"
        if wait_s:
            yield Wait(wait_s)
        return None

    def _give_up(
        self,
        error: Exception,
        failure: Failure,
        recipe: RecoveryRecipe,
        taken: list[RecoveryStep],
        reason: str,
    ) -> Acts:
        """Follow the escalation policy."""
        recovery = self._recovery
        policy = recipe.escalation_policy
        if reason == "the recipe asks for a human":
            policy = EscalationPolicy.ALERT_HUMAN
        if self._failures > 1:
            note(error, f"tried {self._failures} times; {reason}")
        if self._failures > 1 or reason in ENOUGH:
            Retry._gave_up(error)  # layers around this one do not multiply the attempts
        if failure.origin is FailureOrigin.RUNTIME:
            caused(error, self._last)  # a refusal of ours: why is what the call failed with before
        self._last = None  # its traceback leads here: no cycle
        human = policy is EscalationPolicy.ALERT_HUMAN
        news = self._tell("escalated" if human else "failed", tuple(taken), policy, reason, error)
        if human and recovery.on_alert is not None:
            try:
                yield Ask(recovery.on_alert, news)
            except Exception as trouble:
                logger("retry_policy").warning("on_alert raised %s", error_text(trouble))
        elif policy is EscalationPolicy.LOG_AND_CONTINUE:
            logger("retry_policy").warning("recovery from %s: %s", failure.scenario.value, reason)
            if recovery.fallback is not None:
                try:
                    return Verdict(False, True, (yield Ask(recovery.fallback, failure)))
                except Exception as trouble:
                    logger("retry_policy").warning("fallback raised %s", error_text(trouble))
        return _GIVE_UP

    def returned(self) -> None:
        """The call returned."""
        self._last = None
        if self._recovery.budget is not None:
            self._recovery.budget.succeeded()
        self._failures += 1
        self._tell("succeeded", tuple(self._all_taken))

    def ended(self, reason: str, error: Exception) -> None:
        """It was begun, and goes no further for a reason that is none of the recipe's."""
        self._last = None
        self._tell("failed", tuple(self._all_taken), reason=reason, error=error)

    def _tell(
        self,
        event: Literal["attempted", "provider_switched", "succeeded", "escalated", "failed"],
        steps: tuple[RecoveryStep, ...],
        policy: EscalationPolicy | None = None,
        reason: str | None = None,
        error: Exception | None = None,
    ) -> RecoveryNews:
        assert self._failure is not None
        news = RecoveryNews(event, self._failures, self._failure, steps, policy, reason, error)
        for listener in self._recovery.listeners:
            try:
                listener(news)
            except Exception as trouble:
                logger("retry_policy").warning("on_event raised %r", trouble)
        return news


def _time_is_over() -> bool:
    left_s = remaining_s()
    return left_s is not None and left_s <= 0
