"""When the next request of a call begins: pure functions over a frozen ``Race`` that take the time."""

from __future__ import annotations

from typing import NamedTuple

from techrevati.runtime.failures import Failure, FailureKind


class Race(NamedTuple):
    """The requests of one call.

    Attributes:
        started: Requests that began.
        failed: Those of them that failed.
        next_at_s: When one more begins; None when time alone begins no more.
        closed: True when no more may begin, whatever happens.
    """

    started: int = 1
    failed: int = 0
    next_at_s: float | None = None
    closed: bool = False


def begun(now_s: float, delay_s: float | None, limit: int) -> Race:
    """The race after its first request; *delay_s* None begins no more for being late."""
    return Race(next_at_s=_later(1, now_s, delay_s, limit))


def joined(race: Race, now_s: float, delay_s: float | None, limit: int) -> Race:
    """The race after one more request."""
    started = race.started + 1
    return race._replace(started=started, next_at_s=_later(started, now_s, delay_s, limit))


def declined(race: Race) -> Race:
    """The race after one more was due and not begun; only a failure makes the next one due."""
    return race._replace(next_at_s=None)


def failed(race: Race, now_s: float, again: bool, limit: int) -> Race:
    """The race after a request failed: one more is due now or, unless *again*, none any more."""
    closed = race.closed or not again
    due_s = None if closed or race.started >= limit else now_s
    return race._replace(failed=race.failed + 1, next_at_s=due_s, closed=closed)


def is_due(race: Race, now_s: float) -> bool:
    """Whether one more request begins now."""
    return race.next_at_s is not None and now_s >= race.next_at_s


def is_lost(race: Race) -> bool:
    """Whether every request failed and none is due."""
    return race.failed == race.started and race.next_at_s is None


def helps_again(failure: Failure) -> bool:
    """Whether another request may succeed at once after *failure*.

    What ``classify`` calls retryable, unless the provider wants fewer requests, not more: a rate limit, an
    overload, a Retry-After.

    >>> helps_again(Failure(FailureKind.SERVER_ERROR)), helps_again(Failure(FailureKind.OVERLOADED))
    (True, False)
    """
    refused = failure.kind in (FailureKind.RATE_LIMIT, FailureKind.OVERLOADED)
    return failure.retryable and not refused and not failure.retry_after


def _later(started: int, now_s: float, delay_s: float | None, limit: int) -> float | None:
    return None if delay_s is None or started >= limit else now_s + delay_s
