"""The asynchronous watched stream."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from techrevati.runtime._core.collector import collecting, later
from techrevati.runtime._core.streams import aclose
from techrevati.runtime.streaming.common import Watched, closing_failed
from techrevati.runtime.streaming.patience import NEVER, Patience

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Handle, Task
    from collections.abc import Callable
    from typing import Self

    from techrevati.runtime.streaming.vocabulary import StreamOutcome, StreamState, UsageReader

T = TypeVar("T")


class AsyncWatchedStream(Watched[T], AsyncIterator[T]):
    """An asynchronous stream under watch: an async iterator and context manager.  See :func:`watch`.

    For one task at a time, in the event loop it was made in.

    Attributes:
        stream: The stream that is watched.
        outcome: How it ended; None while it runs.
    """

    def __init__(
        self,
        stream: AsyncIterable[T],
        first_token_seconds: float | None = None,
        idle_seconds: float | None = None,
        *,
        usage: UsageReader | None = None,
        on_end: Callable[[StreamOutcome], object] | None = None,
        is_token: Callable[[T], bool] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        if clock is None:
            # The same clock, without the method call around it; a loop of another kind may have its own.
            own = getattr(type(loop), "time", None) is not asyncio.BaseEventLoop.time
            clock = loop.time if own else time.monotonic
        super().__init__(stream, first_token_seconds, idle_seconds, usage, on_end, is_token, clock)
        self._loop = loop
        self._current_task = asyncio.current_task
        self._interrupted = asyncio.CancelledError
        self._limited = self._patience.limited
        self._alarm = _Alarm(loop, self._clock, self._patience)
        self._made = aiter(stream)
        self._astep: Callable[[], Any] = self._made.__anext__

    async def __anext__(self) -> T:
        patience, alarm = self._patience, self._alarm
        if self.outcome is not None:
            raise StopAsyncIteration
        since = self._clock()
        if self._limited:
            # Each time: a consumer may wait in one task after the other.
            alarm.task = task = self._current_task(self._loop)
            alarm.cancels = 0 if task is None else task.cancelling()
            if since >= patience.deadline:
                patience.give_up(since)
                raise await self._stalled()
            patience.since = since
            if not patience.armed:
                alarm.arm(since)
        try:
            chunk: T = await self._astep()
        except BaseException as error:
            await self._over(error)
            raise
        patience.since = NEVER
        if patience.fired is not None:
            alarm.taken_back()
            raise await self._stalled()
        self._chunks += 1
        if self._add is not None:
            self._read_usage(chunk)
        if patience.first_token_s is None:
            self._came(chunk, since)
        return chunk

    async def _over(self, error: BaseException) -> None:
        """The stream ended or raised *error*; raises what its consumer gets in place of that."""
        patience = self._patience
        patience.since = NEVER
        ours = patience.fired is not None and self._alarm.taken_back()
        if isinstance(error, self._interrupted):
            if ours:
                raise await self._stalled() from error
            await self._finish("cancelled", error)
        elif not isinstance(error, Exception):
            self._drop("cancelled", error)  # the task is being thrown away: it cannot wait any more
        elif patience.fired is not None:
            raise await self._stalled() from (None if isinstance(error, StopAsyncIteration) else error)
        elif isinstance(error, StopAsyncIteration):
            await self._finish("completed")
        else:
            await self._finish("failed", error)

    async def _stalled(self) -> BaseException:
        error = self._too_late()
        await self._finish("stalled", error)
        return error

    async def _finish(self, state: StreamState, error: BaseException | None = None) -> None:
        self._patience.since = NEVER
        self._astep = _nothing
        self._alarm.disarm()
        try:
            if state != "completed":
                await _closed(*self._both())
        finally:
            self._settle(state, error)

    def _drop(self, state: StreamState, error: BaseException | None = None) -> None:
        """End it without waiting: the loop closes the stream when it can."""
        self._patience.since = NEVER
        self._astep = _nothing
        self._alarm.disarm()
        self._alarm.close_later(*self._both())
        if collecting():  # perhaps while this thread holds a lock that *on_end* waits for
            later(partial(self._settle, state, error))
        else:
            self._settle(state, error)

    async def aclose(self) -> None:
        """End it early: the stream is closed, and what it used is estimated.  Twice does nothing."""
        if self.outcome is None:
            await self._finish("closed")

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if getattr(self, "outcome", self) is None and hasattr(self, "_astep"):
            self._drop("closed")


class _Alarm:
    """The one timer of a stream, which cancels the task that waits.

    It does not hold the stream, so a stream that was dropped with the timer set can be collected.  A wait
    that is too long gets one more turn of the loop: a loop that was blocked may have its chunk at hand.
    """

    __slots__ = ("_clock", "_handle", "_loop", "_patience", "cancels", "task")

    def __init__(self, loop: AbstractEventLoop, clock: Callable[[], float], patience: Patience) -> None:
        self._loop = loop
        self._clock = clock
        self._patience = patience
        self._handle: Handle | None = None
        self.task: Task[Any] | None = None
        self.cancels = 0  # asked of the task before this wait, by others

    def arm(self, now: float) -> None:
        """Look when the wait that began *now* could be too long."""
        self._patience.armed = True
        self._again(now)

    def disarm(self) -> None:
        """Look no more; from any thread."""
        handle, self._handle, self.task = self._handle, None, None
        if handle is not None:
            handle.cancel()  # only marks it, so any thread may

    def taken_back(self) -> bool:
        """Take our cancellation back; True when nobody else has cancelled the task meanwhile."""
        task, self.task = self.task, None
        return task is not None and task.uncancel() <= self.cancels

    def _again(self, now: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        left_s = self._patience.look(now)
        if left_s <= 0:
            self._handle = self._loop.call_soon(self._fire, self._patience.since)
        elif left_s != NEVER:
            self._handle = self._loop.call_later(left_s, self._look)

    def _look(self) -> None:
        self._again(self._clock())

    def _fire(self, since: float) -> None:
        self._handle = None
        patience, task = self._patience, self.task
        if patience.since != since:  # it came after all
            self._look()
        elif task is not None:
            patience.give_up(self._clock())
            task.cancel()

    def close_later(self, *streams: object) -> None:
        """Have the loop close *streams*, if it still runs."""
        if self._loop.is_running():
            try:
                self._loop.call_soon_threadsafe(_close_in, self._loop, streams)
            except RuntimeError:
                pass  # it was closed meanwhile


_closing: set[Task[None]] = set()  # a loop keeps no task alive by itself


def _close_in(loop: AbstractEventLoop, streams: tuple[object, ...]) -> None:
    task = loop.create_task(_closed(*streams))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _closed(*streams: object) -> None:
    for at, each in enumerate(streams):
        try:
            await aclose(each)
        except Exception as trouble:
            closing_failed(trouble)
        except BaseException:  # cancelled while closing: the rest is closed all the same
            await _closed(*streams[at + 1 :])
            raise


async def _nothing() -> Any:
    raise StopAsyncIteration
