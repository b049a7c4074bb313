"""A clock that moves when it is told to."""

from __future__ import annotations

import asyncio

from techrevati.runtime._core import arguments


class FakeClock:
    """A clock that stands still until it is moved; call it to read it.

    Pass it as ``clock=``, and :meth:`sleep` or :meth:`asleep` as the matching ``sleep=``.

    >>> clock = FakeClock()
    >>> clock.advance(1.5)
    >>> clock()
    1.5
    """

    __slots__ = ("now",)

    def __init__(self, now: float = 0.0) -> None:
        self.now: float = arguments.number("now", now, minimum=float("-inf"))

    def __call__(self) -> float:
        """Seconds since its own beginning."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let *seconds* (>= 0) pass."""
        self.now += arguments.number("seconds", seconds)

    def sleep(self, seconds: float) -> None:
        """Pass *seconds* instead of waiting for them."""
        self.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        """:meth:`sleep` for tasks; lets other tasks run."""
        self.advance(seconds)
        await asyncio.sleep(0)
