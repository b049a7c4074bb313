"""Journals and approvals under any order of begins, ends, failures, crashes, reopenings, grants and denials.

Steps are coroutines that the machine moves by hand, so that several are in flight at once and a crash can
fall between any two of their writes.  The model knows what the world saw.
"""

from __future__ import annotations

import contextvars
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from techrevati.runtime.approvals import (
    ApprovalConsumedError,
    ApprovalDeniedError,
    ApprovalPendingError,
    Approvals,
)
from techrevati.runtime.journal import (
    InDoubtError,
    Journal,
    RecordedFailureError,
    RunBusyError,
    RunJournal,
)
from techrevati.runtime.stores import MemoryStore, StoreUnavailableError
from techrevati.runtime.testing import FakeClock

KEYS = st.sampled_from(["a", "b", "c", "pay", "mail"])
GUARDED = ("pay", "mail")  # acts that a human must allow
LEASE_S = 600.0


class CrashError(BaseException):
    """Ends a coroutine whose process is gone."""


class Halt:
    """Where a step stands still until the machine goes on with it."""

    def __await__(self) -> Generator[object, str, str]:
        return (yield self)


class DiskStore(MemoryStore):
    """Refuses one write when told to."""

    bad = False

    def update(self, keys: Any, decide: Any, *, durable: bool = True) -> Any:
        """One write."""
        if self.bad:
            self.bad = False
            raise StoreUnavailableError("disk", "full", "full")
        return super().update(keys, decide, durable=durable)


class Flight:
    """A step under way."""

    def __init__(self, key: str, coroutine: Coroutine[object, object, object]) -> None:
        self.key, self.coroutine, self.context = key, coroutine, contextvars.copy_context()

    def move(self, how: Callable[..., object], *given: object) -> tuple[bool, object]:
        """Go on: (ended, result or error)."""
        try:
            self.context.run(how, *given)
        except StopIteration as end:
            return True, end.value
        except (Exception, CrashError) as error:
            return True, error
        return False, None


class JournalMachine(RuleBasedStateMachine):
    """An effect happens once unless somebody said it did not; nothing guarded happens without a grant."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock(1000.0)
        self.store = DiskStore(clock=self.clock)
        self.journal = Journal(self.store, lease_seconds=LEASE_S, clock=self.clock)
        self.approvals = Approvals(self.store, clock=self.clock)
        self.effects: Counter[str] = Counter()
        self.repeats: Counter[str] = (
            Counter()
        )  # how often somebody said: it did not happen, or may happen again
        self.results: dict[str, str] = {}  # what finished steps returned, for ever
        self.failed: set[str] = set()
        self.doubts: set[str] = set()
        self.granted: set[str] = set()
        self.denied: set[str] = set()
        self.used: set[str] = set()
        self.flights: list[Flight] = []
        self.run: RunJournal | None = None
        self.reopen()

    # --- lives ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.run is None)
    @rule()
    def reopen(self) -> None:
        opened: list[RunJournal] = []
        # In another thread, so that steps have no places: they come in any order here.
        thread = threading.Thread(target=lambda: opened.append(self.journal.open("r")))
        thread.start()
        thread.join()
        (self.run,) = opened

    @precondition(lambda self: self.run is not None)
    @rule()
    def crash(self) -> None:
        """The process is gone: nothing more is written, no lease is given back."""
        assert self.run is not None
        self.run._lease._ended.set()
        for flight in self.flights:
            self.doubts.add(flight.key)
            flight.move(flight.coroutine.throw, CrashError())
        self.flights.clear()
        self.run = None
        self.clock.advance(LEASE_S + 1)

    @precondition(lambda self: self.run is not None and not self.flights)
    @rule()
    def close(self) -> None:
        assert self.run is not None
        self.run.close()
        self.run = None

    @precondition(lambda self: self.run is not None)
    @rule()
    def second_owner(self) -> None:
        try:
            self.journal.open("r")
        except RunBusyError:
            return
        raise AssertionError("two owners")

    # --- steps ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.run is not None)
    @rule(key=KEYS, idempotent=st.booleans())
    def begin(self, key: str, idempotent: bool) -> None:
        assert self.run is not None
        if any(flight.key == key for flight in self.flights):
            return  # would wait for the other one
        idempotent = idempotent and key not in GUARDED

        async def effect() -> str:
            self.effects[key] += 1
            return await Halt()

        def allowed(name: str) -> None:
            self.approvals.request(key, {"of": key}, id=name, expires=10**9)
            self.approvals.consume(name, key, {"of": key}, by="r")
            self.used.add(key)

        was_in_doubt = key in self.doubts
        flight = Flight(
            key,
            self.run.astep(key, effect, idempotent=idempotent, before=allowed if key in GUARDED else None),
        )
        ended, outcome = flight.move(flight.coroutine.send, None)
        if key in self.results:
            assert (ended, outcome) == (True, self.results[key])
        elif key in self.failed:
            if ended:
                assert isinstance(outcome, RecordedFailureError)
                return
            assert idempotent  # nothing came after it in its life: it may be tried again
            self.failed.discard(key)
            self.repeats[key] += 1
            self.flights.append(flight)
        elif was_in_doubt and not idempotent:
            assert isinstance(outcome, InDoubtError)
        elif key in GUARDED and key in self.denied:
            assert isinstance(outcome, ApprovalDeniedError)
        elif key in GUARDED and key not in self.granted:
            assert isinstance(outcome, ApprovalPendingError)
        else:
            assert not ended, outcome
            if was_in_doubt:
                self.repeats[key] += 1
                self.doubts.discard(key)
            self.flights.append(flight)

    @precondition(lambda self: self.flights)
    @rule(nth=st.integers(0, 9), result=st.text("xyz", max_size=3), disk_full=st.booleans())
    def finish(self, nth: int, result: str, disk_full: bool) -> None:
        flight = self.flights.pop(nth % len(self.flights))
        self.store.bad = disk_full
        ended, outcome = flight.move(flight.coroutine.send, result)
        assert ended
        if disk_full:
            assert getattr(outcome, "result", None) == result
            assert getattr(outcome, "in_doubt", False)
            self.doubts.add(flight.key)
        else:
            assert outcome == result
            self.results[flight.key] = result

    @precondition(lambda self: self.flights)
    @rule(nth=st.integers(0, 9))
    def fail(self, nth: int) -> None:
        flight = self.flights.pop(nth % len(self.flights))
        error = ConnectionError("no")
        assert flight.move(flight.coroutine.throw, error) == (True, error)
        self.failed.add(flight.key)

    @precondition(lambda self: self.run is None and self.doubts)
    @rule(nth=st.integers(0, 9), happened=st.booleans())
    def resolve(self, nth: int, happened: bool) -> None:
        key = sorted(self.doubts)[nth % len(self.doubts)]
        self.journal.resolve("r", key, happened=happened, result="said")
        self.doubts.discard(key)
        if happened:
            self.results[key] = "said"
        else:
            self.repeats[key] += 1

    # --- humans --------------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(GUARDED), grant=st.booleans())
    def decide(self, key: str, grant: bool) -> None:
        self.approvals.request(key, {"of": key}, id=key, expires=10**9)
        try:
            (self.approvals.grant if grant else self.approvals.deny)(key, by="Bea")
        except ApprovalDeniedError:
            assert key in self.denied
            return
        except ApprovalConsumedError:
            assert key in self.used
            return
        assert key not in self.used
        if grant:
            self.granted.add(key)
        else:
            self.granted.discard(key)
            self.denied.add(key)

    @rule(key=st.sampled_from(GUARDED))
    def somebody_else_uses_it(self, key: str) -> None:
        if key not in self.used:
            return
        try:
            self.approvals.consume(key, key, {"of": key}, by="other")
        except ApprovalConsumedError:
            return
        raise AssertionError("used twice")

    # --- what holds always ---------------------------------------------------------------------------------

    @invariant()
    def effects_happen_once(self) -> None:
        for key, count in self.effects.items():
            assert count <= 1 + self.repeats[key], key

    @invariant()
    def nothing_guarded_happens_without_a_grant(self) -> None:
        for key in GUARDED:
            assert not self.effects[key] or key in self.granted

    @invariant()
    def doubts_are_listed(self) -> None:
        if self.run is None and (self.results or self.doubts or self.failed):
            assert set(self.journal.run("r").in_doubt) == self.doubts

    def teardown(self) -> None:
        if self.run is not None:
            self.run._lease._ended.set()


def test_journal_and_approvals() -> None:
    """Any order."""
    run_state_machine_as_test(
        JournalMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )
