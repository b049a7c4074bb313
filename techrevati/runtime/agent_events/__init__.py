"""Say what happened, in words that every sink, trace and log shares.

``vocabulary``: the fixed names and statuses.  ``event``: an immutable record of a name, a status, a time, and
who and where; it is made on hot paths, so making one only stores what it was given, and ids and timestamps
become text when somebody reads them.  ``parsing``: the event that a wire form describes, loaded by whoever
reads one.
"""

from __future__ import annotations

from techrevati.runtime._core.failure_class import AgentFailureClass
from techrevati.runtime.agent_events.event import AgentEvent
from techrevati.runtime.agent_events.vocabulary import AgentEventName, AgentEventStatus

__all__ = ["AgentEvent", "AgentEventName", "AgentEventStatus", "AgentFailureClass"]
