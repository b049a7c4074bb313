"""Notice that an agent repeats itself, before the budget does.

A pure core over a frozen :class:`LoopState`: each finished step (a call and what came of it) is compared with
the steps one, two, … ``max_period`` before it, so that A-A-A is a cycle of period 1 and A-B-A-B one of period
2, whatever the period.  A call is judged before it runs as if it would bring what it brought last time; once
its result is known to differ, that is progress and the run of repetitions ends.  Memory is bounded by the
window, and a step costs ``max_period`` comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError, picklable, rebuilt

if TYPE_CHECKING:
    from collections.abc import Hashable

LoopKind: TypeAlias = Literal["repeated_call", "cycle", "no_progress"]
_UNKNOWN = object()


class LoopDetectedError(TechrevatiError, RuntimeError):
    """An agent repeats itself; the step that would have gone on with it was stopped.

    Attributes:
        kind: ``"repeated_call"``, ``"cycle"`` (several steps over and over) or ``"no_progress"``.
        period: Steps in one round of the cycle; 1 for a repeated call, 0 without progress.
        repetitions: Rounds so far, this one included; steps without news for ``"no_progress"``.
        limit: How many are one too many.
        step: What was repeated last, for people.
        result: What the last step returned, if it was run and paid for; None otherwise, and on a copy that
            could not keep it.
    """

    def __init__(
        self,
        kind: LoopKind,
        *,
        period: int,
        repetitions: int,
        limit: int,
        step: str = "",
        result: object = None,
    ) -> None:
        super().__init__(kind)
        self.kind: LoopKind = kind
        self.period = period
        self.repetitions = repetitions
        self.limit = limit
        self.step = step
        self.result = result

    def __str__(self) -> str:
        last = f" (last: {self.step})" if self.step else ""
        if self.kind == "no_progress":
            return (
                f"no progress: {self.repetitions} steps brought nothing new, at most {self.limit - 1}{last}"
            )
        what = "the same call" if self.period == 1 else f"the same {self.period} steps"
        return f"loop: {what}, {self.repetitions} times, at most {self.limit - 1}{last}"

    def __reduce__(self) -> tuple[object, ...]:
        return rebuilt, (type(self), self.args, picklable(self.__dict__, "result"))


@dataclass(frozen=True, slots=True)
class LoopFinding:
    """An agent seems to repeat itself.

    Attributes:
        kind, period, repetitions, limit: As in :class:`LoopDetectedError`.
        stop: True when the limit is reached.
    """

    kind: LoopKind
    period: int
    repetitions: int
    limit: int
    stop: bool


@dataclass(frozen=True, slots=True)
class LoopState:
    """All that is remembered between steps.

    Attributes:
        steps: The newest (call, result) pairs, oldest first, at most the window.
        runs: For each period from 1, how many newest steps equal the step so far before them.
        stale: Newest steps that had been seen before, within the window.
    """

    steps: tuple[tuple[Hashable, Hashable], ...] = ()
    runs: tuple[int, ...] = ()
    stale: int = 0


class LoopDetection:
    """The rules by which an agent's steps count as a loop.  Immutable; thread-safe.

    Args:
        warn_at: Rounds of one cycle, the first included, that are told as an event, >= 2.
        limit: Rounds that are refused with :class:`LoopDetectedError`, > *warn_at*.
        max_period: Steps in the longest cycle that is looked for, >= 1.
        no_progress_limit: So many steps in a row that were all seen before (same call, same result) are
            refused, >= 2; half as many are told.  None looks for cycles only.
        window: Steps that are remembered; ``limit * max_period`` when None, and never less.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.

    >>> rules, state = LoopDetection(warn_at=2, limit=3), LoopState()
    >>> for _ in range(2):
    ...     state = rules.after(state, "search cats", "nothing")
    >>> rules.before(state, "search cats")
    LoopFinding(kind='repeated_call', period=1, repetitions=3, limit=3, stop=True)
    >>> rules.before(state, "search dogs")
    """

    __slots__ = ("limit", "max_period", "no_progress_limit", "warn_at", "window")

    def __init__(
        self,
        *,
        warn_at: int = 3,
        limit: int = 5,
        max_period: int = 6,
        no_progress_limit: int | None = 20,
        window: int | None = None,
    ) -> None:
        self.warn_at: int = arguments.count("warn_at", warn_at, minimum=2)
        self.limit: int = arguments.count("limit", limit, minimum=self.warn_at + 1)
        self.max_period: int = arguments.count("max_period", max_period, minimum=1)
        if no_progress_limit is not None:
            no_progress_limit = arguments.count("no_progress_limit", no_progress_limit, minimum=2)
        self.no_progress_limit: int | None = no_progress_limit
        least = self.limit * self.max_period
        self.window: int = least if window is None else arguments.count("window", window, minimum=least)

    def before(self, state: LoopState, call: Hashable) -> LoopFinding | None:
        """What there is to say about *call*, if it brings what it brought before; None for nothing."""
        return self._finding(self._next(state, call, _UNKNOWN))

    def after(self, state: LoopState, call: Hashable, result: Hashable = None) -> LoopState:
        """The state after *call* ended with *result*."""
        return self._next(state, call, result)

    def found(self, state: LoopState) -> LoopFinding | None:
        """What there is to say about the steps so far; None for nothing."""
        return self._finding(state)

    def _next(self, state: LoopState, call: Hashable, result: object) -> LoopState:
        steps, runs = state.steps, state.runs or (0,) * self.max_period
        known = len(steps)

        def equal(step: tuple[Hashable, Hashable]) -> bool:
            return step[0] == call and (result is _UNKNOWN or step[1] == result)

        counted = tuple(
            runs[period - 1] + 1 if period <= known and equal(steps[-period]) else 0
            for period in range(1, self.max_period + 1)
        )
        seen = any(map(equal, steps))
        kept = steps[-(self.window - 1) :] if known >= self.window else steps
        return LoopState((*kept, (call, result)), counted, state.stale + 1 if seen else 0)

    def _finding(self, state: LoopState) -> LoopFinding | None:
        best: LoopFinding | None = None
        for period, run in enumerate(state.runs, 1):  # the shortest period explains the longer ones
            rounds = run // period + 1
            if rounds >= self.warn_at and (best is None or (rounds >= self.limit and not best.stop)):
                kind: LoopKind = "repeated_call" if period == 1 else "cycle"
                best = LoopFinding(kind, period, rounds, self.limit, rounds >= self.limit)
        stale_limit = self.no_progress_limit
        if stale_limit is not None and (best is None or not best.stop):
            if state.stale >= stale_limit:
                return LoopFinding("no_progress", 0, state.stale, stale_limit, True)
            if best is None and state.stale * 2 >= stale_limit:
                return LoopFinding("no_progress", 0, state.stale, stale_limit, False)
        return best

    def __repr__(self) -> str:
        return f"LoopDetection(warn_at={self.warn_at}, limit={self.limit}, max_period={self.max_period})"
