"""Which part may stand around which, and why not the other way round.

A table of pairs, a check of what the parts claim, and three that need numbers: nested timeouts, retries that
cannot finish in time, and time in a queue that would count as the provider's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.bulkhead import Bulkhead
from techrevati.runtime.circuit_breaker import CircuitBreaker
from techrevati.runtime.deadlines import Deadline, Timeout
from techrevati.runtime.failover import Failover
from techrevati.runtime.hedging import Hedge
from techrevati.runtime.rate_limit import RateLimit
from techrevati.runtime.retry_policy import Retry, RetryBudget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from techrevati.runtime.pipeline.pipeline import Part

RIGHT_ORDER = (
    "Deadline, Timeout (for everything), RetryBudget, Retry, Failover, Hedge, CircuitBreaker, RateLimit, "
    "Bulkhead, Timeout (for one attempt)"
)
"""Outermost first; leave out what you do not need."""

RIGHT_ORDER_BY_TIME = (
    "Deadline, Timeout (for everything), RetryBudget, Retry, Failover, Hedge, RateLimit, Bulkhead, "
    "CircuitBreaker (that judges slow calls), Timeout (for one attempt)"
)
"""The same with a breaker that takes the time."""

_SLACK = 1e-9


class PipelineOrderError(TechrevatiError, ValueError):
    """The parts of a pipeline stand in an order that cannot be right.

    Attributes:
        why: What would go wrong, and what to do.
        right_order: Every part in the right order, outermost first.
    """

    def __init__(self, why: str, right_order: str = RIGHT_ORDER) -> None:
        super().__init__(why, right_order)
        self.why = why
        self.right_order = right_order

    def __str__(self) -> str:
        return f"{self.why} The right order, outermost first: {self.right_order}."


class Wrong(NamedTuple):
    """*outer* must not stand around *inner*."""

    outer: type[object]
    inner: type[object]
    why: str


_ONE_PROVIDER = "and is about one provider, but {inner} calls others too: put {outer} inside {inner}."

WRONG: tuple[Wrong, ...] = (
    *(
        Wrong(kind, Deadline, "{inner} is the end of the whole run: put it first.")
        for kind in (
            Timeout,
            RetryBudget,
            Retry,
            Failover,
            Hedge,
            CircuitBreaker,
            RateLimit,
            Bulkhead,
        )
    ),
    Wrong(Retry, RetryBudget, "{inner} limits the {outer} inside it: put {inner} outside {outer}."),
    Wrong(
        CircuitBreaker,
        Retry,
        "{outer} around {inner} sees one failure for several requests, misses those that a retry mends, and "
        "cannot stop attempts while it is open: put {outer} inside {inner}.",
    ),
    Wrong(
        RateLimit,
        Retry,
        "Every attempt of {inner} is a request that {outer} must count: put {outer} inside {inner}.",
    ),
    Wrong(
        Hedge,
        Retry,
        "{outer} around {inner} would multiply attempts by requests: put {outer} inside {inner}.",
    ),
    Wrong(CircuitBreaker, Failover, "{outer} counts failures " + _ONE_PROVIDER),
    Wrong(RateLimit, Failover, "{outer} counts requests " + _ONE_PROVIDER),
    Wrong(Hedge, Failover, "{outer} measures latencies " + _ONE_PROVIDER),
    Wrong(
        RateLimit,
        Hedge,
        "Every request of {inner} counts, and {outer} would see the first only: put {outer} inside {inner}.",
    ),
    Wrong(
        Bulkhead,
        Hedge,
        "Every request of {inner} needs a place, and {outer} would give one to all: put {outer} inside "
        "{inner}.",
    ),
    Wrong(
        RateLimit,
        CircuitBreaker,
        "A call would wait for {outer}, and use it up, only to be refused by {inner}: put {outer} inside "
        "{inner}.",
    ),
)

# What may stand there once, and why.
ONCE: dict[type[object], str] = {
    Deadline: "only the one that ends first would count.",
    RetryBudget: "one bounds the run.",
    Retry: "attempts would multiply; one Retry inside one pipeline.",
    CircuitBreaker: "every failure would be counted twice; one breaker for each thing that can fail, "
    "inside Retry.",
    Failover: "put all targets into one.",
    Hedge: "requests would multiply.",
}


def check(parts: Sequence[Part]) -> None:
    """Go on, if *parts*, outermost first, can be right.

    Raises:
        PipelineOrderError: They cannot.
    """
    _check_numbers_of_each(parts)
    for at, outer in enumerate(parts):
        for inner in parts[at + 1 :]:
            for wrong in WRONG:
                if isinstance(outer, wrong.outer) and isinstance(inner, wrong.inner):
                    if isinstance(outer, RateLimit) and _takes_the_time(inner):
                        continue  # it may not stand inside, see _check_queues
                    raise PipelineOrderError(wrong.why.format(outer=_name(outer), inner=_name(inner)))
    if any(isinstance(part, RetryBudget) for part in parts) and not _first(parts, Retry):
        raise PipelineOrderError("RetryBudget limits a Retry, and there is none inside it.")
    _check_claims(parts)
    _check_timeouts(parts)
    _check_retry(parts)
    _check_queues(parts)


def _check_numbers_of_each(parts: Sequence[Part]) -> None:
    for at, part in enumerate(parts):
        if any(part is other for other in parts[:at]):
            raise PipelineOrderError(f"The same {_name(part)} stands there twice.")
    for kind, why in ONCE.items():
        if sum(isinstance(part, kind) for part in parts) > 1:
            raise PipelineOrderError(f"More than one {kind.__name__}: {why}")


def _check_claims(parts: Sequence[Part]) -> None:
    """No part may say of a retry what another one denies."""
    retry, budget = _first(parts, Retry), _first(parts, RetryBudget)
    if not isinstance(retry, Retry):
        return
    if budget is not None and retry._budget is not None and retry._budget is not budget:
        raise PipelineOrderError(
            "Retry has a budget of its own, and the RetryBudget outside it is another: give one of them."
        )
    if not retry._rules.idempotent and _first(parts, Hedge) is not None:
        raise PipelineOrderError(
            "Hedge makes a call again while the first one runs, and Retry says that a repeated call may do "
            "harm (idempotent=False): leave Hedge out, or say idempotent=True to both."
        )


def _check_timeouts(parts: Sequence[Part]) -> None:
    outer_s = float("inf")
    for part in parts:
        if isinstance(part, Timeout):
            if part.seconds >= outer_s:
                raise PipelineOrderError(
                    f"Timeout of {part.seconds:g} s inside one of {outer_s:g} s would never cut anything: "
                    "give the inner one, for an attempt, less time than the outer one, for everything."
                )
            outer_s = part.seconds


def _check_retry(parts: Sequence[Part]) -> None:
    """Retries inside a limit of time must be able to finish at their slowest."""
    retry = _first(parts, Retry)
    if not isinstance(retry, Retry):
        return
    at = next(nth for nth, part in enumerate(parts) if part is retry)
    outer = [part for part in parts[:at] if isinstance(part, (Timeout, Deadline))]
    inner = [part.seconds for part in parts[at:] if isinstance(part, Timeout)]
    attempt_s = min(inner, default=None)
    waits_s = longest_waits_s(retry)
    worst_s = worst_case_s(retry, attempt_s)
    for limit in outer:
        fits = waits_s < limit.seconds if attempt_s is None else worst_s <= limit.seconds + _SLACK
        if fits:
            continue
        attempts = retry._rules.max_attempts
        of = "" if attempt_s is None else f" of up to {attempt_s:g} s"
        raise PipelineOrderError(
            f"Retry cannot finish inside {type(limit).__name__} of {limit.seconds:g} s: {attempts} attempts"
            f"{of} and waits of up to {waits_s:g} s need {worst_s:g} s{'' if attempt_s else ' and more'}. "
            f"Give the {type(limit).__name__} outside more time, or Retry fewer attempts, shorter waits or "
            "max_elapsed_seconds, or put a shorter Timeout inside Retry."
        )


def _check_queues(parts: Sequence[Part]) -> None:
    """A breaker must not hold the time in a queue of ours against the provider."""
    breaker = timeout = None
    for part in parts:
        if _takes_the_time(breaker) and _may_wait(part):
            raise PipelineOrderError(
                f"The wait for {_name(part)} would make calls slow, and {_name(breaker)} (slow_call_seconds) "
                f"counts that against the provider: put {_name(part)} outside {_name(breaker)}.",
                RIGHT_ORDER_BY_TIME,
            )
        if isinstance(part, CircuitBreaker):
            breaker = part
        elif isinstance(part, Timeout) and breaker is not None:
            timeout = part
        elif isinstance(part, (Bulkhead, RateLimit)) and timeout is not None:
            raise PipelineOrderError(
                f"The wait for {_name(part)} would use up the Timeout of {timeout.seconds:g} s, which "
                f"{_name(breaker)} then counts against the provider: put {_name(part)} outside that Timeout."
            )


def _takes_the_time(part: object) -> bool:
    """Whether it is a breaker that judges slow calls."""
    return isinstance(part, CircuitBreaker) and part._slow_s is not None


def _may_wait(part: object) -> bool:
    """Whether it has a queue of ours in which a call may wait."""
    if isinstance(part, Bulkhead):
        return part.max_queue > 0 and part._max_wait_s > 0
    return isinstance(part, RateLimit) and part._max_wait_s > 0


def longest_waits_s(retry: Retry) -> float:
    """All waits of a call together, at their longest, without what a provider asks for."""
    rules = retry._rules
    total_s, previous_s = 0.0, rules.base_s
    for number in range(1, min(rules.max_attempts, 10_000)):
        if rules.jitter == "decorrelated":
            previous_s = wait_s = min(rules.cap_s, 3 * previous_s)
        else:
            wait_s = min(rules.cap_s, rules.base_s * 2.0 ** min(number - 1, 1000))
        total_s += wait_s
    return min(total_s, rules.max_elapsed_s)


def worst_case_s(retry: Retry, attempt_s: float | None) -> float:
    """How long a call may take at its slowest, each attempt taking *attempt_s*, or no time when unknown."""
    attempt_s = attempt_s or 0.0
    rules = retry._rules
    everything_s = rules.max_attempts * attempt_s + longest_waits_s(retry)
    return min(everything_s, rules.max_elapsed_s + attempt_s)


def _first(parts: Sequence[Part], kind: type[object]) -> Part | None:
    return next((part for part in parts if isinstance(part, kind)), None)


def _name(part: object) -> str:
    return type(part).__name__
