"""One end for a whole piece of work, carried in a context variable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import Link, current
from techrevati.runtime._core.errors import DeadlineExceededError
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.switches import Switched

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from techrevati.runtime._core.deadline import Remaining


# Timers and clocks differ by a little; what ends so near to its end was ended by it.
NEAR_S = 1e-3


class Deadline(Switched):
    """One end for a whole piece of work, which shortens every wait inside it.

    ``with Deadline(30):`` lets every :class:`Timeout`, ``Retry`` and wait inside see how long is left, in
    tasks and timed calls too (it is a context variable; plain threads do not see it).  An inner deadline
    can only end sooner.  It does not interrupt code that never asks.

    Args:
        seconds: How long the work may take, counted from construction, > 0; ``inf`` is no end.
        clock: Monotonic seconds.
        on_shortened: Told, as ``on_shortened(seconds, left)``, that something inside which would have waited
            up to so many *seconds* now waits up to what is *left*, by the thread or task that waits; a wait
            that another limit inside cuts further is not told.  What it raises is logged.
        observe_only: Measure and tell, as if it shortened, but neither shorten nor end anything.  May be set
            at any time.

    >>> deadline = Deadline(30, clock=lambda: 100.0)
    >>> with deadline:
    ...     deadline.remaining()
    30.0
    """

    __slots__ = ("_clock", "_end_s", "_on_shortened", "enabled", "observe_only", "seconds")

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_shortened: Callable[[float, float], object] | None = None,
        observe_only: bool = False,
    ) -> None:
        self.seconds: float = arguments.number("seconds", seconds, infinite=True)
        if not self.seconds:
            raise ValueError(f"seconds must be a number > 0, got {seconds!r}")
        arguments.plain("clock", clock)
        if on_shortened is not None:
            arguments.plain("on_shortened", on_shortened)
        self._on_shortened = on_shortened
        self._clock = clock
        self._end_s = clock() + self.seconds
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to let everything inside run as if it were not there; time goes on."""

    def remaining(self) -> float:
        """Seconds left of this deadline, >= 0, whatever those around it say."""
        return max(0.0, self._end_s - self._clock())

    @property
    def in_force(self) -> bool:
        """True while it is switched on and not only observing."""
        return self.enabled and not self.observe_only

    def expired(self) -> bool:
        """True when no time is left."""
        return self.remaining() <= 0

    def check(self) -> None:
        """Go on, if there is time.

        Raises:
            DeadlineExceededError: There is none, and it is in force.
        """
        if self.expired() and self.in_force:
            raise DeadlineExceededError(self.seconds)

    def _shortens(self, seconds: float, left_s: float) -> None:
        """Tell it if this deadline made *seconds* the *left_s* that they are now, or would have cut them."""
        own_s = self.remaining()
        if self._on_shortened is None or not self.enabled or own_s >= seconds:
            return
        if not self.observe_only and own_s > left_s:
            return  # another one ended first
        try:
            self._on_shortened(seconds, own_s if self.observe_only else left_s)
        except Exception as trouble:
            logger("deadlines").warning("on_shortened raised %s", error_text(trouble))

    def __enter__(self) -> Self:
        current.set(_Entered(self, current.get()))
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        current.set(_without(self, current.get()))

    def __repr__(self) -> str:
        return f"Deadline({self.seconds:g} s, {self.remaining():.3g} s left)"


class _Entered(Link):
    """A deadline in force, with those around it: the link is kept here, so that tasks may share one."""

    __slots__ = ("deadline", "outer")

    def __init__(self, deadline: Deadline, outer: Remaining | None) -> None:
        super().__init__()
        self.deadline: Deadline = deadline
        self.outer: Remaining | None = outer

    @property
    def seconds(self) -> float:
        deadline, outer = self.deadline, self.outer
        return (
            outer.seconds if outer is not None and outer.remaining() <= self.remaining() else deadline.seconds
        )

    def remaining(self) -> float:
        deadline, outer = self.deadline, self.outer
        if not deadline.enabled or deadline.observe_only:
            return float("inf") if outer is None else outer.remaining()
        left_s = deadline.remaining()
        return left_s if outer is None else min(left_s, outer.remaining())

    def shortened(self, seconds: float) -> float:
        """*seconds*, or what is left of all that are in force; tells those that shortened it, or would."""
        left_s = min(self.remaining(), seconds)
        _tell_shortened(self, seconds, left_s)
        return left_s


class Rest(Link):
    """What one timed call has left, for everything that waits inside it; in a context that nobody needs to
    leave.

    Attributes:
        given_s: How long it had.
    """

    __slots__ = ("_clock", "_end_s", "given_s", "outer")

    def __init__(self, seconds: float, clock: Callable[[], float], outer: Remaining | None) -> None:
        super().__init__()
        self.given_s: float = seconds
        self.outer: Remaining | None = outer
        self._clock = clock
        self._end_s = clock() + seconds

    @property
    def seconds(self) -> float:
        outer = self.outer
        return outer.seconds if outer is not None and outer.remaining() <= self._own_s() else self.given_s

    def remaining(self) -> float:
        return self._own_s() if self.outer is None else min(self._own_s(), self.outer.remaining())

    def shortened(self, seconds: float) -> float:
        left_s = min(self.remaining(), seconds)
        if self.outer is not None:
            _tell_shortened(self.outer, seconds, left_s)
        return left_s

    def renew(self, seconds: float) -> None:
        """Begin again, with so many *seconds* left: a stream's time stands still between its steps."""
        self._end_s = self._clock() + seconds

    def ended(self, error: BaseException | None) -> bool:
        """Whether *error* is that a part inside noticed this end."""
        return isinstance(error, DeadlineExceededError) and self._own_s() <= NEAR_S

    def _own_s(self) -> float:
        return max(0.0, self._end_s - self._clock())

    def _inside(self, outer: Remaining | None) -> Rest:
        """The same rest with less around it."""
        rest = Rest(self.given_s, self._clock, outer)
        rest._end_s = self._end_s
        return rest


def _tell_shortened(link: Remaining | None, seconds: float, left_s: float) -> None:
    """Tell each deadline from *link* outwards, once, that may have made *seconds* the *left_s* they are."""
    told: tuple[Deadline, ...] = ()  # one may have been entered twice
    while isinstance(link, (_Entered, Rest)):
        if isinstance(link, _Entered):
            deadline = link.deadline
            if deadline._on_shortened is not None and deadline not in told:
                told = (*told, deadline)
                deadline._shortens(seconds, left_s)
        link = link.outer


def _without(deadline: Deadline, entered: Remaining | None) -> Remaining | None:
    """*entered* less its innermost link for *deadline*: two generators may leave theirs in any order."""
    if isinstance(entered, Rest):
        outer = _without(deadline, entered.outer)
        return entered if outer is entered.outer else entered._inside(outer)
    if not isinstance(entered, _Entered):
        return entered
    if entered.deadline is deadline:
        return entered.outer
    outer = _without(deadline, entered.outer)
    return entered if outer is entered.outer else _Entered(entered.deadline, outer)


def current_deadline() -> Remaining | None:
    """The innermost deadline of this context; None outside any."""
    return current.get()
