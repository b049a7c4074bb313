"""The breaker for tasks: the same object behind, and an ``await`` where the caller's code runs."""

from __future__ import annotations

import time

from techrevati.runtime.circuit_breaker.breaker import CircuitBreaker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import ParamSpec, Self, TypeVar, Unpack

    from techrevati.runtime.circuit_breaker.guard import CircuitGuard
    from techrevati.runtime.circuit_breaker.options import BreakerOptions
    from techrevati.runtime.circuit_breaker.snapshot import BreakerSnapshot
    from techrevati.runtime.circuit_breaker.vocabulary import CircuitState

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])


class AsyncCircuitBreaker:
    """:class:`CircuitBreaker` for coroutines: same arguments, same decisions, every method awaitable.

    It belongs to no event loop; tasks of several loops and threads may share it.  Cancelling a call gives
    its probe permit back.  As a decorator it takes ``async def`` and async generator functions; around a
    block it is ``async with breaker:``.
    """

    __slots__ = ("__weakref__", "_breaker")

    def __init__(
        self,
        name: str,
        failure_threshold: int = 5,
        recovery_timeout_seconds: float = 60.0,
        half_open_max_probes: int = 1,
        clock: Callable[[], float] = time.monotonic,
        **options: Unpack[BreakerOptions],
    ) -> None:
        self._breaker = CircuitBreaker(
            name, failure_threshold, recovery_timeout_seconds, half_open_max_probes, clock, **options
        )

    @property
    def observe_only(self) -> bool:
        """True while it measures and tells but never refuses; may be set at any time."""
        return self._breaker.observe_only

    @observe_only.setter
    def observe_only(self, only: bool) -> None:
        self._breaker.observe_only = only

    @property
    def enabled(self) -> bool:
        """False while it is switched off; may be set at any time, see :attr:`CircuitBreaker.enabled`."""
        return self._breaker.enabled

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._breaker.enabled = on

    @property
    def name(self) -> str:
        """The name it was given; it stands in every refusal."""
        return self._breaker.name

    def __repr__(self) -> str:
        return f"Async{self._breaker!r}"

    async def call(self, coro_factory: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await ``coro_factory(*args, **kwargs)`` and learn from how it ends; see
        :meth:`CircuitBreaker.call`."""
        breaker = self._breaker
        gate = breaker._quiet
        if gate is None:
            window = breaker._steady
            if window is not None:
                started_s = 0.0 if breaker._slow_s is None else breaker._clock()
                try:
                    made = coro_factory(*args, **kwargs) if kwargs or args else coro_factory()  # type: ignore[call-arg]  # pyright: ignore
                    result = await made
                except Exception as error:
                    breaker._failed((window.epoch, 0, started_s), error)
                    raise
                if breaker._timeless:
                    window.good()
                    return result
                now_s, slow_s = breaker._clock(), breaker._slow_s
                if now_s < window.until_s and (slow_s is None or now_s - started_s <= slow_s):
                    window.good()
                else:
                    breaker._settle((window.epoch, 0, started_s), True)
                return result
            return await self._call_watched(coro_factory, *args, **kwargs)
        try:
            made = coro_factory(*args, **kwargs) if kwargs or args else coro_factory()  # type: ignore[call-arg]  # pyright: ignore
            result = await made
        except Exception as error:
            breaker._failed((gate.epoch, 0, 0.0), error)
            raise
        if gate is breaker._quiet:
            return result
        breaker._settle((gate.epoch, 0, 0.0), True)
        return result

    async def _call_watched(
        self, coro_factory: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        breaker = self._breaker
        if breaker._shared is not None:
            async with breaker.guard() as around:
                result = await coro_factory(*args, **kwargs)
                around.returned(result)
            return result
        ticket = breaker._begin()
        try:
            result = await coro_factory(*args, **kwargs)
        except Exception as error:
            breaker._failed(ticket, error)
            raise
        except BaseException:  # cancelled: nobody learnt anything about the callee
            breaker._give_back(ticket)
            raise
        breaker._returned(ticket, result)
        if not breaker._proven:
            breaker._prove()
        return result

    def __call__(self, fn: F) -> F:
        """Decorate *fn*: each call, or each stream, is one call of this breaker.

        Raises:
            TypeError: *fn* is not an ``async def`` or async generator function.
        """
        from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, COROUTINE, colour, innermost

        if not {colour(fn), colour(innermost(fn))} & {COROUTINE, ASYNC_GENERATOR}:
            raise TypeError(f"an AsyncCircuitBreaker decorates async functions; use as_sync() for {fn!r}")
        return self._breaker(fn)

    def guard(self) -> CircuitGuard:
        """A context manager for one call, for a plain ``with`` around an ``await``."""
        return self._breaker.guard()

    async def __aenter__(self) -> Self:
        breaker = self._breaker
        if breaker._shared is None:
            breaker.__enter__()
        else:
            await breaker._shared.enter(breaker)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        breaker = self._breaker
        if breaker._shared is None:
            breaker.__exit__(kind, error, trace)
        else:
            await breaker._shared.leave(breaker, kind, error, trace)

    async def record_success(self) -> None:
        """Count a success that the caller saw; while open it changes nothing."""
        await self._off_loop(self._breaker.record_success)

    async def record_failure(self) -> None:
        """Count a failure that the caller saw; while open it changes nothing."""
        await self._off_loop(self._breaker.record_failure)

    async def state(self) -> CircuitState:
        """The state now; HALF_OPEN once the recovery time is over."""
        return await self._off_loop(self._breaker.state)

    async def is_open(self) -> bool:
        """True while every call is refused; False while half-open."""
        return await self._off_loop(self._breaker.is_open)

    async def reset(self) -> None:
        """Close it, end any forcing and forget everything; calls that still run no longer count."""
        await self._off_loop(self._breaker.reset)

    async def force_open(self) -> None:
        """Refuse every call until :meth:`reset`."""
        await self._off_loop(self._breaker.force_open)

    async def disable(self) -> None:
        """Let every call through and count nothing until :meth:`reset`."""
        await self._off_loop(self._breaker.disable)

    async def snapshot(self) -> BreakerSnapshot:
        """Everything it knows now, frozen."""
        return await self._off_loop(self._breaker.snapshot)

    async def _off_loop(self, work: Callable[[], T]) -> T:
        shared = self._breaker._shared
        return work() if shared is None else await shared.off_loop(work)

    def as_sync(self) -> CircuitBreaker:
        """The same breaker for threads: one state, two ways to call."""
        return self._breaker
