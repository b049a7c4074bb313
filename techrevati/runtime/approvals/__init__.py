"""Which single act a human allowed.

An approval is for one tool with one set of arguments under one policy, until it expires, and is used once: in
whatever process, before or after a restart.  What nobody granted is not allowed.
"""

from __future__ import annotations

from techrevati.runtime.approvals.approvals import Approvals
from techrevati.runtime.approvals.vocabulary import (
    Approval,
    ApprovalConsumedError,
    ApprovalDeniedError,
    ApprovalError,
    ApprovalExpiredError,
    ApprovalMismatchError,
    ApprovalPendingError,
    UnknownApprovalError,
)

__all__ = [
    "Approval",
    "ApprovalConsumedError",
    "ApprovalDeniedError",
    "ApprovalError",
    "ApprovalExpiredError",
    "ApprovalMismatchError",
    "ApprovalPendingError",
    "Approvals",
    "UnknownApprovalError",
]
