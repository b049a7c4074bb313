"""Stop waiting in time, even for a call that never answers.

A synchronous call cannot be stopped from outside, so it runs in a thread of its own that can be abandoned; an
async one runs in a task of its own that is cancelled.  Whatever an abandoned call does in the end is told to
the caller: work that was paid for is never lost without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import announce, logger

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import TypeVar

    T = TypeVar("T")

announce("deadlines")

CANCELLATION_GRACE_SECONDS = 1.0


class TurnTimeoutError(TechrevatiError, TimeoutError):
    """A call did not end in time; nobody waits for it any more.

    Attributes:
        timeout_seconds: How long it was waited for.
    """

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__(timeout_seconds)
        self.timeout_seconds = timeout_seconds

    def __str__(self) -> str:
        return f"no result within {self.timeout_seconds:g} s"


class LateOutcome:
    """What an abandoned call did in the end: a ``result``, or the ``error`` it raised.

    Attributes:
        result: What it returned; None when it raised.
        error: What it raised; None when it returned.
    """

    __slots__ = ("error", "result")

    def __init__(self, result: object, error: BaseException | None) -> None:
        self.result: object = result
        self.error: BaseException | None = error


class Timeout:
    """Wait for a call no longer than so many seconds.  Stateless; thread-safe and task-safe.

    The synchronous form runs the call in a daemon thread with a copy of the caller's context: context
    variables can be read there but what is written stays there, and objects bound to a thread (an sqlite3
    connection) do not work.  An abandoned thread goes on until its call ends, and does not keep the
    interpreter alive.  The async form cancels the call and gives it ``CANCELLATION_GRACE_SECONDS`` to end.

    Args:
        seconds: How long to wait, >= 0; 0 does not start the call.
        on_late: Told what an abandoned call did in the end, in its own thread or task.  What it raises
            is logged.
    """

    __slots__ = ("_on_late", "seconds")

    def __init__(self, seconds: float, *, on_late: Callable[[LateOutcome], object] | None = None) -> None:
        self.seconds: float = arguments.number("seconds", seconds, infinite=True)
        self._on_late = on_late

    def call(self, fn: Callable[[], T]) -> T:
        """The result of ``fn()``.

        Raises:
            TurnTimeoutError: It did not end in time.
            Exception: Whatever *fn* raised.
        """
        import contextvars
        import threading

        if not self.seconds:
            raise TurnTimeoutError(self.seconds)
        lock, done = threading.Lock(), threading.Event()
        outcome: list[LateOutcome] = []
        abandoned = False

        def work() -> None:
            try:
                ended = LateOutcome(context.run(fn), None)
            except BaseException as error:
                ended = LateOutcome(None, error)
            try:
                with lock:
                    if not abandoned:
                        outcome.append(ended)
                        done.set()
                        return
                self._tell(ended)
            finally:
                del ended  # an error's traceback holds this frame: no cycle

        context = contextvars.copy_context()
        try:
            threading.Thread(target=work, name="techrevati-timed-call", daemon=True).start()
            done.wait(min(self.seconds, threading.TIMEOUT_MAX))
        except BaseException:  # Ctrl-C: the caller is gone, and whatever the call brings is late
            with lock:
                abandoned = True
            if outcome:
                self._tell(outcome.pop())
            raise
        with lock:  # from here on the outcome is here or late, never both
            abandoned = not outcome
        if abandoned:
            raise TurnTimeoutError(self.seconds)
        ended = outcome.pop()
        if ended.error is None:
            return cast("T", ended.result)
        try:
            raise ended.error
        finally:
            del ended  # the error's traceback holds this frame: no cycle

    async def acall(self, fn: Callable[[], Awaitable[T]]) -> T:
        """The result of ``await fn()``; see :meth:`call`.  Cancelling this cancels the call."""
        import asyncio

        if not self.seconds:
            raise TurnTimeoutError(self.seconds)
        task = asyncio.ensure_future(_coroutine(fn))
        try:
            seconds = None if self.seconds == float("inf") else self.seconds
            await asyncio.wait({task}, timeout=seconds)
        except BaseException:
            await self._abandon(task)
            raise
        if task.done():
            return task.result()
        await self._abandon(task)
        raise TurnTimeoutError(self.seconds)

    async def _abandon(self, task: Task[T]) -> None:
        import asyncio

        task.cancel()
        task.add_done_callback(self._report)
        await asyncio.wait({task}, timeout=CANCELLATION_GRACE_SECONDS)

    def _report(self, task: Task[T]) -> None:
        if not task.cancelled():
            error = task.exception()
            self._tell(LateOutcome(task.result() if error is None else None, error))

    def _tell(self, late: LateOutcome) -> None:
        if self._on_late is None:
            return
        try:
            self._on_late(late)
        except Exception as trouble:
            logger("deadlines").warning("on_late raised %r", trouble)


def _coroutine(fn: Callable[[], Awaitable[T]]) -> Coroutine[object, object, T]:
    async def awaited() -> T:
        return await fn()

    return awaited()
