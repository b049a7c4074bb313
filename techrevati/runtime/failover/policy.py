"""Ask one target after the other until one answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.judging import asked
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.streams import astreaming, rest
from techrevati.runtime._core.switches import Switched
from techrevati.runtime.failover.core import order, rest_s, waits_s
from techrevati.runtime.failover.target import Target
from techrevati.runtime.failover.turn import Turn
from techrevati.runtime.failures.elsewhere import fails_over

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable

    from techrevati.runtime.failover.vocabulary import PassedTarget, TargetSwitch
    from techrevati.runtime.failures import Failure

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")

announce("failover")

QUOTA_REST_SECONDS = 3600.0
MAX_REST_SECONDS = 86_400.0


class Failover(Switched, Generic[P, T_co]):
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
            One that raises is logged and means no.
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
                arguments.plain(name, given)
        arguments.plain("clock", clock)
        self._fails_over = fails_over
        self._quota_rest_s = arguments.number("quota_rest_seconds", quota_rest_seconds, infinite=True)
        self._max_rest_s = arguments.number("max_rest_seconds", max_rest_seconds, infinite=True)
        self._on_switch = on_switch
        self._clock = clock
        self._rng = rng
        self._weights = tuple(target.weight for target in self.targets)
        self._as_given = tuple(range(len(self.targets)))
        self._weighted = any(weight is not None for weight in self._weights)
        self._lock = fork_safe_lock()
        self._rest_until_s = [float("-inf")] * len(self.targets)
        self._rested = False  # True once anybody ever rested: until then nobody needs the clock
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to ask the first target given and nobody else."""

    def call(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """The answer of the first target that gives one.

        Raises:
            NoTargetError: Nobody could be asked.
            DeadlineExceededError: The running deadline had passed before anybody was asked.
            Exception: What the last target that was asked raised; a note names all that were tried.
            TypeError: A target is an async function or gave a generator; nothing was sent.
        """
        return self._answered(False, args, kwargs)

    def _answered(self, streams: bool, args: Any, kwargs: Any, before: PassedTarget | None = None) -> T_co:
        """The first answer; *before* is who was passed already, and is no target of this failover."""
        if not self.enabled:
            return Turn(self, (), streams=streams).ask(0, args, kwargs)
        turn = Turn(self, self._order(), streams=streams, before=before)
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
        return cast("R", await self._aanswered(False, args, kwargs))

    def stream(self: Failover[P, Iterable[R]], *args: P.args, **kwargs: P.kwargs) -> Generator[R, Any, Any]:
        """The stream of the first target that gives a first item; targets are generator functions, or return
        what can be iterated.  Nobody is asked before it is read.

        A failure after the first item is raised: what was handed out cannot be taken back.  Closing it closes
        the stream of the target.

        Raises:
            NoTargetError, Exception, TypeError: As :meth:`call`, while it is read.
        """
        return (yield from rest(cast("Any", self._answered(True, args, kwargs))))

    def astream(
        self: Failover[P, AsyncIterable[R] | Awaitable[AsyncIterable[R]]], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[R, Any]:
        """:meth:`stream` for async generator functions, and for async functions that return an async
        stream."""
        return astreaming(lambda: self._aanswered(True, args, kwargs))()

    async def _aanswered(
        self, streams: bool, args: Any, kwargs: Any, before: PassedTarget | None = None
    ) -> Any:
        if not self.enabled:
            return await Turn(self, (), streams=streams).aask(0, args, kwargs)
        turn = Turn(self, self._order(), streams=streams, before=before)
        try:
            while True:
                nth = turn.next()
                try:
                    return await turn.aask(nth, args, kwargs)
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
        if not self._wants_another(failure):
            return False, 0.0
        resting_s = rest_s(failure, self._quota_rest_s, self._max_rest_s)
        if resting_s > 0:
            now_s = self._clock()
            with self._lock:
                self._rested = True
                self._rest_until_s[nth] = max(self._rest_until_s[nth], now_s + resting_s)
        return True, resting_s

    def _wants_another(self, failure: Failure) -> bool:
        judge = self._fails_over
        wanted = None if judge is None else asked("failover", "fails_over", judge, failure)
        return fails_over(failure) if wanted is None else wanted

    def _tell(self, switch: TargetSwitch) -> None:
        if self._on_switch is None:
            return
        try:
            self._on_switch(switch)
        except Exception as trouble:
            logger("failover").warning("on_switch raised %s", error_text(trouble))


def _different(targets: Iterable[Target[P, T_co]]) -> tuple[Target[P, T_co], ...]:
    given = arguments.several("targets", targets, "Target objects")
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
