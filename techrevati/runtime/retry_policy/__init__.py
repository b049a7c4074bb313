"""Decide whether, when and how to try again.

``recovery``: recipes for each scenario of failure.  ``recovering``: they are followed, and the call is made
again.  ``retry``: the attempts of one call.
``retry_budget``: how many retries a whole run may make.  ``backoff``: how long to wait.
"""

from __future__ import annotations

from techrevati.runtime.failures import FailureScenario, classify_exception
from techrevati.runtime.retry_policy.backoff import (
    Jitter,
    backoff_delay,
    next_provider,
    smaller_context_budget,
)
from techrevati.runtime.retry_policy.course import RecoveryNews
from techrevati.runtime.retry_policy.recovering import Recovery
from techrevati.runtime.retry_policy.recovery import (
    HISTORY_CAPACITY as HISTORY_CAPACITY,
    EscalationPolicy,
    RecoveryContext,
    RecoveryEvent,
    RecoveryRecipe,
    RecoveryResult,
    RecoveryStep,
    Steps,
    aattempt_recovery,
    attempt_recovery,
    recipe_for,
)
from techrevati.runtime.retry_policy.retry import Retry, RetryAttempt
from techrevati.runtime.retry_policy.retry_budget import RetryBudget

__all__ = [
    "EscalationPolicy",
    "FailureScenario",
    "Jitter",
    "Recovery",
    "RecoveryContext",
    "RecoveryEvent",
    "RecoveryNews",
    "RecoveryRecipe",
    "RecoveryResult",
    "RecoveryStep",
    "Retry",
    "RetryAttempt",
    "RetryBudget",
    "Steps",
    "aattempt_recovery",
    "attempt_recovery",
    "backoff_delay",
    "classify_exception",
    "next_provider",
    "recipe_for",
    "smaller_context_budget",
]
