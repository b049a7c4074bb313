"""Stop waiting in time, even for a call that never answers.

A synchronous call cannot be stopped from outside, so it runs in a thread of its own that can be abandoned; an
async one runs in a task of its own that is cancelled.  Whatever an abandoned call does in the end is told to
the caller: work that was paid for is never lost without a word.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import current, shortened
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Self, TypeVar

    from techrevati.runtime._core.deadline import Remaining

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
        seconds: How long to wait, >= 0; 0 does not start the call.  What is left of the running
            :class:`Deadline` is waited for if that is less.
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
            DeadlineExceededError: The running deadline ended first.
            Exception: Whatever *fn* raised.
        """
        import contextvars
        import threading

        seconds = self._allowed_s()
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
            done.wait(min(seconds, threading.TIMEOUT_MAX))
        except BaseException:  # Ctrl-C: the caller is gone, and whatever the call brings is late
            with lock:
                abandoned = True
            if outcome:
                self._tell(outcome.pop())
            raise
        with lock:  # from here on the outcome is here or late, never both
            abandoned = not outcome
        if abandoned:
            raise self._over(seconds)
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

        allowed_s = self._allowed_s()
        task = asyncio.ensure_future(_coroutine(fn))
        try:
            seconds = None if allowed_s == float("inf") else allowed_s
            await asyncio.wait({task}, timeout=seconds)
        except BaseException:
            await self._abandon(task)
            raise
        if task.done():
            return task.result()
        await self._abandon(task)
        raise self._over(allowed_s)

    def _allowed_s(self) -> float:
        allowed_s = shortened(self.seconds)
        if allowed_s <= 0:
            raise self._over(allowed_s)
        return allowed_s

    def _over(self, waited_s: float) -> TurnTimeoutError | DeadlineExceededError:
        """The error for a wait of so long: the call was too slow, or the time for everything is over."""
        if waited_s < self.seconds:
            return DeadlineExceededError(waited_s)
        return TurnTimeoutError(self.seconds)

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
            logger("deadlines").warning("on_late raised %s", error_text(trouble))


def _coroutine(fn: Callable[[], Awaitable[T]]) -> Coroutine[object, object, T]:
    async def awaited() -> T:
        return await fn()

    return awaited()


class DeadlineExceededError(TechrevatiError, TimeoutError):
    """The time for a whole piece of work is over.

    Attributes:
        seconds: How long it had.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"the deadline of {self.seconds:g} s has passed"


class Deadline:
    """One end for a whole piece of work, which shortens every wait inside it.

    ``with Deadline(30):`` lets every :class:`Timeout`, ``Retry`` and wait inside see how long is left, in
    tasks and timed calls too (it is a context variable; plain threads do not see it).  An inner deadline
    can only end sooner.  It does not interrupt code that never asks.

    Args:
        seconds: How long the work may take, counted from construction, > 0; ``inf`` is no end.
        clock: Monotonic seconds.

    >>> deadline = Deadline(30, clock=lambda: 100.0)
    >>> with deadline:
    ...     deadline.remaining()
    30.0
    """

    __slots__ = ("_clock", "_end_s", "seconds")

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: float = arguments.number("seconds", seconds, infinite=True)
        if not self.seconds:
            raise ValueError(f"seconds must be a number > 0, got {seconds!r}")
        arguments.function("clock", clock)
        self._clock = clock
        self._end_s = clock() + self.seconds

    def remaining(self) -> float:
        """Seconds left of this deadline, >= 0, whatever those around it say."""
        return max(0.0, self._end_s - self._clock())

    def expired(self) -> bool:
        """True when no time is left."""
        return self.remaining() <= 0

    def check(self) -> None:
        """Go on, if there is time.

        Raises:
            DeadlineExceededError: There is none.
        """
        if self.expired():
            raise DeadlineExceededError(self.seconds)

    def __enter__(self) -> Self:
        current.set(_Entered(self, current.get()))
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        current.set(_without(self, current.get()))

    def __repr__(self) -> str:
        return f"Deadline({self.seconds:g} s, {self.remaining():.3g} s left)"


class _Entered:
    """A deadline in force, with those around it: the link is kept here, so that tasks may share one."""

    __slots__ = ("deadline", "outer")

    def __init__(self, deadline: Deadline, outer: Remaining | None) -> None:
        self.deadline = deadline
        self.outer = outer

    def remaining(self) -> float:
        left_s = self.deadline.remaining()
        return left_s if self.outer is None else min(left_s, self.outer.remaining())


def _without(deadline: Deadline, entered: Remaining | None) -> Remaining | None:
    """*entered* less its innermost link for *deadline*: two generators may leave theirs in any order."""
    if not isinstance(entered, _Entered):
        return entered
    if entered.deadline is deadline:
        return entered.outer
    outer = _without(deadline, entered.outer)
    return entered if outer is entered.outer else _Entered(entered.deadline, outer)


def current_deadline() -> Remaining | None:
    """The innermost deadline of this context; None outside any."""
    return current.get()
