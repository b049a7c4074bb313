"""What a hedge tells: further requests, losers, and what it did so far."""

from __future__ import annotations

from typing import NamedTuple


class HedgedRequest(NamedTuple):
    """One more request of a call was due.

    Attributes:
        number: Which request of the call, from 2.
        reason: ``"late"``: the ones before took too long; ``"failed"``: one of them failed.
        elapsed_seconds: Seconds since the call began.
        refused: Why it was not made: ``"share"`` (the extra load is at its limit), ``"deadline"`` (no time
            left), ``"resources"`` (the process can start no more threads) or ``"observe_only"``; None when it
            was made.
    """

    number: int
    reason: str
    elapsed_seconds: float
    refused: str | None = None


class Loser(NamedTuple):
    """What a request brought whose outcome the caller did not get; it may have been billed.

    Attributes:
        number: Which request of the call, from 1.
        result: What it returned, of a stream its first item; None when it raised.
        error: What it raised, or the ``CancelledError`` it ended with; None when it returned.
        cancelled: True when it ended by being cancelled: what it used is unknown.
        elapsed_seconds: Seconds it took.
    """

    number: int
    result: object
    error: BaseException | None
    cancelled: bool
    elapsed_seconds: float


class HedgeSnapshot(NamedTuple):
    """What a hedge did so far.

    Attributes:
        calls: Calls that began while it was switched on.
        hedged: Extra requests made, or that would have been made if only observing.
        won: Calls whose answer came from an extra request.
        refused: Extra requests that were due and not made because of the limit on extra load.
        delay_seconds: How long a request may take now until it is late; None while nobody can say.
        observations: Latencies that say so.
    """

    calls: int
    hedged: int
    won: int
    refused: int
    delay_seconds: float | None
    observations: int
