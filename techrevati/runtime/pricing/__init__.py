"""Say what a model call costs, exactly.

Prices are US dollars per million tokens, as providers publish them.  Inside, money is an integer number of
pico-dollars (1e-12 USD) or an exact fraction, so sums never drift.  What callers registered in
``PRICING_TABLE`` wins; a bundled, dated price book answers for the rest; a model that neither knows is an
error, never free.
"""

from __future__ import annotations

from techrevati.runtime.pricing.book import PriceBook
from techrevati.runtime.pricing.errors import UnknownModelError, UnknownPriceError
from techrevati.runtime.pricing.money import decimal_usd, picodollars, usd
from techrevati.runtime.pricing.quotes import (
    Quote,
    cost_picodollars_or_none,
    cost_usd,
    has_pricing,
    output_limit,
    quote,
    use_price_book,
    worst_case_picodollars,
)
from techrevati.runtime.pricing.rates import PICODOLLARS_PER_USD
from techrevati.runtime.pricing.registered import (
    PRICING_TABLE,
    ModelPricing,
    find_pricing,
    load_pricing_from_file,
    register_pricing,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from techrevati.runtime.pricing.rates import Picodollars as Picodollars

__all__ = [
    "PICODOLLARS_PER_USD",
    "PRICING_TABLE",
    "ModelPricing",
    "PriceBook",
    "Quote",
    "UnknownModelError",
    "UnknownPriceError",
    "cost_picodollars_or_none",
    "cost_usd",
    "decimal_usd",
    "find_pricing",
    "has_pricing",
    "load_pricing_from_file",
    "output_limit",
    "picodollars",
    "quote",
    "register_pricing",
    "usd",
    "use_price_book",
    "worst_case_picodollars",
]
