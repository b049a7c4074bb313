"""The breaker that judges by rates: windows, slow calls, judged probes, and how long it stays open."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.circuit_breaker.core import Tally
from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow
from techrevati.runtime.testing import FakeClock, run

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class FailedError(Exception):
    """What the dependency raises."""


class AskedError(Exception):
    """A refusal with the headers an SDK would give."""

    def __init__(self, retry_after: float | str) -> None:
        super().__init__("slow down")
        self.status_code = 429
        self.headers = {"retry-after": str(retry_after)}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000.0)


def good() -> str:
    return "good"


def fail(breaker: CircuitBreaker, error: Exception | None = None) -> None:
    def failing() -> None:
        raise error or FailedError

    with pytest.raises(type(error or FailedError())):
        breaker.call(failing)


def feed(breaker: CircuitBreaker, outcomes: str) -> None:
    """``g`` is a good call, ``b`` a bad one."""
    for outcome in outcomes:
        if outcome == "g":
            assert breaker.call(good) == "good"
        else:
            fail(breaker)


def refused_for(breaker: CircuitBreaker) -> float | None:
    with pytest.raises(CircuitOpenError) as refusal:
        breaker.call(good)
    return refusal.value.retry_after


def held(breaker: CircuitBreaker) -> tuple[int, int, int]:
    snapshot = breaker.snapshot()
    return snapshot.window_calls, snapshot.window_failed, snapshot.window_slow


# --- rates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [{"window_calls": 10}, {"window_seconds": 60}])
def test_a_rate_opens_it_and_not_a_row_of_failures(clock: FakeClock, window: dict[str, Any]) -> None:
    """Four of ten failed in a row stay below a half; the fifth of eleven does too, and with five of ten it
    opens."""
    breaker = CircuitBreaker("api", 2, clock=clock, minimum_calls=10, **window)
    feed(breaker, "ggggggbbbb")
    assert breaker.state() is CLOSED
    fail(breaker)
    assert (breaker.state() is OPEN) == ("window_calls" in window)
    if "window_seconds" in window:
        fail(breaker)
        assert breaker.state() is OPEN


@pytest.mark.parametrize("window", [{"window_calls": 20}, {"window_seconds": 60}])
def test_nothing_is_judged_before_the_minimum(clock: FakeClock, window: dict[str, Any]) -> None:
    """Nine failed calls prove nothing with a minimum of ten; the tenth call, even a good one, is judged."""
    breaker = CircuitBreaker("api", clock=clock, minimum_calls=10, **window)
    feed(breaker, "bbbbbbbbb")
    assert breaker.state() is CLOSED
    feed(breaker, "g")
    assert breaker.state() is OPEN


def test_the_default_minimum_is_ten_or_the_window() -> None:
    """A window of three is judged when it is full, a longer one after ten calls."""
    for calls, needed in ((3, 3), (100, 10)):
        breaker = CircuitBreaker("api", clock=FakeClock(), window_calls=calls)
        feed(breaker, "b" * (needed - 1))
        assert breaker.state() is CLOSED
        fail(breaker)
        assert breaker.state() is OPEN


@pytest.mark.parametrize(("failed", "calls"), [(7, 100), (29, 100), (3, 10), (1, 3), (57, 100), (1, 49)])
def test_a_rate_is_reached_exactly(failed: int, calls: int) -> None:
    """7 of 100 reach a rate of 0.07, although 0.07 * 100 is more than 7 in floats; 6 do not."""
    breaker = CircuitBreaker(
        "api", clock=FakeClock(), window_calls=calls, failure_rate=failed / calls, minimum_calls=calls
    )
    feed(breaker, "b" * (failed - 1) + "g" * (calls - failed + 1))
    assert breaker.state() is CLOSED
    feed(breaker, "g" * calls + "b" * (failed - 1))
    assert breaker.state() is CLOSED
    fail(breaker)
    assert breaker.state() is OPEN


def test_the_oldest_call_leaves_a_count_window(clock: FakeClock) -> None:
    """Failures count for as long as they are among the last calls, whatever the clock says."""
    breaker = CircuitBreaker("api", clock=clock, window_calls=4, failure_rate=0.75, minimum_calls=4)
    feed(breaker, "bbgg")
    clock.advance(1e6)
    assert held(breaker) == (4, 2, 0)
    feed(breaker, "gb")  # both old failures are gone
    assert held(breaker) == (4, 1, 0)
    feed(breaker, "bb")
    assert breaker.state() is OPEN


def test_a_time_window_forgets_a_twentieth_at_a_time(clock: FakeClock) -> None:
    """A failure of 1000.0 s is there until 1019 s, and gone at 1020 s, also for a snapshot that nobody
    fed."""
    breaker = CircuitBreaker("api", clock=clock, window_seconds=20, minimum_calls=2)
    fail(breaker)
    clock.now = 1_019.5
    assert held(breaker) == (1, 1, 0)
    clock.now = 1_020.0
    assert held(breaker) == (0, 0, 0)
    fail(breaker)
    assert breaker.state() is CLOSED
    clock.now = 1_039.0
    fail(breaker)
    assert breaker.state() is OPEN


def test_what_is_forgotten_can_make_a_good_call_the_last_straw(clock: FakeClock) -> None:
    """Once old good calls are forgotten the failures weigh more; the next call of any kind is judged by that,
    with or without somebody looking in between."""
    for looking in (False, True):
        clock.now = 1_000.0
        breaker = CircuitBreaker("api", clock=clock, window_seconds=20, minimum_calls=5)
        feed(breaker, "g" * 10)
        clock.now = 1_015.0
        feed(breaker, "b" * 9)
        clock.now = 1_020.0
        if looking:
            assert held(breaker) == (9, 9, 0)
        assert breaker.state() is CLOSED
        feed(breaker, "g")
        assert breaker.state() is OPEN


@pytest.mark.parametrize("start", [-1_000.0, 0.0, 1e9])
def test_a_clock_may_start_anywhere_and_go_back(start: float) -> None:
    """Time before zero is time; a step back neither forgets nor breaks anything."""
    clock = FakeClock(start)
    breaker = CircuitBreaker("api", clock=clock, window_seconds=20, minimum_calls=4)
    feed(breaker, "g")
    clock.now = start + 30
    fail(breaker)
    assert held(breaker) == (1, 1, 0)
    clock.now = start + 20
    feed(breaker, "gg")
    assert held(breaker) == (3, 1, 0)


def test_a_new_epoch_begins_with_an_empty_window(clock: FakeClock) -> None:
    """After closing again, and after a reset, old failures are no longer held."""
    breaker = CircuitBreaker("api", recovery_timeout_seconds=10, clock=clock, window_calls=2)
    feed(breaker, "bb")
    clock.advance(10)
    feed(breaker, "g")
    assert breaker.state() is CLOSED
    assert held(breaker) == (0, 0, 0)
    fail(breaker)
    breaker.reset()
    assert held(breaker) == (0, 0, 0)


def test_a_late_call_is_not_counted_in_the_next_epoch(clock: FakeClock) -> None:
    """A call that began before a reset, in the window's fast time, leaves the new window empty."""
    for kind in ({"window_calls": 2}, {"window_seconds": 60.0, "minimum_calls": 1}):
        breaker = CircuitBreaker("api", clock=clock, **kind)  # type: ignore[arg-type]
        feed(breaker, "gg")

        def resetting(breaker: CircuitBreaker = breaker) -> None:
            breaker.reset()

        breaker.call(resetting)
        assert held(breaker) == (0, 0, 0)


# --- slow calls ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", ["sync", "async", "with", "decorated"])
@pytest.mark.parametrize("window", [{"window_calls": 4}, {"window_seconds": 100, "minimum_calls": 4}])
def test_slow_calls_open_it(clock: FakeClock, colour: str, window: dict[str, Any]) -> None:
    """Good calls that take longer than ``slow_call_seconds`` open it at their rate; exactly so long is not
    slow."""
    breaker = CircuitBreaker("api", clock=clock, slow_call_seconds=2, slow_call_rate=0.5, **window)

    def take(seconds: float) -> None:
        def working() -> None:
            clock.advance(seconds)

        async def aworking() -> None:
            clock.advance(seconds)

        if colour == "sync":
            breaker.call(working)
        elif colour == "async":
            run(breaker.as_async().call(aworking))
        elif colour == "with":
            with breaker:
                working()
        else:
            breaker(working)()

    for seconds in (2, 2, 2, 2, 0, 2.5):
        take(seconds)
    assert breaker.state() is CLOSED
    assert held(breaker)[1:] == (0, 1)
    while breaker.state() is CLOSED:
        take(3)
    assert breaker.snapshot().trips == 1


def test_a_slow_failure_counts_as_both(clock: FakeClock) -> None:
    """It is one failed call and one slow call."""
    breaker = CircuitBreaker("api", clock=clock, window_calls=9, slow_call_seconds=1)

    def slowly_failing() -> None:
        clock.advance(2)
        raise FailedError

    with pytest.raises(FailedError):
        breaker.call(slowly_failing)
    assert held(breaker) == (1, 1, 1)


def test_without_slow_calls_no_time_is_read() -> None:
    """A full count window without a threshold for slow calls lets good calls through without the clock."""
    reads: list[float] = []

    def clock() -> float:
        reads.append(0.0)
        return 0.0

    breaker = CircuitBreaker("api", clock=clock, window_calls=3)
    feed(breaker, "ggg")
    reads.clear()
    feed(breaker, "ggggg")
    assert reads == []
    assert held(breaker) == (3, 0, 0)


# --- what counts --------------------------------------------------------------------------------------------


def test_what_does_not_count_proves_nothing(clock: FakeClock) -> None:
    """An exception that does not count is neither good nor bad, and as a probe it gives the permit back."""
    breaker = CircuitBreaker(
        "api",
        2,
        10,
        clock=clock,
        counts_as_failure=lambda error: isinstance(error, FailedError),
    )
    fail(breaker)
    for _ in range(5):
        fail(breaker, ValueError("mine"))
    assert breaker.snapshot().failures == 1
    fail(breaker)
    clock.advance(10)
    for _ in range(3):
        fail(breaker, ValueError("mine"))
        assert breaker.state() is HALF_OPEN
        assert breaker.snapshot().probes == 0
    feed(breaker, "g")
    assert breaker.state() is CLOSED


@pytest.mark.parametrize("colour", ["sync", "async", "decorated"])
def test_a_returned_value_can_be_a_failure(clock: FakeClock, colour: str) -> None:
    """``result_is_failure`` opens it while the caller still gets the value, in every form and in a window
    too."""
    for window in ({}, {"window_calls": 2}):
        breaker = CircuitBreaker("api", 2, clock=clock, result_is_failure=lambda v: v == 500, **window)  # type: ignore[arg-type]

        async def five_hundred() -> int:
            return 500

        for _ in range(2):
            assert breaker.state() is CLOSED
            if colour == "sync":
                assert breaker.call(lambda: 500) == 500
            elif colour == "async":
                assert run(breaker.as_async().call(five_hundred)) == 500
            else:
                assert run(breaker(five_hundred)()) == 500
        assert breaker.state() is OPEN


@pytest.mark.parametrize("face", ["call", "acall", "decorated"])
def test_results_are_judged_also_after_good_ones(clock: FakeClock, face: str) -> None:
    """A breaker without a window may look at nothing once calls go well; one that judges results looks on."""
    breaker = CircuitBreaker("api", 2, 10, clock=clock, result_is_failure=lambda answer: answer == "bad")

    async def aanswer(text: str) -> str:
        return text

    def ask(text: str) -> object:
        if face == "call":
            return breaker.call(str, text)
        if face == "decorated":
            return breaker(lambda: text)()
        return run(breaker.as_async().call(aanswer, text))

    for text in ("good", "good", "bad", "bad"):
        assert breaker.state() is CircuitState.CLOSED
        assert ask(text) == text
    assert breaker.state() is CircuitState.OPEN


@pytest.mark.parametrize("colour", ["sync", "async", "decorated"])
def test_a_judge_that_raises_is_logged_and_counts(
    clock: FakeClock, caplog: pytest.LogCaptureFixture, colour: str
) -> None:
    """The caller gets the call's own exception or value, the call counts as failed, and no permit is lost."""

    def broken(_: object) -> bool:
        raise ZeroDivisionError("broken judge")

    async def araising() -> None:
        raise FailedError

    async def afine() -> str:
        return "fine"

    with caplog.at_level(logging.WARNING, "techrevati.runtime.circuit_breaker"):
        for judge in ("counts_as_failure", "result_is_failure"):
            breaker = CircuitBreaker("api", 1, 10, clock=clock, **{judge: broken})  # type: ignore[arg-type]
            for _ in range(2):
                if judge == "result_is_failure":
                    if colour == "sync":
                        assert breaker.call(good) == "good"
                    elif colour == "async":
                        assert run(breaker.as_async().call(afine)) == "fine"
                    else:
                        assert breaker(good)() == "good"
                elif colour == "sync":
                    fail(breaker)
                else:
                    with pytest.raises(FailedError):
                        run(breaker.as_async().call(araising) if colour == "async" else breaker(araising)())
                assert breaker.state() is OPEN
                clock.advance(10)
            assert breaker.snapshot().trips == 2
            assert breaker.snapshot().probes == 0
    assert caplog.text.count("broken judge") == 4


def test_an_interrupt_in_a_judge_gives_the_permit_back(clock: FakeClock) -> None:
    """Ctrl-C while a probe's value is judged: nothing was learnt, and the next probe may start."""
    strikes = [KeyboardInterrupt]

    def judge(_: object) -> bool:
        if strikes:
            raise strikes.pop()
        return False

    breaker = CircuitBreaker("api", 1, 10, clock=clock, result_is_failure=judge)
    breaker.record_failure()
    clock.advance(10)
    with pytest.raises(KeyboardInterrupt):
        breaker.call(good)
    assert breaker.state() is HALF_OPEN
    feed(breaker, "g")
    assert breaker.state() is CLOSED


# --- judged probes ------------------------------------------------------------------------------------------


def half_open(clock: FakeClock, probes: int, **more: Any) -> CircuitBreaker:
    breaker = CircuitBreaker("api", 1, 10, probes, clock, window_calls=2, **more)
    feed(breaker, "bb")
    clock.advance(10)
    assert breaker.state() is HALF_OPEN
    return breaker


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [("ggg", CLOSED), ("gbgg", CLOSED), ("bgb", OPEN), ("bb", OPEN), ("gb", HALF_OPEN), ("gg", HALF_OPEN)],
)
def test_probes_are_judged_together(clock: FakeClock, outcomes: str, state: CircuitState) -> None:
    """Of four probes by a rate of a half: two failed ones open it, three good ones close it, as soon as
    sure."""
    breaker = half_open(clock, 4)
    feed(breaker, outcomes)
    assert breaker.state() is state


def test_slow_probes_are_judged_too(clock: FakeClock) -> None:
    """Two good but slow probes of two open it again."""
    breaker = half_open(clock, 2, slow_call_seconds=1)
    for _ in range(2):
        breaker.call(lambda: clock.advance(2))
    assert breaker.state() is OPEN


def test_a_round_admits_its_number_altogether(clock: FakeClock) -> None:
    """Of three probes one ended: two more may run, not three; a cancelled one is replaced."""
    breaker = half_open(clock, 3)
    feed(breaker, "g")
    guards = [breaker.guard(), breaker.guard()]
    for guard in guards:
        guard.__enter__()
    assert refused_for(breaker) == 60.0
    guards[0].__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    feed(breaker, "g")
    assert breaker.state() is CLOSED


def test_a_refusal_names_the_moment_that_really_admits(clock: FakeClock) -> None:
    """With more permits taken and outcomes told than the round has places, the first lease is not enough."""
    breaker = half_open(clock, 2, failure_rate=1.0)
    first, second = breaker.guard(), breaker.guard()
    first.__enter__()
    clock.advance(5)
    second.__enter__()
    breaker.record_failure()  # one of the two places is used: both leases must end
    wait = refused_for(breaker)
    assert wait == 60.0
    clock.advance(55)
    assert refused_for(breaker) == 5.0
    clock.advance(5)
    feed(breaker, "g")
    assert breaker.state() is CLOSED


def test_a_hung_probe_is_replaced_after_its_lease(clock: FakeClock) -> None:
    """The half-open maximum wait: a probe that never ends does not keep the breaker half-open for ever."""
    breaker = half_open(clock, 2, probe_lease_seconds=30)
    hung = breaker.guard()
    hung.__enter__()
    feed(breaker, "g")
    assert refused_for(breaker) == 30.0
    clock.advance(30)
    feed(breaker, "g")
    assert breaker.state() is CLOSED
    hung.__exit__(FailedError, FailedError(), None)
    assert held(breaker) == (0, 0, 0)


@pytest.mark.parametrize("rated", [True, False])
def test_a_thundering_herd_meets_ten_open_doors(rated: bool) -> None:
    """Two hundred tasks at the moment of half-open: ten get in, all others are refused; by rate the ten are
    judged together, even when the herd comes in waves while they still run."""

    async def main() -> tuple[int, int, CircuitState, CircuitState]:
        loop = asyncio.get_running_loop()
        window: dict[str, Any] = {"window_calls": 10} if rated else {}
        breaker = AsyncCircuitBreaker("api", 10, 30.0, 10, loop.time, **window)
        for _ in range(10):
            await breaker.record_failure()
        await asyncio.sleep(30)
        inside = 0

        async def probe(seconds: float) -> str:
            nonlocal inside
            inside += 1
            await asyncio.sleep(seconds)
            return "in"

        async def caller(number: int) -> str:
            await asyncio.sleep(number % 4)
            return await breaker.call(probe, 5.0)

        ends = asyncio.gather(*(caller(number) for number in range(200)), return_exceptions=True)
        await asyncio.sleep(4.5)
        during = await breaker.state()
        answers = await ends
        refused = sum(isinstance(answer, CircuitOpenError) for answer in answers)
        return inside, refused, during, await breaker.state()

    assert run(main()) == (10, 190, HALF_OPEN, CLOSED)


@pytest.mark.parametrize("rated", [True, False])
def test_a_thundering_herd_of_threads_meets_ten_open_doors(clock: FakeClock, rated: bool) -> None:
    """Two hundred threads at the moment of half-open: ten get in and stay until all others were refused."""
    window: dict[str, Any] = {"window_calls": 10} if rated else {}
    breaker = CircuitBreaker("api", 10, 30.0, 10, clock, **window)
    for _ in range(10):
        breaker.record_failure()
    clock.advance(30)
    start, refusals, leave = threading.Barrier(201), threading.Semaphore(0), threading.Event()
    inside = itertools.count()

    def probe() -> None:
        next(inside)
        assert leave.wait(30)

    def caller() -> None:
        start.wait(30)
        try:
            breaker.call(probe)
        except CircuitOpenError:
            refusals.release()

    threads = [threading.Thread(target=caller, daemon=True) for _ in range(200)]
    for thread in threads:
        thread.start()
    start.wait(30)
    for _ in range(190):
        assert refusals.acquire(timeout=30)
    assert breaker.state() is HALF_OPEN
    leave.set()
    for thread in threads:
        thread.join(30)
    assert next(inside) == 10
    assert not refusals.acquire(blocking=False)
    assert breaker.state() is CLOSED


def test_a_herd_that_fails_costs_ten_requests_a_round() -> None:
    """Two hundred callers that ask every second through five failed rounds: ten requests each, fifty in
    all."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        breaker = AsyncCircuitBreaker("api", 10, 30.0, 10, loop.time, window_calls=10, failure_rate=0.9)
        for _ in range(10):
            await breaker.record_failure()
        requests = 0

        async def failing() -> None:
            nonlocal requests
            requests += 1
            await asyncio.sleep(0)
            raise FailedError

        async def caller() -> None:
            while loop.time() < 164:
                try:
                    await breaker.call(failing)
                except (FailedError, CircuitOpenError):
                    await asyncio.sleep(1)

        await asyncio.gather(*(caller() for _ in range(200)))
        return requests

    requests = run(main())
    assert 45 <= requests <= 50


# --- how long it stays open ---------------------------------------------------------------------------------


def test_the_open_time_grows_until_its_bound_and_starts_anew(clock: FakeClock) -> None:
    """10, 20, 40, then the bound of 50 s, and 10 again once a probe was good in between."""
    breaker = CircuitBreaker("api", 1, 10, clock=clock, open_growth=2, max_open_seconds=50)
    waits = []
    for _ in range(5):
        fail(breaker)
        waits.append(refused_for(breaker))
        clock.advance(waits[-1] or 0)
    assert waits == [10, 20, 40, 50, 50]
    assert breaker.snapshot().trips == 5
    feed(breaker, "g")
    assert breaker.snapshot().trips == 0
    fail(breaker)
    assert refused_for(breaker) == 10


@pytest.mark.parametrize(("recovery", "expected"), [(0.0, 0.0), (1e-3, 500.0), (float("inf"), 500.0)])
def test_growth_never_overflows(recovery: float, expected: float) -> None:
    """After thousands of rounds the bound still holds, and nothing times anything is nothing."""
    from techrevati.runtime.circuit_breaker.core import Gate, Rules, settled

    rules = Rules(1, recovery, 1, 60.0, growth=10.0, longest_s=500.0)
    opened = settled(Gate(trips=5_000), 0, 0, False, False, 0.0, rules)
    assert opened.probe_at_s == expected


@settings(derandomize=True, deadline=None)
@given(die=st.floats(0, 1, exclude_max=True), jitter=st.floats(0, 2), recovery=st.floats(0, 1e4))
def test_jitter_only_lengthens(die: float, jitter: float, recovery: float) -> None:
    """The open time is the recovery time and up to the given share of it more, never less."""
    breaker = CircuitBreaker("api", 1, recovery, clock=FakeClock(), open_jitter=jitter, rng=lambda: die)
    breaker.record_failure()
    wait = breaker.snapshot().retry_after
    assert wait is not None
    assert recovery <= wait <= recovery * (1 + jitter)


@settings(derandomize=True, deadline=None)
@given(
    asked=st.lists(st.integers(0, 300), min_size=3, max_size=3),
    recovery=st.integers(0, 200),
    window=st.booleans(),
    die=st.floats(0, 1, exclude_max=True),
)
def test_no_probe_before_the_provider_asked_for_it(
    asked: list[int], recovery: int, window: bool, die: float
) -> None:
    """Whichever of the failures that opened it asked for the longest wait gets it, though the last one may
    have asked for less, and whatever growth, bound and jitter say."""
    clock = FakeClock(50.0)
    kind: dict[str, Any] = {"window_calls": 3, "failure_rate": 1.0} if window else {}
    breaker = CircuitBreaker(
        "api", 3, recovery, clock=clock, max_open_seconds=100, open_jitter=0.5, rng=lambda: die, **kind
    )
    until = 0.0
    for seconds in asked:
        until = max(until, clock.now + seconds)
        fail(breaker, AskedError(seconds))
        clock.advance(1)
    opened = clock.now - 1
    wait = breaker.snapshot().retry_after
    assert wait is not None
    assert clock.now + wait >= until - 1e-6
    assert clock.now + wait <= max(until, opened + min(recovery, 100) * 1.5, clock.now) + 1e-6


def test_a_failed_probe_that_asks_for_more_gets_more(clock: FakeClock) -> None:
    """Also while half-open, also when the probe that asked was not the one that decided."""
    breaker = half_open(clock, 3, failure_rate=0.5)
    fail(breaker, AskedError(100))
    clock.advance(1)
    fail(breaker)
    assert refused_for(breaker) == 99.0


def test_a_success_in_between_ends_what_was_asked_for(clock: FakeClock) -> None:
    """By consecutive failures, a good call shows that the provider serves again."""
    breaker = CircuitBreaker("api", 2, 10, clock=clock)
    fail(breaker, AskedError(500))
    feed(breaker, "g")
    feed(breaker, "bb")
    assert refused_for(breaker) == 10.0


def test_retry_after_can_be_a_date_or_ignored(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A date becomes seconds; ``respect_retry_after=False`` keeps to the recovery time."""
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    breaker = CircuitBreaker("api", 1, 10, clock=clock)
    fail(breaker, AskedError(formatdate(1_800_000_090, usegmt=True)))
    assert refused_for(breaker) == 90.0
    deaf = CircuitBreaker("api", 1, 10, clock=clock, respect_retry_after=False)
    fail(deaf, AskedError(90))
    assert refused_for(deaf) == 10.0


# --- an outage ----------------------------------------------------------------------------------------------


def test_an_outage_of_ten_minutes_costs_a_hundredth() -> None:
    """Twenty agents ask once a second through ten minutes of outage.  Naive retry (three attempts each) makes
    tens of thousands of requests; behind one breaker the provider sees its window and then single probes, and
    every agent is served again within one open time."""

    class Provider:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.loop = loop
            self.requests = 0

        async def answer(self) -> str:
            self.requests += self.down
            await asyncio.sleep(0.1)
            if self.down:
                raise ConnectionResetError("down")
            return "answer"

        @property
        def down(self) -> bool:
            return 60 <= self.loop.time() < 660

    async def day(with_breaker: bool) -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        provider = Provider(loop)
        breaker = AsyncCircuitBreaker(
            "api", 5, 10.0, clock=loop.time, window_seconds=30, open_growth=2, max_open_seconds=60
        )
        served: dict[int, float] = {}

        async def agent(number: int) -> None:
            await asyncio.sleep(number / 20)
            while loop.time() < 800:
                for _ in range(3):
                    try:
                        await (breaker.call(provider.answer) if with_breaker else provider.answer())
                    except CircuitOpenError:
                        break
                    except ConnectionResetError:
                        continue
                    if loop.time() > 660:
                        served.setdefault(number, loop.time())
                    break
                await asyncio.sleep(1)

        await asyncio.gather(*(agent(number) for number in range(20)))
        assert len(served) == 20
        return provider.requests, max(served.values())

    naive, _ = run(day(False))
    ours, served = run(day(True))
    assert naive > 20_000
    assert ours < 500
    assert served < 660 + 62


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"window_calls": 0}, "window_calls"),
        ({"window_calls": 1.5}, "window_calls"),
        ({"window_seconds": 0}, "window_seconds"),
        ({"window_seconds": 1e-320}, "window_seconds"),
        ({"window_seconds": float("inf")}, "window_seconds"),
        ({"window_calls": 3, "window_seconds": 3}, "window_calls"),
        ({"window_calls": 3, "failure_rate": 0}, "failure_rate"),
        ({"window_calls": 3, "failure_rate": 1.1}, "failure_rate"),
        ({"window_calls": 3, "failure_rate": "0.5"}, "failure_rate"),
        ({"failure_rate": 0.5}, "failure_rate"),
        ({"slow_call_seconds": 1}, "slow_call_seconds"),
        ({"window_calls": 3, "slow_call_rate": 0.5}, "slow_call_rate"),
        ({"window_calls": 3, "slow_call_seconds": -1}, "slow_call_seconds"),
        ({"window_calls": 3, "slow_call_seconds": 1, "slow_call_rate": 0}, "slow_call_rate"),
        ({"minimum_calls": 3}, "minimum_calls"),
        ({"window_calls": 3, "minimum_calls": 4}, "minimum_calls"),
        ({"window_calls": 3, "minimum_calls": 0}, "minimum_calls"),
        ({"open_growth": 0.5}, "open_growth"),
        ({"open_growth": float("inf")}, "open_growth"),
        ({"max_open_seconds": -1}, "max_open_seconds"),
        ({"open_jitter": -0.1}, "open_jitter"),
        ({"open_jitter": float("nan")}, "open_jitter"),
        ({"counts_as_failure": "all"}, "counts_as_failure"),
        ({"result_is_failure": 1}, "result_is_failure"),
        ({"rng": 0.5}, "rng"),
    ],
)
@pytest.mark.parametrize("kind", [CircuitBreaker, AsyncCircuitBreaker])
def test_wrong_arguments_are_named(kind: type, arguments: dict[str, object], named: str) -> None:
    """A breaker that cannot work is refused when it is made."""
    with pytest.raises((ValueError, TypeError)) as refusal:
        kind("api", **arguments)
    assert named in str(refusal.value)


# --- threads through the lock-free path ---------------------------------------------------------------------


@pytest.mark.parametrize("window", [CountWindow(5), TimeWindow(10.0)])
def test_good_calls_are_counted_by_any_number_of_threads(window: CountWindow | TimeWindow) -> None:
    """Four threads step the counter two thousand times each while a fifth takes what is there: none is
    lost."""
    window.add(True, False, 1.0)
    start = threading.Barrier(5)
    seen = Tally()

    def stepping() -> None:
        start.wait(10)
        for _ in range(2_000):
            window.good()

    def taking() -> None:
        start.wait(10)
        for _ in range(500):
            seen.calls += window._goods.taken()

    threads = [threading.Thread(target=work, daemon=True) for work in [stepping] * 4 + [taking]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen.calls + window._goods.taken() == 8_000


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["good", "slow", "failed", "both", "goods", "later", "stored"]), st.integers(1, 9)
        ),
        max_size=60,
    ),
    kind=st.sampled_from(["count", "time"]),
)
def test_a_window_that_was_stored_goes_on_as_if_it_had_not(steps: list[tuple[str, int]], kind: str) -> None:
    """At every moment the one that goes through a store holds what the one that stayed in memory holds, and
    of the last calls exactly those that a plain list of them has."""
    make = (lambda: CountWindow(7)) if kind == "count" else (lambda: TimeWindow(20.0))
    stored: CountWindow | TimeWindow = make()
    kept: CountWindow | TimeWindow = make()
    calls: list[tuple[bool, bool]] = []
    now_s = 1_000_000.0

    def held(window: CountWindow | TimeWindow) -> tuple[int, int, int]:
        tally = window.at(now_s)
        return tally.calls, tally.failed, tally.slow

    for step, number in steps:
        if step == "stored":
            stored.at(now_s)
            stored = make().restored(json.loads(json.dumps(stored.saved())), 3)
            assert stored.epoch == 3
            assert (stored.tally.calls, stored.tally.failed, stored.tally.slow) == held(kept)
        elif step == "later":
            now_s += number
        elif step == "goods":
            calls += [(True, False)] * number
            for window in (stored, kept):
                window.add_goods(number, now_s)
        else:
            ok, slow = step in ("good", "slow"), step in ("slow", "both")
            calls.append((ok, slow))
            for window in (stored, kept):
                window.add(ok, slow, now_s)
        assert held(stored) == held(kept)
        if kind == "count":
            last = calls[-7:]
            assert held(kept) == (
                len(last),
                sum(not ok for ok, _ in last),
                sum(slow for _, slow in last),
            )
