"""What a budget shows and tells."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.tally import USD
from techrevati.runtime.pricing import decimal_usd
from techrevati.runtime.pricing.money import exact_sum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techrevati.runtime._core.tally import Amount


class BudgetThreshold(NamedTuple):
    """A budget has reached a share of a limit; told once a window.

    Attributes:
        budget, window, unit: Which budget, which window of it, which limit.
        percent: 50, 80 or 100.
        used, limit: In US dollars for "usd", in seconds for "wall_seconds", else counted.
    """

    budget: str
    window: str
    unit: str
    percent: int
    used: Decimal | int
    limit: Decimal | int


class BudgetSnapshot(NamedTuple):
    """A budget at one moment; amounts by unit ("usd" in US dollars, "wall_seconds" in seconds).

    Attributes:
        settled, reserved, limits: What was used, what is reserved, what is allowed.
        window: Which window, "total" for one that never ends.
    """

    name: str
    window: str
    limits: Mapping[str, Decimal | int]
    settled: Mapping[str, Decimal | int]
    reserved: Mapping[str, Decimal | int]

    def remaining(self, unit: str = USD) -> Decimal | int:
        """What may still be reserved of a limited unit; below 0 when it is overspent."""
        limit, taken = self.limits[unit], [self.settled.get(unit, 0), self.reserved.get(unit, 0)]
        if isinstance(limit, int):
            return limit - sum(taken)
        return exact_sum([limit, *(Decimal(amount).copy_negate() for amount in taken)])


def shown(unit: str, amount: Amount) -> Decimal | int:
    """An amount of a tally in the unit that people use."""
    if unit == USD:
        return decimal_usd(amount)
    return Decimal(int(amount)) / 1000 if unit == "wall_seconds" else int(amount)
