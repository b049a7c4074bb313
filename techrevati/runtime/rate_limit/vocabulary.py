"""What a rate limit tells: a refusal, a call that must wait, and what it knows."""

from __future__ import annotations

from typing import NamedTuple

from techrevati.runtime._core.errors import TechrevatiError

REQUESTS, TOKENS = "requests", "tokens"
PAUSE = "pause"


class RateLimitExceededError(TechrevatiError):
    """A call was refused before it began: it would have to wait longer than it may.

    Attributes:
        name: The limiter that refused.
        limit: What is used up: ``"requests"``, ``"tokens"``, or ``"pause"`` (the provider said to wait).
        retry_after: Seconds until a call like this one could begin, if no other comes first.
        reason: ``"wait"`` (longer than the longest wait) or ``"deadline"`` (longer than what is left of the
            running deadline).
    """

    def __init__(self, name: str, limit: str, retry_after: float, reason: str = "wait") -> None:
        super().__init__(name, limit, retry_after, reason)
        self.name = name
        self.limit = limit
        self.retry_after = retry_after
        self.reason = reason

    def __str__(self) -> str:
        wait = f"{self.reason}; retry in {self.retry_after:.3g} s"
        return f"rate limit {self.name!r}: {self.limit} used up ({wait})"


class RateLimitSnapshot(NamedTuple):
    """What a limiter knew at one moment.

    Attributes:
        requests, tokens: What may be taken now without waiting, negative while in debt; None without such a
            limit.
        paused_seconds: How long the provider still wants to be left alone.
        admitted: Calls let through so far.
        delayed: Those of them that had to wait, or would have had to if only observing.
        refused: Calls refused so far, or that would have been.
    """

    requests: float | None
    tokens: float | None
    paused_seconds: float
    admitted: int
    delayed: int
    refused: int


class RateLimitedCall(NamedTuple):
    """A call that must wait, or was refused.

    Attributes:
        limit: What is used up: ``"requests"``, ``"tokens"`` or ``"pause"``.
        wait_seconds: How long it waits or would have to.
        refused: True when it is not let through.
        made: False when only observing: the call begins at once.
    """

    limit: str
    wait_seconds: float
    refused: bool
    made: bool = True
