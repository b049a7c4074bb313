"""How long the running piece of work may still take, for everything inside it that waits.

The innermost deadline travels in a context variable, so tasks and timed calls see it without being told.
Whoever waits asks ``shortened`` first.
"""

from __future__ import annotations

from contextvars import ContextVar

from techrevati.runtime._core.locks import fork_safe_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Remaining(Protocol):
        """Something that knows how many seconds are left."""

        @property
        def seconds(self) -> float:
            """How long the one had that ends first."""
            ...

        def remaining(self) -> float:
            """Seconds left, >= 0."""
            ...

        def shortened(self, seconds: float) -> float:
            """*seconds*, or what is left if that is less."""
            ...


current: ContextVar[Remaining | None] = ContextVar("techrevati_deadline", default=None)
_lock = fork_safe_lock()
_running = 0
_told: list[Callable[[bool], None]] = []


def when_running(tell: Callable[[bool], None]) -> None:
    """Keep *tell* told whether any deadline runs in this process: a call then asks for none in vain."""
    with _lock:
        _told.append(tell)
        tell(_running > 0)


def began() -> None:
    """One more deadline runs; ``no_more`` follows."""
    global _running
    with _lock:
        _running += 1
        if _running == 1:
            for tell in _told:
                tell(True)


def no_more() -> None:
    """One deadline runs no more."""
    global _running
    with _lock:
        _running -= 1
        if not _running:
            for tell in _told:
                tell(False)


def remaining_s() -> float | None:
    """Seconds left of the running deadline, >= 0; None without one."""
    deadline = current.get()
    return None if deadline is None else deadline.remaining()


def shortened(seconds: float) -> float:
    """*seconds*, or what is left of the running deadline if that is less."""
    deadline = current.get()
    return seconds if deadline is None else deadline.shortened(seconds)


def check_running() -> None:
    """Go on, if the running deadline has not passed.

    Raises:
        DeadlineExceededError: It has.
    """
    deadline = current.get()
    if deadline is not None and deadline.remaining() <= 0:
        from techrevati.runtime._core.errors import DeadlineExceededError

        raise DeadlineExceededError(deadline.seconds)


def given_s(waited_s: float) -> float:
    """How long the running deadline had that ends first; *waited_s* without one."""
    deadline = current.get()
    return waited_s if deadline is None else deadline.seconds
