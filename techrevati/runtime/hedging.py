"""Ask a second time when the first answer is late, and take whichever comes first.

Pure functions over a frozen ``Race`` say when the next request of a call begins; a bounded ring of latencies
says what late is, and a token bucket keeps the extra load to a small share.  ``Hedge`` makes the requests, in
threads or tasks, and tells what the losers bring in the end: they may have been billed.

Source: Dean and Barroso, "The Tail at Scale" (CACM 56-2, 2013): a second request once the first has been out
for longer than the 95th percentile; the cap on extra load as in Finagle's backup requests (``maxExtraLoad``);
one more at once after a failure as in gRPC's hedging (proposal A6).
"""

from __future__ import annotations

import time
from _thread import allocate_lock
from bisect import bisect_left, insort
from collections import deque
from math import ceil
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, NamedTuple, cast

from techrevati.runtime._core import arguments
from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.failures import Failure, FailureKind, classify

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Awaitable, Callable
    from contextvars import Context
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")
    F = TypeVar("F", bound=Callable[..., object])

announce("hedging")

DEFAULT_PERCENTILE = 95.0
CANCELLATION_GRACE_SECONDS = 1.0
_ONE = 1_000_000  # a token, in parts: a tenth added ten times is one whole


# --- what it decides ----------------------------------------------------------------------------------------


class Race(NamedTuple):
    """The requests of one call.

    Attributes:
        started: Requests that began.
        failed: Those of them that failed.
        next_at_s: When one more begins; None when time alone begins no more.
        closed: True when no more may begin, whatever happens.
    """

    started: int = 1
    failed: int = 0
    next_at_s: float | None = None
    closed: bool = False


def begun(now_s: float, delay_s: float | None, limit: int) -> Race:
    """The race after its first request; *delay_s* None begins no more for being late."""
    return Race(next_at_s=_later(1, now_s, delay_s, limit))


def joined(race: Race, now_s: float, delay_s: float | None, limit: int) -> Race:
    """The race after one more request."""
    started = race.started + 1
    return race._replace(started=started, next_at_s=_later(started, now_s, delay_s, limit))


def declined(race: Race) -> Race:
    """The race after one more was due and not begun; only a failure makes the next one due."""
    return race._replace(next_at_s=None)


def failed(race: Race, now_s: float, again: bool, limit: int) -> Race:
    """The race after a request failed: one more is due now or, unless *again*, none any more."""
    closed = race.closed or not again
    due_s = None if closed or race.started >= limit else now_s
    return race._replace(failed=race.failed + 1, next_at_s=due_s, closed=closed)


def is_due(race: Race, now_s: float) -> bool:
    """Whether one more request begins now."""
    return race.next_at_s is not None and now_s >= race.next_at_s


def is_lost(race: Race) -> bool:
    """Whether every request failed and none is due."""
    return race.failed == race.started and race.next_at_s is None


def helps_again(failure: Failure) -> bool:
    """Whether another request may succeed at once after *failure*.

    What ``classify`` calls retryable, unless the provider wants fewer requests, not more: a rate limit, an
    overload, a Retry-After.

    >>> helps_again(Failure(FailureKind.SERVER_ERROR)), helps_again(Failure(FailureKind.OVERLOADED))
    (True, False)
    """
    refused = failure.kind in (FailureKind.RATE_LIMIT, FailureKind.OVERLOADED)
    return failure.retryable and not refused and not failure.retry_after


def _later(started: int, now_s: float, delay_s: float | None, limit: int) -> float | None:
    return None if delay_s is None or started >= limit else now_s + delay_s


class Latencies:
    """The last so many latencies, in seconds, sorted.  Not thread-safe."""

    __slots__ = ("_in_order", "_sorted", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._in_order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, seconds: float) -> None:
        """One more; the oldest goes when there are too many."""
        if len(self._in_order) == self._window:
            del self._sorted[bisect_left(self._sorted, self._in_order.popleft())]
        self._in_order.append(seconds)
        insort(self._sorted, seconds)

    def percentile_s(self, percent: float) -> float:
        """The smallest latency that *percent* of all do not exceed (nearest rank); there is at least one."""
        return self._sorted[ceil(percent * len(self._sorted) / 100.0) - 1]


class ExtraLoad:
    """How many extra requests may be made: a token bucket that every call fills by a share.  Not thread-safe.

    It starts with *burst* tokens, so after n calls at most ``burst + share * n`` extra requests were made.
    """

    __slots__ = ("_burst", "_share", "_tokens")

    def __init__(self, share: float, burst: int) -> None:
        self._share = round(share * _ONE)
        self._burst = max(burst * _ONE, self._share, _ONE)
        self._tokens = burst * _ONE

    def called(self) -> None:
        """Note a call."""
        self._tokens = min(self._burst, self._tokens + self._share)

    def take(self) -> bool:
        """Take one extra request; False when there is none."""
        if self._tokens < _ONE:
            return False
        self._tokens -= _ONE
        return True

    def give_back(self) -> None:
        """Return one that was taken and not made."""
        self._tokens = min(self._burst, self._tokens + _ONE)


# --- words --------------------------------------------------------------------------------------------------


class HedgedRequest(NamedTuple):
    """One more request of a call was due.

    Attributes:
        number: Which request of the call, from 2.
        reason: ``"late"``: the ones before took too long; ``"failed"``: one of them failed.
        elapsed_seconds: Seconds since the call began.
        refused: Why it was not made: ``"share"`` (the extra load is at its limit), ``"deadline"`` (no time
            left) or ``"observe_only"``; None when it was made.
    """

    number: int
    reason: str
    elapsed_seconds: float
    refused: str | None = None


class Loser(NamedTuple):
    """What a request brought whose outcome the caller did not get; it may have been billed.

    Attributes:
        number: Which request of the call, from 1.
        result: What it returned; None when it raised.
        error: What it raised, or the ``CancelledError`` it ended with; None when it returned.
        cancelled: True when it ended by being cancelled: what it used is unknown.
        elapsed_seconds: Seconds it took.
    """

    number: int
    result: object
    error: BaseException | None
    cancelled: bool
    elapsed_seconds: float


class HedgeSnapshot(NamedTuple):
    """What a hedge did so far.

    Attributes:
        calls: Calls that began while it was switched on.
        hedged: Extra requests made, or that would have been made if only observing.
        won: Calls whose answer came from an extra request.
        refused: Extra requests that were due and not made because of the limit on extra load.
        delay_seconds: How long a request may take now until it is late; None while nobody can say.
        observations: Latencies that say so.
    """

    calls: int
    hedged: int
    won: int
    refused: int
    delay_seconds: float | None
    observations: int


# --- who asks -----------------------------------------------------------------------------------------------


class Hedge:
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
            to :func:`helps_again`.
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
        if percentile is not None and not arguments.number("percentile", percentile, minimum=1.0) < 100:
            raise ValueError(f"percentile must be a number >= 1 and < 100, in percent, got {percentile!r}")
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
                arguments.function(name, given)
        self._latencies = Latencies(window)
        self._hedges_on = hedges_on
        self._on_hedge = on_hedge
        self._on_loser = on_loser
        self._clock = clock
        self._lock = allocate_lock()
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
            TypeError: *fn* is an async function or gave a generator.
        """
        if not self.enabled:
            return _answer(fn(*args, **kwargs))
        from contextvars import copy_context
        from queue import Empty, SimpleQueue
        from threading import TIMEOUT_MAX, Thread

        call = _Call(self, self._clock or time.monotonic)
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
        import asyncio

        call = _Call(self, self._clock or asyncio.get_running_loop().time)
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

    def __call__(self, fn: F) -> F:
        """Decorate a ``def`` or ``async def``: each call is hedged.

        Raises:
            TypeError: *fn* is a generator, whose answer begins only while it is read, or cannot be wrapped.
        """
        from functools import update_wrapper

        from techrevati.runtime._core.wrapping import COROUTINE, PLAIN, colour

        kind = colour(fn)
        if kind == COROUTINE:

            async def acalled(*args: object, **kwargs: object) -> object:
                return await self.acall(cast("Callable[..., Awaitable[object]]", fn), *args, **kwargs)

            return cast("F", update_wrapper(acalled, fn))
        if kind != PLAIN:
            raise TypeError(f"a stream cannot be hedged, only functions that answer, got {fn!r}")

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

    def _answers(self, call: _Call, running: dict[Task[T], int], done: set[Task[T]]) -> list[T]:
        """The answer among those *done*, the earliest request's; the failures before it are noted."""
        for task in [task for task in running if task in done]:
            number = running.pop(task)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception):
                call.failed(number, error)
                continue
            answer = task.result()  # raises a cancellation or an exit of the request itself
            call.won(number)
            return [answer]
        return []

    def _abandon(self, call: _Call, running: dict[Task[T], int]) -> None:
        for task, number in running.items():
            if task.done():
                self._ended(call, number, task)
            else:
                self._cancelled.add(task)
                task.add_done_callback(lambda task, number=number: self._ended(call, number, task))  # type: ignore[misc]
                task.cancel()

    def _ended(self, call: _Call, number: int, task: Task[T]) -> None:
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


class _Call:
    """The books of one call: its race, when each request began, and what failed."""

    __slots__ = ("_began_s", "_clock", "_delay_s", "_errors", "_hedge", "_race", "_raised", "_reason")

    def __init__(self, hedge: Hedge, clock: Callable[[], float]) -> None:
        self._hedge = hedge
        self._clock = clock
        self._delay_s = hedge._called()
        self._began_s = [clock()]
        self._race = begun(self._began_s[0], self._delay_s, hedge._limit)
        self._errors: list[tuple[int, Exception, Failure]] = []
        self._raised: BaseException | None = None
        self._reason = "late"

    def start_due(self, start: Callable[[int], None]) -> None:
        """Begin all further requests that are due and allowed."""
        while is_due(self._race, now_s := self._clock()):
            number, reason = self._race.started + 1, self._reason
            refused = self._refused()
            if refused is None:
                self._began_s.append(now_s)
                try:
                    start(number)
                except BaseException:
                    self._hedge._give_back()
                    raise
                self._race = joined(self._race, now_s, self._delay_s, self._hedge._limit)
            else:
                self._race = declined(self._race)
            self._reason = "late"
            news = HedgedRequest(number, reason, now_s - self._began_s[0], refused)
            self._hedge._tell(self._hedge._on_hedge, "on_hedge", news)

    def _refused(self) -> str | None:
        left_s = remaining_s()
        if left_s is not None and left_s <= 0:
            return "deadline"
        if not self._hedge._take():
            return "share"
        return "observe_only" if self._hedge.observe_only else None

    def wait_s(self) -> float | None:
        """Seconds until one more request is due; None when only an outcome can change anything."""
        due_s = self._race.next_at_s
        return None if due_s is None else max(0.0, due_s - self._clock())

    def timer_fired(self) -> None:
        """The wait is over, whatever the clock says: clocks are coarse, and this one may stand still."""
        if self._race.next_at_s is not None:
            self._race = self._race._replace(next_at_s=min(self._race.next_at_s, self._clock()))

    def failed(self, number: int, error: Exception) -> None:
        """A request failed; the next may be due at once."""
        failure = classify(error)
        hedge = self._hedge
        wanted = None if hedge._hedges_on is None else hedge._hedges_on(failure)
        again = helps_again(failure) if wanted is None else wanted
        self._errors.append((number, error, failure))
        self._race = failed(self._race, self._clock(), again, hedge._limit)
        self._reason = "failed"

    def check(self) -> None:
        """Raise when nothing is left that could answer."""
        if not is_lost(self._race):
            return
        _, error, _ = max(self._errors, key=_gravity)
        if len(self._errors) > 1:
            named = ", ".join(f"{number}: {failure.kind.value}" for number, _, failure in self._errors)
            note = f"all {len(self._errors)} requests failed ({named})"
            if note not in getattr(
                error, "__notes__", ()
            ):  # the same exception may be raised again and again
                error.add_note(note)
        self._raised = error
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: no cycle

    def won(self, number: int) -> None:
        """A request answered."""
        first_failed = any(failed == 1 for failed, _, _ in self._errors)
        latency_s = None if first_failed else self._clock() - self._began_s[0]
        self._hedge._answered(latency_s, number > 1)

    def tell_loser(
        self, number: int, result: object, error: BaseException | None, cancelled: bool = False
    ) -> None:
        """Tell what a request brought that is not the outcome of the call."""
        took_s = self._clock() - self._began_s[number - 1]
        loser = Loser(number, result, error, cancelled, took_s)
        self._hedge._tell(self._hedge._on_loser, "on_loser", loser)

    def end(self) -> None:
        """Tell those failures that the caller does not get; forget all, for their tracebacks lead here."""
        errors, raised = self._errors, self._raised
        self._errors, self._raised = [], None
        for number, error, _ in errors:
            if error is not raised:
                self.tell_loser(number, None, error)


def _gravity(entry: tuple[int, Exception, Failure]) -> tuple[bool, float]:
    """Which error tells most; among equals the first."""
    failure = entry[2]
    return not failure.retryable, -1.0 if failure.retry_after is None else failure.retry_after


def _answer(answer: T) -> T:
    """*answer*, unless it is one that has not even begun."""
    if isinstance(answer, CoroutineType):
        answer.close()
        raise TypeError("an async function is hedged with acall(), not call()")
    if isinstance(answer, (GeneratorType, AsyncGeneratorType)):
        raise TypeError("a stream cannot be hedged, only a function that answers: it begins when it is read")
    return answer
