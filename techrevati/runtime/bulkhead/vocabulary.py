"""What a bulkhead tells: a refusal, and what it knows."""

from __future__ import annotations

from typing import NamedTuple

from techrevati.runtime._core.errors import TechrevatiError


class BulkheadFullError(TechrevatiError):
    """A call was refused before it began: too many run, and too many wait or the wait was too long.

    Attributes:
        name: The bulkhead that refused.
        reason: ``"full"`` (no place in the queue), ``"waited"`` (no place inside within the longest wait) or
            ``"deadline"`` (what is left of the running deadline was less than that).
        max_concurrent: How many may run at once.
        running, queued: How many ran and waited then.
        waited_seconds: How long this call had waited.
        retry_after: None: nobody can say when a place is free.
    """

    def __init__(
        self,
        name: str,
        reason: str,
        *,
        max_concurrent: int,
        running: int,
        queued: int,
        waited_seconds: float = 0.0,
    ) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason
        self.max_concurrent = max_concurrent
        self.running = running
        self.queued = queued
        self.waited_seconds = waited_seconds
        self.retry_after: float | None = None

    def __str__(self) -> str:
        state = f"{self.running} of {self.max_concurrent} run, {self.queued} wait"
        waited = f", waited {self.waited_seconds:.3g} s" if self.waited_seconds else ""
        return f"bulkhead {self.name!r} is full ({self.reason}): {state}{waited}"


class BulkheadSnapshot(NamedTuple):
    """What a bulkhead knew at one moment.

    Attributes:
        running, queued: Calls inside, and calls that wait.
        admitted: Calls let in so far.
        refused: Calls refused so far, or that would have been if only observing.
    """

    running: int
    queued: int
    admitted: int
    refused: int
