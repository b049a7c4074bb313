"""Hold locks over a fork, so that a child never inherits one that nobody will release."""

from __future__ import annotations

import os
from threading import Lock
from typing import Protocol
from weakref import WeakSet

PATIENCE_S = 10.0


class Watched(Protocol):
    """Something that must be at rest while the process forks.

    Attributes:
        fork_rank: Who uses another one has the lower rank, and comes to rest first.
    """

    fork_rank: int

    def before_fork(self) -> bool:
        """Come to rest; whether that succeeded."""
        ...

    def after_fork(self, held: bool, child: bool) -> None:
        """Go on, in the parent or in the child."""
        ...


_watched: WeakSet[Watched] = WeakSet()
_lock = Lock()
_hooked = False
_held: list[tuple[Watched, bool]] = []


def watch(one: Watched) -> None:
    """Tell *one* of every fork of this process from now on, for as long as it lives."""
    global _hooked
    with _lock:
        _watched.add(one)
        if not _hooked and hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=_before, after_in_parent=lambda: _after(False), after_in_child=lambda: _after(True)
            )
            _hooked = True


def _before() -> None:
    _lock.acquire()
    _held[:] = [
        (one, one.before_fork()) for one in sorted(_watched, key=lambda one: (one.fork_rank, id(one)))
    ]


def _after(child: bool) -> None:
    for one, held in _held:
        one.after_fork(held, child)
    _held.clear()
    _lock.release()
