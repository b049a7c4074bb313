"""The ledger itself: records in, sums out.

A record is priced and checked before any lock is taken.  With ``durability="full"`` it is then one synced
transaction.  With ``"batched"`` it goes to a spool file (it survives the process from there on) and into the
database with others, a moment later.  What the disk refuses waits in memory and is tried again.
"""

from __future__ import annotations

import os
import time
from functools import partial
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.labels import checked_certainty, checked_tags, optional_text, short_text
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.worker import Worker
from techrevati.runtime.ledger import query
from techrevati.runtime.ledger.ending import at_exit
from techrevati.runtime.ledger.errors import IdempotencyConflictError
from techrevati.runtime.ledger.record import Draft, Given, draft
from techrevati.runtime.ledger.reports import LedgerReports
from techrevati.runtime.ledger.reservations import LedgerReservations
from techrevati.runtime.ledger.spool import Batch, adopt_orphans
from techrevati.runtime.ledger.tables import SCHEMA, Writer, standing
from techrevati.runtime.ledger.waiting import PENDING_CAPACITY, Waiting
from techrevati.runtime.stores.errors import StoreError, StoreUnavailableError
from techrevati.runtime.stores.forks import PATIENCE_S, watch
from techrevati.runtime.stores.sqlite import SCHEMA as STORE_SCHEMA
from techrevati.runtime.stores.sqlite_file import SqliteFile
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal
    from os import PathLike
    from types import TracebackType
    from typing import Self

    from techrevati.runtime.ledger.query import When

announce("ledger")

BATCH = 512
BATCH_AGE_S = 0.05
_ARE_ADOPTED = os.name == "posix"  # spools: elsewhere nobody could tell that one was left
_CHECKED = 1024
_checked: dict[tuple[str | None, ...], tuple[str, str, str, str]] = {}
_new_given = tuple.__new__


class SpendLedger(LedgerReports, LedgerReservations):
    """What every project spent, in a SQLite file.  Safe for threads, forks and any number of processes.

    Args:
        path_or_url: The file, made when it is not there, or ``":memory:"`` for this object alone.
        durability: ``"full"``: a record that returned survives a power failure.  ``"batched"``: it survives
            the death of the process (SIGKILL included) and, after :meth:`flush`, a power failure; records
            are committed together, so that other processes see them up to ``BATCH_AGE_S`` seconds later.
        timeout_s: How long a write waits for other processes; > 0.
        read_only: Only reports; the file must exist, its disk may be read-only.
        clock: Seconds since 1970.

    Attributes:
        worker: The thread that writes for the tasks of event loops; None for a ledger in memory.

    Raises:
        ValueError, TypeError: An argument is out of range.
        StoreUnavailableError: The file cannot be opened now; ``StoreCorruptError``: it is damaged or no
            database; ``NewerSchemaError``: a newer version of this package wrote it.
    """

    def __init__(
        self,
        path_or_url: str | PathLike[str],
        *,
        durability: str = "full",
        timeout_s: float = 10.0,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(path_or_url, str) and "://" in path_or_url:
            raise ValueError(
                "path_or_url must be a file or ':memory:'; ledgers in a database server are not there yet, "
                f"got a {path_or_url.partition('://')[0]} URL"
            )
        schema = {"store": STORE_SCHEMA, "ledger": SCHEMA}
        self._clock = clock
        self._file = SqliteFile(
            path_or_url,
            schema,
            durability=durability,
            timeout_s=arguments.positive("timeout_s", timeout_s),
            read_only=read_only,
        )
        self.path: str = self._file.path
        self.durability: str = durability
        self._read_only = read_only
        self._batched = durability == "batched" and not self._file.is_memory and not read_only
        self._writer = Writer()
        self._lock = Lock()
        # Who records while a batch is written does not wait for the disk: there is another one.
        self._recorded, self._committing = Batch(self.path), Batch(self.path)
        self._is_refused = False  # the batch that is written next was refused
        self._left: list[tuple[str, int]] = []  # spools that hold what was too much for memory
        self._commits = Lock()  # taken before the other one, and held while a batch is written
        self._flusher_runs = False
        self._waiting = Waiting()
        self.worker: Worker | None = None if self._file.is_memory else Worker("techrevati-ledger-io")
        self._prefix = os.urandom(8).hex()
        self._numbers = count(1)
        self.fork_rank: int = 0
        watch(self)
        self._file.read(lambda _: None)
        self._adopt()
        if not self._file.is_memory and not read_only:
            at_exit(self)

    # --- writing --------------------------------------

    def record(
        self,
        *,
        project: str,
        model: str,
        usage: UsageSnapshot,
        cost: float | Decimal | None = None,
        user: str | None = None,
        session: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        key: str | None = None,
        certainty: str = "measured",
        provider: str | None = None,
        tier: str | tuple[str, ...] | None = None,
        failure: str | None = None,
    ) -> str:
        """Put one call on the books, once; returns its key.

        Args:
            project, model: For whom, and which model.
            usage: What it used.
            cost: US dollars.  None takes what the provider reported in *usage*, else what the price
                book says; a model that nothing prices is recorded without a cost, with a warning.
            user, session, run, tags: Whose, for reports.
            key: The same key twice is one record; made up when None.
            certainty: "measured", "estimated" or "unknown".
            provider, tier: For the price.
            failure: What kind of failure ended the call, as ``classify`` names it.

        Raises:
            IdempotencyConflictError: *key* was recorded before with other content.
            StoreError: The file cannot be written.  The record is not lost: it waits in memory, is counted in
                :attr:`pending` and written by the next use that can; do not record it again.
            ValueError, TypeError: An argument is out of range; nothing was recorded.
        """
        given = self._given(
            project, model, usage, cost, user, session, run, tags, certainty, provider, tier, failure
        )
        unique = key is None
        if key is None:
            # Of one width, so that they sort as they were made: the index of keys then grows at one end.
            key = f"{self._prefix}-{next(self._numbers):08x}"
        else:
            short_text("key", key)
        made = draft(given, key, self._clock())
        if made.source == "unpriced":
            logger("ledger").warning("no price for model %r: its cost is recorded as unknown", model)
        if self._batched:
            self._put_batched(made, unique)
        else:
            self._put(made, unique)
        return key

    @staticmethod
    def _given(
        project: str,
        model: str,
        usage: UsageSnapshot,
        cost: float | Decimal | None = None,
        user: str | None = None,
        session: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        certainty: str = "measured",
        provider: str | None = None,
        tier: str | tuple[str, ...] | None = None,
        failure: str | None = None,
    ) -> Given:
        if not isinstance(usage, UsageSnapshot):
            raise TypeError(f"usage must be a UsageSnapshot, got {usage!r}")
        words = (project, model, user, session, run, certainty, provider, failure)
        try:
            # Calls of one run say the same of themselves: what was checked once is not checked again.
            known = _checked[words]
        except (KeyError, TypeError):
            pass
        else:
            user, session, run, failure = known
            if tags is not None:
                tags = checked_tags(tags)
            said = (project, model, usage, cost, user, session, run, tags, certainty, provider, tier, failure)
            return _new_given(Given, said)  # not by its own constructor, which takes three times as long
        checked_certainty(certainty)
        given = Given(
            short_text("project", project),
            short_text("model", model),
            usage,
            cost,
            optional_text("user", user),
            optional_text("session", session),
            optional_text("run", run),
            checked_tags(tags),
            certainty,
            None if provider is None else short_text("provider", provider),
            tier,
            optional_text("failure", failure),
        )
        if len(_checked) >= _CHECKED:
            _checked.clear()
        _checked[words] = given.user, given.session, given.run, given.failure
        return given

    def _put(self, made: Draft, unique: bool) -> None:
        if self._read_only:
            raise StoreUnavailableError(self.path, "this ledger was opened to read only", "read-only")
        if self._waiting:
            self._retry()
        try:
            if unique:
                self._file.write(partial(self._writer.write_new, drafts=(made,)))
            else:
                self._write([made], unique=False)
        except BaseException as error:
            self._writer.forget()
            if isinstance(error, StoreError):
                self._waiting.keep(made)
            raise

    def _put_batched(self, made: Draft, unique: bool) -> None:
        if not unique:
            try:
                if self._is_known(made):
                    return
            except StoreError as error:  # looked at when it is written
                logger("ledger").warning("a key could not be looked up: %s", error)
        with self._lock:
            if self._is_refused and len(self._recorded.drafts) >= PENDING_CAPACITY:
                if _ARE_ADOPTED:
                    self._left.append(self._recorded.hand_over())  # the spool has them: memory need not
                else:
                    self._recorded.give_up_oldest()
                    self._waiting.lost_one()
            try:
                full = self._recorded.add(made, unique) >= BATCH
            except OSError as error:
                self._waiting.keep(made)
                reason = f"the spool cannot be written ({error.strerror})"
                raise StoreUnavailableError(self.path, reason, "full") from error
            start = not full and not self._flusher_runs
            if start:
                self._flusher_runs = True
        if full:
            self._commit_buffer()
        elif start:
            self._start_flusher()

    def _is_known(self, made: Draft) -> bool:
        """Whether the key of *made* was recorded before, here or in the file."""
        from techrevati.runtime.ledger.record import differences

        with self._lock:
            there = self._recorded.of_key(made.key) or self._committing.of_key(made.key)
        if there is None:
            there = self._file.read(lambda connection: standing(connection, made.key))
        if there is None:
            return False
        differs = differences(there, made)
        if differs:
            raise IdempotencyConflictError(made.key, differs)
        return True

    def has(self, key: str) -> bool:
        """Whether a record has this key, be it in a batch that is not written yet."""
        with self._lock:
            if self._recorded.of_key(key) or self._committing.of_key(key):
                return True
        return super().has(key)

    def _start_flusher(self) -> None:
        from threading import Thread

        def later() -> None:
            time.sleep(BATCH_AGE_S)
            with self._lock:
                self._flusher_runs = False
            try:
                self._commit_buffer()
            except StoreError as error:
                logger("ledger").warning("records wait for the disk: %s", error)

        try:
            Thread(target=later, name="techrevati-ledger", daemon=True).start()
        except RuntimeError:  # no thread to be had: it is written at once
            with self._lock:
                self._flusher_runs = False
            self._commit_buffer()

    def _commit_buffer(self) -> None:
        """Write what waits; it stays in its spool until it is in the database."""
        with self._commits:
            self._commit(self._committing)  # what was refused before, if anything
            with self._lock:
                self._recorded, self._committing = self._committing, self._recorded
            self._commit(self._committing)

    def _commit(self, batch: Batch) -> None:
        if batch.drafts:
            try:
                self._write(*batch.parted(), unique=True)
            except StoreError:
                self._is_refused = True
                raise
            with self._lock:
                batch.committed()
                self._is_refused = False

    def _write(self, drafts: Sequence[Draft], keyed: Sequence[Draft] = (), *, unique: bool) -> None:
        """Commit drafts: those of keys made here at once, the others after a look at what is there."""

        def work(connection: sqlite3.Connection) -> list[IdempotencyConflictError]:
            conflicts = []
            if unique and drafts:
                self._writer.write_new(connection, drafts)
            for one in keyed if unique else drafts:
                try:
                    self._writer.write_once(connection, one)
                except IdempotencyConflictError as conflict:
                    conflicts.append(conflict)
            return conflicts

        try:
            conflicts = self._file.write(work)
        except BaseException:
            self._writer.forget()
            raise
        for conflict in conflicts:
            if not unique:
                raise conflict
            self._waiting.lost_one()
            logger("ledger").warning("a batched record was dropped: %s", conflict)

    def _adopt(self) -> None:
        """Write what processes that died had acknowledged."""
        if self._file.is_memory or self._read_only:
            return

        def write(drafts: Sequence[Draft]) -> None:
            self._write((), drafts, unique=True)

        adopt_orphans(self.path, write)
        with self._lock:
            self._left = [one for one in self._left if os.path.exists(one[0])]

    # --- what the disk refused --------------------------------------

    @property
    def pending(self) -> int:
        """Records and settlements that the disk refused and that wait, batches that were refused included.

        Of batches at most 2 x ``PENDING_CAPACITY`` records wait in memory; what is more stays in spool files
        beside the database, and is written with the next :meth:`flush`, report or opening that can.  A key
        among those is looked at only then: other content under it is warned of.  On other systems than POSIX
        ones the oldest are given up instead, and counted in :attr:`dropped`.
        """
        with self._lock:
            refused = len(self._recorded.drafts) + len(self._committing.drafts) if self._is_refused else 0
            left = list(self._left)
        return len(self._waiting) + refused + sum(many for name, many in left if os.path.exists(name))

    @property
    def dropped(self) -> int:
        """Records and settlements that were lost: more than ``PENDING_CAPACITY`` waited, or somebody else has
        their key."""
        return self._waiting.dropped

    def _retry(self) -> bool:
        """Try again to write what waits; whether nothing waits any more."""
        return self._waiting.retry(lambda drafts: self._write((), drafts, unique=True))

    def _unwritten(self) -> StoreUnavailableError:
        why = self._waiting.refusal
        reason = "another thread is writing them" if why is None else why.reason
        cause = "locked" if why is None else getattr(why, "cause", "input/output")
        return StoreUnavailableError(self.path, f"{self.pending} records wait for the disk: {reason}", cause)

    def flush(self) -> None:
        """Return once everything recorded is in the file and survives a power failure.

        Raises:
            StoreError: It cannot be written now; nothing is lost, see :attr:`pending`.
        """
        self._commit_buffer()
        self._adopt()
        if not self._retry():
            raise self._unwritten()
        self._file.flush()

    def close(self) -> None:
        """Write what waits and close the file; a later use opens it again.

        Raises:
            StoreError: Something could not be written; the ledger stays open.
        """
        if self.worker is not None:
            self.worker.close()
        if not self._read_only:
            self._commit_buffer()
            if self._left:
                self._adopt()
            if not self._retry():
                raise self._unwritten()
        with self._commits, self._lock:
            self._recorded.close()
            self._committing.close()
        self._file.close()

    def _write_at_exit(self) -> None:
        """The program ends, and nobody closed this: what waits is tried once more."""
        try:
            self._commit_buffer()
            with self._commits, self._lock:
                self._recorded.close()
                self._committing.close()
            if self._waiting and not self._retry():
                logger("ledger").warning("%d records could not be written before the end", self.pending)
        except StoreError as error:
            logger("ledger").warning("records could not be written before the end: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def before_fork(self) -> bool:
        """Let nobody be in the middle of a batch."""
        if not self._commits.acquire(timeout=PATIENCE_S):
            return False
        if self._lock.acquire(timeout=PATIENCE_S):
            return True
        self._commits.release()
        return False

    def after_fork(self, held: bool, child: bool) -> None:
        """Go on; what waits stays with the parent."""
        if child:
            self._recorded.leave()
            self._committing.leave()
            self._flusher_runs = False
            self._is_refused, self._left = False, []
            self._waiting.forget()
            self._prefix = os.urandom(8).hex()
        if held:
            self._lock.release()
            self._commits.release()
        elif child:
            self._lock, self._commits = Lock(), Lock()

    # --- reading --------------------------------------

    def _settled_file(self) -> SqliteFile:
        """The file with everything in it that this process knows of."""
        if not self._read_only:
            try:
                self._commit_buffer()
                self._adopt()
                if self._waiting:
                    self._retry()
            except StoreError as error:
                logger("ledger").warning("a report is read while records wait for the disk: %s", error)
        return self._file

    def prune(self, *, before: When) -> int:
        """Forget single records from before a moment, and their keys; how many.

        The sums of their days stay: totals by project, model, provider, user and certainty do not change.
        """
        before_s = query.epoch("before", before)
        self._settled_file()
        return self._file.write(
            lambda connection: connection.execute("DELETE FROM spend WHERE at_s < ?", (before_s,)).rowcount
        )

    def __repr__(self) -> str:
        return f"SpendLedger({self.path!r}, durability={self.durability!r})"
