"""One SQLite file, used by threads, forked children and many processes at once.

A write is a whole transaction that begins by taking the write lock.  Who finds it taken tries again after a
short random wait that gets shorter the longer it has waited: the oldest waiter asks most often, so nobody
starves as with SQLite's own ever longer pauses.

Nobody holds the lock while the disk syncs: a transaction is committed to the log, the lock is given up, and
then the log is synced before the write returns, by each writer at the same time, so that the kernel makes one
sync of many.  A sync covers everything in the log before it, whoever wrote it.

A file that somebody moves or deletes while it is open would take every further write with it.  So each use
looks whether the file is still the one that was opened, and otherwise opens what is there now, or a new one.

Before a fork the connection is closed (SQLite's locks do not survive one) and parent and child open their
own when they next need it.  Errors of SQLite become errors that say what is wrong.
"""

from __future__ import annotations

import os
import time
from threading import TIMEOUT_MAX, Lock
from typing import TYPE_CHECKING

from techrevati.runtime._core.log import announce, logger
from techrevati.runtime.stores.errors import (
    NewerSchemaError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from techrevati.runtime.stores.forks import PATIENCE_S, watch
from techrevati.runtime.stores.turns import Turns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    T = TypeVar("T")

announce("stores")

MEMORY = ":memory:"
OLDER = "an older"
SYNCHRONOUS = {"full": "FULL", "batched": "NORMAL"}

_LONGEST_WAIT_S = 0.002
_SHORTEST_WAIT_S = 0.0002
_CHECKPOINT_PAGES = 2000
# Elsewhere SQLite syncs within the transaction.
_SYNCS_BEHIND = os.name == "posix"
_sync_data: Callable[[int], object] = getattr(os, "fdatasync", os.fsync)

# Primary result codes of SQLite (https://www.sqlite.org/rescode.html).
_PERM, _BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT = 3, 5, 6, 8, 10, 11
_FULL, _CANTOPEN, _PROTOCOL, _NOTADB = 13, 14, 15, 26
_WAITING = (_BUSY, _LOCKED, _PROTOCOL)
_UNAVAILABLE = {
    _PERM: "cannot open",
    _PROTOCOL: "locked",
    _BUSY: "locked",
    _LOCKED: "locked",
    _READONLY: "read-only",
    _FULL: "full",
    _CANTOPEN: "cannot open",
    _IOERR: "input/output",
}


class SqliteFile:
    """A connection that opens itself when needed.  Thread-safe, fork-safe.

    Args:
        path: A file, or ``":memory:"`` for a database of this object alone.
        schema: Part name -> migrations, each a sequence of statements; the version of a part is how many of
            them were applied.  Parts of one file are independent of each other.
        durability: ``"full"``: what was acknowledged survives a power failure.  ``"batched"``: it survives
            the death of the process, and a power failure after :meth:`flush`.
        timeout_s: How long a write waits for others before it is refused as locked.
        read_only: Never write; the file must exist.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: Mapping[str, Sequence[Sequence[str]]],
        *,
        durability: str = "full",
        timeout_s: float = 10.0,
        read_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        if durability not in SYNCHRONOUS:
            raise ValueError(f"durability must be 'full' or 'batched', got {durability!r}")
        self.path: str = os.fspath(path)
        self.place: str = self.path
        self.is_memory: bool = self.path == MEMORY
        self._schema = schema
        self._synchronous = SYNCHRONOUS[durability]
        self._synced = self._synchronous == "FULL"  # what the open connection does at a commit
        self._log = ""  # the log, if it is synced behind the transaction
        self._turns: Turns | None = None
        self._written = 0  # transactions that changed something
        self._safe = 0  # so many of them were synced
        self._sync_lock = Lock()
        self._timeout_s = timeout_s
        self._read_only = read_only
        self._clock = clock
        self._sleep = sleep
        if jitter is None:
            import random

            jitter = random.random
        self._jitter = jitter
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._closed = False
        self._whole_path = os.path.abspath(self.path)
        self._identity: tuple[int, int] | None = None  # of the file that is open
        self.fork_rank: int = 1
        watch(self)
        if not self.is_memory and not read_only:
            self.path = os.path.abspath(self.path)

    # --- transactions ----------------------------------------

    def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = True) -> T:
        """Run *work* in one write transaction; committed when it returns, undone when it raises.

        With *durable* false the commit is not synced; the next durable one syncs the whole log, so that a
        power failure only ever takes the newest writes.

        A disk that fails to sync is an error although the transaction stands: the next use of the same key
        finds it.
        """
        durable = durable and self._synchronous == "FULL"
        started_s = self._clock()
        lock = self._lock
        # Whoever has it may be waiting for others: nobody waits longer than for others.
        if not lock.acquire(blocking=False) and not lock.acquire(timeout=min(self._timeout_s, TIMEOUT_MAX)):
            raise StoreLockedError(self.place, "locked (other threads of this process write)", "locked")
        try:
            connection = self._opened()
            try:
                synced = durable and not self._log
                if synced is not self._synced and not self.is_memory:
                    # Has no effect inside a transaction.
                    connection.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
                    self._synced = synced
                before = connection.total_changes
                turns = self._turns
                left_s = self._timeout_s - (self._clock() - started_s)
                try:
                    if turns is not None and not turns.take(left_s):
                        raise StoreLockedError(self.place, "locked (another process writes)", "locked")
                    self._begin(connection, started_s)
                    try:
                        result = work(connection)
                        self._commit(connection)
                    except BaseException:
                        _undo(connection)
                        raise
                finally:
                    if turns is not None:
                        turns.give()
                log, written = self._log, self._written
                if connection.total_changes != before:
                    self._written = written = written + 1
                else:
                    durable = False
            except self._errors() as error:
                raise self._explained(error) from error
        finally:
            lock.release()
        if durable and log:
            self._sync(log, written)
        return result

    def _sync(self, log: str, written: int) -> None:
        """Return once the first *written* transactions survive a power failure."""
        with self._sync_lock:
            if self._safe >= written:
                return  # another thread's sync began after this was written
            written = self._written
            try:
                descriptor = os.open(log, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            except FileNotFoundError:
                pass  # whoever closed the file last has synced all of it into the database
            except OSError as error:
                raise self._unsynced(error) from error
            else:
                try:
                    _sync_data(descriptor)
                except OSError as error:
                    raise self._unsynced(error) from error
                finally:
                    os.close(descriptor)
            self._safe = written

    def _unsynced(self, error: OSError) -> StoreUnavailableError:
        cause = "input/output"
        return StoreUnavailableError(self.place, f"{cause} (it cannot be synced: {error.strerror})", cause)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run *work*, which only reads, on one consistent state of the file."""
        with self._lock:
            connection = self._opened()
            try:
                connection.execute("BEGIN")
                try:
                    return work(connection)
                finally:
                    _undo(connection)
            except self._errors() as error:
                raise self._explained(error) from error

    def flush(self) -> None:
        """Bring everything committed to the disk itself."""
        if self.is_memory or self._read_only:
            return
        with self._lock:
            connection = self._opened()
            log, written = self._log, self._written + 1
            if log:
                self._written = written
        if log:
            self._sync(log, written)
            return
        with self._lock:
            connection = self._opened()
            try:
                # Under synchronous=FULL a commit syncs the whole log, earlier commits included.
                connection.execute("PRAGMA synchronous=FULL")
                try:
                    self._begin(connection)
                    # Something must change for a commit to write, and so to sync.
                    connection.execute("INSERT OR REPLACE INTO techrevati_schema VALUES ('', 0)")
                    self._commit(connection)
                finally:
                    _undo(connection)
                    connection.execute(f"PRAGMA synchronous={self._synchronous}")
                    self._synced = self._synchronous == "FULL"
            except self._errors() as error:
                raise self._explained(error) from error

    def close(self) -> None:
        """Close the connection; a later use opens a new one, except of a memory database."""
        with self._lock:
            self._drop_locked()

    def __del__(self) -> None:
        # Nothing is open that a transaction did not end: a file nobody closed is no reason for a warning.
        connection: sqlite3.Connection | None = getattr(self, "_connection", None)
        if connection is not None and self._pid == os.getpid():
            self._close_turns()
            connection.close()

    # --- the connection ----------------------------------------

    def _opened(self) -> sqlite3.Connection:
        if self._pid != os.getpid():  # a fork that ran no hook of Python
            _abandoned.append(self._connection)
            self._connection, self._pid = None, os.getpid()
            self._sync_lock = Lock()
            self._close_turns()
        if self._connection is not None and not self.is_memory:
            there = _identity(self._whole_path)
            if there != self._identity:
                self._let_go(self._connection, is_gone=there is None)
        if self._connection is None:
            if self._closed and self.is_memory:
                raise StoreUnavailableError(
                    self.place, "it was closed, and its memory with it", "cannot open"
                )
            try:
                self._connection = self._open()
            except self._errors() as error:
                raise self._explained(error) from error
            self._identity = _identity(self._whole_path)
        return self._connection

    def _let_go(self, connection: sqlite3.Connection, *, is_gone: bool) -> None:
        """Leave a file that was moved or deleted."""
        logger("stores").warning("%s was moved or deleted while it was open: it is opened anew", self.place)
        if is_gone and not self._read_only:
            try:  # what is in the log belongs to the file that was moved
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            except self._errors():
                pass
        self._drop_locked()

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        if self._read_only:
            return self._open_to_read(sqlite3.connect)
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            if not self.is_memory:
                mode = self._patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone())
                connection.execute(f"PRAGMA synchronous={self._synchronous}")
                self._synced = self._synchronous == "FULL"
                if _SYNCS_BEHIND and mode == ("wal",):
                    self._log = f"{self.path}-wal"
                    self._turns = Turns(self._log)
                connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            connection.execute("PRAGMA temp_store=MEMORY")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_to_read(self, connect: Callable[..., sqlite3.Connection]) -> sqlite3.Connection:
        """On a read-only disk even the index of the log may be missing: then take the file as it is."""
        from pathlib import Path
        from urllib.parse import quote

        if not Path(self.path).is_file():
            raise StoreUnavailableError(self.place, "there is no such file", "cannot open")
        name = f"file:{quote(os.path.abspath(self.path))}?mode=ro"
        for suffix in ("", "&immutable=1"):
            connection = connect(
                name + suffix, uri=True, timeout=2, isolation_level=None, check_same_thread=False
            )
            try:
                versions = self._versions(connection)
                # What a file never had says more about it than what is old in it.
                for part, migrations in sorted(self._schema.items(), key=lambda each: each[0] in versions):
                    found = versions.get(part, 0)
                    if found > len(migrations):
                        raise NewerSchemaError(self.place, part, found, len(migrations))
                    if found < len(migrations):
                        wrong = f"has no {part}" if not found else f"has {OLDER} {part}, of version {found}"
                        raise StoreError(
                            self.place,
                            f"it {wrong}; this needs version {len(migrations)}: open it for writing first",
                        )
                return connection
            except Exception as error:
                connection.close()
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                if suffix or code not in (_READONLY, _CANTOPEN):
                    raise
        raise AssertionError("unreachable")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        def missing() -> list[str]:
            versions = self._patiently(lambda: self._versions(connection))
            for part, migrations in self._schema.items():
                if versions.get(part, 0) > len(migrations):
                    raise NewerSchemaError(self.place, part, versions[part], len(migrations))
            return [part for part in self._schema if versions.get(part, 0) < len(self._schema[part])]

        if not missing():
            return
        self._begin(connection)
        try:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS techrevati_schema"
                " (part TEXT PRIMARY KEY, version INTEGER NOT NULL)"
            )
            versions = self._versions(connection)
            for part in missing():
                for statements in self._schema[part][versions.get(part, 0) :]:
                    for statement in statements:
                        connection.execute(statement)
                connection.execute(
                    "INSERT OR REPLACE INTO techrevati_schema VALUES (?, ?)", (part, len(self._schema[part]))
                )
            self._commit(connection)
        except BaseException:
            _undo(connection)
            raise

    def _versions(self, connection: sqlite3.Connection) -> dict[str, int]:
        named = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'techrevati_schema'"
        if connection.execute(named).fetchone() is None:
            return {}
        return dict(connection.execute("SELECT part, version FROM techrevati_schema"))

    # --- waiting for others ----------------------------------------

    def _begin(self, connection: sqlite3.Connection, started_s: float | None = None) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except self._errors() as error:
            if not _waits(error):
                raise
            self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"), started_s)

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except self._errors() as error:
            if not _waits(error):
                raise
            self._patiently(lambda: connection.execute("COMMIT"))

    def _patiently(self, step: Callable[[], T], started_s: float | None = None) -> T:
        import sqlite3

        while True:
            try:
                return step()
            except sqlite3.OperationalError as error:
                if not _waits(error):
                    raise
                now_s = self._clock()
                if started_s is None:
                    started_s = now_s
                waited_s = now_s - started_s
                if waited_s >= self._timeout_s:
                    raise
            longest_s = max(_SHORTEST_WAIT_S, _LONGEST_WAIT_S - waited_s / 10)
            self._sleep(longest_s * (0.5 + self._jitter() / 2))

    # --- errors ----------------------------------------

    def _errors(self) -> tuple[type[Exception], ...]:
        import sqlite3

        return (sqlite3.DatabaseError,)

    def _explained(self, error: Exception) -> Exception:
        """What an error of SQLite says about the file; an error that says something else as it is."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (_CORRUPT, _NOTADB):
            self._drop_locked()
            return StoreCorruptError(self.place, f"the file is damaged or no database ({error})")
        cause = _UNAVAILABLE.get(code)
        if cause is None:
            return StoreError(self.place, f"{type(error).__name__}: {error}")
        if code not in _WAITING and not self.is_memory:
            self._drop_locked()  # the next use looks again with a fresh connection
        kind = StoreLockedError if cause == "locked" else StoreUnavailableError
        return kind(self.place, f"{cause} ({error})", cause)

    def _drop_locked(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._closed = True
            self._close_turns()
            connection.close()

    def _close_turns(self) -> None:
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.close()

    # --- forks ----------------------------------------

    def before_fork(self) -> bool:
        """Let nobody be in a transaction, and leave no connection to inherit."""
        held = self._lock.acquire(timeout=PATIENCE_S)
        if held and not self.is_memory and self._connection is not None:
            connection, self._connection = self._connection, None
            self._close_turns()
            connection.close()
        return held

    def after_fork(self, held: bool, child: bool) -> None:
        """Go on, in either process."""
        if held:
            self._lock.release()
        elif child:  # somebody was in a transaction all the time: leave it to the parent
            self._lock = Lock()
        if child and self._connection is not None and not self.is_memory:
            _abandoned.append(self._connection)
            self._connection = None
            self._close_turns()
        if child:
            self._sync_lock = Lock()
            self._pid = os.getpid()


def _identity(path: str) -> tuple[int, int] | None:
    """Which file is there; None when none is."""
    try:
        there = os.stat(path)
    except OSError:
        return None
    return there.st_dev, there.st_ino


def _waits(error: Exception) -> bool:
    """Whether it is only others that write or read."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _WAITING


def _undo(connection: sqlite3.Connection) -> None:
    import sqlite3

    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # a full disk or a damaged file: SQLite has rolled back by itself


_abandoned: list[sqlite3.Connection | None] = []  # closing them would touch what belongs to the parent
