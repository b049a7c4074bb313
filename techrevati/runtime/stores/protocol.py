"""What every store can do, and the little records it speaks in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

ABSENT = 0  # the version of a key that has no record


class Versioned(NamedTuple):
    """A record as it was loaded.

    Attributes:
        value: What was stored.
        version: Changes with every write, and never comes back, not even after a deletion; > 0.
    """

    value: bytes
    version: int


class Appended(NamedTuple):
    """What became of an append.

    Attributes:
        sequence: The entry's place in its log, from 1.
        is_new: False when the key was there before; nothing was written then.
        value: What stands in the log under that key.
    """

    sequence: int
    is_new: bool
    value: bytes


class Entry(NamedTuple):
    """One entry of a log."""

    sequence: int
    key: str
    value: bytes


class Change(Generic[T]):
    """What a decision over records amounts to.

    Args:
        result: What ``update`` returns.
        values: Records to write; None deletes one, a key left out stays as it is.
        appends: (log, key, value) to append once each, in the same transaction.
        expires: When records of *values* expire, in seconds since 1970; one left out keeps what it had.
    """

    __slots__ = ("appends", "expires", "result", "values")

    def __init__(
        self,
        result: T,
        values: Mapping[str, bytes | None] | None = None,
        appends: Sequence[tuple[str, str, bytes]] = (),
        expires: Mapping[str, float] | None = None,
    ) -> None:
        self.result: T = result
        self.values: Mapping[str, bytes | None] = values or {}
        self.appends: Sequence[tuple[str, str, bytes]] = appends
        self.expires: Mapping[str, float] = expires or {}


class Store(Protocol):
    """Records by key and logs by name.  Safe for threads; the shared ones for processes, too.

    A record is there or not; it may expire, and then is as absent as one that was deleted.  A log only
    grows at its end, or is trimmed at its beginning.  Every method raises ``StoreError`` when the place does
    not answer, having written nothing.
    """

    def load(self, key: str) -> Versioned | None:
        """The record of *key*; None when there is none."""
        ...

    def compare_and_swap(
        self, key: str, expected_version: int, value: bytes | None, *, expires_at: float | None = None
    ) -> int | None:
        """Write *value* if the record still has *expected_version* (0: if there is none).

        Args:
            value: None deletes the record.
            expires_at: Seconds since 1970 from which the record no longer is; None for never.

        Returns:
            The new version (0 after a deletion), or None when somebody else was first and nothing changed.
        """
        ...

    def update(
        self,
        keys: Sequence[str],
        decide: Callable[[Mapping[str, bytes | None]], Change[T]],
        *,
        durable: bool = True,
    ) -> T:
        """Let *decide* see the records of *keys* and write what it says: all of it or nothing.

        With *durable* false the write survives the death of the process, but a power failure only once a
        later durable write, or :meth:`flush`, has returned; a store may be faster then.

        *decide* must be pure: it may run more than once, while the store is locked, and must not use the
        store.  What it raises goes to the caller, and nothing is written.  A record it writes keeps the
        expiry it had, unless the change says another.
        """
        ...

    def keys(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Keys that start with *prefix* and sort behind *after*, in order (of code points)."""
        ...

    def append_once(self, log: str, key: str, value: bytes) -> Appended:
        """Append *value* unless *log* has *key* already; says what stands there."""
        ...

    def read(self, log: str, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        """The entries of *log* behind the sequence number *after*, oldest first, at most *limit*."""
        ...

    def trim(self, log: str, up_to: int) -> int:
        """Forget the entries of *log* up to the sequence number *up_to*, with their keys; how many."""
        ...

    def flush(self) -> None:
        """Return once everything acknowledged survives a power failure."""
        ...

    def close(self) -> None:
        """Let go of the place; may be called twice."""
        ...
