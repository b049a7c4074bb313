"""Who is asked, in which order, and after which failures another: pure functions and one table."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from techrevati.runtime.failures import Failure, FailureKind, FailureOrigin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_K, _O = FailureKind, FailureOrigin
_THEIRS = frozenset({_O.PROVIDER, _O.NETWORK})
_REFUSALS = _THEIRS | {_O.RUNTIME}  # a breaker, bulkhead or limiter of ours in front of that target
_ANSWERS = _THEIRS | {_O.CALLER}  # "of the caller" because the caller has to act: a key, a name of a model

FAILS_OVER: dict[FailureKind, frozenset[FailureOrigin]] = {
    _K.TIMEOUT: _THEIRS,  # not the end of our own deadline
    _K.RATE_LIMIT: _REFUSALS,
    _K.QUOTA_EXHAUSTED: _THEIRS,
    _K.OVERLOADED: _REFUSALS,
    _K.SERVER_ERROR: _THEIRS,
    _K.NETWORK: _THEIRS,
    _K.AUTH: _ANSWERS,  # these three only where a server said so
    _K.PERMISSION: _ANSWERS,
    _K.NOT_FOUND: _ANSWERS,
    _K.UNKNOWN: _THEIRS,  # as for breakers: what nobody can name counts as the provider's
}
"""Kinds of failure that another provider may not have, for the origins named; every other one is raised."""


def fails_over(failure: Failure) -> bool:
    """Whether another provider may succeed where this one failed: the table ``FAILS_OVER``.

    A failed authentication, a refused permission and a missing thing count only when a server told so (by a
    status, or as a known provider); a missing local file is nobody else's matter.

    >>> fails_over(Failure(FailureKind.RATE_LIMIT)), fails_over(Failure(FailureKind.CONTEXT_OVERFLOW))
    (True, False)
    """
    if failure.origin not in FAILS_OVER.get(failure.kind, ()):
        return False
    said_by_server = failure.status_code is not None or failure.provider is not None
    return said_by_server or failure.origin is not FailureOrigin.CALLER


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
