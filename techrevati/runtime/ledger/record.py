"""One priced model call, as the ledger keeps and gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core import arguments
from techrevati.runtime._core.labels import sayable
from techrevati.runtime.pricing import UnknownModelError, UnknownPriceError, decimal_usd, picodollars
from techrevati.runtime.pricing.quotes import charged
from techrevati.runtime.pricing.rates import has_rare_parts
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from typing import TypeAlias

    Amount: TypeAlias = int | Fraction

LARGEST = 2**63 - 1  # what an integer column holds
MOST_TOKENS = 10**15  # of one call, as reports add them up: a provider that says more is wrong
_new_draft = tuple.__new__
_WORDS = 1_024
_in_quotes: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class SpendRecord:
    """One model call on the books.  Immutable.

    Attributes:
        project, model: For whom, and which model.
        usage: What it used.
        cost: US dollars, exact; None when nothing prices the model.
        user, session, run, tags: Whose, as given.
        key: The idempotency key.
        certainty: "measured", "estimated" or "unknown": how the usage is known.
        failure: What kind of failure ended the call, as ``classify`` names it; None: it is not known to have
            failed.
        provider: Who charges, if known.
        at: When, in UTC.
        tier: The service tier priced.
        cost_source: "book", "registered", "given", "reported" (by the provider) or "unpriced".
        price_book: The version of the price book.
        unit_prices: Part of the usage to US dollars per million (fees: per thousand).
        sequence: Its place in the ledger.
    """

    project: str
    model: str
    usage: UsageSnapshot
    cost: Decimal | None
    user: str | None = None
    session: str | None = None
    run: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    certainty: str = "measured"
    provider: str | None = None
    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    tier: str = "standard"
    cost_source: str = "given"
    price_book: str = ""
    unit_prices: Mapping[str, str] = field(default_factory=dict)
    sequence: int = 0
    failure: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Everything as JSON values; money as text, so that no digit is lost."""
        return {
            "key": self.key,
            "at": self.at.isoformat(),
            "project": self.project,
            "model": self.model,
            "provider": self.provider,
            "user": self.user,
            "session": self.session,
            "run": self.run,
            "tags": dict(self.tags),
            "certainty": self.certainty,
            "failure": self.failure,
            "usage": self.usage.to_dict(),
            "cost_usd": None if self.cost is None else format(self.cost, "f"),
            "cost_source": self.cost_source,
            "tier": self.tier,
            "price_book": self.price_book,
            "unit_prices": dict(self.unit_prices),
        }


class SpendGroup(NamedTuple):
    """Sums of one group; ``group`` is a text, or a tuple of texts when grouped by several names."""

    group: str | tuple[str, ...]
    calls: int
    tokens: int
    cost: Decimal


class Doubt(NamedTuple):
    """A reservation whose holder was not heard of in time; it stays counted until resolved.

    Attributes:
        key: For ``ledger.resolve``.
        reserved_at, expired_at: In UTC.
        cost: The reserved maximum in US dollars; 0 when no money was reserved.
        holder: The process that made it.
        about: Project, model and what else was said of it.
    """

    key: str
    reserved_at: datetime
    expired_at: datetime
    cost: Decimal
    holder: str
    about: Mapping[str, object]


class Draft(NamedTuple):
    """A record on its way into the file: plain values only, in the order of the columns."""

    key: str
    at_s: float
    project: str
    model: str
    provider: str
    user: str
    session: str
    run: str
    certainty: str
    source: str
    cost: int | None
    cost_exact: str | None
    tokens: int
    usage: str
    tags: str
    book: str
    tier: str
    unit_prices: str
    failure: str = ""  # last, and not always there: spools of older versions have none


class Given(NamedTuple):
    """What a caller said of a call; checked, not yet priced."""

    project: str
    model: str
    usage: UsageSnapshot
    cost: float | Decimal | None
    user: str
    session: str
    run: str
    tags: Mapping[str, str] | None
    certainty: str
    provider: str | None
    tier: str | tuple[str, ...] | None
    failure: str = ""


def total_tokens(usage: UsageSnapshot) -> int:
    """Every token once: reasoning and images are parts of the output, cached audio one of what was cached."""
    return (
        usage.input_tokens
        + usage.output_tokens
        + usage.cache_write_tokens
        + usage.cache_read_tokens
        + usage.cache_write_1h_tokens
        + usage.input_audio_tokens
        + usage.output_audio_tokens
        + usage.input_image_tokens
    )


def draft(given: Given, key: str, at_s: float) -> Draft:
    """The record of a call, priced at *at_s*."""
    project, model, usage, cost, user, session, run, tags, certainty, provider, tier, failure = given
    rare = has_rare_parts(usage)
    exact = None
    amount: Amount | None = None
    if cost is None and usage.reported_cost_usd is None:
        try:
            amount, source, book, named, unit_prices = charged(
                model, usage, provider=provider, at_s=at_s, tier=tier, rare=rare
            )
        except (UnknownModelError, UnknownPriceError):
            source, book, named, unit_prices = "unpriced", "", _tier_named(given), "{}"
    else:
        amount, source = _said(given)
        book, named, unit_prices = "", _tier_named(given), "{}"
    if amount is not None and (type(amount) is not int or amount > LARGEST):
        amount, exact = None, str(amount)
    if rare:
        tokens = total_tokens(usage)
    else:
        tokens = usage.input_tokens + usage.output_tokens + usage.cache_write_tokens + usage.cache_read_tokens
    if tokens > MOST_TOKENS:
        tokens = MOST_TOKENS
    return _new_draft(
        Draft,  # not by its own constructor, which takes three times as long
        (
            key,
            at_s,
            project,
            model,
            provider or "",
            user,
            session,
            run,
            certainty,
            source,
            amount,
            exact,
            tokens,
            _usage_text(usage, rare),
            _tags_text(tags) if tags else "",
            book,
            named,
            unit_prices,
            failure,
        ),
    )


def _said(given: Given) -> tuple[Amount, str]:
    """What the caller, else the provider, says that a call cost, in pico-dollars, and which of them."""
    if given.cost is not None:
        arguments.number("cost", given.cost)
        return picodollars(given.cost), "given"
    assert given.usage.reported_cost_usd is not None
    return picodollars(given.usage.reported_cost_usd), "reported"


def _tier_named(given: Given) -> str:
    """The tier of a call that no book prices."""
    tier = given.tier if given.tier is not None else given.usage.tier
    return sayable("+".join(tier) if isinstance(tier, tuple) else tier or "standard")


def _usage_text(usage: UsageSnapshot, rare: bool) -> str:
    """Everything that a usage says, as JSON."""
    if rare or usage.reported_cost_usd is not None:
        import json

        counts = {name: count for name, count in usage.to_dict().items() if count}
        return json.dumps(counts, separators=(",", ":"))
    # Most say no more than this, which takes a tenth of the time.
    u_in, u_out, more = usage.input_tokens, usage.output_tokens, ""
    if usage.cache_write_tokens:
        more = f',"cache_write_tokens":{usage.cache_write_tokens}'
    if usage.cache_read_tokens:
        more = f'{more},"cache_read_tokens":{usage.cache_read_tokens}'
    if usage.tier is not None:
        more = f'{more},"tier":{_quoted(usage.tier)}'
    if usage.model is not None:
        more = f'{more},"model":{_quoted(usage.model)}'
    if u_in and u_out:
        return f'{{"input_tokens":{u_in},"output_tokens":{u_out}{more}}}'
    if u_in:
        return f'{{"input_tokens":{u_in}{more}}}'
    return f'{{"output_tokens":{u_out}{more}}}' if u_out else f"{{{more[1:]}}}"


def _quoted(word: str) -> str:
    """A name as JSON; there are few of them, so they are remembered."""
    found = _in_quotes.get(word)
    if found is None:
        import json

        if len(_in_quotes) >= _WORDS:
            _in_quotes.clear()
        found = _in_quotes[word] = json.dumps(word)
    return found


def _tags_text(tags: Mapping[str, str]) -> str:
    import json

    return json.dumps(dict(tags), sort_keys=True)


def record_from(row: tuple[object, ...]) -> SpendRecord:
    """The record of a row: sequence, then the columns of a draft."""
    import json

    sequence, values = row[0], Draft(*row[1:])  # type: ignore[arg-type]
    cost = exact_cost(values.cost, values.cost_exact)
    return SpendRecord(
        values.project,
        values.model,
        UsageSnapshot.from_dict(json.loads(values.usage)),
        None if cost is None else decimal_usd(cost),
        values.user or None,
        values.session or None,
        values.run or None,
        json.loads(values.tags) if values.tags else {},
        values.key,
        values.certainty,
        values.provider or None,
        datetime.fromtimestamp(values.at_s, UTC),
        values.tier,
        values.source,
        values.book,
        json.loads(values.unit_prices),
        int(sequence),  # type: ignore[call-overload]
        values.failure or None,
    )


def exact_cost(cost: int | None, cost_exact: str | None) -> Amount | None:
    """The amount that a row's two columns say; None for an unpriced call."""
    return cost if cost_exact is None else Fraction(cost_exact)


def differences(stands: Draft, given: Draft) -> tuple[str, ...]:
    """What differs between two records of one key.  When prices were looked up, a newer price is no other
    content; the time is none either."""
    names = ["project", "model", "user", "session", "run", "certainty", "failure", "usage", "tags"]
    if stands.source == given.source == "given":
        names += ["cost", "cost_exact"]
    elif "given" in (stands.source, given.source):
        names += ["source"]
    return tuple(name for name in names if getattr(stands, name) != getattr(given, name))
