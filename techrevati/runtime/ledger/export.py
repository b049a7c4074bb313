"""Records as CSV or JSON lines, for other programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from techrevati.runtime.ledger.record import SpendRecord

FORMATS = ("csv", "jsonl")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def exported(records: Iterable[SpendRecord], path: str, format: str | None) -> int:
    """Write *records* to *path*; how many."""
    chosen = format or path.rpartition(".")[2].lower()
    if chosen not in FORMATS:
        raise ValueError(f"format must be 'csv' or 'jsonl', got {chosen!r}")
    import json

    count = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        if chosen == "jsonl":
            for record in records:
                count += 1
                file.write(json.dumps(record.to_dict(), ensure_ascii=False) + "\n")
            return count
        import csv

        writer = csv.writer(file)
        writer.writerow(_HEADS)
        for record in records:
            count += 1
            row = record.to_dict()
            for name in ("usage", "tags", "unit_prices"):
                row[name] = json.dumps(row[name], ensure_ascii=False, sort_keys=True)
            writer.writerow([_cell(row[name]) for name in _HEADS])
    return count


_HEADS = (
    "key",
    "at",
    "project",
    "model",
    "provider",
    "user",
    "session",
    "run",
    "tags",
    "certainty",
    "failure",
    "usage",
    "cost_usd",
    "cost_source",
    "tier",
    "price_book",
    "unit_prices",
)


def _cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
