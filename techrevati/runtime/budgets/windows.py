"""Calendar windows in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

_SECONDS = {"minute": 60, "hour": 3_600, "day": 86_400}
PERIODS = (*_SECONDS, "month")
_FORMATS = {"minute": "%Y-%m-%dT%H:%M", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}


class Window(NamedTuple):
    """One period: its name, and when it ends in seconds since 1970."""

    name: str
    start_s: float
    end_s: float


ALWAYS = Window("total", float("-inf"), float("inf"))


def window(per: str | None, now_s: float) -> Window:
    """The window that *now_s* falls into; one that never ends for None."""
    if per is None:
        return ALWAYS
    at = datetime.fromtimestamp(now_s, UTC)
    name = at.strftime(_FORMATS[per])
    if per == "month":
        start = datetime(at.year, at.month, 1, tzinfo=UTC)
        end = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
        return Window(name, start.timestamp(), end.timestamp())
    length = _SECONDS[per]
    start_s = now_s // length * length
    return Window(name, start_s, start_s + length)
