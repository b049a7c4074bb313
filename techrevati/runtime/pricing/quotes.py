"""What a call costs: what callers registered, then the price book, and never a guess."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from techrevati.runtime._core import arguments
from techrevati.runtime.pricing.book import PriceBook
from techrevati.runtime.pricing.errors import UnknownModelError, UnknownPriceError
from techrevati.runtime.pricing.money import decimal_usd
from techrevati.runtime.pricing.names import canonical_provider
from techrevati.runtime.pricing.rates import worst_of
from techrevati.runtime.pricing.registered import PRICING_TABLE, find_pricing, pricing_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from techrevati.runtime.pricing.entry import Entry
    from techrevati.runtime.pricing.rates import Dearest, Picodollars, Rates
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
    if at is None:
        return decimal_usd(current_picodollars(model, usage, provider, tier))
    return decimal_usd(_priced(model, provider, at, tier, usage)[0].cost(usage))


def cost_picodollars(
    model: str,
    usage: UsageSnapshot,
    *,
    provider: str | None = None,
    at: datetime | None = None,
    tier: str | tuple[str, ...] | None = None,
) -> Picodollars:
    """:func:`cost_usd` in exact pico-dollars."""
    if at is None:
        return current_picodollars(model, usage, provider, tier)
    return _priced(model, provider, at, tier, usage)[0].cost(usage)


def current_picodollars(
    model: str, usage: UsageSnapshot, provider: str | None, tier: str | tuple[str, ...] | None
) -> Picodollars:
    """:func:`cost_picodollars` of a call made now."""
    try:
        rates, since_s, until_s = _current[model, provider, tier, usage.tier]
        if until_s is None or since_s <= time.time() < until_s:
            return rates.cost(usage)
    except (KeyError, TypeError, AttributeError):  # not asked yet, or wrong: told below
        pass
    return _priced(model, provider, None, tier, usage)[0].cost(usage)


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
    image; audio, too, with *audio* and of a model that has a price for speech), every output token likewise,
    at every long-context step the input reaches and every hour the call may fall into; *web_searches* and
    *requests* at their fees.

    Raises:
        UnknownModelError, UnknownPriceError, ValueError, TypeError: As :func:`cost_usd`.
    """
    if at is None and not (audio or web_searches) and requests == 1:
        levels = _dearest(model, provider, tier)
        whole = type(input_tokens) is type(max_output_tokens) is int
        if levels is not None and whole and input_tokens >= 0 and max_output_tokens >= 0:
            return worst_of(levels, input_tokens, max_output_tokens)
    input_tokens = arguments.count("input_tokens", input_tokens)
    max_output_tokens = arguments.count("max_output_tokens", max_output_tokens)
    web_searches = arguments.count("web_searches", web_searches)
    requests = arguments.count("requests", requests)
    tiers = _tiers(tier)
    worst = _worst  # before anything is looked up: what changes meanwhile has another one
    pricing, entry = _resolve(model, provider)
    at_s = _seconds(at)
    if pricing is not None:
        if tiers:
            raise UnknownPriceError(model, f"tier {tiers[0]!r}")
        possible = [pricing.rates]
        span: tuple[float, float] | None = _FOR_EVER
    else:
        assert entry is not None
        possible = list({id(rates): rates for rates in entry.possible_rates(at_s, tiers)}.values())
        span = entry.steady_for_a_day(at_s)
    if at is None and span is not None:
        levels = tuple({level: None for rates in possible for level in rates.dearest})
        until_s = None if span == _FOR_EVER else span[1]
        _remember(worst, (model, provider, tier), (levels, span[0], until_s))
    return max(
        rates.worst(
            input_tokens, max_output_tokens, audio=audio, web_searches=web_searches, requests=requests
        )
        for rates in possible
    )


def plain_worst_case_picodollars(
    model: str,
    provider: str | None,
    tier: str | tuple[str, ...] | None,
    input_tokens: int,
    max_output_tokens: int,
) -> Picodollars:
    """:func:`worst_case_picodollars` of a call made now, in fewer steps; both counts are whole and >= 0."""
    try:
        levels, since_s, until_s = _worst[model, provider, tier]
        if until_s is None or since_s <= time.time() < until_s:
            if len(levels) == 1:
                _, given, made, request = levels[0]
                return input_tokens * given + max_output_tokens * made + request
            return worst_of(levels, input_tokens, max_output_tokens)
    except (KeyError, TypeError):
        pass
    return worst_case_picodollars(
        model,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        provider=provider,
        tier=tier,
    )


def _dearest(model: str, provider: str | None, tier: object) -> Dearest | None:
    """What is remembered of :func:`worst_case_picodollars`; None: it must be worked out."""
    try:
        levels, since_s, until_s = _worst[model, provider, tier]
    except (KeyError, TypeError):
        return None
    return levels if until_s is None or since_s <= time.time() < until_s else None


def charged(
    model: str,
    usage: UsageSnapshot,
    *,
    provider: str | None,
    at_s: float,
    tier: str | tuple[str, ...] | None,
    rare: bool | None = None,
) -> tuple[Picodollars, str, str, str, str]:
    """:func:`quote` in fewer steps, at *at_s* seconds since 1970; for ledgers, which ask for every call.

    *rare* is what ``has_rare_parts`` says of *usage*, if the caller knows.  Gives the exact cost in
    pico-dollars, its source ("registered" or "book"), book and tier as a :class:`Quote` has them, and the
    unit prices as JSON: a plain tuple, as a named one takes twice as long.
    """
    memo = _charged
    try:
        rates, since_s, until_s, source, book, named = memo[model, provider, tier, usage.tier]
    except (KeyError, TypeError, AttributeError):  # not asked yet, or wrong: told below
        pass
    else:
        if since_s <= at_s < until_s:
            return rates.cost(usage), source, book, named, rates.unit_prices_json(usage, rare)
    rates, entry, tiers = _priced(model, provider, at_s, tier, usage)
    named = "+".join(tiers) or "standard"
    source, book, span = "registered", "registered", _FOR_EVER
    if entry is not None:
        source, book, span = "book", entry.book, entry.steady(at_s)
    _remember(memo, (model, provider, tier, usage.tier), (rates, *span, source, book, named))
    return rates.cost(usage), source, book, named, rates.unit_prices_json(usage, rare)


def output_limit(model: str, *, provider: str | None = None) -> int | None:
    """The most output tokens that *model* can generate in one call; None when the book does not say."""
    entry = _find(model, provider)
    return None if entry is None else entry.max_output_tokens


def has_pricing(model: str) -> bool:
    """True when a call of *model* can be priced."""
    return find_pricing(model) is not None or (bool(model) and _find(model, None) is not None)


def cost_picodollars_or_none(model: str, usage: UsageSnapshot) -> Picodollars | None:
    """The cost of a call made now; None when nothing prices it.  What ``UsageTracker`` counts."""
    try:
        rates, since_s, until_s = _current[model, None, None, usage.tier]
    except (KeyError, TypeError, AttributeError):  # not asked yet, or wrong: told below
        pass
    else:
        if until_s is None or since_s <= time.time() < until_s:
            return rates.cost(usage)
    if not model:  # may be registered, but no call names it
        pricing = find_pricing(model)
        return None if pricing is None else pricing.cost_picodollars(usage)
    try:
        return _priced(model, None, None, None, usage)[0].cost(usage)
    except (UnknownModelError, UnknownPriceError):
        return None


# --- whose prices ------------------------------------------------------------------------------------------

_book: PriceBook | None = None


def use_price_book(book: PriceBook | None) -> None:
    """Ask *book* before the bundled one from now on, in the whole process; None: only the bundled one."""
    global _book, _entries
    if book is not None and not isinstance(book, PriceBook):
        raise TypeError(f"book must be a PriceBook or None, got {book!r}")
    with pricing_table.lock:
        _remember_nothing()
        _entries = _Nothing()
        _book = book
        _entries = {}
        _forget_prices()


# A change is made between these two.  If it is cut short there, as by KeyboardInterrupt, prices are worked
# out anew for every call until the next change: slow, but never wrong.


def _remember_nothing() -> None:
    """The book or the table is about to change: what is worked out meanwhile may be of either side of it."""
    global _current, _worst, _charged
    _current, _worst, _charged = _Nothing(), _Nothing(), _Nothing()


def _forget_prices() -> None:
    """The book or the table has changed."""
    global _current, _worst, _charged
    # New ones, not emptied ones: a thread that is still reading what was there must not write into these.
    _current, _worst, _charged = {}, {}, {}


def _remember(memo: dict[Any, Any], key: tuple[object, ...], value: tuple[object, ...]) -> None:
    if len(memo) >= _CAPACITY:
        memo.clear()
    try:
        memo[key] = value
    except TypeError:  # a list of tiers is no key
        pass


class _Nothing(dict[Any, Any]):
    """Remembers nothing."""

    def __setitem__(self, key: object, value: object) -> None:
        pass


_entries: dict[tuple[str, str | None], Entry] = {}
# What (model, provider, tier, served tier) is charged now, and for how long: from when until when, None for
# ever.
_current: dict[tuple[object, ...], tuple[Rates, float, float | None]] = {}
# (model, provider, tier) -> the dearest rates of a call made now, and for how long.
_worst: dict[tuple[object, ...], tuple[Dearest, float, float | None]] = {}
# (model, provider, tier, served tier) -> rates, from when, until when, source, book and tier.
_charged: dict[tuple[object, ...], tuple[Rates, float, float, str, str, str]] = {}
_CAPACITY = 4096
_FOR_EVER = (float("-inf"), float("inf"))
pricing_table.changing, pricing_table.changed = _remember_nothing, _forget_prices


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
    at: datetime | float | None,
    tier: str | tuple[str, ...] | None,
    usage: UsageSnapshot,
) -> tuple[Rates, Entry | None, tuple[str, ...]]:
    try:
        served = usage.tier
    except AttributeError:
        raise TypeError(f"usage must be a UsageSnapshot, got {usage!r}") from None
    tiers = _served(served) if tier is None else _tiers(tier)
    at_s = float(at) if isinstance(at, (int, float)) else _seconds(at)
    current = _current
    pricing, entry = _resolve(model, provider)
    if pricing is not None:
        if tiers and tier is not None:
            raise UnknownPriceError(model, f"tier {tiers[0]!r}")
        rates, tiers = pricing.rates, ()  # it holds whatever tier the provider says it served
        since_s, until_s = _FOR_EVER
    else:
        assert entry is not None
        rates = entry.rates(at_s, tiers)
        since_s, until_s = entry.steady(at_s)
    if at is None:
        until = None if until_s == float("inf") else until_s
        _remember(current, (model, provider, tier, served), (rates, since_s, until))
    return rates, entry, tiers


def _tiers(tier: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The tiers that the caller asks for; a word that is none is a mistake of the caller's."""
    if tier is None:
        return ()
    if not isinstance(tier, (str, tuple, list)):
        raise TypeError(f"tier must be None, a word or a tuple of words, got {tier!r}")
    tiers = set()
    for given in (tier,) if isinstance(tier, str) else tuple(tier):
        for word in _words(given) if isinstance(given, str) else (given,):
            if word in TIERS:
                tiers.add(word)
            elif word not in STANDARD_TIERS:
                allowed = ", ".join(sorted(TIERS | STANDARD_TIERS))
                raise ValueError(f"tier must be None or one of {allowed}; got {given!r}")
    return tuple(sorted(tiers))


def check_tier(tier: str | tuple[str, ...] | None) -> None:
    """Refuse what :func:`cost_usd` would refuse as a tier.

    Raises:
        ValueError, TypeError: It is no word that prices know.
    """
    _tiers(tier)


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
