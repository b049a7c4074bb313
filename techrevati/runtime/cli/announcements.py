"""Events that the program itself has to tell: circuits, switches, recoveries that came to a good end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus
from techrevati.runtime.orchestrator import current_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techrevati.runtime.sinks import EventSink


class Announcer:
    """Tells events in the name of the session that is running, else straight to a sink."""

    def __init__(self, sink: EventSink) -> None:
        self._sink = sink

    def tell(
        self,
        name: AgentEventName,
        status: AgentEventStatus,
        detail: str,
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Emit one event."""
        session = current_session()
        if session is None:
            self._sink.emit(AgentEvent(name, status, detail=detail, data=data))
        else:
            session.emit(name, status, None, detail, data)
