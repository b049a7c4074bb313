"""Add up what a session used and what that cost.

Totals are kept, not recomputed: a turn costs the same whether it is the hundredth or the hundred-thousandth.
Money is exact inside (see ``pricing``) and becomes a float only in the methods that promise one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import BudgetExceededError as BudgetExceededError
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime.pricing import (
    PRICING_TABLE as PRICING_TABLE,
    ModelPricing as ModelPricing,
    cost_picodollars_or_none,
    has_pricing as has_pricing,
    load_pricing_from_file as load_pricing_from_file,
    picodollars,
    register_pricing as register_pricing,
    usd as in_usd,
)
from techrevati.runtime.usage import UsageSnapshot as UsageSnapshot

if TYPE_CHECKING:
    from decimal import Decimal

    from techrevati.runtime.pricing import Picodollars

announce("usage_tracking")

HISTORY_CAPACITY = 1000
MODEL_CAPACITY = 1000
OTHER_MODELS = "(other models)"

_warned_unpriced_models: set[str] = set()


class UsageTracker:
    """Tokens and cost of one session.  Thread-safe.

    Registered prices come first, then the price book, at the time of the turn.  A model that neither knows
    costs 0 and is warned about once per process; ``""`` means the caller does not
    say which model it was, and is never warned about.  The last ``HISTORY_CAPACITY`` turns are kept, and
    totals of the first ``MODEL_CAPACITY`` models; further models are added up as ``OTHER_MODELS``.

    >>> register_pricing("demo-small", ModelPricing(0.5, 1.5))
    >>> tracker = UsageTracker()
    >>> tracker.record_turn("demo-small", UsageSnapshot(input_tokens=1_000_000, output_tokens=10))
    >>> tracker.total_cost(), tracker.format_cost()
    (0.500015, '$0.50')
    """

    __slots__ = ("_cost", "_history", "_input", "_lock", "_output", "_per_model", "_turns")

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._turns = 0
        self._input = 0
        self._output = 0
        self._cost: Picodollars = 0
        self._per_model: dict[str, Picodollars] = {}
        self._history: deque[tuple[str, UsageSnapshot]] = deque(maxlen=HISTORY_CAPACITY)

    def record_turn(self, model: str, usage: UsageSnapshot) -> None:
        """Add one call of *model*.

        Raises:
            TypeError: *usage* is no UsageSnapshot; nothing was added.
        """
        self.add(model, usage)

    def add(self, model: str, usage: UsageSnapshot) -> Picodollars:
        """:meth:`record_turn`, returning the cost of the turn in exact pico-dollars."""
        if not isinstance(usage, UsageSnapshot):
            raise TypeError(f"usage must be a UsageSnapshot, got {usage!r}")
        cost = cost_picodollars_or_none(model, usage)
        if cost is None:
            cost = 0
            if model and model not in _warned_unpriced_models:
                _warn_unpriced(model)
        self._lock.acquire()  # not ``with``: that costs twice as much, and this runs every turn
        try:
            self._turns += 1
            self._input += usage.input_tokens
            self._output += usage.output_tokens
            self._cost += cost
            per_model = self._per_model
            try:
                per_model[model] += cost
            except KeyError:
                name = OTHER_MODELS if len(per_model) >= MODEL_CAPACITY else model
                per_model[name] = per_model.get(name, 0) + cost
            self._history.append((model, usage))
        finally:
            self._lock.release()
        return cost

    @property
    def turns(self) -> int:
        """How many turns were recorded."""
        return self._turns

    @property
    def history(self) -> list[tuple[str, UsageSnapshot]]:
        """A copy of the kept turns as (model, usage), oldest first."""
        with self._lock:
            return list(self._history)

    @property
    def total_input_tokens(self) -> int:
        """Input tokens of all turns, cached ones not included."""
        return self._input

    @property
    def total_output_tokens(self) -> int:
        """Output tokens of all turns."""
        return self._output

    def cost_for_turn(self, model: str, usage: UsageSnapshot) -> float:
        """What one call would cost in US dollars; 0.0 for a model without a price.  Records nothing."""
        cost = cost_picodollars_or_none(model, usage)
        return 0.0 if cost is None else in_usd(cost)

    @property
    def total_picodollars(self) -> Picodollars:
        """The exact cost of all turns in pico-dollars (1e-12 US dollars)."""
        return self._cost

    def total_cost(self) -> float:
        """The cost of all turns in US dollars: the float nearest to the exact sum."""
        return in_usd(self._cost)

    def format_cost(self) -> str:
        """The cost for people: four decimals below a cent, else two."""
        cost = in_usd(self._cost)
        return f"${cost:.4f}" if cost < 0.01 else f"${cost:.2f}"

    def budget_remaining(self, usd: float | Decimal) -> float:
        """US dollars left of *usd*; negative when it is overspent."""
        return in_usd(_limit(usd) - self._cost)

    def is_over_budget(self, usd: float | Decimal) -> bool:
        """True when strictly more than *usd* US dollars were spent."""
        return self._cost > _limit(usd)

    def summary(self) -> dict[str, object]:
        """``turns``, ``total_input_tokens``, ``total_output_tokens``, ``total_cost_usd`` (rounded to four
        decimals) and ``formatted_cost``."""
        return {
            "turns": self._turns,
            "total_input_tokens": self._input,
            "total_output_tokens": self._output,
            "total_cost_usd": round(in_usd(self._cost), 4),
            "formatted_cost": self.format_cost(),
        }

    def per_model_summary(self) -> dict[str, float]:
        """The cost in US dollars of each model, in order of first use."""
        with self._lock:
            return {model: in_usd(cost) for model, cost in self._per_model.items()}

    def _repr_html_(self) -> str:
        """What a notebook shows: the cost of each model, and the sums."""
        from techrevati.runtime._core.html_table import html_table

        rows = [(model or "(not said)", f"${cost:,.6f}") for model, cost in self.per_model_summary().items()]
        return html_table(
            ("Model", "Cost in USD"),
            rows,
            texts=1,
            caption=f"{self._turns:,} turns, {self._input:,} input and {self._output:,} output tokens",
            foot=("Total", f"${in_usd(self._cost):,.6f}"),
        )

    def __repr__(self) -> str:
        return f"UsageTracker(turns={self._turns}, cost={self.format_cost()!r})"


def _limit(usd: float | Decimal) -> Picodollars | float:
    limit = arguments.number("usd", usd, minimum=float("-inf"), infinite=True)
    return limit if limit in (float("inf"), float("-inf")) else picodollars(usd)


def _warn_unpriced(model: str) -> None:
    if len(_warned_unpriced_models) >= MODEL_CAPACITY:
        return  # a program that invents model names has been told often enough
    _warned_unpriced_models.add(model)
    from techrevati.runtime._core.scrub import without_credentials

    shown = without_credentials(model)
    logger("usage_tracking").warning(
        "no price for model %r: its calls count as 0 USD; register_pricing(%r, ModelPricing(…)) prices them",
        shown,
        shown,
    )
