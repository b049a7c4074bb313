"""The most that a call may use of what is limited: bounded before it is sent, or refused with advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.tally import USD
from techrevati.runtime.pricing import output_limit, picodollars, worst_case_picodollars
from techrevati.runtime.pricing.quotes import plain_worst_case_picodollars

if TYPE_CHECKING:
    from decimal import Decimal

    from techrevati.runtime._core.tally import Amount

COUNTED = ("model_calls", "attempts", "tool_calls", "delegated_tasks", "turns")
_MADE = frozenset({"output_tokens", "reasoning_tokens", "total_tokens"})


class WorstCase:
    """How much of each limited unit a call may use.  Immutable; built once for a set of units.

    Args:
        name: The budget's, for errors.
        units: What is limited.
    """

    __slots__ = ("_made", "_name", "_ones", "_only_usd", "_tokens", "_usd", "counts", "is_timed", "units")

    def __init__(self, name: str, units: frozenset[str]) -> None:
        self._name = name
        self.units: frozenset[str] = units
        self.counts: tuple[str, ...] = tuple(unit for unit in COUNTED if unit in units)
        self._usd = USD in units
        self._only_usd = units == {USD}
        self._made = bool(_MADE & units)
        self._tokens: tuple[str, ...] = tuple(sorted(unit for unit in units if unit.endswith("_tokens")))
        self.is_timed: bool = "wall_seconds" in units
        self._ones: dict[str, Amount] = {
            unit: 1 if unit in ("model_calls", "attempts") else 0 for unit in self.counts
        }

    def of_plain_call(
        self,
        model: str,
        input_tokens: int,
        max_output_tokens: int,
        provider: str | None,
        tier: str | tuple[str, ...] | None,
    ) -> dict[str, Amount]:
        """:meth:`of_call`, counts included, for what most calls are: one call of a model with both bounds
        given, both whole and >= 0, and nothing else said; time is not limited."""
        if self._only_usd:
            return {USD: plain_worst_case_picodollars(model, provider, tier, input_tokens, max_output_tokens)}
        asked = self._ones.copy()
        if self._usd:
            asked[USD] = plain_worst_case_picodollars(model, provider, tier, input_tokens, max_output_tokens)
        for unit in self._tokens:
            if unit == "input_tokens":
                asked[unit] = input_tokens
            elif unit == "total_tokens":
                asked[unit] = input_tokens + max_output_tokens
            else:
                asked[unit] = max_output_tokens
        return asked

    def of_call(
        self,
        is_call: bool,
        model: str | None,
        input_tokens: int,
        max_output_tokens: int | None,
        provider: str | None,
        tier: str | tuple[str, ...] | None,
        max_cost_usd: float | Decimal | None,
        web_searches: int,
        wall_seconds: float | None,
        audio: bool = False,
    ) -> dict[str, Amount]:
        """Money, tokens and time; whatever is limited has an amount, be it 0."""
        asked: dict[str, Amount] = {}
        if type(input_tokens) is not int or input_tokens < 0:
            input_tokens = arguments.count("input_tokens", input_tokens)
        output = max_output_tokens
        if output is None:
            output = 0
            if is_call and (self._made or (self._usd and max_cost_usd is None)):
                output = self._output_limit(model, provider)
        elif type(output) is not int or output < 0:
            output = arguments.count("max_output_tokens", output)
        if self._usd:
            if max_cost_usd is not None:
                arguments.number("max_cost_usd", max_cost_usd)
                asked[USD] = picodollars(max_cost_usd)
            elif model is not None:
                asked[USD] = worst_case_picodollars(
                    model,
                    input_tokens=input_tokens,
                    max_output_tokens=output,
                    provider=provider,
                    tier=tier,
                    web_searches=web_searches,
                    audio=audio,
                )
            elif is_call and (input_tokens or output):
                raise ValueError(
                    f"model must be given: {self._name!r} limits US dollars, and what is not named cannot be "
                    "priced; or give max_cost_usd"
                )
            else:
                asked[USD] = 0
        for unit in self._tokens:
            if unit == "input_tokens":
                asked[unit] = input_tokens
            else:
                asked[unit] = input_tokens + output if unit == "total_tokens" else output
        if self.is_timed:
            if wall_seconds is None:
                raise ValueError(
                    f"wall_seconds must be given: {self._name!r} limits it; reserve the timeout of the call"
                )
            asked["wall_seconds"] = milliseconds("wall_seconds", wall_seconds)
        return asked

    def _output_limit(self, model: str | None, provider: str | None) -> int:
        limit = None if model is None else output_limit(model, provider=provider)
        if limit is None:
            limited = sorted(self.units & (_MADE | {USD}))
            raise ValueError(
                f"max_output_tokens must be given: {self._name!r} limits {', '.join(limited)}, and how much "
                f"{model!r} may generate is not known; give the request a maximum and reserve it"
            )
        return limit


def milliseconds(name: str, seconds: float) -> int:
    """Seconds as whole milliseconds, rounded up."""
    return -int(-arguments.number(name, seconds) * 1000 // 1)
