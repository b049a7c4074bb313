"""Wall-clock time as the wire formats write it.

Hot paths keep the number that ``time.time`` gave and ask for the text only when somebody reads it.
"""

from __future__ import annotations


def iso_utc(epoch_seconds: float) -> str:
    """*epoch_seconds* since 1970 as ISO-8601 in UTC, always with microseconds, e.g.
    ``2026-11-21T12:00:00.000000+00:00``."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="microseconds")
