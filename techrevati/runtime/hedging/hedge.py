"""Make the requests of a hedged call in threads or tasks."""

from __future__ import annotations

import time
from _thread import allocate_lock
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import check_running, current
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime._core.streams import astreaming, rest
from techrevati.runtime._core.switches import Switched
from techrevati.runtime.hedging.call import HedgedCall
from techrevati.runtime.hedging.latencies import ExtraLoad, Latencies
from techrevati.runtime.hedging.streams import (
    Claim,
    FirstItem,
    aclose_quietly,
    arequest,
    close_quietly,
    request,
)
from techrevati.runtime.hedging.vocabulary import HedgedRequest, HedgeSnapshot, Loser

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
    from contextvars import Context
    from typing import Any, ParamSpec, TypeVar

    from techrevati.runtime.failures import Failure

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

announce("hedging")

DEFAULT_PERCENTILE = 95.0
CANCELLATION_GRACE_SECONDS = 1.0


class Hedge(Switched):
    """Make a second request (up to *max_requests*) when the first is late; the first success is the answer.

    Thread-safe and task-safe; no lock is held while the caller's code runs.  A request that fails starts the
    next at once, where that may help (:func:`helps_again`); a failure never ends the call while another
    request runs.  With *delay_seconds* a request is late after so many seconds; otherwise, or once
    *min_observations* were made if *percentile* is given too, when it takes longer than that percentile of
    the latest latencies.  Those are of first requests; one that was overtaken counts with the time it had
    taken by then, so that slow ones do not vanish from the record.

    **Tasks**: every request is a task; losers are cancelled, and nobody waits for them.  Cancelling the call
    cancels all and waits for their end, at most ``CANCELLATION_GRACE_SECONDS``.  **Threads**: every request,
    also the first, runs in a daemon thread with a copy of the caller's context (context variables written
    there stay there; objects bound to a thread do not work); a loser cannot be stopped and goes on until its
    call ends, so put a timeout inside.  The running deadline allows no further request when it has passed; it
    does not end the waiting.

    Args:
        idempotent: True: the caller's word that a call may be made several times, also at the same time.
        delay_seconds: How long until a request is late, >= 0; 0 makes all requests at once.
        percentile: In percent, from 1 to below 100; 95 when *delay_seconds* is not given either.
        max_requests: Requests for one call, the first included, >= 1.
        max_extra_share: Extra requests per call in the long run, >= 0; after n calls at most
            ``burst_requests + max_extra_share * n`` were made.
        burst_requests: Extra requests that may be made beyond that, >= 0.
        min_observations: Latencies needed before the percentile is used, >= 1 and <= *window_calls*.
        window_calls: The percentile is of the last so many latencies, >= 1.
        hedges_on: Says of a failure whether to make one more request at once; None as its answer leaves that
            to :func:`helps_again`.  One that raises is logged and means no.
        on_hedge: Told every further request that was due, as a :class:`HedgedRequest`.
        on_loser: Told, once for each, what every request brought that was not the outcome of the call, as a
            :class:`Loser`: in its own thread or the caller's, or by the event loop.  What these two raise is
            logged.
        observe_only: Make the first request only, and tell what would have been done; may be set at any time.
        clock: Monotonic seconds; None is ``time.monotonic`` for threads and the event loop's time for tasks.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.

    >>> hedge = Hedge(idempotent=True, delay_seconds=2.0)
    >>> hedge.call(max, 1, 2)
    2
    """

    def __init__(
        self,
        *,
        idempotent: bool,
        delay_seconds: float | None = None,
        percentile: float | None = None,
        max_requests: int = 2,
        max_extra_share: float = 0.1,
        burst_requests: int = 5,
        min_observations: int = 20,
        window_calls: int = 256,
        hedges_on: Callable[[Failure], bool | None] | None = None,
        on_hedge: Callable[[HedgedRequest], object] | None = None,
        on_loser: Callable[[Loser], object] | None = None,
        observe_only: bool = False,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if idempotent is not True:
            raise ValueError(
                f"idempotent must be True, a hedged call is made several times, got {idempotent!r}"
            )
        self._delay_s = None if delay_seconds is None else arguments.number("delay_seconds", delay_seconds)
        if percentile is None and delay_seconds is None:
            percentile = DEFAULT_PERCENTILE
        if percentile is not None:
            percent = arguments.number("percentile", percentile, minimum=1.0)
            if percent >= 100:
                raise ValueError(
                    f"percentile must be a number >= 1 and < 100, in percent, got {percentile!r}"
                )
            percentile = percent
        self._percent = percentile
        self._limit = arguments.count("max_requests", max_requests, minimum=1)
        self._extra = ExtraLoad(
            arguments.number("max_extra_share", max_extra_share),
            arguments.count("burst_requests", burst_requests),
        )
        self._enough = arguments.count("min_observations", min_observations, minimum=1)
        window = arguments.count("window_calls", window_calls, minimum=1)
        if percentile is not None and self._enough > window:
            raise ValueError(f"min_observations must be <= window_calls, got {min_observations} of {window}")
        for name, given in (
            ("hedges_on", hedges_on),
            ("on_hedge", on_hedge),
            ("on_loser", on_loser),
            ("clock", clock),
        ):
            if given is not None:
                arguments.plain(name, given)
        self._latencies = Latencies(window)
        self._hedges_on = hedges_on
        self._on_hedge = on_hedge
        self._on_loser = on_loser
        self._clock = clock
        self._lock = fork_safe_lock()
        self._calls = self._hedged = self._won = self._refused = 0
        self._cancelled: set[Task[Any]] = set()  # the loop itself holds tasks only weakly
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to make every call once, directly."""

    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The first answer of ``fn(*args, **kwargs)``.

        Raises:
            Exception: All requests failed: the first failure that asking again would not cure, else the one
                that says when to come back, else the first; a note names them all.
            DeadlineExceededError: The running deadline had passed before; no request was made.
            TypeError: *fn* is an async function or gave a generator.
        """
        if not self.enabled:
            return _answer(fn(*args, **kwargs))
        if current.get() is not None and not self.observe_only:
            check_running()  # nothing begins after the deadline
        from contextvars import copy_context
        from queue import Empty, SimpleQueue
        from threading import TIMEOUT_MAX, Thread

        call = HedgedCall(self, self._clock or time.monotonic)
        arrivals: SimpleQueue[tuple[int, object, BaseException | None]] = SimpleQueue()
        lock, over = allocate_lock(), False
        error: BaseException | None = None

        def work(number: int, context: Context) -> None:
            arrived: tuple[int, object, BaseException | None]
            try:
                arrived = number, context.run(lambda: _answer(fn(*args, **kwargs))), None
            except BaseException as raised:
                arrived = number, None, raised
            try:
                with lock:
                    if not over:
                        arrivals.put(arrived)
                        return
                context.run(call.tell_loser, *arrived)
            finally:
                del arrived  # an error's traceback holds this frame: no cycle

        def start(number: int) -> None:
            Thread(
                target=work, args=(number, copy_context()), name=f"techrevati-hedge-{number}", daemon=True
            ).start()

        try:
            start(1)
            while True:
                call.start_due(start)
                call.check()
                wait_s = call.wait_s()
                try:
                    number, result, error = arrivals.get(
                        timeout=None if wait_s is None else min(wait_s, TIMEOUT_MAX)
                    )
                except Empty:
                    call.timer_fired()
                    continue
                if error is None:
                    if isinstance(result, FirstItem) and not result.won:
                        call.tell_loser(number, result, None)  # the winner is about to arrive
                        continue
                    call.won(number)
                    return cast("T", result)
                if not isinstance(error, Exception):
                    raise error
                call.failed(number, error)
        finally:
            error = None  # its traceback holds this frame: no cycle
            with lock:  # from here on an outcome is here or late, never both
                over = True
            while not arrivals.empty():
                call.tell_loser(*arrivals.get())
            call.end()

    async def acall(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The first answer of ``await fn(*args, **kwargs)``; see :meth:`call`."""
        if not self.enabled:
            return await fn(*args, **kwargs)
        if current.get() is not None and not self.observe_only:
            check_running()  # nothing begins after the deadline
        import asyncio

        call = HedgedCall(self, self._clock or asyncio.get_running_loop().time)
        running: dict[Task[T], int] = {}
        done: set[Task[T]] | None = None

        async def request() -> T:
            return await fn(*args, **kwargs)

        def start(number: int) -> None:
            running[asyncio.ensure_future(request())] = number

        try:
            start(1)
            while True:
                call.start_due(start)
                call.check()
                done, _ = await asyncio.wait(
                    running, timeout=call.wait_s(), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    call.timer_fired()
                for answer in self._answers(call, running, done):
                    # Nothing is awaited from here on: a cancellation cannot take the answer away.
                    self._abandon(call, running)
                    return answer
        except BaseException as ended:
            self._abandon(call, running)
            if running and not isinstance(ended, GeneratorExit):
                await asyncio.wait(running, timeout=CANCELLATION_GRACE_SECONDS)
            raise
        finally:
            done = None  # an error's traceback holds this frame: no cycle
            call.end()

    def stream(
        self, fn: Callable[P, Iterable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Generator[T, Any, Any]:
        """The stream that ``fn(*args, **kwargs)`` gives, hedged up to its first item.

        A stream is late when its first item is; the one that gives an item first is read to its end, and its
        failures are raised.  The others are closed as soon as theirs comes, and told as losers.  The first
        item is made in a thread with a copy of the caller's context, the rest by whoever reads.

        Raises:
            Exception, TypeError: As :meth:`call`, while it is read.
        """
        claim = Claim()
        try:
            first = self.call(lambda: request(claim, lambda: fn(*args, **kwargs)))
        except BaseException:
            close_quietly(claim.give_up())
            raise
        return (yield from rest(first.begun))

    def astream(
        self,
        fn: Callable[P, AsyncIterable[T] | Awaitable[AsyncIterable[T]]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncGenerator[T, Any]:
        """:meth:`stream` for async generator functions, and for async functions that return an async stream;
        losers are cancelled."""

        async def begun() -> Any:
            claim = Claim()
            try:
                first = await self.acall(lambda: arequest(claim, lambda: fn(*args, **kwargs)))
            except BaseException:
                await aclose_quietly(claim.give_up())
                raise
            return first.begun

        return astreaming(begun)()

    def __call__(self, fn: F) -> F:
        """Decorate a ``def`` or ``async def``: each call is hedged; of a generator or async
        generator function each stream, up to its first item.

        Raises:
            TypeError: *fn* cannot be wrapped.
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
        if kind == COROUTINE:

            async def acalled(*args: object, **kwargs: object) -> object:
                return await self.acall(cast("Callable[..., Awaitable[object]]", fn), *args, **kwargs)

            return cast("F", update_wrapper(acalled, fn))
        made = cast("Callable[..., Any]", fn)
        if kind == GENERATOR:

            def streamed(*args: object, **kwargs: object) -> Generator[Any, Any, Any]:
                return (yield from self.stream(made, *args, **kwargs))

            return cast("F", update_wrapper(streamed, fn))
        if kind == ASYNC_GENERATOR:
            from techrevati.runtime._core.wrapping import chosen

            astreamed = chosen(kind, lambda: lambda *args, **kwargs: self.astream(made, *args, **kwargs))
            return cast("F", update_wrapper(astreamed, fn))

        if may_be_async(fn):
            return cast("F", update_wrapper(either(self.call, self.acall, made), fn))

        def called(*args: object, **kwargs: object) -> object:
            return self.call(fn, *args, **kwargs)

        return cast("F", update_wrapper(called, fn))

    def snapshot(self) -> HedgeSnapshot:
        """What it did so far."""
        with self._lock:
            return HedgeSnapshot(
                self._calls,
                self._hedged,
                self._won,
                self._refused,
                self._delay_locked(),
                len(self._latencies),
            )

    def __repr__(self) -> str:
        return f"{self.snapshot()!r}".replace("HedgeSnapshot", "Hedge", 1)

    # --- what both ways to call do --------------------------------------------------------------------------

    def _delay_locked(self) -> float | None:
        if self._percent is None or len(self._latencies) < self._enough:
            return self._delay_s
        return self._latencies.percentile_s(self._percent)

    def _called(self) -> float | None:
        """Note a call; seconds until a request of it is late."""
        with self._lock:
            self._calls += 1
            self._extra.called()
            return self._delay_locked()

    def _take(self) -> bool:
        with self._lock:
            taken = self._extra.take()
            self._hedged += taken
            self._refused += not taken
            return taken

    def _give_back(self) -> None:
        with self._lock:
            self._extra.give_back()
            self._hedged -= 1

    def _answered(self, latency_s: float | None, extra: bool) -> None:
        """Note an answer, and how long the first request of its call took or has taken."""
        with self._lock:
            self._won += extra
            if latency_s is not None and self._percent is not None:
                self._latencies.add(latency_s)

    def _answers(self, call: HedgedCall, running: dict[Task[T], int], done: set[Task[T]]) -> list[T]:
        """The answer among those *done*, the earliest request's; the failures before it are noted."""
        for task in [task for task in running if task in done]:
            number = running.pop(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception):
                call.failed(number, error)
                continue
            answer = task.result()  # raises a cancellation or an exit of the request itself
            if isinstance(answer, FirstItem) and not answer.won:
                call.tell_loser(number, answer, None)
                continue
            call.won(number)
            return [answer]
        return []

    def _abandon(self, call: HedgedCall, running: dict[Task[T], int]) -> None:
        for task, number in running.items():
            if task.done():
                self._ended(call, number, task)
            else:
                self._cancelled.add(task)
                task.add_done_callback(lambda task, number=number: self._ended(call, number, task))  # type: ignore[misc]
                task.cancel()

    def _ended(self, call: HedgedCall, number: int, task: Task[T]) -> None:
        self._cancelled.discard(task)
        if task.cancelled():
            from asyncio import CancelledError

            call.tell_loser(number, None, CancelledError(), True)
            return
        error = task.exception()
        call.tell_loser(number, task.result() if error is None else None, error)

    def _tell(self, listener: Callable[[Any], object] | None, name: str, news: object) -> None:
        if listener is None:
            return
        try:
            listener(news)
        except Exception as trouble:
            logger("hedging").warning("%s raised %s", name, error_text(trouble))


def _answer(answer: T) -> T:
    """*answer*, unless it is one that has not even begun."""
    if isinstance(answer, CoroutineType):
        answer.close()
        raise TypeError("an async function is hedged with acall(), not call()")
    if isinstance(answer, (GeneratorType, AsyncGeneratorType)):
        raise TypeError("a stream is hedged with stream() or astream(), not call()")
    return answer
