"""The breaker under any order of starts, outcomes, interrupts, waits and resets.

The machine holds it to a reference written from its promises; the property holds the shells, hot path
included, to the decision core.  Calls really are in flight: a synchronous one hangs in a thread of its own,
an asynchronous one is a coroutine driven by hand.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import types
from collections.abc import Coroutine, Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime.circuit_breaker import (
    AsyncCircuitBreaker,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
)
from techrevati.runtime.circuit_breaker.core import (
    Gate,
    Rules,
    admits,
    given_back,
    retry_after_s,
    settled,
    started,
    state_at,
)
from techrevati.runtime.testing import FakeClock

PATIENCE = 10.0  # seconds until a thread that should have ended counts as hung
THRESHOLD, RECOVERY_S, MAX_PROBES, LEASE_S = 2, 8.0, 2, 4.0


class FailedError(Exception):
    """What the dependency raises."""


ENDS: dict[str, type[BaseException] | None] = {
    "good": None,
    "bad": FailedError,
    "cancelled": asyncio.CancelledError,
    "interrupted": KeyboardInterrupt,
    "closed": GeneratorExit,
}


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

    def _inside(self) -> None:
        self._started.set()
        order = self._orders.get()
        if order is not None:
            raise order

    def end(self, error: BaseException | None) -> None:
        self._orders.put(error)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert self._raised is error


@types.coroutine
def parked() -> Generator[None, None, None]:
    yield


class CallInTask:
    """The same for a coroutine; no event loop is involved."""

    def __init__(self, breaker: AsyncCircuitBreaker) -> None:
        self._coroutine: Coroutine[Any, Any, None] = breaker.call(self._inside)
        self._coroutine.send(None)

    async def _inside(self) -> None:
        await parked()

    def end(self, error: BaseException | None) -> None:
        if isinstance(error, GeneratorExit):
            self._coroutine.close()
            return
        try:
            if error is None:
                self._coroutine.send(None)
            else:
                self._coroutine.throw(error)
        except BaseException as raised:
            came_out = raised
        assert isinstance(came_out, StopIteration) if error is None else came_out is error


Call = CallInThread | CallInTask


def start(breaker: CircuitBreaker, colour: str) -> Call | CircuitOpenError:
    """The call, now inside fn, or the refusal."""
    try:
        return CallInThread(breaker) if colour == "sync" else CallInTask(breaker.as_async())
    except CircuitOpenError as refusal:
        return refusal


# --- the promises -------------------------------------------------------------------------------------------


class Reference:
    """What the breaker promises, written down without any of its code.

    ``round`` moves on whenever a decision is made; ``permits`` says until when each probe of this round is
    waited for.
    """

    def __init__(self) -> None:
        self.round = 0
        self.failures = 0
        self.open_until: float | None = None
        self.permits: dict[int, float] = {}

    def state(self, now: float) -> str:
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half_open"

    def refusal(self, now: float) -> float | None:
        """The wait that a refused caller is told; None when it is admitted."""
        if self.state(now) == "open":
            assert self.open_until is not None
            return self.open_until - now
        if self.state(now) == "half_open":
            waited_for = [end for end in self.permits.values() if end > now]
            if len(waited_for) >= MAX_PROBES:
                return min(waited_for) - now
        return None

    def decide(self, open_until: float | None) -> None:
        self.round += 1
        self.failures = 0
        self.open_until = open_until
        self.permits.clear()

    def news(self, good: bool, now: float) -> None:
        """News that counts: of this round, or told by a caller."""
        state = self.state(now)
        if state == "half_open":
            self.decide(None if good else now + RECOVERY_S)
        elif state == "closed" and good:
            self.failures = 0
        elif state == "closed":
            self.failures += 1
            if self.failures == THRESHOLD:
                self.decide(now + RECOVERY_S)


class BreakerMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, the breaker admits, refuses and changes as promised."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(100.0)
        self.breaker = CircuitBreaker(
            "api",
            THRESHOLD,
            RECOVERY_S,
            MAX_PROBES,
            self.clock,
            probe_lease_seconds=LEASE_S,
        )
        self.reference = Reference()
        self.calls: list[tuple[int, int, Call]] = []  # number, round that admitted it, the call
        self.count = 0

    @rule(colour=st.sampled_from(["sync", "async"]))
    def begin(self, colour: str) -> None:
        now, reference = self.clock.now, self.reference
        wait = reference.refusal(now)
        call = start(self.breaker, colour)
        if isinstance(call, CircuitOpenError):
            assert call.retry_after == wait
            return
        assert wait is None
        self.count += 1
        if reference.state(now) == "half_open":
            reference.permits[self.count] = now + LEASE_S
        self.calls.append((self.count, reference.round, call))

    @precondition(lambda self: self.calls)
    @rule(nth=st.integers(0, 9), end=st.sampled_from(sorted(ENDS)))
    def finish(self, nth: int, end: str) -> None:
        number, admitted_in, call = self.calls.pop(nth % len(self.calls))
        kind = ENDS[end]
        call.end(None if kind is None else kind())
        if admitted_in != self.reference.round:
            return
        if end in ("good", "bad"):
            self.reference.news(end == "good", self.clock.now)
        else:
            self.reference.permits.pop(number, None)

    @rule(halves=st.integers(0, 20))
    def wait(self, halves: int) -> None:
        self.clock.advance(halves / 2)

    @rule(good=st.booleans())
    def tell(self, good: bool) -> None:
        if good:
            self.breaker.record_success()
        else:
            self.breaker.record_failure()
        self.reference.news(good, self.clock.now)

    @rule(dice=st.integers(0, 5))
    def reset(self, dice: int) -> None:
        if dice:
            return  # a reset makes history start anew: rarely
        self.breaker.reset()
        self.reference.decide(None)

    @invariant()
    def is_in_the_promised_state(self) -> None:
        state = self.reference.state(self.clock.now)
        assert self.breaker.state().value == state
        assert self.breaker.is_open() == (state == "open")

    @invariant()
    def has_no_more_probes_than_permits(self) -> None:
        now = self.clock.now
        if self.reference.state(now) == "half_open":
            waited_for = [
                number
                for number, admitted_in, _ in self.calls
                if admitted_in == self.reference.round and self.reference.permits.get(number, 0) > now
            ]
            assert len(waited_for) <= MAX_PROBES

    def teardown(self) -> None:
        for _, _, call in self.calls:
            call.end(KeyboardInterrupt())


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(
    derandomize=True, deadline=None, max_examples=250, stateful_step_count=40
)


# --- windows ------------------------------------------------------------------------------------------------

SIZE, TICKS, MINIMUM, FAILURE_RATE, SLOW_RATE, SLOW_S, PROBES = 6, 20, 4, 0.5, 0.75, 2, 3


class WindowReference:
    """A breaker with a window as one would write it down: every outcome of the epoch in one list, and all
    rates counted anew each time."""

    def __init__(self, timed: bool, manual: str | None = None) -> None:
        self.timed = timed
        self.manual = manual
        self.round = 0
        self.trips = 0
        self.outcomes: list[tuple[int, bool, bool]] = []  # when, good, slow
        self.judged: list[tuple[bool, bool]] = []
        self.open_until: float | None = None
        self.asked_until = 0.0
        self.permits: dict[int, float] = {}

    def inside(self, now: float) -> list[tuple[int, bool, bool]]:
        if not self.timed:
            return self.outcomes[-SIZE:]
        # A window of 20 s forgets in steps of one second.
        return [outcome for outcome in self.outcomes if outcome[0] > int(now) - TICKS]

    def admitted(self, now: float) -> bool:
        if self.manual is not None:
            return self.manual == "disabled"
        if self.open_until is None:
            return True
        busy = sum(end > now for end in self.permits.values())
        return now >= self.open_until and busy + len(self.judged) < PROBES

    def decide(self, open_until: float | None, trips: int = 0) -> None:
        self.round += 1
        self.trips = trips
        self.outcomes.clear()
        self.judged.clear()
        self.permits.clear()
        self.asked_until = 0.0
        self.open_until = open_until

    def trip(self, now: float) -> None:
        open_s = min(RECOVERY_S * 2.0**self.trips, 20.0)
        self.decide(max(now + open_s, self.asked_until), self.trips + 1)

    def news(self, number: int, good: bool, slow: bool, asked: float, now: float) -> None:
        if self.manual is not None:
            return
        if not good and asked and (self.open_until is None or now >= self.open_until):
            self.asked_until = max(self.asked_until, now + asked)
        if self.open_until is None:
            self.outcomes.append((int(now), good, slow))
            seen = self.inside(now)
            failed, slowly = sum(not g for _, g, _ in seen), sum(s for *_, s in seen)
            enough = len(seen) >= MINIMUM
            if enough and (failed / len(seen) >= FAILURE_RATE or slowly / len(seen) >= SLOW_RATE):
                self.trip(now)
        elif now >= self.open_until:
            self.permits.pop(number, None)
            self.judged.append((good, slow))
            left = PROBES - len(self.judged)
            failed, slowly = sum(not g for g, _ in self.judged), sum(s for _, s in self.judged)
            limits = ((failed, FAILURE_RATE), (slowly, SLOW_RATE))
            if any(bad / PROBES >= rate for bad, rate in limits):
                self.trip(now)
            elif all((bad + left) / PROBES < rate for bad, rate in limits) or left == 0:
                self.decide(None)


class AskedError(FailedError):
    """A refusal that asks for a wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__("slow down")
        self.status_code = 429
        self.headers = {"retry-after": str(seconds)}


class WindowMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, rates, probes and open times are those of the full list of
    outcomes."""

    timed = False

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(100.0)
        window: dict[str, Any] = {"window_seconds": float(TICKS)} if self.timed else {"window_calls": SIZE}
        self.breaker = CircuitBreaker(
            "api",
            1,
            RECOVERY_S,
            PROBES,
            self.clock,
            probe_lease_seconds=LEASE_S,
            failure_rate=FAILURE_RATE,
            slow_call_seconds=SLOW_S,
            slow_call_rate=SLOW_RATE,
            minimum_calls=MINIMUM,
            open_growth=2.0,
            max_open_seconds=20.0,
            **window,
        )
        self.reference = WindowReference(self.timed)
        self.calls: list[tuple[int, int, float, Call]] = []  # number, round, began, the call
        self.count = 0

    @rule()
    def begin(self) -> None:
        now, reference = self.clock.now, self.reference
        admitted = reference.admitted(now)
        call = start(self.breaker, "async")
        if isinstance(call, CircuitOpenError):
            assert not admitted
            assert (call.retry_after is None) == (reference.manual == "forced")
            return
        assert admitted
        self.count += 1
        if reference.manual is None and reference.open_until is not None:
            reference.permits[self.count] = now + LEASE_S
        self.calls.append((self.count, reference.round, now, call))

    @precondition(lambda self: self.calls)
    @rule(
        nth=st.integers(0, 9),
        end=st.sampled_from(["good", "good", "bad", "cancelled"]),
        asked=st.integers(0, 30),
    )
    def finish(self, nth: int, end: str, asked: int) -> None:
        number, admitted_in, began, call = self.calls.pop(nth % len(self.calls))
        asked = asked if asked > 20 else 0
        call.end({"good": None, "bad": AskedError(asked), "cancelled": asyncio.CancelledError()}[end])
        if admitted_in != self.reference.round:
            return
        if end == "cancelled":
            self.reference.permits.pop(number, None)
        else:
            slow = self.clock.now - began > SLOW_S
            self.reference.news(number, end == "good", slow, asked, self.clock.now)

    @rule(good=st.booleans(), times=st.integers(1, 4))
    def call_at_once(self, good: bool, times: int) -> None:
        """Calls that nobody overtakes, through the sync face: the lock-free path among them."""
        for _ in range(times):
            now, reference = self.clock.now, self.reference
            admitted, disabled = reference.admitted(now), reference.manual is not None
            try:
                self.breaker.call(int if good else fail)
            except CircuitOpenError:
                assert not admitted
                return
            except FailedError:
                assert not good
            assert admitted
            if not disabled:
                reference.news(0, good, False, 0, now)

    @rule(quarters=st.integers(0, 60))
    def wait(self, quarters: int) -> None:
        self.clock.advance(quarters / 4)

    @rule(dice=st.integers(0, 15))
    def by_hand(self, dice: int) -> None:
        if dice < 3:
            (self.breaker.reset, self.breaker.force_open, self.breaker.disable)[dice]()
            self.reference.decide(None)
            self.reference.manual = (None, "forced", "disabled")[dice]

    @precondition(lambda self: self.reference.manual is not None)
    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.reference.decide(None)
        self.reference.manual = None

    @rule()
    def look(self) -> None:
        now, reference, snapshot = self.clock.now, self.reference, self.breaker.snapshot()
        seen = reference.inside(now)
        assert snapshot.window_calls == len(seen)
        assert snapshot.window_failed == sum(not good for _, good, _ in seen)
        assert snapshot.window_slow == sum(slow for *_, slow in seen)
        assert snapshot.trips == reference.trips
        if reference.manual is None:
            assert snapshot.probes == sum(end > now for end in reference.permits.values())

    @invariant()
    def is_in_the_promised_state(self) -> None:
        now, reference = self.clock.now, self.reference
        if reference.manual is not None:
            expected = "open" if reference.manual == "forced" else "closed"
        elif reference.open_until is None:
            expected = "closed"
        else:
            expected = "open" if now < reference.open_until else "half_open"
        assert self.breaker.state().value == expected

    def teardown(self) -> None:
        for *_, call in self.calls:
            call.end(KeyboardInterrupt())


class TimeWindowMachine(WindowMachine):
    """The same by time."""

    timed = True


TestWindowMachine = WindowMachine.TestCase
TestTimeWindowMachine = TimeWindowMachine.TestCase
TestWindowMachine.settings = TestTimeWindowMachine.settings = settings(
    derandomize=True, deadline=None, max_examples=250, stateful_step_count=50
)


# --- the shells are the core --------------------------------------------------------------------------------

Step = tuple[str, Any]
begins = st.tuples(st.just("begin"), st.sampled_from(["sync", "async"]))
ends = st.tuples(st.sampled_from(["good", "bad", *sorted(ENDS)]), st.integers(0, 9))
tells = st.tuples(st.just("tell"), st.booleans())
waits = st.tuples(st.just("wait"), st.floats(0, 10) | st.sampled_from([1e-9, 0.1, 4.0, 8.0]))
resets = st.tuples(st.just("reset"), st.integers(0, 5))
STEPS: st.SearchStrategy[Step] = st.one_of(begins, ends, begins, ends, begins, ends, tells, waits, resets)


@settings(derandomize=True, deadline=None, max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(STEPS, min_size=5, max_size=40),
    threshold=st.integers(1, 3),
    max_probes=st.integers(1, 2),
    recovery=st.sampled_from([0.0, 0.1, 8.0]),
)
def test_the_shells_equal_the_core(
    steps: list[Step], threshold: int, max_probes: int, recovery: float
) -> None:
    """Over any interleaving both faces admit, refuse (for as long) and change exactly as the pure functions
    say; in the end as many failures are missing to the trip as the core has it."""
    clock = FakeClock(100.0)
    breaker = CircuitBreaker("api", threshold, recovery, max_probes, clock, probe_lease_seconds=LEASE_S)
    rules, gate = Rules(threshold, recovery, max_probes, LEASE_S), Gate()
    calls: list[tuple[int, int, Call]] = []
    try:
        for what, how in steps:
            now = clock.now
            if what == "begin":
                wait = None if admits(gate, now, rules) else retry_after_s(gate, now, rules)
                call = start(breaker, how)
                if isinstance(call, CircuitOpenError):
                    assert call.retry_after == wait
                else:
                    assert wait is None
                    gate = started(gate, now, rules)
                    calls.append((gate.epoch, gate.last_probe, call))
            elif what == "wait":
                clock.advance(how)
            elif what == "tell":
                (breaker.record_success if how else breaker.record_failure)()
                gate = settled(gate, gate.epoch, 0, how, False, now, rules)
            elif what == "reset":
                if how == 0:  # rarely: it makes history start anew
                    breaker.reset()
                    gate = Gate(gate.epoch + 1)
            elif calls:
                epoch, number, call = calls.pop(how % len(calls))
                kind = ENDS[what]
                call.end(None if kind is None else kind())
                if what in ("good", "bad"):
                    gate = settled(gate, epoch, number, what == "good", False, now, rules)
                else:
                    gate = given_back(gate, epoch, number)
            assert breaker.state() is state_at(gate, clock.now)
        while state_at(gate, clock.now) is CircuitState.CLOSED:
            gate = settled(gate, gate.epoch, 0, False, False, clock.now, rules)
            with pytest.raises(FailedError):
                breaker.call(fail)
            assert breaker.state() is state_at(gate, clock.now)
    finally:
        for *_, call in calls:
            call.end(KeyboardInterrupt())


def fail() -> None:
    raise FailedError
