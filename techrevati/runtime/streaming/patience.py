"""How long one stream is waited for: stamps and limits, without a clock.

    since   when the wait under way began; NEVER while the consumer works
    limit   how long a wait may take: what is left for the first token, then ``idle_s``

Whoever looks may be another thread.  It reads the time first and the stamp last: a wait that is seen then was
already under way at that time, so no wait is ever found too long that was not.

While a wait is under way and can become too long, a look is arranged no later than that (``armed``).  A look
between two waits arranges none; the next wait does.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

NEVER = float("inf")
Why: TypeAlias = Literal["first_token", "idle", "deadline"]


class Patience:
    """The waits of one stream."""

    __slots__ = (
        "armed",
        "deadline",
        "fired",
        "first_s",
        "first_token_s",
        "idle_s",
        "limit",
        "since",
        "waited_s",
    )

    def __init__(self, first_s: float, idle_s: float, deadline: float) -> None:
        self.first_s: float = first_s
        self.idle_s: float = idle_s
        self.deadline: float = deadline  # when, not how long
        self.limit: float = first_s
        self.since: float = NEVER
        self.waited_s: float = 0.0  # for the first token
        self.first_token_s: float | None = None
        self.fired: Why | None = None  # why the wait was ended
        self.armed: bool = not self.limited  # what has no limit needs no look

    @property
    def limited(self) -> bool:
        """True when a wait can become too long."""
        return min(self.first_s, self.idle_s, self.deadline) < NEVER

    def look(self, now: float) -> float:
        """Seconds until the wait under way is too long, <= 0 if it is; NEVER, and ``armed`` off, for none."""
        while True:
            limit = self.limit
            since = self.since
            if since != NEVER:
                due = since + limit
                return (due if due < self.deadline else self.deadline) - now
            if not self.armed:
                return NEVER
            self.armed = False  # and look again: a wait that began meanwhile may have seen it still on

    def give_up(self, now: float) -> None:
        """The wait under way is too long."""
        if now >= self.deadline:
            self.fired = "deadline"
        else:
            self.fired = "idle" if self.first_token_s is not None else "first_token"

    def came(self, waited_s: float, is_token: bool) -> None:
        """A chunk came before any token: it is the first, or takes from its time."""
        self.waited_s += waited_s
        if is_token:
            self.first_token_s = self.waited_s
            self.limit = self.idle_s
            self.armed = not self.limited  # the look that is arranged may be too late for the new limit
        else:
            self.limit = max(0.0, self.first_s - self.waited_s)
