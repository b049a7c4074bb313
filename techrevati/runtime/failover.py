"""Ask the next provider when one cannot answer.

Pure functions say who is asked, in which order, and whether a failure is one that another provider may not
have; ``Failover`` asks.  Whoever is known to be down (an open breaker) or out of money is left out without
being asked, and what is the caller's own fault is not asked twice.
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from math import log
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Generic, NamedTuple, ParamSpec, Protocol, TypeVar

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.failures import Failure, FailureKind, FailureOrigin, classify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import Any, NoReturn, TypeAlias

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

announce("failover")

QUOTA_REST_SECONDS = 3600.0
MAX_REST_SECONDS = 86_400.0


# --- what it decides ----------------------------------------------------------------------------------------

_K, _O = FailureKind, FailureOrigin
_THEIRS = frozenset({_O.PROVIDER, _O.NETWORK})
_REFUSALS = _THEIRS | {_O.RUNTIME}  # a breaker, bulkhead or limiter of ours in front of that target
_ANSWERS = _THEIRS | {_O.CALLER}  # "of the caller" because the caller has to act: a key, a name of a model

FAILS_OVER: dict[FailureKind, frozenset[FailureOrigin]] = {
    _K.TIMEOUT: _THEIRS,  # not the end of our own deadline
    _K.RATE_LIMIT: _REFUSALS,
    _K.QUOTA_EXHAUSTED: _THEIRS,
    _K.OVERLOADED: _REFUSALS,
    _K.SERVER_ERROR: _THEIRS,
    _K.NETWORK: _THEIRS,
    _K.AUTH: _ANSWERS,  # these three only where a server said so
    _K.PERMISSION: _ANSWERS,
    _K.NOT_FOUND: _ANSWERS,
    _K.UNKNOWN: _THEIRS,  # as for breakers: what nobody can name counts as the provider's
}
"""Kinds of failure that another provider may not have, for the origins named; every other one is raised."""


def fails_over(failure: Failure) -> bool:
    """Whether another provider may succeed where this one failed: the table ``FAILS_OVER``.

    A failed authentication, a refused permission and a missing thing count only when a server told so (by a
    status, or as a known provider); a missing local file is nobody else's matter.

    >>> fails_over(Failure(FailureKind.RATE_LIMIT)), fails_over(Failure(FailureKind.CONTEXT_OVERFLOW))
    (True, False)
    """
    if failure.origin not in FAILS_OVER.get(failure.kind, ()):
        return False
    said_by_server = failure.status_code is not None or failure.provider is not None
    return said_by_server or failure.origin is not FailureOrigin.CALLER


def order(weights: Sequence[float | None], rng: Callable[[], float]) -> tuple[int, ...]:
    """The positions in the order in which they are asked.

    Those with a weight come first, drawn without putting back, so that each is first in proportion to its
    weight; those without follow as they stand.  *rng* is asked once per weight, and not for a single one.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006).

    >>> order([None, 1, None, 3], iter([0.5, 0.5]).__next__)
    (3, 1, 0, 2)
    """
    weighted = [(weight, nth) for nth, weight in enumerate(weights) if weight is not None]
    plain = tuple(nth for nth, weight in enumerate(weights) if weight is None)
    if len(weighted) > 1:
        weighted = sorted((-log(1.0 - rng()) / weight, nth) for weight, nth in weighted)
    return (*(nth for _, nth in weighted), *plain)


def rest_s(failure: Failure, quota_rest_s: float, longest_s: float) -> float:
    """Seconds that the target of *failure* is left alone, at most *longest_s*; 0 is not at all.

    As long as the provider asked for; an exhausted quota of unknown length *quota_rest_s*.
    """
    if failure.retry_after is not None:
        return min(failure.retry_after, longest_s)
    return min(quota_rest_s, longest_s) if failure.kind is FailureKind.QUOTA_EXHAUSTED else 0.0


def waits_s(rest_until_s: Sequence[float], now_s: float) -> tuple[float, ...]:
    """How long each target still rests; 0 when it may be asked."""
    return tuple(max(0.0, until_s - now_s) for until_s in rest_until_s)


# --- words --------------------------------------------------------------------------------------------------


class PassedTarget(NamedTuple):
    """A target that gave no answer to this call, and why.

    Attributes:
        name: The target.
        reason: ``"failed"`` when it was asked; ``"open"`` (its breaker refused), ``"resting"`` (asked to be
            left alone, or out of quota) or ``"deadline"`` (no time left) when it was not.
        failure: What it failed with; None when it was not asked.
        retry_after: Seconds until it may be asked again; None when nobody said.
    """

    name: str
    reason: str
    failure: Failure | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        why = self.reason if self.failure is None else f"{self.reason}: {self.failure.kind.value}"
        return f"{self.name} ({why})"


class TargetSwitch(NamedTuple):
    """A call goes on to another target than the one it would have liked best.

    Attributes:
        target: Who is asked now; None when nobody was left (only told when observing).
        passed: Who was passed over or failed before, in that order.
        made: False when this was only observed: the preferred target is asked whatever is known about it, and
            nobody after it.
    """

    target: str | None
    passed: tuple[PassedTarget, ...]
    made: bool = True


class NoTargetError(TechrevatiError, RuntimeError):
    """Nobody could be asked: every target was passed over, and nothing was sent.

    Attributes:
        skipped: Each target and why it was not asked.
        retry_after: Seconds until the first of them may be asked again; None when nobody can say.
    """

    def __init__(self, skipped: Iterable[PassedTarget], retry_after: float | None = None) -> None:
        skipped = tuple(skipped)
        super().__init__(skipped, retry_after)
        self.skipped: tuple[PassedTarget, ...] = skipped
        self.retry_after: float | None = retry_after

    def __str__(self) -> str:
        wait = "" if self.retry_after is None else f"; retry in {self.retry_after:.3g} s"
        return f"no target may be asked: {', '.join(map(str, self.skipped))}{wait}"


class CallsThrough(Protocol):
    """A breaker that runs calls: it raises without calling when it refuses."""

    def call(self, fn: Callable[[], Any], /) -> Any:
        """Run *fn* or refuse."""
        ...


class TellsOpen(Protocol):
    """Something that knows whether a target is down."""

    def is_open(self) -> Any:
        """True while it is not to be asked."""
        ...


class TellsState(Protocol):
    """Something that knows the state of a target."""

    def state(self) -> Any:
        """``"open"``, or an enum member of that value, while it is not to be asked."""
        ...


if TYPE_CHECKING:
    Breaker: TypeAlias = CallsThrough | TellsOpen | TellsState


class Target(Generic[P, T_co]):
    """One provider, or one model or key of it.  Immutable.

    Args:
        name: For people and events; not empty.
        call: Asks it; sync or async, with the same arguments as all others.  Not a generator: a stream fails
            only while it is read, when nobody listens here any more.
        weight: > 0, its share of first questions among those with a weight; they are asked before those
            without, which are asked strictly in the order given.
        breaker: With a ``call``, each call runs through it, and its refusal passes the target over (for
            tasks: an async one, or one with ``as_async()``).  Otherwise ``is_open()`` or ``state()`` is asked
            first.  Give it here or use it inside *call*, not both: each call would count twice.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    __slots__ = ("_async_call", "_call", "_is_open", "breaker", "call", "name", "weight")

    def __init__(
        self,
        name: str,
        call: Callable[P, T_co],
        *,
        weight: float | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "name", arguments.text("name", name))
        put(self, "call", _answering("call", call))
        put(self, "weight", None if weight is None else arguments.positive("weight", weight))
        put(self, "breaker", breaker)
        put(self, "_call", getattr(_face(breaker, "as_sync"), "call", None))
        put(self, "_async_call", getattr(_face(breaker, "as_async"), "call", None))
        put(self, "_is_open", None if breaker is None else _question(breaker))

    name: str
    call: Callable[P, T_co]
    weight: float | None
    breaker: Breaker | None
    _call: Callable[[Callable[[], Any]], Any] | None
    _async_call: Callable[[Callable[[], Any]], Any] | None
    _is_open: Callable[[], bool] | None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a target cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a target cannot be changed: {name}")

    def __repr__(self) -> str:
        return f"Target({self.name!r}{'' if self.weight is None else f', weight={self.weight:g}'})"


def _answering(name: str, call: Callable[P, T_co]) -> Callable[P, T_co]:
    from techrevati.runtime._core.wrapping import ASYNC_GENERATOR, GENERATOR, colour

    arguments.function(name, call)
    if not isinstance(call, type) and colour(call) in (GENERATOR, ASYNC_GENERATOR):
        raise TypeError(f"{name} must be a function that answers, not a generator, got {call!r}")
    return call


def _face(breaker: object, name: str) -> object:
    """The breaker for threads or for tasks, where it has two faces."""
    turn = getattr(breaker, name, None)
    return turn() if callable(turn) else breaker


def _question(breaker: object) -> Callable[[], bool] | None:
    """How to ask a breaker that runs no calls itself."""
    if callable(getattr(breaker, "call", None)):
        return None
    is_open = getattr(breaker, "is_open", None)
    if callable(is_open):
        return lambda: bool(is_open())
    state = getattr(breaker, "state", None)
    if not callable(state):
        raise TypeError(f"breaker must have call(), is_open() or state(), got {breaker!r}")

    def says_open() -> bool:
        said = state()
        return bool(getattr(said, "value", said) == "open")

    return says_open


# --- who asks -----------------------------------------------------------------------------------------------


class Failover(Generic[P, T_co]):
    """Ask one of several targets; the next when that may help.  Thread-safe and task-safe; no lock is held
    while the caller's code runs.

    After these failures (the table ``FAILS_OVER``) the next target is asked: trouble of the provider or the
    network, rate limits, exhausted quota, and a key, permission or model that this target does not have.
    Never after the caller's own: bugs, invalid requests, too much input, content policy, cancellation.
    A target that asked to be left alone (Retry-After) or is out of quota rests, and is not asked until that
    is over.  When the running deadline has passed nobody is asked any more.

    A request that timed out may have been carried out, and billed, by the target that is left.

    Args:
        targets: Whom to ask, at least one, with different names; see :class:`Target` for the order.
        fails_over: Says of a failure whether to ask the next; None as its answer leaves that to the table.
        quota_rest_seconds: How long a target with an exhausted quota rests when it did not say until when.
        max_rest_seconds: No target rests longer than this, whatever it asked for.
        on_switch: Told, as a :class:`TargetSwitch`, just before another than the preferred target is asked,
            by the thread or task that asks.  What it raises is logged.
        observe_only: Ask the preferred target whatever is known about it, and tell what would have been done;
            may be set at any time.
        clock: Monotonic seconds.
        rng: A number in [0, 1), for weights; ``random.random`` when None.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.

    >>> def down(question: str) -> str:
    ...     raise ConnectionError("no route to host")
    >>> failover = Failover([Target("near", down), Target("far", str.upper)])
    >>> failover.call("hello")
    'HELLO'
    """

    def __init__(
        self,
        targets: Iterable[Target[P, T_co]],
        *,
        fails_over: Callable[[Failure], bool | None] | None = None,
        quota_rest_seconds: float = QUOTA_REST_SECONDS,
        max_rest_seconds: float = MAX_REST_SECONDS,
        on_switch: Callable[[TargetSwitch], object] | None = None,
        observe_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] | None = None,
    ) -> None:
        self.targets: tuple[Target[P, T_co], ...] = _different(targets)
        for name, given in (("fails_over", fails_over), ("on_switch", on_switch), ("rng", rng)):
            if given is not None:
                arguments.function(name, given)
        arguments.function("clock", clock)
        self._fails_over = fails_over
        self._quota_rest_s = arguments.number("quota_rest_seconds", quota_rest_seconds, infinite=True)
        self._max_rest_s = arguments.number("max_rest_seconds", max_rest_seconds, infinite=True)
        self._on_switch = on_switch
        self._clock = clock
        self._rng = rng
        self._weights = tuple(target.weight for target in self.targets)
        self._as_given = tuple(range(len(self.targets)))
        self._weighted = any(weight is not None for weight in self._weights)
        self._lock = allocate_lock()
        self._rest_until_s = [float("-inf")] * len(self.targets)
        self._rested = False  # True once anybody ever rested: until then nobody needs the clock
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to ask the first target given and nobody else."""

    def call(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """The answer of the first target that gives one.

        Raises:
            NoTargetError: Nobody could be asked.
            Exception: What the last target that was asked raised; a note names all that were tried.
            TypeError: A target is an async function or gave a generator; nothing was sent.
        """
        if not self.enabled:
            return _Turn(self, ()).ask(0, args, kwargs)
        turn = _Turn(self, self._order())
        try:
            while True:
                nth = turn.next()
                try:
                    return turn.ask(nth, args, kwargs)
                except Exception as error:
                    if not turn.goes_on(nth, error):
                        raise
        finally:
            turn.error = None  # its traceback holds this frame: no cycle

    async def acall(self: Failover[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """:meth:`call` for async targets; plain ones among them answer without an await.

        Cancelling it cancels the target that is being asked; nobody else is asked.
        """
        if not self.enabled:
            return await _Turn(self, ()).aask(0, args, kwargs)  # type: ignore[no-any-return]
        turn = _Turn(self, self._order())
        try:
            while True:
                nth = turn.next()
                try:
                    return await turn.aask(nth, args, kwargs)  # type: ignore[no-any-return]
                except Exception as error:
                    if not turn.goes_on(nth, error):
                        raise
        finally:
            turn.error = None

    def resting(self) -> dict[str, float]:
        """Who is left alone now, and for how many seconds more."""
        return {
            target.name: wait_s
            for target, wait_s in zip(self.targets, self._waits_s(), strict=True)
            if wait_s
        }

    def reset(self, name: str | None = None) -> None:
        """Let the target *name* be asked again, say after its account was topped up; None: all.

        Raises:
            KeyError: There is no such target.
        """
        if name is not None and all(target.name != name for target in self.targets):
            raise KeyError(name)
        with self._lock:
            for nth, target in enumerate(self.targets):
                if name in (None, target.name):
                    self._rest_until_s[nth] = float("-inf")

    def __repr__(self) -> str:
        return f"Failover({', '.join(target.name for target in self.targets)})"

    def _order(self) -> tuple[int, ...]:
        if not self._weighted:
            return self._as_given
        if self._rng is None:
            import random

            self._rng = random.random
        return order(self._weights, self._rng)

    def _waits_s(self) -> tuple[float, ...]:
        now_s = self._clock()
        with self._lock:
            return waits_s(self._rest_until_s, now_s)

    def _wait_s(self, nth: int) -> float:
        return self._waits_s()[nth] if self._rested else 0.0

    def _judged(self, nth: int, failure: Failure) -> tuple[bool, float]:
        """Whether to ask another, and for how long this target rests from now."""
        wanted = None if self._fails_over is None else self._fails_over(failure)
        if not (fails_over(failure) if wanted is None else wanted):
            return False, 0.0
        resting_s = rest_s(failure, self._quota_rest_s, self._max_rest_s)
        if resting_s > 0:
            now_s = self._clock()
            with self._lock:
                self._rested = True
                self._rest_until_s[nth] = max(self._rest_until_s[nth], now_s + resting_s)
        return True, resting_s

    def _tell(self, switch: TargetSwitch) -> None:
        if self._on_switch is None:
            return
        try:
            self._on_switch(switch)
        except Exception as trouble:
            logger("failover").warning("on_switch raised %s", error_text(trouble))


def _different(targets: Iterable[Target[P, T_co]]) -> tuple[Target[P, T_co], ...]:
    given = tuple(targets)
    if not given:
        raise ValueError("targets must hold at least one target, got none")
    names = set[str]()
    for target in given:
        if not isinstance(target, Target):
            raise TypeError(f"targets must hold Target objects, got {target!r}")
        if target.name in names:
            raise ValueError(f"targets must have different names, got {target.name!r} twice")
        names.add(target.name)
    return given


class _Turn(Generic[P, T_co]):
    """One call: who is left to ask, who was passed, and what the last one asked raised."""

    __slots__ = ("_asked", "_failover", "_left", "_observing", "error", "passed")

    def __init__(self, failover: Failover[P, T_co], order: tuple[int, ...]) -> None:
        self._failover = failover
        self._left = iter(order)
        self._observing = failover.observe_only
        self._asked = False
        self.passed: list[PassedTarget] = []
        self.error: Exception | None = None

    def next(self) -> int:
        """The position of the next target that may be asked; raises when there is none."""
        nth = self._first() if self._observing else self._found()
        if nth is not None:
            return nth
        if self.error is None:
            known = [each.retry_after for each in self.passed if each.retry_after is not None]
            raise NoTargetError(self.passed, min(known, default=None))
        _note(self.error, self.passed)
        raise self.error

    def _found(self) -> int | None:
        for nth in self._left:  # judged one at a time: things change while others are asked
            skipped = self._skipped(nth)
            if skipped is None:
                return nth
            self.passed.append(skipped)
        return None

    def _first(self) -> int:
        """The preferred target, whatever is known about it."""
        nth = next(self._left)
        skipped = self._skipped(nth)
        if skipped is not None:
            self.passed.append(skipped)
            self._tell_instead()
            self.passed.clear()
        return nth

    def _tell_instead(self) -> None:
        """Tell who would be asked now."""
        would = self._found()
        name = None if would is None else self._failover.targets[would].name
        self._failover._tell(TargetSwitch(name, tuple(self.passed), made=False))

    def _skipped(self, nth: int) -> PassedTarget | None:
        """Why a target must not be asked now; None when it may."""
        target = self._failover.targets[nth]
        left_s = remaining_s()
        if left_s is not None and left_s <= 0:
            return PassedTarget(target.name, "deadline")
        wait_s = self._failover._wait_s(nth)
        if wait_s > 0:
            return PassedTarget(target.name, "resting", None, wait_s)
        if target._is_open is not None and target._is_open():
            return PassedTarget(target.name, "open")
        return None

    def ask(self, nth: int, args: Any, kwargs: Any) -> T_co:
        """The answer of a target, through its breaker if it has one."""
        target = self._failover.targets[nth]
        call: Callable[..., T_co] = target.call
        self._asked = False

        def asked() -> T_co:
            self._begun(target.name)
            return _answer(call(*args, **kwargs))

        return asked() if target._call is None else _answer(target._call(asked))

    async def aask(self, nth: int, args: Any, kwargs: Any) -> Any:
        """The same with an await."""
        target = self._failover.targets[nth]
        call: Callable[..., Any] = target.call
        self._asked = False

        async def asked() -> Any:
            self._begun(target.name)
            answer = call(*args, **kwargs)
            return await answer if hasattr(answer, "__await__") else answer

        if target._async_call is None:
            return await asked()
        answer = target._async_call(asked)
        return await answer if hasattr(answer, "__await__") else answer

    def _begun(self, name: str) -> None:
        self._asked = True
        if self.passed:
            self._failover._tell(TargetSwitch(name, tuple(self.passed)))

    def goes_on(self, nth: int, error: Exception) -> bool:
        """Whether to ask another after *error*; it is kept for the case that there is none."""
        failure = classify(error)
        name = self._failover.targets[nth].name
        if not self._asked:  # the breaker refused, or is broken itself
            if not fails_over(failure):
                return False
            self.passed.append(PassedTarget(name, "open", None, failure.retry_after))
        else:
            on, resting_s = self._failover._judged(nth, failure)
            self.passed.append(PassedTarget(name, "failed", failure, resting_s or failure.retry_after))
            if not on:
                _note(error, self.passed)
                return False
            self.error = error
        if self._observing:
            self._tell_instead()
        return not self._observing


def _answer(answer: R) -> R:
    """*answer*, unless it is one that has not even begun."""
    if isinstance(answer, (CoroutineType, GeneratorType, AsyncGeneratorType)):
        if isinstance(answer, CoroutineType):
            answer.close()
            raise TypeError("an async target is asked with acall(), not call()")
        raise TypeError("a target must answer, not give a generator: a stream fails only while it is read")
    return answer


def _note(error: Exception, passed: Sequence[PassedTarget]) -> None:
    if len(passed) > 1:
        note = f"tried {', '.join(map(str, passed))}"
        if note not in getattr(error, "__notes__", ()):  # the same exception may be raised again and again
            error.add_note(note)
