"""Who is asked, in which order, and for how long not: pure functions."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from techrevati.runtime.failures import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def order(weights: Sequence[float | None], rng: Callable[[], float]) -> tuple[int, ...]:
    """The positions in the order in which they are asked.

    Those with a weight come first, drawn without putting back, so that each is first in proportion to its
    weight; those without follow as they stand.  *rng* is asked once per weight, and not for a single one.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006).

    >>> order([None, 1, None, 3], iter([0.5, 0.5]).__next__)
    (3, 1, 0, 2)
    """
    weighted = [(weight, nth) for nth, weight in enumerate(weights) if weight is not None]
    plain = tuple(nth for nth, weight in enumerate(weights) if weight is None)
    if len(weighted) > 1:
        weighted = sorted((-log(1.0 - rng()) / weight, nth) for weight, nth in weighted)
    return (*(nth for _, nth in weighted), *plain)


def rest_s(failure: Failure, quota_rest_s: float, longest_s: float) -> float:
    """Seconds that the target of *failure* is left alone, at most *longest_s*; 0 is not at all.

    As long as the provider asked for; an exhausted quota of unknown length *quota_rest_s*.
    """
    if failure.retry_after is not None:
        return min(failure.retry_after, longest_s)
    return min(quota_rest_s, longest_s) if failure.kind is FailureKind.QUOTA_EXHAUSTED else 0.0


def waits_s(rest_until_s: Sequence[float], now_s: float) -> tuple[float, ...]:
    """How long each target still rests; 0 when it may be asked."""
    return tuple(max(0.0, until_s - now_s) for until_s in rest_until_s)
