"""What every role did with every model, for the table at the end.

Requests are counted here, where they are sent; tokens and cost come from each session's own tracker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from techrevati.runtime.usage_tracking import UsageTracker


@dataclass(slots=True)
class Row:
    """One role's use of one model.

    Attributes:
        turns: Answers obtained.
        calls: HTTP requests sent, failed ones included.
        retries: Those of them that were sent because an earlier one had failed.
        input_tokens, output_tokens: Tokens of the answers, cached input included.
        cost_usd: US dollars, as the session's tracker has it.
    """

    turns: int = 0
    calls: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Row) -> Row:
        return Row(
            self.turns + other.turns,
            self.calls + other.calls,
            self.retries + other.retries,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
        )


class Tally:
    """Rows by role and model, in order of first use."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def sent(self, role: str, model: str, *, again: bool) -> None:
        """Count one HTTP request."""
        row = self._row(role, model)
        row.calls += 1
        row.retries += again

    def close(self, role: str, tracker: UsageTracker) -> None:
        """Take over what a session's tracker has."""
        for model, usage in tracker.history:
            row = self._row(role, model)
            row.turns += 1
            row.input_tokens += usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
            row.output_tokens += usage.output_tokens
        for model, cost_usd in tracker.per_model_summary().items():
            self._row(role, model).cost_usd += cost_usd

    def total(self) -> Row:
        """All rows together."""
        return sum(self.rows.values(), Row())

    def _row(self, role: str, model: str) -> Row:
        return self.rows.setdefault((role, model), Row())
