"""How long the running piece of work may still take, for everything inside it that waits.

The innermost deadline travels in a context variable, so tasks and timed calls see it without being told.
Whoever waits asks ``shortened`` first.
"""

from __future__ import annotations

from contextvars import ContextVar

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
_kept: set[int] = set()  # the links that some context may hold, by their addresses
_told: list[Callable[[bool], None]] = []


def when_running(tell: Callable[[bool], None]) -> None:
    """Keep *tell* told whether any context of this process may hold a deadline: if none does, a call asks for
    none in vain."""
    _told.append(tell)
    tell(bool(_kept))


class Link:
    """What contexts hold of a deadline, for as long as any does: a task, or a copy of a context, may go on
    after the block that it was made in.

    Its end can come anywhere, also inside of a lock of ours, so none is taken: a set changes in one step.
    """

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        _kept.add(id(self))
        for tell in _told:
            tell(True)

    # The arguments: at the end of the interpreter the names of a module are gone first.
    def __del__(self, kept: set[int] = _kept, told: list[Callable[[bool], None]] = _told) -> None:
        kept.discard(id(self))
        if not kept:
            for tell in told:
                tell(False)
                if kept:  # another thread's came meanwhile
                    tell(True)


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
