"""Stop waiting in time, even for a call that never answers.

A synchronous call cannot be stopped from outside, so it runs in a thread of its own that can be abandoned; an
async one runs in a task of its own that is cancelled.  Whatever an abandoned call does in the end is told to
the caller: work that was paid for is never lost without a word.
"""

from __future__ import annotations

from techrevati.runtime._core.errors import DeadlineExceededError
from techrevati.runtime._core.log import announce
from techrevati.runtime.deadlines.deadline import Deadline, current_deadline
from techrevati.runtime.deadlines.timeout import (
    CANCELLATION_GRACE_SECONDS,
    LateOutcome,
    Timeout,
    TurnTimeoutError,
)

__all__ = [
    "CANCELLATION_GRACE_SECONDS",
    "Deadline",
    "DeadlineExceededError",
    "LateOutcome",
    "Timeout",
    "TurnTimeoutError",
    "current_deadline",
]

announce("deadlines")
