"""The breaker for threads: a clock, a lock around each decision, and the caller's code outside both."""

from __future__ import annotations

import time
from _thread import allocate_lock

from techrevati.runtime._core import arguments
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.circuit_breaker.core import (
    DISABLED,
    FORCED_OPEN,
    Gate,
    Rules,
    Tally,
    admits,
    given_back,
    retry_after_s,
    seconds_until,
    settled,
    started,
    state_at,
    tripped,
)
from techrevati.runtime.circuit_breaker.vocabulary import CircuitOpenError, CircuitState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar
    from typing import Any, ParamSpec, Self, TypeAlias, TypeVar

    from techrevati.runtime.circuit_breaker.async_breaker import AsyncCircuitBreaker
    from techrevati.runtime.circuit_breaker.snapshot import BreakerSnapshot
    from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])
    StateListener: TypeAlias = Callable[[str, CircuitState, CircuitState], object]

announce("circuit_breaker")

MINIMUM_LEASE_SECONDS = 60.0
_UNCOUNTED = -1  # the epoch of a call that is only let through because the breaker merely observes
_refusal = CircuitOpenError.__new__


class CircuitBreaker:
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

    Raises:
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

    __slots__ = (
        "__weakref__",
        "_clock",
        "_counts_as_failure",
        "_gate",
        "_listener",
        "_lock",
        "_name",
        "_observe_only",
        "_quiet",
        "_respect_retry_after",
        "_result_is_failure",
        "_rng",
        "_rules",
        "_slow_s",
        "_steady",
        "_timeless",
        "_window",
    )

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
    ) -> None:
        arguments.text("name", name)
        threshold = arguments.count("failure_threshold", failure_threshold, minimum=1)
        recovery_s = arguments.number("recovery_timeout_seconds", recovery_timeout_seconds, infinite=True)
        max_probes = arguments.count("half_open_max_probes", half_open_max_probes, minimum=1)
        arguments.function("clock", clock)
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
                arguments.function(argument, given)
        self._window = _window(window_calls, window_seconds)
        by_rate = self._window is not None
        for argument, value in (
            ("failure_rate", failure_rate),
            ("slow_call_seconds", slow_call_seconds),
            ("slow_call_rate", slow_call_rate),
            ("minimum_calls", minimum_calls),
        ):
            if value is not None and not by_rate:
                raise ValueError(f"{argument} needs window_calls or window_seconds, got {value!r} without")
        if slow_call_rate is not None and slow_call_seconds is None:
            raise ValueError(f"slow_call_rate needs slow_call_seconds, got {slow_call_rate!r} without")
        self._slow_s = (
            None if slow_call_seconds is None else arguments.number("slow_call_seconds", slow_call_seconds)
        )
        if by_rate:
            failure_rate = arguments.share("failure_rate", 0.5 if failure_rate is None else failure_rate)
            if self._slow_s is not None:
                slow_call_rate = arguments.share(
                    "slow_call_rate", 1.0 if slow_call_rate is None else slow_call_rate
                )
        self._rules = Rules(
            threshold,
            recovery_s,
            max_probes,
            lease_s,
            failure_rate=failure_rate,
            slow_rate=slow_call_rate,
            minimum_calls=_minimum_calls(minimum_calls, window_calls),
            growth=arguments.number("open_growth", open_growth, minimum=1.0),
            longest_s=arguments.number("max_open_seconds", max_open_seconds, infinite=True),
            jitter=arguments.number("open_jitter", open_jitter),
        )
        self._name = name
        self._clock = clock
        self._listener = on_state_change
        self._counts_as_failure = counts_as_failure
        self._result_is_failure = result_is_failure
        self._respect_retry_after = respect_retry_after
        self._observe_only = observe_only
        self._rng = rng
        self._lock = allocate_lock()
        self._gate = Gate()
        # The gate again while a success would change nothing: closed, no failure on record, nothing counted.
        # A call then needs neither the lock nor the clock.
        self._quiet: Gate | None = None
        # The window again while one more good call could not open the breaker; it is counted without the
        # lock.
        self._steady: CountWindow | TimeWindow | None = None
        self._timeless: bool = window_seconds is None and self._slow_s is None
        self._set_locked(self._gate)

    # --- around a call -------------------------------------------------------------------------------------

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` and learn from how it ends.

        Raises:
            CircuitOpenError: Refused; *fn* was not called.
            Exception: Whatever *fn* raised, unchanged, after it was counted.
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
                raise _refusal(CircuitOpenError, self._name, wait_s)
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
        self._returned(ticket, result)
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
        return wrapped(fn, self.guard)

    def guard(self) -> CircuitGuard:
        """A context manager for one call; unlike ``with breaker:`` it may be entered in one context and
        left in another, as generators do."""
        return CircuitGuard(self)

    def __enter__(self) -> Self:
        entered = _entered()
        entered.set((*entered.get(), (self, self._begin())))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        entered = _entered()
        inside = entered.get()
        for at in range(len(inside) - 1, -1, -1):
            breaker, ticket = inside[at]
            if breaker is self:
                entered.set(inside[:at] + inside[at + 1 :])
                self._end(ticket, error)
                return
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
        self._observe_only = only

    def state(self) -> CircuitState:
        """The state now; HALF_OPEN once the recovery time is over."""
        return state_at(self._gate, self._clock())

    def is_open(self) -> bool:
        """True while every call is refused; False while half-open."""
        return self.state() is CircuitState.OPEN

    def snapshot(self) -> BreakerSnapshot:
        """Everything it knows now, frozen."""
        from techrevati.runtime.circuit_breaker.snapshot import BreakerSnapshot

        now_s = self._clock()
        with self._lock:
            gate = self._gate
            tally = Tally()
            if self._window is not None:
                tally = self._window.at(now_s)
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

    # --- what every way to call does -----------------------------------------------------------------------

    def _begin(self) -> Ticket:
        """Admit one call or raise CircuitOpenError."""
        gate = self._gate
        if gate.probe_at_s is None and gate.manual is None:
            return gate.epoch, 0, 0.0 if self._slow_s is None else self._clock()
        now_s = self._clock()
        with self._lock:
            before = after = self._gate
            admitted = admits(before, now_s, self._rules)
            if admitted:
                self._gate = after = started(before, now_s, self._rules)
        if not admitted:
            if self._observe_only:
                return _UNCOUNTED, 0, now_s
            raise _refusal(CircuitOpenError, self._name, retry_after_s(before, now_s, self._rules))
        if after.last_probe == 1 and before.last_probe == 0:
            try:
                self._tell(CircuitState.OPEN, CircuitState.HALF_OPEN)
            except BaseException:
                self._give_back((after.epoch, after.last_probe, now_s))
                raise
        return after.epoch, after.last_probe, now_s

    def _end(self, ticket: Ticket, error: BaseException | None) -> None:
        if error is None:
            self._settle(ticket, True)
        elif isinstance(error, Exception):
            self._failed(ticket, error)
        else:
            self._give_back(ticket)

    def _returned(self, ticket: Ticket, result: object) -> None:
        self._settle(ticket, not self._bad_result(ticket, result))

    def _bad_result(self, ticket: Ticket, result: object) -> bool:
        judge = self._result_is_failure
        return judge is not None and self._speaks_against(ticket, judge, result)

    def _failed(self, ticket: Ticket, error: Exception) -> None:
        judge = self._counts_as_failure
        if judge is None or self._speaks_against(ticket, judge, error):
            self._settle(ticket, False, error)
        else:
            self._give_back(ticket)  # it speaks about the call, not about the dependency

    def _speaks_against(self, ticket: Ticket, judge: Callable[[Any], bool], what: object) -> bool:
        try:
            return bool(judge(what))
        except Exception as trouble:
            logger("circuit_breaker").warning("a judge of %r raised %s", self._name, error_text(trouble))
            return True
        except BaseException:
            self._give_back(ticket)
            raise

    def _settle(self, ticket: Ticket | None, ok: bool, error: Exception | None = None) -> None:
        """Count one outcome; *ticket* None means one of the current epoch."""
        now_s = self._clock()
        floor_s = self._asked_for_s(error)
        spread = 0.0 if ok or not self._rules.jitter else self._random()
        epoch, number, started_s = ticket or (None, 0, 0.0)
        slow = self._slow_s is not None and ticket is not None and now_s - started_s > self._slow_s
        with self._lock:
            before = self._gate
            if epoch is None:
                epoch = before.epoch
            tally: Tally | None = None
            if self._window is not None and epoch == before.epoch and _resting(before):
                tally = self._window.add(ok, slow, now_s)
                self._judge_good_locked(tally)
            after = settled(
                before,
                epoch,
                number,
                ok,
                slow,
                now_s,
                self._rules,
                window=tally,
                floor_s=floor_s,
                spread=spread,
            )
            if after is before:
                return
            self._set_locked(after)
        if after.epoch != before.epoch:
            self._tell_change(before, after, now_s)

    def _give_back(self, ticket: Ticket) -> None:
        epoch, number, _ = ticket
        with self._lock:
            self._gate = given_back(self._gate, epoch, number)

    def _override(self, manual: str | None) -> None:
        now_s = self._clock()
        with self._lock:
            before = self._gate
            after = Gate(before.epoch + 1, manual=manual)
            self._set_locked(after)
        self._tell_change(before, after, now_s)

    def _set_locked(self, gate: Gate) -> None:
        if gate.epoch != self._gate.epoch and self._window is not None:
            self._window = self._window.empty(gate.epoch)
            self._steady = None
        self._gate = gate
        counts = self._window is not None or self._result_is_failure is not None
        rests = _resting(gate) and not gate.failures and not counts
        self._quiet = gate if rests or gate.manual is DISABLED else None

    def _judge_good_locked(self, tally: Tally) -> None:
        enough = tally.calls >= self._rules.minimum_calls and self._result_is_failure is None
        self._steady = self._window if enough and not tripped(tally, self._rules) else None

    def _asked_for_s(self, error: Exception | None) -> float:
        if error is None or not self._respect_retry_after:
            return 0.0
        from techrevati.runtime.failures import classify

        return classify(error).retry_after or 0.0

    def _random(self) -> float:
        if self._rng is None:
            import random

            self._rng = random.random
        return self._rng()

    def _tell_change(self, before: Gate, after: Gate, now_s: float) -> None:
        was, now = state_at(before, now_s), _resting_state(after)
        if was is CircuitState.HALF_OPEN and not before.last_probe:
            self._tell(CircuitState.OPEN, was)  # no probe has told it yet
        if was is not now:
            self._tell(was, now)

    def _tell(self, before: CircuitState, after: CircuitState) -> None:
        if self._listener is None:
            return
        try:
            self._listener(self._name, before, after)
        except Exception as error:
            logger("circuit_breaker").warning(
                "on_state_change of %r raised %s", self._name, error_text(error)
            )


Ticket = tuple[int, int, float]  # epoch, number of the probe or 0, when it started


class CircuitGuard:
    """One call of a breaker as a context manager; enter it once."""

    __slots__ = ("_breaker", "_failed", "_ticket")

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._ticket: Ticket | None = None
        self._failed = False

    def __enter__(self) -> Self:
        if self._ticket is not None:
            raise RuntimeError(
                f"a guard of circuit {self._breaker.name!r} is for one call; it was entered before"
            )
        self._ticket = self._breaker._begin()
        return self

    def returned(self, value: object) -> None:
        """Let the breaker judge what the call returned, if it judges results."""
        assert self._ticket is not None
        self._failed = self._breaker._bad_result(self._ticket, value)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        assert self._ticket is not None
        if error is None and self._failed:
            self._breaker._settle(self._ticket, False)
        else:
            self._breaker._end(self._ticket, error)


_inside: ContextVar[tuple[tuple[CircuitBreaker, Ticket], ...]] | None = None


def _entered() -> ContextVar[tuple[tuple[CircuitBreaker, Ticket], ...]]:
    """The ``with breaker:`` blocks of this context; one variable for all, as contexts never forget one."""
    global _inside
    if _inside is None:
        from contextvars import ContextVar

        with _inside_lock:
            if _inside is None:
                _inside = ContextVar("techrevati_circuits", default=())
    return _inside


_inside_lock = allocate_lock()


def _resting(gate: Gate) -> bool:
    return gate.probe_at_s is None and gate.manual is None


def _resting_state(gate: Gate) -> CircuitState:
    if gate.manual is not None:
        return CircuitState.OPEN if gate.manual is FORCED_OPEN else CircuitState.CLOSED
    return CircuitState.CLOSED if gate.probe_at_s is None else CircuitState.OPEN


def _window(calls: int | None, seconds: float | None) -> CountWindow | TimeWindow | None:
    if calls is None and seconds is None:
        return None
    if calls is not None and seconds is not None:
        raise ValueError(f"give window_calls or window_seconds, not both; got {calls!r} and {seconds!r}")
    from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow

    if calls is not None:
        return CountWindow(arguments.count("window_calls", calls, minimum=1))
    assert seconds is not None
    return TimeWindow(arguments.number("window_seconds", seconds, minimum=0.001))


def _minimum_calls(minimum_calls: int | None, window_calls: int | None) -> int:
    if minimum_calls is None:
        return min(10, window_calls or 10)
    arguments.count("minimum_calls", minimum_calls, minimum=1)
    if window_calls is not None and minimum_calls > window_calls:
        raise ValueError(f"minimum_calls must be <= window_calls ({window_calls}), got {minimum_calls!r}")
    return minimum_calls
