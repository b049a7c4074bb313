"""Sums by group, as a sequence that also shows itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, overload

from techrevati.runtime._core.html_table import html_table
from techrevati.runtime.pricing.money import exact_sum

if TYPE_CHECKING:
    from decimal import Decimal

    from techrevati.runtime.ledger.record import SpendGroup

_NAMED = 5  # models in a note


class SpendReport(Sequence["SpendGroup"]):
    """What ``SpendLedger.by`` found: (group, calls, tokens, cost) in order of the groups.  Immutable.

    Attributes:
        names: What it is grouped by.
    """

    def __init__(self, names: Sequence[str], groups: Iterable[SpendGroup]) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self._groups: tuple[SpendGroup, ...] = tuple(groups)

    @overload
    def __getitem__(self, index: int) -> SpendGroup: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[SpendGroup]: ...

    def __getitem__(self, index: int | slice) -> SpendGroup | Sequence[SpendGroup]:
        return self._groups[index]

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def total(self) -> Decimal:
        """US dollars of all groups."""
        return exact_sum(group.cost for group in self._groups)

    @property
    def calls(self) -> int:
        """Calls of all groups."""
        return sum(group.calls for group in self._groups)

    @property
    def tokens(self) -> int:
        """Tokens of all groups."""
        return sum(group.tokens for group in self._groups)

    def rows(self) -> list[tuple[str, ...]]:
        """Every group as texts: its names' values, calls, tokens, US dollars."""
        return [(*_texts(g.group), str(g.calls), str(g.tokens), format(g.cost, "f")) for g in self._groups]

    def __repr__(self) -> str:
        return f"<SpendReport by {', '.join(self.names)}: {len(self)} groups, ${self.total:f}>"

    def _repr_html_(self) -> str:
        width = len(self.names)
        foot = ("total", *[""] * (width - 1), str(self.calls), str(self.tokens), format(self.total, "f"))
        return html_table((*self.names, "calls", "tokens", "USD"), self.rows(), texts=width, foot=foot)


def unpriced_note(unpriced: Mapping[str, int]) -> str:
    """What to say of calls that no price was known for, by model; for people."""
    calls = sum(unpriced.values())
    named = ", ".join(f"{model} ({many})" for model, many in list(unpriced.items())[:_NAMED])
    more = f" and {len(unpriced) - _NAMED} more models" if len(unpriced) > _NAMED else ""
    have = "call has" if calls == 1 else "calls have"
    return f"{calls} {have} no price and count as $0: {named}{more}."


def _texts(group: str | tuple[str, ...]) -> tuple[str, ...]:
    return (group,) if isinstance(group, str) else group
