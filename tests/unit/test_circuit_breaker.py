"""The breaker's promises one by one, each for threads and for tasks."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import pickle
import queue
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from techrevati.runtime import TechrevatiError
from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.circuit_breaker.breaker import MINIMUM_LEASE_SECONDS
from techrevati.runtime.testing import FakeClock, run

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
PATIENCE = 10.0  # seconds until a thread that should have ended counts as hung
UNPROVEN = [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit, SystemExit]


class FailedError(Exception):
    """What the dependency raises."""


class CallInThread:
    """A call that is inside fn until ``end`` says how it ends; refusals come out of the constructor."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._started = threading.Event()
        self._orders: queue.Queue[BaseException | None] = queue.Queue()
        self._raised: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        assert self._started.wait(PATIENCE)
        if self._raised is not None:
            raise self._raised

    def _work(self) -> None:
        try:
            self._breaker.call(self._inside)
        except BaseException as error:
            self._raised = error
        finally:
            self._started.set()

    def _inside(self) -> str:
        self._started.set()
        order = self._orders.get(timeout=PATIENCE)
        if order is not None:
            raise order
        return "done"

    def end(self, error: BaseException | None = None) -> None:
        self._orders.put(error)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert self._raised is error


@types.coroutine
def parked() -> Generator[None, None, str]:
    yield
    return "done"


class CallInTask:
    """The same for a coroutine, driven by hand: no event loop is involved."""

    def __init__(self, breaker: AsyncCircuitBreaker) -> None:
        self._coroutine: Coroutine[Any, Any, str] = breaker.call(self._inside)
        self._coroutine.send(None)

    async def _inside(self) -> str:
        return await parked()

    def end(self, error: BaseException | None = None) -> None:
        if error is None:
            assert at_once(self._coroutine) == "done"
        elif isinstance(error, GeneratorExit):
            self._coroutine.close()
        else:
            with pytest.raises(type(error)) as caught:
                self._coroutine.throw(error)
            assert caught.value is error


def at_once(value: Any) -> Any:
    """What *value* is, or what it returns when it is a coroutine that need not wait."""
    if not asyncio.iscoroutine(value):
        return value
    with pytest.raises(StopIteration) as end:
        value.send(None)
    return end.value.value


class Face:
    """One colour of a breaker behind plain methods, so that each promise is stated once."""

    def __init__(self, colour: str, **arguments: Any) -> None:
        self.breaker: Any = {"sync": CircuitBreaker, "async": AsyncCircuitBreaker}[colour]("api", **arguments)
        self._start = {"sync": CallInThread, "async": CallInTask}[colour]

    def start(self) -> CallInThread | CallInTask:
        return self._start(self.breaker)

    def succeed(self) -> None:
        self.start().end()

    def fail(self) -> None:
        self.start().end(FailedError())

    def state(self) -> CircuitState:
        return at_once(self.breaker.state())

    def refused_for(self) -> float | None:
        with pytest.raises(CircuitOpenError) as refusal:
            self.start()
        return refusal.value.retry_after

    def __getattr__(self, name: str) -> Callable[[], Any]:
        return lambda: at_once(getattr(self.breaker, name)())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000.0)


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest, clock: FakeClock) -> Callable[..., Face]:
    def made(failure_threshold: int = 1, recovery: float = 10.0, probes: int = 1, **more: Any) -> Face:
        return Face(
            request.param,
            failure_threshold=failure_threshold,
            recovery_timeout_seconds=recovery,
            half_open_max_probes=probes,
            clock=clock,
            **more,
        )

    return made


# --- the plain life of a breaker ---------------------------------------------------------------------------


def test_consecutive_failures_open_it(make: Callable[..., Face]) -> None:
    """It stays closed up to the last failure but one, and the one at the threshold opens it."""
    face = make(failure_threshold=3)
    for _ in range(2):
        face.fail()
        assert face.state() is CLOSED
        assert not face.is_open()
    face.fail()
    assert face.state() is OPEN
    assert face.is_open()


def test_a_success_sets_the_count_back(make: Callable[..., Face]) -> None:
    """Two failures, a success and two failures are no three failures in a row."""
    face = make(failure_threshold=3)
    for _ in range(4):
        face.fail()
        face.fail()
        face.succeed()
    assert face.state() is CLOSED


def test_a_success_counts_also_when_it_began_before_the_failure(make: Callable[..., Face]) -> None:
    """Its news is the newest: a call that was under way when another failed sets the count back."""
    face = make(failure_threshold=2)
    under_way = face.start()
    face.fail()
    under_way.end()
    face.fail()
    assert face.state() is CLOSED


def test_open_refuses_without_calling(make: Callable[..., Face]) -> None:
    """While open nothing is called, not even the coroutine factory."""
    face = make()
    face.fail()
    called: list[int] = []
    with pytest.raises(CircuitOpenError) as refusal:
        at_once(face.breaker.call(called.append, 1))
    assert called == []
    assert refusal.value.name == "api"
    assert refusal.value.retry_after == 10.0
    assert "api" in str(refusal.value)


def test_a_good_probe_closes_it(make: Callable[..., Face], clock: FakeClock) -> None:
    """After the recovery time one success closes it, and the count starts at zero."""
    face = make(failure_threshold=2)
    face.fail()
    face.fail()
    clock.advance(10)
    assert face.state() is HALF_OPEN
    assert not face.is_open()
    face.succeed()
    assert face.state() is CLOSED
    face.fail()
    assert face.state() is CLOSED


def test_a_failed_probe_restarts_the_wait(make: Callable[..., Face], clock: FakeClock) -> None:
    """One failed probe is enough, whatever the threshold, and the whole recovery time begins again."""
    face = make(failure_threshold=5)
    for _ in range(5):
        face.fail()
    clock.advance(14)
    face.fail()
    assert face.state() is OPEN
    assert face.refused_for() == 10.0
    clock.advance(9.5)
    assert face.refused_for() == 0.5
    clock.advance(0.5)
    face.succeed()
    assert face.state() is CLOSED


def test_half_open_begins_exactly_at_the_recovery_time(make: Callable[..., Face], clock: FakeClock) -> None:
    """A moment before the end of the wait it is open; at the end it is half-open."""
    face = make(recovery=0.25)
    face.fail()
    clock.advance(0.249)
    assert face.state() is OPEN
    clock.now = 1_000.25
    assert face.state() is HALF_OPEN


def test_no_recovery_time_means_a_probe_at_once(make: Callable[..., Face]) -> None:
    """With a recovery time of 0 the next call is already a probe, and only one at a time."""
    face = make(recovery=0)
    face.fail()
    assert face.state() is HALF_OPEN
    probe = face.start()
    face.refused_for()
    probe.end()
    assert face.state() is CLOSED


def test_an_infinite_recovery_time_needs_a_reset(make: Callable[..., Face], clock: FakeClock) -> None:
    """It never recovers by itself, however long it takes."""
    face = make(recovery=float("inf"))
    face.fail()
    clock.advance(1e12)
    assert face.is_open()
    face.refused_for()
    face.reset()
    face.succeed()
    assert face.state() is CLOSED


def test_reset_forgets_failures_and_running_calls(make: Callable[..., Face], clock: FakeClock) -> None:
    """After a reset the count is 0, and calls from before it neither open nor close anything."""
    face = make(failure_threshold=2)
    failing, succeeding = face.start(), face.start()
    face.fail()
    face.reset()
    failing.end(FailedError())
    assert face.state() is CLOSED
    face.fail()
    succeeding.end()  # would set the count back if it counted
    face.fail()
    assert face.state() is OPEN
    face.reset()
    assert face.state() is CLOSED
    face.succeed()


def test_reset_while_half_open_frees_every_permit(make: Callable[..., Face], clock: FakeClock) -> None:
    """A probe that runs across a reset decides nothing afterwards."""
    face = make()
    face.fail()
    clock.advance(10)
    probe = face.start()
    face.reset()
    face.succeed()
    probe.end(FailedError())
    assert face.state() is CLOSED


def test_the_callee_gets_its_arguments_and_the_caller_its_error(make: Callable[..., Face]) -> None:
    """Arguments of any name pass, results and exceptions come back untouched, on every path."""
    face = make(failure_threshold=3)
    error = FailedError("mine")

    def same(*args: object, **kwargs: object) -> object:
        return args, kwargs

    async def asame(*args: object, **kwargs: object) -> object:
        return args, kwargs

    def broken() -> None:
        raise error

    async def abroken() -> None:
        raise error

    sync = isinstance(face.breaker, CircuitBreaker)
    for _ in range(2):  # first without a failure on record, then with one
        given = at_once(face.breaker.call(same if sync else asame, 1, self=2, fn=3, coro_factory=4))
        assert given == ((1,), {"self": 2, "fn": 3, "coro_factory": 4})
        assert at_once(face.breaker.call(same if sync else asame)) == ((), {})
        face.record_failure()
    with pytest.raises(FailedError) as caught:
        at_once(face.breaker.call(broken if sync else abroken))
    assert caught.value is error


# --- outcomes count only in the epoch that admitted the call -----------------------------------------------


@pytest.mark.parametrize("after", [0.0, 4.0, 10.0])
def test_a_late_success_from_before_the_trip_changes_nothing(
    make: Callable[..., Face], clock: FakeClock, after: float
) -> None:
    """Neither while open nor while half-open does old good news close the breaker."""
    face = make(failure_threshold=2)
    old = face.start()
    face.fail()
    face.fail()
    clock.advance(after)
    before = face.state()
    old.end()
    assert face.state() is before
    if before is OPEN:
        assert face.refused_for() == 10.0 - after


def test_a_late_success_does_not_take_a_probes_place(make: Callable[..., Face], clock: FakeClock) -> None:
    """With a probe under way, old good news neither closes the breaker nor frees the permit."""
    face = make()
    old = face.start()
    face.fail()
    clock.advance(10)
    probe = face.start()
    old.end()
    assert face.state() is HALF_OPEN
    face.refused_for()
    probe.end(FailedError())
    assert face.state() is OPEN


@pytest.mark.parametrize("after", [0.0, 4.0, 9.0])
def test_a_late_failure_does_not_restart_the_open_wait(
    make: Callable[..., Face], clock: FakeClock, after: float
) -> None:
    """Old bad news leaves the end of the wait where it was."""
    face = make(failure_threshold=2)
    old = face.start()
    face.fail()
    face.fail()
    clock.advance(after)
    old.end(FailedError())
    assert face.refused_for() == 10.0 - after
    clock.advance(10.0 - after)
    assert face.state() is HALF_OPEN
    face.succeed()


def test_a_late_failure_does_not_judge_the_probe(make: Callable[..., Face], clock: FakeClock) -> None:
    """A failure from before the trip does not reopen a half-open breaker; the probe still closes it."""
    face = make()
    older, old = face.start(), face.start()
    face.fail()
    clock.advance(10)
    older.end(FailedError())
    assert face.state() is HALF_OPEN
    probe = face.start()
    old.end(FailedError())
    assert face.state() is HALF_OPEN
    probe.end()
    assert face.state() is CLOSED


def test_a_late_failure_is_not_counted_once_closed_again(make: Callable[..., Face], clock: FakeClock) -> None:
    """A failure from before the trip is no failure of the recovered dependency."""
    face = make()
    old = face.start()
    face.fail()
    clock.advance(10)
    face.succeed()
    old.end(FailedError())
    assert face.state() is CLOSED


def test_a_late_success_does_not_set_the_new_count_back(make: Callable[..., Face], clock: FakeClock) -> None:
    """Two failures after the recovery open it although an old success arrives between them."""
    face = make(failure_threshold=2)
    old = face.start()
    face.fail()
    face.fail()
    clock.advance(10)
    face.succeed()
    face.fail()
    old.end()
    face.fail()
    assert face.state() is OPEN


@pytest.mark.parametrize("error", [None, FailedError()])
def test_news_of_an_earlier_half_open_round_changes_nothing(
    make: Callable[..., Face], clock: FakeClock, error: BaseException | None
) -> None:
    """Of two probes one fails; the other says nothing about the next round, however it ends."""
    face = make(probes=2)
    face.fail()
    clock.advance(10)
    first, second = face.start(), face.start()
    first.end(FailedError())
    clock.advance(10)
    second.end(error)
    assert face.state() is HALF_OPEN
    face.start().end()
    assert face.state() is CLOSED


def test_a_second_failed_probe_does_not_restart_the_wait(make: Callable[..., Face], clock: FakeClock) -> None:
    """The first failed probe sets the wait; the second failure of that round comes too late."""
    face = make(probes=2)
    face.fail()
    clock.advance(10)
    first, second = face.start(), face.start()
    first.end(FailedError())
    clock.advance(6)
    second.end(FailedError())
    assert face.refused_for() == 4.0


def test_a_failed_probe_after_a_good_one_changes_nothing(make: Callable[..., Face], clock: FakeClock) -> None:
    """Once a good probe closed it, the other probe's failure does not count, even with a threshold of 1."""
    face = make(probes=2)
    face.fail()
    clock.advance(10)
    good, bad = face.start(), face.start()
    good.end()
    bad.end(FailedError())
    assert face.state() is CLOSED


def test_a_call_of_an_earlier_round_frees_no_permit_of_this_one(
    make: Callable[..., Face], clock: FakeClock
) -> None:
    """A probe of round one that is cancelled in round two leaves round two as full as it was."""
    face = make(probes=2)
    face.fail()
    clock.advance(10)
    first, second = face.start(), face.start()
    first.end(FailedError())
    clock.advance(10)
    now = [face.start(), face.start()]
    second.end(KeyboardInterrupt())
    face.refused_for()
    for probe in now:
        probe.end()
    assert face.state() is CLOSED


# --- what proves nothing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", UNPROVEN)
def test_an_interrupted_probe_gives_its_permit_back(
    make: Callable[..., Face], clock: FakeClock, kind: type[BaseException]
) -> None:
    """Cancellation and its kin leave the breaker half-open, with the permit free at once."""
    face = make()
    face.fail()
    clock.advance(10)
    for _ in range(3):
        probe = face.start()
        face.refused_for()
        probe.end(kind())
        assert face.state() is HALF_OPEN
    face.succeed()
    assert face.state() is CLOSED


@pytest.mark.parametrize("kind", UNPROVEN)
def test_an_interrupted_call_is_neither_good_nor_bad(
    make: Callable[..., Face], kind: type[BaseException]
) -> None:
    """While closed it does not count as a failure, and does not set the count back."""
    face = make(failure_threshold=2)
    for _ in range(3):
        face.start().end(kind())
    assert face.state() is CLOSED
    face.fail()
    for _ in range(3):
        face.start().end(kind())
    assert face.state() is CLOSED
    face.fail()
    assert face.state() is OPEN


def test_an_interrupted_probe_frees_only_its_own_permit(make: Callable[..., Face], clock: FakeClock) -> None:
    """Of two running probes one is interrupted; exactly one more may start."""
    face = make(probes=2)
    face.fail()
    clock.advance(10)
    stays, goes = face.start(), face.start()
    goes.end(KeyboardInterrupt())
    comes = face.start()
    face.refused_for()
    stays.end(KeyboardInterrupt())
    comes.end()
    assert face.state() is CLOSED


def test_a_cancelled_task_gives_its_probe_back(clock: FakeClock) -> None:
    """``task.cancel()`` during a probe frees the permit for the next task."""
    breaker = AsyncCircuitBreaker("api", 1, 10.0, clock=clock)

    async def forever() -> None:
        await asyncio.Event().wait()

    async def fine() -> str:
        return "fine"

    async def main() -> str:
        await breaker.record_failure()
        clock.advance(10)
        task = asyncio.create_task(breaker.call(forever))
        await asyncio.sleep(0)
        with pytest.raises(CircuitOpenError):
            await breaker.call(fine)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await breaker.state() is HALF_OPEN
        return await breaker.call(fine)

    assert run(main()) == "fine"
    assert breaker.as_sync().state() is CLOSED


# --- leases ------------------------------------------------------------------------------------------------


def test_a_hung_probe_holds_its_permit_for_one_lease(make: Callable[..., Face], clock: FakeClock) -> None:
    """Until the lease ends others are told to wait for exactly that; then the next probe starts."""
    face = make(probe_lease_seconds=30.0)
    face.fail()
    clock.advance(10)
    hung = face.start()
    clock.advance(12)
    assert face.refused_for() == 18.0
    clock.advance(18)
    probe = face.start()
    assert face.refused_for() == 30.0
    probe.end()
    assert face.state() is CLOSED
    hung.end(FailedError())
    assert face.state() is CLOSED


def test_refusals_name_the_lease_that_ends_first(make: Callable[..., Face], clock: FakeClock) -> None:
    """With several permits taken the wait is until the oldest lease ends, and admits one caller."""
    face = make(probes=2, probe_lease_seconds=30.0)
    face.fail()
    clock.advance(10)
    probes = [face.start()]
    clock.advance(7)
    probes.append(face.start())
    assert face.refused_for() == 23.0
    clock.advance(23)
    probes.append(face.start())
    assert face.refused_for() == 7.0
    for probe in probes:
        probe.end(KeyboardInterrupt())


def test_a_hung_probe_that_is_interrupted_late_frees_nothing(
    make: Callable[..., Face], clock: FakeClock
) -> None:
    """Its permit is already its successor's: giving it back twice would let two probes in."""
    face = make(probe_lease_seconds=30.0)
    face.fail()
    clock.advance(10)
    hung = face.start()
    clock.advance(30)
    successor = face.start()
    hung.end(KeyboardInterrupt())
    face.refused_for()
    successor.end()
    assert face.state() is CLOSED


@pytest.mark.parametrize(("recovery", "lease"), [(10.0, MINIMUM_LEASE_SECONDS), (90.0, 90.0)])
def test_the_default_lease(
    make: Callable[..., Face], clock: FakeClock, recovery: float, lease: float
) -> None:
    """Without ``probe_lease_seconds`` a probe has the recovery time, at least a minute."""
    face = make(recovery=recovery)
    face.fail()
    clock.advance(recovery)
    hung = face.start()
    assert face.refused_for() == lease
    clock.advance(lease)
    face.succeed()
    hung.end()


# --- many callers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["closed", "closed after a failure", "half-open"])
def test_no_lock_is_held_around_the_callers_code(clock: FakeClock, state: str) -> None:
    """Eight threads meet at a barrier inside fn, on every path through the breaker."""
    breaker = CircuitBreaker("api", 2, 10.0, half_open_max_probes=8, clock=clock)
    for _ in range(["closed", "closed after a failure", "half-open"].index(state)):
        breaker.record_failure()
    clock.advance(10)
    barrier = threading.Barrier(8)
    met: list[int] = []

    def fn() -> None:
        met.append(barrier.wait(PATIENCE))
        breaker.state()

    threads = [threading.Thread(target=breaker.call, args=(fn,), daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(met) == list(range(8))
    assert breaker.state() is CLOSED


def test_of_twenty_simultaneous_threads_three_probe(clock: FakeClock) -> None:
    """Twenty threads leave one barrier; ``half_open_max_probes`` of them get in, seventeen are refused."""
    breaker = CircuitBreaker("api", 1, 10.0, half_open_max_probes=3, clock=clock)
    breaker.record_failure()
    clock.advance(10)
    start, go_on = threading.Barrier(20), threading.Event()
    said: queue.Queue[str] = queue.Queue()

    def probe() -> None:
        said.put("in")
        go_on.wait(PATIENCE)

    def caller() -> None:
        start.wait(PATIENCE)
        try:
            breaker.call(probe)
        except CircuitOpenError as refusal:
            said.put(f"out for {refusal.retry_after}")

    threads = [threading.Thread(target=caller, daemon=True) for _ in range(20)]
    for thread in threads:
        thread.start()
    answers = [said.get(timeout=PATIENCE) for _ in range(20)]
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(answers) == ["in"] * 3 + [f"out for {MINIMUM_LEASE_SECONDS}"] * 17
    assert breaker.state() is CLOSED


def test_of_twenty_simultaneous_tasks_three_probe() -> None:
    """The same for tasks that all ask before the first probe ends."""

    async def main() -> list[object]:
        breaker = AsyncCircuitBreaker("api", 1, 10.0, 3, asyncio.get_running_loop().time)
        await breaker.record_failure()
        await asyncio.sleep(10)
        return await asyncio.gather(
            *(breaker.call(asyncio.sleep, 1, "in") for _ in range(20)), return_exceptions=True
        )

    answers = run(main())
    assert answers.count("in") == 3
    assert sum(isinstance(answer, CircuitOpenError) for answer in answers) == 17


def test_one_breaker_serves_threads_tasks_and_several_loops(clock: FakeClock) -> None:
    """Two threads and tasks of two event loops are inside one breaker together; four failures open it for
    all, and after the recovery a probe in one loop closes it for all."""
    breaker = CircuitBreaker("api", 4, 10.0, clock=clock)
    tasks = breaker.as_async()
    barrier = threading.Barrier(4)

    def meet_and_fail() -> None:
        barrier.wait(PATIENCE)
        raise FailedError

    async def ameet_and_fail() -> None:
        await asyncio.sleep(0)
        barrier.wait(PATIENCE)
        raise FailedError

    async def fine() -> str:
        return "fine"

    ends: queue.Queue[type[BaseException] | None] = queue.Queue()

    def ending(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            ends.put(type(error))
        else:
            ends.put(None)

    def in_thread() -> None:
        breaker.call(meet_and_fail)

    def in_loop() -> None:
        asyncio.run(tasks.call(ameet_and_fail))

    threads = [
        threading.Thread(target=ending, args=(work,), daemon=True) for work in (in_thread, in_loop) * 2
    ]
    for thread in threads:
        thread.start()
    assert [ends.get(timeout=PATIENCE) for _ in threads] == [FailedError] * 4
    for thread in threads:
        thread.join(PATIENCE)
    with pytest.raises(CircuitOpenError):
        breaker.call(int)
    for _ in range(2):
        with pytest.raises(CircuitOpenError):
            asyncio.run(tasks.call(fine))
    clock.advance(10)
    assert asyncio.run(tasks.call(fine)) == "fine"
    assert breaker.call(int) == 0


def test_the_async_face_shares_its_state(clock: FakeClock) -> None:
    """``as_async`` and ``as_sync`` are two ways to call one breaker; a probe of one is a probe of both."""
    breaker = CircuitBreaker("api", 2, 10.0, clock=clock)
    tasks = breaker.as_async()
    assert tasks.name == breaker.name == "api"
    assert tasks.as_sync() is breaker
    breaker.record_failure()
    at_once(tasks.record_failure())
    assert breaker.is_open()
    assert at_once(tasks.is_open())
    assert at_once(breaker.as_async().state()) is OPEN
    clock.advance(10)
    probe = CallInTask(tasks)
    with pytest.raises(CircuitOpenError):
        breaker.call(int)
    probe.end()
    assert breaker.call(int) == 0
    breaker.record_failure()
    at_once(tasks.reset())
    breaker.record_failure()
    assert breaker.state() is CLOSED


# --- when ---------------------------------------------------------------------------------------------------


def interrupted() -> None:
    """Ends a call without consequences: the way to ask whether one would be admitted."""
    raise KeyboardInterrupt


def wait_until_admitted(breaker: CircuitBreaker, clock: FakeClock, longest: float) -> None:
    """Ask; when refused, wait as long as told; then be admitted."""
    try:
        breaker.call(interrupted)
    except KeyboardInterrupt:
        return
    except CircuitOpenError as refusal:
        wait = refusal.retry_after
    assert wait is not None
    assert 0 <= wait <= longest * (1 + 1e-9) + 1e-6
    clock.advance(wait)
    with pytest.raises(KeyboardInterrupt):
        breaker.call(interrupted)


hundredths = st.integers(1, 6_000).map(lambda n: n / 100)  # as people write them


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    opened=st.floats(0, 1e9) | hundredths,
    recovery=st.floats(0, 1e6) | hundredths,
    asked=st.floats(0, 1),
    lease=st.floats(1e-6, 1e6) | hundredths,
)
@example(opened=1.01, recovery=25.6, asked=0.01, lease=10.0)  # the difference rounds down
@example(opened=1.26, recovery=0.7, asked=0.09, lease=26.3)
@example(opened=0.1, recovery=0.2, asked=0.7, lease=0.3)
@example(opened=86_400.000_000_1, recovery=1 / 3, asked=0.999_999_999, lease=1e-6)
def test_whoever_waits_retry_after_is_admitted(
    opened: float, recovery: float, asked: float, lease: float
) -> None:
    """Waiting exactly ``retry_after`` is enough, for the recovery time and for a probe's lease, whatever the
    floats; and it is never negative nor longer than the rule says."""
    clock = FakeClock(opened)
    breaker = CircuitBreaker("api", 1, recovery, clock=clock, probe_lease_seconds=lease)
    breaker.record_failure()
    clock.now += recovery * asked
    wait_until_admitted(breaker, clock, recovery)
    hung = CallInTask(breaker.as_async())
    clock.now += lease * asked
    wait_until_admitted(breaker, clock, lease)
    hung.end()
    assert breaker.state() is CLOSED


def test_wall_clock_jumps_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the default clock, a wall clock that jumps forward or back neither ends nor prolongs the wait."""
    for kind in (CircuitBreaker, AsyncCircuitBreaker):
        assert inspect.signature(kind).parameters["clock"].default is time.monotonic
    breaker = CircuitBreaker("api", 1, recovery_timeout_seconds=3_600)
    breaker.record_failure()
    for wall_time in (4e9, 0.0):
        monkeypatch.setattr(time, "time", lambda wall_time=wall_time: wall_time)
        assert breaker.state() is OPEN
        with pytest.raises(CircuitOpenError) as refusal:
            breaker.call(int)
        wait = refusal.value.retry_after
        assert wait is not None
        assert 0 < wait <= 3_600


# --- what the caller saw itself -----------------------------------------------------------------------------


def test_recorded_outcomes_count_like_calls(make: Callable[..., Face], clock: FakeClock) -> None:
    """``record_failure`` opens it, ``record_success`` sets the count back and closes a half-open breaker."""
    face = make(failure_threshold=2)
    face.record_failure()
    face.record_success()
    face.record_failure()
    assert face.state() is CLOSED
    face.record_failure()
    assert face.state() is OPEN
    clock.advance(10)
    face.record_failure()
    assert face.state() is OPEN
    assert face.refused_for() == 10.0
    clock.advance(10)
    face.record_success()
    assert face.state() is CLOSED


def test_recorded_outcomes_while_open_are_hearsay(make: Callable[..., Face], clock: FakeClock) -> None:
    """Nobody was admitted, so neither closes it nor restarts the wait."""
    face = make()
    face.fail()
    clock.advance(4)
    face.record_failure()
    face.record_success()
    assert face.refused_for() == 6.0


# --- listeners ----------------------------------------------------------------------------------------------


def heard(changes: list[tuple[str, CircuitState, CircuitState]]) -> list[tuple[str, str]]:
    return [(before.value, after.value) for _, before, after in changes]


def test_listeners_hear_each_change_once(make: Callable[..., Face], clock: FakeClock) -> None:
    """Tripped, half-open, reopened, half-open, closed, each with the breaker's name; refusals and ordinary
    calls are no change."""
    changes: list[tuple[str, CircuitState, CircuitState]] = []
    face = make(probes=2, on_state_change=lambda *change: changes.append(change))
    face.succeed()
    face.fail()
    face.refused_for()
    clock.advance(10)
    face.start().end(KeyboardInterrupt())
    face.fail()
    clock.advance(10)
    first, second = face.start(), face.start()
    first.end()
    second.end()
    assert {name for name, *_ in changes} == {"api"}
    assert heard(changes) == [
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
    ]


@pytest.mark.parametrize("end", ["reset", "record_success", "record_failure"])
def test_what_listeners_hear_is_one_chain(make: Callable[..., Face], clock: FakeClock, end: str) -> None:
    """Each change starts in the state in which the one before it ended, however the recovery ended."""
    changes: list[tuple[str, CircuitState, CircuitState]] = []
    face = make(on_state_change=lambda *change: changes.append(change))
    face.fail()
    clock.advance(10)
    getattr(face, end)()
    states = [CLOSED.value, *(after for _, after in heard(changes))]
    assert [before for before, _ in heard(changes)] == states[:-1]
    assert states[-1] == face.state().value


def test_listeners_may_call_back(make: Callable[..., Face], clock: FakeClock) -> None:
    """A listener runs outside the lock: it may use the breaker itself and wait for a thread that does."""
    seen: list[CircuitState] = []
    faces: list[Face] = []

    def listener(name: str, before: CircuitState, after: CircuitState) -> None:
        helper = threading.Thread(target=elsewhere, daemon=True)
        helper.start()
        helper.join(PATIENCE)
        if helper.is_alive():
            return  # a deadlock: using the breaker here would hang the test too
        faces[0].record_failure()
        if after is OPEN:
            faces[0].reset()

    def elsewhere() -> None:
        faces[0].record_success()  # takes the lock, and changes nothing here
        seen.append(faces[0].state())

    faces.append(make(on_state_change=listener, failure_threshold=2))
    faces[0].fail()
    faces[0].fail()
    assert seen == [OPEN, CLOSED]
    assert faces[0].state() is CLOSED


def test_a_listener_that_raises_is_logged_and_harmless(
    make: Callable[..., Face], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets the call's own outcome, and the breaker goes on."""

    def listener(*_: object) -> None:
        raise ValueError("broken listener")

    face = make(on_state_change=listener)
    with caplog.at_level(logging.WARNING, "techrevati.runtime.circuit_breaker"):
        face.fail()
    assert "broken listener" in caplog.text
    assert face.state() is OPEN
    clock.advance(10)
    face.succeed()
    assert face.state() is CLOSED


def test_an_interrupt_inside_the_listener_keeps_no_permit(
    make: Callable[..., Face], clock: FakeClock
) -> None:
    """Ctrl-C while the half-open change is being told: the probe never ran, so its permit is free."""

    def listener(name: str, before: CircuitState, after: CircuitState) -> None:
        if after is HALF_OPEN and not interrupted:
            interrupted.append(1)
            raise KeyboardInterrupt

    interrupted: list[int] = []
    face = make(on_state_change=listener)
    face.fail()
    clock.advance(10)
    with pytest.raises(KeyboardInterrupt):
        face.start()
    assert interrupted
    face.succeed()
    assert face.state() is CLOSED


# --- errors and arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", [None, 0.0, 12.5])
def test_refusals_pickle_and_copy(retry_after: float | None) -> None:
    """Name, wait, text and notes survive; the refusal is one of our errors."""
    error = CircuitOpenError("api", retry_after)
    error.add_note("a note")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301
        assert type(twin) is CircuitOpenError
        assert (twin.name, twin.retry_after, str(twin)) == ("api", retry_after, str(error))
        assert twin.__notes__ == ["a note"]
    assert isinstance(error, TechrevatiError)
    assert CircuitOpenError("api").retry_after is None
    assert "api" in str(CircuitOpenError("api"))


def test_a_real_refusal_pickles() -> None:
    """Also one that a breaker raised, with its wait."""
    breaker = CircuitBreaker("api", 1, clock=FakeClock())
    breaker.record_failure()
    with pytest.raises(CircuitOpenError) as refusal:
        breaker.call(int)
    twin = pickle.loads(pickle.dumps(refusal.value))  # noqa: S301
    assert (twin.name, twin.retry_after) == ("api", 60.0)


@pytest.mark.parametrize("kind", [CircuitBreaker, AsyncCircuitBreaker])
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("name", ""),
        ("name", " \t"),
        ("name", None),
        ("name", b"api"),
        ("failure_threshold", 0),
        ("failure_threshold", -1),
        ("failure_threshold", 2.5),
        ("failure_threshold", float("nan")),
        ("failure_threshold", float("inf")),
        ("failure_threshold", True),
        ("failure_threshold", "5"),
        ("failure_threshold", None),
        ("recovery_timeout_seconds", -0.001),
        ("recovery_timeout_seconds", float("nan")),
        ("recovery_timeout_seconds", False),
        ("recovery_timeout_seconds", "60"),
        ("recovery_timeout_seconds", None),
        pytest.param("recovery_timeout_seconds", 10**400, id="recovery_timeout_seconds-10**400"),
        ("half_open_max_probes", 0),
        ("half_open_max_probes", -3),
        ("half_open_max_probes", 1.5),
        ("half_open_max_probes", True),
        ("clock", None),
        ("clock", 0.0),
        ("probe_lease_seconds", 0),
        ("probe_lease_seconds", -1.0),
        ("probe_lease_seconds", float("nan")),
        ("probe_lease_seconds", True),
        ("probe_lease_seconds", "1"),
        ("on_state_change", "print"),
    ],
)
def test_wrong_arguments_are_named(kind: type, argument: str, value: object) -> None:
    """A breaker that cannot work is refused when it is made, with the argument and the value."""
    arguments: dict[str, object] = {"name": "api", argument: value}
    with pytest.raises((ValueError, TypeError)) as refusal:
        kind(**arguments)
    assert argument in str(refusal.value)
    assert repr(value) in str(refusal.value)


def test_integral_floats_and_zero_waits_are_fine() -> None:
    """3.0 failures are three failures; a recovery time of 0 is allowed."""
    breaker = CircuitBreaker("api", failure_threshold=3.0, recovery_timeout_seconds=0)  # type: ignore[arg-type]
    for _ in range(2):
        breaker.record_failure()
    assert breaker.state() is CLOSED


def test_a_breaker_says_who_it_is(clock: FakeClock) -> None:
    """``repr`` and ``name`` help whoever reads a log."""
    breaker = CircuitBreaker("api", 1, clock=clock)
    assert "api" in repr(breaker)
    assert "closed" in repr(breaker)
    breaker.record_failure()
    assert "open" in repr(breaker.as_async())
    assert {state.value for state in CircuitState} == {"closed", "open", "half_open"}
