"""What budgets keep in the ledger's file: tallies and leases, and the doubts that dead processes leave."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.tally import (
    LEASE_PREFIX,
    TALLY_PREFIX,
    USD,
    Lease,
    lease_from,
    settle,
    tally_bytes,
    tally_from,
)
from techrevati.runtime.ledger.errors import UnknownReservationError
from techrevati.runtime.ledger.record import Doubt, Draft, draft, total_tokens
from techrevati.runtime.ledger.tables import standing
from techrevati.runtime.pricing import UnknownPriceError, decimal_usd
from techrevati.runtime.stores.protocol import Change
from techrevati.runtime.stores.sqlite import keys_of, row_of, updated
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal
    from typing import TypeVar

    from techrevati.runtime._core.tally import Amount
    from techrevati.runtime.ledger.record import Given
    from techrevati.runtime.ledger.tables import Writer
    from techrevati.runtime.ledger.waiting import Waiting
    from techrevati.runtime.stores.sqlite_file import SqliteFile

    T = TypeVar("T")

_PAGE = 1000


class BudgetWindow(NamedTuple):
    """One window of a budget on the books: exact amounts by unit."""

    settled: Mapping[str, Amount]
    reserved: Mapping[str, Amount]
    limits: Mapping[str, Amount]


class LedgerReservations:
    """The side of a ledger that budgets use.  Thread- and process-safe."""

    _file: SqliteFile
    _writer: Writer
    _clock: Callable[[], float]
    _waiting: Waiting

    if TYPE_CHECKING:
        _given: Callable[..., Given]
        _retry: Callable[[], bool]

    def transact(
        self,
        keys: Sequence[str],
        decide: Callable[[Mapping[str, bytes | None]], Change[T]],
        bookings: Sequence[Mapping[str, object]] = (),
        *,
        corrects: bool = False,
    ) -> T:
        """``Store.update``, with spend records in the same transaction; for budgets.

        *bookings* are the arguments of :meth:`SpendLedger.record`, each with its key, and with ``at_s`` where
        it is not of now; one that is there already is left alone, or, where this *corrects* an estimate,
        replaced.
        """
        if self._waiting:
            self._retry()
        now_s = self._clock()
        drafts = [self._draft(booking, now_s) for booking in bookings]

        def work(connection: sqlite3.Connection) -> T:
            change = updated(connection, keys, decide, now_s)
            write = self._writer.correct if corrects else self._writer.write_once
            for one in drafts:
                write(connection, one)
            return change.result

        try:
            return self._file.write(work)
        except BaseException:
            self._writer.forget()
            raise

    def _draft(self, booking: Mapping[str, object], now_s: float) -> Draft:
        content = {name: value for name, value in booking.items() if name != "input_tokens"}
        content["project"] = content.get("project") or "default"
        content["model"] = content.get("model") or "(unnamed)"
        if isinstance(content.get("tier"), list):
            content["tier"] = tuple(content["tier"])  # type: ignore[arg-type]
        key, at_s = str(content.pop("key")), content.pop("at_s", now_s)
        assert isinstance(at_s, (int, float))
        return draft(self._given(**content), key, at_s)

    def load(self, key: str) -> bytes | None:
        """What budgets keep under *key*, None for nothing; read without waiting for who writes."""
        if self._waiting:
            self._retry()
        now_s = self._clock()
        row = self._file.read(lambda connection: row_of(connection, key, now_s))
        return None if row is None else row[0]

    def leases(self) -> list[Lease]:
        """Every reservation that is neither settled nor released, in doubt or not."""

        def work(connection: sqlite3.Connection) -> list[Lease]:
            found: list[Lease] = []
            after = ""
            while True:
                now_s = self._clock()
                page = keys_of(connection, LEASE_PREFIX, after, _PAGE, now_s)
                for key in page:
                    row = row_of(connection, key, now_s)
                    if row is not None:
                        found.append(lease_from(row[0]))
                if len(page) < _PAGE:
                    return found
                after = page[-1]

        return self._file.read(work)

    def has(self, key: str) -> bool:
        """Whether a record has this key."""
        sql = "SELECT 1 FROM spend WHERE key = ?"
        return self._file.read(lambda connection: connection.execute(sql, (key,)).fetchone()) is not None

    def estimate_of(self, key: str, asked: Mapping[str, Amount]) -> Mapping[str, Amount] | None:
        """What the record of *key* counts in the units of *asked*, if there is one that was not measured."""
        there = self._file.read(lambda connection: standing(connection, key))
        if there is None or there.certainty == "measured":
            return None
        return amounts_of(UsageSnapshot.from_json(there.usage), there, asked)

    def keep_settlement(self, settle: Callable[[], object]) -> None:
        """Try *settle* again with the next use that can write; counted in ``pending``.  For budgets."""
        self._waiting.keep_settlement(settle)

    def doubts(self) -> list[Doubt]:
        """Reservations whose process died or went silent, oldest first; they stay counted in full."""
        now_s = self._clock()
        found = [one for one in self.leases() if one.in_doubt(now_s)]
        found.sort(key=lambda one: (one.expires_at, one.key))
        return [
            Doubt(
                lease.key,
                datetime.fromtimestamp(lease.reserved_at, UTC),
                datetime.fromtimestamp(lease.expires_at, UTC),
                decimal_usd(lease.asked.get(USD, 0)),
                lease.holder,
                lease.about,
            )
            for lease in found
        ]

    def resolve(
        self,
        key: str,
        *,
        usage: UsageSnapshot | None = None,
        not_sent: bool = False,
        certainty: str = "measured",
        cost: float | Decimal | None = None,
    ) -> None:
        """Say what became of a reservation in doubt: what it used, or that nothing was sent.

        With *usage* it is recorded under its key and counted; with *not_sent* it is given back.

        Args:
            cost: US dollars, as the provider billed; None takes what the price book of this process says.

        Raises:
            UnknownReservationError: No open reservation has *key*.
            UnknownPriceError: US dollars were reserved and nothing prices the call in this process: give
                *cost* or register the price.  It stays in doubt.
            ValueError: Neither or both of *usage* and *not_sent* are given, or *cost* without *usage*.
        """
        if (usage is None) is not not_sent:
            raise ValueError("resolve needs either usage=… or not_sent=True")
        if cost is not None and usage is None:
            raise ValueError("resolve takes cost=… only with usage=…")
        name = LEASE_PREFIX + key
        row = self._file.read(lambda connection: row_of(connection, name, self._clock()))
        if row is None:
            raise UnknownReservationError(key)
        lease = lease_from(row[0])
        actual: dict[str, Amount] = {}
        bookings = []
        if usage is not None:
            booking = {**lease.about, "key": key, "usage": usage, "certainty": certainty}
            if cost is not None:
                booking["cost"] = cost
            made = self._draft(booking, self._clock())
            if made.source == "unpriced" and lease.asked.get(USD):
                raise UnknownPriceError(made.model, "this process; give the cost or register the price")
            bookings.append(booking)
            actual = amounts_of(usage, made, lease.asked)

        def decide(records: Mapping[str, bytes | None]) -> Change[None]:
            if records[name] is None:
                raise UnknownReservationError(key)
            values: dict[str, bytes | None] = {name: None}
            for charged in lease.tallies:
                tally = tally_from(records[charged])
                settle(tally, lease.asked, actual, {})
                values[charged] = tally_bytes(tally)
            return Change(None, values)

        self.transact([name, *lease.tallies], decide, bookings)

    def budgets(self) -> dict[str, BudgetWindow]:
        """What is settled and reserved in every budget window on the books, and its limits when it was last
        reserved in, by "name:window"; US dollars are pico-dollars, wall time milliseconds."""

        def work(connection: sqlite3.Connection) -> dict[str, bytes]:
            rows = connection.execute(
                "SELECT key, value FROM store_record WHERE key >= ? AND key < ? ORDER BY key",
                (TALLY_PREFIX, TALLY_PREFIX[:-1] + ";"),
            )
            return dict(rows.fetchall())

        tallies = {key: tally_from(value) for key, value in self._file.read(work).items()}
        return {
            key.removeprefix(TALLY_PREFIX): BudgetWindow(tally.settled, tally.reserved, tally.limits)
            for key, tally in tallies.items()
        }


def amounts_of(usage: UsageSnapshot, made: Draft, asked: Mapping[str, Amount]) -> dict[str, Amount]:
    """What a settled call counts in the units of a tally; calls and attempts as they were reserved."""
    from techrevati.runtime.ledger.record import exact_cost

    cost = exact_cost(made.cost, made.cost_exact)
    output = usage.output_tokens + usage.output_audio_tokens
    total = total_tokens(usage)
    counted: dict[str, Amount] = {
        USD: asked.get(USD, 0) if cost is None else cost,
        "input_tokens": total - output,
        "output_tokens": output,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_tokens": total,
    }
    return {unit: counted.get(unit, amount) for unit, amount in asked.items()}
