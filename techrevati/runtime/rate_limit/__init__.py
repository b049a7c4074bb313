"""No faster than the provider allows: requests and tokens per minute.

``bucket``: a bucket is one number, the moment at which it would be full again; taking moves that moment on.
A call takes first, and what it took says how long it must wait: nobody polls, and whoever comes first goes
first.  How many tokens a call used is known only afterwards, so it reserves an estimate and settles the
truth.  ``RateLimit`` adds the clock, the lock and the waiting, for threads and tasks.
"""

from __future__ import annotations

from techrevati.runtime._core.log import announce
from techrevati.runtime.rate_limit.bucket import Bucket, available, taken, wait_s
from techrevati.runtime.rate_limit.limit import RateLimit
from techrevati.runtime.rate_limit.reservation import Reservation
from techrevati.runtime.rate_limit.vocabulary import (
    REQUESTS,
    TOKENS,
    RateLimitedCall,
    RateLimitExceededError,
    RateLimitSnapshot,
)

__all__ = [
    "REQUESTS",
    "TOKENS",
    "Bucket",
    "RateLimit",
    "RateLimitExceededError",
    "RateLimitSnapshot",
    "RateLimitedCall",
    "Reservation",
    "available",
    "taken",
    "wait_s",
]

announce("rate_limit")
