"""The ten failure classes of the event wire format."""

from __future__ import annotations

from enum import Enum


class AgentFailureClass(str, Enum):
    """Why an agent failed, as events say it; ``classify`` tells far more."""

    LLM_TIMEOUT = "llm_timeout"
    LLM_ERROR = "llm_error"
    TOOL_ERROR = "tool_error"
    CONTEXT_OVERFLOW = "context_overflow"
    RATE_LIMIT = "rate_limit"
    DEPENDENCY_FAILED = "dependency_failed"
    MEMORY_CORRUPTION = "memory_corruption"
    VALIDATION_ERROR = "validation_error"
    PROMPT_REJECTION = "prompt_rejection"
    UNKNOWN = "unknown"
