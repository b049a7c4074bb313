"""A pipeline in words: one line for each part, with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.bulkhead import Bulkhead
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.deadlines import Deadline, Timeout
from techrevati.runtime.failover import Failover
from techrevati.runtime.hedging import Hedge
from techrevati.runtime.pipeline.order import longest_waits_s
from techrevati.runtime.rate_limit import RateLimit
from techrevati.runtime.retry_policy import Retry, RetryBudget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techrevati.runtime.pipeline.pipeline import Part

_FOREVER = float("inf")


def explained(parts: Sequence[Part]) -> str:
    """Numbered lines, outermost first, and the call itself as the last."""
    lines = []
    for number, part in enumerate(parts, 1):
        inner = parts[number:]
        lines.append(f"{number}. {_line(part, inner)}{_mode(part)}")
    return "\n".join([*lines, f"{len(parts) + 1}. Your call."])


def _mode(part: Part) -> str:
    if not getattr(part, "enabled", True):
        return " [switched off]"
    return " [observes only]" if getattr(part, "observe_only", False) else ""


def _line(part: Part, inner: Sequence[Part]) -> str:
    if isinstance(part, Deadline):
        return (
            f"Deadline: the whole run has {_s(part.seconds)}, {_s(part.remaining())} of it left; every wait "
            "inside is shortened to that."
        )
    if isinstance(part, Timeout):
        return _timeout(part, inner)
    if isinstance(part, RetryBudget):
        return f"Retry budget: at most {part.left} retries more for all calls that share it."
    if isinstance(part, Retry):
        return _retry(part)
    if isinstance(part, Failover):
        names = ", then ".join(target.name for target in part.targets)
        return f"Failover: when the call fails in a way that another provider may not, asks {names}."
    if isinstance(part, Hedge):
        late = "as soon as one is slower than most" if part._delay_s is None else f"after {_s(part._delay_s)}"
        return (
            f"Hedge: up to {part._limit} requests for one call, the next one {late}; the first answer wins."
        )
    if isinstance(part, CircuitBreaker):
        return _breaker(part)
    if isinstance(part, RateLimit):
        limits = [
            f"{round(bucket.per_s * 60, 6):g} {what}"
            for what, bucket in (("requests", part._requests), ("tokens", part._tokens))
            if bucket is not None
        ]
        wait = "" if part._max_wait_s == _FOREVER else f", waiting at most {_s(part._max_wait_s)}"
        return f"Rate limit {part.name!r}: {' and '.join(limits)} a minute{wait}."
    assert isinstance(part, Bulkhead)
    held = ", its place held while retries wait" if any(isinstance(one, Retry) for one in inner) else ""
    wait = "" if part._max_wait_s == _FOREVER else f" for at most {_s(part._max_wait_s)}"
    return (
        f"Bulkhead {part.name!r}: at most {part.max_concurrent} calls at once{held}, {part.max_queue} may "
        f"wait{wait}; the next is refused."
    )


def _timeout(part: Timeout, inner: Sequence[Part]) -> str:
    if any(isinstance(one, Retry) for one in inner):
        what = "all attempts and the waits between them together"
    else:
        what = "one attempt"
    unseen = ""
    if any(isinstance(one, CircuitBreaker) for one in inner) and not any(
        isinstance(one, Timeout) for one in inner
    ):
        unseen = (
            "; what it cuts off the breaker inside does not count (a Timeout inside the breaker would be)"
        )
    return f"Timeout: {what} may take {_s(part.seconds)}, then the call is given up{unseen}."


def _retry(part: Retry) -> str:
    rules = part._rules
    if rules.max_attempts == 1:
        return "Retry: one attempt, that is no retry."
    elapsed = "" if rules.max_elapsed_s == _FOREVER else f", none later than {_s(rules.max_elapsed_s)}"
    unsafe = "" if rules.idempotent else "; never what may have taken effect"
    return (
        f"Retry: up to {rules.max_attempts} attempts{elapsed}, where the same call may succeed later"
        f"{unsafe}; waits from {_s(rules.base_s)}, {rules.jitter} jitter, together at most "
        f"{_s(longest_waits_s(part))}, or as long as the provider asks, up to "
        f"{_s(rules.retry_after_cap_s)} each time."
    )


def _breaker(part: CircuitBreaker) -> str:
    rules = part._rules
    if rules.by_rate:
        when = f"when {rules.failure_rate:.0%} of the calls in its window fail"
        if part._slow_s is not None and rules.slow_rate is not None:
            when += f" or {rules.slow_rate:.0%} take longer than {_s(part._slow_s)}"
        when += f" (from {rules.minimum_calls} calls on)"
    else:
        when = f"after {rules.threshold} failures in a row"
    judge = "the provider's failures" if part._counts_as_failure is None else "what its own judge says"
    probes = f"{rules.max_probes} probe{'s' if rules.max_probes > 1 else ''}"
    return (
        f"Circuit breaker {part.name!r}: {when} refuses calls for {_s(rules.recovery_s)}, then lets {probes} "
        f"through; counts {judge}."
    )


def _s(seconds: float) -> str:
    return "no end" if seconds == _FOREVER else f"{seconds:g} s"
