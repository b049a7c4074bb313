"""The most that one request can use, as the arguments of its reservation; what has no bound is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.deadline import current
from techrevati.runtime.integrations.model_request import referred_to
from techrevati.runtime.pricing import output_limit, worst_case_picodollars
from techrevati.runtime.pricing.money import decimal_usd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from typing import Any

    from techrevati.runtime.budgets import Budget, Reservation
    from techrevati.runtime.integrations.model_request import ModelRequest

_BOUND_BY_INPUT = frozenset({"usd", "input_tokens", "total_tokens"})
_BOUND_BY_OUTPUT = frozenset({"usd", "output_tokens", "reasoning_tokens", "total_tokens"})


def reserved(budget: Budget, request: ModelRequest, about: Mapping[str, object]) -> Reservation:
    """The reservation of what *request* can use at most, in *budget*."""
    most = request.max_output_tokens
    if (
        most is not None
        and request.tier is request.unbounded is None
        and type(request.model) is str
        and (given := request.plain_input_tokens()) is not None
    ):  # as most are, and then in fewer steps
        made = budget._reserve_plain(request.model, given, most * request.answers, request.price_provider)
        if made is not None:
            return made
    return budget.reserve(**reservation_of(budget, request, about))


def reservation_of(budget: Budget, request: ModelRequest, about: Mapping[str, object]) -> dict[str, Any]:
    """The arguments of a reservation."""
    limited = budget.limited
    elsewhere = request.unbounded
    if elsewhere is None and request.plain_input_tokens() is None:
        elsewhere = referred_to(request.content)
    if elsewhere and limited & _BOUND_BY_INPUT:
        raise ValueError(
            f"{elsewhere} adds input that the request does not show, and {budget.name!r} limits "
            f"{', '.join(sorted(limited & _BOUND_BY_INPUT))}: send the whole input, or guard this client "
            "with a budget of output tokens or calls"
        )
    model, provider = request.model, request.price_provider
    most = request.max_output_tokens
    if most is None and limited & _BOUND_BY_OUTPUT and model is not None:
        most = output_limit(model, provider=provider)
        if most is None:
            raise ValueError(
                f"the request must say how much it may generate (max_tokens, max_completion_tokens or "
                f"max_output_tokens): {budget.name!r} limits "
                f"{', '.join(sorted(limited & _BOUND_BY_OUTPUT))}, and the limit of {model!r} itself is "
                "not known"
            )
    if most is not None:
        most *= request.answers
    left_s = None if (deadline := current.get()) is None else deadline.remaining()
    return {
        **about,
        "model": model,
        "provider": provider,
        "input_tokens": request.input_tokens,
        "max_output_tokens": most,
        "max_cost_usd": _tier_cost(budget, request, most),
        "wall_seconds": left_s,
    }


def _tier_cost(budget: Budget, request: ModelRequest, most: int | None) -> Decimal | None:
    """The most that a request of a tier costs; what is billed is the tier that the answer names."""
    if request.tier is None or request.model is None or "usd" not in budget.limited:
        return None
    costs = [
        worst_case_picodollars(
            request.model,
            input_tokens=request.input_tokens,
            max_output_tokens=most or 0,
            provider=request.price_provider,
            tier=tier,
        )
        for tier in (None, request.tier)
    ]
    return decimal_usd(max(costs))
