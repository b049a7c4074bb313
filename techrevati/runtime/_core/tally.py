"""What has been spent and what is reserved: the decisions of every budget, pure.

A ``Tally`` holds, for one budget in one window, what was settled and what is reserved, by unit.  Amounts are
exact: whole numbers, or fractions for prices with more digits than a pico-dollar has.  A ``Lease`` is one
reservation: which tallies it was charged to, how much, and until when its holder must have said more.

The invariant: ``settled + reserved <= limit`` for every limited unit, as long as nobody settles more than was
reserved.  Whoever does is recorded in full, and the tally then refuses everything.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Amount: TypeAlias = int | Fraction
    Amounts: TypeAlias = Mapping[str, Amount]

USD = "usd"  # in pico-dollars
UNITS = (
    USD,
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "total_tokens",
    "model_calls",
    "attempts",
    "tool_calls",
    "delegated_tasks",
    "turns",
    "wall_seconds",  # in milliseconds
)
THRESHOLDS = (50, 80, 100)


class Refusal(NamedTuple):
    """Why a reservation does not fit.

    Attributes:
        unit: The limited unit.
        limit, settled, reserved, asked: Its amounts.
        reason: "spent": it would not fit even if every reservation were given back.  "busy": it might fit
            when others settle.
    """

    unit: str
    limit: Amount
    settled: Amount
    reserved: Amount
    asked: Amount
    reason: str


class Tally(NamedTuple):
    """Sums of one budget in one window; ``told`` is the highest threshold told, by unit."""

    settled: Mapping[str, Amount] = {}
    reserved: Mapping[str, Amount] = {}
    told: Mapping[str, int] = {}


EMPTY = Tally()


def refusal(tally: Tally, limits: Amounts, asked: Amounts) -> Refusal | None:
    """Why *asked* does not fit; None when it fits.  A unit that is overspent refuses everything."""
    for unit, limit in limits.items():
        more = asked.get(unit, 0)
        settled = tally.settled.get(unit, 0)
        reserved = tally.reserved.get(unit, 0)
        if settled > limit or (more and settled + more > limit):
            return Refusal(unit, limit, settled, reserved, more, "spent")
        if more and settled + reserved + more > limit:
            return Refusal(unit, limit, settled, reserved, more, "busy")
    return None


def reserved(tally: Tally, asked: Amounts) -> Tally:
    """The tally with *asked* reserved."""
    return tally._replace(reserved=_plus(tally.reserved, asked))


def settled(tally: Tally, asked: Amounts, actual: Amounts) -> Tally:
    """The tally after a reservation of *asked* turned out to be *actual*."""
    return tally._replace(
        settled=_plus(tally.settled, actual),
        reserved=_plus(tally.reserved, {u: -a for u, a in asked.items()}),
    )


def crossed(tally: Tally, limits: Amounts) -> tuple[Tally, tuple[tuple[str, int], ...]]:
    """The thresholds (unit, percent) that what was settled has reached and nobody was told of."""
    new: list[tuple[str, int]] = []
    told = dict(tally.told)
    for unit, limit in limits.items():
        spent = tally.settled.get(unit, 0) * 100
        for percent in THRESHOLDS:
            if told.get(unit, 0) < percent and spent and spent >= limit * percent:
                new.append((unit, percent))
                told[unit] = percent
    return (tally._replace(told=told), tuple(new)) if new else (tally, ())


def _plus(a: Amounts, b: Amounts) -> Amounts:
    total = dict(a)
    for unit, amount in b.items():
        value = total.get(unit, 0) + amount
        if value:
            total[unit] = value
        else:
            total.pop(unit, None)
    return total


# --- leases ------------------------------------------------------------------------------------------------

LEASE_PREFIX = "lease:"
TALLY_PREFIX = "tally:"


class Lease(NamedTuple):
    """One reservation until it is settled, released or resolved.

    Attributes:
        key: Becomes the key of the ledger's record.
        tallies: The keys of the tallies it is charged to.
        asked: What is reserved in each.
        reserved_at, expires_at: Seconds since 1970; from *expires_at* on it is in doubt.
        holder: Which process holds it.
        about: What the record will say: model, project, and so on.
        on_doubt: "hold", "estimate" or "release".
    """

    key: str
    tallies: tuple[str, ...]
    asked: Amounts
    reserved_at: float
    expires_at: float
    holder: str
    about: Mapping[str, object]
    on_doubt: str

    def in_doubt(self, now_s: float) -> bool:
        """Whether its holder has not been heard of in time."""
        return now_s >= self.expires_at


def amounts_text(amounts: Amounts) -> dict[str, str | int]:
    """Exact amounts for JSON: fractions as text."""
    return {unit: value if isinstance(value, int) else str(value) for unit, value in amounts.items()}


def amounts_from(written: Mapping[str, str | int]) -> dict[str, Amount]:
    """What :func:`amounts_text` wrote."""
    return {unit: value if isinstance(value, int) else Fraction(value) for unit, value in written.items()}


def tally_bytes(tally: Tally) -> bytes:
    """A tally as a record of a store."""
    import json

    return json.dumps(
        {"s": amounts_text(tally.settled), "r": amounts_text(tally.reserved), "t": tally.told},
        separators=(",", ":"),
    ).encode()


def tally_from(value: bytes | None) -> Tally:
    """What :func:`tally_bytes` wrote; an empty tally for None."""
    if value is None:
        return EMPTY
    import json

    written = json.loads(value)
    return Tally(amounts_from(written["s"]), amounts_from(written["r"]), written["t"])


def lease_bytes(lease: Lease) -> bytes:
    """A lease as a record of a store."""
    import json

    written = lease._asdict() | {"asked": amounts_text(lease.asked)}
    return json.dumps(written, separators=(",", ":")).encode()


def lease_from(value: bytes) -> Lease:
    """What :func:`lease_bytes` wrote."""
    import json

    written = json.loads(value)
    written["asked"] = amounts_from(written["asked"])
    written["tallies"] = tuple(written["tallies"])
    return Lease(**written)
