"""Whether one call is tried again, and when: decided from facts alone.

What the failure is, how many attempts and how much time were used, what the provider asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core.deadline import remaining_s
from techrevati.runtime._core.judging import asked
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.notes import note
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.failures import Failure, FailureKind, FailureOrigin, classify
from techrevati.runtime.retry_policy.backoff import Jitter, backoff_delay
from techrevati.runtime.retry_policy.history import caused, gave_up_inside, never_sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.retry_policy.retry import Retry
    from techrevati.runtime.retry_policy.retry_budget import RetryClaim

# Refusals: the request was turned away before anything was done.
NO_EFFECT = frozenset({FailureKind.RATE_LIMIT, FailureKind.OVERLOADED})
# After these the first attempt was the last one only because this layer would not repeat it; in words.
ENOUGH = {
    "may have taken effect": "it may have taken effect, and idempotent is False",
    "retry-after too long": "a wait of {asked:g} s is asked for, and at most {longest:g} s are waited",
    "elapsed": "the next attempt would begin after max_elapsed_seconds ({elapsed:g})",
    "deadline": "the next attempt would begin after the deadline",
    "budget": "the retry budget is used up",
}
_LONGEST_S = 1e9  # a wait of our own making without a limit


class RetryRules:
    """The numbers a retry was built with."""

    __slots__ = (
        "base_s",
        "cap_s",
        "idempotent",
        "jitter",
        "max_attempts",
        "max_elapsed_s",
        "retry_after_cap_s",
        "retry_on",
    )

    def __init__(
        self,
        max_attempts: int,
        max_elapsed_s: float,
        base_s: float,
        cap_s: float,
        jitter: Jitter,
        retry_after_cap_s: float,
        idempotent: bool,
        retry_on: Callable[[Failure], bool | None] | None,
    ) -> None:
        self.max_attempts: int = max_attempts
        self.max_elapsed_s: float = max_elapsed_s
        self.base_s: float = base_s
        self.cap_s: float = cap_s
        self.jitter: Jitter = jitter
        self.retry_after_cap_s: float = retry_after_cap_s
        self.idempotent: bool = idempotent
        self.retry_on: Callable[[Failure], bool | None] | None = retry_on


class RetryAttempt:
    """One attempt that did not succeed, and what is done about it.

    Attributes:
        number: Which attempt, from 1.
        failure: What it was; None when the result was not accepted.
        elapsed_seconds: Seconds since the first attempt began.
        wait_seconds: Seconds until the next attempt; None when there is none.
        reason: Why there is none: ``"attempts"``, ``"elapsed"``, ``"deadline"``, ``"not retryable"``, ``"may
            have taken effect"``, ``"retry-after too long"``, ``"budget"``, ``"retried inside"`` or ``"off"``;
            ``"observed only"`` with the wait that there would be; else None.
    """

    __slots__ = ("elapsed_seconds", "failure", "number", "reason", "wait_seconds")

    def __init__(
        self,
        number: int,
        failure: Failure | None,
        elapsed_seconds: float,
        wait_seconds: float | None,
        reason: str | None,
    ) -> None:
        self.number: int = number
        self.failure: Failure | None = failure
        self.elapsed_seconds: float = elapsed_seconds
        self.wait_seconds: float | None = wait_seconds
        self.reason: str | None = reason

    def __repr__(self) -> str:
        kind = "result" if self.failure is None else self.failure.kind.value
        then = self.reason or f"again in {self.wait_seconds:.3g} s"
        return f"RetryAttempt({self.number}, {kind}, {then})"


def next_step(
    number: int,
    elapsed_s: float,
    previous_wait_s: float,
    failure: Failure | None,
    sent: bool,
    rules: RetryRules,
    rng: Callable[[], float],
    left_s: float | None,
) -> tuple[float | None, str | None]:
    """Seconds to wait before the next attempt, or None and why there is none.

    Args:
        number: The attempt that did not succeed, from 1.
        elapsed_s: Seconds since the first attempt began.
        previous_wait_s: The wait before this attempt; 0 before the first.
        failure: What it was; None when its result was not accepted.
        sent: Whether the request may have reached the provider.
        left_s: Seconds left of the running deadline; None without one.
    """
    asked_s = None
    if failure is not None:
        wanted = (
            None if rules.retry_on is None else asked("retry_policy", "retry_on", rules.retry_on, failure)
        )
        if not (failure.retryable if wanted is None else wanted):
            return None, "not retryable"
        if not rules.idempotent and sent and failure.kind not in NO_EFFECT:
            return None, "may have taken effect"
        asked_s = failure.retry_after
    elif not rules.idempotent:
        return None, "may have taken effect"
    if number >= rules.max_attempts:
        return None, "attempts"
    if failure is not None and asked_s is not None and asked_s > _longest_asked_s(failure, rules):
        return None, "retry-after too long"
    wait_s = backoff_s(number, previous_wait_s, rules, rng)
    if asked_s is not None and wait_s < asked_s:
        wait_s = asked_s
    if elapsed_s + wait_s > rules.max_elapsed_s:
        return None, "elapsed"
    if left_s is not None and wait_s >= left_s:
        return None, "deadline"
    return wait_s, None


def _longest_asked_s(failure: Failure, rules: RetryRules) -> float:
    """The longest wait that is waited for; a breaker or limit of ours is no provider that asks, and gets no
    more than a wait of our own making."""
    if failure.origin is FailureOrigin.RUNTIME:
        return min(rules.cap_s, rules.retry_after_cap_s)
    return rules.retry_after_cap_s


def backoff_s(number: int, previous_wait_s: float, rules: RetryRules, rng: Callable[[], float]) -> float:
    if rules.base_s == 0:
        return 0.0
    if rules.jitter == "decorrelated":
        return backoff_delay(
            number, rules.base_s, "decorrelated", rules.cap_s, min(previous_wait_s, rules.cap_s), rng=rng
        )
    ceiling_s = min(rules.cap_s, _LONGEST_S, rules.base_s * 2.0 ** min(number - 1, 1000))
    if rules.jitter == "full":
        return ceiling_s * rng()
    if rules.jitter == "equal":
        return ceiling_s / 2 + ceiling_s / 2 * rng()
    return ceiling_s


class Attempts:
    """The attempts of one call: what was used so far, and what comes after each failure."""

    __slots__ = ("_claim", "_given_up_before", "_last", "_retry", "_started_s", "number", "wait_s")

    def __init__(self, retry: Retry, started_s: float | None, given_up_before: int) -> None:
        self._retry = retry
        self._started_s = retry._clock() if started_s is None else started_s
        self._given_up_before = given_up_before
        self._claim: RetryClaim | None = None  # for the attempt that comes next
        self._last: Exception | None = None  # what the call itself last failed with
        self.number: int = 1
        self.wait_s: float = 0.0

    def not_made(self) -> None:
        """The attempt that was decided is not made after all."""
        if self._claim is not None:
            self._claim.give_back()

    def forget(self) -> None:
        """It is over: the traceback of what it remembers leads back here."""
        self._last = None

    def after_error(self, error: Exception) -> float | None:
        """Seconds to wait before trying again; None to raise *error*."""
        failure = classify(error)
        if gave_up_inside(error, self._given_up_before):
            return self._decided(failure, None, "retried inside")
        wait_s, reason = self._next(failure, not never_sent(error))
        if wait_s is None and reason != "off" and not self._retry.observe_only:
            why = ENOUGH.get(reason or "")
            if self.number > 1 or why is not None:
                times = "once" if self.number == 1 else f"{self.number} times"
                note(error, f"tried {times}" + ("" if why is None else f"; {self._told(why, failure)}"))
                self._retry._gave_up(error)
            if failure.origin is FailureOrigin.RUNTIME:
                caused(error, self._last)  # a refusal of ours: why is what the call failed with before
        if failure.origin is not FailureOrigin.RUNTIME:
            self._last = error
        return self._decided(failure, wait_s, reason)

    def _told(self, why: str, failure: Failure) -> str:
        rules = self._retry._rules
        return why.format(
            asked=failure.retry_after or 0.0,
            longest=_longest_asked_s(failure, rules),
            elapsed=rules.max_elapsed_s,
        )

    def after_result(self) -> float | None:
        """Seconds to wait before trying again; None to keep the result."""
        return self._decided(None, *self._next(None, True))

    def _next(self, failure: Failure | None, sent: bool) -> tuple[float | None, str | None]:
        retry = self._retry
        if not retry.enabled:
            return None, "off"
        wait_s, reason = next_step(
            self.number,
            retry._clock() - self._started_s,
            self.wait_s,
            failure,
            sent,
            retry._rules,
            retry._random,
            remaining_s(),
        )
        if wait_s is not None and retry.observe_only:
            return wait_s, "observed only"
        if wait_s is not None and retry._budget is not None:
            self._claim = retry._budget.claim()
            if self._claim is None:
                return None, "budget"
        return wait_s, reason

    def _decided(self, failure: Failure | None, wait_s: float | None, reason: str | None) -> float | None:
        again = wait_s is not None and reason is None
        if self._retry._on_attempt is not None:
            elapsed_s = self._retry._clock() - self._started_s
            try:
                self._retry._on_attempt(RetryAttempt(self.number, failure, elapsed_s, wait_s, reason))
            except Exception as trouble:
                logger("retry_policy").warning("on_attempt raised %s", error_text(trouble))
            except BaseException:
                if again:
                    self.not_made()
                raise
        if wait_s is None or not again:
            return None
        self.number += 1
        self.wait_s = wait_s
        return wait_s
