"""When a bucket covers what is taken from it; there is no clock in here.

Source: the generic cell rate algorithm (ITU-T I.371), which is a token bucket that remembers one time.
"""

from __future__ import annotations

from typing import NamedTuple

from techrevati.runtime._core import arguments
from techrevati.runtime.rate_limit.vocabulary import PAUSE, REQUESTS, TOKENS


class Bucket(NamedTuple):
    """A token bucket at rest or in debt.

    Attributes:
        per_s: How much flows in each second.
        burst: How much it holds when it is full.
        full_at_s: When it is full, if nothing more is taken; in the past when it is.
    """

    per_s: float
    burst: float
    full_at_s: float = float("-inf")


def taken(bucket: Bucket, amount: float, now_s: float) -> Bucket:
    """The bucket after *amount* was taken, whether it was there or not; a negative amount is put back."""
    full_at_s = max(bucket.full_at_s, now_s) + amount / bucket.per_s
    return bucket._replace(full_at_s=full_at_s)


def wait_s(bucket: Bucket, now_s: float) -> float:
    """Seconds until what was taken so far is covered; 0 when it is."""
    return max(0.0, bucket.full_at_s - bucket.burst / bucket.per_s - now_s)


def held(bucket: Bucket, seconds: float, now_s: float) -> Bucket:
    """The bucket after its queue stood still for so many seconds; without a queue it is as it was."""
    if wait_s(bucket, now_s) <= 0:
        return bucket
    return bucket._replace(full_at_s=bucket.full_at_s + seconds)


def available(bucket: Bucket, now_s: float) -> float:
    """How much may be taken now without waiting; negative while it is in debt."""
    return bucket.burst - max(0.0, bucket.full_at_s - now_s) * bucket.per_s


def after_one_more(
    requests: Bucket | None, tokens: Bucket | None, amount: int, now_s: float, paused_until_s: float
) -> tuple[Bucket | None, Bucket | None, float, str]:
    """Both buckets after a call of *amount* tokens, the seconds that it must wait, and for what most.

    Who comes during a pause comes at its end: else all of them would begin at once then.
    """
    then_s = max(now_s, paused_until_s)
    requests = requests and taken(requests, 1, then_s)
    tokens = tokens and taken(tokens, amount, then_s)
    flow_s, limit = max(
        (wait_s(requests, then_s) if requests else 0.0, REQUESTS),
        (wait_s(tokens, then_s) if tokens else 0.0, TOKENS),
    )
    paused_s = then_s - now_s
    return requests, tokens, paused_s + flow_s, PAUSE if paused_s > flow_s else limit


def described(name: str, per_minute: float | None, burst_name: str, burst: float | None) -> Bucket | None:
    """The bucket that two arguments describe; their names are for what they may not be."""
    if per_minute is None:
        if burst is not None:
            raise ValueError(f"{burst_name} needs {name}, got {burst!r} without")
        return None
    per_minute = arguments.positive(name, per_minute)
    size = per_minute if burst is None else arguments.positive(burst_name, burst)
    return Bucket(per_minute / 60.0, size)
