"""Let a thread of ours do what may hang: end spans, which a simple processor exports at once.

The queue is bounded.  Giving never waits; what finds it full is counted and left undone.
"""

from __future__ import annotations

import atexit
import os
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING
from weakref import ref

from techrevati.runtime._core import arguments
from techrevati.runtime._core.locks import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    Work: TypeAlias = Callable[[], object]

_AT_EXIT_S = 2.0


class HandOver:
    """A bounded queue and one daemon thread, started with the first work.  Thread-safe; a forked child has
    its own, empty one.

    Args:
        capacity: Pieces of work that may wait, >= 1; threads that give at the very same moment may exceed it
            by one each.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity: int = arguments.count("queue_size", capacity, minimum=1)
        self._queue: SimpleQueue[Work] = SimpleQueue()
        self._lock = fork_safe_lock()
        self._pid = 0
        self._dropped = 0
        me = ref(self)
        atexit.register(lambda: None if (alive := me()) is None else alive.flush(_AT_EXIT_S))

    @property
    def dropped(self) -> int:
        """Pieces of work that found the queue full, or raised."""
        return self._dropped

    def give(self, work: Work) -> bool:
        """Let the thread do *work* after everything that was given before; False when the queue is full."""
        if self._pid != os.getpid():
            self._start()
        if self._queue.qsize() >= self.capacity:
            self._count()
            return False
        self._queue.put(work)
        return True

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until what was given is done; False when that took too long."""
        if self._pid != os.getpid():
            return True
        done = Event()
        self._queue.put(done.set)
        return done.wait(timeout_seconds)

    def _start(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._queue = SimpleQueue()
                Thread(target=self._work, args=(self._queue,), name="techrevati-otel", daemon=True).start()
                self._pid = os.getpid()

    def _work(self, queue: SimpleQueue[Work]) -> None:
        while True:
            try:
                queue.get()()
            except Exception:  # an exporter's: it has its own log
                self._count()

    def _count(self) -> None:
        with self._lock:
            self._dropped += 1
