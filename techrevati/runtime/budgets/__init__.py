"""Whether a session, project or user may spend more: reserve the worst case, settle the truth.

``budget.reserve(…)`` takes, in one step, the most that a call may cost out of every budget it concerns, or
refuses it whole.  ``settle`` gives back what was not used.  Whatever happens in between, in any number of
threads and processes, ``settled + reserved <= limit``.  The decisions are in ``_core.tally``; here are the
shells: budgets of one process, and budgets in a ledger's or a store's records.
"""

from __future__ import annotations

from techrevati.runtime._core.errors import BudgetExceededError as BudgetExceededError
from techrevati.runtime.budgets.budget import Budget
from techrevati.runtime.budgets.estimate import estimate_input_tokens
from techrevati.runtime.budgets.reservation import Reservation, ReservationSettledError
from techrevati.runtime.budgets.vocabulary import BudgetSnapshot, BudgetThreshold

__all__ = [
    "Budget",
    "BudgetExceededError",
    "BudgetSnapshot",
    "BudgetThreshold",
    "Reservation",
    "ReservationSettledError",
    "estimate_input_tokens",
]
