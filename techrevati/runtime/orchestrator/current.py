"""Which session the running code belongs to, for code deep in the stack."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from techrevati.runtime.orchestrator.async_session import AsyncOrchestrationSession
    from techrevati.runtime.orchestrator.session import OrchestrationSession

current: ContextVar[OrchestrationSession | AsyncOrchestrationSession | None] = ContextVar(
    "techrevati_session", default=None
)


def current_session() -> OrchestrationSession | AsyncOrchestrationSession | None:
    """The innermost session entered in this context; None outside any.

    It is a context variable: tasks and timed calls started inside a session see it, plain threads do not.
    """
    return current.get()
