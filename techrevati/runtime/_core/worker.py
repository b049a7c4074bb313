"""Do blocking I/O for event loops: one thread, in the order in which the work was given.

The interpreter waits for work that was handed over before it exits, so what a cancelled task left behind is
still done.
"""

from __future__ import annotations

import os
from threading import Lock, get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import TypeVar

    T = TypeVar("T")


class Worker:
    """One thread, started with the first work.  Thread-safe; a forked child starts its own.

    What waits is bounded by its callers: each waits for what it gave.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._pid = 0
        self._thread = 0

    def submit(self, fn: Callable[[], T]) -> Future[T]:
        """Let the thread run *fn* after everything that was given before.

        Raises:
            RuntimeError: The thread could not be started, or the program is ending; *fn* will not run.
        """
        pid = os.getpid()
        if self._pid != pid:  # the first use, or a forked child: it has no such thread
            self._lock, self._executor, self._pid = Lock(), None, pid
        with self._lock:
            if self._executor is None:
                from concurrent.futures import ThreadPoolExecutor

                self._executor = ThreadPoolExecutor(1, self._name, self._begin)
            try:
                return self._executor.submit(fn)
            except RuntimeError:  # its thread could not be started: what it was given must not be done later
                self._executor = None
                raise

    def _begin(self) -> None:
        self._thread = get_ident()

    def close(self) -> None:
        """Return once everything given has been done; later work starts a new thread."""
        if self._pid != os.getpid() or self._thread == get_ident():
            return
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()


async def ended(future: Future[T], *, patient: bool = True) -> None:
    """Wait until *future* has ended.

    A cancellation is raised after it has: then everything that was begun is done.  A second one is raised at
    once, as is the first one unless *patient*, and leaves *future* to itself.
    """
    import asyncio

    waiter = asyncio.wrap_future(future)
    waiter.add_done_callback(_look)
    try:
        await asyncio.wait({waiter})
    except asyncio.CancelledError:
        if patient:
            await asyncio.wait({waiter})
        raise


def _look(waiter: object) -> None:
    """Whoever has the future asks for its error; asyncio need not warn that nobody asked the waiter."""
    from asyncio import Future

    assert isinstance(waiter, Future)
    if not waiter.cancelled():
        waiter.exception()


def on_loop(loop: AbstractEventLoop, fn: Callable[[], object]) -> None:
    """Let *loop* call *fn*; one that is closed lets this thread do it."""
    try:
        loop.call_soon_threadsafe(fn)
    except RuntimeError:
        fn()
