"""A stream that may spend so many seconds on its items, its consumer's time not counted.

The stream runs in one thread or task of its own from beginning to end.  Its consumer asks there for each step
and waits for the answer no longer than what is left; when that is over the stream is abandoned, as a call is.
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from typing import TYPE_CHECKING

from techrevati.runtime._core.deadline import current, shortened
from techrevati.runtime.deadlines.deadline import Rest
from techrevati.runtime.deadlines.timeout import LateOutcome, Timeout, TurnTimeoutError

if TYPE_CHECKING:
    from asyncio import Future, Queue
    from collections.abc import AsyncGenerator, Callable, Generator
    from typing import Any, TypeAlias

    Step: TypeAlias = tuple[str, Any]  # "send" a value, "throw" an error, or "close"
    Answer: TypeAlias = tuple[str, Any]  # an "item", the "end" with its value, or what it "raised"

_FIRST: Step = ("send", None)
_CLOSE: Step = ("close", None)


# --- threads ------------------------------------------------------------------------------------------------


def timed_generator(
    timeout: Timeout, fn: Callable[..., Generator[Any, Any, Any]]
) -> Callable[..., Generator[Any, Any, Any]]:
    """*fn* under *timeout*, each stream from its first item to its end."""

    def stream(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
        if not timeout.enabled:
            return (yield from fn(*args, **kwargs))
        steps: _ThreadSteps | _DirectSteps
        made = lambda: fn(*args, **kwargs)  # noqa: E731
        steps = _DirectSteps(made) if timeout.observe_only else _ThreadSteps(timeout, made)
        clock = timeout._clock or time.monotonic
        left_s, step = timeout.seconds, _FIRST
        told = False
        while True:
            allowed_s, started_s = shortened(left_s), clock()
            if (rest := steps.rest) is not None:
                rest.renew(left_s)
            answer = steps.take(step, allowed_s)
            took_s = clock() - started_s
            if answer is None:
                raise timeout._over(allowed_s, left_s)
            left_s -= took_s
            kind, value = answer
            if steps.observes and took_s > allowed_s and not told:
                told = True
                _tell_observed(timeout, left_s, answer)
            if kind == "end":
                return value
            if kind == "raised":
                try:
                    if rest is not None and rest.ended(value):
                        raise TurnTimeoutError(timeout.seconds) from value
                    raise value
                finally:
                    del value, answer  # its traceback holds this frame: no cycle
            try:
                step = ("send", (yield value))
            except GeneratorExit:
                steps.close(shortened(max(0.0, left_s)))
                raise
            except BaseException as error:
                step = ("throw", error)

    return stream


class _DirectSteps:
    """A stream that runs where its consumer is."""

    observes = True
    rest: Rest | None = None

    def __init__(self, make: Callable[[], Generator[Any, Any, Any]]) -> None:
        self._make = make
        self._made: Generator[Any, Any, Any] | None = None

    def take(self, step: Step, allowed_s: float) -> Answer | None:
        if self._made is None:
            self._made = self._make()
        return _taken(self._made, step)

    def close(self, allowed_s: float) -> None:
        if self._made is not None:
            self._made.close()


class _ThreadSteps:
    """A stream in a daemon thread with a copy of the consumer's context."""

    observes = False

    def __init__(self, timeout: Timeout, make: Callable[[], Generator[Any, Any, Any]]) -> None:
        import contextvars
        from queue import SimpleQueue

        self._timeout = timeout
        self._make = make
        self._context = contextvars.copy_context()
        self.rest = Rest(timeout.seconds, time.monotonic, current.get())
        self._context.run(current.set, self.rest)
        self._asked: SimpleQueue[Step] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._lock = allocate_lock()
        self._abandoned = self._started = False

    def take(self, step: Step, allowed_s: float) -> Answer | None:
        """The stream's answer to *step*; None when it did not come in time, and then nothing follows."""
        from queue import Empty
        from threading import TIMEOUT_MAX, Thread

        if allowed_s <= 0:
            self._leave()
            return None
        if not self._started:
            Thread(target=self._work, name="techrevati-timed-stream", daemon=True).start()
            self._started = True
        try:
            self._asked.put(step)
            return self._answers.get(timeout=min(allowed_s, TIMEOUT_MAX))
        except Empty:
            return self._leave()
        except BaseException:  # Ctrl-C: the consumer is gone, and whatever the stream brings is late
            late = self._leave()
            if late is not None:
                self._tell(late)
            raise

    def close(self, allowed_s: float) -> None:
        """Close the stream, or let its thread do it when it comes back."""
        answer = self.take(_CLOSE, allowed_s)
        if answer is not None and answer[0] == "raised":
            try:
                raise answer[1]
            finally:
                del answer

    def _leave(self) -> Answer | None:
        """Abandon it, unless an answer is here by now."""
        with self._lock:  # from here on an answer is here or late, never both
            if not self._answers.empty():
                return self._answers.get()
            self._abandoned = True
        self._asked.put(_CLOSE)  # a thread that waits for its next step
        return None

    def _work(self) -> None:
        made: Generator[Any, Any, Any] | None = None
        while True:
            step = self._asked.get()
            try:
                made = made or self._context.run(self._make)
                answer = self._context.run(_taken, made, step)
            except BaseException as error:  # not even begun
                answer = ("raised", error)
            try:
                with self._lock:
                    if not self._abandoned:
                        self._answers.put(answer)
                        if answer[0] != "item":
                            return
                        continue
                if made is not None and answer[0] == "item":
                    self._context.run(_taken, made, _CLOSE)
                if step is not _CLOSE or answer[0] == "raised":
                    self._tell(answer)
                return
            finally:
                del answer  # an error's traceback holds this frame: no cycle

    def _tell(self, answer: Answer) -> None:
        kind, value = answer
        self._timeout._tell(LateOutcome(None, value) if kind == "raised" else LateOutcome(value, None))


def _taken(made: Generator[Any, Any, Any], step: Step) -> Answer:
    how, value = step
    try:
        if how == "send":
            return "item", made.send(value)
        if how == "throw":
            return "item", made.throw(value)
        made.close()
    except StopIteration as end:
        return "end", end.value
    except BaseException as error:
        return "raised", error
    return "end", None


# --- tasks --------------------------------------------------------------------------------------------------


def timed_async_generator(
    timeout: Timeout, fn: Callable[..., AsyncGenerator[Any, Any]]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """:func:`timed_generator` for async generator functions."""

    async def stream(*args: object, **kwargs: object) -> AsyncGenerator[Any, Any]:
        made = fn(*args, **kwargs)
        steps: _TaskSteps | _DirectAsyncSteps
        cuts = timeout.enabled and not timeout.observe_only
        steps = _TaskSteps(timeout, made) if cuts else _DirectAsyncSteps(made)
        observes = timeout.enabled and not cuts
        clock = timeout._loop_clock()
        left_s, step = timeout.seconds, _FIRST
        told = False
        while True:
            allowed_s, started_s = shortened(left_s), clock()
            if (rest := steps.rest) is not None:
                rest.renew(left_s)
            answer = await steps.take(step, allowed_s)
            took_s = clock() - started_s
            if answer is None:
                raise timeout._over(allowed_s, left_s)
            left_s -= took_s
            kind, value = answer
            if observes and took_s > allowed_s and not told:
                told = True
                _tell_observed(timeout, left_s, answer)
            if kind == "end":
                return
            if kind == "raised":
                try:
                    if rest is not None and rest.ended(value):
                        raise TurnTimeoutError(timeout.seconds) from value
                    raise value
                finally:
                    del value, answer
            try:
                step = ("send", (yield value))
            except GeneratorExit:
                await steps.close(shortened(max(0.0, left_s)))
                raise
            except BaseException as error:
                step = ("throw", error)

    return stream


class _DirectAsyncSteps:
    """A stream that runs where its consumer is."""

    rest: Rest | None = None

    def __init__(self, made: AsyncGenerator[Any, Any]) -> None:
        self._made = made

    async def take(self, step: Step, allowed_s: float) -> Answer | None:
        return await _ataken(self._made, step)

    async def close(self, allowed_s: float) -> None:
        await self._made.aclose()


class _TaskSteps:
    """A stream in one task, which therefore sees one context from beginning to end."""

    def __init__(self, timeout: Timeout, made: AsyncGenerator[Any, Any]) -> None:
        import asyncio

        self._timeout = timeout
        self._made = made
        self._loop = asyncio.get_running_loop()
        self.rest = Rest(timeout.seconds, self._loop.time, current.get())
        self._asked: Queue[tuple[Step, Future[Answer]]] = asyncio.Queue()
        self._task = None if timeout.seconds <= 0 else self._loop.create_task(self._work())

    async def take(self, step: Step, allowed_s: float) -> Answer | None:
        """The stream's answer to *step*; None when it did not come in time, and then nothing follows."""
        import asyncio

        if self._task is None:
            return None
        if allowed_s <= 0:
            await self._timeout._abandon(self._task)
            return None
        answer: Future[Answer] = self._loop.create_future()
        self._asked.put_nowait((step, answer))
        try:
            await asyncio.wait({answer}, timeout=None if allowed_s == float("inf") else allowed_s)
        except BaseException:
            answer.cancel()
            await self._timeout._abandon(self._task)
            raise
        if answer.done():
            return answer.result()
        answer.cancel()
        await self._timeout._abandon(self._task)
        return None

    async def close(self, allowed_s: float) -> None:
        answer = await self.take(_CLOSE, allowed_s)
        if answer is not None and answer[0] == "raised":
            try:
                raise answer[1]
            finally:
                del answer

    async def _work(self) -> object:
        """Take the steps that are asked for; what nobody waits for any more is the task's outcome."""
        current.set(self.rest)  # the task's own context: nobody has to leave it
        try:
            while True:
                step, wanted = await self._asked.get()
                kind, value = answer = await _ataken(self._made, step)
                if not wanted.done():
                    wanted.set_result(answer)
                    if kind != "item":
                        return None
                    del step, wanted, answer, value
                    continue
                if kind == "raised":
                    raise value
                return value
        finally:
            await self._made.aclose()


async def _ataken(made: AsyncGenerator[Any, Any], step: Step) -> Answer:
    how, value = step
    try:
        if how == "send":
            return "item", await made.asend(value)
        if how == "throw":
            return "item", await made.athrow(value)
        await made.aclose()
    except StopAsyncIteration:
        return "end", None
    except BaseException as error:
        return "raised", error
    return "end", None


def _tell_observed(timeout: Timeout, left_s: float, answer: Answer) -> None:
    kind, value = answer
    timeout._tell(
        LateOutcome(
            None if kind == "raised" else value,
            value if kind == "raised" else None,
            observed=True,
            elapsed_seconds=timeout.seconds - left_s,
        )
    )
