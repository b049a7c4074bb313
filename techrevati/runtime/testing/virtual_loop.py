"""An event loop in virtual time: it jumps to the next timer instead of waiting for it.

Virtual time passes only when nothing can run.  While a worker thread of the loop is busy
(``asyncio.to_thread``, ``run_in_executor``) the loop waits for it in real time, since the thread lives there:
timers then take as long as they say, so none fires too early and none is missed.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import selectors
import threading
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from techrevati.runtime._core.errors import TechrevatiError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from concurrent.futures import Executor, Future, ThreadPoolExecutor
    from contextvars import Context
    from typing import TypeVar, TypeVarTuple

    T = TypeVar("T")
    Ts = TypeVarTuple("Ts")

MAX_NAMED = 10
_THREAD_PATIENCE_S = 5.0
_GLANCE_S = 0.02  # between looks at whether the other threads still live


class EverythingWaitsError(TechrevatiError, RuntimeError):
    """Every task waits and no timer is set: in real life this would hang for ever.

    Attributes:
        waiting: The first ten tasks with the place where each waits.
        sockets: How many sockets the loop watches; it does not wait for them.
    """

    def __init__(self, waiting: Sequence[str] = (), sockets: int = 0) -> None:
        super().__init__(tuple(waiting), sockets)
        self.waiting: tuple[str, ...] = tuple(waiting)
        self.sockets: int = sockets

    def __str__(self) -> str:
        text = "every task waits for ever: nothing is scheduled that could wake one"
        if self.waiting:
            text += "; " + "; ".join(self.waiting)
        if self.sockets:
            text += f"; {self.sockets} sockets are open, and a loop in virtual time does not wait for them"
        return text


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits while no thread works: tells the loop's clock to jump instead."""

    loop: VirtualEventLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Read before the glance: a worker that ends in between has woken the loop already.
        working = self.loop.working
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if working:
            ready = super().select(timeout)
        elif timeout is None:
            ready = self._from_other_threads()
            if not ready:
                raise EverythingWaitsError(self.loop.waiting(), max(0, len(self.get_map()) - 1))
        if not ready and timeout is not None:
            self.loop.jump(timeout)
        return ready

    def _from_other_threads(self) -> list[tuple[selectors.SelectorKey, int]]:
        """What threads that were started meanwhile bring within their patience; nothing if there are none."""
        end_s = time.monotonic() + self.loop.thread_patience_s
        ready: list[tuple[selectors.SelectorKey, int]] = []
        while not ready and self.loop.has_other_threads() and time.monotonic() < end_s:
            ready = super().select(_GLANCE_S)
        return ready or super().select(0)


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: timers fire in order, at once.

    Worker threads of ``run_in_executor`` and ``asyncio.to_thread`` are waited for, however long they take;
    meanwhile timers run in real time. Threads started otherwise, after the loop was made, may wake it with
    ``call_soon_threadsafe``: when nothing else is left to do, it waits *thread_patience_s* real seconds for
    them before it says that everything waits. Sockets live in real time, and the loop does not wait for
    them.

    Args:
        thread_patience_s: See above; real seconds, >= 0.
    """

    def __init__(self, thread_patience_s: float = _THREAD_PATIENCE_S) -> None:
        from techrevati.runtime._core import arguments

        self.thread_patience_s: float = arguments.number("thread_patience_s", thread_patience_s)
        self._now = 0.0
        self._jobs: set[object] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._older_threads = WeakSet(threading.enumerate())
        self._own_threads = WeakSet[threading.Thread]()  # workers of executors: their jobs are known
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Move the clock on."""
        self._now += max(0.0, seconds)
        # A timer is due within the clock's resolution; far from zero, floats are coarser than that.
        self._clock_resolution = max(1e-9, math.ulp(self._now))

    @property
    def working(self) -> bool:
        """Whether a worker thread has something to do for this loop."""
        return bool(self._jobs)

    def has_other_threads(self) -> bool:
        """Whether threads live that were started after this loop was made, its idle workers aside."""
        return any(
            thread not in self._older_threads and thread not in self._own_threads
            for thread in threading.enumerate()
        )

    def waiting(self) -> tuple[str, ...]:
        """The tasks that wait, with the place; at most ten."""
        tasks = sorted(
            (task for task in asyncio.all_tasks(self) if not task.done()), key=lambda each: each.get_name()
        )
        named = [_waits(task) for task in tasks[:MAX_NAMED]]
        return (*named, f"and {len(tasks) - MAX_NAMED} more") if len(tasks) > MAX_NAMED else tuple(named)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """A timer; one for the end of time is never set, so that waiting for it is noticed."""
        if when == float("inf"):
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def set_default_executor(self, executor: ThreadPoolExecutor) -> None:  # type: ignore[override]
        """Use *executor* where none is named."""
        super().set_default_executor(executor)
        self._pool = executor

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Call *func* in a thread; virtual time stands still until it has returned."""
        from concurrent.futures import ThreadPoolExecutor

        if executor is None:
            if self._pool is None:
                self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
            executor = self._pool
        assert executor is not None
        capture = _capturing(executor, self._own_threads)
        made = super().run_in_executor(capture, func, *args)
        job: Future[object] = capture.submitted[-1]
        self._jobs.add(job)
        # Added after asyncio's own callback, so the result is under way before the job is forgotten.
        job.add_done_callback(self._worked)
        return made

    def _worked(self, job: Future[object]) -> None:
        self._jobs.discard(job)
        try:
            self.call_soon_threadsafe(_nothing)  # the loop may be waiting for this very job
        except RuntimeError:  # closed already
            pass

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """End the worker threads; *timeout* is in real seconds."""
        ending = object()
        self._jobs.add(ending)  # a thread of asyncio's own does it
        try:
            async with asyncio.timeout(timeout):
                await super().shutdown_default_executor()
        finally:
            self._jobs.discard(ending)


def _nothing() -> None:
    """Wakes a loop."""


def _capturing(executor: Executor, own_threads: WeakSet[threading.Thread]) -> Any:
    """An executor that hands its work to *executor* and keeps the futures, which asyncio would hide."""
    from concurrent.futures import Executor, ThreadPoolExecutor

    class Capture(Executor):
        def __init__(self) -> None:
            self.submitted: list[Future[Any]] = []

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            def work() -> Any:
                own_threads.add(threading.current_thread())
                return fn(*args, **kwargs)

            # Only a thread's work may be a closure; a process pool must be able to pickle it.
            threads = isinstance(executor, ThreadPoolExecutor)
            future = executor.submit(work) if threads else executor.submit(fn, *args, **kwargs)
            self.submitted.append(future)
            return future

    return Capture()


def _waits(task: asyncio.Task[Any]) -> str:
    """``'Task-1' (main) in test_x.py:12: Event.wait``: the caller's line, and what it awaits there."""
    step: Any = task.get_coro()
    name = getattr(step, "__qualname__", type(step).__name__)
    line, awaited = "", ""
    while step is not None:
        frame = (
            getattr(step, "cr_frame", None)
            or getattr(step, "gi_frame", None)
            or getattr(step, "ag_frame", None)
        )
        if frame is not None:
            path = PurePath(frame.f_code.co_filename)
            if path.parent.name == "asyncio":
                awaited = awaited or getattr(step, "__qualname__", "")
            else:
                line, awaited = f" in {path.name}:{frame.f_lineno}", ""
        inner = (
            getattr(step, "cr_await", None)
            or getattr(step, "gi_yieldfrom", None)
            or getattr(step, "ag_await", None)
        )
        if inner is None:
            break
        if (
            not hasattr(inner, "cr_frame")
            and not hasattr(inner, "gi_frame")
            and not hasattr(inner, "ag_frame")
        ):
            awaited = awaited or type(inner).__name__
            break
        step = inner
    return f"{task.get_name()!r} ({name}){line}" + (f": {awaited}" if awaited else "")


def run(main: Coroutine[object, object, T], *, thread_patience_s: float = _THREAD_PATIENCE_S) -> T:
    """The result of *main*, run in virtual time on a loop of its own.

    Work in threads (``asyncio.to_thread``) is waited for in real time. Whatever happens, the tasks left are
    cancelled, asynchronous generators and worker threads ended, and the loop closed.

    Args:
        main: What to run.
        thread_patience_s: Real seconds that other threads have to wake a loop that has nothing else to do.

    Raises:
        EverythingWaitsError: Every task waits for ever; it names them.
        RuntimeError: Called while a loop runs in this thread; *main* is closed. In a worker thread it works.
    """
    if not inspect.iscoroutine(main):
        raise TypeError(f"main must be a coroutine, got {main!r}")
    # Private in name only: the way to ask without an exception, which asyncio itself documents.
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError(
            "run() cannot be called while a loop runs in this thread; await the coroutine there"
        )
    with asyncio.Runner(loop_factory=lambda: VirtualEventLoop(thread_patience_s)) as runner:
        result: T = runner.run(main)
        return result
