"""An event loop in virtual time: it jumps to the next timer instead of waiting for it."""

from __future__ import annotations

import asyncio
import math
import selectors
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context
    from typing import TypeVar, TypeVarTuple

    T = TypeVar("T")
    Ts = TypeVarTuple("Ts")


class EverythingWaitsError(TechrevatiError, RuntimeError):
    """Every task waits and no timer is set: in real life this would hang for ever."""

    def __str__(self) -> str:
        return "every task waits for ever: nothing is scheduled that could wake one"


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: tells the loop's clock to jump instead."""

    loop: VirtualEventLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            if timeout is None:
                raise EverythingWaitsError
            self.loop.jump(timeout)
        return ready


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: timers fire in order, at once.

    For tasks alone: sockets and other threads live in real time, and the loop does not wait for them.
    """

    def __init__(self) -> None:
        self._now = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Move the clock on."""
        self._now += max(0.0, seconds)
        # A timer is due within the clock's resolution; far from zero, floats are coarser than that.
        self._clock_resolution = max(1e-9, math.ulp(self._now))

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """A timer; one for the end of time is never set, so that waiting for it is noticed."""
        if when == float("inf"):
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)


def run(main: Coroutine[object, object, T]) -> T:
    """The result of *main*, run in virtual time on a loop of its own.

    Raises:
        EverythingWaitsError: Every task waits for ever.
    """
    with asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        return runner.run(main)
