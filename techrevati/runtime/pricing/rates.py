"""What the parts of a usage cost: exact rates, and the two sums made of them.

``Rates`` knows no dates, tiers or names; it multiplies.  Inside, money is an integer number of pico-dollars
(1e-12 USD): a price per million tokens with up to six decimals is then a whole number per token.  A price
with more decimals becomes an exact fraction, so nothing is rounded there either.

A long-context step replaces the rates of the *whole* request once its input, cached tokens and all, is
strictly larger than the step's start (providers that say "at or above" are written one token lower).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from techrevati.runtime.usage import UsageSnapshot

    Picodollars: TypeAlias = int | Fraction
    Prices: TypeAlias = Mapping[str, object]

PICODOLLARS_PER_USD = 10**12

# Part -> what prices it when it has no price of its own.  In units of a million tokens, or of a thousand
# pieces.
PARTS: dict[str, str | None] = {
    "input": None,
    "output": None,
    "cache_write": "input",
    "cache_read": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
    "input_audio": "input",
    "output_audio": "output",
    "input_image": "input",
    "web_search": None,
    "request": None,
    "citation": "input",
    "output_image": "output",
    "cache_read_audio": "cache_read",
}
PER_THOUSAND = frozenset({"web_search", "request"})


class Rates:
    """Pico-dollars for one piece of each part, with the steps for long inputs.

    *prices* maps parts to US dollars per million tokens (searches and requests: per thousand); a price is a
    number, decimal text, or a list ``[base, start, above, start, above, …]``.  A part without a price costs
    what its fallback in ``PARTS`` costs, and nothing if there is none.
    """

    __slots__ = ("_base", "_dearest", "_steps", "_texts", "prices")

    def __init__(self, prices: Prices) -> None:
        self.prices: Prices = prices
        starts = sorted(
            {start for price in prices.values() if isinstance(price, list) for start in price[1::2]}
        )
        self._base = _level(prices, 0)
        self._steps = tuple((start, _level(prices, start + 1)) for start in starts)
        self._dearest: Dearest | None = None
        self._texts: dict[tuple[int, bool, bool], str] = {}

    def cost(self, usage: UsageSnapshot) -> Picodollars:
        """The exact cost of one call that used *usage*."""
        level = self._base
        if self._steps:
            level = self._level_for(_input_size(usage))
        given, made, write, read, extras, per_request, _ = level
        cost: Picodollars = (
            usage.input_tokens * given
            + usage.output_tokens * made
            + usage.cache_write_tokens * write
            + usage.cache_read_tokens * read
        )
        # Most calls have none of these, which is quicker to see than each by its name.
        if extras and (
            usage.reasoning_tokens
            or usage.cache_write_1h_tokens
            or usage.input_audio_tokens
            or usage.output_audio_tokens
            or usage.input_image_tokens
            or usage.web_searches
            or usage.citation_tokens
            or usage.output_image_tokens
            or usage.cache_read_audio_tokens
        ):
            for name, rate in extras:
                count = getattr(usage, name)
                if count:
                    cost += count * rate
        if per_request and (cost or usage.requests or _anything(usage)):
            cost += (usage.requests or 1) * per_request
        return cost

    def worst(
        self, input_tokens: int, output_tokens: int, *, audio: bool, web_searches: int, requests: int
    ) -> Picodollars:
        """The most that a call of that size can cost, whatever of it is cached, reasoned or drawn."""
        if not audio and not web_searches and requests == 1:
            return worst_of(self.dearest, input_tokens, output_tokens)
        worst: Picodollars = 0
        for start, level in ((-1, self._base), *self._steps):
            if input_tokens > start:
                rate, (given, made) = level[6], _dearest(level, audio)
                cost = input_tokens * given + output_tokens * made
                worst = max(worst, cost + web_searches * rate["web_search"] + requests * rate["request"])
        return worst

    @property
    def dearest(self) -> Dearest:
        """For :func:`worst_of`: from which input size on, the dearest input, output and request."""
        found = self._dearest
        if found is None:
            levels = ((-1, self._base), *self._steps)
            found = tuple((start, *_dearest(level, False), level[6]["request"]) for start, level in levels)
            self._dearest = found
        return found

    def unit_prices_json(self, usage: UsageSnapshot, rare: bool | None = None) -> str:
        """:meth:`unit_prices` as compact JSON, remembered: a ledger writes it for every call."""
        level = self._level_for(_input_size(usage)) if self._steps else self._base
        if rare is None:
            rare = has_rare_parts(usage)
        known = (id(level), usage.cache_write_tokens > 0, usage.cache_read_tokens > 0)
        if not rare:
            text = self._texts.get(known)
            if text is not None:
                return text
        import json

        found = json.dumps(self.unit_prices(usage), separators=(",", ":"))
        if not rare:
            self._texts[known] = found  # at most four for each level
        return found

    def unit_prices(self, usage: UsageSnapshot) -> dict[str, str]:
        """The prices that *usage* met: decimal text, US dollars per million tokens or thousand pieces."""
        level = self._level_for(_input_size(usage))
        shown = {}
        for part in PARTS:
            count = getattr(usage, _COUNT_OF[part])
            rate = level[6][part]
            if (count or part in ("input", "output")) or (part == "request" and rate):
                shown[part] = decimal_text(rate, part)
        return shown

    def _level_for(self, size: int) -> _Level:
        level = self._base
        for start, above in self._steps:
            if size <= start:
                break
            level = above
        return level


def worst_of(levels: Dearest, input_tokens: int, output_tokens: int) -> Picodollars:
    """The most that one request can cost at these rates, at every step that its input reaches."""
    worst: Picodollars = 0
    for start, given, made, request in levels:
        if input_tokens > start:
            cost = input_tokens * given + output_tokens * made + request
            if cost > worst:
                worst = cost
    return worst


def _dearest(level: _Level, audio: bool) -> tuple[Picodollars, Picodollars]:
    rate = level[6]
    audio = audio or rate["output_audio"] != rate["output"]  # a model that speaks
    given = max(rate[name] for name in _INPUTS if audio or "audio" not in name)
    made = max(rate[name] for name in _OUTPUTS if audio or "audio" not in name)
    return given, made


def has_rare_parts(usage: UsageSnapshot) -> bool:
    """Whether there is anything but plain and cached input and output."""
    return bool(
        usage.reasoning_tokens
        or usage.cache_write_1h_tokens
        or usage.input_audio_tokens
        or usage.output_audio_tokens
        or usage.input_image_tokens
        or usage.web_searches
        or usage.requests
        or usage.citation_tokens
        or usage.output_image_tokens
        or usage.cache_read_audio_tokens
    )


if TYPE_CHECKING:
    Dearest: TypeAlias = tuple[tuple[int, Picodollars, Picodollars, Picodollars], ...]
    _Level: TypeAlias = tuple[
        Picodollars,
        Picodollars,
        Picodollars,
        Picodollars,
        tuple[tuple[str, Picodollars], ...],
        Picodollars,
        dict[str, Picodollars],
    ]

_COUNT_OF = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_write": "cache_write_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "reasoning_tokens",
    "input_audio": "input_audio_tokens",
    "output_audio": "output_audio_tokens",
    "input_image": "input_image_tokens",
    "web_search": "web_searches",
    "request": "requests",
    "citation": "citation_tokens",
    "output_image": "output_image_tokens",
    "cache_read_audio": "cache_read_audio_tokens",
}
_INPUTS = (
    "input",
    "cache_write",
    "cache_read",
    "cache_write_1h",
    "input_audio",
    "input_image",
    "cache_read_audio",
)
_OUTPUTS = ("output", "reasoning", "output_audio", "output_image")
_WHOLES = {"reasoning": "output", "output_image": "output", "cache_read_audio": "cache_read"}
_OWN = ("cache_write_1h", "input_audio", "output_audio", "input_image", "web_search", "citation")


def _level(prices: Prices, size: int) -> _Level:
    rates: dict[str, Picodollars] = {}
    for part, fallback in PARTS.items():
        price = prices.get(part)
        if price is None:
            rates[part] = 0 if fallback is None else rates[fallback]
        else:
            rates[part] = per_piece(_at_size(price, size), part)
    # Parts inside another count pay the difference; most models have none, and then nothing is looked at.
    extras = [(_COUNT_OF[part], rates[part]) for part in _OWN if rates[part]]
    for part, whole in _WHOLES.items():
        difference = rates[part] - rates[whole]
        if difference:
            extras.append((_COUNT_OF[part], difference))
    return (
        rates["input"],
        rates["output"],
        rates["cache_write"],
        rates["cache_read"],
        tuple(extras),
        rates["request"],
        rates,
    )


def _at_size(price: object, size: int) -> object:
    if not isinstance(price, list):
        return price
    current = price[0]
    for start, above in zip(price[1::2], price[2::2], strict=True):
        if size > start:
            current = above
    return current


def _input_size(usage: UsageSnapshot) -> int:
    return (
        usage.input_tokens
        + usage.cache_write_tokens
        + usage.cache_read_tokens
        + usage.cache_write_1h_tokens
        + usage.input_audio_tokens
        + usage.input_image_tokens
    )


def _anything(usage: UsageSnapshot) -> bool:
    return any(getattr(usage, name) for name in _COUNT_OF.values())


def whole(amount: Fraction) -> Picodollars:
    """The same amount, as an integer where it is one."""
    return amount.numerator if amount.denominator == 1 else amount


def per_piece(price: object, part: str) -> Picodollars:
    """Pico-dollars for one token (search, request) at *price* US dollars per million (thousand)."""
    exact = Fraction(price if isinstance(price, (int, Fraction)) else str(price))
    return whole(exact * _scale(part))


def _scale(part: str) -> int:
    return PICODOLLARS_PER_USD // (10**3 if part in PER_THOUSAND else 10**6)


def decimal_text(rate: Picodollars, part: str) -> str:
    """The inverse of :func:`per_piece`: US dollars per million (thousand) as plain decimal text."""
    from techrevati.runtime.pricing.money import exact_decimal

    return f"{exact_decimal(Fraction(rate) / _scale(part)):f}"
