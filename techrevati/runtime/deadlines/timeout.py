"""One call, waited for no longer than so many seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import current, given_s, shortened
from techrevati.runtime._core.errors import DeadlineExceededError, TechrevatiError
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.switches import Switched
from techrevati.runtime._core.unbegun import UNBEGUN, refuse_unbegun
from techrevati.runtime.deadlines.deadline import Rest

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])


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
    """What a call that took too long did in the end: a ``result``, or the ``error`` it raised.

    Attributes:
        result: What it returned, or the item that an abandoned stream gave; None when it raised.
        error: What it raised; None when it returned.
        observed: True when the timeout only observes: the caller got this outcome, late as it was.
        elapsed_seconds: How long it took; None when nobody knows, as of an abandoned call.
    """

    __slots__ = ("elapsed_seconds", "error", "observed", "result")

    def __init__(
        self,
        result: object,
        error: BaseException | None,
        *,
        observed: bool = False,
        elapsed_seconds: float | None = None,
    ) -> None:
        self.result: object = result
        self.error: BaseException | None = error
        self.observed: bool = observed
        self.elapsed_seconds: float | None = elapsed_seconds


class Timeout(Switched):
    """Wait for a call no longer than so many seconds.  Thread-safe and task-safe.

    Use it as ``timeout.call(fn, …)``, ``await timeout.acall(fn, …)``, or as a decorator ``@timeout`` of a
    ``def``, ``async def``, generator or async generator function.

    The synchronous form runs the call in a daemon thread with a copy of the caller's context: context
    variables can be read there but what is written stays there, and objects bound to a thread (an sqlite3
    connection) do not work.  An abandoned thread goes on until its call ends, and does not keep the
    interpreter alive.  The async form runs it in a task of its own, cancels that, and gives it
    ``CANCELLATION_GRACE_SECONDS`` to end.

    A stream runs in one thread or task from its first item to its end, and may spend the time on all its
    items together; what its consumer does in between is not counted.  One that is cut is closed where it
    stands, or as soon as its thread comes back.

    What is left of its time is the end of every wait, queue and timeout inside, as that of a
    :class:`Deadline` is: an abandoned call comes to an end, and tries nothing again for nobody.

    Args:
        seconds: How long to wait, >= 0; 0 does not start the call.  What is left of the running
            :class:`Deadline` is waited for if that is less.
        on_late: Told what a call that took too long did in the end: an abandoned one in its own thread or
            task, an observed one by its caller.  What it raises is logged.
        observe_only: Measure and tell, but never cut; the call then runs where its caller is.  May be set at
            any time.
        clock: Monotonic seconds, to measure by; None is ``time.monotonic`` for threads and the event loop's
            time for tasks.
    """

    __slots__ = ("_clock", "_on_late", "enabled", "observe_only", "seconds")

    def __init__(
        self,
        seconds: float,
        *,
        on_late: Callable[[LateOutcome], object] | None = None,
        observe_only: bool = False,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.seconds: float = arguments.number("seconds", seconds, infinite=True)
        for name, given in (("on_late", on_late), ("clock", clock)):
            if given is not None:
                arguments.plain(name, given)
        self._on_late = on_late
        self._clock = clock
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to make every call directly, unmeasured."""

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``fn(*args, **kwargs)``.

        Raises:
            TurnTimeoutError: It did not end in time.
            DeadlineExceededError: The running deadline ended first.
            TypeError: *fn* is an async function: use :meth:`acall`.
            Exception: Whatever *fn* raised.
        """
        if self.observe_only or not self.enabled:
            return self._observed(fn, args, kwargs)
        import contextvars
        import threading

        seconds = self._allowed_s(self.seconds)
        rest = Rest(self.seconds, time.monotonic, current.get())
        lock, done = threading.Lock(), threading.Lock()  # done is free when the outcome is there
        done.acquire()
        outcome: list[LateOutcome] = []
        abandoned = False

        def work() -> None:
            try:
                ended = LateOutcome(answered(fn, context.run(_under, rest, fn, args, kwargs)), None)
            except BaseException as error:
                ended = LateOutcome(None, error)
            try:
                with lock:
                    if not abandoned:
                        outcome.append(ended)
                        done.release()
                        return
                self._tell(ended)
            finally:
                del ended  # an error's traceback holds this frame: no cycle

        context = contextvars.copy_context()
        try:
            threading.Thread(target=work, name="techrevati-timed-call", daemon=True).start()
            done.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
        except BaseException:  # Ctrl-C: the caller is gone, and whatever the call brings is late
            with lock:
                abandoned = True
            if outcome:
                self._tell(outcome.pop())
            raise
        with lock:  # from here on the outcome is here or late, never both
            abandoned = not outcome
        if abandoned:
            raise self._over(seconds, self.seconds)
        ended = outcome.pop()
        if ended.error is None:
            return cast("T", ended.result)
        try:
            if rest.ended(ended.error):
                raise TurnTimeoutError(self.seconds) from ended.error
            raise ended.error
        finally:
            del ended  # the error's traceback holds this frame: no cycle

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``await fn(*args, **kwargs)``; see :meth:`call`.  Cancelled, it cancels the call."""
        import asyncio

        if self.observe_only or not self.enabled:
            return await self._aobserved(fn, args, kwargs)
        allowed_s = self._allowed_s(self.seconds)
        rest = Rest(self.seconds, asyncio.get_running_loop().time, current.get())
        task = asyncio.ensure_future(_coroutine(fn, args, kwargs, rest))
        try:
            seconds = None if allowed_s == float("inf") else allowed_s
            await asyncio.wait({task}, timeout=seconds)
        except GeneratorExit:  # closed, not cancelled: nothing may be awaited any more
            self._cancel(task)
            raise
        except BaseException:
            await self._abandon(task)
            raise
        if not task.done():
            await self._abandon(task)
            raise self._over(allowed_s, self.seconds)
        try:
            return task.result()
        finally:
            del task  # its error's traceback holds this frame: no cycle

    def __call__(self, fn: F) -> F:
        """Decorate *fn* of any colour: each call, or each stream, has so many seconds.

        Raises:
            TypeError: A wrapper could not be right: of a class or a ``staticmethod`` object.
        """
        from functools import update_wrapper

        from techrevati.runtime._core.wrapping import (
            ASYNC_GENERATOR,
            COROUTINE,
            GENERATOR,
            colour,
            either,
            may_be_async,
        )

        kind = colour(fn)
        if kind in (GENERATOR, ASYNC_GENERATOR):
            from techrevati.runtime.deadlines.timed_stream import timed_async_generator, timed_generator

            timed = timed_generator if kind == GENERATOR else timed_async_generator
            return cast("F", update_wrapper(timed(self, fn), fn))  # type: ignore[arg-type]
        if may_be_async(fn):
            return cast("F", update_wrapper(either(self.call, self.acall, fn), fn))
        if kind == COROUTINE:

            async def acalled(*args: object, **kwargs: object) -> object:
                return await self.acall(fn, *args, **kwargs)  # type: ignore[arg-type]

            return cast("F", update_wrapper(acalled, fn))

        def called(*args: object, **kwargs: object) -> object:
            return self.call(fn, *args, **kwargs)

        return cast("F", update_wrapper(called, fn))

    def __repr__(self) -> str:
        return f"Timeout({self.seconds:g} s)"

    # --- what every way to call does ------------------------------------------------------------------------

    def _allowed_s(self, seconds: float) -> float:
        allowed_s = shortened(seconds)
        if allowed_s <= 0:
            raise self._over(allowed_s, seconds)
        return allowed_s

    def _over(self, waited_s: float, seconds: float) -> TurnTimeoutError | DeadlineExceededError:
        """The error for a wait of so long when *seconds* were left: the call was too slow, or the time for
        everything is over."""
        if waited_s < seconds:
            return DeadlineExceededError(given_s(waited_s))
        return TurnTimeoutError(self.seconds)

    def _observed(self, fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
        if not self.enabled:
            return fn(*args, **kwargs)
        clock = self._clock or time.monotonic
        allowed_s, started_s = shortened(self.seconds), clock()
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            self._tell_observed(clock() - started_s, allowed_s, None, error)
            raise
        self._tell_observed(clock() - started_s, allowed_s, result, None)
        return result

    async def _aobserved(
        self, fn: Callable[..., Awaitable[T]], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> T:
        if not self.enabled:
            return await fn(*args, **kwargs)
        clock = self._loop_clock()
        allowed_s, started_s = shortened(self.seconds), clock()
        try:
            result = await fn(*args, **kwargs)
        except BaseException as error:
            self._tell_observed(clock() - started_s, allowed_s, None, error)
            raise
        self._tell_observed(clock() - started_s, allowed_s, result, None)
        return result

    def _loop_clock(self) -> Callable[[], float]:
        import asyncio

        return self._clock or asyncio.get_running_loop().time

    def _tell_observed(
        self, took_s: float, allowed_s: float, result: object, error: BaseException | None
    ) -> None:
        if took_s > allowed_s:
            self._tell(LateOutcome(result, error, observed=True, elapsed_seconds=took_s))

    async def _abandon(self, task: Task[T]) -> None:
        import asyncio

        self._cancel(task)
        await asyncio.wait({task}, timeout=CANCELLATION_GRACE_SECONDS)

    def _cancel(self, task: Task[T]) -> None:
        task.cancel()
        task.add_done_callback(self._report)

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


def answered(fn: Callable[..., object], result: T) -> T:
    """*result* of *fn*, unless it is a call that has not even begun."""
    if isinstance(result, UNBEGUN):
        refuse_unbegun(fn, result, "is timed with acall(), not call()")
    return result


def _under(rest: Rest, fn: Callable[..., T], args: tuple[object, ...], kwargs: dict[str, object]) -> T:
    current.set(rest)  # the thread's own context: nobody has to leave it
    return fn(*args, **kwargs)


def _coroutine(
    fn: Callable[..., Awaitable[T]], args: tuple[object, ...], kwargs: dict[str, object], rest: Rest
) -> Coroutine[object, object, T]:
    async def awaited() -> T:
        current.set(rest)  # the task's own context: nobody has to leave it
        try:
            return await fn(*args, **kwargs)
        except DeadlineExceededError as error:
            if rest.ended(error):
                raise TurnTimeoutError(rest.given_s) from error
            raise

    return awaited()
