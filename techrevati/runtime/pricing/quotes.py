"""What a call costs: what callers registered, then the price book, and never a guess."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime.pricing.book import PriceBook
from techrevati.runtime.pricing.errors import UnknownModelError, UnknownPriceError
from techrevati.runtime.pricing.money import decimal_usd
from techrevati.runtime.pricing.names import canonical_provider
from techrevati.runtime.pricing.registered import PRICING_TABLE, find_pricing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from techrevati.runtime.pricing.entry import Entry
    from techrevati.runtime.pricing.rates import Picodollars, Rates
    from techrevati.runtime.pricing.registered import ModelPricing
    from techrevati.runtime.usage import UsageSnapshot

STANDARD_TIERS = frozenset({"default", "standard", "auto"})
TIERS = frozenset({"batch", "flex", "priority", "fast", "scale", "provisioned", "us", "eu", "fedramp"})
_SYNONYMS = {"batches": "batch", "standard_only": "standard", "on_demand": "standard"}


@dataclass(frozen=True, slots=True)
class Quote:
    """What one call costs, and why.

    Attributes:
        cost_picodollars: The exact cost in pico-dollars (1e-12 US dollars).
        cost_usd: The same in US dollars.
        model: The name that matched.
        provider: Who charges; None for a registered price.
        tier: The service tier priced, "standard" or names joined by "+".
        book: The version of the price book; "registered" for a registered price.
        unit_prices: Part of the usage to US dollars per million tokens (per thousand searches or requests).
        source: "registered" or "book".
    """

    cost_picodollars: Picodollars
    cost_usd: Decimal
    model: str
    provider: str | None
    tier: str
    book: str
    unit_prices: Mapping[str, str]
    source: str


def cost_usd(
    model: str,
    usage: UsageSnapshot,
    *,
    provider: str | None = None,
    at: datetime | None = None,
    tier: str | tuple[str, ...] | None = None,
) -> Decimal:
    """What one call costs in US dollars, exact and unrounded.

    Args:
        model: The model's name at its provider; it may begin with the provider (``azure/…``), and a date or a
            revision may follow it.
        usage: What the call used.
        provider: Who charges, in any common spelling; None leaves it to *model*.
        at: When the call was made, an aware datetime; None is now.  Prices change on dates and, at some
            providers, with the hour.
        tier: "batch", "flex", "priority", "fast", or several, in a tuple or joined by "+"; "default",
            "standard" and "auto" are the standard prices.  None takes ``usage.tier``, the one the provider
            says it served; words there that name no tier of ours are standard.

    Raises:
        UnknownModelError: No price is known; ``near`` has similar names.
        UnknownPriceError: The model has no price in that tier.
        ValueError, TypeError: *tier* is not a known word, *at* not an aware datetime, or *usage* no
            UsageSnapshot.

    >>> from techrevati.runtime import UsageSnapshot
    >>> cost_usd("gpt-4o-mini", UsageSnapshot(input_tokens=1_000_000, output_tokens=1_000))
    Decimal('0.1506')
    """
    if at is None and not PRICING_TABLE:
        try:
            rates, since_s, until_s = _current[model, provider, tier, usage.tier]
        except (KeyError, TypeError, AttributeError):  # not asked yet, or wrong: told below
            pass
        else:
            if until_s is None or since_s <= time.time() < until_s:
                return decimal_usd(rates.cost(usage))
    return decimal_usd(_priced(model, provider, at, tier, usage)[0].cost(usage))


def quote(
    model: str,
    usage: UsageSnapshot,
    *,
    provider: str | None = None,
    at: datetime | None = None,
    tier: str | tuple[str, ...] | None = None,
) -> Quote:
    """Like :func:`cost_usd`, with everything a record of the cost should keep."""
    rates, entry, tiers = _priced(model, provider, at, tier, usage)
    cost = rates.cost(usage)
    return Quote(
        cost_picodollars=cost,
        cost_usd=decimal_usd(cost),
        model=model if entry is None else entry.model,
        provider=None if entry is None else entry.provider,
        tier="+".join(tiers) or "standard",
        book="registered" if entry is None else entry.book,
        unit_prices=rates.unit_prices(usage),
        source="registered" if entry is None else "book",
    )


def worst_case_picodollars(
    model: str,
    *,
    input_tokens: int,
    max_output_tokens: int,
    provider: str | None = None,
    at: datetime | None = None,
    tier: str | tuple[str, ...] | None = None,
    audio: bool = False,
    web_searches: int = 0,
    requests: int = 1,
) -> Picodollars:
    """The most that one call of this size may cost, in exact pico-dollars, whatever the provider does with
    it.

    Every input token at the dearest of what it may be charged as (plain, written to or read from a cache,
    image, with *audio* also audio), every output token likewise, at every long-context step the input reaches
    and every hour the call may fall into; *web_searches* and *requests* at their fees.

    Raises:
        UnknownModelError, UnknownPriceError, ValueError, TypeError: As :func:`cost_usd`.
    """
    input_tokens = arguments.count("input_tokens", input_tokens)
    max_output_tokens = arguments.count("max_output_tokens", max_output_tokens)
    web_searches = arguments.count("web_searches", web_searches)
    requests = arguments.count("requests", requests)
    tiers = _tiers(tier)
    pricing, entry = _resolve(model, provider)
    at_s = _seconds(at)
    if pricing is not None:
        if tiers:
            raise UnknownPriceError(model, f"tier {tiers[0]!r}")
        possible = [pricing.rates]
    else:
        assert entry is not None
        possible = list({id(rates): rates for rates in entry.possible_rates(at_s, tiers)}.values())
    return max(
        rates.worst(
            input_tokens, max_output_tokens, audio=audio, web_searches=web_searches, requests=requests
        )
        for rates in possible
    )


def output_limit(model: str, *, provider: str | None = None) -> int | None:
    """The most output tokens that *model* can generate in one call; None when the book does not say."""
    entry = _find(model, provider)
    return None if entry is None else entry.max_output_tokens


def has_pricing(model: str) -> bool:
    """True when a call of *model* can be priced."""
    return find_pricing(model) is not None or (bool(model) and _find(model, None) is not None)


def cost_picodollars_or_none(model: str, usage: UsageSnapshot) -> Picodollars | None:
    """The cost of a call made now; None when nothing prices it.  What ``UsageTracker`` counts."""
    if PRICING_TABLE:
        pricing = find_pricing(model)
        if pricing is not None:
            return pricing.cost_picodollars(usage)
    else:
        try:
            rates, since_s, until_s = _current[model, None, None, usage.tier]
        except KeyError:
            pass
        else:
            if until_s is None or since_s <= time.time() < until_s:
                return rates.cost(usage)
    if not model:
        return None
    entry = _find(model, None)
    if entry is None:
        return None
    try:
        return _priced(model, None, None, None, usage)[0].cost(usage)
    except UnknownPriceError:
        return None


# --- whose prices ------------------------------------------------------------------------------------------

_book: PriceBook | None = None


def use_price_book(book: PriceBook | None) -> None:
    """Ask *book* before the bundled one from now on, in the whole process; None: only the bundled one."""
    global _book, _entries, _current
    if book is not None and not isinstance(book, PriceBook):
        raise TypeError(f"book must be a PriceBook or None, got {book!r}")
    _book = book
    # New ones, not emptied ones: a thread that is still reading the book before must not write into these.
    _entries, _current = {}, {}


_entries: dict[tuple[str, str | None], Entry] = {}
# What (model, provider, tier, served tier) is charged now, and for how long: from when until when, None for
# ever.
_current: dict[tuple[object, ...], tuple[Rates, float, float | None]] = {}
_CAPACITY = 4096


def _find(model: str, provider: str | None) -> Entry | None:
    entries = _entries
    try:
        return entries[model, provider]
    except KeyError:
        pass
    except TypeError:
        raise TypeError(f"model must be a string, got {model!r}") from None
    arguments.text("model", model)
    if provider is not None:
        arguments.text("provider", provider)
    found = None if _book is None else _book.find(model, provider)
    if found is None:
        found = PriceBook.bundled().find(model, provider)
    if found is not None:
        if len(entries) >= _CAPACITY:
            entries.clear()
        entries[model, provider] = found
    return found


def _resolve(model: str, provider: str | None) -> tuple[ModelPricing | None, Entry | None]:
    arguments.text("model", model)
    if PRICING_TABLE:
        pricing = find_pricing(model)
        if pricing is None and provider is not None:
            pricing = find_pricing(f"{canonical_provider(provider)}/{model}") or find_pricing(
                f"{provider}/{model}"
            )
        if pricing is not None:
            return pricing, None
    entry = _find(model, provider)
    if entry is None:
        named = model if provider is None else f"{provider}/{model}"
        raise UnknownModelError(named, lambda: _near(model))
    return None, entry


def _near(model: str) -> tuple[str, ...]:
    """Names like *model* in the books that are asked, the process's own before the bundled one."""
    own = () if _book is None else _book.near(model)
    return tuple(dict.fromkeys((*own, *PriceBook.bundled().near(model))))[:3]


def _priced(
    model: str,
    provider: str | None,
    at: datetime | None,
    tier: str | tuple[str, ...] | None,
    usage: UsageSnapshot,
) -> tuple[Rates, Entry | None, tuple[str, ...]]:
    try:
        served = usage.tier
    except AttributeError:
        raise TypeError(f"usage must be a UsageSnapshot, got {usage!r}") from None
    tiers = _served(served) if tier is None else _tiers(tier)
    at_s = _seconds(at)
    current = _current
    pricing, entry = _resolve(model, provider)
    if pricing is not None:
        if tiers and tier is not None:
            raise UnknownPriceError(model, f"tier {tiers[0]!r}")
        return pricing.rates, None, ()  # a registered price holds whatever tier the provider says it served
    assert entry is not None
    rates = entry.rates(at_s, tiers)
    if at is None and (tier is None or isinstance(tier, (str, tuple))):
        since_s, until_s = entry.steady(at_s)
        if len(current) >= _CAPACITY:
            current.clear()
        current[model, provider, tier, served] = rates, since_s, None if until_s == float("inf") else until_s
    return rates, entry, tiers


def _tiers(tier: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The tiers that the caller asks for; a word that is none is a mistake of the caller's."""
    if tier is None:
        return ()
    tiers = set()
    for given in (tier,) if isinstance(tier, str) else tuple(tier):
        for word in _words(given) if isinstance(given, str) else (given,):
            if word in TIERS:
                tiers.add(word)
            elif word not in STANDARD_TIERS:
                allowed = ", ".join(sorted(TIERS | STANDARD_TIERS))
                raise ValueError(f"tier must be None or one of {allowed}; got {given!r}")
    return tuple(sorted(tiers))


def _served(tier: str | None) -> tuple[str, ...]:
    """The tiers that a provider says it served; a word of its own that prices do not know is standard."""
    return () if tier is None else tuple(sorted({word for word in _words(tier) if word in TIERS}))


def _words(tier: str) -> list[str]:
    words = (part.strip() for part in tier.lower().split("+"))
    return [_SYNONYMS.get(word, word) for word in words]


def _seconds(at: datetime | None) -> float:
    if at is None:
        return time.time()
    try:
        aware = at.utcoffset() is not None
    except AttributeError:
        raise TypeError(f"at must be an aware datetime or None, got {at!r}") from None
    if not aware:
        raise ValueError(f"at must be an aware datetime (with a time zone), got {at!r}")
    return at.timestamp()
