"""Records of one machine: a SQLite file in WAL mode that any number of processes use at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from techrevati.runtime.stores.memory import check_change
from techrevati.runtime.stores.protocol import ABSENT, Appended, Change, Entry, Versioned
from techrevati.runtime.stores.sqlite_file import SqliteFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Self, TypeVar

    T = TypeVar("T")

SCHEMA: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE store_record (key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL,"
        " expires_at REAL) WITHOUT ROWID",
        "CREATE INDEX store_record_expiry ON store_record (expires_at) WHERE expires_at IS NOT NULL",
        # A record that is made again must not get a version it had before: each creation takes a new block.
        "CREATE TABLE store_creation (n INTEGER NOT NULL)",
        "INSERT INTO store_creation VALUES (0)",
        "CREATE TABLE store_log (log TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE store_entry (log TEXT NOT NULL, sequence INTEGER NOT NULL, key TEXT NOT NULL,"
        " value BLOB NOT NULL, PRIMARY KEY (log, sequence)) WITHOUT ROWID",
        "CREATE UNIQUE INDEX store_entry_key ON store_entry (log, key)",
    ),
    # A log's last place is that of its last entry; only what was trimmed is remembered apart.  (An older
    # program that still has the file open would go on counting by itself: without its table it fails.)
    ("ALTER TABLE store_log RENAME TO store_trimmed",),
)

_BLOCK = 1 << 32  # versions of one life of a record
_SWEEP = 16
_NEXT = (
    "max(coalesce((SELECT max(sequence) FROM store_entry WHERE log = ?), 0),"
    " coalesce((SELECT last FROM store_trimmed WHERE log = ?), 0)) + 1"
)
_APPEND = f"INSERT OR IGNORE INTO store_entry (log, sequence, key, value) VALUES (?, {_NEXT}, ?, ?)"
_TRIMMED = (
    "INSERT INTO store_trimmed SELECT log, max(sequence) FROM store_entry WHERE log = ? GROUP BY log"
    " ON CONFLICT (log) DO UPDATE SET last = max(last, excluded.last)"
)
_EXPIRED = "SELECT key FROM store_record WHERE expires_at <= ? LIMIT ?"


class SqliteStore:
    """A :class:`Store` in a SQLite file.  Safe for threads, forks and processes.

    Args:
        path: The file, made when it is not there; ``":memory:"`` for this object alone.
        durability: ``"full"``: a write that returned survives a power failure.  ``"batched"``: it survives
            the death of the process, and a power failure after :meth:`flush`, and no write waits for
            the disk.
        timeout_s: How long a write waits for others before ``StoreUnavailableError``; > 0.
        clock: Seconds since 1970, for expiry.

    Raises:
        StoreUnavailableError: The file cannot be opened or written now.
        StoreCorruptError: It is damaged or something else.
        NewerSchemaError: A newer version of this package wrote it.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        durability: str = "full",
        timeout_s: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._file = SqliteFile(path, {"store": SCHEMA}, durability=durability, timeout_s=timeout_s)
        self._file.read(lambda _: None)

    def load(self, key: str) -> Versioned | None:
        """The record of *key*; None when there is none."""
        now_s = self._clock()
        row = self._file.read(lambda connection: row_of(connection, key, now_s))
        return None if row is None else Versioned(row[0], row[1])

    def compare_and_swap(
        self, key: str, expected_version: int, value: bytes | None, *, expires_at: float | None = None
    ) -> int | None:
        """Write *value* if the record still has *expected_version*; see :meth:`Store.compare_and_swap`."""

        def swap(connection: sqlite3.Connection) -> int | None:
            now_s = self._clock()
            row = row_of(connection, key, now_s)
            if (ABSENT if row is None else row[1]) != expected_version:
                return None
            return write_row(connection, key, value, row, expires_at, now_s)

        return self._file.write(swap)

    def update(
        self,
        keys: Sequence[str],
        decide: Callable[[Mapping[str, bytes | None]], Change[T]],
        *,
        durable: bool = True,
    ) -> T:
        """Let *decide* see the records of *keys* and write what it says; see :meth:`Store.update`."""
        return self._file.write(
            lambda connection: updated(connection, keys, decide, self._clock()).result, durable=durable
        )

    def keys(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Keys that start with *prefix* and sort behind *after*, in order."""
        now_s = self._clock()
        return self._file.read(lambda connection: keys_of(connection, prefix, after, limit, now_s))

    def append_once(self, log: str, key: str, value: bytes) -> Appended:
        """Append *value* unless *log* has *key* already; says what stands there."""
        return self._file.write(lambda connection: appended(connection, log, key, value))

    def read(self, log: str, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """The entries of *log* behind *after*, oldest first, at most *limit*."""
        sql = (
            "SELECT sequence, key, value FROM store_entry WHERE log = ? AND sequence > ?"
            " ORDER BY sequence LIMIT ?"
        )
        rows = self._file.read(lambda connection: connection.execute(sql, (log, after, limit)).fetchall())
        return [Entry(*row) for row in rows]

    def trim(self, log: str, up_to: int) -> int:
        """Forget the entries of *log* up to *up_to*, with their keys; how many."""

        def forget(connection: sqlite3.Connection) -> int:
            connection.execute(_TRIMMED, (log,))
            sql = "DELETE FROM store_entry WHERE log = ? AND sequence <= ?"
            return connection.execute(sql, (log, up_to)).rowcount

        return self._file.write(forget)

    def flush(self) -> None:
        """Return once everything acknowledged survives a power failure."""
        self._file.flush()

    def close(self) -> None:
        """Close the file; a later use opens it again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SqliteStore({self._file.path!r})"


# --- inside a transaction: also for files that keep more than records --------------------------------------


def row_of(connection: sqlite3.Connection, key: str, now_s: float) -> tuple[bytes, int, float | None] | None:
    """Value, version and expiry of a record that has not expired."""
    found: tuple[bytes, int, float | None] | None = connection.execute(
        "SELECT value, version, expires_at FROM store_record WHERE key = ?", (key,)
    ).fetchone()
    if found is None or (found[2] is not None and found[2] <= now_s):
        return None
    return found


def write_row(
    connection: sqlite3.Connection,
    key: str,
    value: bytes | None,
    row: tuple[bytes, int, float | None] | None,
    expires_at: float | None,
    now_s: float,
) -> int:
    """Write or delete one record whose present row is *row*; its new version."""
    if value is None:
        connection.execute("DELETE FROM store_record WHERE key = ?", (key,))
        return ABSENT
    if row is not None:
        version: int = row[1] + 1
        connection.execute(
            "UPDATE store_record SET value = ?, version = ?, expires_at = ? WHERE key = ?",
            (value, version, expires_at, key),
        )
        return version
    connection.execute("UPDATE store_creation SET n = n + 1")
    (block,) = connection.execute("SELECT n FROM store_creation").fetchone()
    version = int(block) * _BLOCK
    connection.execute(
        "INSERT OR REPLACE INTO store_record (key, value, version, expires_at) VALUES (?, ?, ?, ?)",
        (key, value, version, expires_at),
    )
    # Mostly there is none, and a look costs a third of a DELETE that finds nothing.
    gone = connection.execute(_EXPIRED, (now_s, _SWEEP)).fetchall()
    if gone:
        connection.executemany("DELETE FROM store_record WHERE key = ?", gone)
    return version


def updated(
    connection: sqlite3.Connection,
    keys: Sequence[str],
    decide: Callable[[Mapping[str, bytes | None]], Change[T]],
    now_s: float,
) -> Change[T]:
    """Load, decide and write; what was decided."""
    rows = {key: row_of(connection, key, now_s) for key in keys}
    change = decide({key: None if row is None else row[0] for key, row in rows.items()})
    check_change(change, keys)
    for key, value in change.values.items():
        row = rows[key]
        expires_at = change.expires.get(key, None if row is None else row[2])
        write_row(connection, key, value, row, expires_at, now_s)
    for log, key, value in change.appends:
        connection.execute(_APPEND, (log, log, log, key, value))  # a key that was there changes nothing
    return change


def keys_of(connection: sqlite3.Connection, prefix: str, after: str, limit: int, now_s: float) -> list[str]:
    """Keys that start with *prefix* and sort behind *after*."""
    sql = (
        "SELECT key FROM store_record WHERE key >= ? AND key > ? AND substr(key, 1, ?) = ?"
        " AND (expires_at IS NULL OR expires_at > ?) ORDER BY key LIMIT ?"
    )
    end = _behind(prefix)
    if end is not None:
        sql = sql.replace(" ORDER BY", " AND key < ? ORDER BY")
    bounds = () if end is None else (end,)
    found = connection.execute(sql, (prefix, after, len(prefix), prefix, now_s, *bounds, limit))
    return [key for (key,) in found]


def _behind(prefix: str) -> str | None:
    """The first text that sorts behind every text that starts with *prefix*; None when there is none."""
    last = prefix[-1:]
    if not last or ord(last) >= 0xD7FF:  # nothing to step, or the step would meet no valid character
        return None
    return prefix[:-1] + chr(ord(last) + 1)


def appended(connection: sqlite3.Connection, log: str, key: str, value: bytes) -> Appended:
    """Append unless the key is there."""
    there = connection.execute(
        "SELECT sequence, value FROM store_entry WHERE log = ? AND key = ?", (log, key)
    ).fetchone()
    if there is not None:
        return Appended(there[0], False, there[1])
    connection.execute(_APPEND, (log, log, log, key, value))
    (sequence,) = connection.execute(
        "SELECT sequence FROM store_entry WHERE log = ? AND key = ?", (log, key)
    ).fetchone()
    return Appended(sequence, True, value)
