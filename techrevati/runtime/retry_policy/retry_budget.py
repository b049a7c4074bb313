"""How many retries a whole run may make, however many layers of it retry.

A token bucket: a retry takes one token, a success gives a part of one back.  With a dead provider a run makes
its few retries and then fails fast; with a healthy one the occasional retry is always affordable.

Source: the retry throttling of gRPC (proposal A6).
"""

from __future__ import annotations

from techrevati.runtime._core import arguments
from techrevati.runtime._core.locks import fork_safe_lock
from techrevati.runtime._core.switches import Switched

_TOKEN = 1_000_000
_MOST = 1e12  # tokens from one success; more than any bucket holds, and in millionths still a number


class RetryClaim:
    """One retry that was taken from a budget; for the one who took it."""

    __slots__ = ("budget", "tokens")

    def __init__(self, budget: RetryBudget | None, tokens: int) -> None:
        self.budget: RetryBudget | None = budget  # None: it was switched off, or this was given back
        self.tokens: int = tokens  # in millionths; 0 when it was let through without one

    def give_back(self) -> None:
        """The retry was not made; a second time changes nothing."""
        budget, self.budget = self.budget, None
        if budget is not None:
            with budget._lock:
                budget._given_back_locked(self.tokens)


class RetryBudget(Switched):
    """Retries left for one run.  Thread-safe; share one object between every layer that retries.

    Args:
        max_retries: Tokens of a full bucket, >= 0.
        refill_per_success: Tokens that each success gives back, >= 0.  A call inside of several layers that
            share the budget is a success of each: with three layers give a third.
        observe_only: Count what would be refused, but refuse nothing; may be set at any time.

    >>> budget = RetryBudget(max_retries=1, refill_per_success=0.5)
    >>> budget.take(), budget.take()
    (True, False)
    """

    __slots__ = (
        "_capacity",
        "_denied",
        "_gain",
        "_lock",
        "_owed",
        "_taken",
        "_tokens",
        "enabled",
        "observe_only",
    )

    def __init__(
        self, max_retries: int = 10, *, refill_per_success: float = 0.1, observe_only: bool = False
    ) -> None:
        # Millionths as integers: a tenth added ten times is one whole token.
        self._capacity = arguments.count("max_retries", max_retries) * _TOKEN
        self._gain = round(min(arguments.number("refill_per_success", refill_per_success), _MOST) * _TOKEN)
        self._tokens = self._capacity
        self._taken = 0
        self._denied = 0
        self._owed = 0  # takes without a token since the last one with, while only observing
        self._lock = fork_safe_lock()
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to let every retry be made, uncounted."""

    def claim(self) -> RetryClaim | None:
        """Take one retry, to be given back exactly as it was taken; None when there is none left."""
        if not self.enabled:
            return RetryClaim(None, 0)
        with self._lock:
            tokens = self._taken_locked()
        return None if tokens is None else RetryClaim(self, tokens)

    def take(self) -> bool:
        """Take one retry; False when there is none left."""
        if not self.enabled:
            return True
        with self._lock:
            tokens = self._taken_locked()
            if tokens is not None:
                self._owed = 0 if tokens else self._owed + 1
        return tokens is not None

    def _taken_locked(self) -> int | None:
        """Millionths taken for one retry: 0 when it is let through without a token; None when refused."""
        tokens = _TOKEN
        if self._tokens < _TOKEN:
            self._denied += 1
            if not self.observe_only:
                return None
            tokens = 0
        self._tokens -= tokens
        self._taken += 1
        return tokens

    def give_back(self) -> None:
        """Return a retry that :meth:`take` took and that was not made.

        While only observing, a retry may have been let through without a token, which then brings none back;
        of several takers the one who took last is meant.  :meth:`claim` tells them apart.
        """
        if not self.enabled:
            return
        with self._lock:
            if not self._taken:  # taken while it was switched off
                return
            owed = self._owed > 0
            self._owed -= owed
            self._given_back_locked(0 if owed else _TOKEN)

    def _given_back_locked(self, tokens: int) -> None:
        self._taken -= 1
        self._tokens = min(self._capacity, self._tokens + tokens)

    def succeeded(self) -> None:
        """Note a success."""
        if self._tokens < self._capacity:
            with self._lock:
                self._tokens = min(self._capacity, self._tokens + self._gain)

    @property
    def left(self) -> int:
        """Whole retries left now."""
        return self._tokens // _TOKEN

    @property
    def taken(self) -> int:
        """Retries made so far."""
        return self._taken

    @property
    def denied(self) -> int:
        """Retries that were asked for and refused."""
        return self._denied

    def __repr__(self) -> str:
        return f"RetryBudget(left={self.left}, taken={self._taken}, denied={self._denied})"


def checked(budget: RetryBudget | None) -> RetryBudget | None:
    """*budget*, if it can be one: anything that is taken from and given back to alike."""
    if budget is not None and not (hasattr(budget, "claim") and hasattr(budget, "succeeded")):
        raise TypeError(f"budget must be a RetryBudget, got {budget!r}")
    return budget
