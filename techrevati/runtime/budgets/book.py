"""Where tallies and leases are kept: in this process, or in the records of a ledger or store.

Both run the same decisions over one reservation that may concern several budgets: all of them or none.
"""

from __future__ import annotations

from collections import deque
from os.path import realpath
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from techrevati.runtime._core.tally import (
    LEASE_PREFIX,
    Lease,
    Refusal,
    Tally,
    lease_bytes,
    lease_from,
    refusal,
    reserve,
    settle,
    tally_bytes,
    tally_from,
)
from techrevati.runtime.stores.forks import PATIENCE_S, watch
from techrevati.runtime.stores.protocol import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from techrevati.runtime._core.tally import Amount, Amounts

    Crossings = tuple["Crossing", ...]

_KEPT_AFTER_WINDOW_S = 90 * 86_400.0
_KEPT_ACCOUNTS = 10_000


class Charge(NamedTuple):
    """One budget's share in a reservation: its tally, its limits, when its window ends, and both names."""

    tally: str
    limits: Amounts
    end_s: float
    budget: str = ""
    window: str = ""


class Crossing(NamedTuple):
    """A threshold that a settlement reached: of which charge and unit, and what is used now."""

    charge: int
    unit: str
    percent: int
    used: Amount


class Refused(NamedTuple):
    """Which charge did not fit, and why."""

    charge: int
    why: Refusal


def crossings(charge: int, crossed: Sequence[tuple[str, int]], tally: Tally) -> Crossings:
    """The thresholds that one charge's tally has reached."""
    return tuple([Crossing(charge, unit, percent, tally.settled[unit]) for unit, percent in crossed])


def _refused(charges: Sequence[Charge], tallies: Sequence[Tally], asked: Amounts) -> Refused | None:
    """The first charge that is spent, else the first that is busy; None when *asked* fits in all."""
    found = None
    for number, charge in enumerate(charges):
        why = refusal(tallies[number], charge.limits, asked)
        if why is not None and (found is None or why.reason == "spent"):
            found = Refused(number, why)
            if why.reason == "spent":
                break
    return found


class Book(Protocol):
    """Keeps tallies and leases."""

    def reserve(self, charges: Sequence[Charge], lease: Lease, made_up: bool) -> Refused | None:
        """Reserve in every charge, or in none and say why; a key that was *made_up* here is new."""
        ...

    def settle(
        self, charges: Sequence[Charge], lease: Lease, actual: Amounts, booking: Mapping[str, object] | None
    ) -> Crossings:
        """End a lease with what it really used, and book that; the thresholds that were crossed."""
        ...

    def renew(self, lease: Lease, expires_at: float) -> None:
        """Let a lease live longer."""
        ...

    def tally(self, key: str) -> Tally:
        """The sums of one tally."""
        ...

    def leases(self) -> list[Lease]:
        """Every lease that was not ended."""
        ...


class MemoryBook:
    """Tallies of this process, behind one lock.  A forked child goes on with a copy."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tallies: dict[str, Tally] = {}
        self._leases: dict[tuple[str, str], Lease] = {}
        self._gone: deque[str] = deque()
        self.fork_rank: int = 1
        watch(self)

    def reserve(self, charges: Sequence[Charge], lease: Lease, made_up: bool) -> Refused | None:
        """Reserve in every charge, or in none and say why; a key that was *made_up* here is new."""
        leases, asked = self._leases, lease.asked
        name = (lease.tallies[0], lease.key)
        with self._lock:
            if self._gone:
                self._forget_gone_locked()
            if leases.setdefault(name, lease) is not lease:
                raise ValueError(f"key must be new, got {lease.key!r}, which has an open reservation")
            limits = charges[0].limits
            if len(asked) == len(charges) == len(limits) == 1:  # written out, as most have no more
                ((unit, amount),) = asked.items()
                tally = self._tallies.get(name[0]) or self._opened_locked(name[0])
                more = tally.reserved.get(unit, 0) + amount
                if unit in limits and tally.settled.get(unit, 0) + more <= limits[unit]:
                    if amount:
                        tally.reserved[unit] = more
                    return None
            found = [self._tallies.get(one.tally) or self._opened_locked(one.tally) for one in charges]
            refused = _refused(charges, found, asked)
            if refused is not None:
                del leases[name]
                return refused
            for tally in found:
                reserve(tally, asked)
        return None

    def _opened_locked(self, key: str) -> Tally:
        if len(self._tallies) >= _KEPT_ACCOUNTS:
            self._forget_locked()
        made = self._tallies[key] = Tally()
        return made

    def settle(
        self, charges: Sequence[Charge], lease: Lease, actual: Amounts, booking: Mapping[str, object] | None
    ) -> Crossings:
        """End a lease with what it really used."""
        found: Crossings = ()
        asked = lease.asked
        with self._lock:
            if self._leases.pop((lease.tallies[0], lease.key), None) is None:
                return found
            if len(charges) == 1:
                charge = charges[0]
                tally = self._tallies.get(charge.tally) or self._opened_locked(charge.tally)
                crossed = settle(tally, asked, actual, charge.limits)
                return crossings(0, crossed, tally) if crossed else found
            for number, charge in enumerate(charges):
                tally = self._tallies.get(charge.tally) or self._opened_locked(charge.tally)
                crossed = settle(tally, asked, actual, charge.limits)
                if crossed:
                    found += crossings(number, crossed, tally)
        return found

    def renew(self, lease: Lease, expires_at: float) -> None:
        """Let a lease live longer."""
        with self._lock:
            name = (lease.tallies[0], lease.key)
            there = self._leases.get(name)
            if there is not None:
                self._leases[name] = there._replace(expires_at=expires_at)

    def tally(self, key: str) -> Tally:
        """The sums of one tally."""
        with self._lock:
            there = self._tallies.get(key)
            return Tally() if there is None else there.copy()

    def leases(self) -> list[Lease]:
        """Every lease that was not ended."""
        with self._lock:
            return list(self._leases.values())

    def forget(self, prefix: str) -> None:
        """Drop the tallies of a budget that nobody has any more, with the next reservation.

        It is called by the garbage collector, perhaps while this thread holds the lock.
        """
        self._gone.append(prefix)

    def _forget_gone_locked(self) -> None:
        while self._gone:
            prefix = self._gone.popleft()
            for key in [key for key in self._tallies if key.startswith(prefix)]:
                del self._tallies[key]
            for name in [name for name in self._leases if name[0].startswith(prefix)]:
                del self._leases[name]

    def _forget_locked(self) -> None:
        """Make room: the oldest tallies of windows that have a name, and nothing reserved."""
        for key in list(self._tallies)[: _KEPT_ACCOUNTS // 2]:
            if not self._tallies[key].reserved and not key.endswith(":total"):
                del self._tallies[key]

    def before_fork(self) -> bool:
        """Let nobody be in the middle of a change."""
        return self._lock.acquire(timeout=PATIENCE_S)

    def after_fork(self, held: bool, child: bool) -> None:
        """Go on, in either process."""
        if held:
            self._lock.release()
        elif child:
            self._lock = Lock()


def same_books(one: object, other: object) -> bool:
    """Whether two ledgers are one: the same object, or two handles on the same file."""
    if one is other:
        return True
    paths = [getattr(ledger, "path", None) for ledger in (one, other)]
    files = [realpath(path) for path in paths if isinstance(path, str) and path != ":memory:"]
    return len(files) == 2 and files[0] == files[1]


class Records(Protocol):
    """What a budget needs of a ledger: its records, with spend in the same transaction."""

    def transact(
        self,
        keys: Sequence[str],
        decide: Callable[[Mapping[str, bytes | None]], Change[object]],
        bookings: Sequence[Mapping[str, object]] = (),
        *,
        corrects: bool = False,
    ) -> object:
        """Load, decide, write and book: all of it or nothing."""
        ...

    def estimate_of(self, key: str, asked: Amounts) -> Amounts | None:
        """What the record of *key* counts, if it is an estimate."""
        ...

    def load(self, key: str) -> bytes | None:
        """One record, without a write."""
        ...

    def leases(self) -> list[Lease]:
        """Every lease that was not ended."""
        ...

    def has(self, key: str) -> bool:
        """Whether a call was booked under this key."""
        ...


class _AlreadyResolvedError(Exception):
    """Somebody resolved the lease while its holder was silent."""


class RecordBook:
    """Tallies in the records of a ledger: one machine's, for any number of processes."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def reserve(self, charges: Sequence[Charge], lease: Lease, made_up: bool) -> Refused | None:
        """Reserve in every charge, or in none and say why; a key that was *made_up* here is new."""
        name = LEASE_PREFIX + lease.key

        def decide(records: Mapping[str, bytes | None]) -> Change[object]:
            if records[name] is not None:
                raise ValueError(f"key must be new, got {lease.key!r}, which has an open reservation")
            tallies = [tally_from(records[charge.tally]) for charge in charges]
            refused = _refused(charges, tallies, lease.asked)
            if refused is not None:
                return Change(refused)
            values: dict[str, bytes | None] = {name: lease_bytes(lease)}
            expires = {}
            for charge, tally in zip(charges, tallies, strict=True):
                reserve(tally, lease.asked)
                tally.limits = charge.limits
                values[charge.tally] = tally_bytes(tally)
                if charge.end_s != float("inf"):
                    expires[charge.tally] = charge.end_s + _KEPT_AFTER_WINDOW_S
            return Change(None, values, expires=expires)

        if not made_up and self._has(lease.key):
            raise ValueError(f"key must be new, got {lease.key!r}, which the ledger has a record of")
        refused = self._records.transact([name, *(charge.tally for charge in charges)], decide)
        assert refused is None or isinstance(refused, Refused)
        return refused

    def settle(
        self, charges: Sequence[Charge], lease: Lease, actual: Amounts, booking: Mapping[str, object] | None
    ) -> Crossings:
        """End a lease with what it really used, and book that in the same transaction."""
        name = LEASE_PREFIX + lease.key
        open_lease = True

        def decide(records: Mapping[str, bytes | None]) -> Change[object]:
            if open_lease and records[name] is None:
                raise _AlreadyResolvedError
            asked = lease.asked if open_lease else {}
            values: dict[str, bytes | None] = {name: None}
            found: Crossings = ()
            for number, charge in enumerate(charges):
                tally = tally_from(records[charge.tally])
                found += crossings(number, settle(tally, asked, actual, charge.limits), tally)
                values[charge.tally] = tally_bytes(tally)
            return Change(found, values)

        keys = [name, *(charge.tally for charge in charges)]
        bookings = () if booking is None else (booking,)
        try:
            return self._records.transact(keys, decide, bookings)  # type: ignore[return-value]
        except _AlreadyResolvedError:
            if booking is None:
                return ()  # resolved as unsent: and it was
            open_lease = False
            if not self._has(lease.key):  # resolved as unsent, but it was sent: it is counted after all
                return self._records.transact(keys, decide, bookings)  # type: ignore[return-value]
        # Resolved as used: it is on the books, unless that was a guess and now it is known.
        before = self._records.estimate_of(lease.key, lease.asked)
        if before is None or booking.get("certainty") != "measured":
            return ()
        actual = {unit: n - before.get(unit, 0) for unit, n in actual.items() if unit != "wall_seconds"}
        return self._records.transact(keys, decide, bookings, corrects=True)  # type: ignore[return-value]

    def _has(self, key: str) -> bool:
        return self._records.has(key)

    def renew(self, lease: Lease, expires_at: float) -> None:
        """Let a lease live longer."""
        name = LEASE_PREFIX + lease.key

        def decide(records: Mapping[str, bytes | None]) -> Change[object]:
            there = records[name]
            if there is None:
                return Change(None)
            return Change(None, {name: lease_bytes(lease_from(there)._replace(expires_at=expires_at))})

        self._records.transact([name], decide)

    def tally(self, key: str) -> Tally:
        """The sums of one tally."""
        return tally_from(self._records.load(key))

    def leases(self) -> list[Lease]:
        """Every lease that was not ended."""
        return self._records.leases()
