"""Several breakers over one store are one breaker.

The machine drives two shared breakers and, beside them, a local one that gets every call of both: whatever
happens in whatever order, at whichever of the two, they admit, refuse and remember the same.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from techrevati.runtime.circuit_breaker import CircuitBreaker, CircuitGuard, CircuitOpenError, shared
from techrevati.runtime.stores import MemoryStore
from techrevati.runtime.testing import FakeClock

FACES = 2
HELD_SHARE = shared.HELD_SHARE


class AskedError(Exception):
    """A failure that asks for a wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__("slow down")
        self.status_code = 429
        self.headers = {"retry-after": str(seconds)}


def begun(breaker: CircuitBreaker) -> CircuitGuard | CircuitOpenError:
    """The call, or the refusal."""
    guard = breaker.guard()
    try:
        guard.__enter__()
    except CircuitOpenError as refusal:
        return refusal
    return guard


class SharedMachine(RuleBasedStateMachine):
    """Consecutive failures."""

    options: ClassVar[dict[str, Any]] = {"failure_threshold": 2, "half_open_max_probes": 2}

    def __init__(self) -> None:
        super().__init__()
        shared.HELD_SHARE = 1 << 40  # nothing is held back; what that means has its own tests
        self.clock = FakeClock(1000.0)
        store = MemoryStore(clock=self.clock)
        common: dict[str, Any] = {
            "recovery_timeout_seconds": 8.0,
            "probe_lease_seconds": 4.0,
            "open_growth": 2.0,
            "max_open_seconds": 30.0,
            "open_jitter": 0.5,
            "rng": lambda: 0.25,
            "clock": self.clock,
            **self.options,
        }
        self.told: list[tuple[str, str]] = []
        self.told_alone: list[tuple[str, str]] = []
        self.shared = [
            CircuitBreaker(
                "api",
                store=store,
                on_state_change=lambda _, a, b: self.told.append((a.value, b.value)),
                **common,
            )
            for _ in range(FACES)
        ]
        self.alone = CircuitBreaker(
            "api", on_state_change=lambda _, a, b: self.told_alone.append((a.value, b.value)), **common
        )
        self.calls: list[tuple[CircuitGuard, CircuitGuard]] = []

    @rule(at=st.integers(0, FACES - 1))
    def begin(self, at: int) -> None:
        ours, theirs = begun(self.shared[at]), begun(self.alone)
        if isinstance(ours, CircuitOpenError) or isinstance(theirs, CircuitOpenError):
            assert isinstance(ours, CircuitOpenError)
            assert isinstance(theirs, CircuitOpenError)
            assert ours.retry_after == theirs.retry_after
        else:
            self.calls.append((ours, theirs))

    @precondition(lambda self: self.calls)
    @rule(
        nth=st.integers(0, 9),
        end=st.sampled_from(["good", "good", "bad", "asked", "cancelled"]),
    )
    def finish(self, nth: int, end: str) -> None:
        error = {
            "good": None,
            "bad": ValueError("bad"),
            "asked": AskedError(21),
            "cancelled": asyncio.CancelledError(),
        }[end]
        for guard in self.calls.pop(nth % len(self.calls)):
            guard.__exit__(None if error is None else type(error), error, None)

    @rule(at=st.integers(0, FACES - 1), good=st.booleans(), times=st.integers(1, 8))
    def tell(self, at: int, good: bool, times: int) -> None:
        for _ in range(times):
            for breaker in (self.shared[at], self.alone):
                breaker.record_success() if good else breaker.record_failure()

    @rule(at=st.integers(0, FACES - 1), good=st.booleans(), times=st.integers(1, 4))
    def call(self, at: int, good: bool, times: int) -> None:
        def fn() -> str:
            if good:
                return "done"
            raise ValueError("bad")

        for _ in range(times):
            said: list[object] = []
            for breaker in (self.shared[at], self.alone):
                try:
                    said.append(breaker.call(fn))
                except CircuitOpenError as refusal:
                    said.append(refusal.retry_after)
                except ValueError as error:
                    said.append(str(error))
            assert said[0] == said[1]

    @rule(halves=st.integers(0, 24))
    def wait(self, halves: int) -> None:
        self.clock.advance(halves / 2)

    @rule(at=st.integers(0, FACES - 1), dice=st.integers(0, 14))
    def by_hand(self, at: int, dice: int) -> None:
        """Rarely: it makes history start anew."""
        for breaker in (self.shared[at], self.alone):
            if dice in (0, 1):
                breaker.reset()
            elif dice == 2:
                breaker.force_open()
            elif dice == 3:
                breaker.disable()

    @invariant()
    def know_the_same(self) -> None:
        expected = self.alone.snapshot()
        for breaker in self.shared:
            assert breaker.snapshot() == expected
            assert breaker.state() is expected.state
            assert breaker.enabled is self.alone.enabled
        assert self.told == self.told_alone

    def teardown(self) -> None:
        shared.HELD_SHARE = HELD_SHARE
        for pair in self.calls:
            for guard in pair:
                guard.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


class SharedCountMachine(SharedMachine):
    """Rates over the last calls."""

    options: ClassVar[dict[str, Any]] = {
        "window_calls": 6,
        "failure_rate": 0.5,
        "slow_call_seconds": 2.0,
        "slow_call_rate": 0.75,
        "minimum_calls": 4,
        "half_open_max_probes": 3,
    }


class SharedTimeMachine(SharedMachine):
    """Rates over the last seconds."""

    options: ClassVar[dict[str, Any]] = {
        "window_seconds": 20.0,
        "failure_rate": 0.5,
        "minimum_calls": 4,
        "half_open_max_probes": 3,
    }


TestSharedMachine = SharedMachine.TestCase
TestSharedCountMachine = SharedCountMachine.TestCase
TestSharedTimeMachine = SharedTimeMachine.TestCase
for machine in (TestSharedMachine, TestSharedCountMachine, TestSharedTimeMachine):
    machine.settings = settings(derandomize=True, deadline=None, max_examples=60, stateful_step_count=30)
