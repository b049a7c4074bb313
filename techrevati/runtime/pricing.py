"""Say what a model call costs, exactly.

Prices are US dollars per million tokens, as providers publish them.  Inside, money is an integer number of
pico-dollars (1e-12 USD): a price with six decimals is then a whole number per token, and sums never drift.
A price with more decimals becomes an exact fraction, so nothing is rounded there either.

A model is found by its own name or, failing that, by the longest registered name that is followed only by a
date, a revision or ``-latest``: ``gpt-4`` prices ``gpt-4-0613`` and never ``gpt-4o``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments

if TYPE_CHECKING:
    import re
    from os import PathLike
    from typing import TypeAlias

    from techrevati.runtime.usage import UsageSnapshot

    Picodollars: TypeAlias = int | Fraction

PICODOLLARS_PER_USD = 10**12


@dataclass(frozen=True, slots=True)
class ModelPricing:
    """Prices of one model in US dollars per million tokens.

    Attributes:
        input_per_million: For input tokens that were not cached.
        output_per_million: For output tokens, reasoning included.
        cache_write_per_million: For tokens written to a prompt cache.
        cache_read_per_million: For tokens read from a prompt cache.

    Raises:
        ValueError, TypeError: A price is negative, NaN, infinite or not a number.
    """

    input_per_million: float
    output_per_million: float
    cache_write_per_million: float = 0.0
    cache_read_per_million: float = 0.0
    _per_token: tuple[Picodollars, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rates: list[Picodollars] = []
        for name in _PRICES:
            price = getattr(self, name)
            arguments.number(name, price)
            # The decimal digits that were written are meant, not the binary fraction nearest to them.
            exact = Fraction(str(price)) * (PICODOLLARS_PER_USD // 10**6)
            rates.append(exact.numerator if exact.denominator == 1 else exact)
        object.__setattr__(self, "_per_token", tuple(rates))

    def cost_picodollars(self, usage: UsageSnapshot) -> Picodollars:
        """The exact cost of *usage* in pico-dollars."""
        per_input, per_output, per_write, per_read = self._per_token
        return (
            usage.input_tokens * per_input
            + usage.output_tokens * per_output
            + usage.cache_write_tokens * per_write
            + usage.cache_read_tokens * per_read
        )


_PRICES = ("input_per_million", "output_per_million", "cache_write_per_million", "cache_read_per_million")


def usd(amount: Picodollars | float) -> float:
    """Pico-dollars as the nearest float of US dollars, for the edges that promise a float."""
    return float(amount / PICODOLLARS_PER_USD)


def picodollars(amount_usd: float | Decimal) -> Picodollars:
    """US dollars as exact pico-dollars; of a float, the decimal digits it prints are meant."""
    exact = Fraction(str(amount_usd)) * PICODOLLARS_PER_USD
    return exact.numerator if exact.denominator == 1 else exact


# --- the table of registered models ------------------------------------------------------------------------

PRICING_TABLE: dict[str, ModelPricing] = {}
"""What callers registered: lower-case model name -> prices.  May be changed at any time."""

_write_lock = Lock()
_VARIANT = (
    r"(?:-(?:0[1-9]|1[0-2])-20\d{2}"  # -08-2024
    r"|-(?:19|20)\d{2}(?:-?(?:0[1-9]|1[0-2]))(?:-?(?:0[1-9]|[12]\d|3[01]))"  # -20260514, -2026-05-14
    r"|-\d{3,4}"  # -0613, -001
    r"|-v\d+(?::\d+)?|:\d+"  # -v1:0, -v2
    r"|@[^@/]+"  # @20250514, @default
    r"|-latest)$"
)
_variant: re.Pattern[str] | None = None


def register_pricing(model: str, pricing: ModelPricing) -> None:
    """Price *model* (any case) and its dated variants; overrides an earlier price.  Thread-safe."""
    if not isinstance(pricing, ModelPricing):
        raise TypeError(f"pricing must be a ModelPricing, got {pricing!r}")
    with _write_lock:
        PRICING_TABLE[arguments.text("model", model).lower()] = pricing


def load_pricing_from_file(path: str | PathLike[str]) -> None:
    """Register every model of a JSON file ``{"models": {name: {"input_per_million": …, …}}}``.

    ``input_per_million`` and ``output_per_million`` are required, the cache prices optional, unknown keys
    ignored.  A file with any error registers nothing.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not such a file; the text names the model and the key.
    """
    import json

    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    models = content.get("models") if isinstance(content, dict) else None
    if not isinstance(models, dict):
        raise ValueError(f'{path} must hold {{"models": {{name: prices}}}}')
    loaded: dict[str, ModelPricing] = {}
    for name, prices in models.items():
        if not isinstance(prices, dict):
            raise ValueError(f"{path}: prices of {name!r} must be an object, got {prices!r}")
        given = {key: prices[key] for key in _PRICES if key in prices}
        try:
            loaded[arguments.text("model", name).lower()] = ModelPricing(**given)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: prices of {name!r}: {error}") from None
    with _write_lock:
        PRICING_TABLE.update(loaded)


def find_pricing(model: str) -> ModelPricing | None:
    """The prices of *model* or of the family it is a dated variant of; None when nobody registered any."""
    found = PRICING_TABLE.get(model)
    if found is not None or not model:
        return found
    name: str | None = model.lower()
    while name:
        found = PRICING_TABLE.get(name)
        if found is not None:
            return found
        name = _family(name)
    return None


def has_pricing(model: str) -> bool:
    """True when a call of *model* can be priced."""
    return find_pricing(model) is not None


def _family(name: str) -> str | None:
    """*name* without its last date or revision; None when it has none."""
    global _variant
    if _variant is None:
        import re

        _variant = re.compile(_VARIANT)
    match = _variant.search(name)
    return name[: match.start()] if match else None


__all__ = [
    "PICODOLLARS_PER_USD",
    "PRICING_TABLE",
    "ModelPricing",
    "find_pricing",
    "has_pricing",
    "load_pricing_from_file",
    "picodollars",
    "register_pricing",
    "usd",
]
assert {price.name for price in fields(ModelPricing)} == {*_PRICES, "_per_token"}
