"""Where tallies and leases are kept: in this process, or in the records of a ledger or store.

Both run the same decisions over one reservation that may concern several budgets: all of them or none.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from techrevati.runtime._core.tally import (
    EMPTY,
    LEASE_PREFIX,
    Lease,
    Refusal,
    Tally,
    crossed,
    lease_bytes,
    lease_from,
    refusal,
    reserved,
    settled,
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
    """One budget's share in a reservation: its tally, its limits, and when its window ends."""

    tally: str
    limits: Amounts
    end_s: float


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


class Book(Protocol):
    """Keeps tallies and leases."""

    def reserve(self, charges: Sequence[Charge], lease: Lease) -> Refused | None:
        """Reserve in every charge, or in none and say why."""
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

    def reserve(self, charges: Sequence[Charge], lease: Lease) -> Refused | None:
        """Reserve in every charge, or in none and say why."""
        tallies, asked = self._tallies, lease.asked
        with self._lock:
            for number, charge in enumerate(charges):
                why = refusal(tallies.get(charge.tally, EMPTY), charge.limits, asked)
                if why is not None:
                    return Refused(number, why)
            while self._gone:
                self._forget_budget_locked(self._gone.popleft())
            name = (lease.tallies[0], lease.key)
            if name in self._leases:
                raise ValueError(f"key must be new, got {lease.key!r}, which has an open reservation")
            for charge in charges:
                key = charge.tally
                if key not in tallies and len(tallies) >= _KEPT_ACCOUNTS:
                    self._forget_locked()
                tallies[key] = reserved(tallies.get(key, EMPTY), asked)
            self._leases[name] = lease
        return None

    def settle(
        self, charges: Sequence[Charge], lease: Lease, actual: Amounts, booking: Mapping[str, object] | None
    ) -> Crossings:
        """End a lease with what it really used."""
        found: list[Crossing] = []
        tallies = self._tallies
        with self._lock:
            if self._leases.pop((lease.tallies[0], lease.key), None) is None:
                return ()
            for number, charge in enumerate(charges):
                tally = settled(tallies.get(charge.tally, EMPTY), lease.asked, actual)
                if actual:
                    tally, new = crossed(tally, charge.limits)
                    found += [Crossing(number, unit, percent, tally.settled[unit]) for unit, percent in new]
                tallies[charge.tally] = tally
        return tuple(found)

    def renew(self, lease: Lease, expires_at: float) -> None:
        """Let a lease live longer."""
        with self._lock:
            name = (lease.tallies[0], lease.key)
            there = self._leases.get(name)
            if there is not None:
                self._leases[name] = there._replace(expires_at=expires_at)

    def tally(self, key: str) -> Tally:
        """The sums of one tally."""
        return self._tallies.get(key, EMPTY)

    def leases(self) -> list[Lease]:
        """Every lease that was not ended."""
        with self._lock:
            return list(self._leases.values())

    def forget(self, prefix: str) -> None:
        """Drop the tallies of a budget that nobody has any more, with the next reservation.

        It is called by the garbage collector, perhaps while this thread holds the lock.
        """
        self._gone.append(prefix)

    def _forget_budget_locked(self, prefix: str) -> None:
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


class Records(Protocol):
    """What a budget needs of a ledger: its records, with spend in the same transaction."""

    def transact(
        self,
        keys: Sequence[str],
        decide: Callable[[Mapping[str, bytes | None]], Change[object]],
        bookings: Sequence[Mapping[str, object]] = (),
    ) -> object:
        """Load, decide, write and book: all of it or nothing."""
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

    def reserve(self, charges: Sequence[Charge], lease: Lease) -> Refused | None:
        """Reserve in every charge, or in none and say why."""
        name = LEASE_PREFIX + lease.key

        def decide(records: Mapping[str, bytes | None]) -> Change[object]:
            if records[name] is not None:
                raise ValueError(f"key must be new, got {lease.key!r}, which has an open reservation")
            tallies = [tally_from(records[charge.tally]) for charge in charges]
            for number, (charge, tally) in enumerate(zip(charges, tallies, strict=True)):
                why = refusal(tally, charge.limits, lease.asked)
                if why is not None:
                    return Change(Refused(number, why))
            values: dict[str, bytes | None] = {name: lease_bytes(lease)}
            expires = {}
            for charge, tally in zip(charges, tallies, strict=True):
                values[charge.tally] = tally_bytes(reserved(tally, lease.asked))
                if charge.end_s != float("inf"):
                    expires[charge.tally] = charge.end_s + _KEPT_AFTER_WINDOW_S
            return Change(None, values, expires=expires)

        if self._has(lease.key):
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
            found: list[Crossing] = []
            for number, charge in enumerate(charges):
                tally = settled(tally_from(records[charge.tally]), asked, actual)
                if actual:
                    tally, new = crossed(tally, charge.limits)
                    found += [Crossing(number, unit, percent, tally.settled[unit]) for unit, percent in new]
                values[charge.tally] = tally_bytes(tally)
            return Change(tuple(found), values)

        keys = [name, *(charge.tally for charge in charges)]
        bookings = () if booking is None else (booking,)
        try:
            return self._records.transact(keys, decide, bookings)  # type: ignore[return-value]
        except _AlreadyResolvedError:
            if not actual or booking is None or self._has(lease.key):
                return ()  # resolved as used: it is on the books; resolved as unsent: and it was
            open_lease = False  # resolved as unsent, but it was sent: it is counted after all
            return self._records.transact(keys, decide, bookings)  # type: ignore[return-value]

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
        found = self._records.transact([key], lambda records: Change(tally_from(records[key])))
        assert isinstance(found, Tally)
        return found

    def leases(self) -> list[Lease]:
        """Every lease that was not ended."""
        return self._records.leases()
