"""One open run: each step is looked up, or put on record, called, and put on record again.

The decision which of these is shared by the sync and the async way; only the call itself differs.  No lock is
held while the caller's code runs.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, cast

from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.failures import classify
from techrevati.runtime.journal.codec import compact_json
from techrevati.runtime.journal.core import DOUBT, LOST, RAISE, RETURN, begun, ended, same, verdict
from techrevati.runtime.journal.open_step import OpenStep, aopened, opened
from techrevati.runtime.journal.places import Places
from techrevati.runtime.journal.recorded_error import as_raised
from techrevati.runtime.journal.vocabulary import (
    DONE,
    IN_DOUBT,
    NOT_DONE,
    Happened,
    InDoubtError,
    JournalError,
    ReplayMismatchError,
    ResultNotStorableError,
    RunBusyError,
    Step,
)
from techrevati.runtime.stores.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Any, Self, TypeAlias, TypeVar

    from techrevati.runtime.journal.journal import Journal
    from techrevati.runtime.journal.lease import Lease, NoLease

    T = TypeVar("T")
    Verify: TypeAlias = Callable[[], "bool | Happened | None"]
    Measured: TypeAlias = tuple[dict[str, object], str]
    Measure: TypeAlias = Callable[[T], Measured]

_inside: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("techrevati_journal_inside", default=())


class RunJournal:
    """One run, open: for threads and tasks at once.

    Attributes:
        run_id: The run.
        recorded: What earlier lives of the run left, by key.
        replayed: How many steps were answered from the record so far.
    """

    _counts: bool = True  # whether what is on record counts for budgets

    def __init__(self, journal: Journal, run_id: str, steps: dict[str, Step], lease: Lease | NoLease) -> None:
        self._journal = journal
        self._log = f"journal/steps/{run_id}"
        self.run_id: str = run_id
        self.recorded: dict[str, Step] = {key: step for key, step in steps.items() if step.state != NOT_DONE}
        self.replayed: int = 0
        self._steps = steps
        self._last = next(reversed(steps), None)
        self._begun: set[str] = set()
        self._calls: dict[str, Future[object] | None] = {}  # under way; a future once somebody waits
        self._streams: set[str] = set()  # steps that outlive the call that began them
        self._told: set[str] = set()  # steps done in this life, or whose record was told: they count once
        self._lock = Lock()
        self._places = Places(run_id, steps, journal.max_steps)
        self._state = "running"
        self._lease = lease

    # --- steps ---------------------------------------------------------------------------------------------

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
        """Run *fn* once in all lives of this run; later ones get what the first one returned.

        Args:
            key: Its name; with None its place among the steps of the thread that opened the run, or, in
                other threads, its kind, name and arguments.
            fn: Does it.
            idempotent: It may run again when nobody knows whether it happened.
            verify: Says whether it happened: True or ``Happened(result)``, False, or None if unknown.
            kind, name, arguments: What it is; a record that says otherwise is refused.
            measure: Says from the result what it used and what that cost in pico-dollars.
            before: Called with the key when the step is about to begin; what it raises leaves no trace.
            on_record: Told the finished step the first time that its result comes from an earlier life.

        Raises:
            InDoubtError: It was begun in an earlier life, and nobody knows how it ended.
            ReplayMismatchError: The record says that something else happened here.
            ResultNotStorableError: It is done and its result, which is in the error, could not be stored.
            RecordedFailureError: It failed in an earlier life.
            RunBusyError: Somebody else took the run over; if *fn* was called, its result is in the error.
            StoreError: The store does not answer; *fn* was not called.
            JournalError: The run is closed, or has as many steps as the journal allows.
            Exception: Whatever *fn* raised, after it was put on record.
        """
        asked = self._places.asked(key, kind, name, arguments)
        if self._is_on_record(asked):
            return cast("T", self._answer(asked.key, on_record))
        call = self._claim(asked)
        if call is not None:
            return cast("T", call.result())
        outside = _inside.get()
        _inside.set((*outside, (self.run_id, asked.key)))
        try:
            found = self._looked_up(asked, idempotent)
            if found == DOUBT:
                found = self._settled(asked, None if verify is None else verify(), measure)
            if found != "run":
                return cast("T", self._answer(asked.key, on_record))
            if before is not None:
                before(asked.key)
            step = self._intend(asked, idempotent)
            try:
                result = fn()
            except BaseException as error:
                self._failed(step, error)
                raise
            self._done(step, result, measure)
            return result
        except BaseException as error:
            self._give_up(asked.key, error)
            raise
        finally:
            _inside.set(outside)

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
        """:meth:`step` for coroutines; *before* may be one, too.  A step that is cancelled is in doubt."""
        asked = self._places.asked(key, kind, name, arguments)
        if self._is_on_record(asked):
            return cast("T", self._answer(asked.key, on_record))
        call = self._claim(asked)
        if call is not None:
            import asyncio

            return cast("T", await asyncio.shield(asyncio.wrap_future(call)))
        outside = _inside.get()
        _inside.set((*outside, (self.run_id, asked.key)))
        try:
            found = self._looked_up(asked, idempotent)
            if found == DOUBT:
                said = None if verify is None else verify()
                if said is not None and not isinstance(said, (bool, Happened)):
                    said = await said
                found = self._settled(asked, said, measure)
            if found != "run":
                return cast("T", self._answer(asked.key, on_record))
            if before is not None:
                await _done_with(before(asked.key))
            step = self._intend(asked, idempotent)
            try:
                result = await fn()
            except BaseException as error:
                self._failed(step, error)
                raise
            self._done(step, result, measure)
            return result
        except BaseException as error:
            self._give_up(asked.key, error)
            raise
        finally:
            _inside.set(outside)

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
        """Begin a step whose end is told later, as of a stream; the arguments and errors are those of
        :meth:`step`.  *on_record* is told of a recorded failure, too, if that was paid for.
        """
        asked = self._places.asked(key, kind, name, arguments)
        return opened(self, asked, idempotent, verify, on_record)

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
        """:meth:`begin` with a *verify* that may be a coroutine function."""
        asked = self._places.asked(key, kind, name, arguments)
        return await aopened(self, asked, idempotent, verify, on_record)

    # --- what both do --------------------------------------------------------------------------------------

    def _claim(self, asked: Step) -> Future[object] | None:
        """The call of another thread or task to wait for; None when this one is to do it."""
        if (self.run_id, asked.key) in _inside.get():
            raise JournalError(self.run_id, f"step {asked.key!r} is asked for inside itself")
        if asked.key in self._streams:
            raise JournalError(self.run_id, f"step {asked.key!r} is a stream that has not ended")
        with self._lock:
            if asked.key not in self._calls:
                self._calls[asked.key] = None
                return None
            call = self._calls[asked.key]
            if call is None:
                from concurrent.futures import Future  # loads logging

                call = self._calls[asked.key] = Future()
        recorded = self._steps.get(asked.key)
        if recorded is not None and not same(recorded, asked):
            raise ReplayMismatchError(self.run_id, recorded, asked)
        return call

    def _is_on_record(self, asked: Step) -> bool:
        """Whether there is nothing to decide or to wait for: it is done, and its result is here."""
        recorded = self._steps.get(asked.key)
        if recorded is None or recorded.state != DONE or recorded.result is None:
            return False
        self._require_open()
        if not same(recorded, asked):
            raise ReplayMismatchError(self.run_id, recorded, asked)
        return True

    def _looked_up(self, asked: Step, idempotent: bool) -> str:
        self._require_open()
        recorded = self._steps.get(asked.key)
        if recorded is not None and not same(recorded, asked):
            raise ReplayMismatchError(self.run_id, recorded, asked)
        found = verdict(recorded, idempotent, asked.key == self._last and asked.key not in self._begun)
        if found == RAISE:
            assert recorded is not None
            raise as_raised(self.run_id, recorded)
        if found == LOST:
            raise ResultNotStorableError(self.run_id, asked.key, None, "it was lost with an earlier process")
        return found

    def _require_open(self) -> None:
        if self._state != "running" or self._lease.is_over:
            raise JournalError(self.run_id, "it is closed")
        if self._lease.lost is not None:
            raise self._lease.lost

    def _settled(
        self, asked: Step, said: bool | Happened | None, measure: Callable[[Any], Measured] | None = None
    ) -> str:
        step = self._steps[asked.key]
        if said is None:
            raise InDoubtError(self.run_id, step)
        if said is False:
            return "run"
        if not isinstance(said, (bool, Happened)):
            raise TypeError(f"verify must return a bool, Happened or None, got {type(said).__name__}")
        usage, cost, result = None, "0", None
        if isinstance(said, Happened):
            result = said.result
            if measure is not None:  # it was paid for, and nobody has counted it
                usage, cost = measure(result)
        text = self._journal.codec.encode(result)
        done = ended(step, self._journal.clock(), result=text, usage=usage, cost_picodollars=cost)
        self._write(done, durable=self._journal.syncs_outcomes)
        return RETURN

    def _answer(self, key: str, on_record: Callable[[Step], object] | None) -> object:
        text = self._steps[key].result
        assert text is not None
        value = self._journal.codec.decode(text)
        self._count_replayed()
        self._tell(key, on_record)
        self._arrived(key, value)
        return value

    def _tell(self, key: str, on_record: Callable[[Step], object] | None) -> None:
        """Tell what an earlier life left, once in this one."""
        with self._lock:
            known = key in self._told
            self._told.add(key)
        if on_record is not None and not known:
            on_record(self._steps[key])

    def _count_replayed(self) -> None:
        with self._lock:
            self.replayed += 1

    def _arrived(self, key: str, value: object) -> None:
        """Hand a result to the threads and tasks that wait for it; who comes later reads the record."""
        with self._lock:
            call = self._calls.pop(key, None)
        if call is not None:
            call.set_result(value)

    def _intend(self, asked: Step, idempotent: bool) -> Step:
        self._begun.add(asked.key)
        step = begun(self._steps.get(asked.key), asked, self._journal.clock())
        # What may run again may also be forgotten by a power failure.
        self._write(step, durable=self._journal.syncs_outcomes or not idempotent)
        return step

    def _done(self, step: Step, result: T, measure: Measure[T] | None) -> None:
        usage, cost, text, problem = None, "0", None, None
        if measure is not None:
            usage, cost = measure(result)
        try:
            text = self._journal.codec.encode(result)
        except Exception as error:
            problem = error_text(error)
        now_s = self._journal.clock()
        done = ended(step, now_s, result=text, usage=usage, cost_picodollars=cost)
        try:
            self._write(done, durable=self._journal.syncs_outcomes)
        except StoreError as trouble:  # it happened: the caller gets what it paid for
            raise ResultNotStorableError(
                self.run_id, step.key, result, error_text(trouble), in_doubt=True
            ) from trouble
        except RunBusyError as taken:
            raise RunBusyError(
                self.run_id,
                f"{taken.problem}; step {step.key!r} is done, and what it gave is in .result",
                has_result=True,
                result=result,
                key=step.key,
            ) from taken
        with self._lock:
            self._told.add(step.key)
        if problem is not None:
            raise ResultNotStorableError(self.run_id, step.key, result, problem)
        self._arrived(step.key, result)

    def _failed(
        self,
        step: Step,
        error: BaseException,
        usage: dict[str, object] | None = None,
        cost_picodollars: str = "0",
    ) -> None:
        """Put a failure on record; who was interrupted does not know how it ended."""
        if not isinstance(error, Exception):
            self._steps[step.key] = step._replace(state=IN_DOUBT)
            return
        kind = type(error)
        failure = {
            **classify(error).to_dict(),
            "type": f"{kind.__module__}.{kind.__qualname__}",
            "message": error_text(error),
        }
        try:
            now_s = self._journal.clock()
            self._write(
                ended(step, now_s, failure=failure, usage=usage, cost_picodollars=cost_picodollars),
                durable=self._journal.syncs_outcomes,
            )
        except (StoreError, RunBusyError) as trouble:
            self._steps[step.key] = step._replace(state=IN_DOUBT)
            error.add_note(f"and the journal could not record it: {trouble}")

    def _give_up(self, key: str, error: BaseException) -> None:
        with self._lock:
            call = self._calls.pop(key, None)
            step = self._steps.get(key)
            if step is not None and step.state == "intent":
                self._steps[key] = step._replace(state=IN_DOUBT)
        if call is not None and not call.done():
            if isinstance(error, Exception):
                call.set_exception(error)
            elif step is not None:
                call.set_exception(InDoubtError(self.run_id, step))
            else:
                call.set_exception(JournalError(self.run_id, f"step {key!r} was interrupted"))

    def _write(self, step: Step, *, durable: bool) -> None:
        """Append one entry, if the run is still ours."""
        place = f"{step.key}\0{step.attempt}\0{step.state}"
        # Half a surrogate pair, as a model's cut answer brings it, becomes the JSON escape of itself.
        raw = compact_json()(step).encode(errors="backslashreplace")
        self._lease.write(((self._log, place, raw),), durable=durable)
        with self._lock:
            self._steps[step.key] = step
            self._places.taken(step)

    def close(self, state: str | None = None) -> None:
        """Let the run go; *state* is what it is then: "completed" and the like.  Twice does nothing.

        Raises:
            StoreError: It could not be put on record; close it again, or it is busy until its lease ends.
        """
        if self._lease.is_released:
            return
        self._lease.end(state or ("interrupted" if self._state == "running" else self._state))
        self._journal._closed(self.run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close("completed" if self._state == "running" else self._state)
        else:
            self.close("failed" if isinstance(error, Exception) else "interrupted")


async def _done_with(given: object) -> None:
    if isinstance(given, Awaitable):
        await given
