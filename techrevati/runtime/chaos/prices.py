"""What the bill costs in dollars, exactly.

A model's price is the one given to the server, else the default of the two models of this endpoint, else what
``techrevati.runtime.pricing`` knows today.  A model without a price has no cost, which is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime.chaos.bill import EXACT, BilledUsage
from techrevati.runtime.pricing import (
    ModelPricing,
    UnknownModelError,
    UnknownPriceError,
    cost_usd,
    has_pricing,
)
from techrevati.runtime.pricing.money import decimal_usd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techrevati.runtime.chaos.bill import InjectedRecord

_MILLION = Decimal(1_000_000)
_MULTIPLES = {"cache_write": Decimal("1.25"), "cache_write_1h": Decimal(2), "cache_read": Decimal("0.1")}


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """US dollars per million tokens: a number, decimal text or a Decimal; of a float, its printed digits.

    What is left out costs what Anthropic asks: writing to a cache 1.25 times the input price for 5 minutes
    and twice for an hour, reading from it a tenth.

    Raises:
        ValueError, TypeError: A price is negative, not finite or not a number.
    """

    input: Decimal | float | str
    output: Decimal | float | str
    cache_write: Decimal | float | str | None = None
    cache_write_1h: Decimal | float | str | None = None
    cache_read: Decimal | float | str | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            given: object = getattr(self, one.name)
            if given is None and one.name in _MULTIPLES:
                exact = EXACT.multiply(Decimal(self.input), _MULTIPLES[one.name])
            else:
                exact = _price(one.name, given)
            object.__setattr__(self, one.name, exact)

    def cost_usd(self, usage: BilledUsage) -> Decimal:
        """What *usage* costs, exactly."""
        counted = (
            (usage.input_tokens, self.input),
            (usage.output_tokens, self.output),
            (usage.cache_write_tokens, self.cache_write),
            (usage.cache_write_1h_tokens, self.cache_write_1h),
            (usage.cache_read_tokens, self.cache_read),
        )
        total = Decimal(0)
        for tokens, price in counted:
            total = EXACT.fma(Decimal(tokens), Decimal(price or 0), total)
        return EXACT.divide(total, _MILLION)


def _price(name: str, given: object) -> Decimal:
    if isinstance(given, bool) or not isinstance(given, (int, float, str, Decimal)):
        raise TypeError(f"{name} must be US dollars per million tokens, got {given!r}")
    try:
        exact = Decimal(str(given))
    except InvalidOperation:
        exact = Decimal("NaN")
    # More digits than that are noise, and would make every sum long.
    if not exact.is_finite() or exact < 0 or exact.adjusted() > 12 or int(exact.as_tuple().exponent) < -18:
        raise ValueError(f"{name} must be US dollars per million tokens from 0 on, got {given!r}")
    return exact


DEFAULT_PRICES: dict[str, ModelPrice] = {
    "chaos-large": ModelPrice("2.50", "10.00"),
    "chaos-small": ModelPrice("0.25", "1.00"),
}
"""What the models of this endpoint cost when the server is not told otherwise; invented, but steady."""


class Prices:
    """The prices of one server; *given* goes before everything else, in any letter case."""

    def __init__(self, given: Mapping[str, ModelPrice | ModelPricing] | None = None) -> None:
        self._own: dict[str, ModelPrice | ModelPricing] = dict(DEFAULT_PRICES)
        for model, price in (given or {}).items():
            arguments.text("prices", model)
            if not isinstance(price, (ModelPrice, ModelPricing)):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"prices of {model!r} must be a ModelPrice, got {price!r}")
            self._own[model.lower()] = price

    def cost(self, record: InjectedRecord) -> Decimal | None:
        """What the usage of *record* costs; None when nobody knows a price of its model."""
        own = self._own.get(record.model.lower())
        if isinstance(own, ModelPrice):
            return own.cost_usd(record.billed)
        usage = record.billed.snapshot()
        if own is not None:
            return decimal_usd(own.cost_picodollars(usage))
        # Asked first, because the error looks for similar names, which takes as long as many requests.
        if not has_pricing(record.model):
            return None
        try:
            return cost_usd(record.model, usage)
        except (UnknownModelError, UnknownPriceError, ValueError):  # a name may be nonsense
            return None
