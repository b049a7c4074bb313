"""Try a call again, when that can help, as often as that is allowed, and no sooner than it makes sense.

``next_step`` decides from facts alone: what the failure is, how many attempts and how much time were used,
what the provider asked for.  ``Retry`` makes the attempts.  After the last one the exception of the call
itself is raised, unchanged but for a note that says how often it was tried.
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from types import CoroutineType
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.failures import Failure, FailureKind, classify
from techrevati.runtime.retry_policy.backoff import Jitter, backoff_delay

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
    from typing import Any, ParamSpec, Self, TypeVar

    from techrevati.runtime.retry_policy.retry_budget import RetryBudget

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

# Refusals: the request was turned away before anything was done.
_NO_EFFECT = frozenset({FailureKind.RATE_LIMIT, FailureKind.OVERLOADED})
# After these the first attempt was the last one only because this layer would not repeat it.
_ENOUGH = frozenset({"may have taken effect", "retry-after too long", "elapsed", "deadline", "budget"})
# Names of exceptions of every HTTP library that mean: no connection was made, so nothing was sent.
_NOT_SENT = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "ConnectTimeoutError",
        "ConnectionRefusedError",
        "ClientConnectorError",
        "EndpointConnectionError",
        "NewConnectionError",
        "PoolTimeout",
        "gaierror",
    }
)
_GAVE_UP = "_techrevati_gave_up"
_LONGEST_S = 1e9  # a wait of our own making without a limit


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
        self.max_attempts: int = max_attempts
        self.max_elapsed_s: float = max_elapsed_s
        self.base_s: float = base_s
        self.cap_s: float = cap_s
        self.jitter: Jitter = jitter
        self.retry_after_cap_s: float = retry_after_cap_s
        self.idempotent: bool = idempotent
        self.retry_on: Callable[[Failure], bool | None] | None = retry_on


class RetryAttempt:
    """One attempt that did not succeed, and what is done about it.

    Attributes:
        number: Which attempt, from 1.
        failure: What it was; None when the result was not accepted.
        elapsed_seconds: Seconds since the first attempt began.
        wait_seconds: Seconds until the next attempt; None when there is none.
        reason: Why there is none: ``"attempts"``, ``"elapsed"``, ``"deadline"``, ``"not retryable"``, ``"may
            have taken effect"``, ``"retry-after too long"``, ``"budget"``, ``"retried inside"`` or ``"off"``;
            ``"observed only"`` with the wait that there would be; else None.
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
        self.number: int = number
        self.failure: Failure | None = failure
        self.elapsed_seconds: float = elapsed_seconds
        self.wait_seconds: float | None = wait_seconds
        self.reason: str | None = reason

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
        wanted = None if rules.retry_on is None else _asked("retry_on", rules.retry_on, failure)
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
    ceiling_s = min(rules.cap_s, _LONGEST_S, rules.base_s * 2.0 ** min(number - 1, 1000))
    if rules.jitter == "full":
        return ceiling_s * rng()
    if rules.jitter == "equal":
        return ceiling_s / 2 + ceiling_s / 2 * rng()
    return ceiling_s


def _asked(name: str, judge: Callable[[Any], bool | None], what: object) -> bool | None:
    """What *judge* says; one that raises is logged and says no, so as not to hide the call's own end."""
    try:
        answer = judge(what)
        return None if answer is None else bool(answer)
    except Exception as trouble:
        logger("retry_policy").warning("%s raised %s", name, error_text(trouble))
        return False


class _Attempts:
    """The attempts of one call: what was used so far, and what comes after each failure."""

    __slots__ = ("_given_up_before", "_retry", "_started_s", "number", "wait_s")

    def __init__(self, retry: Retry, started_s: float | None, given_up_before: int) -> None:
        self._retry = retry
        self._started_s = retry._clock() if started_s is None else started_s
        self._given_up_before = given_up_before
        self.number = 1
        self.wait_s = 0.0

    def after_error(self, error: Exception) -> float | None:
        """Seconds to wait before trying again; None to raise *error*."""
        failure = classify(error)
        if _gave_up_inside(error, self._given_up_before):
            return self._decided(failure, None, "retried inside")
        wait_s, reason = self._next(failure, not _never_sent(error))
        if wait_s is None and reason != "off":
            if self.number > 1:
                _note(error, f"tried {self.number} times")
            if self.number > 1 or reason in _ENOUGH:
                _mark(error)
        return self._decided(failure, wait_s, reason)

    def after_result(self) -> float | None:
        """Seconds to wait before trying again; None to keep the result."""
        return self._decided(None, *self._next(None, True))

    def _next(self, failure: Failure | None, sent: bool) -> tuple[float | None, str | None]:
        retry = self._retry
        if not retry.enabled:
            return None, "off"
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
        if wait_s is not None and retry.observe_only:
            return wait_s, "observed only"
        if wait_s is not None and retry._budget is not None and not retry._budget.take():
            return None, "budget"
        return wait_s, reason

    def _decided(self, failure: Failure | None, wait_s: float | None, reason: str | None) -> float | None:
        again = wait_s is not None and reason is None
        if self._retry._on_attempt is not None:
            elapsed_s = self._retry._clock() - self._started_s
            try:
                self._retry._on_attempt(RetryAttempt(self.number, failure, elapsed_s, wait_s, reason))
            except Exception as trouble:
                logger("retry_policy").warning("on_attempt raised %s", error_text(trouble))
            except BaseException:
                if again:
                    self._retry._not_made()
                raise
        if wait_s is None or not again:
            return None
        self.number += 1
        self.wait_s = wait_s
        return wait_s


class Retry:
    """Try a call again where that can help.  Stateless between calls; thread-safe and task-safe.

    Use it as ``retry.call(fn, …)``, ``await retry.acall(fn, …)``, or as a decorator ``@retry`` of any
    function; a generator function is started again only before its first item.

    Args:
        max_attempts: Attempts altogether, >= 1.
        max_elapsed_seconds: No attempt starts later than this after the first, >= 0.
        base_delay_seconds: The first wait, >= 0; the next ones double (see *jitter*).
        max_delay_seconds: The longest wait of our own making, >= 0.
        jitter: ``"full"``, ``"equal"``, ``"decorrelated"`` or ``"none"``; see :func:`backoff_delay`.
        max_retry_after_seconds: A provider that asks for a longer wait is not waited for, >= 0.
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
            idempotent,
            retry_on,
        )
        for name, given in (
            ("retry_on", retry_on),
            ("retry_result", retry_result),
            ("on_attempt", on_attempt),
        ):
            if given is not None:
                arguments.function(name, given)
        # The happy path: without a limit on time nobody needs to know when the first attempt began, and
        # without these two nobody asks about a result.
        self._timed = self._rules.max_elapsed_s != float("inf") or on_attempt is not None
        self._trusting = retry_result is None and budget is None
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
        started_s = self._clock() if self._timed else None
        given_up_before = _given_up
        try:
            result = fn(*args, **kwargs) if kwargs or args else fn()  # type: ignore[call-arg]  # pyright: ignore
        except Exception as error:
            first: Exception | None = error
        else:
            if self._trusting or self._accepts(result):
                return result
            return self._call_again(started_s, given_up_before, None, fn, args, kwargs, result)
        try:
            return self._call_again(started_s, given_up_before, first, fn, args, kwargs)
        finally:
            first = None  # its traceback holds this frame: break the cycle

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
        _warn_of_own_retries(fn, error, self._rules.max_attempts)
        attempts = _Attempts(self, started_s, given_up_before)
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
                self._not_made()
                raise
            try:
                result = fn(*args, **kwargs)
            except Exception as again:
                error = again
                continue
            if self._accepts(result):
                return result

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``await fn(*args, **kwargs)``; see :meth:`call`.  Cancelling it ends the waiting."""
        started_s = self._clock() if self._timed else None
        given_up_before = _given_up
        attempts: _Attempts | None = None
        while True:
            error: Exception | None = None
            result: T | None = None
            try:
                result = await fn(*args, **kwargs)
            except Exception as failed:
                error = failed
            else:
                if self._trusting or self._accepts(result):
                    return result
            if attempts is None:
                _warn_of_own_retries(fn, error, self._rules.max_attempts)
                attempts = _Attempts(self, started_s, given_up_before)
            wait_s = attempts.after_result() if error is None else attempts.after_error(error)
            if wait_s is None:
                if error is not None:
                    try:
                        raise error
                    finally:
                        error = None  # its traceback holds this frame: break the cycle
                return result  # type: ignore[return-value]
            error = None
            try:
                await self._await_for(wait_s)
            except BaseException:
                self._not_made()
                raise

    def __call__(self, fn: F) -> F:
        """Decorate *fn* of any colour; a stream is started again only before its first item.

        Raises:
            TypeError: A wrapper could not be right: of a class, of a ``staticmethod`` object, or of a
                stream by a retry that judges returned values.
        """
        return _decorated(self, fn)

    def _accepts(self, result: object) -> bool:
        if isinstance(result, CoroutineType):
            return True  # no result yet: a decorator around ``async def`` made it, see _decorated
        if self._retry_result is not None and _asked("retry_result", self._retry_result, result):
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


# --- functions of every colour -----------------------------------------------------------------------------


def _decorated(retry: Retry, fn: F) -> F:
    from functools import update_wrapper

    from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, COROUTINE, GENERATOR, STREAMS, colour

    kind = colour(fn)
    if kind in STREAMS and retry._retry_result is not None:
        raise TypeError(f"retry_result judges returned values, and a stream has none: {fn!r}")
    if kind == COROUTINE:

        async def acall(*args: object, **kwargs: object) -> object:
            return await retry.acall(fn, *args, **kwargs)  # type: ignore[arg-type]

        return update_wrapper(acall, fn)  # type: ignore[return-value]
    if kind == GENERATOR:
        return update_wrapper(_generator(retry, fn), fn)  # type: ignore[arg-type, return-value]
    if kind == ASYNC_GENERATOR:
        return update_wrapper(_async_generator(retry, fn), fn)  # type: ignore[arg-type, return-value]

    def call(*args: object, **kwargs: object) -> object:
        value = retry.call(fn, *args, **kwargs)
        if not isinstance(value, CoroutineType):
            return value
        made = [value]  # a plain decorator around ``async def``: nothing ran yet
        return retry.acall(lambda: made.pop() if made else fn(*args, **kwargs))  # type: ignore[arg-type, return-value]

    return update_wrapper(call, fn)  # type: ignore[return-value]


class _Begun:
    """A generator whose first item was already taken: gives that first, then is the generator."""

    __slots__ = ("_first", "close", "send", "throw")

    def __init__(self, made: Generator[Any, Any, Any], first: object) -> None:
        self._first = [first]
        self.send, self.throw, self.close = made.send, made.throw, made.close

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> object:
        return self._first.pop() if self._first else self.send(None)


def _generator(
    retry: Retry, fn: Callable[..., Generator[Any, Any, Any]]
) -> Callable[..., Generator[Any, Any, Any]]:
    def stream(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        def begun() -> tuple[Generator[Any, Any, Any], bool, object]:
            made = fn(*args, **kwargs)
            try:
                return made, False, next(made)
            except StopIteration as end:
                return made, True, end.value

        # Only up to the first item: what was handed out cannot be taken back.
        made, ended, item = retry.call(begun)
        if ended:
            return item
        return (yield from _Begun(made, item))

    return stream


def _async_generator(
    retry: Retry, fn: Callable[..., AsyncGenerator[Any, Any]]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def stream(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        async def begun() -> tuple[AsyncGenerator[Any, Any], bool, object]:
            made = fn(*args, **kwargs)
            try:
                return made, False, await made.__anext__()
            except StopAsyncIteration:
                return made, True, None

        made, ended, item = await retry.acall(begun)
        while not ended:
            try:
                step = made.asend((yield item))
            except GeneratorExit:
                await made.aclose()
                raise
            except BaseException as error:
                step = made.athrow(error)
            try:
                item = await step
            except StopAsyncIteration:
                ended = True

    return stream


# --- what an exception tells about its own history ---------------------------------------------------------


def _never_sent(error: BaseException) -> bool:
    """True when *error*, or what it says it was caused by, says that no connection was made.

    What was merely being handled when it was raised says nothing: that may have been another request.
    """
    for _ in range(8):
        if any(kind.__name__ in _NOT_SENT for kind in type(error).__mro__):
            return True
        named = (error.__cause__, getattr(error, "reason", None), error.args[0] if error.args else None)
        below = next((one for one in named if isinstance(one, BaseException)), None)
        if below is None:
            return False
        error = below
    return False


class _Mark(int):
    """When a layer gave an exception up, as ``_given_up`` counts; says nothing in another process."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ()


_given_up = 0  # a call that began at this number was not inside any layer that gave up before
_given_up_lock = allocate_lock()


def _mark(error: BaseException) -> None:
    global _given_up
    with _given_up_lock:
        _given_up += 1
        mark = _Mark(_given_up)
    _facts(error)[_GAVE_UP] = mark


def _note(error: BaseException, text: str) -> None:
    notes = _facts(error).setdefault("__notes__", [])
    if isinstance(notes, list) and text not in notes:
        notes.append(text)


def _facts(error: BaseException) -> dict[str, Any]:
    """The attributes of *error*, around a ``__setattr__`` of its own: a frozen exception has them too."""
    try:
        return error.__dict__
    except Exception:
        return {}


def _gave_up_inside(error: BaseException, since: int) -> bool:
    """Did a layer inside of the call that began at *since* give up on *error*, or on what is below it?"""
    waiting, seen = [error], 0
    while waiting and seen < 100:
        error, seen = waiting.pop(), seen + 1
        if _facts(error).get(_GAVE_UP, 0) > since:
            return True
        below = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if below is not None:
            waiting.append(below)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions[:100]
    return False


_warned_clients: set[str] = set()


def _warn_of_own_retries(fn: Callable[..., object], error: Exception | None, max_attempts: int) -> None:
    """Say once, per class of client, that an SDK client multiplies our attempts with its own."""
    client = _client_with_retries(fn, error) if max_attempts > 1 else None
    if client is None:
        return
    name = f"{type(client).__module__.partition('.')[0]}.{type(client).__name__}"
    if name in _warned_clients or len(_warned_clients) >= 100:
        return
    _warned_clients.add(name)
    own: int = client.max_retries
    logger("retry_policy").warning(
        "%s retries up to %d times by itself: with max_attempts=%d one call is up to %d requests; "
        "let Retry do it and call client.with_options(max_retries=0)",
        name,
        own,
        max_attempts,
        max_attempts * (own + 1),
    )


def _client_with_retries(fn: Callable[..., object], error: Exception | None) -> Any:
    """The SDK client that retries by itself behind *fn*, a method of it, or that *error* came through."""
    owner = getattr(fn, "__self__", None)
    if _retries_itself(client := getattr(owner, "_client", None)):
        return client
    trace = None if error is None else error.__traceback__
    for _ in range(100):
        if trace is None:
            break
        frame = trace.tb_frame
        if frame.f_code.co_varnames[:1] == ("self",) and frame.f_globals.get("__package__") != __package__:
            client = frame.f_locals.get("self")
            if _retries_itself(client):
                return client
        trace = trace.tb_next
    return None


def _retries_itself(client: object) -> bool:
    try:
        own = getattr(client, "max_retries", None)
        return type(own) is int and own > 0 and callable(getattr(type(client), "with_options", None))
    except Exception:
        return False
