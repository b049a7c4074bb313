"""The recent calls of a breaker, counted in place: the last N, or those of the last seconds.

A call costs the same however long the window is.  Not thread-safe: the breaker's lock is around it.
"""

from __future__ import annotations

from techrevati.runtime.circuit_breaker.core import Tally

BUCKETS = 20


class CountWindow:
    """The last *size* calls."""

    __slots__ = ("_at", "_flags", "_size", "tally")

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def add(self, ok: bool, slow: bool, now_s: float) -> Tally:
        """Count one call; the oldest makes room for it."""
        tally, at = self.tally, self._at
        if len(self._flags) < self._size:
            self._flags.append(0)
            tally.calls += 1
        elif gone := self._flags[at]:
            tally.failed -= gone & 1
            tally.slow -= gone >> 1
        if ok and not slow:
            self._flags[at] = 0
        else:
            self._flags[at] = (not ok) | slow << 1
            tally.failed += not ok
            tally.slow += slow
        self._at = 0 if at + 1 == self._size else at + 1
        return tally

    def clear(self) -> None:
        """Forget every call."""
        self._flags = bytearray()
        self._at = 0
        self.tally = Tally()


class TimeWindow:
    """The calls of the last *seconds*, forgotten a twentieth of that at a time."""

    __slots__ = ("_bucket_s", "_buckets", "_newest", "tally")

    def __init__(self, seconds: float) -> None:
        self._bucket_s = seconds / BUCKETS
        self.clear()

    def add(self, ok: bool, slow: bool, now_s: float) -> Tally:
        """Count one call."""
        self._forget(now_s)
        tally, bucket = self.tally, self._buckets[self._newest % BUCKETS]
        tally.calls += 1
        bucket.calls += 1
        if not ok:
            tally.failed += 1
            bucket.failed += 1
        if slow:
            tally.slow += 1
            bucket.slow += 1
        return tally

    def clear(self) -> None:
        """Forget every call."""
        self._buckets = [Tally() for _ in range(BUCKETS)]
        self._newest = 0
        self.tally = Tally()

    def _forget(self, now_s: float) -> None:
        number = int(now_s / self._bucket_s)
        if number <= self._newest:
            return  # the same moment, or a clock that went back
        if number - self._newest >= BUCKETS:
            self.clear()
        else:
            for passed in range(self._newest + 1, number + 1):
                gone = self._buckets[passed % BUCKETS]
                self.tally.calls -= gone.calls
                self.tally.failed -= gone.failed
                self.tally.slow -= gone.slow
                self._buckets[passed % BUCKETS] = Tally()
        self._newest = number
