"""One agent's work as a session: the primitives around its calls, in the right order.

A session decides nothing.  It asks the breaker whether a call may start, the deadline how long it may take,
the price table what it cost, the policy who may use a tool, and tells the sinks what happened.
"""

from __future__ import annotations

from techrevati.runtime.deadlines import TurnTimeoutError as TurnTimeoutError
from techrevati.runtime.orchestrator.async_session import AsyncOrchestrationSession
from techrevati.runtime.orchestrator.configuration import AgentSession, Orchestrator
from techrevati.runtime.orchestrator.current import current_session
from techrevati.runtime.orchestrator.errors import (
    InputStateError,
    MaxIterationsExceededError,
    PermissionDeniedError,
    SessionEndedError,
)
from techrevati.runtime.orchestrator.parallel import ToolCall, ToolResult
from techrevati.runtime.orchestrator.session import OrchestrationSession
from techrevati.runtime.orchestrator.session_stream import AsyncSessionStream, SessionStream
from techrevati.runtime.orchestrator.validation import Feedback, Invalid, JsonOutput, OutputInvalidError
from techrevati.runtime.usage_tracking import BudgetExceededError as BudgetExceededError

__all__ = [
    "AgentSession",
    "AsyncOrchestrationSession",
    "AsyncSessionStream",
    "BudgetExceededError",
    "Feedback",
    "InputStateError",
    "Invalid",
    "JsonOutput",
    "MaxIterationsExceededError",
    "OrchestrationSession",
    "Orchestrator",
    "OutputInvalidError",
    "PermissionDeniedError",
    "SessionEndedError",
    "SessionStream",
    "ToolCall",
    "ToolResult",
    "TurnTimeoutError",
    "current_session",
]
