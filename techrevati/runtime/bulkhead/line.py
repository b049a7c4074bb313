"""Who is in, who waits and who is next; there is no clock and no lock in here, and nobody waits.

Whoever leaves hands the place to the first in the queue, so nobody overtakes and no place is free while
somebody waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Place:
    """One caller: inside, waiting, or neither.  ``wake`` is called, under the lock, when it gets in."""

    __slots__ = ("is_in", "wake")

    def __init__(self, wake: Callable[[], object] | None = None) -> None:
        self.wake: Callable[[], object] | None = wake
        self.is_in: bool = False


class Line:
    """Who is inside and who waits, in the order they came.  Not thread-safe."""

    __slots__ = ("limit", "max_queue", "queue", "running")

    def __init__(self, limit: int, max_queue: int) -> None:
        self.limit: int = limit
        self.max_queue: int = max_queue
        self.running: int = 0
        self.queue: deque[Place] = deque()

    def enter(self, *, anyway: bool = False) -> bool:
        """Let one in now, if there is room and nobody waits, or *anyway*."""
        if not anyway and (self.running >= self.limit or self.queue):
            return False
        self.running += 1
        return True

    def wait(self, place: Place) -> bool:
        """Put *place* at the end of the queue, if that has room."""
        if len(self.queue) >= self.max_queue:
            return False
        self.queue.append(place)
        return True

    def leave(self) -> list[Place]:
        """One goes; who gets in now."""
        self.running -= 1
        return self.admitted(self.limit)

    def give_up(self, place: Place) -> list[Place]:
        """*place* waits no longer, or goes if it got in by now; who gets in for that."""
        if place.is_in:
            place.is_in = False
            return self.leave()
        if place in self.queue:
            self.queue.remove(place)
        return []

    def admitted(self, limit: float) -> list[Place]:
        """Let in from the queue while fewer than *limit* are inside."""
        came = []
        while self.queue and self.running < limit:
            place = self.queue.popleft()
            place.is_in = True
            self.running += 1
            came.append(place)
        return came
