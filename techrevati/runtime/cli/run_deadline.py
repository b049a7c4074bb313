"""The end of a whole run of the demo, and the lines about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.agent_events import AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.deadlines import Deadline
from techrevati.runtime.orchestrator import current_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from techrevati.runtime.cli.announcements import Announcer


class RunDeadline:
    """A deadline that tells when it begins, which waits it shortens, and what is left of it.

    Every request waits for its endpoint, so it would tell a line for each: it tells the first of every role.

    Attributes:
        deadline: For ``with``.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], announcer: Announcer) -> None:
        self._announcer = announcer
        self._told = set[str]()
        self.deadline: Deadline = Deadline(seconds, clock=clock, on_shortened=self._shortened)

    def begin(self) -> None:
        """Tell how much time there is."""
        seconds = self.deadline.seconds
        told = f"{seconds:g} s for the whole run; nothing waits longer than what is left of them"
        self._announcer.tell(Name.DEADLINE_STARTED, Status.RUNNING, told, {"seconds": seconds})

    def end(self) -> None:
        """Tell how much is left."""
        seconds, left_s = self.deadline.seconds, self.deadline.remaining()
        told = f"{left_s:.1f} s of {seconds:g} s are left"
        status = Status.GREEN
        if not left_s:
            told, status = f"no time is left of {seconds:g} s", Status.RED
        data = {"seconds": seconds, "left_seconds": left_s}
        self._announcer.tell(Name.DEADLINE_ENDED, status, told, data)

    def _shortened(self, seconds: float, left_s: float) -> None:
        session = current_session()
        role = "" if session is None else session.role
        if role in self._told:
            return
        self._told.add(role)
        told = f"waits up to {left_s:.1f} s instead of {seconds:g} s for an answer"
        data = {"seconds": seconds, "left_seconds": left_s}
        self._announcer.tell(Name.DEADLINE_SHORTENED, Status.RUNNING, told, data)
