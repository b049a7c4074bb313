"""Stop calling a dependency that keeps failing.

Pure functions over a frozen ``Gate`` decide everything; they take the time as an argument, never wait and
never lock.  The classes add a clock, a lock around each decision and, in the async one, an ``await``.

    closed --threshold consecutive failures--> open --recovery time--> half-open --good probe--> closed
                                                ^------ failed probe ------'

Every trip, reopening, closing and reset starts a new *epoch*.  News of a call from an older epoch changes
nothing: neither a late success nor a late failure says anything about the dependency as it is now.
A cancelled call (any ``BaseException`` that is not an ``Exception``) gives its permit back and proves
nothing.  A probe holds its permit for one lease at most, so a probe that hangs cannot keep others out.
"""

# People import this module alone, so it stays off ``dataclasses``, ``typing``, ``contextlib`` and
# ``logging``: each of them costs more to import than everything here.

from __future__ import annotations

import time
from _thread import allocate_lock
from enum import Enum
from math import nextafter

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import announce, logger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import ParamSpec, TypeAlias, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    StateListener: TypeAlias = Callable[[str, "CircuitState", "CircuitState"], object]

announce("circuit_breaker")

MINIMUM_LEASE_SECONDS = 60.0


class CircuitState(str, Enum):
    """What a breaker does with the next call: let it through, refuse it, or try it as a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpenError(TechrevatiError):
    """The call was refused before anything was sent.

    Attributes:
        name: The breaker that refused.
        retry_after: Seconds until a call could be admitted: the rest of the recovery time or, while all
            probe permits are taken, of the first probe's lease.  None when nobody can say.
    """

    # Read from ``args``, which ``BaseException.__new__`` fills: a refusal then costs no ``__init__``.
    def __init__(self, name: str, retry_after: float | None = None) -> None:
        super().__init__(name, retry_after)

    @property
    def name(self) -> str:
        name: str = self.args[0]
        return name

    @property
    def retry_after(self) -> float | None:
        wait: float | None = self.args[1]
        return wait

    def __str__(self) -> str:
        wait = "" if self.retry_after is None else f"; retry in {self.retry_after:.3g} s"
        return f"circuit {self.name!r} is open{wait}"


_refusal = CircuitOpenError.__new__


# --- the decision core -------------------------------------------------------------------------------------


class Gate:
    """All that a breaker remembers between calls.  Never changed once made."""

    __slots__ = ("epoch", "failures", "last_probe", "probe_at_s", "probes")

    def __init__(
        self,
        epoch: int = 0,
        failures: int = 0,
        probe_at_s: float | None = None,
        probes: tuple[tuple[int, float], ...] = (),
        last_probe: int = 0,
    ) -> None:
        self.epoch: int = epoch  # moves on whenever older calls stop counting
        self.failures: int = failures  # in a row, while closed
        self.probe_at_s: float | None = probe_at_s  # None: closed
        self.probes: tuple[tuple[int, float], ...] = (
            probes  # (number, end of its lease) of each probe that holds a permit
        )
        self.last_probe: int = last_probe  # probes are numbered from 1 within an epoch


class Rules:
    """The numbers a breaker was built with."""

    __slots__ = ("lease_s", "max_probes", "recovery_s", "threshold")

    def __init__(self, threshold: int, recovery_s: float, max_probes: int, lease_s: float) -> None:
        self.threshold: int = threshold
        self.recovery_s: float = recovery_s
        self.max_probes: int = max_probes
        self.lease_s: float = lease_s


def state_at(gate: Gate, now_s: float) -> CircuitState:
    """The state as an observer sees it: half-open as soon as the recovery time is over."""
    if gate.probe_at_s is None:
        return CircuitState.CLOSED
    return CircuitState.OPEN if now_s < gate.probe_at_s else CircuitState.HALF_OPEN


def refused_for_s(gate: Gate, now_s: float, rules: Rules) -> float | None:
    """Seconds until a call could be admitted; None when a call may start now."""
    if gate.probe_at_s is None:
        return None
    if now_s < gate.probe_at_s:
        return _seconds_until(gate.probe_at_s, now_s)
    ends = [end_s for _, end_s in gate.probes if end_s > now_s]
    return None if len(ends) < rules.max_probes else _seconds_until(min(ends), now_s)


def started(gate: Gate, now_s: float, rules: Rules) -> Gate:
    """The gate after admitting one call; a probe takes a permit, and expired leases lose theirs."""
    if gate.probe_at_s is None:
        return gate
    live = tuple(probe for probe in gate.probes if probe[1] > now_s)
    number = gate.last_probe + 1
    return Gate(gate.epoch, 0, gate.probe_at_s, (*live, (number, now_s + rules.lease_s)), number)


def settled(gate: Gate, epoch: int, ok: bool, now_s: float, rules: Rules) -> Gate:
    """The gate after the outcome of a call that was admitted in *epoch*."""
    if epoch != gate.epoch:
        return gate
    if gate.probe_at_s is None:
        if ok:
            return Gate(gate.epoch) if gate.failures else gate
        if gate.failures + 1 < rules.threshold:
            return Gate(gate.epoch, gate.failures + 1)
    elif now_s < gate.probe_at_s:
        return gate  # open: nobody was admitted, so this is hearsay
    elif ok:
        return Gate(gate.epoch + 1)
    return Gate(gate.epoch + 1, 0, now_s + rules.recovery_s)


def given_back(gate: Gate, epoch: int, number: int) -> Gate:
    """The gate after a call ended without telling anything; its permit, if it holds one, is free again."""
    left = tuple(probe for probe in gate.probes if probe[0] != number)
    if epoch != gate.epoch or len(left) == len(gate.probes):
        return gate
    return Gate(gate.epoch, 0, gate.probe_at_s, left, gate.last_probe)


def _seconds_until(then_s: float, now_s: float) -> float:
    wait_s = then_s - now_s
    # The difference may round down; whoever waits exactly this long must not come too early.
    return wait_s if now_s + wait_s >= then_s else nextafter(wait_s, float("inf")) + 1e-9


# --- the shells --------------------------------------------------------------------------------------------


class CircuitBreaker:
    """Refuse calls to a dependency that failed several times in a row, until it had time to recover.

    One object may be used from any number of threads, and its :meth:`as_async` face from any number of
    tasks and event loops at the same time.  No lock is held while the caller's code runs.

    Args:
        name: Stands in refusals; not empty.
        failure_threshold: Consecutive failures that open it, >= 1.  Every ``Exception`` of the callee
            counts; a success sets the count back to 0.
        recovery_timeout_seconds: Seconds it stays open before probes are let in, >= 0; ``inf`` keeps it
            open until :meth:`reset`.
        half_open_max_probes: Probes that may run at once while half-open, >= 1.  The first good one
            closes the breaker, the first failed one opens it again for the whole recovery time.
        clock: Seconds from any fixed point; monotonic by default, so wall-clock jumps do nothing.
        probe_lease_seconds: A probe that has not ended after this many seconds no longer holds its permit
            (the half-open maximum wait); its outcome still counts if nothing was decided meanwhile.
            None means the recovery time, at least 60 s.
        on_state_change: Called as ``(name, before, after)`` outside the lock by the thread that caused
            the change; half-open is told when the first probe starts.  What it raises is logged.  Two
            threads may tell their changes in the other order.

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
    techrevati.runtime.circuit_breaker.CircuitOpenError: circuit 'model-api' is open; retry in 30 s
    """

    __slots__ = ("__weakref__", "_clock", "_gate", "_listener", "_lock", "_name", "_quiet", "_rules")

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
    ) -> None:
        arguments.text("name", name)
        threshold = arguments.count("failure_threshold", failure_threshold, minimum=1)
        recovery_s = arguments.number("recovery_timeout_seconds", recovery_timeout_seconds, infinite=True)
        max_probes = arguments.count("half_open_max_probes", half_open_max_probes, minimum=1)
        arguments.function("clock", clock)
        if probe_lease_seconds is None:
            lease_s = max(MINIMUM_LEASE_SECONDS, recovery_s)
        else:
            lease_s = arguments.number("probe_lease_seconds", probe_lease_seconds)
            if not lease_s:
                raise ValueError("probe_lease_seconds must be a number > 0, got 0")
        if on_state_change is not None:
            arguments.function("on_state_change", on_state_change)
        self._name = name
        self._rules = Rules(threshold, recovery_s, max_probes, lease_s)
        self._clock = clock
        self._listener = on_state_change
        self._lock = allocate_lock()
        self._gate = Gate()
        # The gate again while it is closed and no failure is on record, else None: then a success
        # changes nothing, and a call needs neither the lock nor the clock.
        self._quiet: Gate | None = self._gate

    @property
    def name(self) -> str:
        """The name it was given; it stands in every refusal."""
        return self._name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {self.state().value})"

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` and learn from how it ends.

        Raises:
            CircuitOpenError: Refused; *fn* was not called.
            Exception: Whatever *fn* raised, unchanged, after it was counted.
        """
        gate = self._quiet
        if gate is None:
            probe_at_s = self._gate.probe_at_s
            if probe_at_s is not None and (now_s := self._clock()) < probe_at_s:
                wait_s = probe_at_s - now_s  # _seconds_until, without the cost of a call
                if now_s + wait_s < probe_at_s:
                    wait_s = _seconds_until(probe_at_s, now_s)
                raise _refusal(CircuitOpenError, self._name, wait_s)
            return self._call_watched(fn, *args, **kwargs)
        try:
            # Unpacking nothing would cost as much as all the rest here.
            result = fn(*args, **kwargs) if kwargs or args else fn()  # type: ignore[call-arg]  # pyright: ignore
        except Exception:
            self._settle(gate.epoch, False)
            raise
        if gate is self._quiet:
            return result
        self._settle(gate.epoch, True)
        return result

    def _call_watched(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        epoch, number = self._begin()
        try:
            result = fn(*args, **kwargs)
        except Exception:
            self._settle(epoch, False)
            raise
        except BaseException:  # cancelled: nobody learnt anything about the callee
            self._give_back(epoch, number)
            raise
        self._settle(epoch, True)
        return result

    def record_success(self) -> None:
        """Count a success that the caller saw; while open it changes nothing."""
        self._settle(None, True)

    def record_failure(self) -> None:
        """Count a failure that the caller saw; while open it changes nothing."""
        self._settle(None, False)

    def state(self) -> CircuitState:
        """The state now; HALF_OPEN once the recovery time is over."""
        return state_at(self._gate, self._clock())

    def is_open(self) -> bool:
        """True while every call is refused; False while half-open."""
        return self.state() is CircuitState.OPEN

    def reset(self) -> None:
        """Close it and forget everything; calls that are still running no longer count."""
        now_s = self._clock()
        with self._lock:
            before = self._gate
            self._gate = self._quiet = after = Gate(before.epoch + 1)
        self._tell_change(before, after, now_s)

    def as_async(self) -> AsyncCircuitBreaker:
        """The same breaker for tasks: one state, two ways to call."""
        face = AsyncCircuitBreaker.__new__(AsyncCircuitBreaker)
        face._breaker = self
        return face

    # What the two faces do around a call.

    def _begin(self) -> tuple[int, int]:
        """Admit one call, as (epoch, number of the probe or 0), or raise CircuitOpenError."""
        now_s = self._clock()
        with self._lock:
            before = after = self._gate
            wait_s = refused_for_s(before, now_s, self._rules)
            if wait_s is None:
                self._gate = after = started(before, now_s, self._rules)
        if wait_s is not None:
            raise _refusal(CircuitOpenError, self._name, wait_s)
        if after.last_probe == 1 and before.last_probe == 0:
            try:
                self._tell(CircuitState.OPEN, CircuitState.HALF_OPEN)
            except BaseException:
                self._give_back(after.epoch, after.last_probe)
                raise
        return after.epoch, after.last_probe

    def _settle(self, epoch: int | None, ok: bool) -> None:
        """Count one outcome; *epoch* None means the current one."""
        now_s = self._clock()
        with self._lock:
            before = self._gate
            after = settled(before, before.epoch if epoch is None else epoch, ok, now_s, self._rules)
            self._gate = after
            self._quiet = after if after.probe_at_s is None and not after.failures else None
        if after.epoch != before.epoch:
            self._tell_change(before, after, now_s)

    def _give_back(self, epoch: int, number: int) -> None:
        with self._lock:
            self._gate = given_back(self._gate, epoch, number)

    def _tell_change(self, before: Gate, after: Gate, now_s: float) -> None:
        was = state_at(before, now_s)
        if was is CircuitState.HALF_OPEN and not before.last_probe:
            self._tell(CircuitState.OPEN, was)  # no probe has told it yet
        now = CircuitState.CLOSED if after.probe_at_s is None else CircuitState.OPEN
        if was is not now:
            self._tell(was, now)

    def _tell(self, before: CircuitState, after: CircuitState) -> None:
        if self._listener is None:
            return
        try:
            self._listener(self._name, before, after)
        except Exception as error:
            logger("circuit_breaker").warning("on_state_change of %r raised %r", self._name, error)


class AsyncCircuitBreaker:
    """:class:`CircuitBreaker` for coroutines: same arguments, same decisions, every method awaitable.

    It belongs to no event loop; tasks of several loops and threads may share it.  Cancelling a call gives
    its probe permit back.
    """

    __slots__ = ("__weakref__", "_breaker")

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
    ) -> None:
        self._breaker = CircuitBreaker(
            name,
            failure_threshold,
            recovery_timeout_seconds,
            half_open_max_probes,
            clock,
            probe_lease_seconds=probe_lease_seconds,
            on_state_change=on_state_change,
        )

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
            return await self._call_watched(coro_factory, *args, **kwargs)
        try:
            made = coro_factory(*args, **kwargs) if kwargs or args else coro_factory()  # type: ignore[call-arg]  # pyright: ignore
            result = await made
        except Exception:
            breaker._settle(gate.epoch, False)
            raise
        if gate is breaker._quiet:
            return result
        breaker._settle(gate.epoch, True)
        return result

    async def _call_watched(
        self, coro_factory: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        breaker = self._breaker
        epoch, number = breaker._begin()
        try:
            result = await coro_factory(*args, **kwargs)
        except Exception:
            breaker._settle(epoch, False)
            raise
        except BaseException:  # cancelled: nobody learnt anything about the callee
            breaker._give_back(epoch, number)
            raise
        breaker._settle(epoch, True)
        return result

    async def record_success(self) -> None:
        """Count a success that the caller saw; while open it changes nothing."""
        self._breaker.record_success()

    async def record_failure(self) -> None:
        """Count a failure that the caller saw; while open it changes nothing."""
        self._breaker.record_failure()

    async def state(self) -> CircuitState:
        """The state now; HALF_OPEN once the recovery time is over."""
        return self._breaker.state()

    async def is_open(self) -> bool:
        """True while every call is refused; False while half-open."""
        return self._breaker.is_open()

    async def reset(self) -> None:
        """Close it and forget everything; calls that are still running no longer count."""
        self._breaker.reset()

    def as_sync(self) -> CircuitBreaker:
        """The same breaker for threads: one state, two ways to call."""
        return self._breaker
