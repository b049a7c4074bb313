"""Whoever asks a breaker in a store from a task asks it in a thread, in whatever form; cancelled anywhere, it
holds no permit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from itertools import count
from typing import Any

import pytest

from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker, CircuitOpenError
from techrevati.runtime.failover import Failover, NoTargetError, Target
from techrevati.runtime.integrations import guarded
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.stores import MemoryStore
from techrevati.runtime.testing import FakeClock
from tests.cancellations import Cancelled

Act = Callable[[], Awaitable[None]]
Way = Callable[[CircuitBreaker, Act], Coroutine[Any, Any, None]]


class Disk:
    """A store that notes which threads ask it, and waits before it answers when told to."""

    def __init__(self, clock: FakeClock) -> None:
        self._inside = MemoryStore(clock=clock)
        self.threads: set[int] = set()
        self.asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    def load(self, key: str) -> Any:
        self._wait()
        return self._inside.load(key)

    def update(self, keys: Any, decide: Any, *, durable: bool = True) -> Any:
        found = self._inside.update(keys, decide, durable=durable)
        self._wait()
        return found

    def _wait(self) -> None:
        self.threads.add(threading.get_ident())
        self.asked.set()
        assert self.answers.wait(30)


async def call(breaker: CircuitBreaker, act: Act) -> None:
    await breaker.as_async().call(act)


async def decorated(breaker: CircuitBreaker, act: Act) -> None:
    @breaker
    async def fn() -> None:
        await act()

    await fn()


def streaming(act: Act) -> Callable[[], AsyncIterator[str]]:
    async def items() -> AsyncIterator[str]:
        yield "first"
        await act()
        yield "last"

    return items


async def decorated_stream(breaker: CircuitBreaker, act: Act) -> None:
    assert [item async for item in breaker(streaming(act))()] == ["first", "last"]


async def block(breaker: CircuitBreaker, act: Act) -> None:
    async with breaker.as_async():
        await act()


async def guard_block(breaker: CircuitBreaker, act: Act) -> None:
    async with breaker.guard():
        await act()


async def pipeline(breaker: CircuitBreaker, act: Act) -> None:
    await Pipeline(breaker).acall(act)


async def pipeline_stream(breaker: CircuitBreaker, act: Act) -> None:
    assert [item async for item in Pipeline(breaker)(streaming(act))()] == ["first", "last"]


async def failover(breaker: CircuitBreaker, act: Act) -> None:
    await Failover([Target("only", act, breaker=breaker)]).acall()


async def turn(breaker: CircuitBreaker, act: Act) -> None:
    async with Orchestrator("role", "phase", circuit_breaker=breaker).asession() as session:
        await session.arun_turn(act, "model")


async def streamed_turn(breaker: CircuitBreaker, act: Act) -> None:
    async with Orchestrator("role", "phase", circuit_breaker=breaker).asession() as session:
        stream = await session.arun_stream(streaming(act), "model")
        assert [item async for item in stream] == ["first", "last"]


async def opening_turn(breaker: CircuitBreaker, act: Act) -> None:
    """It fails, or is cancelled, before there is a stream."""

    async def opened() -> AsyncIterator[str]:
        await act()
        return streaming(_nothing)()

    async with Orchestrator("role", "phase", circuit_breaker=breaker).asession() as session:
        stream = await session.arun_stream(opened, "model")
        assert [item async for item in stream] == ["first", "last"]


async def guarded_function(breaker: CircuitBreaker, act: Act) -> None:
    @guarded(breaker=breaker, model="model")
    async def fn() -> None:
        await act()

    await fn()


async def guarded_stream(breaker: CircuitBreaker, act: Act) -> None:
    registry = BreakerRegistry(lambda key: breaker)
    made = guarded(breaker=registry, model="model")(streaming(act))
    assert [item async for item in made()] == ["first", "last"]


async def _nothing() -> None: ...


WAYS: list[Way] = [
    call,
    decorated,
    decorated_stream,
    block,
    guard_block,
    pipeline,
    pipeline_stream,
    failover,
    turn,
    streamed_turn,
    opening_turn,
    guarded_function,
    guarded_stream,
]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000_000.0)


@pytest.fixture
def disk(clock: FakeClock) -> Disk:
    return Disk(clock)


def breaker_on(disk: Any, clock: FakeClock) -> CircuitBreaker:
    return CircuitBreaker("api", 1, 10.0, clock=clock, store=disk, probe_lease_seconds=1e6)


def half_open(disk: Any, clock: FakeClock) -> CircuitBreaker:
    breaker = breaker_on(disk, clock)
    breaker.record_failure()
    clock.advance(10)
    return breaker


@each_way
def test_the_loop_is_not_held_up(way: Way, disk: Disk, clock: FakeClock) -> None:
    """While the store does not answer other tasks go on; its success closes the breaker."""
    breaker = half_open(disk, clock)
    disk.threads.clear()
    disk.asked.clear()
    disk.answers.clear()

    async def main() -> None:
        working = asyncio.create_task(way(breaker, _nothing))
        await asyncio.to_thread(disk.asked.wait, 30)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not working.done()
        disk.answers.set()
        await working

    asyncio.run(main())
    assert disk.threads
    assert threading.get_ident() not in disk.threads
    seen = breaker.snapshot()
    assert (seen.state.value, seen.probes) == ("closed", 0)


@each_way
def test_a_failure_is_counted_in_a_thread(way: Way, disk: Disk, clock: FakeClock) -> None:
    breaker = breaker_on(disk, clock)

    async def fails() -> None:
        raise ConnectionResetError("reset by peer")

    async def main() -> None:
        with pytest.raises(ConnectionResetError):
            await way(breaker, fails)
        with pytest.raises((CircuitOpenError, NoTargetError)):
            await way(breaker, _nothing)

    asyncio.run(main())
    assert threading.get_ident() not in disk.threads
    assert breaker.is_open()


@each_way
def test_cancelled_at_each_await_it_holds_no_permit(way: Way, disk: Disk, clock: FakeClock) -> None:
    """While it asks, while it works, while it tells: the next one may probe; nothing ran on the loop."""
    breaker = half_open(disk, clock)
    disk.threads.clear()
    ran = list[str]()

    async def act() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ran.append("to the end")

    async def main(at: int, when: str) -> bool:
        tried = Cancelled(way(breaker, act), at, when)

        async def waiting() -> None:
            await tried

        await asyncio.gather(asyncio.create_task(waiting()), return_exceptions=True)
        return tried.reached

    for when in ("waiting", "has come"):
        for at in count(1):
            reached = asyncio.run(main(at, when))
            assert threading.get_ident() not in disk.threads, (at, when)
            for thread in threading.enumerate():
                assert not thread.name.startswith("asyncio_"), "work is left behind"
            assert probes(disk, breaker) == 0, (at, when)
            disk.threads.clear()
            if not reached:
                break
            breaker.reset()
            breaker.record_failure()
            clock.advance(10)
            disk.threads.clear()
        breaker.reset()
        breaker.record_failure()
        clock.advance(10)
        disk.threads.clear()
    assert ran


def probes(disk: Disk, breaker: CircuitBreaker) -> int:
    """What is taken once all that was handed to the store's thread is done."""
    assert breaker._shared is not None
    assert breaker._shared._worker is not None
    breaker._shared._worker.submit(lambda: None).result()
    return breaker.snapshot().probes


@pytest.mark.parametrize("way", [streamed_turn, guarded_stream], ids=lambda way: way.__name__)
def test_closed_early_it_gives_its_permit_back_in_a_thread(way: Way, disk: Disk, clock: FakeClock) -> None:
    breaker = half_open(disk, clock)
    disk.threads.clear()

    async def main() -> None:
        if way is guarded_stream:
            made: Any = guarded(breaker=breaker, model="model")(streaming(_nothing))()
            assert await anext(made) == "first"
            await made.aclose()
            return
        async with Orchestrator("role", "phase", circuit_breaker=breaker).asession() as session:
            stream = await session.arun_stream(streaming(_nothing), "model")
            assert await anext(stream) == "first"
            await stream.aclose()

    asyncio.run(main())
    assert threading.get_ident() not in disk.threads
    assert (breaker.snapshot().probes, breaker.snapshot().state.value) == (0, "half_open")


@each_way
def test_without_a_thread_the_call_is_made_all_the_same(
    way: Way, disk: Disk, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that can start no thread asks on the loop; what was handed over is not done twice later."""
    breaker = half_open(disk, clock)
    start = threading.Thread.start

    def failing(thread: threading.Thread) -> None:
        if "_do_shutdown" in thread.name:  # asyncio's own, at the end of a loop
            start(thread)
        else:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", failing)
    asyncio.run(way(breaker, _nothing))
    monkeypatch.setattr(threading.Thread, "start", start)
    assert breaker.snapshot().state.value == "closed"
    breaker.record_failure()
    clock.advance(10)
    disk.threads.clear()
    asyncio.run(way(breaker, _nothing))
    assert threading.get_ident() not in disk.threads
    assert (breaker.snapshot().state.value, breaker.snapshot().probes) == ("closed", 0)


def test_without_a_store_nothing_is_handed_to_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A breaker of this process, or on a store in memory, is asked where the task runs."""

    def failing(thread: threading.Thread) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", failing)
    clock = FakeClock(1_000_000.0)
    for breaker in (CircuitBreaker("api"), breaker_on(MemoryStore(clock=clock), clock)):
        for way in WAYS:
            asyncio.run(way(breaker, _nothing))


def test_a_guard_that_only_observes_asks_in_a_thread(disk: Disk, clock: FakeClock) -> None:
    breaker = breaker_on(disk, clock)
    breaker.force_open()
    disk.threads.clear()
    assert asyncio.run(guarded(breaker=breaker, model="model", observe_only=True)(_answer)()) == "answer"
    assert disk.threads
    assert threading.get_ident() not in disk.threads


async def _answer() -> str:
    return "answer"
