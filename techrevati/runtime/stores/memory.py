"""Records of one process: what the shared stores do, in dictionaries behind a lock."""

from __future__ import annotations

import time
from heapq import heappop, heappush
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime.stores.forks import PATIENCE_S, watch
from techrevati.runtime.stores.protocol import ABSENT, Appended, Change, Entry, Versioned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    T = TypeVar("T")

_SWEEP = 16  # expired records forgotten at each write


class _Record(NamedTuple):
    value: bytes
    version: int
    expires_at: float | None


class _Log:
    __slots__ = ("by_key", "entries", "last")

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.by_key: dict[str, int] = {}
        self.last = 0


class MemoryStore:
    """A :class:`Store` of this process.  Thread-safe; a forked child goes on with a copy of its own.

    It holds what it is given until that expires, is deleted or trimmed.

    Args:
        clock: Seconds since 1970, for expiry.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = Lock()
        self._records: dict[str, _Record] = {}
        self._logs: dict[str, _Log] = {}
        self._versions = ABSENT
        self._expiries: list[tuple[float, str, int]] = []
        self.fork_rank: int = 1
        watch(self)

    def load(self, key: str) -> Versioned | None:
        """The record of *key*; None when there is none."""
        record = self._live(key, self._clock())
        return None if record is None else Versioned(record.value, record.version)

    def compare_and_swap(
        self, key: str, expected_version: int, value: bytes | None, *, expires_at: float | None = None
    ) -> int | None:
        """Write *value* if the record still has *expected_version*; see :meth:`Store.compare_and_swap`."""
        now_s = self._clock()
        with self._lock:
            record = self._live(key, now_s)
            if (ABSENT if record is None else record.version) != expected_version:
                return None
            return self._write_locked(key, value, expires_at, now_s)

    def update(
        self,
        keys: Sequence[str],
        decide: Callable[[Mapping[str, bytes | None]], Change[T]],
        *,
        durable: bool = True,
    ) -> T:
        """Let *decide* see the records of *keys* and write what it says; see :meth:`Store.update`."""
        now_s = self._clock()
        with self._lock:
            records = {key: self._live(key, now_s) for key in keys}
            change = decide({key: record and record.value for key, record in records.items()})
            check_change(change, keys)
            for key, value in change.values.items():
                record = records[key]
                self._write_locked(key, value, change.expires.get(key, record and record.expires_at), now_s)
            for log, key, value in change.appends:
                self._append_locked(log, key, value)
        return change.result

    def keys(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Keys that start with *prefix* and sort behind *after*, in order."""
        now_s = self._clock()
        with self._lock:
            names = list(self._records)
        found = sorted(name for name in names if name.startswith(prefix) and name > after)
        return [name for name in found if self._live(name, now_s)][:limit]

    def append_once(self, log: str, key: str, value: bytes) -> Appended:
        """Append *value* unless *log* has *key* already; says what stands there."""
        with self._lock:
            return self._append_locked(log, key, bytes(value))

    def read(self, log: str, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """The entries of *log* behind *after*, oldest first, at most *limit*."""
        with self._lock:
            found = self._logs.get(log)
            if found is None or not found.entries:
                return []
            first = max(after + 1, next(iter(found.entries)))
            return [found.entries[n] for n in range(first, min(found.last + 1, first + limit))]

    def trim(self, log: str, up_to: int) -> int:
        """Forget the entries of *log* up to *up_to*, with their keys; how many."""
        with self._lock:
            found = self._logs.get(log)
            gone = [] if found is None else [n for n in found.entries if n <= up_to]
            for n in gone:
                assert found is not None
                del found.by_key[found.entries.pop(n).key]
            return len(gone)

    def flush(self) -> None:
        """Nothing to do: memory survives nothing."""

    def close(self) -> None:
        """Nothing to do."""

    def before_fork(self) -> bool:
        """Let nobody be in the middle of a change."""
        return self._lock.acquire(timeout=PATIENCE_S)

    def after_fork(self, held: bool, child: bool) -> None:
        """Go on, in either process."""
        if held:
            self._lock.release()
        elif child:
            self._lock = Lock()

    def _live(self, key: str, now_s: float) -> _Record | None:
        record = self._records.get(key)
        if record is None or (record.expires_at is not None and record.expires_at <= now_s):
            return None
        return record

    def _write_locked(self, key: str, value: bytes | None, expires_at: float | None, now_s: float) -> int:
        for _ in range(_SWEEP):
            if not self._expiries or self._expiries[0][0] > now_s:
                break
            _, name, version = heappop(self._expiries)
            record = self._records.get(name)
            if record is not None and record.version == version:
                del self._records[name]
        if value is None:
            self._records.pop(key, None)
            return ABSENT
        self._versions += 1
        self._records[key] = _Record(bytes(value), self._versions, expires_at)
        if expires_at is not None:
            heappush(self._expiries, (expires_at, key, self._versions))
        return self._versions

    def _append_locked(self, log: str, key: str, value: bytes) -> Appended:
        found = self._logs.setdefault(log, _Log())
        there = found.by_key.get(key)
        if there is not None:
            return Appended(there, False, found.entries[there].value)
        found.last += 1
        found.entries[found.last] = Entry(found.last, key, value)
        found.by_key[key] = found.last
        return Appended(found.last, True, value)


def check_change(change: Change[T], keys: Sequence[str]) -> None:
    """Only what was asked for may be written: other stores watch exactly these keys."""
    for key in change.values:
        if key not in keys:
            raise ValueError(f"decide may write the keys it was given, {list(keys)}; got {key!r}")
