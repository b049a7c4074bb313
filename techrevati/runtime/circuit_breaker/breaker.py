"""The breaker for threads: a clock, a lock around each decision, and the caller's code outside both."""

from __future__ import annotations

import time

from techrevati.runtime._core import arguments
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.unbegun import UNBEGUN, refuse_unbegun
from techrevati.runtime.circuit_breaker.books import BreakerBooks, refusal
from techrevati.runtime.circuit_breaker.core import (
    DISABLED,
    FORCED_OPEN,
    Gate,
    Rules,
    Tally,
    retry_after_s,
    seconds_until,
    state_at,
)
from techrevati.runtime.circuit_breaker.guard import CircuitGuard, circuits_entered
from techrevati.runtime.circuit_breaker.vocabulary import CircuitOpenError, CircuitState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, Self, TypeVar

    from techrevati.runtime.circuit_breaker.async_breaker import AsyncCircuitBreaker
    from techrevati.runtime.circuit_breaker.books import StateListener, Ticket
    from techrevati.runtime.circuit_breaker.shared import SharedGate
    from techrevati.runtime.circuit_breaker.snapshot import BreakerSnapshot
    from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow
    from techrevati.runtime.stores.protocol import Store

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

MINIMUM_LEASE_SECONDS = 60.0


class CircuitBreaker(BreakerBooks):
    """Refuse calls to a dependency that keeps failing, until it had time to recover.

    One object may be used from any number of threads, and its :meth:`as_async` face from any number of
    tasks and event loops at the same time.  No lock is held while the caller's code runs.  Use it as
    ``breaker.call(fn, …)``, as a decorator ``@breaker`` of a ``def``, ``async def``, generator or async
    generator function, or as ``with breaker:`` around a block (also one that awaits).

    A return is a success, an exception a failure; a cancelled call proves nothing.  The outcome of a stream
    is known at its end, and a consumer that closes it early proves nothing.

    Args:
        name: Stands in refusals; not empty.
        failure_threshold: Consecutive failures that open it, >= 1; not used when a window is given.
        recovery_timeout_seconds: Seconds it stays open before probes are let in, >= 0; ``inf`` keeps it
            open until :meth:`reset`.
        half_open_max_probes: Probes admitted while half-open, >= 1.  By consecutive failures: so many at
            once; the first good one closes the breaker, the first failed one opens it again.  With a
            window: so many altogether, judged together by the same rates.
        clock: Seconds from any fixed point; monotonic by default, so wall-clock jumps do nothing.
        probe_lease_seconds: A probe that has not ended after this many seconds no longer holds its permit
            (the half-open maximum wait); its outcome still counts if nothing was decided meanwhile.
            None means the recovery time, at least 60 s.
        on_state_change: Called as ``(name, before, after)`` outside the lock by the thread that caused
            the change; half-open is told when the first probe starts.  What it raises is logged.  Two
            threads may tell their changes in the other order.
        window_calls: Judge the last so many calls by rate.
        window_seconds: Judge the calls of the last so many seconds by rate, to a twentieth of that; >= 0.001.
        failure_rate: Share of failed calls, in (0, 1], that opens it; 0.5 when a window is given.
        slow_call_seconds: A call that takes longer counts as slow; a stream is timed from its first item to
            its end, its consumer's pauses included.
        slow_call_rate: Share of slow calls, in (0, 1], that opens it; 1.0 when *slow_call_seconds* is given.
        minimum_calls: Calls the window must hold before it is judged, >= 1; 10 by default, and never more
            than *window_calls*.
        counts_as_failure: Says whether an exception speaks against the dependency; every one when None.
            One that does not proves nothing, like a cancellation; see ``failures.provider_failures``.
        result_is_failure: Says whether a returned value speaks against it.  If this or *counts_as_failure*
            raises, that is logged, and the call counts as failed.
        open_growth: Factor by which the open time grows each time a probe round fails, >= 1.
        max_open_seconds: Bound of that growth.
        open_jitter: The open time, grown and bounded, is lengthened by up to this share at random, >= 0.
        respect_retry_after: Whether it never probes before the latest moment that the failures which opened
            it asked for (Retry-After and its kin, see ``failures.classify``).
        observe_only: Measure and tell, but never refuse.
        rng: A number in [0, 1); ``random.random`` when None.
        store: Breakers of one name on one store (see ``stores``) are one breaker, in however many processes:
            give them the same arguments.  Each call then reads the store, and writes it when something
            changes.  *clock* then counts from 1970: ``time.time`` where it is the default.
            *on_state_change* is told by the process that caused a change, *observe_only* is each one's own.
            ``as_async()`` waits for the store in a thread.
        when_store_fails: What a store that fails means for a call: ``"local"``: this process decides alone,
            beginning with the last it has seen; ``"allow"`` or ``"refuse"`` it.  One warning is logged, the
            store is asked again after 5 s, and what was counted meanwhile is forgotten then.

    Raises:
        StoreError: By :meth:`reset`, :meth:`force_open` and :meth:`disable` alone, when the store fails.
        ValueError, TypeError: An argument is out of range; the text names it.

    >>> breaker = CircuitBreaker("model-api", failure_threshold=2, recovery_timeout_seconds=30)
    >>> breaker.call(max, 1, 2)
    2
    >>> breaker.record_failure(), breaker.record_failure()
    (None, None)
    >>> breaker.call(max, 1, 2)
    Traceback (most recent call last):
        ...
    techrevati.runtime.circuit_breaker.vocabulary.CircuitOpenError: circuit 'model-api' is open; retry in 30 s
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self,
        name: str,
        failure_threshold: int = 5,
        recovery_timeout_seconds: float = 60.0,
        half_open_max_probes: int = 1,
        clock: Callable[[], float] = time.monotonic,
        *,
        probe_lease_seconds: float | None = None,
        on_state_change: StateListener | None = None,
        window_calls: int | None = None,
        window_seconds: float | None = None,
        failure_rate: float | None = None,
        slow_call_seconds: float | None = None,
        slow_call_rate: float | None = None,
        minimum_calls: int | None = None,
        counts_as_failure: Callable[[Exception], bool] | None = None,
        result_is_failure: Callable[[object], bool] | None = None,
        open_growth: float = 1.0,
        max_open_seconds: float = float("inf"),
        open_jitter: float = 0.0,
        respect_retry_after: bool = True,
        observe_only: bool = False,
        rng: Callable[[], float] | None = None,
        store: Store | None = None,
        when_store_fails: str = "local",
    ) -> None:
        arguments.text("name", name)
        threshold = arguments.count("failure_threshold", failure_threshold, minimum=1)
        recovery_s = arguments.number("recovery_timeout_seconds", recovery_timeout_seconds, infinite=True)
        max_probes = arguments.count("half_open_max_probes", half_open_max_probes, minimum=1)
        arguments.plain("clock", clock)
        lease_s = (
            max(MINIMUM_LEASE_SECONDS, recovery_s)
            if probe_lease_seconds is None
            else arguments.positive("probe_lease_seconds", probe_lease_seconds)
        )
        for argument, given in (
            ("on_state_change", on_state_change),
            ("counts_as_failure", counts_as_failure),
            ("result_is_failure", result_is_failure),
            ("rng", rng),
        ):
            if given is not None:
                arguments.plain(argument, given)
        self._window, self._slow_s, minimum = None, None, 1
        by_rate = window_calls, window_seconds, failure_rate, slow_call_seconds, slow_call_rate, minimum_calls
        if any(value is not None for value in by_rate):
            from techrevati.runtime.circuit_breaker.rules import rates

            self._window, failure_rate, self._slow_s, slow_call_rate, minimum = rates(*by_rate)
        self._rules = Rules(
            threshold,
            recovery_s,
            max_probes,
            lease_s,
            failure_rate=failure_rate,
            slow_rate=slow_call_rate,
            minimum_calls=minimum,
            growth=arguments.number("open_growth", open_growth, minimum=1.0),
            longest_s=arguments.number("max_open_seconds", max_open_seconds, infinite=True),
            jitter=arguments.number("open_jitter", open_jitter),
        )
        self._name = name
        self._clock = clock
        self._listener = on_state_change
        self._counts_as_failure = counts_as_failure
        self._result_is_failure = result_is_failure
        self._respect_retry_after = arguments.flag("respect_retry_after", respect_retry_after)
        self._observe_only = arguments.flag("observe_only", observe_only)
        self._rng = rng
        self._lock = fork_safe_lock()
        self._gate = Gate()
        # The gate again while a success would change nothing: closed, no failure on record, nothing counted.
        # A call then needs neither the lock nor the clock.
        self._quiet: Gate | None = None
        # Until a call has returned, results are looked at: a coroutine is no success.  A check in every call
        # would cost a tenth of it, and who passes an async function does so from the first call on.
        self._proven = False
        # The window again while one more good call could not open the breaker; it is counted without the
        # lock.
        self._steady: CountWindow | TimeWindow | None = None
        self._timeless: bool = window_seconds is None and self._slow_s is None
        self._shared: SharedGate | None = None
        if store is not None or when_store_fails != "local":
            self._share(store, when_store_fails)
        self._set_locked(self._gate)

    def _share(self, store: Store | None, when_store_fails: str) -> None:
        from techrevati.runtime.circuit_breaker.shared import SHARED, WHEN_STORE_FAILS, SharedGate

        if store is None:
            raise ValueError(f"when_store_fails needs a store, got {when_store_fails!r} without")
        if not callable(getattr(store, "update", None)):
            raise TypeError(f"store must be a store, see techrevati.runtime.stores; got {store!r}")
        if when_store_fails not in WHEN_STORE_FAILS:
            allowed = ", ".join(map(repr, WHEN_STORE_FAILS))
            raise ValueError(f"when_store_fails must be one of {allowed}; got {when_store_fails!r}")
        if self._clock is time.monotonic:  # counts from the start of the machine, which a file outlives
            self._clock = time.time
        self._shared = SharedGate(
            self._name, store, when_store_fails, self._rules, self._window, fork_safe_lock()
        )
        self._gate = Gate(manual=SHARED)  # neither closed nor open: every call asks the shared one

    # --- around a call -------------------------------------------------------------------------------------

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` and learn from how it ends.

        Raises:
            CircuitOpenError: Refused; *fn* was not called.
            Exception: Whatever *fn* raised, unchanged, after it was counted.
            TypeError: *fn* is an async function (seen at the first call): use :meth:`as_async`.
        """
        gate = self._quiet
        if gate is None:
            if (window := self._steady) is not None:
                return self._call_counted(window, fn, args, kwargs)
            probe_at_s = self._gate.probe_at_s
            if probe_at_s is not None and not self._observe_only and (now_s := self._clock()) < probe_at_s:
                wait_s = probe_at_s - now_s  # seconds_until, without the cost of a call
                if now_s + wait_s < probe_at_s:
                    wait_s = seconds_until(probe_at_s, now_s)
                raise refusal(CircuitOpenError, self._name, wait_s)
            return self._call_watched(fn, *args, **kwargs)
        try:
            # Unpacking nothing would cost as much as all the rest here.
            result = fn(*args, **kwargs) if kwargs or args else fn()  # type: ignore[call-arg]  # pyright: ignore
        except Exception as error:
            self._failed((gate.epoch, 0, 0.0), error)
            raise
        if gate is self._quiet:
            return result
        self._settle((gate.epoch, 0, 0.0), True)
        return result

    def _call_counted(
        self,
        window: CountWindow | TimeWindow,
        fn: Callable[..., T],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> T:
        slow_s = self._slow_s
        started_s = 0.0 if slow_s is None else self._clock()
        try:
            result = fn(*args, **kwargs) if kwargs or args else fn()
        except Exception as error:
            self._failed((window.epoch, 0, started_s), error)
            raise
        if not self._timeless:
            now_s = self._clock()
            if now_s >= window.until_s or (slow_s is not None and now_s - started_s > slow_s):
                self._settle((window.epoch, 0, started_s), True)
                return result
        window.good()
        return result

    def _call_watched(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        ticket = self._begin()
        try:
            result = fn(*args, **kwargs)
        except Exception as error:
            self._failed(ticket, error)
            raise
        except BaseException:  # cancelled: nobody learnt anything about the callee
            self._give_back(ticket)
            raise
        if isinstance(result, UNBEGUN):
            try:
                refuse_unbegun(fn, result, f"needs as_async() of circuit {self._name!r}")
            except TypeError:
                self._give_back(ticket)
                raise
        self._returned(ticket, result)
        if not self._proven:
            self._prove()
        return result

    def __call__(self, fn: F) -> F:
        """Decorate *fn*: each call, or each stream, is one call of this breaker.

        Raises:
            TypeError: A wrapper could not be right: of a class, of a ``staticmethod`` object, or of a
                stream by a breaker that judges returned values.
        """
        from techrevati.runtime._core.wrapping import STREAMS, colour, wrapped

        if self._result_is_failure is not None and colour(fn) in STREAMS:
            raise TypeError(f"result_is_failure judges returned values, and a stream has none: {fn!r}")
        if self._shared is not None:
            from techrevati.runtime.circuit_breaker.shared import around_async

            return around_async(self, fn) or wrapped(fn, self.guard)
        return wrapped(fn, self.guard)

    def guard(self) -> CircuitGuard:
        """A context manager for one call; unlike ``with breaker:`` it may be entered in one context and
        left in another, as generators do."""
        return CircuitGuard(self)

    def __enter__(self) -> Self:
        self._entered(self._begin())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end(self._left(), error)

    def _entered(self, ticket: Ticket) -> None:
        entered = circuits_entered()
        entered.set((*entered.get(), (self, ticket)))

    def _left(self) -> Ticket:
        entered = circuits_entered()
        inside = entered.get()
        for at in range(len(inside) - 1, -1, -1):
            breaker, ticket = inside[at]
            if breaker is self:
                entered.set(inside[:at] + inside[at + 1 :])
                return ticket
        raise RuntimeError(
            f"'with' of circuit {self._name!r} was entered in another context; use 'with breaker.guard()'"
        )

    # --- by hand -------------------------------------------------------------------------------------------

    def record_success(self) -> None:
        """Count a success that the caller saw; while open it changes nothing."""
        self._settle(None, True)

    def record_failure(self) -> None:
        """Count a failure that the caller saw; while open it changes nothing."""
        self._settle(None, False)

    def reset(self) -> None:
        """Close it, end any forcing and forget everything; calls that still run no longer count."""
        self._override(None)

    def force_open(self) -> None:
        """Refuse every call until :meth:`reset`; refusals then carry no ``retry_after``."""
        self._override(FORCED_OPEN)

    def disable(self) -> None:
        """Let every call through and count nothing until :meth:`reset`."""
        self._override(DISABLED)

    # --- what it knows -------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name it was given; it stands in every refusal."""
        return self._name

    @property
    def observe_only(self) -> bool:
        """True while it measures and tells but never refuses; may be set at any time."""
        return self._observe_only

    @observe_only.setter
    def observe_only(self, only: bool) -> None:
        self._observe_only = arguments.flag("observe_only", only)

    @property
    def enabled(self) -> bool:
        """False while it is switched off; setting it is :meth:`disable`, or :meth:`reset` after that."""
        gate = self._gate if self._shared is None else self._shared.look(self._clock()).gate
        return gate.manual is not DISABLED

    @enabled.setter
    def enabled(self, on: bool) -> None:
        if arguments.flag("enabled", on) is not self.enabled:
            self._override(None if on else DISABLED)

    def state(self) -> CircuitState:
        """The state now; HALF_OPEN once the recovery time is over."""
        now_s = self._clock()
        return state_at(self._gate if self._shared is None else self._shared.look(now_s).gate, now_s)

    def is_open(self) -> bool:
        """True while every call is refused; False while half-open."""
        return self.state() is CircuitState.OPEN

    def snapshot(self) -> BreakerSnapshot:
        """Everything it knows now, frozen."""
        from techrevati.runtime.circuit_breaker.snapshot import BreakerSnapshot

        now_s = self._clock()
        shared = None if self._shared is None else self._shared.look(now_s)
        with self._lock:
            gate = self._gate if shared is None else shared.gate
            window = self._window if shared is None else shared.window
            tally = Tally()
            if window is not None:
                tally = window.at(now_s)
                if shared is None:
                    self._judge_good_locked(tally)
            calls, failed, slow = tally.calls, tally.failed, tally.slow
        return BreakerSnapshot(
            self._name,
            state_at(gate, now_s),
            retry_after_s(gate, now_s, self._rules),
            gate.failures,
            calls,
            failed,
            slow,
            sum(end_s > now_s for _, end_s in gate.probes),
            gate.trips,
            gate.manual or ("observe_only" if self._observe_only else "normal"),
        )

    def as_async(self) -> AsyncCircuitBreaker:
        """The same breaker for tasks: one state, two ways to call."""
        from techrevati.runtime.circuit_breaker.async_breaker import AsyncCircuitBreaker

        face = AsyncCircuitBreaker.__new__(AsyncCircuitBreaker)
        face._breaker = self
        return face

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {self.state().value})"
