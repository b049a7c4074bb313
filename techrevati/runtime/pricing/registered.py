"""What callers registered: it is asked first, and it wins over every price book."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.locks import fork_safe_rlock
from techrevati.runtime.pricing.names import families
from techrevati.runtime.pricing.rates import Rates

if TYPE_CHECKING:
    from _thread import RLock
    from collections.abc import Callable
    from os import PathLike
    from typing import Any, Self

    from techrevati.runtime.pricing.rates import Picodollars
    from techrevati.runtime.usage import UsageSnapshot


@dataclass(frozen=True, slots=True)
class ModelPricing:
    """Prices of one model in US dollars per million tokens.

    Attributes:
        input_per_million: For input tokens that were not cached.
        output_per_million: For output tokens, reasoning included.
        cache_write_per_million: For tokens written to a prompt cache.
        cache_read_per_million: For tokens read from a prompt cache.
        cache_write_1h_per_million: For tokens cached for an hour; None means like other cache writes.
        reasoning_per_million: For reasoning tokens; None means like other output.
        input_audio_per_million, input_image_per_million: None means like other input.
        output_audio_per_million: None means like other output.
        web_search_per_thousand: US dollars for a thousand searches.
        request_per_thousand: US dollars for a thousand calls, whatever they use.

    Raises:
        ValueError, TypeError: A price is negative, NaN, infinite or not a number.
    """

    input_per_million: float
    output_per_million: float
    cache_write_per_million: float = 0.0
    cache_read_per_million: float = 0.0
    cache_write_1h_per_million: float | None = None
    reasoning_per_million: float | None = None
    input_audio_per_million: float | None = None
    output_audio_per_million: float | None = None
    input_image_per_million: float | None = None
    web_search_per_thousand: float = 0.0
    request_per_thousand: float = 0.0
    _rates: Rates = field(init=False, repr=False, compare=False)  # what the prices come to for one token

    def __post_init__(self) -> None:
        prices: dict[str, object] = {}
        for part, name in _PRICES.items():
            price: float = getattr(self, name)  # None where a price may be left out
            if price is not None or name in _ALWAYS:
                arguments.number(name, price)
                # The decimal digits that were written are meant, not the binary fraction nearest to them.
                prices[part] = str(price)
        object.__setattr__(self, "_rates", Rates(prices))

    @property
    def rates(self) -> Rates:
        """The exact rates."""
        return self._rates

    def cost_picodollars(self, usage: UsageSnapshot) -> Picodollars:
        """The exact cost of *usage* in pico-dollars."""
        return self._rates.cost(usage)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), tuple(getattr(self, name) for name in _PRICES.values())


_PRICES = {
    "input": "input_per_million",
    "output": "output_per_million",
    "cache_write": "cache_write_per_million",
    "cache_read": "cache_read_per_million",
    "cache_write_1h": "cache_write_1h_per_million",
    "reasoning": "reasoning_per_million",
    "input_audio": "input_audio_per_million",
    "output_audio": "output_audio_per_million",
    "input_image": "input_image_per_million",
    "web_search": "web_search_per_thousand",
    "request": "request_per_thousand",
}
_ALWAYS = {"input_per_million", "output_per_million", "cache_write_per_million", "cache_read_per_million"}


class PricingTable(dict[str, "ModelPricing"]):
    """A dict that tells when it changes, so that what was worked out from it can be remembered.

    Copies and pickles of it are plain dicts.  ``dict.update(table, …)`` goes past it and is not seen.

    Attributes:
        lock: Held while it, or anything else that prices depend on, changes.
        changing: Called before every change: what is worked out from now on may be of either side of it.
        changed: Called after every change, and after whatever failed.
    """

    lock: RLock = fork_safe_rlock()
    changing: Callable[[], None] = staticmethod(lambda: None)
    changed: Callable[[], None] = staticmethod(lambda: None)

    def _change(self, method: Any, *given: Any) -> Any:
        with self.lock:
            self.changing()
            try:
                return method(self, *given)
            finally:
                self.changed()

    def __setitem__(self, model: str, pricing: ModelPricing) -> None:
        self._change(dict.__setitem__, model, pricing)

    def __delitem__(self, model: str) -> None:
        self._change(dict.__delitem__, model)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    def clear(self) -> None:
        """Remove everything."""
        self._change(dict.clear)

    def pop(self, *model_and_default: Any) -> Any:
        """As a dict's."""
        return self._change(dict.pop, *model_and_default)

    def popitem(self) -> tuple[str, ModelPricing]:
        """As a dict's."""
        found: tuple[str, ModelPricing] = self._change(dict.popitem)
        return found

    def setdefault(self, *model_and_default: Any) -> Any:
        """As a dict's."""
        return self._change(dict.setdefault, *model_and_default)

    def update(self, *others: Any, **more: ModelPricing) -> None:
        """As a dict's; what comes before something wrong is there, whatever was raised."""
        given: dict[str, ModelPricing] = {}
        try:
            given.update(*others, **more)  # it may run code of the caller's, which must not hold the lock
        finally:
            self._change(dict.update, given)

    def __reduce__(self) -> tuple[object, ...]:
        return dict, (dict(self),)


pricing_table: PricingTable = PricingTable()
PRICING_TABLE: dict[str, ModelPricing] = pricing_table
"""What callers registered: lower-case model name -> prices.  May be changed at any time."""


def register_pricing(model: str, pricing: ModelPricing) -> None:
    """Price *model* (any case) and its dated variants; overrides an earlier price.  Thread-safe."""
    if not isinstance(pricing, ModelPricing):
        raise TypeError(f"pricing must be a ModelPricing, got {pricing!r}")
    PRICING_TABLE[arguments.text("model", model).lower()] = pricing


def load_pricing_from_file(path: str | PathLike[str]) -> None:
    """Register every model of a JSON file ``{"models": {name: {"input_per_million": …, …}}}``.

    ``input_per_million`` and ``output_per_million`` are required, the others optional, unknown keys
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
        given = {key: prices[key] for key in _PRICES.values() if key in prices}
        try:
            loaded[arguments.text("model", name).lower()] = ModelPricing(**given)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: prices of {name!r}: {error}") from None
    PRICING_TABLE.update(loaded)


def find_pricing(model: str) -> ModelPricing | None:
    """The prices of *model* or of the family it is a dated variant of; None when nobody registered any."""
    if not PRICING_TABLE:
        return None
    found = PRICING_TABLE.get(model)
    if found is not None or not model:
        return found
    for name in families(model):
        found = PRICING_TABLE.get(name)
        if found is not None:
            return found
    return None
