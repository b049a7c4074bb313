"""A timeout as a decorator, on streams, only observing, and switched off."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

import pytest

from techrevati.runtime.deadlines import (
    Deadline,
    DeadlineExceededError,
    LateOutcome,
    Timeout,
    TurnTimeoutError,
)
from techrevati.runtime.testing import FakeClock, run

PATIENCE = 10.0
SOON = 0.01

place: contextvars.ContextVar[str] = contextvars.ContextVar("place", default="nowhere")


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def listed(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


# --- decorators ---------------------------------------------------------------------------------------------


def test_decorated_functions_look_the_same_and_take_arguments() -> None:
    """Name, colour and arguments stay; also those of an SDK's plain function around an ``async def``."""

    @Timeout(PATIENCE)
    def add(a: int, *, b: int) -> int:
        """Adds."""
        return a + b

    @Timeout(5)
    async def fetch(url: str) -> str:
        return url

    @functools.wraps(fetch)
    def hidden(url: str) -> Any:
        return fetch(url)

    assert (add(1, b=2), add.__name__, add.__doc__) == (3, "add", "Adds.")
    assert inspect.iscoroutinefunction(fetch)
    assert run(fetch("u")) == "u"
    assert run(Timeout(5)(hidden)("u")) == "u"


def test_an_async_function_is_not_timed_by_threads() -> None:
    """Nothing was awaited yet when it returned: that would be no limit at all, so it is refused."""

    async def fetch() -> None: ...

    with pytest.raises(TypeError, match="acall"):
        Timeout(PATIENCE).call(fetch)


@pytest.mark.parametrize("wrong", [int, staticmethod(len), 7])
def test_what_cannot_be_decorated_is_refused(wrong: Any) -> None:
    """A class, a staticmethod object, a number."""
    with pytest.raises(TypeError):
        Timeout(1)(wrong)


# --- streams ------------------------------------------------------------------------------------------------


def conversation() -> Generator[str, str, str]:
    """Says back what it is told, survives one ValueError, and returns."""
    heard = yield "first"
    try:
        heard = yield heard.upper()
    except ValueError as error:
        heard = str(error)
    yield f"heard {heard}"
    return "done"


@pytest.mark.parametrize("observe_only", [False, True])
def test_a_timed_generator_is_fully_a_generator(observe_only: bool) -> None:
    """It takes what is sent and thrown, and has a return value."""
    talk = Timeout(PATIENCE, observe_only=observe_only)(conversation)()
    assert next(talk) == "first"
    assert talk.send("hello") == "HELLO"
    assert talk.throw(ValueError("no")) == "heard no"
    with pytest.raises(StopIteration) as end:
        next(talk)
    assert end.value.value == "done"


def test_a_hung_stream_is_cut_and_its_late_item_told(release: threading.Event) -> None:
    """The consumer has its items until the one that hangs; when the thread comes back, the stream is closed
    there and the item told."""
    late: queue.Queue[LateOutcome] = queue.Queue()
    closed = threading.Event()

    def stream() -> Generator[int, None, None]:
        try:
            yield 1
            release.wait(PATIENCE)
            yield 2
        finally:
            closed.set()

    timed = Timeout(SOON, on_late=late.put, clock=FakeClock())(stream)()
    assert next(timed) == 1
    with pytest.raises(TurnTimeoutError):
        next(timed)
    with pytest.raises(StopIteration):
        next(timed)
    release.set()
    assert late.get(timeout=PATIENCE).result == 2
    assert closed.wait(PATIENCE)


def test_the_consumers_time_is_not_counted_and_the_streams_is() -> None:
    """Two items of 2 s each and a pause of an hour between them fit into 5 s; a third item does not."""
    clock = FakeClock()

    def stream() -> Generator[int, None, None]:
        for item in range(9):
            clock.advance(2)
            yield item

    timed = Timeout(5, clock=clock)(stream)()
    assert next(timed) == 0
    clock.advance(3600)
    assert next(timed) == 1
    clock.advance(3600)
    assert next(timed) == 2  # begun in time; it took the rest
    with pytest.raises(TurnTimeoutError):
        next(timed)


def test_a_stream_is_closed_with_its_consumer() -> None:
    """Closing it early runs its ``finally`` before ``close`` returns; what that raises comes out."""
    ended: list[str] = []

    def stream() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            ended.append("closed")
            if len(ended) > 1:
                raise KeyError("closing failed")

    first = Timeout(PATIENCE)(stream)()
    next(first)
    first.close()
    assert ended == ["closed"]
    second = Timeout(PATIENCE)(stream)()
    next(second)
    with pytest.raises(KeyError):
        second.close()


def test_a_stream_runs_in_one_thread_and_one_context() -> None:
    """What it writes into a context variable it finds again; its consumer does not see it."""
    place.set("here")

    def stream() -> Generator[tuple[str, int], None, None]:
        yield place.get(), threading.get_ident()
        place.set("there")
        yield place.get(), threading.get_ident()
        yield place.get(), threading.get_ident()

    found = list(Timeout(PATIENCE)(stream)())
    assert [where for where, _ in found] == ["here", "there", "there"]
    assert len({thread for _, thread in found} - {threading.get_ident()}) == 1
    assert place.get() == "here"


@pytest.mark.parametrize("kind", [KeyError, SystemExit])
def test_what_a_stream_raises_is_raised(kind: type[BaseException]) -> None:
    """The very exception, from a generator and from an async one."""
    error = kind()

    def stream() -> Generator[int, None, None]:
        yield 1
        raise error

    async def astream() -> AsyncGenerator[int, None]:
        yield 1
        raise error

    with pytest.raises(kind) as caught:
        list(Timeout(PATIENCE)(stream)())
    assert caught.value is error
    if kind is KeyError:
        with pytest.raises(kind) as caught:
            run(listed(Timeout(PATIENCE)(astream)()))
        assert caught.value is error


def test_the_deadline_cuts_a_stream_too() -> None:
    """What is left of the running deadline is waited for if that is less, pauses included."""
    clock = FakeClock()

    def stream() -> Generator[int, None, None]:
        yield 1
        yield 2

    with Deadline(5, clock=clock):
        timed = Timeout(3600)(stream)()
        next(timed)
        clock.advance(5)
        with pytest.raises(DeadlineExceededError):
            next(timed)


def test_an_async_stream_is_cut_in_virtual_time() -> None:
    """Pauses of the consumer do not count; the step that hangs is cancelled when the 10 s are used up."""
    ended: list[float] = []

    async def stream() -> AsyncGenerator[int, str]:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(4)
            assert (yield 1) == "go on"
            await asyncio.sleep(4)
            yield 2
            await asyncio.Event().wait()
        finally:
            ended.append(loop.time())

    async def main() -> float:
        loop = asyncio.get_running_loop()
        timed = Timeout(10)(stream)()
        assert await timed.__anext__() == 1
        await asyncio.sleep(3600)
        assert await timed.asend("go on") == 2
        await asyncio.sleep(3600)
        with pytest.raises(TurnTimeoutError):
            await timed.__anext__()
        with pytest.raises(StopAsyncIteration):
            await timed.__anext__()
        return loop.time()

    assert run(main()) == 7210.0
    assert ended == [7210.0]


def test_an_async_stream_that_swallows_the_cancellation_is_left_behind() -> None:
    """The consumer waits no longer than the grace; the late item is told and the stream closed."""
    late: list[object] = []
    closed: list[bool] = []

    async def stream() -> AsyncGenerator[int, None]:
        try:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                await asyncio.sleep(100)
            yield 7
        finally:
            closed.append(True)

    async def main() -> float:
        with pytest.raises(TurnTimeoutError):
            await Timeout(10, on_late=lambda told: late.append(told.result))(stream)().__anext__()
        left_at = asyncio.get_running_loop().time()
        await asyncio.sleep(1000)
        return left_at

    assert run(main()) == 11.0
    assert (late, closed) == ([7], [True])


@pytest.mark.parametrize("at", [1, 5])
def test_cancelling_the_consumer_cancels_the_stream(at: float) -> None:
    """Whether the stream works (1) or its consumer does (5), its ``finally`` has run in the end."""
    closed: list[bool] = []

    async def stream() -> AsyncGenerator[int, None]:
        try:
            await asyncio.sleep(2)
            yield 1
        finally:
            closed.append(True)

    async def consumer() -> None:
        timed = Timeout(60)(stream)()
        try:
            async for _ in timed:
                await asyncio.sleep(100)
        finally:
            await timed.aclose()

    async def main() -> None:
        task = asyncio.create_task(consumer())
        await asyncio.sleep(at)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    run(main())
    assert closed == [True]


def test_an_async_stream_sees_one_context() -> None:
    """All its steps run in one task, so a timeout of its own may span an item."""

    async def stream() -> AsyncGenerator[object, None]:
        async with asyncio.timeout(50):
            yield asyncio.current_task()
            yield asyncio.current_task()

    first, second = run(listed(Timeout(60)(stream)()))
    assert first is second


def test_no_time_at_all_starts_no_stream() -> None:
    """With 0 s nothing of a stream runs, of either colour."""

    def stream() -> Generator[int, None, None]:
        raise AssertionError("started")
        yield

    async def astream() -> AsyncGenerator[int, None]:
        raise AssertionError("started")
        yield

    with pytest.raises(TurnTimeoutError):
        next(Timeout(0)(stream)())
    with pytest.raises(TurnTimeoutError):
        run(listed(Timeout(0)(astream)()))


# --- observing and switching off ----------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["def", "async def", "generator", "async generator"])
def test_observing_tells_and_never_cuts(colour: str) -> None:
    """A call of 7 s under 5 s runs where its caller is, ends as it ends, and is told once with its time."""
    clock = FakeClock()
    told: list[LateOutcome] = []
    timeout = Timeout(5, on_late=told.append, observe_only=True, clock=clock)
    here = threading.get_ident()

    def call() -> int:
        assert threading.get_ident() == here
        clock.advance(7)
        return 1

    async def acall() -> int:
        return call()

    def stream() -> Generator[int, None, None]:
        yield call()
        yield call()

    async def astream() -> AsyncGenerator[int, None]:
        yield call()
        yield call()

    ends = {
        "def": lambda: timeout(call)(),
        "async def": lambda: run(timeout(acall)()),
        "generator": lambda: list(timeout(stream)()),
        "async generator": lambda: run(listed(timeout(astream)())),
    }
    ends[colour]()
    (late,) = told
    assert (late.observed, late.elapsed_seconds, late.result, late.error) == (True, 7, 1, None)


def test_observing_tells_errors_and_not_what_was_in_time() -> None:
    """A late error is told and raised; a call in time is not told."""
    clock = FakeClock()
    told: list[LateOutcome] = []
    timeout = Timeout(5, on_late=told.append, observe_only=True, clock=clock)

    def late() -> None:
        clock.advance(6)
        raise KeyError("k")

    assert timeout.call(lambda: 3) == 3
    with pytest.raises(KeyError):
        timeout.call(late)
    assert [type(each.error) for each in told] == [KeyError]


def test_it_can_be_switched_off_and_on_at_run_time() -> None:
    """Off, even no time at all is time enough, and nothing is told; on again it cuts."""
    told: list[LateOutcome] = []
    timeout = Timeout(0, on_late=told.append)
    timeout.enabled = False

    async def acall() -> int:
        return 2

    assert timeout.call(lambda: 1) == 1
    assert run(timeout.acall(acall)) == 2
    timeout.enabled = True
    with pytest.raises(TurnTimeoutError):
        timeout.call(lambda: 1)
    timeout.observe_only = True
    assert timeout.call(lambda: 1) == 1
    assert told == [] or told[0].observed


def test_a_stream_whose_consumer_comes_too_late_is_closed_where_it_waits() -> None:
    """Its thread waits for a next step that never comes: it closes the stream instead, and ends."""
    clock, closed = FakeClock(), threading.Event()

    @Timeout(60)
    def items() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.set()

    with Deadline(5, clock=clock):
        made = items()
        assert next(made) == 1
        clock.advance(5)
        with pytest.raises(DeadlineExceededError):
            next(made)
    assert closed.wait(10)
