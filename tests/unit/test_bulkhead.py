"""So many at once, so many in the queue, in the order they came."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import pickle
import queue
import signal
import threading
import weakref
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from techrevati.runtime.bulkhead import Bulkhead, BulkheadFullError
from techrevati.runtime.deadlines import Deadline
from techrevati.runtime.failures import FailureKind, FailureOrigin, classify, provider_failures
from techrevati.runtime.testing import FakeClock, run

PATIENCE = 10.0


def test_what_is_inside_counts_and_leaves() -> None:
    """A call's result and error come out; either way its place is free again."""
    bulkhead = Bulkhead(1)
    assert bulkhead.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        bulkhead.call(divmod, 7, 0)
    with pytest.raises(SystemExit):
        bulkhead.call(lambda: exit_now())
    assert bulkhead.snapshot() == (0, 0, 3, 0)


def exit_now() -> None:
    raise SystemExit


@pytest.mark.parametrize("max_queue", [0, 1])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_refusal_is_no_reference_cycle(max_queue: int, colour: str) -> None:
    """Refused at once or after a wait: the error, and so the frames of its caller, are freed at once."""
    refused: list[weakref.ref[BulkheadFullError]] = []
    bulkhead = Bulkhead(1, max_queue, 0, on_refused=lambda refusal: refused.append(weakref.ref(refusal)))

    async def coroutine() -> None: ...

    async def main() -> None:
        try:
            await bulkhead.acall(coroutine) if colour == "async" else bulkhead.call(int)
        except BulkheadFullError:
            pass

    gc.collect()
    gc.disable()
    try:
        with bulkhead:
            run(main())
        assert [each() for each in refused] == [None]
    finally:
        gc.enable()


def test_one_too_many_is_refused_with_the_facts() -> None:
    """Nothing of the refused call ran; the error says how full it was, pickles, and is no news about the
    provider."""
    told: list[BulkheadFullError] = []
    bulkhead = Bulkhead(2, name="openai", on_refused=told.append)
    with bulkhead, bulkhead, pytest.raises(BulkheadFullError) as refusal:
        bulkhead.call(lambda: pytest.fail("ran"))
    error = refusal.value
    assert (error.name, error.reason, error.max_concurrent, error.running, error.queued) == (
        "openai",
        "full",
        2,
        2,
        0,
    )
    assert told == [error]
    assert "2 of 2 run" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    failure = classify(error)
    assert (failure.kind, failure.origin) == (FailureKind.OVERLOADED, FailureOrigin.RUNTIME)
    assert not provider_failures(error)
    assert bulkhead.snapshot() == (0, 0, 2, 1)


def test_threads_and_tasks_wait_in_one_queue() -> None:
    """A task that came before a thread goes in before it."""
    bulkhead = Bulkhead(1, max_queue=2)
    order: list[str] = []
    told: queue.Queue[str] = queue.Queue()

    async def task() -> None:
        async with bulkhead:
            order.append("task")
        told.put("task")

    def enter() -> None:
        with bulkhead:
            order.append("thread")
        told.put("thread")

    def until_queued(count: int) -> None:
        for _ in range(1_000_000):
            if bulkhead.snapshot().queued == count:
                return
        raise AssertionError("never queued")

    with bulkhead:
        loop_thread = threading.Thread(target=lambda: asyncio.run(task()), daemon=True)
        loop_thread.start()
        until_queued(1)
        thread = threading.Thread(target=enter, daemon=True)
        thread.start()
        until_queued(2)
        assert order == []
    assert {told.get(timeout=PATIENCE), told.get(timeout=PATIENCE)} == {"task", "thread"}
    assert order == ["task", "thread"]
    loop_thread.join(PATIENCE)
    thread.join(PATIENCE)


def test_tasks_wait_in_order_and_no_longer_than_allowed() -> None:
    """Of four tasks at one place the third gives up after its 5 s, and the fourth does not wait for it."""

    async def main() -> list[tuple[int, str, float]]:
        loop = asyncio.get_running_loop()
        bulkhead = Bulkhead(1, 9, max_wait_seconds=5, clock=loop.time)
        ends: list[tuple[int, str, float]] = []

        async def call(number: int, seconds: float) -> None:
            try:
                await bulkhead.acall(asyncio.sleep, seconds)
                ends.append((number, "done", loop.time()))
            except BulkheadFullError as error:
                ends.append((number, error.reason, loop.time()))

        await asyncio.gather(*(call(number, seconds) for number, seconds in enumerate((3, 4, 1, 1))))
        return ends

    assert run(main()) == [(0, "done", 3.0), (2, "waited", 5.0), (3, "waited", 5.0), (1, "done", 7.0)]


def test_the_deadline_shortens_the_wait() -> None:
    """A task with 2 s left waits 2 s; a thread with nothing left does not wait at all."""

    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        bulkhead = Bulkhead(1, 1)
        async with bulkhead:
            with Deadline(2, clock=loop.time), pytest.raises(BulkheadFullError) as refusal:
                await bulkhead.acall(asyncio.sleep, 0)
            return refusal.value.reason, loop.time()

    assert run(main()) == ("deadline", 2.0)
    clock, bulkhead = FakeClock(), Bulkhead(1, 1)
    with bulkhead, Deadline(1, clock=clock):
        clock.advance(1)
        with pytest.raises(BulkheadFullError, match="deadline"):
            bulkhead.call(int)
    assert bulkhead.snapshot()[:2] == (0, 0)


def test_a_thread_without_time_to_wait_gives_its_place_in_the_queue_back() -> None:
    """The longest wait of 0 is a wait that is over at once."""
    bulkhead = Bulkhead(1, 1, 0)
    with bulkhead:
        for _ in range(3):
            with pytest.raises(BulkheadFullError, match="waited"):
                bulkhead.call(int)
        assert bulkhead.snapshot() == (1, 0, 1, 3)


def test_ctrl_c_while_waiting_leaves_the_queue() -> None:
    """The interrupted thread waits no longer, and its place goes to nobody."""
    bulkhead = Bulkhead(1, 1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    caller = threading.get_ident()

    def interrupt() -> None:
        for _ in range(1_000_000):
            if bulkhead.snapshot().queued:
                break
        signal.pthread_kill(caller, signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    try:
        with bulkhead, pytest.raises(KeyboardInterrupt):
            thread.start()
            bulkhead.call(int)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join(PATIENCE)
    assert bulkhead.snapshot()[:2] == (0, 0)


def test_a_waiter_whose_loop_is_gone_is_passed_over() -> None:
    """A loop that was closed with a task still in the queue does not swallow the place."""
    bulkhead = Bulkhead(1, 2)
    gone, lives = asyncio.new_event_loop(), asyncio.new_event_loop()
    bulkhead._enter()
    abandoned = bulkhead._aenter()
    task = gone.create_task(abandoned)
    gone.run_until_complete(asyncio.sleep(0))
    waiting = lives.create_task(bulkhead._aenter())
    lives.run_until_complete(asyncio.sleep(0))
    gone.close()
    bulkhead._leave()
    lives.run_until_complete(waiting)
    assert bulkhead.snapshot()[:2] == (1, 0)
    lives.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    abandoned.close()


@pytest.mark.parametrize("colour", ["def", "async def", "generator", "async generator", "hidden"])
def test_decorated_functions_of_every_colour_run_inside(colour: str) -> None:
    """While the call, or the stream, runs the place is taken; afterwards it is free."""
    bulkhead = Bulkhead(1)

    def seen() -> int:
        return bulkhead.snapshot().running

    @bulkhead
    def plain(factor: int) -> int:
        return factor * seen()

    @bulkhead
    async def coroutine(factor: int) -> int:
        return factor * seen()

    @bulkhead
    def stream(factor: int) -> Generator[int, None, None]:
        yield factor * seen()
        yield factor * seen()

    @bulkhead
    async def astream(factor: int) -> AsyncGenerator[int, None]:
        yield factor * seen()

    async def hidden_one(factor: int) -> int:
        return factor * seen()

    @functools.wraps(hidden_one)
    def hidden(factor: int) -> Any:
        return hidden_one(factor)

    async def listed() -> list[int]:
        return [item async for item in astream(3)]

    ends: dict[str, Any] = {
        "def": lambda: plain(3),
        "async def": lambda: run(coroutine(3)),
        "generator": lambda: next(stream(3)),
        "async generator": lambda: run(listed())[0],
        "hidden": lambda: run(bulkhead(hidden)(3)),
    }
    assert ends[colour]() == 3
    assert bulkhead.snapshot().running == 0


def test_an_async_function_needs_acall() -> None:
    """A place that is left before the call begins protects nothing."""

    async def fetch() -> None: ...

    bulkhead = Bulkhead(1)
    with pytest.raises(TypeError, match="acall"):
        bulkhead.call(fetch)
    with pytest.raises(TypeError, match="async"):
        bulkhead(lambda: fetch())()
    assert bulkhead.snapshot().running == 0


def test_observing_lets_everybody_in_and_counts() -> None:
    """What could not even have queued is told as refused; switching it back enforces the limit at once."""
    told: list[BulkheadFullError] = []
    bulkhead = Bulkhead(1, 1, on_refused=told.append, observe_only=True)
    with bulkhead, bulkhead, bulkhead:
        assert bulkhead.snapshot() == (3, 0, 3, 1)
    assert [error.reason for error in told] == ["full"]
    bulkhead.observe_only = False
    with bulkhead, Deadline(1, clock=iter([0.0, 1.0, 1.0, 1.0]).__next__), pytest.raises(BulkheadFullError):
        bulkhead.call(int)


@pytest.mark.parametrize("how", ["enabled", "observe_only"])
def test_switching_off_lets_in_who_waits(how: str) -> None:
    """Nobody stays in a queue that no longer means anything; on again, the count is right."""

    async def main() -> None:
        bulkhead = Bulkhead(1, 5)
        release = asyncio.Event()
        tasks = [asyncio.ensure_future(bulkhead.acall(release.wait)) for _ in range(4)]
        await asyncio.sleep(1)
        assert bulkhead.snapshot()[:2] == (1, 3)
        setattr(bulkhead, how, how != "enabled")
        await asyncio.sleep(1)
        assert bulkhead.snapshot()[:2] == (4, 0)
        assert bulkhead.call(int) == 0
        setattr(bulkhead, how, how == "enabled")
        waiter = asyncio.ensure_future(bulkhead.acall(asyncio.sleep, 0))
        await asyncio.sleep(1)
        assert bulkhead.snapshot()[:2] == (4, 1)
        release.set()
        await asyncio.gather(*tasks, waiter)
        assert bulkhead.snapshot()[:2] == (0, 0)

    run(main())


def test_a_listener_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The refusal is what the caller sees."""

    def broken(_: object) -> None:
        raise ValueError("broken listener")

    bulkhead = Bulkhead(1, on_refused=broken)
    with caplog.at_level(logging.WARNING), bulkhead, pytest.raises(BulkheadFullError):
        bulkhead.call(int)
    assert "broken listener" in caplog.text


def test_many_threads_are_never_too_many() -> None:
    """Twenty threads, each ten times, through three places: never more than three inside, all come through,
    and the books are even."""
    bulkhead = Bulkhead(3, 20)
    inside, most = [0], [0]
    lock = threading.Lock()

    def step(by: int) -> None:
        with lock:
            inside[0] += by
            most[0] = max(most[0], inside[0])

    def worker() -> None:
        for _ in range(10):
            with bulkhead:
                step(1)
                step(-1)

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert most[0] <= 3
    assert bulkhead.snapshot() == (0, 0, 200, 0)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"max_concurrent": 0}, "max_concurrent"),
        ({"max_concurrent": 1, "max_queue": -1}, "max_queue"),
        ({"max_concurrent": 1, "max_wait_seconds": float("nan")}, "max_wait_seconds"),
        ({"max_concurrent": 1, "name": " "}, "name"),
        ({"max_concurrent": 1, "on_refused": 3}, "on_refused"),
        ({"max_concurrent": 1, "clock": None}, "clock"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    """Each by its name."""
    with pytest.raises((ValueError, TypeError), match=named):
        Bulkhead(**arguments)
