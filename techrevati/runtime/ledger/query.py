"""Questions to the ledger: which records, grouped by what."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from techrevati.runtime.ledger.record import SpendGroup
from techrevati.runtime.ledger.tables import DAY_S, SPLIT
from techrevati.runtime.pricing import decimal_usd

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    When: TypeAlias = datetime | date

GROUPS = (
    "project",
    "model",
    "provider",
    "user",
    "certainty",
    "day",
    "month",
    "hour",
    "session",
    "run",
    "source",
    "failure",
)
_SUMMED = frozenset({"project", "model", "provider", "user", "certainty", "day", "month"})
_TIMES = {"day": "%Y-%m-%d", "month": "%Y-%m", "hour": "%Y-%m-%dT%H"}
FILTERS: tuple[str, ...] = ("project", "model", "provider", "user", "session", "run", "certainty")


def epoch(name: str, when: When | None) -> float | None:
    """A moment as seconds since 1970; a date is its beginning in UTC."""
    if when is None:
        return None
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ValueError(f"{name} must be an aware datetime or a date, got {when!r}")
        return when.timestamp()
    if not isinstance(when, date):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"{name} must be an aware datetime or a date, got {when!r}")
    return (datetime(when.year, when.month, when.day, tzinfo=UTC) - _EPOCH) / timedelta(seconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def where(
    filters: Mapping[str, str | None], since_s: float | None, until_s: float | None, *, days: bool = False
) -> tuple[str, list[object]]:
    """A WHERE clause and its values."""
    parts, values = [], list[object]()
    for name, value in filters.items():
        if value is not None:
            parts.append(f"{name} = ?")
            values.append(value)
    for bound, sign in ((since_s, ">="), (until_s, "<")):
        if bound is not None:
            parts.append(f"day {sign} ?" if days else f"at_s {sign} ?")
            values.append(int(bound // DAY_S) if days else bound)
    return (f" WHERE {' AND '.join(parts)}" if parts else ""), values


def sums(
    connection: sqlite3.Connection,
    names: Sequence[str],
    filters: Mapping[str, str | None],
    since_s: float | None,
    until_s: float | None,
) -> list[SpendGroup]:
    """Calls, tokens and cost by group, in order of the groups; from the sums of days where they suffice."""
    asked = {*names, *(name for name, value in filters.items() if value is not None)}
    whole_days = not any(bound is not None and bound % DAY_S for bound in (since_s, until_s))
    days = whole_days and asked <= _SUMMED
    clause, values = where(filters, since_s, until_s, days=days)
    shown = [_expression(name, days) for name in names]
    groups = "".join(f"{each}, " for each in shown)
    by = f" GROUP BY {', '.join(str(n + 1) for n in range(len(shown)))}" if shown else ""
    if days:
        sql = f"SELECT {groups}SUM(calls), SUM(tokens), SUM(high), SUM(low) FROM spend_day{clause}{by}"
    else:
        sql = (
            f"SELECT {groups}COUNT(*), SUM(tokens), SUM(cost / {SPLIT}), SUM(cost % {SPLIT})"
            f" FROM spend{clause}{by}"
        )
    found: dict[tuple[str, ...], list[int | Fraction]] = {}
    width = len(shown)
    for row in connection.execute(sql, values):
        calls, tokens, high, low = (value or 0 for value in row[width:])
        if calls:
            found[row[:width]] = [calls, tokens, high * SPLIT + low]
    table = "spend_day" if days else "spend"
    only = f"{clause}{' AND' if clause else ' WHERE'} cost_exact IS NOT NULL"
    for row in connection.execute(f"SELECT {groups}cost_exact FROM {table}{only}", values):
        found[row[:width]][2] += Fraction(row[width])
    single = len(names) == 1
    return [
        SpendGroup(group[0] if single else group, int(calls), int(tokens), decimal_usd(_whole(cost)))
        for group, (calls, tokens, cost) in sorted(found.items())
    ]


def _whole(amount: int | Fraction) -> int | Fraction:
    return int(amount) if amount.denominator == 1 else amount


def _expression(name: str, days: bool) -> str:
    form = _TIMES.get(name)
    if form is None:
        return name
    return f"strftime('{form}', {f'day * {DAY_S}' if days else 'CAST(at_s AS INTEGER)'}, 'unixepoch')"
