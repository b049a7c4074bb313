"""Questions to a ledger: sums by group, single records, exports."""

from __future__ import annotations

import os
from functools import partial
from html import escape
from typing import TYPE_CHECKING

from techrevati.runtime.ledger import query
from techrevati.runtime.ledger.record import record_from
from techrevati.runtime.ledger.report import SpendReport, unpriced_note
from techrevati.runtime.ledger.tables import ROWS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from decimal import Decimal
    from os import PathLike
    from typing import Any

    from techrevati.runtime.ledger.query import When
    from techrevati.runtime.ledger.record import SpendGroup, SpendRecord
    from techrevati.runtime.stores.sqlite_file import SqliteFile

_PAGE = 1000


class LedgerReports:
    """The side of a ledger that is read.  Thread- and process-safe."""

    if TYPE_CHECKING:
        _settled_file: Callable[[], SqliteFile]

    def total(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        user: str | None = None,
        session: str | None = None,
        run: str | None = None,
        certainty: str | None = None,
        since: When | None = None,
        until: When | None = None,
    ) -> Decimal:
        """US dollars spent, exact; of everything, or of what the filters leave.

        Args:
            since, until: Aware datetimes or dates (UTC): from *since* on, before *until*.  Whole days are
                answered from sums, other times from the records.
        """
        from decimal import Decimal

        filters = dict(
            zip(query.FILTERS, (project, model, provider, user, session, run, certainty), strict=True)
        )
        found = self._sums((), filters, since, until)
        return found[0].cost if found else Decimal(0)

    def by(
        self,
        *names: str,
        project: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        user: str | None = None,
        session: str | None = None,
        run: str | None = None,
        certainty: str | None = None,
        since: When | None = None,
        until: When | None = None,
    ) -> SpendReport:
        """Calls, tokens and cost by one name or several, as a sequence of (group, calls, tokens, cost).

        Args:
            names: Of "project", "model", "provider", "user", "certainty", "day", "month", "hour", "session",
                "run", "source", "failure".  Groups come in their order; what was not given is the group "".
        """
        if not names:
            raise ValueError(f"by needs at least one name of {', '.join(query.GROUPS)}")
        for name in names:
            if name not in query.GROUPS:
                raise ValueError(f"names must be of {', '.join(query.GROUPS)}; got {name!r}")
        filters = dict(
            zip(query.FILTERS, (project, model, provider, user, session, run, certainty), strict=True)
        )
        return SpendReport(names, self._sums(names, filters, since, until))

    def _sums(
        self,
        names: Sequence[str],
        filters: Mapping[str, str | None],
        since: When | None,
        until: When | None,
    ) -> list[SpendGroup]:
        since_s, until_s = query.epoch("since", since), query.epoch("until", until)
        return self._settled_file().read(lambda c: query.sums(c, names, filters, since_s, until_s))

    def records(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        user: str | None = None,
        session: str | None = None,
        run: str | None = None,
        certainty: str | None = None,
        since: When | None = None,
        until: When | None = None,
        after: int = 0,
    ) -> Iterator[SpendRecord]:
        """Every record, oldest first, read in pages: records written meanwhile may be among them.

        Args:
            after: Only records behind this ``sequence``.
        """
        filters = dict(
            zip(query.FILTERS, (project, model, provider, user, session, run, certainty), strict=True)
        )
        clause, values = query.where(filters, query.epoch("since", since), query.epoch("until", until))
        sql = f"{ROWS}{clause}{' AND' if clause else ' WHERE'} spend.id > ? ORDER BY spend.id LIMIT {_PAGE}"
        file = self._settled_file()
        while True:
            rows = file.read(partial(_all_rows, sql, (*values, after)))
            for row in rows:
                yield record_from(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1][0]

    def unpriced(
        self,
        *,
        project: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        user: str | None = None,
        session: str | None = None,
        run: str | None = None,
        certainty: str | None = None,
        since: When | None = None,
        until: When | None = None,
    ) -> dict[str, int]:
        """Model -> calls of it that nothing priced, most first; every sum counts them as 0 US dollars.

        Read from the single records: what :meth:`prune` forgot is not among them.

        Args:
            since, until: As of :meth:`total`.
        """
        filters = dict(
            zip(query.FILTERS, (project, model, provider, user, session, run, certainty), strict=True)
        )
        clause, values = query.where(filters, query.epoch("since", since), query.epoch("until", until))
        sql = (
            f"SELECT model, COUNT(*) FROM spend{clause}{' AND' if clause else ' WHERE'} source = 'unpriced'"
            " GROUP BY model ORDER BY 2 DESC, 1"
        )
        return dict(self._settled_file().read(partial(_all_rows, sql, values)))

    def export(
        self, path: str | PathLike[str], *, format: str | None = None, since: When | None = None
    ) -> int:
        """Write every record to a file and say how many.

        Args:
            format: "csv" or "jsonl"; None goes by the file's ending.
        """
        from techrevati.runtime.ledger.export import exported

        return exported(self.records(since=since), os.fspath(path), format)

    def _repr_html_(self) -> str:
        table = self.by("project", "model")._repr_html_()
        unpriced = self.unpriced()
        return f"{table}<p>{escape(unpriced_note(unpriced))}</p>" if unpriced else table


def _all_rows(sql: str, values: Sequence[object], connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(sql, values).fetchall()
