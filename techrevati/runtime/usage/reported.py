"""What a provider itself says that a call cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.usage.looking import view

if TYPE_CHECKING:
    from techrevati.runtime.usage.looking import View

_TICK_PLACES = 10  # xAI's ticks are 1e-10 US dollars


def reported_cost(usage: View) -> object:
    """The provider's own figure in US dollars; None if it gives none."""
    cost = usage.get("cost")
    if cost is not None:
        if "cache_audio_read_tokens" in usage:
            return None  # pydantic-ai's, which it worked out itself
        if isinstance(cost, (int, float, str)) and not isinstance(cost, bool):
            return _money(cost, 0)
        return _money(view(cost).get("total_cost"), 0)  # Perplexity
    ticks = usage.get("cost_in_usd_ticks")
    return _money(ticks, _TICK_PLACES) if ticks else None  # 0 where a message has no word for "not said"


def _money(amount: object, places: int) -> object:
    if isinstance(amount, bool) or not isinstance(amount, (int, float, str)):
        return None
    from decimal import Decimal, InvalidOperation

    try:
        cost = Decimal(str(amount))
    except InvalidOperation:
        return None
    if not cost.is_finite() or cost < 0:
        return None
    return cost.scaleb(-places) if places else cost
