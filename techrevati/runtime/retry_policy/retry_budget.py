"""How many retries a whole run may make, however many layers of it retry.

A token bucket: a retry takes one token, a success gives a part of one back.  With a dead provider a run makes
its few retries and then fails fast; with a healthy one the occasional retry is always affordable.

Source: the retry throttling of gRPC (proposal A6).
"""

from __future__ import annotations

from _thread import allocate_lock

from techrevati.runtime._core import arguments

_TOKEN = 1_000_000


class RetryBudget:
    """Retries left for one run.  Thread-safe; share one object between every layer that retries.

    Args:
        max_retries: Tokens of a full bucket, >= 0.
        refill_per_success: Tokens that each success gives back, >= 0.
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
        self._gain = round(arguments.number("refill_per_success", refill_per_success) * _TOKEN)
        self._tokens = self._capacity
        self._taken = 0
        self._denied = 0
        self._owed = 0  # retries last let through without a token, while only observing
        self._lock = allocate_lock()
        self.observe_only: bool = observe_only
        self.enabled: bool = True
        """Set to False to let every retry be made, uncounted."""

    def take(self) -> bool:
        """Take one retry; False when there is none left."""
        if not self.enabled:
            return True
        with self._lock:
            if self._tokens < _TOKEN:
                self._denied += 1
                if not self.observe_only:
                    return False
                self._owed += 1
            else:
                self._tokens -= _TOKEN
                self._owed = 0  # those were made: what comes back now is a token
            self._taken += 1
            return True

    def give_back(self) -> None:
        """Return a retry that was taken and not made; one that was let through without a token, while only
        observing, brings none back."""
        if not self.enabled:
            return
        with self._lock:
            if not self._taken:  # taken while it was switched off
                return
            self._taken -= 1
            if self._owed:
                self._owed -= 1
            else:
                self._tokens = min(self._capacity, self._tokens + _TOKEN)

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
