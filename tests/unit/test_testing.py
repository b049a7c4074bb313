"""The clock moves when told, and the virtual loop neither waits nor hangs."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from techrevati.runtime import TechrevatiError
from techrevati.runtime.testing import EverythingWaitsError, FakeClock, VirtualEventLoop, run

# --- the clock ----------------------------------------------------------------------------------------------


def test_the_clock_stands_still_until_moved() -> None:
    """Reading moves nothing; advancing and sleeping add up."""
    clock = FakeClock(5.0)
    assert [clock(), clock(), clock.now] == [5.0, 5.0, 5.0]
    clock.advance(1.5)
    clock.sleep(2)
    clock.advance(0)
    assert clock() == 8.5
    assert FakeClock()() == 0.0


def test_sleeping_in_a_task_lets_others_run() -> None:
    """``asleep`` passes the time and yields once."""
    clock = FakeClock()

    async def main() -> list[str]:
        order: list[str] = []

        async def other() -> None:
            order.append("other")

        task = asyncio.create_task(other())
        await clock.asleep(3)
        order.append("slept")
        await task
        return order

    assert run(main()) == ["other", "slept"]
    assert clock() == 3.0


@pytest.mark.parametrize("seconds", [-1, -1e-9, float("nan"), float("inf"), True, "1", None])
def test_time_does_not_go_back(seconds: float) -> None:
    """A step that is no time >= 0 is refused, named, and moves nothing."""
    clock = FakeClock(2.0)
    with pytest.raises((ValueError, TypeError)) as refusal:
        clock.advance(seconds)
    assert "seconds" in str(refusal.value)
    assert repr(seconds) in str(refusal.value)
    assert clock() == 2.0


@pytest.mark.parametrize("now", [float("nan"), "0", None, True])
def test_a_clock_starts_at_a_time(now: float) -> None:
    """What is no time is refused when the clock is made."""
    with pytest.raises((ValueError, TypeError)) as refusal:
        FakeClock(now)
    assert "now" in str(refusal.value)
    assert repr(now) in str(refusal.value)


# --- the loop -----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that would go on jumping for ever fails instead."""
    jumps: list[float] = []
    jump = VirtualEventLoop.jump

    def counted(loop: VirtualEventLoop, seconds: float) -> None:
        jumps.append(seconds)
        if len(jumps) > 50_000:
            jumps.clear()
            pytest.fail(f"the loop jumps for ever, at {loop.time()}")
        jump(loop, seconds)

    monkeypatch.setattr(VirtualEventLoop, "jump", counted)


def test_an_hour_of_sleep_takes_no_time() -> None:
    """The loop's clock is where it would be, exactly."""

    async def main() -> float:
        await asyncio.sleep(3_600)
        return asyncio.get_running_loop().time()

    assert run(main()) == 3_600.0


@pytest.mark.parametrize("days", [1, 100, 195, 365, 36_500])
def test_timers_fire_however_late_it_is(days: int) -> None:
    """Short and long sleeps end after that much virtual time, also where a float of seconds is coarse."""

    async def main() -> list[float]:
        times: list[float] = []
        for seconds in (0.1, days * 86_400, 0.1, 1 / 3, 5):
            await asyncio.sleep(seconds)
            times.append(asyncio.get_running_loop().time())
        return times

    start = days * 86_400
    assert run(main()) == pytest.approx(
        [0.1, start + 0.1, start + 0.2, start + 0.2 + 1 / 3, start + 5.2 + 1 / 3]
    )


def test_timers_fire_in_order_of_their_time() -> None:
    """Whoever sleeps shorter wakes first, whatever the order of starting."""

    async def main() -> list[tuple[int, float]]:
        woken: list[tuple[int, float]] = []

        async def sleeper(seconds: int) -> None:
            await asyncio.sleep(seconds)
            woken.append((seconds, asyncio.get_running_loop().time()))

        await asyncio.gather(*(sleeper(seconds) for seconds in (30, 10, 20)))
        return woken

    assert run(main()) == [(10, 10.0), (20, 20.0), (30, 30.0)]


def test_timeouts_live_in_virtual_time() -> None:
    """``asyncio.timeout`` fires at its virtual moment."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3_600):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(main()) == 3_600.0


def test_time_stands_still_while_tasks_can_run() -> None:
    """A thousand steps without a timer take no virtual time."""

    async def main() -> float:
        for _ in range(1_000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run(main()) == 0.0


def test_waiting_for_nothing_raises() -> None:
    """When no timer is set and every task waits, ``run`` says so instead of hanging; tasks are cleaned up."""
    cleaned: list[str] = []

    async def waits(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(name)

    async def main() -> None:
        other = asyncio.create_task(waits("other"))
        await waits("main")
        await other

    with pytest.raises(EverythingWaitsError, match="every task waits"):
        run(main())
    assert sorted(cleaned) == ["main", "other"]


def test_a_deadlock_is_seen_after_the_last_timer() -> None:
    """Timers are used up first; then the deadlock is reported."""
    seen: list[float] = []

    async def main() -> None:
        await asyncio.sleep(60)
        seen.append(asyncio.get_running_loop().time())
        await asyncio.Event().wait()

    with pytest.raises(EverythingWaitsError):
        run(main())
    assert seen == [60.0]


def test_sleeping_for_ever_raises_too() -> None:
    """A timer that is never due wakes nobody: it is reported, not waited for day by day."""

    async def main() -> None:
        async with asyncio.timeout(float("inf")):
            await asyncio.Event().wait()

    with pytest.raises(EverythingWaitsError):
        run(main())


def test_results_and_errors_come_out() -> None:
    """What main returns or raises is what ``run`` returns or raises."""
    error = ValueError("mine")

    async def fails() -> None:
        raise error

    assert run(asyncio.sleep(1, "result")) == "result"
    with pytest.raises(ValueError, match="mine") as caught:
        run(fails())
    assert caught.value is error


def test_two_runs_are_the_same_and_may_be_side_by_side() -> None:
    """Each run has a loop and a clock of its own, also in threads."""

    async def main() -> float:
        await asyncio.gather(*(asyncio.sleep(n / 10) for n in range(50)))
        return asyncio.get_running_loop().time()

    times: list[float] = []
    threads = [threading.Thread(target=lambda: times.append(run(main())), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [*times, run(main())] == [4.9] * 5


def test_the_error_is_ours() -> None:
    """It is a RuntimeError, pickles and copies."""
    error = EverythingWaitsError()
    assert isinstance(error, TechrevatiError)
    assert isinstance(error, RuntimeError)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301
        assert type(twin) is EverythingWaitsError
        assert str(twin) == str(error)


# --- the loop and threads -----------------------------------------------------------------------------------


def test_worker_threads_are_waited_for_and_no_timer_fires_meanwhile() -> None:
    """``to_thread`` returns its result in real time; virtual time stands still, a timeout around it too."""
    go = threading.Event()

    async def main() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: threading.Timer(0.01, go.set).start())
        async with asyncio.timeout(60):
            result = await asyncio.to_thread(lambda: "done" if go.wait(30) else "late")
        await asyncio.sleep(3_600)
        return result, loop.time()

    assert run(main()) == ("done", 3_600.0)


def test_a_worker_may_wait_for_the_loop() -> None:
    """A thread that needs a timer of the loop gets it."""

    async def main() -> str:
        loop = asyncio.get_running_loop()

        def work() -> str:
            return asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01, "slept"), loop).result(30)

        return await loop.run_in_executor(None, work)

    assert run(main()) == "slept"


def test_a_deadlock_after_thread_work_is_seen_and_everything_is_closed() -> None:
    """An idle worker is nobody to wait for; its thread ends and the loop is closed."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        await asyncio.to_thread(threading.current_thread)
        await asyncio.Queue[int]().get()

    before = set(threading.enumerate())
    with pytest.raises(
        EverythingWaitsError, match=r"\(test_a_deadlock.*main\) in test_testing\.py:\d+: Queue\.get"
    ):
        run(main())
    assert loops[0].is_closed()
    assert set(threading.enumerate()) <= before


def test_an_executor_of_the_users_own_counts_too() -> None:
    """Its threads are waited for while they work and not when they idle."""

    async def main(pool: ThreadPoolExecutor) -> int:
        value = await asyncio.get_running_loop().run_in_executor(pool, lambda: 7)
        await asyncio.sleep(5)
        await asyncio.Event().wait()
        return value

    with ThreadPoolExecutor(1) as pool, pytest.raises(EverythingWaitsError):
        run(main(pool), thread_patience_s=3_600)


def test_a_thread_may_wake_the_loop() -> None:
    """``call_soon_threadsafe`` from a plain thread arrives although every task waits."""

    async def main() -> str:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        threading.Timer(0.01, lambda: loop.call_soon_threadsafe(woken.set)).start()
        await woken.wait()
        return "woken"

    assert run(main(), thread_patience_s=30) == "woken"


def test_errors_in_threads_and_process_pools_come_out() -> None:
    """An exception of a worker is raised where it is awaited."""

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        with pytest.raises(ValueError, match="invalid literal"):
            await asyncio.to_thread(int, "x")

    run(main())


def test_a_timeout_over_a_worker_lets_it_go_and_the_run_waits_for_its_thread() -> None:
    """The timeout fires in real time; at the end no thread is left."""
    go = threading.Event()
    ended: list[bool] = []

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.to_thread(lambda: ended.append(go.wait(30)))
        go.set()

    run(main())
    assert ended == [True]


def test_async_generators_are_closed_at_the_end() -> None:
    """One that was left half-way gets its ``finally``."""
    seen: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            seen.append("closed")

    left: list[AsyncIterator[int]] = []

    async def main() -> None:
        left.append(numbers())
        await anext(left[0])

    run(main())
    assert seen == ["closed"]


def test_a_run_inside_a_run_is_refused_and_works_in_a_thread(recwarn: pytest.WarningsRecorder) -> None:
    """A second loop in the same thread is an error that leaves no coroutine behind."""

    async def inner() -> float:
        await asyncio.sleep(9)
        return asyncio.get_running_loop().time()

    async def main() -> float:
        with pytest.raises(RuntimeError, match="while a loop runs"):
            run(inner())
        return await asyncio.to_thread(lambda: run(inner()))

    assert run(main()) == 9.0
    assert [str(one.message) for one in recwarn] == []
    with pytest.raises(TypeError, match="must be a coroutine"):
        run(inner)  # type: ignore[arg-type]


def test_the_primitives_of_asyncio_work() -> None:
    """Lock, semaphore, condition, barrier, queue and task groups; cancelling frees what was held."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        gate, barrier = asyncio.Semaphore(2), asyncio.Barrier(3)
        ended: list[float] = []

        async def worker() -> None:
            await barrier.wait()
            async with gate:
                await asyncio.sleep(10)
                ended.append(loop.time())

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker()) for _ in range(3)]
            await asyncio.sleep(5)
            tasks[0].cancel()
        return ended

    assert run(main()) == [10.0, 15.0]
