"""Recipes that run: do what the recipe of a failure says, then really make the call again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import check_running, current
from techrevati.runtime._core.errors import BudgetExceededError
from techrevati.runtime._core.switches import Switched
from techrevati.runtime._core.unbegun import UNBEGUN, refuse_unbegun
from techrevati.runtime.failures import FailureScenario
from techrevati.runtime.retry_policy import retry
from techrevati.runtime.retry_policy.attempts import RetryRules
from techrevati.runtime.retry_policy.course import Course, Wait
from techrevati.runtime.retry_policy.recovery import RecoveryRecipe, RecoveryStep, recipe_for
from techrevati.runtime.retry_policy.retry_budget import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import ParamSpec, Self, TypeVar

    from techrevati.runtime.failures import Failure
    from techrevati.runtime.retry_policy.backoff import Jitter
    from techrevati.runtime.retry_policy.course import Acts, Ask, RecoveryNews, Verdict
    from techrevati.runtime.retry_policy.retry_budget import RetryBudget

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])


class Recovery(Switched):
    """Make a failed call again after the steps of its recipe were taken.  Thread-safe and task-safe.

    A failure is classified; its scenario has a recipe (``recipe_for``).  Each step that can help is taken: by
    its handler, or, for backing off, by waiting, which is done last and never shorter than the provider asked
    for, unless another provider is asked.  Then the call is made again, as often as the recipe allows for
    that scenario in this call.  What the call should do differently a handler has to arrange: switch the
    client that *fn* uses, cut the messages that it sends.

    A step without a handler is passed over.  Backing off alone helps only where ``failure.retryable`` says
    so, and switching the provider only where another one may not have the failure.  When no step can help,
    when a handler raises, or when a limit is reached (the recipe's attempts, the retry budget, the deadline),
    the recipe's escalation policy is followed, and the call's own exception is raised:

    - ALERT_HUMAN: ``"escalated"`` is told, and *on_alert* called;
    - LOG_AND_CONTINUE: a warning is logged, and *fallback* may give the answer instead;
    - ABORT: ``"failed"`` is told with that policy; a session ends.

    ``"succeeded"`` is told only after the call returned.  Without failures a call costs next to nothing.

    Args:
        handlers: What takes each step, given the ``Failure``; sync, or async for :meth:`acall`.  Returning
            False means that there was nothing it could do, and the other steps go on; raising ends the
            recovery.
        recipes: Instead of the default ones of their scenarios.
        budget: Shared by all layers of a run; each further attempt takes one from it.
        idempotent: Whether a call may be repeated that may have taken effect.
        base_delay_seconds: The first wait, >= 0; the next ones double (see *jitter*).
        max_delay_seconds: The longest wait of our own making, >= 0.
        jitter: ``"full"``, ``"equal"``, ``"decorrelated"`` or ``"none"``; see :func:`backoff_delay`.
        max_retry_after_seconds: A provider that asks for a longer wait is not waited for, >= 0.
        fallback: Gives, from the failure, the answer of a call whose recipe says to log and continue.
        on_alert: Called with :class:`RecoveryNews` when a human is needed; sync, or async for :meth:`acall`.
        on_event: Told everything that happens, as :class:`RecoveryNews`.  What these three raise is logged.
        observe_only: Tell which recovery would begin, but begin none; may be set at any time.
        sleep, asleep: Wait so many seconds, blocking or async.
        rng: A number in [0, 1).

    A cancellation while handlers run or waits last gives back what was taken and is passed on.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.

    >>> sizes = [8000]
    >>> def ask() -> str:
    ...     if sizes[-1] > 4000:
    ...         raise RuntimeError("context_length_exceeded: too many tokens")
    ...     return "answer"
    >>> shrink = {RecoveryStep.RETRY_WITH_SMALLER_CONTEXT: lambda failure: sizes.append(sizes[-1] // 2)}
    >>> Recovery(shrink).call(ask)
    'answer'
    """

    def __init__(
        self,
        handlers: Mapping[RecoveryStep, Callable[[Failure], object]] | None = None,
        *,
        recipes: Iterable[RecoveryRecipe] = (),
        budget: RetryBudget | None = None,
        idempotent: bool = True,
        base_delay_seconds: float = 1.0,
        max_delay_seconds: float = 60.0,
        jitter: Jitter = "full",
        max_retry_after_seconds: float = 60.0,
        fallback: Callable[[Failure], object] | None = None,
        on_alert: Callable[[RecoveryNews], object] | None = None,
        on_event: Callable[[RecoveryNews], object] | None = None,
        observe_only: bool = False,
        sleep: Callable[[float], object] = time.sleep,
        asleep: Callable[[float], Awaitable[object]] | None = None,
        rng: Callable[[], float] | None = None,
    ) -> None:
        if jitter not in ("none", "full", "equal", "decorrelated"):
            raise ValueError(f"jitter must be one of none, full, equal, decorrelated; got {jitter!r}")
        for name, given in (("fallback", fallback), ("on_alert", on_alert), ("asleep", asleep)):
            if given is not None:
                arguments.function(name, given)
        if on_event is not None:
            arguments.plain("on_event", on_event)
        if rng is not None:
            arguments.plain("rng", rng)
        arguments.plain("sleep", sleep)
        if handlers is not None and not isinstance(handlers, Mapping):
            raise TypeError(f"handlers must be a mapping from steps to functions, got {handlers!r}")
        self.handlers: Mapping[RecoveryStep, Callable[[Failure], object]] = {
            arguments.member("handlers", step, RecoveryStep): _handler(step, handler)
            for step, handler in (handlers or {}).items()
        }
        self._recipes = {scenario: recipe_for(scenario) for scenario in FailureScenario}
        for recipe in arguments.several("recipes", recipes, "RecoveryRecipe objects"):
            if not isinstance(recipe, RecoveryRecipe):
                raise TypeError(f"recipes must hold RecoveryRecipe objects, got {recipe!r}")
            self._recipes[recipe.scenario] = recipe
        self.budget: RetryBudget | None = checked(budget)
        self.idempotent: bool = arguments.flag("idempotent", idempotent)
        self.rules: RetryRules = RetryRules(
            1,
            float("inf"),
            arguments.number("base_delay_seconds", base_delay_seconds),
            arguments.number("max_delay_seconds", max_delay_seconds, infinite=True),
            jitter,
            arguments.number("max_retry_after_seconds", max_retry_after_seconds, infinite=True),
            idempotent,
            None,
        )
        self.fallback: Callable[[Failure], object] | None = fallback
        self.on_alert: Callable[[RecoveryNews], object] | None = on_alert
        self.listeners: tuple[Callable[[RecoveryNews], object], ...] = () if on_event is None else (on_event,)
        self._sleep = sleep
        self._asleep = asleep
        self._rng = rng
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to make every call once, and to tell nothing."""

    def recipe(self, scenario: FailureScenario) -> RecoveryRecipe:
        """The recipe that is followed for *scenario*."""
        return self._recipes[FailureScenario(scenario)]

    def telling(self, listener: Callable[[RecoveryNews], object]) -> Self:
        """A copy of this recovery, with the same budget, that tells *listener* too."""
        from copy import copy

        arguments.plain("listener", listener)
        told = copy(self)
        told.listeners = (*self.listeners, listener)
        return told

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``fn(*args, **kwargs)``, recovered if it must be.

        Raises:
            Exception: What the last attempt raised; a note says how often it was tried and why no more.
            DeadlineExceededError: The running deadline had passed before; nothing was sent.
            TypeError: *fn* is an async function; nothing was sent.
        """
        result = self._call(fn, *args, **kwargs)
        if isinstance(result, UNBEGUN):
            refuse_unbegun(fn, result, "is recovered with acall(), not call()")
        return result

    def _call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if current.get() is not None and self.enabled and not self.observe_only:
            check_running()  # nothing begins after the deadline
        since = retry.given_up
        course: Course | None = None
        while True:
            try:
                result = fn(*args, **kwargs)
            except BudgetExceededError as error:
                _ended(course, "budget exceeded", error)
                raise  # nothing to recover: the caller may not go on
            except Exception as error:
                if not self.enabled:
                    _ended(course, "off", error)
                    raise
                course = course or Course(self, since)
                verdict = self._led(course.plan(error))
                if verdict.again:
                    continue
                if verdict.answers:
                    return cast("T", verdict.answer)
                raise
            if not isinstance(result, CoroutineType):  # else nothing ran yet
                self._returned(course)
            return result

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``await fn(*args, **kwargs)``; see :meth:`call`."""
        if current.get() is not None and self.enabled and not self.observe_only:
            check_running()  # nothing begins after the deadline
        since = retry.given_up
        course: Course | None = None
        while True:
            try:
                result = await fn(*args, **kwargs)
            except BudgetExceededError as error:
                _ended(course, "budget exceeded", error)
                raise
            except Exception as error:
                if not self.enabled:
                    _ended(course, "off", error)
                    raise
                course = course or Course(self, since)
                verdict = await self._aled(course.plan(error))
                if verdict.again:
                    continue
                if verdict.answers:
                    return cast("T", verdict.answer)
                raise
            self._returned(course)
            return result

    def __call__(self, fn: F) -> F:
        """Decorate *fn* of any colour; a stream is recovered only before its first item.

        Raises:
            TypeError: A wrapper could not be right: of a class or of a ``staticmethod`` object.
        """
        from techrevati.runtime.retry_policy.forms import decorated

        return decorated(self._call, self.acall, fn)

    @property
    def random(self) -> Callable[[], float]:
        """Where its random numbers come from."""
        if self._rng is None:
            from random import random

            self._rng = random
        return self._rng

    def _returned(self, course: Course | None) -> None:
        if course is not None:
            course.returned()
        elif self.budget is not None and self.enabled:
            self.budget.succeeded()

    def _led(self, acts: Acts) -> Verdict:
        """Do what *acts* ask for, and tell them what came of it."""
        try:
            act = next(acts)
            while True:
                try:
                    answer = self._done(act)
                except Exception as trouble:
                    act = acts.throw(trouble)
                else:
                    act = acts.send(answer)
        except StopIteration as end:
            verdict: Verdict = end.value
            return verdict
        finally:
            acts.close()  # interrupted: it gives back what it took

    def _done(self, act: Wait | Ask) -> object:
        if isinstance(act, Wait):
            return self._sleep(act.seconds)
        answer: object = act.fn(act.what)
        if isinstance(answer, Awaitable):
            if isinstance(answer, CoroutineType):
                answer.close()
            raise TypeError(f"{act.fn!r} is async: use acall()")
        return answer

    async def _aled(self, acts: Acts) -> Verdict:
        try:
            act = next(acts)
            while True:
                try:
                    answer = await self._adone(act)
                except Exception as trouble:
                    act = acts.throw(trouble)
                else:
                    act = acts.send(answer)
        except StopIteration as end:
            verdict: Verdict = end.value
            return verdict
        finally:
            acts.close()

    async def _adone(self, act: Wait | Ask) -> object:
        if isinstance(act, Wait):
            if self._asleep is None:
                import asyncio

                self._asleep = asyncio.sleep
            return await self._asleep(act.seconds)
        answer = act.fn(act.what)
        return await answer if isinstance(answer, Awaitable) else answer

    def __repr__(self) -> str:
        return f"Recovery({', '.join(step.value for step in self.handlers)})"


def _ended(course: Course | None, reason: str, error: Exception) -> None:
    if course is not None:
        course.ended(reason, error)


def _handler(step: object, handler: Callable[[Failure], object]) -> Callable[[Failure], object]:
    if not callable(handler):
        raise TypeError(f"handlers[{step!r}] must be callable, got {handler!r}")
    return handler
