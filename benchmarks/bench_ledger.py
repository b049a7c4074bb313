"""What a record costs beside the least that SQLite itself needs, and reports over a million records."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import perf_counter

from benchmarks.harness import (
    Aim,
    Comparison,
    Effort,
    Figure,
    Subject,
    WrongAnswerError,
    compare_all,
)
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.ledger.ledger import BATCH
from techrevati.runtime.ledger.record import draft
from techrevati.runtime.ledger.tables import SCHEMA
from techrevati.runtime.usage import UsageSnapshot

# Rates of 70 % and 60 % are these many times the floor's time.
FULL_COMMIT, BATCHED, REPORT = Aim(1 / 0.7), Aim(1 / 0.6), Aim(2.0, "s")
MODEL, USAGE = "gpt-4o-mini", UsageSnapshot(input_tokens=800, output_tokens=200)
RECORDS = 1_000_000
SAID = '{"input_tokens":800,"output_tokens":200}'
# What the ledger writes of such a call.
ROW = (1.79e9, "acme", MODEL, "", "", "", "", "measured", "book", 240_000_000, None, 1000, SAID, "", 1)
INSERT = f"INSERT INTO spend VALUES (NULL, ?, {', '.join('?' * len(ROW))})"


class Raw:
    """The ledger's own table of calls, written by ``sqlite3`` without anything around it."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute(f"PRAGMA synchronous={synchronous}")
        for statement in SCHEMA[0]:
            self.connection.execute(statement)
        self.numbers = count()

    def commit(self, rows: int) -> None:
        """One transaction, a statement a row."""
        execute, numbers = self.connection.execute, self.numbers
        execute("BEGIN IMMEDIATE")
        for _ in range(rows):
            execute(INSERT, (f"0123456789abcdef-{next(numbers):08x}", *ROW))
        execute("COMMIT")


def _raw(stack: ExitStack, path: Path, synchronous: str, rows: int) -> Subject:
    raw = Raw(path, synchronous)
    stack.callback(raw.connection.close)
    code = "commit(rows)\nresult = None"
    return Subject("floor", code, {"commit": raw.commit, "rows": rows}, operations=rows)


def _ours(stack: ExitStack, path: Path, durability: str, records: int) -> Subject:
    ledger = SpendLedger(path, durability=durability)
    stack.callback(ledger.close)
    code = "for _ in range(records):\n    record(project='acme', model=model, usage=usage)\nresult = None"
    names = {"record": ledger.record, "model": MODEL, "usage": USAGE, "records": records}
    return Subject("ours", code, names, operations=records, check=_has(ledger, records))


def _has(ledger: SpendLedger, records: int) -> Callable[[], str]:
    def look() -> str:
        if ledger.total() < records * Decimal("0.00024"):
            raise WrongAnswerError(f"{ledger.total()} US dollars")
        return ""

    return look


def comparisons(stack: ExitStack) -> list[Comparison]:
    """A commit for each record, and records in batches; the floor writes the same rows to the same table."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return [
        Comparison(
            "record, durability='full'",
            _raw(stack, folder / "raw-full.db", "FULL", 1),
            [_ours(stack, folder / "full.db", "full", 1)],
            FULL_COMMIT,
        ),
        Comparison(
            f"record, durability='batched', {BATCH} together",
            _raw(stack, folder / "raw-batched.db", "NORMAL", BATCH),
            [_ours(stack, folder / "batched.db", "batched", BATCH)],
            BATCHED,
        ),
    ]


def filled(path: Path, records: int) -> SpendLedger:
    """A ledger with so many records: 30 days, 20 projects, 5 models, 1,000 sessions."""
    ledger = SpendLedger(path, durability="batched")
    made = [
        draft(
            SpendLedger._given(f"project-{number % 20}", model, USAGE, session=f"s{number % 1000}"),
            "",
            1.79e9 + number % 30 * 86_400.0,
        )
        for number in range(1000)
        for model in ("gpt-4o-mini",)
    ]
    numbers = count()
    for start in range(0, records, 10_000):
        rows = [
            made[(start + n) % 1000]._replace(key=f"k{next(numbers)}", model=f"model-{n % 5}")
            for n in range(min(10_000, records - start))
        ]
        ledger._write(rows, unique=True)
    return ledger


def reports(effort: Effort, records: int) -> list[Figure]:
    """Sums that reports and budgets' owners ask for."""
    figures = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ledger = filled(folder / "spend.db", records)
        stack.callback(ledger.close)
        for names in (("project", "model"), ("day",), ("session",)):
            times = []
            for _ in range(min(5, effort.rounds)):
                started_s = perf_counter()
                found = ledger.by(*names)
                times.append(perf_counter() - started_s)
                if sum(group.calls for group in found) != records:
                    raise WrongAnswerError(f"by({names}) has lost records")
            what = f"by({', '.join(names)}) over {records:,} records"
            figures.append(Figure(what, "ours", sorted(times)[len(times) // 2], aim=REPORT))
    return figures


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """All figures; a quick run reports over a tenth of the records."""
    with ExitStack() as stack:
        figures = compare_all(comparisons(stack), effort)
    return [*figures, *reports(effort, RECORDS if effort.rounds > 50 else RECORDS // 10)]
