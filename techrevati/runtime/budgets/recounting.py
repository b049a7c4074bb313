"""Count in the budgets of this process what earlier lives of a journalled run have used.

A budget with a ledger remembers by itself.  One without begins at nothing in every process, so whoever
answers a step from the record tells it what the step used.  A budget object that lives through several lives
of a run counts each step once: it notes those that began, or were counted, on it.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from techrevati.runtime._core.tally import USD, Lease
from techrevati.runtime.budgets.holder import holder
from techrevati.runtime.budgets.reservation import Reservation
from techrevati.runtime.budgets.windows import window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techrevati.runtime._core.tally import Amount
    from techrevati.runtime.budgets.budget import Budget
    from techrevati.runtime.usage import UsageSnapshot

NOTED_STEPS = 100_000


class NotedSteps:
    """Which steps of which runs one budget has counted.  Thread-safe.

    At most ``NOTED_STEPS``; then the run that was noted first is forgotten, and a further life of it counts
    once more: too much, never too little.
    """

    def __init__(self, capacity: int = NOTED_STEPS) -> None:
        self._capacity = capacity
        self._lock = Lock()
        self._runs: dict[str, set[str]] = {}
        self._size = 0

    def is_new(self, run_id: str, key: str) -> bool:
        """Note a step; True unless it was noted before."""
        with self._lock:
            steps = self._runs.setdefault(run_id, set())
            if key in steps:
                return False
            steps.add(key)
            self._size += 1
            while self._size > self._capacity and len(self._runs) > 1:
                self._size -= len(self._runs.pop(next(iter(self._runs))))
            return True


def begins(budget: Budget, run_id: str, key: str) -> None:
    """A step begins that the budget will be charged for."""
    for one in budget._chain:
        one._noted.is_new(run_id, key)


def recount(
    budget: Budget,
    run_id: str,
    key: str,
    counts: Mapping[str, int],
    usage: UsageSnapshot,
    cost: Amount,
    at_s: float,
) -> None:
    """Count a step that is on record, in this budget and its parents; it is refused by nothing.

    What belongs to a window that is over is not counted, and neither is time.

    Args:
        run_id, key: The step.
        counts: Model calls, turns and so on.
        usage: What it used.
        cost: In pico-dollars.
        at_s: When it ended, in seconds since 1970.
    """
    now_s = budget._clock()
    chain = [one for one in budget._chain if one._noted.is_new(run_id, key)]
    charges = [one._charge_at(now_s) for one in chain if window(one.per, now_s).start_s <= at_s]
    units = {unit for charge in charges for unit in charge.limits} - {"wall_seconds"}
    if not units:
        return
    here = holder()
    asked: dict[str, Amount] = {unit: counts.get(unit, 0) for unit in units if unit != USD}
    tallies = tuple(charge.tally for charge in charges)
    lease = Lease(f"{here}-{run_id}/{key}", tallies, asked, now_s, now_s + budget._lease_s, here, {}, "hold")
    used = dict(Reservation(budget, charges, lease, 0.0)._actual(usage, None))
    if USD in units:
        used[USD] = cost
    lease = lease._replace(asked=used)
    budget._book.reserve([charge._replace(limits={}) for charge in charges], lease, True)
    budget._ends.now(charges, lease, used, None, None, "measured")
