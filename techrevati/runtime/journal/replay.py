"""A recorded run once more, without a call, a store or a lease: the record answers every step.

Steps are handed out in the order in which they ended when they were recorded.  So a step may have to wait
for one that ended before it and that another thread or task is about to ask for; in the recorded run that
one had begun without it, so a program that was not changed cannot wait for ever.
"""

from __future__ import annotations

import time
from threading import Condition, Lock
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core import arguments as check
from techrevati.runtime.journal.core import latest, orphaned, same
from techrevati.runtime.journal.journal import RUNS, Journal, _dumps
from techrevati.runtime.journal.lease import NoLease
from techrevati.runtime.journal.open_step import OpenStep
from techrevati.runtime.journal.recorded_error import as_raised
from techrevati.runtime.journal.recording import Recording, read_recording
from techrevati.runtime.journal.run import RunJournal
from techrevati.runtime.journal.vocabulary import (
    DONE,
    FAILED,
    NOT_DONE,
    InDoubtError,
    JournalError,
    ReplayMismatchError,
    ResultNotStorableError,
    RunBusyError,
    Step,
)
from techrevati.runtime.stores.memory import MemoryStore
from techrevati.runtime.stores.protocol import ABSENT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from os import PathLike
    from typing import TypeVar

    from techrevati.runtime.journal.codec import Codec
    from techrevati.runtime.journal.run import Measure, Verify
    from techrevati.runtime.journal.vocabulary import Happened

    T = TypeVar("T")

MISMATCHES_KEPT = 1000


class Replayer(Journal):
    """Answers the steps of a program from a recorded run: no call is made, nothing is written.

    Give it to an ``Orchestrator`` in place of its journal, or open it.  It holds a copy of the run, taken
    now.  Each :meth:`open` replays it from its beginning, whatever name is given there.

    Args:
        source: The journal that has the run, or the file of a :class:`Recorder`.
        run_id: Which run of the journal; a file holds one.
        strict: Steps must come as they were recorded: the same ones, none left out (told when the run is
            closed as completed), ended in the same order.  Otherwise a step gets what is recorded under its
            key, else of the next step of the same kind, name and arguments, else of the same kind and name,
            and what did not fit is kept in ``RunReplay.mismatches``.
        codec: Reads the results of a file; JSON when None.
        patience_seconds: How long a step waits for those that ended before it, > 0.

    Raises:
        JournalError: There is no such run; the file is no recording.
        RunBusyError: The run is under way.
        OSError: The file cannot be read.
    """

    def __init__(
        self,
        source: Journal | str | PathLike[str],
        run_id: str | None = None,
        *,
        strict: bool = True,
        codec: Codec | None = None,
        patience_seconds: float = 10.0,
    ) -> None:
        recording = recorded_run(source, run_id)
        super().__init__(
            MemoryStore(),
            codec=source.codec if isinstance(source, Journal) else codec,
            max_steps=len(recording.history) + 100_000,
        )
        self.run_id: str = recording.run_id
        self.strict: bool = strict
        self.patience_s: float = check.positive("patience_seconds", patience_seconds)
        self._history = recording.history
        record = {"owner": None, "until": 0, "state": recording.state}
        self.store.compare_and_swap(RUNS + self.run_id, ABSENT, _dumps(record))

    def open(self, run_id: str | None = None) -> RunReplay:
        """Replay the run from its beginning."""
        return RunReplay(self, self._history)

    def history(self, run_id: str) -> Iterator[Step]:
        """Everything on record of the run, in the order in which it was written."""
        return iter(self._history if run_id == self.run_id else ())


def recorded_run(source: Journal | str | PathLike[str], run_id: str | None) -> Recording:
    """The run of a journal, or of a file."""
    if not isinstance(source, Journal):
        return read_recording(source)
    summary = source.run(check.text("run_id", run_id or ""))
    if summary.state == "running":
        raise RunBusyError(summary.run_id, "it is under way: only a run that ended can be replayed")
    return Recording(summary.run_id, summary.state, tuple(source.history(summary.run_id)))


class RunReplay(RunJournal):
    """A recorded run, open once more; see :class:`Replayer`.

    Attributes:
        mismatches: What did not fit the record, unless strict; the first ``MISMATCHES_KEPT``.
    """

    _counts: bool = False  # a mere replay uses nothing

    def __init__(self, replayer: Replayer, history: tuple[Step, ...]) -> None:
        found = latest(history).items()
        steps = {key: orphaned(step) for key, step in found if step.state != NOT_DONE}
        super().__init__(replayer, replayer.run_id, steps, NoLease())
        self._strict = replayer.strict
        self._turns = _Turns(history, replayer.patience_s if replayer.strict else None)
        self._left = dict.fromkeys(steps)
        self._given: dict[str, str] = {}  # asked key -> recorded key, unless strict
        self.mismatches: list[ReplayMismatchError] = []

    def step(
        self,
        key: str | None,
        fn: Callable[[], T],
        *,
        idempotent: bool = False,
        verify: Verify | None = None,
        kind: str = "step",
        name: str = "",
        arguments: Mapping[str, object] | None = None,
        measure: Measure[T] | None = None,
        before: Callable[[str], object] | None = None,
        on_record: Callable[[Step], object] | None = None,
    ) -> T:
        """What *fn* returned when it was recorded; it is not called.

        Raises:
            ReplayMismatchError: The record has something else here, or nothing.
            InDoubtError: The recorded step never ended.
            ResultNotStorableError: Its result was not recorded.
            RecordedFailureError: It failed then; also of the type that was raised.
        """
        recorded = self._found(key, kind, name, arguments)
        try:
            self._turns.wait(recorded, self._late)
            return cast("T", self._value(recorded, on_record))
        finally:
            self._handed_out(recorded)

    async def astep(
        self,
        key: str | None,
        fn: Callable[[], Awaitable[T]],
        *,
        idempotent: bool = False,
        verify: Callable[[], Awaitable[bool | Happened | None]] | Verify | None = None,
        kind: str = "step",
        name: str = "",
        arguments: Mapping[str, object] | None = None,
        measure: Measure[T] | None = None,
        before: Callable[[str], object] | None = None,
        on_record: Callable[[Step], object] | None = None,
    ) -> T:
        """:meth:`step` for coroutines."""
        recorded = self._found(key, kind, name, arguments)
        try:
            await self._turns.await_(recorded, self._late)
            return cast("T", self._value(recorded, on_record))
        finally:
            self._handed_out(recorded)

    def begin(
        self,
        key: str | None,
        *,
        idempotent: bool = False,
        verify: Verify | None = None,
        kind: str = "stream",
        name: str = "",
        arguments: Mapping[str, object] | None = None,
        on_record: Callable[[Step], object] | None = None,
    ) -> OpenStep:
        """What the stream gave when it was recorded; it waits for no other step, as what was done with its
        items ended before it.
        """
        recorded = self._found(key, kind, name, arguments)
        try:
            return OpenStep(self, recorded, replayed=True, result=self._value(recorded, on_record))
        finally:
            self._handed_out(recorded)

    async def abegin(
        self,
        key: str | None,
        *,
        idempotent: bool = False,
        verify: Callable[[], Awaitable[bool | Happened | None]] | Verify | None = None,
        kind: str = "stream",
        name: str = "",
        arguments: Mapping[str, object] | None = None,
        on_record: Callable[[Step], object] | None = None,
    ) -> OpenStep:
        """:meth:`begin` for coroutines."""
        return self.begin(key, kind=kind, name=name, arguments=arguments, on_record=on_record)

    def close(self, state: str | None = None) -> None:
        """End the replay.

        Raises:
            ReplayMismatchError: It is strict, *state* is "completed", and steps of the record are left.
        """
        first, self._state = self._state == "running", state or "closed"
        if first and self._strict and state == "completed" and self._left:
            raise ReplayMismatchError(self.run_id, self._steps[next(iter(self._left))], None)

    # --- what is recorded ----------------------------------------------------------------------------------

    def _require_open(self) -> None:
        if self._state != "running":
            raise JournalError(self.run_id, "it is closed")

    def _found(self, key: str | None, kind: str, name: str, arguments: Mapping[str, object] | None) -> Step:
        self._require_open()
        if self._strict:
            asked = self._places.asked(key, kind, name, arguments)
            recorded = self._steps.get(asked.key)
            if recorded is None:
                raise ReplayMismatchError(self.run_id, None, asked)
            checked = asked.lane is not None and recorded.lane == asked.lane
            if not checked and not same(recorded, asked):
                raise ReplayMismatchError(self.run_id, recorded, asked)
            return recorded
        asked = self._places.placed(key, kind, name, arguments)
        with self._lock:
            recorded = self._fitting(asked, key is not None)
            if recorded is None or not same(recorded, asked):
                error = ReplayMismatchError(self.run_id, recorded or self._steps.get(asked.key), asked)
                if recorded is None:
                    raise error
                if len(self.mismatches) < MISMATCHES_KEPT:
                    self.mismatches.append(error)
            self._given[asked.key] = recorded.key
            self._left.pop(recorded.key, None)
        return recorded

    def _fitting(self, asked: Step, by_key: bool) -> Step | None:
        """What fits best and was not given to another step."""
        again = self._given.get(asked.key)
        if again is not None:
            return self._steps[again]
        own = self._steps.get(asked.key)
        by_key = by_key and own is not None and own.kind == asked.kind
        if own is not None and own.key in self._left and (by_key or same(own, asked)):
            return own
        left = [self._steps[key] for key in self._left if self._steps[key].kind == asked.kind]
        named = [step for step in left if step.name == asked.name]
        exact = [step for step in named if step.arguments == asked.arguments]
        return next(iter(exact or named), None)

    def _handed_out(self, recorded: Step) -> None:
        self._left.pop(recorded.key, None)
        self._turns.gave(recorded)

    def _value(self, recorded: Step, on_record: Callable[[Step], object] | None) -> object:
        if recorded.state == FAILED:
            raise as_raised(self.run_id, recorded)
        if recorded.state != DONE:
            raise InDoubtError(self.run_id, recorded)
        if recorded.result is None:
            raise ResultNotStorableError(self.run_id, recorded.key, None, "it is not on record")
        value = self._journal.codec.decode(recorded.result)
        self._count_replayed()
        if on_record is not None:
            on_record(recorded)
        return value

    def _late(self, recorded: Step, awaited: str) -> ReplayMismatchError:
        detail = "that one ended first, and nobody asks for it"
        return ReplayMismatchError(self.run_id, self._steps[awaited], recorded, detail)


class _Turns:
    """Who is next: steps by the order in which they ended."""

    def __init__(self, history: tuple[Step, ...], patience_s: float | None) -> None:
        ends = [step.key for step in history if step.state in (DONE, FAILED)]
        self._order = list(dict.fromkeys(reversed(ends)))[::-1]  # by their last end
        self._place = {key: place for place, key in enumerate(self._order)}
        self._patience_s = patience_s
        self._given: set[int] = set()
        self._next = 0
        self._lock = Lock()
        self._changed = Condition(self._lock)
        self._threads = 0
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def _is_next(self, place: int | None) -> bool:
        return self._patience_s is None or place is None or place <= self._next

    def wait(self, step: Step, late: Callable[[Step, str], Exception]) -> None:
        """Until all that ended before *step* were handed out."""
        place = self._place.get(step.key)
        if self._is_next(place):
            return
        end_s = time.monotonic() + (self._patience_s or 0)
        with self._changed:
            self._threads += 1
            try:
                while not self._is_next(place):
                    left_s = end_s - time.monotonic()
                    if left_s <= 0:
                        raise late(step, self._order[self._next])
                    self._changed.wait(left_s)
            finally:
                self._threads -= 1

    async def await_(self, step: Step, late: Callable[[Step, str], Exception]) -> None:
        """:meth:`wait` for coroutines."""
        place = self._place.get(step.key)
        if self._is_next(place):
            return
        import asyncio

        loop = asyncio.get_running_loop()
        end_s = loop.time() + (self._patience_s or 0)
        while True:
            with self._changed:
                if self._is_next(place):
                    return
                woken: asyncio.Future[None] = loop.create_future()
                self._waiting.append((loop, woken))
            timer = loop.call_at(end_s, _wake, woken)
            try:
                await woken
            finally:
                timer.cancel()
                with self._changed:
                    if (loop, woken) in self._waiting:
                        self._waiting.remove((loop, woken))
            if loop.time() >= end_s and not self._is_next(place):
                raise late(step, self._order[self._next])

    def gave(self, step: Step) -> None:
        """*step* was handed out, or its caller went away."""
        place = self._place.get(step.key)
        if place is None or place < self._next:
            return
        with self._lock:
            if place != self._next:
                if place > self._next:
                    self._given.add(place)
                return  # nobody's turn came
            self._next = place + 1
            while self._next in self._given:
                self._given.discard(self._next)
                self._next += 1
            if self._threads:
                self._changed.notify_all()
            if not self._waiting:
                return
            waiting, self._waiting = self._waiting, []
        for loop, woken in waiting:
            try:
                loop.call_soon_threadsafe(_wake, woken)
            except RuntimeError:
                pass  # the loop was closed with its tasks


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
