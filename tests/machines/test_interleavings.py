"""Two and three threads through everything that threads share, with up to two change-overs anywhere.

Each test states what holds whatever the interleaving: no permit is lost, counts are exact, a change is told
once.  ``tests.interleavings`` makes the interleavings: all of them, in the same order every time.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from techrevati.runtime.bulkhead import Bulkhead, BulkheadFullError, bulkhead as bulkhead_module
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker, CircuitOpenError, CircuitState
from techrevati.runtime.deadlines import LateOutcome, Timeout, TurnTimeoutError
from techrevati.runtime.failover import Failover, Target
from techrevati.runtime.hedging import (
    Hedge,
    HedgedRequest,
    Loser,
    hedge as hedge_module,
    streams as streams_module,
)
from techrevati.runtime.pipeline import Pipeline
from techrevati.runtime.rate_limit import RateLimit
from techrevati.runtime.retry_policy import Retry, RetryBudget, retry as retry_module
from techrevati.runtime.testing import FakeClock
from tests.interleavings import Scenario, TurnLock, Turns, explore

Works = list[Callable[[], object]]
CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


class FailedError(Exception):
    """What the dependency raises."""


class AskedError(Exception):
    """A refusal with the headers an SDK would give."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("slow down")
        self.status_code = 429
        self.headers = {"retry-after": str(retry_after)}


class Stopped(BaseException):
    """Like Ctrl-C: nobody learnt anything."""


class Inside:
    """A dependency that counts who is inside, with a step ``here`` at which to change over."""

    here = True

    def __init__(self) -> None:
        self.inside = self.most = self.entered = 0

    def __call__(self, error: BaseException | None = None) -> str:
        self.inside += 1
        self.entered += 1
        self.most = max(self.most, self.inside)
        try:
            if self.here and error is not None:
                raise error
            return "good"
        finally:
            self.inside -= 1


HERE = "test_interleavings"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="3.13 does not trace every opcode it is asked to"),
]


def ending(call: Callable[[], object], *allowed: type[BaseException]) -> Callable[[], None]:
    """*call*, which may also end with one of *allowed*."""

    def work() -> None:
        try:
            call()
        except allowed:
            pass

    return work


def failing() -> None:
    raise FailedError


# --- breaker ------------------------------------------------------------------------------------------------

BREAKER = frozenset({"_gate", "_quiet", "_steady", "_proven", "_lock", "good"})
WINDOWS: list[dict[str, Any]] = [{"window_calls": 8}, {"window_seconds": 60, "minimum_calls": 4}]


def told(events: list[tuple[CircuitState, CircuitState]]) -> Callable[..., None]:
    return lambda name, before, after: events.append((before, after))


@pytest.mark.parametrize("threads", [2, 3])
def test_a_row_of_failures_is_counted_exactly(threads: int) -> None:
    """Failing calls side by side are all counted, and none twice."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        breaker = CircuitBreaker("api", 9, clock=FakeClock())
        breaker.call(str)
        breaker._lock = turns.lock()  # type: ignore[assignment]

        def check() -> None:
            assert breaker.snapshot().failures == threads
            assert breaker.state() is CLOSED

        return [ending(lambda: breaker.call(failing), FailedError)] * threads, check

    assert explore(scenario, ("/circuit_breaker/",), BREAKER, threads=threads, alike=True) > 20


@pytest.mark.parametrize("kind", [{}, {"window_calls": 2}])
def test_it_opens_exactly_once(kind: dict[str, Any]) -> None:
    """Three failing calls against a threshold of two: it opens, that is told once, and a failure that comes
    late changes nothing."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        events: list[tuple[CircuitState, CircuitState]] = []
        breaker = CircuitBreaker("api", 2, 10.0, clock=FakeClock(), on_state_change=told(events), **kind)
        breaker._lock = turns.lock()  # type: ignore[assignment]

        def check() -> None:
            assert events == [(CLOSED, OPEN)]
            assert breaker.snapshot().trips == 1
            assert breaker.state() is OPEN

        return [ending(lambda: breaker.call(failing), FailedError, CircuitOpenError)] * 3, check

    assert explore(scenario, ("/circuit_breaker/",), BREAKER, alike=True) > 20


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("threads", [2, 3])
def test_a_window_loses_no_call(window: dict[str, Any], threads: int) -> None:
    """A good call without the lock, a failing one and a good one that looks: each is counted once."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        breaker = CircuitBreaker("api", clock=FakeClock(1_000.0), failure_rate=0.9, **window)
        for _ in range(4):
            breaker.call(str)
        breaker._lock = turns.lock()  # type: ignore[assignment]
        works: Works = [
            lambda: breaker.call(str),
            ending(lambda: breaker.call(failing), FailedError),
            lambda: (breaker.call(str), breaker.snapshot()),
        ]

        def check() -> None:
            seen = breaker.snapshot()
            assert (seen.window_calls, seen.window_failed) == (4 + threads, 1)
            assert breaker.state() is CLOSED

        return works[:threads], check

    assert explore(scenario, ("/circuit_breaker/",), BREAKER, threads=threads) > 20


@pytest.mark.parametrize("probes", [1, 2])
@pytest.mark.parametrize("kind", [{}, {"window_calls": 2, "failure_rate": 0.01}])
def test_never_more_than_so_many_probes(probes: int, kind: dict[str, Any]) -> None:
    """Three callers at half-open, each failing: no more are let in than there are probes, the first failure
    opens it again, and each change is told once."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        clock, inside = FakeClock(), Inside()
        events: list[tuple[CircuitState, CircuitState]] = []
        breaker = CircuitBreaker("api", 2, 10.0, probes, clock, on_state_change=told(events), **kind)
        breaker.record_failure()
        breaker.record_failure()
        clock.advance(10)
        breaker._lock = turns.lock()  # type: ignore[assignment]

        def check() -> None:
            assert 1 <= inside.entered <= probes
            assert sorted(events) == sorted([(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, OPEN)])
            assert breaker.snapshot().trips == 2
            assert breaker.state() is OPEN

        call = ending(lambda: breaker.call(inside, FailedError()), FailedError, CircuitOpenError)
        return [call] * 3, check

    shared = BREAKER | {"here"}
    assert explore(scenario, ("/circuit_breaker/", HERE), shared, alike=True) > 20


def test_no_probe_permit_is_lost() -> None:
    """At half-open one probe is interrupted, one returns and one is refused or let in after that: in the end
    no permit is taken, and it is closed, or waits for a probe if the only one that got in proved nothing."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        clock, inside = FakeClock(), Inside()
        events: list[tuple[CircuitState, CircuitState]] = []
        breaker = CircuitBreaker("api", 1, 10.0, clock=clock, on_state_change=told(events))
        breaker.record_failure()
        clock.advance(10)
        breaker._lock = turns.lock()  # type: ignore[assignment]
        good = 0

        def probing() -> None:
            nonlocal good
            try:
                breaker.call(inside)
                good += 1
            except CircuitOpenError:
                pass

        def check() -> None:
            assert breaker.snapshot().probes == 0
            assert breaker.state() is (CLOSED if good else HALF_OPEN)
            assert events.count((OPEN, HALF_OPEN)) == 1
            assert events.count((HALF_OPEN, CLOSED)) == (good > 0)

        stopped = ending(lambda: breaker.call(inside, Stopped()), Stopped, CircuitOpenError)
        return [stopped, probing, probing], check

    assert explore(scenario, ("/circuit_breaker/", HERE), BREAKER | {"here"}) > 20


def test_interrupted_probes_all_give_back() -> None:
    """Three probes side by side, all interrupted: no permit is taken in the end."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        clock, inside = FakeClock(), Inside()
        breaker = CircuitBreaker("api", 1, 10.0, 3, clock)
        breaker.record_failure()
        clock.advance(10)
        breaker._lock = turns.lock()  # type: ignore[assignment]

        def check() -> None:
            assert inside.entered == 3
            assert breaker.snapshot().probes == 0
            assert breaker.state() is HALF_OPEN

        return [ending(lambda: breaker.call(inside, Stopped()), Stopped)] * 3, check

    assert explore(scenario, ("/circuit_breaker/", HERE), BREAKER | {"here"}, alike=True) > 20


@pytest.mark.parametrize("kind", [{}, {"window_calls": 1}])
def test_a_reset_and_a_call_never_mix_epochs(kind: dict[str, Any]) -> None:
    """A failure that trips it, a reset and a good call: it ends open or empty, and the changes that were told
    are as many as there were."""
    states: set[CircuitState] = set()

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        events: list[tuple[CircuitState, CircuitState]] = []
        breaker = CircuitBreaker("api", 1, 10.0, clock=FakeClock(), on_state_change=told(events), **kind)
        breaker.call(str)
        breaker._lock = turns.lock()  # type: ignore[assignment]

        def check() -> None:
            seen = breaker.snapshot()
            assert (seen.failures, seen.window_failed) == (0, 0)
            assert events.count((CLOSED, OPEN)) - events.count((OPEN, CLOSED)) == (breaker.state() is OPEN)
            states.add(breaker.state())

        works: Works = [
            ending(lambda: breaker.call(failing), FailedError, CircuitOpenError),
            ending(lambda: breaker.call(str), CircuitOpenError),
            breaker.reset,
        ]
        return works, check

    assert explore(scenario, ("/circuit_breaker/",), BREAKER) > 20
    assert states == {OPEN, CLOSED}


def test_a_registry_gives_everybody_the_same_breaker() -> None:
    """Three threads ask for a new key in a full registry: one breaker, and no more kept than allowed."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        registry = BreakerRegistry(capacity=2)
        registry.get("old")
        registry.get("older")
        registry._lock = turns.lock()  # type: ignore[assignment]
        given: list[CircuitBreaker] = []

        def check() -> None:
            assert len(given) == 3
            assert len(set(map(id, given))) == 1
            assert len(registry.all()) == 2

        return [lambda: given.append(registry.get("new"))] * 3, check

    shared = frozenset({"_breakers", "_lock", "_make"})
    assert explore(scenario, ("/circuit_breaker/registry",), shared, alike=True) > 20


# --- retry --------------------------------------------------------------------------------------------------

BUDGET = frozenset({"_tokens", "_lock"})


def test_a_retry_budget_counts_exactly() -> None:
    """One takes and makes its retry, one gives it back, one takes and succeeds: nothing is lost or made."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        budget = RetryBudget(2, refill_per_success=0.5)
        budget._lock = turns.lock()  # type: ignore[assignment]
        answers: list[bool] = []

        def takes() -> None:
            answers.append(budget.take())

        def gives_back() -> None:
            answers.append(budget.take())
            if answers[-1]:
                budget.give_back()

        def succeeds() -> None:
            takes()
            budget.succeeded()

        def check() -> None:
            assert budget.denied == answers.count(False)
            assert budget.taken <= 2
            # A success while full gives nothing; one third and later take may have been refused.
            assert 0 <= budget._tokens <= budget._capacity
            given_back = budget.taken - answers.count(True)
            assert given_back in (-1, 0)
            assert budget._tokens in (2_000_000 - budget.taken * 1_000_000 + 500_000 * n for n in (0, 1))

        return [takes, gives_back, succeeds], check

    assert explore(scenario, ("/retry_policy/retry_budget",), BUDGET) > 20


@pytest.fixture
def marking(monkeypatch: pytest.MonkeyPatch) -> list[Turns]:
    """Whose turns it is where a layer marks a failure that it gave up."""
    held: list[Turns] = []
    locks: dict[Turns, TurnLock] = {}

    class Lock:
        def __enter__(self) -> None:
            locks.setdefault(held[0], held[0].lock()).acquire()

        def __exit__(self, *_: object) -> None:
            locks[held[0]].release()

    monkeypatch.setattr(retry_module, "_given_up_lock", Lock())
    return held


def test_layers_share_one_retry(marking: list[Turns]) -> None:
    """Three calls that fail for ever share a budget of one: four requests in all."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        marking[:] = [turns]
        budget = RetryBudget(1, refill_per_success=0)
        budget._lock = turns.lock()  # type: ignore[assignment]
        clock = FakeClock()
        retry = Retry(3, base_delay_seconds=0, budget=budget, clock=clock, sleep=clock.sleep)
        requests = 0

        def ask() -> None:
            nonlocal requests
            requests += 1
            raise ConnectionError("down")

        def check() -> None:
            assert requests == 4
            assert (budget.taken, budget.denied, budget.left) == (1, 3, 0)

        return [ending(lambda: retry.call(ask), ConnectionError)] * 3, check

    shared = BUDGET | {"given_up", "_given_up_lock"}
    assert explore(scenario, ("/retry_policy/",), shared, alike=True) > 20


def test_who_gives_up_marks_only_the_own_failure(marking: list[Turns]) -> None:
    """Layers that give up side by side do not take each other's marks for one made inside: each outer layer
    makes its attempts, each inner one its own once."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        marking[:] = [turns]
        clock = FakeClock()
        retry = Retry(2, base_delay_seconds=0, clock=clock, sleep=clock.sleep)
        requests: dict[int, int] = {}

        def calling(number: int) -> Callable[[], None]:
            def ask() -> None:
                requests[number] = requests.get(number, 0) + 1
                raise ConnectionError("down")

            return ending(lambda: retry.call(retry.call, ask), ConnectionError)

        def check() -> None:
            assert requests == {1: 2, 2: 2, 3: 2}

        return [calling(1), calling(2), calling(3)], check

    assert explore(scenario, ("/retry_policy/",), frozenset({"given_up"}), alike=True) > 20


# --- bulkhead and rate limit --------------------------------------------------------------------------------

BULKHEAD = frozenset({"is_in", "_lock", "_observe_only", "_enabled", "wake", "here"})


@pytest.mark.parametrize("timing_out", [False, True])
@pytest.mark.parametrize("places", [(1, 0), (1, 1), (1, 2), (2, 1)])
def test_a_bulkhead_loses_no_place(
    monkeypatch: pytest.MonkeyPatch, places: tuple[int, int], timing_out: bool
) -> None:
    """Three callers, one of them interrupted inside: never more inside than allowed, each let in or refused
    once, nobody refused while there is room in the queue, and in the end nobody is inside or waits."""
    box: list[Turns] = []
    for name in ("allocate_lock", "fork_safe_lock"):
        monkeypatch.setattr(bulkhead_module, name, lambda: box[0].lock())

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        box[:] = [turns]
        limit, waiting = places
        bulkhead, inside = Bulkhead(limit, waiting, 5.0, clock=FakeClock()), Inside()
        reasons: list[str] = []

        def calling(error: BaseException | None) -> Callable[[], None]:
            def work() -> None:
                try:
                    bulkhead.call(inside, error)
                except BulkheadFullError as refusal:
                    reasons.append(refusal.reason)
                except Stopped:
                    pass

            return work

        def check() -> None:
            seen = bulkhead.snapshot()
            assert inside.most <= limit
            assert (seen.running, seen.queued) == (0, 0)
            assert (seen.admitted, seen.refused) == (inside.entered, len(reasons))
            assert inside.entered + len(reasons) == 3
            assert timing_out or "waited" not in reasons
            assert reasons.count("full") <= max(0, 3 - limit - waiting)

        return [calling(Stopped()), calling(None), calling(None)], check

    runs = explore(scenario, ("/bulkhead/", HERE), BULKHEAD, timing_out=timing_out)
    assert runs > 20


def test_switching_a_bulkhead_off_lets_in_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """One inside, one that queues, and somebody who sets ``observe_only``: both get in, nobody is left."""
    box: list[Turns] = []
    for name in ("allocate_lock", "fork_safe_lock"):
        monkeypatch.setattr(bulkhead_module, name, lambda: box[0].lock())

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        box[:] = [turns]
        bulkhead, inside = Bulkhead(1, 1), Inside()

        def switch() -> None:
            bulkhead.observe_only = True

        def check() -> None:
            seen = bulkhead.snapshot()
            assert (seen.running, seen.queued, seen.admitted, seen.refused) == (0, 0, 2, 0)
            assert inside.entered == 2

        return [lambda: bulkhead.call(inside), lambda: bulkhead.call(inside), switch], check

    assert explore(scenario, ("/bulkhead/", HERE), BULKHEAD) > 20


LIMIT = frozenset({"_requests", "_tokens", "_lock", "_paused_until_s", "_held_s"})


def test_a_rate_limit_gives_each_its_own_moment() -> None:
    """Three calls at once of one a second wait 0, 1 and 2 seconds, in whatever order they came."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        limit = RateLimit(60, 6000, burst_requests=1, clock=FakeClock())
        limit._lock = turns.lock()  # type: ignore[assignment]
        waits: list[float] = []

        def check() -> None:
            assert sorted(waits) == [0.0, 1.0, 2.0]
            seen = limit.snapshot()
            assert (seen.admitted, seen.delayed, seen.refused) == (3, 2, 0)
            assert seen.tokens == pytest.approx(6000 - 30)

        return [lambda: waits.append(limit.reserve(10).wait_seconds)] * 3, check

    assert explore(scenario, ("/rate_limit/",), LIMIT) > 20


def test_a_rate_limit_takes_back_exactly() -> None:
    """One gives back, one used more than it reserved: what is left is what was used."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        limit = RateLimit(600, 6000, clock=FakeClock())
        limit._lock = turns.lock()  # type: ignore[assignment]

        def check() -> None:
            seen = limit.snapshot()
            assert seen.requests == pytest.approx(599)
            assert seen.tokens == pytest.approx(6000 - 250)

        return [lambda: limit.reserve(100).give_back(), lambda: limit.reserve(200).settle(250)], check

    assert explore(scenario, ("/rate_limit/",), LIMIT, threads=2) > 20


def test_the_longest_pause_holds() -> None:
    """Three threads ask for 3, 7 and 5 seconds: nobody begins for 7."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        limit = RateLimit(600, clock=FakeClock())
        limit._lock = turns.lock()  # type: ignore[assignment]

        def check() -> None:
            assert limit.snapshot().paused_seconds == 7.0

        return [lambda: limit.pause(3.0), lambda: limit.pause(7.0), lambda: limit.pause(5.0)], check

    assert explore(scenario, ("/rate_limit/",), LIMIT) > 20


# --- failover -----------------------------------------------------------------------------------------------

FAILOVER = frozenset({"_rest_until_s", "_rested", "_lock"})


def test_a_target_rests_as_long_as_the_longest_asked_for() -> None:
    """Three calls are told to come back after 10, 30 and 20 seconds: whoever comes last, it rests 30, each
    call is answered by the other target, and the first one is asked at least once."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        waits, answers = [10.0, 30.0, 20.0], list[str]()
        asked: list[float] = []

        def near(wait: float) -> str:
            asked.append(wait)
            raise AskedError(wait)

        failover = Failover([Target("near", near), Target("far", lambda wait: "far")], clock=FakeClock())
        failover._lock = turns.lock()  # type: ignore[assignment]

        def check() -> None:
            assert answers == ["far"] * 3
            assert failover.resting() == {"near": max(asked)}

        return [(lambda wait=wait: answers.append(failover.call(wait))) for wait in waits], check  # type: ignore[misc]

    assert explore(scenario, ("/failover/",), FAILOVER) > 20


def test_the_wrapped_call_rests_as_long_as_the_longest_asked_for() -> None:
    """The same where a pipeline's call is the first target."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        answers, asked = list[str](), list[float]()

        def near(wait: float) -> str:
            asked.append(wait)
            raise AskedError(wait)

        failover = Failover([Target("far", lambda wait: "far")], clock=FakeClock())
        failover._lock = turns.lock()  # type: ignore[assignment]
        pipeline = Pipeline(failover)
        others: Any = pipeline._stages[0]
        others = others.call.__self__
        others._lock = turns.lock()

        def check() -> None:
            assert answers == ["far"] * 3
            assert others._rest_until_s == max(asked)

        works = [(lambda wait=wait: answers.append(pipeline.call(near, wait))) for wait in (10.0, 30.0, 20.0)]
        return works, check  # type: ignore[return-value]

    assert explore(scenario, ("/pipeline/", "/failover/"), FAILOVER) > 20


# --- hedge and timeout: threads that the code itself starts -------------------------------------------------

HEDGE = frozenset({"over", "lock", "arrivals", "_lock", "_over", "_begun"})


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> list[Turns]:
    """Whose turns it is; locks, events, queues and threads made meanwhile take part."""
    held: list[Turns] = []
    for name in ("allocate_lock", "fork_safe_lock"):
        monkeypatch.setattr(hedge_module, name, lambda: held[0].lock())
    monkeypatch.setattr(streams_module, "allocate_lock", lambda: held[0].lock())
    monkeypatch.setattr(queue, "SimpleQueue", lambda: held[0].queue())
    monkeypatch.setattr(
        threading, "Thread", lambda **given: held[0].thread(given["target"], given.get("args", ()))
    )
    monkeypatch.setattr(threading, "Lock", lambda: held[0].lock())
    monkeypatch.setattr(threading, "Event", lambda: held[0].event())
    return held


@pytest.mark.parametrize("ends", ["both answer", "first fails", "both fail", "second interrupted"])
def test_every_hedged_request_ends_once(box: list[Turns], ends: str) -> None:
    """Two requests of one call: the caller gets one outcome, the other one is told as a loser, exactly once,
    or as the note of the failure that was raised."""
    caught: list[str] = []

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        box[:] = [turns]
        losers: list[Loser] = []
        made: list[HedgedRequest] = []
        hedge = Hedge(
            idempotent=True, delay_seconds=0, on_loser=losers.append, on_hedge=made.append, clock=FakeClock()
        )
        numbers: list[int] = []

        def ask() -> int:
            numbers.append(len(numbers) + 1)
            number = numbers[-1]
            if ends == "both fail" or (ends == "first fails" and number == 1):
                raise ConnectionError(f"down {number}")
            if ends == "second interrupted" and number == 2:
                raise Stopped
            return number

        got: list[object] = []

        def calling() -> None:
            try:
                got.append(hedge.call(ask))
            except (ConnectionError, Stopped) as error:
                got.append(repr(error))

        def check() -> None:
            assert len(numbers) == 2
            brought = [loser.result if loser.error is None else repr(loser.error) for loser in losers]
            outcomes: dict[str, list[object]] = {
                "both answer": [1, 2],
                "first fails": [repr(ConnectionError("down 1")), 2],
                "both fail": [repr(ConnectionError("down 1")), repr(ConnectionError("down 2"))],
                "second interrupted": [1, repr(Stopped())],
            }
            assert sorted(map(str, [*got, *brought])) == sorted(map(str, outcomes[ends]))
            seen = hedge.snapshot()
            assert (seen.calls, seen.hedged, len(made)) == (1, 1, 1)
            caught.append(str(got[0]))

        return [calling], check

    assert explore(scenario, ("/hedging/",), HEDGE) > 20
    assert len(set(caught)) == (1 if ends == "first fails" else 2)


def test_every_hedged_stream_is_closed_or_read(box: list[Turns]) -> None:
    """Two streams of one call: one is read to its end, the other one closed, whoever came first."""
    won: set[int] = set()

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        box[:] = [turns]
        losers: list[Loser] = []
        hedge = Hedge(idempotent=True, delay_seconds=0, on_loser=losers.append, clock=FakeClock())
        ended: list[int] = []
        numbers: list[int] = []

        def ask() -> Generator[int, None, None]:
            numbers.append(len(numbers) + 1)
            number = numbers[-1]
            try:
                yield number
                yield number * 10
            finally:
                ended.append(number)

        read: list[int] = []

        def check() -> None:
            assert read in ([1, 10], [2, 20])
            assert sorted(ended) == [1, 2]
            assert [loser.result for loser in losers] == [3 - read[0]]
            won.add(read[0])

        return [lambda: read.extend(hedge.stream(ask))], check

    assert explore(scenario, ("/hedging/",), HEDGE) > 20
    assert won == {1, 2}


def test_hedges_share_the_extra_load() -> None:
    """Three calls that are late at once, and one request more for all of them: it is made once."""

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        hedge = Hedge(idempotent=True, delay_seconds=0, max_extra_share=0, burst_requests=1)
        hedge._lock = turns.lock()  # type: ignore[assignment]
        taken: list[bool] = []

        def late() -> None:
            hedge._called()
            taken.append(hedge._take())

        def check() -> None:
            assert sorted(taken) == [False, False, True]
            seen = hedge.snapshot()
            assert (seen.calls, seen.hedged, seen.refused) == (3, 1, 2)

        return [late] * 3, check

    shared = frozenset({"_lock", "_tokens", "_calls", "_hedged", "_refused", "_extra"})
    assert explore(scenario, ("/hedging/",), shared) > 20


@pytest.mark.parametrize("raises", [False, True])
def test_a_timed_call_is_in_time_or_late_but_never_both(box: list[Turns], raises: bool) -> None:
    """The time runs out at any moment: the caller gets the outcome, or the timeout while the outcome is told
    as late, once."""
    ways: set[str] = set()

    def scenario(turns: Turns) -> tuple[Works, Callable[[], None]]:
        box[:] = [turns]
        late: list[LateOutcome] = []
        timeout = Timeout(5.0, on_late=late.append)
        got: list[str] = []

        def ask() -> str:
            if raises:
                raise FailedError
            return "answer"

        def calling() -> None:
            try:
                got.append(timeout.call(ask))
            except FailedError:
                got.append("answer")
            except TurnTimeoutError:
                got.append("timeout")

        def check() -> None:
            assert len(got) == 1
            assert len(late) == (got == ["timeout"])
            ways.add(got[0])

        return [calling], check

    shared = frozenset({"abandoned", "outcome", "done", "lock"})
    assert explore(scenario, ("/deadlines/",), shared, threads=2, timing_out=True) > 20
    assert ways == {"answer", "timeout"}


def test_the_explorer_finds_a_lost_update() -> None:
    """What is read and written in two steps is lost by one change-over; and a deadlock is noticed."""

    class Counter:
        count = 0

        def up(self) -> None:
            before = self.count
            self.count = before + 1

    def losing(turns: Turns) -> tuple[Works, Callable[[], None]]:
        counter = Counter()

        def check() -> None:
            assert counter.count == 2

        return [counter.up, counter.up], check

    with pytest.raises(AssertionError) as found:
        explore(losing, (HERE,), frozenset({"count"}), changes=1, threads=2)
    assert "change-overs" in found.value.__notes__[0]

    def stuck(turns: Turns) -> tuple[Works, Callable[[], None]]:
        one, two = turns.lock(), turns.lock()

        class Holder:
            step = 0

            def both(self, first: Any, second: Any) -> None:
                with first:
                    self.step += 1
                    with second:
                        pass

        holder = Holder()
        return [lambda: holder.both(one, two), lambda: holder.both(two, one)], lambda: None

    scenario: Scenario = stuck
    with pytest.raises(AssertionError, match="for ever"):
        explore(scenario, (HERE,), frozenset({"step"}), changes=1, threads=2)
