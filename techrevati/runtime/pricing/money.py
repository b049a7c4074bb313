"""Exact money in three forms: pico-dollars inside, Decimal for people, float where one is promised."""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from techrevati.runtime.pricing.rates import PICODOLLARS_PER_USD, whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from techrevati.runtime.pricing.rates import Picodollars

# Nothing is rounded whatever the caller's own decimal context says.
_EXACT = Context(prec=min(MAX_PREC, 999_999), Emax=MAX_EMAX, Emin=MIN_EMIN)
_add, _multiply, _normalize = _EXACT.add, _EXACT.multiply, _EXACT.normalize
_PICO, _ZERO = Decimal("1e-12"), Decimal(0)


def usd(amount: Picodollars | float) -> float:
    """Pico-dollars as the nearest float of US dollars, for the edges that promise a float."""
    return float(amount / PICODOLLARS_PER_USD)


def picodollars(amount_usd: float | Decimal) -> Picodollars:
    """US dollars as exact pico-dollars; of a float, the decimal digits it prints are meant."""
    return whole(Fraction(str(amount_usd)) * PICODOLLARS_PER_USD)


def decimal_usd(amount: Picodollars) -> Decimal:
    """Pico-dollars as US dollars, exactly, without trailing zeros."""
    if type(amount) is int:
        if amount % PICODOLLARS_PER_USD:
            return _normalize(_multiply(amount, _PICO))
        return Decimal(amount // PICODOLLARS_PER_USD)  # 500, which normalize would write as 5E+2
    return exact_decimal(Fraction(amount) / PICODOLLARS_PER_USD)


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of decimals, exact whatever the caller's own decimal context says."""
    total = _ZERO
    for amount in amounts:
        total = _add(total, amount)
    return total


def exact_decimal(amount: Fraction) -> Decimal:
    """A fraction whose denominator has no other prime factors than 2 and 5, as every price's has."""
    denominator, twos, fives = amount.denominator, 0, 0
    while denominator % 2 == 0:
        denominator, twos = denominator // 2, twos + 1
    while denominator % 5 == 0:
        denominator, fives = denominator // 5, fives + 1
    if denominator != 1:
        raise ValueError(f"{amount} has no finite decimal form")
    places = max(twos, fives)
    digits = amount.numerator * 10**places // amount.denominator
    return Decimal(digits).scaleb(-places, _EXACT)
