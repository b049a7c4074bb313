"""Files outlive programs: what an older version wrote is kept, what a newer one wrote is refused."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.ledger.tables import SCHEMA
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.stores import NewerSchemaError, StoreError
from techrevati.runtime.testing import FakeClock
from techrevati.runtime.usage import UsageSnapshot

FIRST = Path(__file__).parents[1] / "data" / "ledger-1.sql"
SCHEMA_OF_LEDGER = "techrevati.runtime.ledger.ledger.SCHEMA"
NEXT = (*SCHEMA, ("CREATE INDEX spend_session ON spend (session)",))


@pytest.fixture
def written_by_version_1(tmp_path: Path) -> Path:
    """A file as the first version wrote it: three records, an open and a settled reservation."""
    path = tmp_path / "spend.db"
    connection = sqlite3.connect(path)
    connection.executescript(FIRST.read_text(encoding="utf-8"))
    connection.close()
    return path


def is_complete(ledger: SpendLedger) -> None:
    records = {record.key: record for record in ledger.records()}
    assert records.keys() == {"k1", "k2", "k3", "done"}
    assert records["k1"].usage == UsageSnapshot(100, 50, reasoning_tokens=5)
    assert (records["k1"].user, records["k1"].tags) == ("ann", {"a": "b"})
    assert records["k2"].cost == Decimal("0.0000000000008641969")
    assert records["k3"].cost is None
    assert ledger.total() == Decimal("0.0002200000008641969")
    assert [lease.key for lease in ledger.leases()] == ["open"]


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("SELECT version FROM techrevati_schema WHERE part = 'ledger'").fetchone()
    connection.close()
    return int(found)


def test_the_first_version_opens_for_ever(written_by_version_1: Path) -> None:
    """Records, exact sums, keys, leases and budgets; and it goes on from there."""
    register_pricing("old-small", ModelPricing(1, 2))
    clock = FakeClock(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp())
    with SpendLedger(written_by_version_1, clock=clock) as ledger:
        is_complete(ledger)
        budget = Budget("acme", 0.01, ledger=ledger, clock=clock)
        assert budget.snapshot().settled == {"usd": Decimal("0.00002")}
        assert budget.snapshot().reserved == {"usd": Decimal("0.00003")}
        ledger.record(project="new", model="old-small", usage=UsageSnapshot(1), key="k9")
        ledger.resolve("open", usage=UsageSnapshot(10, 1))
        assert [record.sequence for record in ledger.records()] == sorted(
            {record.sequence for record in ledger.records()}
        )


def test_an_older_file_is_brought_forward(
    written_by_version_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With everything in it, once; the program that wrote it then says that it is too old."""
    monkeypatch.setattr(SCHEMA_OF_LEDGER, NEXT)
    for _ in range(2):
        with SpendLedger(written_by_version_1) as ledger:
            is_complete(ledger)
    assert version(written_by_version_1) == len(NEXT)
    monkeypatch.undo()
    for read_only in (False, True):
        with pytest.raises(NewerSchemaError, match=rf"spend\.db.*ledger.*{len(NEXT)}"):
            SpendLedger(written_by_version_1, read_only=read_only)
    connection = sqlite3.connect(written_by_version_1)
    assert connection.execute("SELECT COUNT(*) FROM spend").fetchone() == (4,)
    connection.close()


def test_a_reader_does_not_bring_forward(written_by_version_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may not write: it says who must."""
    monkeypatch.setattr(SCHEMA_OF_LEDGER, NEXT)
    with pytest.raises(StoreError, match="open it for writing first"):
        SpendLedger(written_by_version_1, read_only=True)
    assert version(written_by_version_1) == 1


def test_a_step_that_fails_leaves_the_file_as_it_was(
    written_by_version_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a migration is none."""
    monkeypatch.setattr(SCHEMA_OF_LEDGER, (*NEXT, ("DELETE FROM spend", "CREATE TABLE spend (broken)")))
    with pytest.raises(StoreError):
        SpendLedger(written_by_version_1)
    monkeypatch.undo()
    assert version(written_by_version_1) == 1
    with SpendLedger(written_by_version_1) as ledger:
        is_complete(ledger)


def test_many_bring_it_forward_at_once(written_by_version_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One does it, the others find it done."""
    monkeypatch.setattr(SCHEMA_OF_LEDGER, NEXT)
    start, errors = threading.Barrier(8), list[BaseException]()

    def work() -> None:
        try:
            start.wait()
            with SpendLedger(written_by_version_1) as ledger:
                is_complete(ledger)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert version(written_by_version_1) == len(NEXT)
