"""The recent calls of a breaker: the last N, or those of the last seconds.

Most calls are good, and once the window holds enough calls to be judged, one more good call cannot make it
look worse.  So good calls are counted by a plain counter whose step needs no lock (``good``), and come in
when the next other call is added.  Everything but ``good`` happens under the breaker's lock.  A window
belongs to one epoch: the next one starts with an ``empty`` one, so that what is counted late is counted
where nobody looks.

A call costs the same however long the window is.
"""

from __future__ import annotations

from collections import deque
from itertools import count

from techrevati.runtime.circuit_breaker.core import Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

BUCKETS = 20


class _Goods:
    """Good calls, counted without a lock: the step of ``itertools.count`` is atomic."""

    __slots__ = ("_before", "good")

    def __init__(self) -> None:
        self.good: Callable[[], int] = count().__next__
        self._before = -1

    def taken(self) -> int:
        """How many came since this was asked before; asking is a step of the counter too."""
        now, before = self.good(), self._before
        self._before = now
        return now - before - 1


class CountWindow:
    """The last *size* calls."""

    __slots__ = ("_bad", "_goods", "_size", "_total", "epoch", "good", "tally", "until_s")

    def __init__(self, size: int, epoch: int = 0) -> None:
        self.epoch: int = epoch
        self.until_s: float = float("inf")
        """Until then ``good`` may be used; after that every call must be added."""
        self._size = size
        self._goods = _Goods()
        self.good: Callable[[], int] = self._goods.good
        self._total = 0  # calls ever
        self._bad: deque[tuple[int, bool, bool]] = deque()  # which call, failed, slow: those in the window
        self.tally: Tally = Tally()

    def empty(self, epoch: int) -> CountWindow:
        """A new one of the same size."""
        return CountWindow(self._size, epoch)

    def at(self, now_s: float) -> Tally:
        """What it holds."""
        self._count(self._goods.taken())
        return self.tally

    def add(self, ok: bool, slow: bool, now_s: float) -> Tally:
        """Count one call; the oldest makes room for it."""
        self._count(self._goods.taken() + 1)
        if not ok or slow:
            self._bad.append((self._total, not ok, slow))
            self.tally.failed += not ok
            self.tally.slow += slow
        return self.tally

    def add_goods(self, count: int, now_s: float) -> None:
        """Count good calls at once."""
        self._count(self._goods.taken() + count)

    def holds(self, then_s: float, now_s: float) -> bool:
        """Whether calls of *then_s* can be in it."""
        return True

    def apart(self, then_s: float, now_s: float) -> bool:
        """Whether it tells calls of these two moments apart."""
        return False

    def saved(self) -> list[object]:
        """All of it as plain values."""
        self._count(self._goods.taken())
        return [self._size, self._total, list(self._bad)]

    def restored(self, saved: Any, epoch: int) -> CountWindow:
        """What was saved, if that was one of the same size; else an empty one."""
        window = self.empty(epoch)
        if saved and saved[0] == self._size and len(saved) == 3:
            window._bad.extend((int(number), bool(failed), bool(slow)) for number, failed, slow in saved[2])
            window.tally.failed = sum(failed for _, failed, _ in window._bad)
            window.tally.slow = sum(slow for _, _, slow in window._bad)
            window._count(int(saved[1]))
        return window

    def _count(self, calls: int) -> None:
        tally, bad = self.tally, self._bad
        self._total += calls
        tally.calls = min(self._size, self._total)
        while bad and bad[0][0] <= self._total - self._size:
            _, failed, slow = bad.popleft()
            tally.failed -= failed
            tally.slow -= slow


class TimeWindow:
    """The calls of the last *seconds*, forgotten a twentieth of that at a time."""

    __slots__ = (
        "_bucket_s",
        "_buckets",
        "_goods",
        "_newest",
        "_seconds",
        "epoch",
        "good",
        "tally",
        "until_s",
    )

    def __init__(self, seconds: float, epoch: int = 0) -> None:
        self.epoch: int = epoch
        self.until_s: float = float("-inf")
        self._seconds = seconds
        self._bucket_s = seconds / BUCKETS
        self._goods = _Goods()
        self.good: Callable[[], int] = self._goods.good
        self._buckets: deque[Tally] = deque((Tally(),), BUCKETS)  # the newest is the last
        self._newest: int | None = None
        self.tally: Tally = Tally()

    def empty(self, epoch: int) -> TimeWindow:
        """A new one as long."""
        return TimeWindow(self._seconds, epoch)

    def at(self, now_s: float) -> Tally:
        """What it holds now."""
        goods, bucket = self._goods.taken(), self._buckets[-1]
        bucket.calls += goods
        self.tally.calls += goods
        number = int(now_s // self._bucket_s)
        if self._newest is None:
            self._newest = number
        # A clock that went back changes nothing.
        for _ in range(min(number - self._newest, BUCKETS)):
            if len(self._buckets) == BUCKETS:
                self.tally.take(self._buckets[0])
            self._buckets.append(Tally())
        self._newest = max(self._newest, number)
        self.until_s = (self._newest + 1) * self._bucket_s
        return self.tally

    def add(self, ok: bool, slow: bool, now_s: float) -> Tally:
        """Count one call."""
        tally = self.at(now_s)
        for counted in (tally, self._buckets[-1]):
            counted.calls += 1
            counted.failed += not ok
            counted.slow += slow
        return tally

    def add_goods(self, count: int, now_s: float) -> None:
        """Count good calls at once."""
        tally = self.at(now_s)
        for counted in (tally, self._buckets[-1]):
            counted.calls += count

    def holds(self, then_s: float, now_s: float) -> bool:
        """Whether calls of *then_s* can be in it."""
        return now_s - then_s < self._seconds

    def apart(self, then_s: float, now_s: float) -> bool:
        """Whether it tells calls of these two moments apart."""
        return then_s // self._bucket_s != now_s // self._bucket_s

    def saved(self) -> list[object]:
        """All of it as plain values."""
        return [
            self._seconds,
            self._newest,
            [(bucket.calls, bucket.failed, bucket.slow) for bucket in self._buckets],
            "seconds",
        ]

    def restored(self, saved: Any, epoch: int) -> TimeWindow:
        """What was saved, if that was one as long; else an empty one."""
        window = self.empty(epoch)
        if saved and saved[0] == self._seconds and len(saved) == 4 and saved[1] is not None:
            window._newest = int(saved[1])
            window._buckets = deque((Tally(*counted) for counted in saved[2]), BUCKETS)
            for bucket in window._buckets:
                window.tally.calls += bucket.calls
                window.tally.failed += bucket.failed
                window.tally.slow += bucket.slow
        return window
