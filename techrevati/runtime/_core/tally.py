"""What has been spent and what is reserved: the decisions of every budget, without I/O, clock or lock.

A ``Tally`` holds, for one budget in one window, what was settled and what is reserved, by unit.  Amounts are
exact: whole numbers, or fractions for prices with more digits than a pico-dollar has.  A ``Lease`` is one
reservation: which tallies it was charged to, how much, and until when its holder must have said more.

The invariant: ``settled + reserved <= limit`` for every limited unit, as long as nobody settles more than was
reserved.  Whoever does is recorded in full, and the tally then refuses everything.

A tally is changed in place: a budget of this process changes the one it has, behind its lock; a budget in a
store changes one that it read, and writes it back if nobody else did.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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


class Tally:
    """Sums of one budget in one window; ``told`` is the highest threshold told, by unit, ``told_of`` the
    limit that it is a share of: one that was raised since has thresholds of its own.  Not thread-safe.

    ``limits`` are those of the last reservation, for reports: who reserves brings its own.

    An amount of 0 is not kept.
    """

    __slots__ = ("_due", "_due_of", "limits", "reserved", "settled", "told", "told_of")

    def __init__(
        self,
        settled: Mapping[str, Amount] | None = None,
        reserved: Mapping[str, Amount] | None = None,
        told: Mapping[str, int] | None = None,
        limits: Mapping[str, Amount] | None = None,
        told_of: Mapping[str, Amount] | None = None,
    ) -> None:
        self.settled: dict[str, Amount] = dict(settled or ())
        self.reserved: dict[str, Amount] = dict(reserved or ())
        self.told: dict[str, int] = dict(told or ())
        self.told_of: dict[str, Amount] = dict(told_of or ())
        self.limits: Mapping[str, Amount] = limits or {}
        # By unit, the amount that reaches the next threshold, for the limits that they were worked out for.
        self._due: dict[str, Amount] = {}
        self._due_of: Amounts | None = None

    def copy(self) -> Tally:
        """One that does not change with this one."""
        return Tally(self.settled, self.reserved, self.told, self.limits, self.told_of)


def refusal(tally: Tally, limits: Amounts, asked: Amounts) -> Refusal | None:
    """Why *asked* does not fit; None when it fits.  A unit that is overspent refuses everything.

    Where one unit is busy and another one spent, it is spent: waiting for the first would be in vain.
    """
    busy = None
    for unit, limit in limits.items():
        more = asked.get(unit, 0)
        settled = tally.settled.get(unit, 0)
        reserved = tally.reserved.get(unit, 0)
        if settled + reserved + more <= limit:
            continue
        if settled > limit or (more and settled + more > limit):
            return Refusal(unit, limit, settled, reserved, more, "spent")
        if more and busy is None:
            busy = Refusal(unit, limit, settled, reserved, more, "busy")
    return busy


def reserve(tally: Tally, asked: Amounts) -> None:
    """Reserve *asked*, which fits."""
    reserved = tally.reserved
    for unit, amount in asked.items():
        if amount:
            reserved[unit] = reserved.get(unit, 0) + amount


def settle(tally: Tally, asked: Amounts, actual: Amounts, limits: Amounts) -> Sequence[tuple[str, int]]:
    """A reservation of *asked* turned out to be *actual*; the thresholds (unit, percent) that this reached
    and nobody was told of."""
    reserved, settled = tally.reserved, tally.settled
    for unit, amount in asked.items():
        if amount:
            left = reserved.get(unit, 0) - amount
            if left:
                reserved[unit] = left
            elif unit in reserved:
                del reserved[unit]
    crossed: Sequence[tuple[str, int]] = ()
    due = tally._due if limits is tally._due_of else _due(tally, limits)
    for unit, amount in actual.items():
        if amount:
            total = settled[unit] = settled.get(unit, 0) + amount
            if unit in due and total >= due[unit]:
                crossed = [*crossed, *_told(tally, unit, total, limits[unit])]
                _due(tally, limits)
    return crossed


_NEXT: dict[int, int] = dict(
    zip((0, *THRESHOLDS), (*THRESHOLDS, 0), strict=True)
)  # told -> due; 0: all were told


def _due(tally: Tally, limits: Amounts) -> dict[str, Amount]:
    """The amounts that reach the next thresholds nobody was told of, remembered for these *limits*."""
    due = tally._due
    due.clear()
    if tally.told_of:
        _raised(tally, limits)
    for unit, limit in limits.items():
        percent = _NEXT[tally.told.get(unit, 0)]
        if percent:
            due[unit] = Fraction(limit * percent, 100) if limit * percent % 100 else limit * percent // 100
    tally._due_of = limits
    return due


def _raised(tally: Tally, limits: Amounts) -> None:
    """Of a limit that was raised, the thresholds that are not reached yet are still to be told."""
    for unit, limit in limits.items():
        if limit > tally.told_of.get(unit, limit):
            used = tally.settled.get(unit, 0)
            tally.told[unit] = max((p for p in THRESHOLDS if used * 100 >= limit * p), default=0)
            tally.told_of[unit] = limit


def _told(tally: Tally, unit: str, total: Amount, limit: Amount) -> list[tuple[str, int]]:
    before = tally.told.get(unit, 0)
    new = [percent for percent in THRESHOLDS if percent > before and total * 100 >= limit * percent]
    tally.told[unit] = max(new, default=before)
    tally.told_of[unit] = max(limit, tally.told_of.get(unit, limit))
    return [(unit, percent) for percent in new]


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
    return {unit: value if type(value) is int else Fraction(value) for unit, value in written.items()}


_NAMED = {unit: f'"{unit}":' for unit in UNITS}


def _amounts_json(amounts: Amounts) -> str:
    """:func:`amounts_text` as JSON, which an encoder takes four times as long for."""
    parts = []
    for unit, value in amounts.items():
        name = _NAMED.get(unit) or f"{_json(unit)}:"
        parts.append(f"{name}{value}" if type(value) is int else f'{name}"{value}"')
    return "{" + ",".join(parts) + "}"


def _json(value: object) -> str:
    """Compact JSON, by one encoder for all."""
    global _encode
    if _encode is None:
        from json import JSONEncoder

        _encode = JSONEncoder(separators=(",", ":")).encode
    return _encode(value)


_encode: Callable[[object], str] | None = None


def tally_bytes(tally: Tally) -> bytes:
    """A tally as a record of a store."""
    limits = f',"l":{_amounts_json(tally.limits)}' if tally.limits else ""
    told_of = f',"o":{_amounts_json(tally.told_of)}' if tally.told_of else ""
    settled, reserved = _amounts_json(tally.settled), _amounts_json(tally.reserved)
    return f'{{"s":{settled},"r":{reserved},"t":{_amounts_json(tally.told)}{limits}{told_of}}}'.encode()


def tally_from(value: bytes | None) -> Tally:
    """What :func:`tally_bytes` wrote; an empty tally for None."""
    if value is None:
        return Tally()
    import json

    written = json.loads(value.decode())
    limits, told_of = amounts_from(written.get("l") or {}), amounts_from(written.get("o") or {})
    return Tally(amounts_from(written["s"]), amounts_from(written["r"]), written["t"], limits, told_of)


def lease_bytes(lease: Lease) -> bytes:
    """A lease as a record of a store."""
    written = dict(zip(lease._fields, lease, strict=True))
    written["asked"] = amounts_text(lease.asked)
    return _json(written).encode()


def lease_from(value: bytes) -> Lease:
    """What :func:`lease_bytes` wrote."""
    import json

    written = json.loads(value)
    written["asked"] = amounts_from(written["asked"])
    written["tallies"] = tuple(written["tallies"])
    return Lease(**written)
