"""What every project spent, durably and exactly.

A ``SpendLedger`` is a SQLite file of priced model calls that any number of threads and processes write to at
once.  A record is written once, whatever happens; sums are integers of pico-dollars and never drift; budgets
keep their reservations in the same file, so that a settled call is one transaction.
"""

from __future__ import annotations

from techrevati.runtime.ledger.errors import IdempotencyConflictError, UnknownReservationError
from techrevati.runtime.ledger.ledger import SpendLedger
from techrevati.runtime.ledger.record import Doubt, SpendGroup, SpendRecord
from techrevati.runtime.ledger.report import SpendReport

__all__ = [
    "Doubt",
    "IdempotencyConflictError",
    "SpendGroup",
    "SpendLedger",
    "SpendRecord",
    "SpendReport",
    "UnknownReservationError",
]
