"""The ledger's tables: every call, and the sums of every day.

Reports read the sums, so they take as long for a million records as for a thousand.  Money is pico-dollars
in an integer column; an amount that is no such integer is exact text.  A sum keeps whole millions of
pico-dollars and the rest apart, so that it cannot overflow.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from techrevati.runtime.ledger.errors import IdempotencyConflictError
from techrevati.runtime.ledger.record import Draft, differences

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

SPLIT = 10**6
DAY_S = 86_400

SCHEMA: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE spend_price (id INTEGER PRIMARY KEY, book TEXT NOT NULL, tier TEXT NOT NULL,"
        " unit_prices TEXT NOT NULL, UNIQUE (book, tier, unit_prices))",
        "CREATE TABLE spend (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,"
        " at_s REAL NOT NULL, project TEXT NOT NULL, model TEXT NOT NULL, provider TEXT NOT NULL,"
        " user TEXT NOT NULL, session TEXT NOT NULL, run TEXT NOT NULL, certainty TEXT NOT NULL,"
        " source TEXT NOT NULL, cost INTEGER, cost_exact TEXT, tokens INTEGER NOT NULL, usage TEXT NOT NULL,"
        " tags TEXT NOT NULL, price INTEGER NOT NULL)",
        "CREATE INDEX spend_at ON spend (at_s)",
        "CREATE TABLE spend_day (day INTEGER NOT NULL, project TEXT NOT NULL, model TEXT NOT NULL,"
        " provider TEXT NOT NULL, user TEXT NOT NULL, certainty TEXT NOT NULL, calls INTEGER NOT NULL,"
        " tokens INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL, cost_exact TEXT,"
        " PRIMARY KEY (day, project, model, provider, user, certainty)) WITHOUT ROWID",
    ),
    (
        "ALTER TABLE spend ADD COLUMN failure TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX spend_failure ON spend (failure) WHERE failure <> ''",
    ),
)

_PLACES = ", ".join("?" * 17)
_INSERT = f"INSERT INTO spend VALUES (NULL, {_PLACES})"
# A statement for each row costs half as much again as one for many.
_ROWS = 32
_INSERT_ROWS = f"{_INSERT}{f', (NULL, {_PLACES})' * (_ROWS - 1)}"
# Calls of one run differ in little; what they share is handed over once for all rows of a statement.
_shared = itemgetter(*range(2, 10), *range(14, 19))  # project to source, tags to failure
_own = itemgetter(0, 1, 10, 11, 12, 13)  # key, at_s, cost, cost_exact, tokens, usage
_ALIKE = 64  # rows; no more than 999 values, which is what older SQLites take
_INSERT_ALIKE = (
    "INSERT INTO spend SELECT NULL, column1, column2, ?, ?, ?, ?, ?, ?, ?, ?, column3, column4, column5,"
    f" column6, ?, ?, ? FROM (VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * _ALIKE)})"
)
_ADD = (
    "INSERT INTO spend_day VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"
    " ON CONFLICT (day, project, model, provider, user, certainty) DO UPDATE SET"
    " calls = calls + excluded.calls, tokens = tokens + excluded.tokens,"
    " high = high + excluded.high, low = low + excluded.low"
)
_OF_GROUP = "WHERE day = ? AND project = ? AND model = ? AND provider = ? AND user = ? AND certainty = ?"
COLUMNS = (
    "spend.id, key, at_s, project, model, provider, user, session, run, certainty, source, cost, cost_exact,"
    " tokens, usage, tags, book, tier, unit_prices, failure"
)
ROWS = f"SELECT {COLUMNS} FROM spend JOIN spend_price ON spend.price = spend_price.id"


class Writer:
    """Writes drafts inside a transaction; remembers the numbers of prices it has seen in this file."""

    def __init__(self) -> None:
        self._prices: dict[tuple[str, ...], int] = {}
        self._of: sqlite3.Connection | None = None  # another connection may be to another file

    def forget(self) -> None:
        """After a transaction that was undone: numbers may not be there."""
        self._prices.clear()

    def write_new(self, connection: sqlite3.Connection, drafts: Sequence[Draft]) -> None:
        """Write drafts whose keys nobody has used before."""
        if connection is not self._of:
            self._prices.clear()
            self._of = connection
        if len(drafts) == 1:  # what durability="full" writes
            self._write_one(connection, drafts[0])
            return
        runs = [list(run) for _, run in groupby(drafts, _shared)] if len(drafts) >= _ALIKE else ()
        if runs and len(runs) * _ALIKE <= len(drafts):  # shorter runs are not worth it
            for run in runs:
                self._write_alike(connection, run)
            return
        self._write_mixed(connection, drafts)
        _add_to_days(connection, drafts)

    def _write_mixed(self, connection: sqlite3.Connection, drafts: Sequence[Draft]) -> None:
        prices = self._prices
        number = self._price
        rows = [(*d[:15], prices.get(d[15:18]) or number(connection, d[15:18]), d[18]) for d in drafts]
        whole = len(rows) // _ROWS * _ROWS
        for start in range(0, whole, _ROWS):
            connection.execute(_INSERT_ROWS, tuple(chain.from_iterable(rows[start : start + _ROWS])))
        for row in rows[whole:]:
            connection.execute(_INSERT, row)

    def _write_alike(self, connection: sqlite3.Connection, run: Sequence[Draft]) -> None:
        """Write drafts that differ only in key, time, cost, tokens and usage."""
        first = run[0]
        price = first[15:18]
        number = self._prices.get(price) or self._price(connection, price)
        shared = (*first[2:10], first[14], number, first[18])
        rows = [_own(draft) for draft in run]
        whole = len(rows) // _ALIKE * _ALIKE
        for start in range(0, whole, _ALIKE):
            values = (*shared, *chain.from_iterable(rows[start : start + _ALIKE]))
            connection.execute(_INSERT_ALIKE, values)
        self._write_mixed(connection, run[whole:])
        _, at_s, costs, _, tokens, _ = zip(*rows, strict=True)
        day = int(min(at_s) // DAY_S)
        if int(max(at_s) // DAY_S) != day or None in costs:  # unpriced, or no integer
            _add_to_days(connection, run)
            return
        group = (day, *first[2:6], first[8])
        connection.execute(_ADD, (*group, len(rows), sum(tokens), *divmod(sum(costs), SPLIT)))

    def _write_one(self, connection: sqlite3.Connection, draft: Draft) -> None:
        price = draft[15:18]
        number = self._prices.get(price) or self._price(connection, price)
        connection.execute(_INSERT, (*draft[:15], number, draft[18]))
        _, at_s, project, model, provider, user, _, _, certainty, _, cost, exact, tokens, *_ = draft
        group = (int(at_s // DAY_S), project, model, provider, user, certainty)
        high, low = divmod(cost, SPLIT) if cost else (0, 0)
        connection.execute(_ADD, (*group, 1, tokens, high, low))
        if exact is not None:
            _add_exact(connection, group, Fraction(exact))

    def write_once(self, connection: sqlite3.Connection, draft: Draft) -> bool:
        """Write one draft unless its key is there; whether it was new.

        Raises:
            IdempotencyConflictError: The key is there with other content.
        """
        there = standing(connection, draft.key)
        if there is not None:
            differs = differences(there, draft)
            if differs:
                raise IdempotencyConflictError(draft.key, differs)
            return False
        self.write_new(connection, [draft])
        return True

    def correct(self, connection: sqlite3.Connection, draft: Draft) -> None:
        """Write one draft in the place of an estimate under its key; nothing where there is none."""
        there = standing(connection, draft.key)
        if there is None or there.certainty == "measured":
            return
        connection.execute("DELETE FROM spend WHERE key = ?", (there.key,))
        group = (int(there.at_s // DAY_S), *there[2:6], there.certainty)
        connection.execute(_ADD, (*group, -1, -there.tokens, *divmod(-(there.cost or 0), SPLIT)))
        if there.cost_exact is not None:
            _add_exact(connection, group, -Fraction(there.cost_exact))
        connection.execute(f"DELETE FROM spend_day {_OF_GROUP} AND calls = 0", group)
        self.write_new(connection, [draft])

    def _price(self, connection: sqlite3.Connection, price: tuple[str, ...]) -> int:
        connection.execute(
            "INSERT OR IGNORE INTO spend_price (book, tier, unit_prices) VALUES (?, ?, ?)", price
        )
        (number,) = connection.execute(
            "SELECT id FROM spend_price WHERE book = ? AND tier = ? AND unit_prices = ?", price
        ).fetchone()
        if len(self._prices) > 10_000:
            self._prices.clear()
        self._prices[price] = number
        return int(number)


def standing(connection: sqlite3.Connection, key: str) -> Draft | None:
    """What the file has under *key*."""
    row = connection.execute(f"{ROWS} WHERE key = ?", (key,)).fetchone()
    return None if row is None else Draft(*row[1:])


def _add_to_days(connection: sqlite3.Connection, drafts: Iterable[Draft]) -> None:
    sums: dict[tuple[int, str, str, str, str, str], list[int]] = {}
    exact: dict[tuple[int, str, str, str, str, str], Fraction] = {}
    for d in drafts:
        group = (int(d.at_s // DAY_S), d.project, d.model, d.provider, d.user, d.certainty)
        found = sums.get(group)
        if found is None:
            found = sums[group] = [0, 0, 0]
        found[0] += 1
        found[1] += d.tokens
        if d.cost is not None:
            found[2] += d.cost
        elif d.cost_exact is not None:
            exact[group] = exact.get(group, Fraction()) + Fraction(d.cost_exact)
    connection.executemany(
        _ADD, [(*g, calls, tokens, *divmod(cost, SPLIT)) for g, (calls, tokens, cost) in sums.items()]
    )
    for group, amount in exact.items():
        _add_exact(connection, group, amount)


def _add_exact(
    connection: sqlite3.Connection, group: tuple[int, str, str, str, str, str], amount: Fraction
) -> None:
    (stands,) = connection.execute(f"SELECT cost_exact FROM spend_day {_OF_GROUP}", group).fetchone()
    total = amount + Fraction(stands or 0)
    connection.execute(f"UPDATE spend_day SET cost_exact = ? {_OF_GROUP}", (str(total), *group))
