"""Who waits before a call, and for how long: the buckets with a clock, a lock and the waiting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.unbegun import UNBEGUN, refuse_unbegun
from techrevati.runtime.rate_limit.bucket import after_one_more, available, described, held, taken
from techrevati.runtime.rate_limit.reservation import CallReservation, Reservation
from techrevati.runtime.rate_limit.token_count import TokenCount, counted
from techrevati.runtime.rate_limit.vocabulary import (
    PAUSE,
    REQUESTS,
    TOKENS,
    RateLimitedCall,
    RateLimitExceededError,
    RateLimitSnapshot,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

_LONGEST_PAUSE_S = 86_400.0


class RateLimit:
    """Calls no faster than so many requests and tokens a minute.  Thread-safe and task-safe, over any number
    of event loops; no lock is held while anybody waits or the caller's code runs.

    Use it as ``limit.call(fn, …)``, ``await limit.acall(fn, …)``, as a decorator of any function, or by hand:
    ``reservation = limit.reserve(tokens)``, wait ``reservation.wait_seconds``, send,
    ``reservation.settle(tokens_used)``.  First come, first served: a turn that was given does not move.
    A caller that is cancelled or interrupted while it waits gives back what it took; that goes to who comes
    next, who may then begin before, or together with, those who wait already.

    The tokens of a call are *estimate_tokens* until it has returned; then what its response says it used
    (``usage.UsageSnapshot.from_response``: input, cached input and output).  A response without usage, and a
    stream, keep the estimate.  After a rate limit with Retry-After nobody begins before that is over.

    Args:
        requests_per_minute, tokens_per_minute: As providers state them, > 0; None is no such limit, and one
            of them must be given.
        burst_requests, burst_tokens: How much may be used at once after a rest, > 0; a minute's worth when
            None.  Providers that enforce a limit by the second want a sixtieth.
        estimate_tokens: Tokens to reserve for a call, >= 0, or a function of the call's arguments that says.
        tokens_used: Says of a result how many tokens it used; None as its answer keeps the estimate.
        max_wait_seconds: A call that would have to wait longer is refused, >= 0; the running deadline
            shortens it.
        respect_retry_after: Whether a rate limit with Retry-After stops everybody until then.
        on_limited: Told every :class:`RateLimitedCall` before it waits or is refused.  What this, a failing
            *estimate_tokens* (which counts as 0) or *tokens_used* (as None) raises is logged.
        name: Stands in refusals; not empty.
        observe_only: Count, but let every call begin at once; may be set at any time.
        clock: Monotonic seconds.
        sleep, asleep: Wait so many seconds, blocking or async.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.

    >>> limit = RateLimit(requests_per_minute=60, burst_requests=1, clock=lambda: 0.0)
    >>> limit.reserve().wait_seconds, limit.reserve().wait_seconds, limit.reserve().wait_seconds
    (0.0, 1.0, 2.0)
    """

    def __init__(
        self,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        *,
        burst_requests: float | None = None,
        burst_tokens: float | None = None,
        estimate_tokens: int | Callable[..., int] = 0,
        tokens_used: Callable[[Any], int | None] | None = None,
        max_wait_seconds: float = float("inf"),
        respect_retry_after: bool = True,
        on_limited: Callable[[RateLimitedCall], object] | None = None,
        name: str = "rate limit",
        observe_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        asleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        if requests_per_minute is None and tokens_per_minute is None:
            raise ValueError("give requests_per_minute, tokens_per_minute or both, got neither")
        self._requests = described(
            "requests_per_minute", requests_per_minute, "burst_requests", burst_requests
        )
        self._tokens = described("tokens_per_minute", tokens_per_minute, "burst_tokens", burst_tokens)
        self._count = TokenCount(estimate_tokens, tokens_used)
        if on_limited is not None:
            arguments.plain("on_limited", on_limited)
        self._max_wait_s = arguments.number("max_wait_seconds", max_wait_seconds, infinite=True)
        self._respect_retry_after = arguments.flag("respect_retry_after", respect_retry_after)
        self._on_limited = on_limited
        self.name: str = arguments.text("name", name)
        arguments.plain("clock", clock)
        arguments.plain("sleep", sleep)
        if asleep is not None:
            arguments.function("asleep", asleep)
        self._clock = clock
        self._sleep = sleep
        self._asleep = asleep
        self._lock = fork_safe_lock()
        self._paused_until_s = float("-inf")
        self._held_s = 0.0  # how long pauses held the queue up, all together
        self._admitted = self._delayed = self._refused = 0
        self._observe_only = arguments.flag("observe_only", observe_only)
        self._enabled = True

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``fn(*args, **kwargs)``, begun when it may.

        Raises:
            RateLimitExceededError: Refused; *fn* was not called.
            TypeError: *fn* is an async function: use :meth:`acall`.
        """
        return self._call(fn, args, kwargs, args)

    def _call(
        self,
        fn: Callable[..., T],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        seen: tuple[object, ...],
    ) -> T:
        """:meth:`call`; what the estimate sees of *args* is *seen*."""
        if not self._enabled:
            return fn(*args, **kwargs)
        with self._reserved(seen, kwargs) as reservation:
            reservation.wait(self._sleep)
            result = fn(*args, **kwargs)
            if isinstance(result, UNBEGUN):
                refuse_unbegun(fn, result, "is called with acall(), not call()")
            reservation.returned(result)
        return result

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``await fn(*args, **kwargs)``, begun when it may; see :meth:`call`."""
        return await self._acall(fn, args, kwargs, args)

    async def _acall(
        self,
        fn: Callable[..., Awaitable[T]],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        seen: tuple[object, ...],
    ) -> T:
        if not self._enabled:
            return await fn(*args, **kwargs)
        with self._reserved(seen, kwargs) as reservation:
            await reservation.await_turn(self._await_for)
            result = await fn(*args, **kwargs)
            reservation.returned(result)
        return result

    def __call__(self, fn: F) -> F:
        """Decorate *fn* of any colour; a stream begins when it may, and keeps its estimate.

        Raises:
            TypeError: A wrapper could not be right: of a class or a ``staticmethod`` object.
        """
        from techrevati.runtime.rate_limit.forms import decorated

        return decorated(self, fn)

    def reserve(self, tokens: int = 0) -> Reservation:
        """Take one request and *tokens* now; wait ``wait_seconds`` of what is returned before sending.

        Raises:
            RateLimitExceededError: It would have to wait too long; nothing was taken.
        """
        taken, wait_s, _ = self._take(counted("tokens", tokens))
        return Reservation(self if taken else None, tokens, wait_s)

    def pause(self, seconds: float) -> None:
        """Let nobody begin for so many seconds from now, >= 0: the provider asked for it.  The queue stands
        still meanwhile, and goes on in its order and at its rate."""
        now_s = self._clock()
        until_s = now_s + arguments.number("seconds", seconds)
        with self._lock:
            longer_s = until_s - max(now_s, self._paused_until_s)
            if longer_s > 0:
                self._paused_until_s = until_s
                self._held_s += longer_s
                self._requests = self._requests and held(self._requests, longer_s, now_s)
                self._tokens = self._tokens and held(self._tokens, longer_s, now_s)

    @property
    def observe_only(self) -> bool:
        """True while it counts and lets every call begin at once; may be set at any time."""
        return self._observe_only

    @observe_only.setter
    def observe_only(self, only: bool) -> None:
        self._observe_only = arguments.flag("observe_only", only)

    @property
    def enabled(self) -> bool:
        """False while it is switched off and lets every call through uncounted; may be set at any time."""
        return self._enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._enabled = arguments.flag("enabled", on)

    def snapshot(self) -> RateLimitSnapshot:
        """What it knows now."""
        now_s = self._clock()
        with self._lock:
            return RateLimitSnapshot(
                None if self._requests is None else available(self._requests, now_s),
                None if self._tokens is None else available(self._tokens, now_s),
                max(0.0, self._paused_until_s - now_s),
                self._admitted,
                self._delayed,
                self._refused,
            )

    def __repr__(self) -> str:
        limits = [
            f"{round(bucket.per_s * 60, 6):g} {what}/min"
            for what, bucket in ((REQUESTS, self._requests), (TOKENS, self._tokens))
            if bucket is not None
        ]
        return f"RateLimit({self.name!r}, {', '.join(limits)})"

    # --- what every way to call does ------------------------------------------------------------------------

    def _reserved(self, args: tuple[object, ...], kwargs: dict[str, object]) -> CallReservation:
        tokens = 0 if self._tokens is None else self._count.before(self.name, args, kwargs)
        return CallReservation(self, tokens, *self._take(tokens))

    def _take(self, tokens: int) -> tuple[bool, float, float]:
        """Take one request and *tokens*; whether they were taken (not while switched off), seconds to wait
        for them, and how long the queue was held up by now."""
        if not self._enabled:
            return False, 0.0, float("inf")
        allowed_s = self._allowed_s()
        now_s = self._clock()
        observing = self._observe_only
        with self._lock:
            held_s = self._held_s
            requests, bucket, needed_s, limit = after_one_more(
                self._requests, self._tokens, tokens, now_s, self._paused_until_s
            )
            refused = needed_s > allowed_s
            self._refused += refused
            if observing or not refused:
                self._requests, self._tokens = requests, bucket
                self._admitted += 1
                self._delayed += needed_s > 0
        if needed_s > 0:
            try:
                self._tell(RateLimitedCall(limit, needed_s, refused, not observing))
            except BaseException:  # Ctrl-C: nothing will be sent
                if observing or not refused:
                    self._correct(-1, -tokens)
                raise
        if observing:
            return True, 0.0, float("inf")
        if refused:
            raise self._refusal(limit, needed_s, allowed_s)
        return True, needed_s, held_s

    def _wait_longer(self, needed_s: float) -> float:
        """Seconds for which a call waits on that has waited, and was held up by a pause.

        Raises:
            RateLimitExceededError: That is longer than it may: it is refused after all.
        """
        if not self._enabled or self._observe_only:
            return 0.0
        allowed_s = self._allowed_s()
        refused = needed_s > allowed_s
        if refused:
            with self._lock:
                self._refused += 1
                self._admitted -= 1
        self._tell(RateLimitedCall(PAUSE, needed_s, refused))
        if refused:
            raise self._refusal(PAUSE, needed_s, allowed_s)
        return needed_s

    def _allowed_s(self) -> float:
        left_s = remaining_s()
        return self._max_wait_s if left_s is None else min(left_s, self._max_wait_s)

    def _refusal(self, limit: str, needed_s: float, allowed_s: float) -> RateLimitExceededError:
        reason = "wait" if allowed_s >= self._max_wait_s else "deadline"
        return RateLimitExceededError(self.name, limit, needed_s, reason)

    def _correct(self, requests: int, tokens: int) -> None:
        now_s = self._clock()
        with self._lock:
            if requests and self._requests is not None:
                self._requests = taken(self._requests, requests, now_s)
            if tokens and self._tokens is not None:
                self._tokens = taken(self._tokens, tokens, now_s)

    def _used(self, result: object) -> int | None:
        return None if self._tokens is None else self._count.after(self.name, result)

    def _refused_by_provider(self, error: BaseException) -> None:
        if not self._respect_retry_after or not isinstance(error, Exception):
            return
        from techrevati.runtime.failures import FailureKind, FailureOrigin, classify

        failure = classify(error)
        if (
            failure.kind is FailureKind.RATE_LIMIT
            and failure.origin is FailureOrigin.PROVIDER
            and failure.retry_after
        ):
            self.pause(min(failure.retry_after, _LONGEST_PAUSE_S))

    async def _await_for(self, seconds: float) -> None:
        if self._asleep is None:
            import asyncio

            await asyncio.sleep(seconds)
        else:
            await self._asleep(seconds)

    def _tell(self, news: RateLimitedCall) -> None:
        if self._on_limited is None:
            return
        try:
            self._on_limited(news)
        except Exception as trouble:
            logger("rate_limit").warning("on_limited raised %s", error_text(trouble))
