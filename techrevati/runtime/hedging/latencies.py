"""What late is, and how much extra load is allowed: a bounded ring of latencies and a token bucket."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import ceil

_ONE = 1_000_000  # a token, in parts: a tenth added ten times is one whole
_MOST = 1e12  # requests for one call; more than anybody makes, and in parts still a number


class Latencies:
    """The last so many latencies, in seconds, sorted.  Not thread-safe."""

    __slots__ = ("_in_order", "_sorted", "_window")

    def __init__(self, window: int) -> None:
        self._window = window
        self._in_order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, seconds: float) -> None:
        """One more; the oldest goes when there are too many."""
        if len(self._in_order) == self._window:
            del self._sorted[bisect_left(self._sorted, self._in_order.popleft())]
        self._in_order.append(seconds)
        insort(self._sorted, seconds)

    def percentile_s(self, percent: float) -> float:
        """The smallest latency that *percent* of all do not exceed (nearest rank); there is at least one."""
        return self._sorted[ceil(percent * len(self._sorted) / 100.0) - 1]


class ExtraLoad:
    """How many extra requests may be made: a token bucket that every call fills by a share.  Not thread-safe.

    It starts with *burst* tokens, so after n calls at most ``burst + share * n`` extra requests were made.
    """

    __slots__ = ("_burst", "_share", "_tokens")

    def __init__(self, share: float, burst: int) -> None:
        self._share = round(min(share, _MOST) * _ONE)
        self._burst = max(burst * _ONE, self._share, _ONE)
        self._tokens = burst * _ONE

    def called(self) -> None:
        """Note a call."""
        self._tokens = min(self._burst, self._tokens + self._share)

    def take(self) -> bool:
        """Take one extra request; False when there is none."""
        if self._tokens < _ONE:
            return False
        self._tokens -= _ONE
        return True

    def give_back(self) -> None:
        """Return one that was taken and not made."""
        self._tokens = min(self._burst, self._tokens + _ONE)
