"""No faster than the provider allows: requests and tokens per minute.

A bucket is one number, the moment at which it would be full again; taking moves that moment on.  A call
takes first, and what it took says how long it must wait: nobody polls, and whoever comes first goes first.
How many tokens a call used is known only afterwards, so it reserves an estimate and settles the truth.

Source: the generic cell rate algorithm (ITU-T I.371), which is a token bucket that remembers one time.
"""

from __future__ import annotations

import time
from types import CoroutineType
from typing import TYPE_CHECKING, NamedTuple, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, ParamSpec, Self, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

announce("rate_limit")

REQUESTS, TOKENS = "requests", "tokens"


# --- what it decides ----------------------------------------------------------------------------------------


class Bucket(NamedTuple):
    """A token bucket at rest or in debt.

    Attributes:
        per_s: How much flows in each second.
        burst: How much it holds when it is full.
        full_at_s: When it is full, if nothing more is taken; in the past when it is.
    """

    per_s: float
    burst: float
    full_at_s: float = float("-inf")


def taken(bucket: Bucket, amount: float, now_s: float) -> Bucket:
    """The bucket after *amount* was taken, whether it was there or not; a negative amount is put back."""
    full_at_s = max(bucket.full_at_s, now_s) + amount / bucket.per_s
    return bucket._replace(full_at_s=full_at_s)


def wait_s(bucket: Bucket, now_s: float) -> float:
    """Seconds until what was taken so far is covered; 0 when it is."""
    return max(0.0, bucket.full_at_s - bucket.burst / bucket.per_s - now_s)


def available(bucket: Bucket, now_s: float) -> float:
    """How much may be taken now without waiting; negative while it is in debt."""
    return bucket.burst - max(0.0, bucket.full_at_s - now_s) * bucket.per_s


# --- words --------------------------------------------------------------------------------------------------


class RateLimitExceededError(TechrevatiError):
    """A call was refused before it began: it would have to wait longer than it may.

    Attributes:
        name: The limiter that refused.
        limit: What is used up: ``"requests"``, ``"tokens"``, or ``"pause"`` (the provider said to wait).
        retry_after: Seconds until a call like this one could begin, if no other comes first.
        reason: ``"wait"`` (longer than the longest wait) or ``"deadline"`` (longer than what is left of the
            running deadline).
    """

    def __init__(self, name: str, limit: str, retry_after: float, reason: str = "wait") -> None:
        super().__init__(name, limit, retry_after, reason)
        self.name = name
        self.limit = limit
        self.retry_after = retry_after
        self.reason = reason

    def __str__(self) -> str:
        wait = f"{self.reason}; retry in {self.retry_after:.3g} s"
        return f"rate limit {self.name!r}: {self.limit} used up ({wait})"


class RateLimitSnapshot(NamedTuple):
    """What a limiter knew at one moment.

    Attributes:
        requests, tokens: What may be taken now without waiting, negative while in debt; None without such a
            limit.
        paused_seconds: How long the provider still wants to be left alone.
        admitted: Calls let through so far.
        delayed: Those of them that had to wait, or would have had to if only observing.
        refused: Calls refused so far, or that would have been.
    """

    requests: float | None
    tokens: float | None
    paused_seconds: float
    admitted: int
    delayed: int
    refused: int


class RateLimitedCall(NamedTuple):
    """A call that must wait, or was refused.

    Attributes:
        limit: What is used up: ``"requests"``, ``"tokens"`` or ``"pause"``.
        wait_seconds: How long it waits or would have to.
        refused: True when it is not let through.
        made: False when only observing: the call begins at once.
    """

    limit: str
    wait_seconds: float
    refused: bool
    made: bool = True


class Reservation:
    """What one call took; settle it with what it used, or give it back if nothing was sent.

    The first of :meth:`settle` and :meth:`give_back` counts, later ones change nothing.
    """

    __slots__ = ("_limit", "tokens", "wait_seconds")

    def __init__(self, limit: RateLimit, tokens: int, wait_seconds: float) -> None:
        self._limit: RateLimit | None = limit
        self.tokens: int = tokens
        self.wait_seconds: float = wait_seconds

    def settle(self, tokens: int | None = None) -> None:
        """The call used *tokens*; None means as many as reserved."""
        used = self.tokens if tokens is None else arguments.count("tokens", tokens)
        self._end(used - self.tokens, 0)

    def give_back(self) -> None:
        """Nothing was sent."""
        self._end(-self.tokens, -1)

    def _end(self, tokens: int, requests: int) -> None:
        limit, self._limit = self._limit, None
        if limit is not None and (tokens or requests):
            limit._correct(requests, tokens)


# --- who waits ----------------------------------------------------------------------------------------------


class RateLimit:
    """Calls no faster than so many requests and tokens a minute.  Thread-safe and task-safe, over any number
    of event loops; no lock is held while anybody waits or the caller's code runs.

    Use it as ``limit.call(fn, …)``, ``await limit.acall(fn, …)``, as a decorator of any function, or by hand:
    ``reservation = limit.reserve(tokens)``, wait ``reservation.wait_seconds``, send,
    ``reservation.settle(tokens_used)``.  First come, first served.  A caller that is cancelled or interrupted
    while it waits gives back what it took.

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
        self._requests = _bucket("requests_per_minute", requests_per_minute, "burst_requests", burst_requests)
        self._tokens = _bucket("tokens_per_minute", tokens_per_minute, "burst_tokens", burst_tokens)
        if not callable(estimate_tokens):
            arguments.count("estimate_tokens", estimate_tokens)
        for argument, given in (("tokens_used", tokens_used), ("on_limited", on_limited)):
            if given is not None:
                arguments.function(argument, given)
        self._estimate = estimate_tokens
        self._tokens_used = tokens_used
        self._max_wait_s = arguments.number("max_wait_seconds", max_wait_seconds, infinite=True)
        self._respect_retry_after = respect_retry_after
        self._on_limited = on_limited
        self.name: str = arguments.text("name", name)
        arguments.function("clock", clock)
        self._clock = clock
        self._sleep = sleep
        self._asleep = asleep
        self._lock = fork_safe_lock()
        self._paused_until_s = float("-inf")
        self._admitted = self._delayed = self._refused = 0
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to let every call through uncounted."""

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
        if not self.enabled:
            return fn(*args, **kwargs)
        with self._reserved(seen, kwargs) as reservation:
            while reservation.wait_seconds > 0:
                self._sleep(reservation.wait_seconds)
                reservation.waited()
            reservation.begin()
            result = fn(*args, **kwargs)
            if isinstance(result, CoroutineType):
                result.close()
                raise TypeError("an async function is called with acall(), not call()")
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
        if not self.enabled:
            return await fn(*args, **kwargs)
        with self._reserved(seen, kwargs) as reservation:
            while reservation.wait_seconds > 0:
                await self._await_for(reservation.wait_seconds)
                reservation.waited()
            reservation.begin()
            result = await fn(*args, **kwargs)
            reservation.returned(result)
        return result

    def __call__(self, fn: F) -> F:
        """Decorate *fn* of any colour; a stream begins when it may, and keeps its estimate.

        Raises:
            TypeError: A wrapper could not be right: of a class or a ``staticmethod`` object.
        """
        return _decorated(self, fn)

    def reserve(self, tokens: int = 0) -> Reservation:
        """Take one request and *tokens* now; wait ``wait_seconds`` of what is returned before sending.

        Raises:
            RateLimitExceededError: It would have to wait too long; nothing was taken.
        """
        return Reservation(self, tokens, self._take(arguments.count("tokens", tokens))[0])

    def pause(self, seconds: float) -> None:
        """Let nobody begin for so many seconds from now, >= 0: the provider asked for it."""
        until_s = self._clock() + arguments.number("seconds", seconds)
        with self._lock:
            self._paused_until_s = max(self._paused_until_s, until_s)

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

    def _reserved(self, args: tuple[object, ...], kwargs: dict[str, object]) -> _Reserved:
        tokens = 0 if self._tokens is None else self._estimated(args, kwargs)
        return _Reserved(self, tokens, *self._take(tokens))

    def _estimated(self, args: tuple[object, ...], kwargs: dict[str, object]) -> int:
        if not callable(self._estimate):
            return self._estimate
        try:
            return arguments.count("estimate_tokens", self._estimate(*args, **kwargs))
        except Exception as trouble:
            logger("rate_limit").warning("estimate_tokens of %r failed: %s", self.name, error_text(trouble))
            return 0

    def _take(self, tokens: int, *, again: bool = False) -> tuple[float, float]:
        """Take one request and *tokens*; seconds to wait for them, and the end of the latest pause that this
        minds.  *again*, the call was let through before, and a pause began while it waited."""
        if not self.enabled:
            return 0.0, float("inf")
        left_s = remaining_s()
        now_s = self._clock()
        observing = self.observe_only
        with self._lock:
            until_s = self._paused_until_s
            # Who comes during a pause comes at its end: else all of them would begin at once then.
            then_s = max(now_s, until_s)
            requests, bucket = self._requests, self._tokens
            requests = requests and taken(requests, 1, then_s)
            bucket = bucket and taken(bucket, tokens, then_s)
            flow_s, limit = max(
                (wait_s(requests, then_s) if requests else 0.0, REQUESTS),
                (wait_s(bucket, then_s) if bucket else 0.0, TOKENS),
            )
            if then_s - now_s > flow_s:
                limit = "pause"
            needed_s = then_s - now_s + flow_s
            allowed_s = self._max_wait_s if left_s is None else min(left_s, self._max_wait_s)
            refused = needed_s > allowed_s
            self._refused += refused
            if observing or not refused:
                self._requests, self._tokens = requests, bucket
                self._admitted += not again
                self._delayed += needed_s > 0 and not again
            elif again:
                self._admitted -= 1
        if needed_s > 0:
            self._tell(RateLimitedCall(limit, needed_s, refused, not observing))
        if observing:
            return 0.0, float("inf")
        if refused:
            reason = "wait" if allowed_s >= self._max_wait_s else "deadline"
            raise RateLimitExceededError(self.name, limit, needed_s, reason)
        return needed_s, until_s

    def _correct(self, requests: int, tokens: int) -> None:
        now_s = self._clock()
        with self._lock:
            if requests and self._requests is not None:
                self._requests = taken(self._requests, requests, now_s)
            if tokens and self._tokens is not None:
                self._tokens = taken(self._tokens, tokens, now_s)

    def _used(self, result: object) -> int | None:
        if self._tokens is None:
            return None
        if self._tokens_used is not None:
            try:
                used = self._tokens_used(result)
                return None if used is None else arguments.count("tokens_used", used)
            except Exception as trouble:
                logger("rate_limit").warning("tokens_used of %r failed: %s", self.name, error_text(trouble))
                return None
        from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot

        try:
            usage = UsageSnapshot.from_response(result)
        except (UsageNotFoundError, ValueError, TypeError):
            return None
        return usage.input_tokens + usage.output_tokens + usage.cache_write_tokens + usage.cache_read_tokens

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


_LONGEST_PAUSE_S = 86_400.0


class _Reserved(Reservation):
    """A reservation around one call: given back if nothing was sent, settled with what it used."""

    __slots__ = ("_began", "_of", "_paused_until_s")

    def __init__(self, limit: RateLimit, tokens: int, wait_seconds: float, paused_until_s: float) -> None:
        super().__init__(limit, tokens, wait_seconds)
        self._of = limit
        self._paused_until_s = paused_until_s
        self._began = False

    def waited(self) -> None:
        """The wait is over; if the provider asked for a pause meanwhile, take a turn behind that."""
        self.wait_seconds = 0.0
        if self._of._paused_until_s > self._paused_until_s:
            self.wait_seconds, self._paused_until_s = self._of._take(self.tokens, again=True)

    def begin(self) -> None:
        self._began = True

    def returned(self, result: object) -> None:
        self.settle(self._of._used(result))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self._began:
            self.give_back()
        elif error is not None:
            self.settle()  # nobody knows what it used: the estimate stays
            self._of._refused_by_provider(error)


def _bucket(name: str, per_minute: float | None, burst_name: str, burst: float | None) -> Bucket | None:
    if per_minute is None:
        if burst is not None:
            raise ValueError(f"{burst_name} needs {name}, got {burst!r} without")
        return None
    per_minute = arguments.positive(name, per_minute)
    size = per_minute if burst is None else arguments.positive(burst_name, burst)
    return Bucket(per_minute / 60.0, size)


def _decorated(limit: RateLimit, fn: F) -> F:
    from functools import update_wrapper

    from techrevati.runtime._core.wrapping import COROUTINE, STREAMS, colour, innermost, inside

    kind = colour(fn)
    if kind in STREAMS:
        return inside(lambda args, kwargs: _Entrance(limit, args, kwargs), fn)
    call: Callable[..., Any] = fn
    awaited: Callable[..., Awaitable[object]] = cast("Any", fn)

    async def acalled(*args: object, **kwargs: object) -> object:
        return await limit.acall(awaited, *args, **kwargs)

    def called(*args: object, **kwargs: object) -> object:
        return limit.call(call, *args, **kwargs)

    wrapper = acalled if COROUTINE in (kind, colour(innermost(fn))) else called
    return update_wrapper(wrapper, fn)  # type: ignore[return-value]


class _Entrance:
    """The way into one stream: reserve, wait, go."""

    __slots__ = ("_args", "_kwargs", "_limit", "_reserved")

    def __init__(self, limit: RateLimit, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        self._limit, self._args, self._kwargs = limit, args, kwargs
        self._reserved: _Reserved | None = None

    def _reserve(self) -> _Reserved | None:
        if self._limit.enabled:
            self._reserved = self._limit._reserved(self._args, self._kwargs)
        return self._reserved

    def __enter__(self) -> None:
        reserved = self._reserve()
        if reserved is None:
            return
        try:
            while reserved.wait_seconds > 0:
                self._limit._sleep(reserved.wait_seconds)
                reserved.waited()
        except BaseException:
            reserved.give_back()
            raise
        reserved.begin()

    async def __aenter__(self) -> None:
        reserved = self._reserve()
        if reserved is None:
            return
        try:
            while reserved.wait_seconds > 0:
                await self._limit._await_for(reserved.wait_seconds)
                reserved.waited()
        except BaseException:
            reserved.give_back()
            raise
        reserved.begin()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._reserved is not None:
            self._reserved.__exit__(kind, error, trace)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)
