"""Try a call again, when that can help, as often as that is allowed, and no sooner than it makes sense.

``Retry`` makes the attempts that ``attempts.next_step`` decides.  After the last one the exception of the
call itself is raised, unchanged but for a note that says how often it was tried.
"""

from __future__ import annotations

import time
from types import CoroutineType
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import check_running, current, when_running
from techrevati.runtime._core.judging import asked
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.switches import Switched
from techrevati.runtime._core.unbegun import UNBEGUN, refuse_unbegun
from techrevati.runtime.retry_policy.attempts import Attempts, RetryAttempt, RetryRules
from techrevati.runtime.retry_policy.history import mark
from techrevati.runtime.retry_policy.own_retries import warn_of_own_retries
from techrevati.runtime.retry_policy.retry_budget import checked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, ParamSpec, TypeVar

    from techrevati.runtime.failures import Failure
    from techrevati.runtime.retry_policy.backoff import Jitter
    from techrevati.runtime.retry_policy.retry_budget import RetryBudget

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

__all__ = ["Retry", "RetryAttempt"]

_ADVICE = "is tried with acall(), not call()"
_deadlines = False  # whether any runs in this process: asking which one is here takes half as long as a call


def _ask_for_deadlines(any_runs: bool) -> None:
    global _deadlines
    _deadlines = any_runs


when_running(_ask_for_deadlines)

# How often any layer of this process gave up: a call that began at this number was not inside of one that
# gave up before.  It is here because every call reads it.
given_up: int = 0
_given_up_lock = fork_safe_lock()


class Retry(Switched):
    """Try a call again where that can help.  Stateless between calls; thread-safe and task-safe.

    Use it as ``retry.call(fn, …)``, ``await retry.acall(fn, …)``, or as a decorator ``@retry`` of any
    function; a generator function is started again only before its first item.

    Args:
        max_attempts: Attempts altogether, >= 1.
        max_elapsed_seconds: No attempt starts later than this after the first, >= 0.
        base_delay_seconds: The first wait, >= 0; the next ones double (see *jitter*).
        max_delay_seconds: The longest wait of our own making, >= 0.
        jitter: ``"full"``, ``"equal"``, ``"decorrelated"`` or ``"none"``; see :func:`backoff_delay`.
        max_retry_after_seconds: A provider that asks for a longer wait is not waited for, >= 0.  An open
            breaker or a limit of ours inside is not waited for longer than *max_delay_seconds* either.
        idempotent: Whether a call may be repeated that may have taken effect; if not, only what was refused
            or never sent is tried again.
        retry_on: Says of a failure whether to try again; None as its answer leaves that to
            ``failure.retryable``.
        retry_result: Says of a returned value whether to try again; the last one is returned in the end.
            If this or *retry_on* raises, that is logged and means no.
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
            arguments.flag("idempotent", idempotent),
            retry_on,
        )
        for name, given in (
            ("retry_on", retry_on),
            ("retry_result", retry_result),
            ("on_attempt", on_attempt),
            ("rng", rng),
        ):
            if given is not None:
                arguments.plain(name, given)
        if asleep is not None:
            arguments.function("asleep", asleep)
        arguments.plain("clock", clock)
        arguments.plain("sleep", sleep)
        checked(budget)
        # The happy path: without a limit on time nobody needs to know when the first attempt began, and
        # without the other two nobody asks about a result.
        timed = self._rules.max_elapsed_s != float("inf") or on_attempt is not None
        self._always_attentive = timed or retry_result is not None or budget is not None
        # Until a call has returned, results are looked at for streams, too: who passes a generator function
        # does so from the first call on.
        self._attentive = True
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
            DeadlineExceededError: The running deadline had passed before; nothing has run.
            TypeError: *fn* is an async function: use :meth:`acall`; nothing has run.
        """
        if _deadlines and current.get() is not None:
            self._check_time()
        if self._attentive:
            return self._call_attentively(fn, args, kwargs)
        given_up_before = given_up
        try:
            # Unpacking nothing would cost as much as all the rest here.
            outcome: object = fn(*args, **kwargs) if args or kwargs else fn()  # type: ignore[call-arg]  # pyright: ignore
            if outcome.__class__ is not CoroutineType:
                return outcome  # type: ignore[return-value]  # pyright: ignore
        except Exception as error:
            outcome = error
        try:
            return self._after(outcome, given_up_before, fn, args, kwargs)
        finally:
            outcome = None  # an error's traceback holds this frame: break the cycle

    def _after(
        self,
        outcome: object,
        given_up_before: int,
        fn: Callable[..., T],
        args: tuple[object, ...],
        kwargs: dict[str, Any],
    ) -> T:
        """What follows an *outcome* that is no result: an error that was raised, or a coroutine."""
        if not isinstance(outcome, Exception):
            refuse_unbegun(fn, outcome, _ADVICE)  # which a coroutine always is
            return cast("T", outcome)
        try:
            return self._call_again(None, given_up_before, outcome, fn, args, kwargs)
        finally:
            outcome = None

    def _call_attentively(self, fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, Any]) -> T:
        """:meth:`call` where the time of the first attempt or its result matters."""
        started_s, given_up_before = self._clock(), given_up
        first: Exception | None = None
        result: T | None = None
        try:
            result = fn(*args, **kwargs)
        except Exception as error:
            first = error
        else:
            if isinstance(result, UNBEGUN):
                refuse_unbegun(fn, result, _ADVICE)
            self._attentive = self._always_attentive
            if self._accepts(result):
                return result
        try:
            return self._call_again(started_s, given_up_before, first, fn, args, kwargs, result)
        finally:
            first = None

    def _call_again(
        self,
        started_s: float | None,
        given_up_before: int,
        error: Exception | None,
        fn: Callable[..., T],
        args: tuple[object, ...],
        kwargs: dict[str, Any],
        result: T | None = None,
    ) -> T:
        warn_of_own_retries(fn, error, self._rules.max_attempts)
        attempts = Attempts(self, started_s, given_up_before)
        try:
            while True:
                wait_s = attempts.after_result() if error is None else attempts.after_error(error)
                if wait_s is None:
                    if error is None:
                        return result  # type: ignore[return-value]
                    try:
                        raise error
                    finally:
                        error = None  # its traceback holds this frame: break the cycle
                error = None
                try:
                    self._sleep(wait_s)
                except BaseException:
                    attempts.not_made()
                    raise
                try:
                    result = fn(*args, **kwargs)
                except Exception as again:
                    error = again
                    continue
                if isinstance(result, UNBEGUN):
                    refuse_unbegun(fn, result, _ADVICE)
                if self._accepts(result):
                    return result
        finally:
            attempts.forget()

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``await fn(*args, **kwargs)``; see :meth:`call`.  Cancelling it ends the waiting."""
        if _deadlines and current.get() is not None:
            self._check_time()
        started_s = self._clock() if self._attentive else None
        given_up_before = given_up
        result: T | None = None
        try:
            result = await (fn(*args, **kwargs) if kwargs or args else fn())  # type: ignore[call-arg]  # pyright: ignore
            if started_s is None:
                return result
        except Exception as error:
            first: Exception | None = error
        else:
            self._attentive = self._always_attentive
            if self._accepts(result):
                return result
            first = None
        try:
            return await self._acall_again(started_s, given_up_before, first, fn, args, kwargs, result)
        finally:
            first = None  # its traceback holds this frame: break the cycle

    async def _acall_again(
        self,
        started_s: float | None,
        given_up_before: int,
        error: Exception | None,
        fn: Callable[..., Awaitable[T]],
        args: tuple[object, ...],
        kwargs: dict[str, Any],
        result: T | None,
    ) -> T:
        warn_of_own_retries(fn, error, self._rules.max_attempts)
        attempts = Attempts(self, started_s, given_up_before)
        try:
            while True:
                wait_s = attempts.after_result() if error is None else attempts.after_error(error)
                if wait_s is None:
                    if error is None:
                        return result  # type: ignore[return-value]
                    try:
                        raise error
                    finally:
                        error = None  # its traceback holds this frame: break the cycle
                error = None
                try:
                    await self._await_for(wait_s)
                except BaseException:
                    attempts.not_made()
                    raise
                try:
                    result = await fn(*args, **kwargs)
                except Exception as again:
                    error = again
                    continue
                if self._accepts(result):
                    return result
        finally:
            attempts.forget()

    def _check_time(self) -> None:
        """Nothing begins after the deadline."""
        if self.enabled and not self.observe_only:
            check_running()

    def __call__(self, fn: F) -> F:
        """Decorate *fn* of any colour; a stream is started again only before its first item.

        Raises:
            TypeError: A wrapper could not be right: of a class, of a ``staticmethod`` object, or of a
                stream by a retry that judges returned values.
        """
        from techrevati.runtime._core.wrapping import STREAMS, colour
        from techrevati.runtime.retry_policy.forms import decorated

        if self._retry_result is not None and colour(fn) in STREAMS:
            raise TypeError(f"retry_result judges returned values, and a stream has none: {fn!r}")
        self._know(fn)
        return decorated(self.call, self.acall, fn)

    def _know(self, fn: Callable[..., object]) -> None:
        """Look once at what will be tried: its client may retry by itself."""
        warn_of_own_retries(fn, None, self._rules.max_attempts)

    @staticmethod
    def _gave_up(error: BaseException) -> None:
        """A layer gave *error* up: let it say so, for those around it."""
        global given_up
        with _given_up_lock:
            given_up += 1
            number = given_up
        mark(error, number)

    def with_attempts(self, max_attempts: int) -> Retry:
        """A retry like this one, also in its budget and listeners, with another *max_attempts*.

        Raises:
            ValueError, TypeError: *max_attempts* is not an integer >= 1.
        """
        from copy import copy

        made = copy(self)
        made._rules = copy(self._rules)
        made._rules.max_attempts = arguments.count("max_attempts", max_attempts, minimum=1)
        return made

    def _accepts(self, result: object) -> bool:
        if self._retry_result is not None and asked(
            "retry_policy", "retry_result", self._retry_result, result
        ):
            return False
        if self._budget is not None:
            self._budget.succeeded()
        return True

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
