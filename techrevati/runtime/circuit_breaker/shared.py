"""One breaker of several processes: the same decisions, over a record in a store.

What holds, whoever does what in whatever order, as long as the store answers:

- Every decision is made on the newest record, in one transaction: it is one breaker, not several that agree.
- A call starts only after the record was read: an opening is seen by everybody's next call.
- At most so many probes hold a permit as one breaker would admit.  A permit is a lease: the permit of a
  process that was killed comes back when it ends.
- An outcome counts only in the epoch that admitted it, in whichever process that was.
- Good calls that change nothing are not written.  With a window, one process holds back good calls worth at
  most a twentieth of what the window holds; those of a process that dies are lost.  Others may therefore
  see a failure rate that is off by that much.

A store that fails costs no call: see ``WHEN_STORE_FAILS``.
"""

from __future__ import annotations

from techrevati.runtime._core.log import logger
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.circuit_breaker.core import (
    Gate,
    admits,
    given_back,
    resting,
    started,
    tripped,
)
from techrevati.runtime.circuit_breaker.record import KEY_PREFIX, Record, record_bytes, record_from
from techrevati.runtime.stores.memory import MemoryStore
from techrevati.runtime.stores.protocol import Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from typing import Any, TypeVar
    from weakref import WeakKeyDictionary

    from techrevati.runtime._core.worker import Worker
    from techrevati.runtime.circuit_breaker.breaker import CircuitBreaker
    from techrevati.runtime.circuit_breaker.core import Rules
    from techrevati.runtime.circuit_breaker.window import CountWindow, TimeWindow
    from techrevati.runtime.stores.protocol import Store

    F = TypeVar("F", bound=Callable[..., object])
    T = TypeVar("T")
    Window = CountWindow | TimeWindow | None

SHARED = "shared"
"""The ``manual`` of the gate that stands in, inside a shared breaker, for the one in the store."""

HELD_SHARE = 20
"""A process holds back at most one in so many of the good calls of a window."""

STORE_PAUSE_S = 5.0
"""A store that failed is not asked for so long: a locked file may take its whole timeout to say so."""

UNCOUNTED = -1
_LOCAL_EPOCHS = -(1 << 40)  # epochs of decisions made here alone: never those of a record, nor UNCOUNTED


class SharedGate:
    """The gate of a breaker in a store.  Thread-safe; no lock is held while the store works."""

    def __init__(
        self, name: str, store: Store, when_store_fails: str, rules: Rules, window: Window, lock: LockType
    ) -> None:
        self._name = name
        self._key = KEY_PREFIX + name
        self._store = store
        self._when_store_fails = when_store_fails
        self._rules = rules
        self._window = window  # what windows are made like
        self._lock = lock
        self._held = (0, 0, 0.0)  # epoch, how many of its good calls are not written yet, since when
        self._seen = Gate()  # the newest of the store's that was seen
        self._away_until_s: float | None = None  # not None: the store has failed
        self._local: Record | None = None  # what decides while it is away
        self._local_epoch = _LOCAL_EPOCHS
        self._local_first = _LOCAL_EPOCHS
        self._seeded = 0  # the epoch of the record that ``_local`` began as
        self._worker = None if isinstance(store, MemoryStore) else _worker_of(store)

    # --- what the books ask ---------------------------------------------------------------------------------

    def admit(self, now_s: float) -> tuple[Gate, Gate, bool]:
        """The gate before and after one more call, and whether it may start."""

        def local(record: Record) -> tuple[Gate, Gate, bool]:
            before = record.gate
            admitted = admits(before, now_s, self._rules)
            if admitted:
                record.set(started(before, now_s, self._rules))
            return before, record.gate, admitted

        def shared() -> tuple[Gate, Gate, bool]:
            gate = self._read(now_s).gate
            if resting(gate) or not admits(gate, now_s, self._rules):
                return gate, gate, resting(gate)
            return self._decide(local, now_s)

        found = self._ask(shared, now_s)
        if found is not None:
            return found
        if self._when_store_fails == "allow":
            gate = Gate(UNCOUNTED)
            return gate, gate, True
        if self._when_store_fails == "refuse":
            gate = Gate(UNCOUNTED, probe_at_s=self._away_until_s or now_s + STORE_PAUSE_S)
            return gate, gate, False
        return self._locally(local)

    def settle(
        self,
        epoch: int | None,
        number: int,
        ok: bool,
        slow: bool,
        now_s: float,
        floor_s: float,
        spread: float,
    ) -> tuple[Gate, Gate]:
        """The gate before and after one outcome; *epoch* None means the present one."""
        if epoch == UNCOUNTED:
            return self._seen, self._seen

        def outcome(record: Record) -> tuple[Gate, Gate]:
            before = record.gate
            counts = before.epoch if epoch is None else epoch
            return before, record.settle(counts, number, ok, slow, now_s, self._rules, floor_s, spread)

        def shared() -> tuple[Gate, Gate]:
            record = self._read(now_s)
            gate = record.gate
            if (epoch is not None and epoch != gate.epoch) or gate.manual is not None:
                return gate, gate
            if ok and not slow and resting(gate) and self._changes_nothing(record, now_s):
                return gate, gate
            return self._decide(outcome, now_s)

        if epoch is not None and epoch < UNCOUNTED:
            return self._locally(outcome) if self._local is not None else (self._seen, self._seen)
        found = self._ask(shared, now_s)
        if found is not None:
            return found
        if self._when_store_fails != "local":
            return self._seen, self._seen
        if epoch is not None:
            with self._lock:
                self._local_record_locked()
                if epoch != self._seeded:
                    return self._seen, self._seen
                epoch = self._local_first  # it was admitted by the record that the local one began as
        return self._locally(outcome)

    def give_back(self, epoch: int, number: int, now_s: float) -> None:
        """A call ended without telling anything."""
        if number == 0:
            return

        def returned(record: Record) -> None:
            record.set(given_back(record.gate, epoch, number))

        if epoch < UNCOUNTED:
            if self._local is not None:
                self._locally(returned)
        else:
            self._ask(lambda: self._decide(returned, now_s) or True, now_s)

    def override(self, manual: str | None, now_s: float) -> tuple[Gate, Gate]:
        """Decide by hand, for every process.

        Raises:
            StoreError: Nothing was changed anywhere.
        """

        def forced(values: Mapping[str, bytes | None]) -> Change[tuple[Gate, Gate]]:
            try:
                record = record_from(values[self._key], self._window, now_s)
            except (ValueError, KeyError, TypeError):
                record = Record(Gate(int(now_s)), self._window and self._window.empty(0))  # damaged
            before = record.gate
            record.set(Gate(before.epoch + 1, manual=manual))
            return Change((before, record.gate), {self._key: record_bytes(record, now_s)})

        before, after = self._store.update([self._key], forced, durable=False)
        self._here_again(after)
        return before, after

    def look(self, now_s: float) -> Record:
        """The record now, with what this process holds back."""
        found = self._ask(lambda: self._read(now_s), now_s)
        if found is None:
            with self._lock:
                return self._local_record_locked()
        epoch, held, since_s = self._held
        if epoch == found.gate.epoch:
            found.goods(held, since_s, now_s)
        return found

    # --- the store ------------------------------------------------------------------------------------------

    def _read(self, now_s: float) -> Record:
        found = self._store.load(self._key)
        record = record_from(None if found is None else found.value, self._window, now_s)
        self._seen = record.gate
        return record

    def _decide(self, change: Callable[[Record], T], now_s: float) -> T:
        """Let *change* work on the newest record, and write it if it became another one."""
        with self._lock:
            held_in, held, since_s = self._held
            self._held = (held_in, 0, since_s)

        def decide(values: Mapping[str, bytes | None]) -> Change[tuple[T, Gate]]:
            value = values[self._key]
            record = record_from(value, self._window, now_s)
            before = record.gate
            if held and held_in == before.epoch:
                record.goods(held, since_s, now_s)
            result = change(record)
            if record.gate is before and record.window is None:
                return Change((result, before))
            return Change((result, record.gate), {self._key: record_bytes(record, now_s)})

        try:
            result, self._seen = self._store.update([self._key], decide, durable=False)
        except BaseException:
            with self._lock:
                if self._held[0] == held_in:
                    self._held = (held_in, self._held[1] + held, since_s)
            raise
        return result

    def _changes_nothing(self, record: Record, now_s: float) -> bool:
        """Whether a good call need not be written now; with a window, it is held back then."""
        if record.window is None:
            return not record.gate.failures
        tally = record.window.at(now_s)
        with self._lock:
            epoch, held, since_s = self._held
            if epoch != record.gate.epoch:
                held = 0
            if not held:
                since_s = now_s
            if (
                tally.calls < self._rules.minimum_calls
                or tripped(tally, self._rules)
                or (held + 1) * HELD_SHARE > tally.calls
                or record.window.apart(since_s, now_s)
            ):
                self._held = (record.gate.epoch, held, since_s)
                return False
            self._held = (record.gate.epoch, held + 1, since_s)
            return True

    def _ask(self, work: Callable[[], T], now_s: float) -> T | None:
        """What *work* found in the store; None while that fails."""
        until_s = self._away_until_s
        if until_s is not None:
            with self._lock:  # one caller tries again, the others do not wait for it
                until_s = self._away_until_s
                if until_s is not None:
                    if now_s < until_s <= now_s + STORE_PAUSE_S:
                        return None
                    self._away_until_s = now_s + STORE_PAUSE_S
        try:
            found = work()
        except Exception as error:
            with self._lock:
                first = self._away_until_s is None
                self._away_until_s = now_s + STORE_PAUSE_S
            if first:
                logger("circuit_breaker").warning(
                    "circuit %r cannot use its store, and %s until it can: %s",
                    self._name,
                    _MEANWHILE[self._when_store_fails],
                    error_text(error),
                )
            return None
        if until_s is not None:
            self._here_again(self._seen)
            logger("circuit_breaker").info("circuit %r can use its store again", self._name)
        return found

    # --- while it is away -----------------------------------------------------------------------------------

    def _here_again(self, seen: Gate) -> None:
        with self._lock:
            self._seen, self._away_until_s, self._local = seen, None, None

    def _locally(self, work: Callable[[Record], T]) -> T:
        with self._lock:
            record = self._local_record_locked()
            result = work(record)
            self._local_epoch = record.gate.epoch
            return result

    def _local_record_locked(self) -> Record:
        if self._local is None:
            seen = self._seen
            self._local_epoch += 1
            self._local_first = self._local_epoch
            self._seeded = seen.epoch
            gate = Gate(
                self._local_epoch,
                seen.failures,
                seen.probe_at_s,
                seen.probes,
                seen.last_probe,
                trips=seen.trips,
                judged=seen.judged,
                asked_until_s=seen.asked_until_s,
                manual=seen.manual,
            )
            window = self._window
            self._local = Record(gate, None if window is None else window.empty(gate.epoch))
        return self._local

    # --- for tasks ------------------------------------------------------------------------------------------

    @property
    def blocks(self) -> bool:
        """Whether asking the store may hold up who asks."""
        return self._worker is not None

    def soon(self, work: Callable[[], None]) -> Future[None] | None:
        """Have *work* done where it does not hold up the event loop; None when it is done already."""
        if self._worker is None:
            work()
            return None
        from contextvars import copy_context

        context = copy_context()  # listeners and judges may look at it
        try:
            return self._worker.submit(lambda: context.run(work))
        except RuntimeError:  # no thread can be started, or the program is ending
            work()
            return None

    async def off_loop(self, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
        """Do *work* where it does not hold up the event loop.

        A cancelled wait is raised when what was begun has ended, and *undo* has taken its result back.
        """
        if self._worker is None:
            return work()
        import asyncio
        from contextvars import copy_context

        from techrevati.runtime._core.worker import ended

        context = copy_context()
        try:
            future: Future[T] = self._worker.submit(lambda: context.run(work))
        except RuntimeError:
            return work()
        try:
            await ended(future, patient=undo is None)
        except asyncio.CancelledError:
            if undo is not None and not future.cancel():
                await ended(self._worker.submit(lambda: _undone(future, undo)))
            raise
        return future.result()

    async def enter(self, breaker: CircuitBreaker) -> None:
        """``with breaker:`` for tasks: what is entered is this task's, so only the asking is off the loop."""
        ticket = await self.off_loop(breaker._begin, breaker._give_back)
        breaker._entered(ticket)

    async def leave(
        self, breaker: CircuitBreaker, kind: object, error: BaseException | None, trace: object
    ) -> None:
        """The end of that block."""
        ticket = breaker._left()
        await self.off_loop(lambda: breaker._end(ticket, error))


def around_async(breaker: CircuitBreaker, fn: F) -> F | None:
    """*fn* inside calls of *breaker* that do not hold up the event loop; None when it is not async."""
    from functools import update_wrapper

    from techrevati.runtime._core.wrapping import (
        ASYNC_GENERATOR,
        COROUTINE,
        colour,
        either,
        inside,
        may_be_async,
    )

    kind = colour(fn)
    if kind == ASYNC_GENERATOR:
        return inside(lambda args, kwargs: breaker.guard(), fn)
    call = breaker.as_async().call
    made: Any = fn
    if may_be_async(fn):
        return update_wrapper(either(breaker.call, call, made), fn)  # type: ignore[return-value]
    if kind != COROUTINE:
        return None

    async def around(*args: object, **kwargs: object) -> object:
        return await call(made, *args, **kwargs)

    return update_wrapper(around, fn)  # type: ignore[return-value]


_MEANWHILE = {
    "local": "decides for this process alone",
    "allow": "lets every call through",
    "refuse": "refuses every call",
}
WHEN_STORE_FAILS = tuple(_MEANWHILE)


def _undone(future: Future[T], undo: Callable[[T], object]) -> None:
    if future.exception() is None:
        undo(future.result())


def _worker_of(store: Store) -> Worker:
    """One thread for all breakers of a store."""
    from weakref import WeakKeyDictionary

    from techrevati.runtime._core.worker import Worker

    global _workers
    if _workers is None:
        _workers = WeakKeyDictionary()
    return _workers.setdefault(store, Worker("techrevati-breaker-io"))


_workers: WeakKeyDictionary[Store, Worker] | None = None
