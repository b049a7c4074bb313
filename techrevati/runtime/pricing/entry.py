"""One model in a price book: which rates are in force at a time and in a service tier.

A model has a list of price periods, and one more for each tier.  Of the periods whose condition holds (a
start date in UTC, hours of the day in UTC, days of the week), the last one applies; if none holds, the
first.  A tier replaces the prices it names and leaves the others, or multiplies all prices of tokens.
"""

from __future__ import annotations

from datetime import UTC
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime.pricing.errors import UnknownPriceError
from techrevati.runtime.pricing.rates import PARTS, PER_THOUSAND, Rates, whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

_DAY_S = 86_400
_CACHED_RATES = 64  # combinations of periods and tiers; a model has a handful


class Period(NamedTuple):
    """Prices with the condition under which they apply.

    Attributes:
        prices: Part to price, as ``Rates`` takes them.
        start_s: Seconds since the epoch from which they apply; None is always.
        hours: Windows of seconds within a UTC day, the end not included; empty is the whole day.
        days: ISO weekdays, 1 is Monday; empty is every day.
    """

    prices: Mapping[str, object]
    start_s: int | None = None
    hours: tuple[tuple[int, int], ...] = ()
    days: tuple[int, ...] = ()

    def holds(self, at_s: float) -> bool:
        """Whether the condition holds at a time."""
        if self.start_s is not None and at_s < self.start_s:
            return False
        if self.days and (int(at_s // _DAY_S) + 3) % 7 + 1 not in self.days:  # day 0 was a Thursday
            return False
        if not self.hours:
            return True
        second = at_s % _DAY_S
        return any(
            start <= second < end if start < end else second >= start or second < end
            for start, end in self.hours
        )


class Entry:
    """A model, its provider, its limits and its prices.

    Attributes:
        provider: Canonical name of who charges.
        model: The id under which the book lists the model.
        max_output_tokens: The model's own output limit; None when the book does not know it.
        always: The rates, when neither time nor tier can change them; None otherwise.
        book: The version of the price book that lists it.
    """

    __slots__ = ("_rates", "always", "book", "max_output_tokens", "model", "provider", "standard", "tiers")

    def __init__(
        self,
        provider: str,
        model: str,
        standard: Sequence[Period],
        tiers: Mapping[str, Sequence[Period] | Fraction],
        max_output_tokens: int | None = None,
        book: str = "unversioned",
    ) -> None:
        self.provider: str = provider
        self.book: str = book
        self.model: str = model
        self.standard: tuple[Period, ...] = tuple(standard)
        self.tiers: dict[str, Sequence[Period] | Fraction] = dict(tiers)
        self.max_output_tokens: int | None = max_output_tokens
        self._rates: dict[object, Rates] = {}
        timeless = len(self.standard) == 1
        self.always: Rates | None = Rates(self.standard[0].prices) if timeless else None

    def renamed(self, model: str) -> Entry:
        """Another model of the same prices and limits."""
        return Entry(self.provider, model, self.standard, self.tiers, self.max_output_tokens, self.book)

    def with_tiers(self, names: Collection[str]) -> Entry:
        """The same model with no other tiers than those."""
        if self.tiers.keys() <= set(names):
            return self
        tiers = {name: periods for name, periods in self.tiers.items() if name in names}
        return Entry(self.provider, self.model, self.standard, tiers, self.max_output_tokens, self.book)

    def rates(self, at_s: float, tiers: Sequence[str]) -> Rates:
        """The rates in force.

        Raises:
            UnknownPriceError: One of *tiers* has no price for this model, or two of them contradict.
        """
        if not tiers and self.always is not None:
            return self.always
        base = self._standard_at(at_s)
        chosen: list[int | None] = [base]
        for tier in tiers:
            chosen.append(self._tier_at(tier, at_s))
        key = (*chosen, *tiers)
        found = self._rates.get(key)
        if found is None:
            found = Rates(self._prices(base, at_s, tiers))
            if len(self._rates) >= _CACHED_RATES:
                self._rates.clear()
            self._rates[key] = found
        return found

    def possible_rates(self, at_s: float, tiers: Sequence[str]) -> Iterator[Rates]:
        """Every set of rates that may be in force at some hour of a call that starts about *at_s*."""
        for moment in _moments(self, at_s):
            yield self.rates(moment, tiers)

    def steady_for_a_day(self, at_s: float) -> tuple[float, float] | None:
        """The span around *at_s* in which :meth:`possible_rates` stay the same; None where hours or days
        have their own prices."""
        since, until = self.steady(at_s)
        if until == float("inf"):
            return since, until
        if any(period.hours or period.days for period in _periods(self)):
            return None
        change_is_near = until - _DAY_S
        return (since, change_is_near) if at_s < change_is_near else (max(since, change_is_near), until)

    def steady(self, at_s: float) -> tuple[float, float]:
        """The span of time around *at_s* in which no rates change: from the first to before the second."""
        if self.always is not None and not any(isinstance(tier, list) for tier in self.tiers.values()):
            return float("-inf"), float("inf")
        today = at_s // _DAY_S * _DAY_S
        since, until = float("-inf"), float("inf")
        for change in _changes(self, today):
            if change <= at_s:
                since = max(since, change)
            else:
                until = min(until, change)
        return since, until

    def _standard_at(self, at_s: float) -> int:
        for number in range(len(self.standard) - 1, -1, -1):
            if self.standard[number].holds(at_s):
                return number
        return 0

    def _tier_at(self, tier: str, at_s: float) -> int:
        periods = self.tiers.get(tier)
        if isinstance(periods, Fraction):
            return 0
        mask = 0
        for number, period in enumerate(periods or ()):
            if period.holds(at_s):
                mask |= 1 << number
        if not mask:
            raise UnknownPriceError(f"{self.provider}/{self.model}", f"tier {tier!r}")
        return mask

    def _prices(self, base: int, at_s: float, tiers: Sequence[str]) -> dict[str, object]:
        prices = dict(self.standard[base].prices)
        replaced: dict[str, str] = {}
        factor = Fraction(1)
        for tier in tiers:
            periods = self.tiers[tier]
            if isinstance(periods, Fraction):
                factor *= periods
                continue
            for period in periods:
                if not period.holds(at_s):
                    continue
                for part, price in period.prices.items():
                    if replaced.setdefault(part, tier) != tier:
                        wanted = f"tiers {replaced[part]!r} and {tier!r} together"
                        raise UnknownPriceError(f"{self.provider}/{self.model}", wanted)
                    prices[part] = price
        return (
            prices if factor == 1 else {part: _times(part, price, factor) for part, price in prices.items()}
        )


def _times(part: str, price: object, factor: Fraction) -> object:
    if part in PER_THOUSAND:
        return price
    if isinstance(price, list):
        return [each if number % 2 else _times(part, each, factor) for number, each in enumerate(price)]
    return whole(Fraction(str(price)) * factor)


def _periods(entry: Entry) -> list[Period]:
    tiers = [tier for tier in entry.tiers.values() if not isinstance(tier, Fraction)]
    return [*entry.standard, *(period for tier in tiers for period in tier)]


def _changes(entry: Entry, today: float) -> Iterator[float]:
    """When prices may change: dates, and of a day its ends and the ends of its windows."""
    for period in _periods(entry):
        if period.start_s is not None:
            yield period.start_s
        if period.hours or period.days:
            yield from (today, today + _DAY_S)
            for window in period.hours:
                yield from (today + second for second in window)


def _moments(entry: Entry, at_s: float) -> Iterator[float]:
    """Times that together meet every period a call starting at *at_s* may be charged by."""
    yield at_s
    periods = _periods(entry)
    if not any(period.hours or period.days for period in periods):
        # A call that starts before a change of prices may end after it.
        yield from (at_s + _DAY_S,) if any(period.start_s for period in periods) else ()
        return
    today = at_s // _DAY_S * _DAY_S
    for day in range(8):
        for period in periods:
            for start, _ in period.hours or ((0, 0),):
                if today + day * _DAY_S + start >= at_s:
                    yield today + day * _DAY_S + start


# --- the written form --------------------------------------------------------------------------------------


def period_from(written: object) -> Period:
    """A period from ``[prices]`` or ``[prices, {"from": "2026-08-17", "hours": ["01:00-04:00"], "days":
    [1]}]``.

    Raises:
        ValueError: It is written otherwise.
    """
    if not isinstance(written, list) or not 1 <= len(written) <= 2 or not isinstance(written[0], dict):
        raise ValueError(f"a price period must be [prices] or [prices, condition], got {written!r}")
    prices, condition = written[0], written[1] if len(written) == 2 else {}
    if not prices or not isinstance(condition, dict):  # no price at all would be free
        raise ValueError(f"a price period must have prices, and its condition be an object, got {written!r}")
    for part, price in prices.items():
        if part not in PARTS:
            raise ValueError(f"unknown part {part!r} in a price period; known are {', '.join(PARTS)}")
        _check(part, price)
    start = condition.get("from")
    return Period(
        prices,
        None if start is None else _epoch(start),
        tuple(_window(text) for text in condition.get("hours", ())),
        tuple(_weekday(day) for day in condition.get("days", ())),
    )


def _weekday(day: object) -> int:
    if not isinstance(day, int) or not 1 <= day <= 7:
        raise ValueError(f"a day of the week must be of 1 to 7, got {day!r}")
    return day


def _check(part: str, price: object) -> None:
    steps: list[Any] = price if isinstance(price, list) else [price]
    starts = steps[1::2]
    good = len(steps) % 2 == 1 and all(type(start) is int and start >= 0 for start in starts)
    if not good or starts != sorted(starts) or not all(_is_number(each) for each in steps[::2]):
        raise ValueError(f"price of {part!r} must be a number >= 0 or [base, start, above, …], got {price!r}")


def _is_number(price: object) -> bool:
    """Whether it is decimal, finite and >= 0."""
    from decimal import Decimal, InvalidOperation

    try:
        exact = Decimal(str(price))
    except InvalidOperation:
        return False
    return exact.is_finite() and exact >= 0


def _epoch(day: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def _window(text: str) -> tuple[int, int]:
    start, _, end = text.partition("-")
    return _second(start), _second(end)


def _second(text: str) -> int:
    hour, _, minute = text.partition(":")
    second = int(hour) * 3600 + int(minute) * 60
    if not 0 <= second <= _DAY_S or not 0 <= int(minute) < 60:
        raise ValueError(f"a time of day must be like 16:30, got {text!r}")
    return second


def entry_from(provider: str, name: str, written: Mapping[str, object], book: str) -> Entry:
    """An entry from its written form: ``prices``, and optionally ``id``, ``out`` and ``tiers``."""
    standard = written["prices"]
    if not isinstance(standard, list) or not standard:
        raise ValueError(f"prices of {name!r} must be a list of periods, got {standard!r}")
    tiers: dict[str, Sequence[Period] | Fraction] = {}
    given = written.get("tiers", {})
    if not isinstance(given, dict):
        raise ValueError(f"tiers must be an object, got {given!r}")
    for tier, value in given.items():
        if not isinstance(value, list) and not _is_number(value):
            raise ValueError(f"tier {tier!r} must be a list of periods or a factor >= 0, got {value!r}")
        periods = isinstance(value, list)
        tiers[tier] = [period_from(each) for each in value] if periods else Fraction(str(value))
    limit = written.get("out")
    return Entry(
        provider,
        str(written.get("id", name)),
        [period_from(each) for each in standard],
        tiers,
        limit if isinstance(limit, int) else None,
        book,
    )
