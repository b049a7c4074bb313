"""What an exception is: one answer to whether to retry, when, and whose trouble it is.

``classify`` looks at facts first (types by name, statuses, codes, headers, bodies, causes) and at words
last; it imports no SDK.  The table it follows is ``RULES``; ``register_rule`` puts rules of yours in front.
"""

from __future__ import annotations

from techrevati.runtime.failures.classification import classify, classify_exception, provider_failures
from techrevati.runtime.failures.registered import MAX_USER_RULES, register_rule
from techrevati.runtime.failures.rule import Rule
from techrevati.runtime.failures.rules import RULES
from techrevati.runtime.failures.vocabulary import (
    KINDS,
    Failure,
    FailureKind,
    FailureOrigin,
    FailureScenario,
)

__all__ = [
    "KINDS",
    "MAX_USER_RULES",
    "RULES",
    "Failure",
    "FailureKind",
    "FailureOrigin",
    "FailureScenario",
    "Rule",
    "classify",
    "classify_exception",
    "provider_failures",
    "register_rule",
]
