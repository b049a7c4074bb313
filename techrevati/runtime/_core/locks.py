"""Locks that a forked child finds free.

A child has only the thread that forked; a lock that another thread held at that moment would be held there
for ever.  So every lock made here is made anew in a child.  What it guards may then be in the middle of one
change, such as a counter that is one short; what the parent's other threads had taken (places of a bulkhead,
probes of a breaker until their lease ends) stays taken in the child.
"""

from __future__ import annotations

import os
from _thread import RLock, allocate_lock
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from typing import Any

_locks: set[ref[LockType | RLock]] = set()  # each of its methods is one step, so that no lock is needed here


def fork_safe_lock() -> LockType:
    """A new lock, free in every child that is forked while it lives."""
    lock = allocate_lock()
    _locks.add(ref(lock, _locks.discard))
    return lock


def fork_safe_rlock() -> RLock:
    """:func:`fork_safe_lock` that who holds it may take again, such as a handler of signals."""
    lock = RLock()
    _locks.add(ref(lock, _locks.discard))
    return lock


def _free_all() -> None:
    for each in tuple(_locks):
        lock: Any = each()
        if lock is not None:
            lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)
