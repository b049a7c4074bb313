"""Try a call again, when that can help, as often as that is allowed, and no sooner than it makes sense.

``next_step`` decides from facts alone: what the failure is, how many attempts and how much time were used, what
the provider asked for.  ``Retry`` makes the attempts.  After the last one the exception of the call itself is
raised, unchanged but for a note that says how often it was tried.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.log import logger
from techrevati.runtime.failures import Failure, FailureKind, classify
from techrevati.runtime.retry_policy.backoff import Jitter, backoff_delay

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
    from typing import Any, ParamSpec, TypeVar

    from techrevati.runtime.retry_policy.retry_budget import RetryBudget

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

# Refusals: the request was turned away before anything was done.
_NO_EFFECT = frozenset({FailureKind.RATE_LIMIT, FailureKind.OVERLOADED})
# Names of exceptions of every HTTP library that mean: no connection was made, so nothing was sent.
_NOT_SENT = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "ConnectionRefusedError",
        "ClientConnectorError",
        "NewConnectionError",
        "PoolTimeout",
        "gaierror",
    }
)
_GAVE_UP = "_techrevati_gave_up"


class RetryRules:
    """The numbers a retry was built with."""

    __slots__ = (
        "base_s",
        "cap_s",
        "idempotent",
        "jitter",
        "max_attempts",
        "max_elapsed_s",
        "retry_after_cap_s",
        "retry_on",
    )

    def __init__(
        self,
        max_attempts: int,
        max_elapsed_s: float,
        base_s: float,
        cap_s: float,
        jitter: Jitter,
        retry_after_cap_s: float,
        idempotent: bool,
        retry_on: Callable[[Failure], bool | None] | None,
    ) -> None:
        self.max_attempts = max_attempts
        self.max_elapsed_s = max_elapsed_s
        self.base_s = base_s
        self.cap_s = cap_s
        self.jitter: Jitter = jitter
        self.retry_after_cap_s = retry_after_cap_s
        self.idempotent = idempotent
        self.retry_on = retry_on


class RetryAttempt:
    """One attempt that did not succeed, and what is done about it.

    Attributes:
        number: Which attempt, from 1.
        failure: What it was; None when the result was not accepted.
        elapsed_seconds: Seconds since the first attempt began.
        wait_seconds: Seconds until the next attempt; None when there is none.
        reason: Why there is none: ``"attempts"``, ``"elapsed"``, ``"deadline"``, ``"not retryable"``, ``"may have
            taken effect"``, ``"retry-after too long"``, ``"budget"``, ``"retried inside"`` or ``"off"``; else None.
    """

    __slots__ = ("elapsed_seconds", "failure", "number", "reason", "wait_seconds")

    def __init__(
        self,
        number: int,
        failure: Failure | None,
        elapsed_seconds: float,
        wait_seconds: float | None,
        reason: str | None,
    ) -> None:
        self.number = number
        self.failure = failure
        self.elapsed_seconds = elapsed_seconds
        self.wait_seconds = wait_seconds
        self.reason = reason

    def __repr__(self) -> str:
        kind = "result" if self.failure is None else self.failure.kind.value
        then = self.reason or f"again in {self.wait_seconds:.3g} s"
        return f"RetryAttempt({self.number}, {kind}, {then})"


def next_step(
    number: int,
    elapsed_s: float,
    previous_wait_s: float,
    failure: Failure | None,
    sent: bool,
    rules: RetryRules,
    rng: Callable[[], float],
    left_s: float | None,
) -> tuple[float | None, str | None]:
    """Seconds to wait before the next attempt, or None and why there is none.

    Args:
        number: The attempt that did not succeed, from 1.
        elapsed_s: Seconds since the first attempt began.
        previous_wait_s: The wait before this attempt; 0 before the first.
        failure: What it was; None when its result was not accepted.
        sent: Whether the request may have reached the provider.
        left_s: Seconds left of the running deadline; None without one.
    """
    asked_s = None
    if failure is not None:
        wanted = rules.retry_on(failure) if rules.retry_on is not None else None
        if not (failure.retryable if wanted is None else wanted):
            return None, "not retryable"
        if not rules.idempotent and sent and failure.kind not in _NO_EFFECT:
            return None, "may have taken effect"
        asked_s = failure.retry_after
    elif not rules.idempotent:
        return None, "may have taken effect"
    if number >= rules.max_attempts:
        return None, "attempts"
    if asked_s is not None and asked_s > rules.retry_after_cap_s:
        return None, "retry-after too long"
    wait_s = _backoff_s(number, previous_wait_s, rules, rng)
    if asked_s is not None and wait_s < asked_s:
        wait_s = asked_s
    if elapsed_s + wait_s > rules.max_elapsed_s:
        return None, "elapsed"
    if left_s is not None and wait_s >= left_s:
        return None, "deadline"
    return wait_s, None


def _backoff_s(number: int, previous_wait_s: float, rules: RetryRules, rng: Callable[[], float]) -> float:
    if rules.base_s == 0:
        return 0.0
    if rules.jitter == "decorrelated":
        return backoff_delay(
            number, rules.base_s, "decorrelated", rules.cap_s, min(previous_wait_s, rules.cap_s), rng=rng
        )
    ceiling_s = min(rules.cap_s, rules.base_s * 2.0 ** min(number - 1, 1000))
    if rules.jitter == "full":
        return ceiling_s * rng()
    if rules.jitter == "equal":
        return ceiling_s / 2 + ceiling_s / 2 * rng()
    return ceiling_s


class _Attempts:
    """The attempts of one call: what was used so far, and what comes after each failure."""

    __slots__ = ("_retry", "_started_s", "number", "wait_s")

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._started_s = retry._clock()
        self.number = 1
        self.wait_s = 0.0

    def after_error(self, error: Exception) -> float | None:
        """Seconds to wait before trying again; None to raise *error*."""
        failure = classify(error)
        if getattr(error, _GAVE_UP, False):
            return self._decided(failure, None, "retried inside")
        wait_s = self._after(failure, not _never_sent(error))
        if wait_s is None and self.number > 1:
            error.add_note(f"tried {self.number} times")
            _mark(error)
        return wait_s

    def after_result(self) -> float | None:
        """Seconds to wait before trying again; None to keep the result."""
        return self._after(None, True)

    def _after(self, failure: Failure | None, sent: bool) -> float | None:
        retry = self._retry
        if not retry.enabled:
            return self._decided(failure, None, "off")
        wait_s, reason = next_step(
            self.number,
            retry._clock() - self._started_s,
            self.wait_s,
            failure,
            sent,
            retry._rules,
            retry._random,
            remaining_s(),
        )
        if wait_s is not None and retry._budget is not None and not retry._budget.take():
            wait_s, reason = None, "budget"
        if retry.observe_only and wait_s is not None:
            self._decided(failure, wait_s, "observed only")
            return None
        return self._decided(failure, wait_s, reason)

    def _decided(self, failure: Failure | None, wait_s: float | None, reason: str | None) -> float | None:
        retry = self._retry
        if retry._on_attempt is not None:
            elapsed_s = retry._clock() - self._started_s
            try:
                retry._on_attempt(RetryAttempt(self.number, failure, elapsed_s, wait_s, reason))
            except Exception as trouble:
                logger("retry_policy").warning("on_attempt raised %r", trouble)
        if wait_s is not None:
            self.number += 1
            self.wait_s = wait_s
        return wait_s


class Retry:
    """Try a call again where that can help.  Stateless between calls; thread-safe and task-safe.

    Use it as ``retry.call(fn, …)``, ``await retry.acall(fn, …)``, or as a decorator ``@retry`` of any function; a
    generator function is started again only before its first item.

    Args:
        max_attempts: Attempts altogether, >= 1.
        max_elapsed_seconds: No attempt starts later than this after the first, >= 0.
        base_delay_seconds: The first wait, >= 0; the next ones double (see *jitter*).
        max_delay_seconds: The longest wait of our own making, >= 0.
        jitter: ``"full"``, ``"equal"``, ``"decorrelated"`` or ``"none"``; see :func:`backoff_delay`.
        max_retry_after_seconds: A provider that asks for a longer wait is not waited for, >= 0.
        idempotent: Whether a call may be repeated that may have taken effect; if not, only what was refused or
            never sent is tried again.
        retry_on: Says of a failure whether to try again; None as its answer leaves that to
            ``failure.retryable``.
        retry_result: Says of a returned value whether to try again; the last one is returned in the end.
        budget: Shared by all layers of a run; each retry takes one from it.
        on_attempt: Told every attempt that did not succeed, as a :class:`RetryAttempt`.
        observe_only: Tell what would be tried again, but do not.
        clock: Monotonic seconds.
        sleep, asleep: Wait so many seconds, blocking or async.
        rng: A number in [0, 1).

    A failure that an inner ``Retry`` already gave up on is not tried again by an outer one, so layers never
    multiply.  An SDK client that still retries by itself is reported once, with the fix.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        *,
        max_elapsed_seconds: float = float("inf"),
        base_delay_seconds: float = 0.5,
        max_delay_seconds: float = 30.0,
        jitter: Jitter = "full",
        max_retry_after_seconds: float = 60.0,
        idempotent: bool = True,
        retry_on: Callable[[Failure], bool | None] | None = None,
        retry_result: Callable[[Any], bool] | None = None,
        budget: RetryBudget | None = None,
        on_attempt: Callable[[RetryAttempt], object] | None = None,
        observe_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        asleep: Callable[[float], Awaitable[object]] | None = None,
        rng: Callable[[], float] | None = None,
    ) -> None:
        if jitter not in ("none", "full", "equal", "decorrelated"):
            raise ValueError(f"jitter must be none, full, equal or decorrelated, got {jitter!r}")
        self._rules = RetryRules(
            arguments.count("max_attempts", max_attempts, minimum=1),
            arguments.number("max_elapsed_seconds", max_elapsed_seconds, infinite=True),
            arguments.number("base_delay_seconds", base_delay_seconds),
            arguments.number("max_delay_seconds", max_delay_seconds, infinite=True),
            jitter,
            arguments.number("max_retry_after_seconds", max_retry_after_seconds, infinite=True),
            idempotent,
            retry_on,
        )
        for name, given in (("retry_on", retry_on), ("retry_result", retry_result), ("on_attempt", on_attempt)):
            if given is not None:
                arguments.function(name, given)
        self._retry_result = retry_result
        self._budget = budget
        self._on_attempt = on_attempt
        self._clock = clock
        self._sleep = sleep
        self._asleep = asleep
        self._rng = rng
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to make every call exactly once."""

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``fn(*args, **kwargs)``, tried again where that can help.

        Raises:
            Exception: Whatever the last attempt raised.
        """
        try:
            result = fn(*args, **kwargs)
        except Exception as error:
            first: Exception | None = error
        else:
            if self._accepts(result):
                return result
            return self._call_again(None, fn, args, kwargs, result)
        try:
            return self._call_again(first, fn, args, kwargs)
        finally:
            first = None  # its traceback holds this frame: break the cycle

    def _call_again(
        self,
        error: Exception | None,
        fn: Callable[..., T],
        args: tuple[object, ...],
        kwargs: dict[str, Any],
        result: T | None = None,
    ) -> T:
        _warn_of_own_retries(fn, self._rules.max_attempts)
        attempts = _Attempts(self)
        while True:
            wait_s = attempts.after_result() if error is None else attempts.after_error(error)
            if wait_s is None:
                if error is not None:
                    raise error
                return result  # type: ignore[return-value]
            try:
                self._sleep(wait_s)
            except BaseException:
                self._not_made()
                raise
            error = None
            try:
                result = fn(*args, **kwargs)
            except Exception as again:
                error = again
                continue
            if self._accepts(result):
                return result

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``await fn(*args, **kwargs)``; see :meth:`call`.  Cancelling it ends the waiting."""
        attempts: _Attempts | None = None
        while True:
            error: Exception | None = None
            result: T | None = None
            try:
                result = await fn(*args, **kwargs)
            except Exception as failed:
                error = failed
            else:
                if self._accepts(result):
                    return result
            if attempts is None:
                _warn_of_own_retries(fn, self._rules.max_attempts)
                attempts = _Attempts(self)
            wait_s = attempts.after_result() if error is None else attempts.after_error(error)
            if wait_s is None:
                if error is not None:
                    try:
                        raise error
                    finally:
                        error = None  # its traceback holds this frame: break the cycle
                return result  # type: ignore[return-value]
            try:
                await self._await_for(wait_s)
            except BaseException:
                self._not_made()
                raise

    def _accepts(self, result: object) -> bool:
        if self._retry_result is not None and self._retry_result(result):
            return False
        if self._budget is not None:
            self._budget.succeeded()
        return True

    def _not_made(self) -> None:
        if self._budget is not None:
            self._budget.give_back()

    async def _await_for(self, seconds: float) -> None:
        if self._asleep is None:
            import asyncio

            await asyncio.sleep(seconds)
        else:
            await self._asleep(seconds)

    def _random(self) -> float:
        if self._rng is None:
            import random

            self._rng = random.random
        return self._rng()
