"""What an approval is, and what may be wrong with one."""

from __future__ import annotations

from dataclasses import dataclass

from techrevati.runtime._core.errors import TechrevatiError

PENDING = "pending"
GRANTED = "granted"
DENIED = "denied"
CONSUMED = "consumed"


@dataclass(frozen=True, slots=True)
class Approval:
    """One act that a human may allow, once.

    Attributes:
        id: What it is granted and consumed by.
        tool: The tool that would run.
        argument_hash: SHA-256 of its arguments; an approval never holds for others.
        policy_version: The policy under which it was asked for.
        reason: Why it is needed, for people.
        shown: The arguments for people, redacted and shortened.
        state: "pending", "granted", "denied" or "consumed".
        requested_at, expires_at: Seconds since 1970.
        decided_by: Who granted or denied it; None while pending.
        consumed_by: Who used it; None until then.
    """

    id: str
    tool: str
    argument_hash: str
    policy_version: str
    reason: str
    shown: str
    state: str
    requested_at: float
    expires_at: float
    decided_by: str | None = None
    consumed_by: str | None = None


class ApprovalError(TechrevatiError):
    """Root of what is wrong with an approval; the act it was for did not run.

    Attributes:
        id: The approval.
        tool: The tool, when known.
    """

    def __init__(self, id: str, tool: str | None, problem: str) -> None:
        super().__init__(id, tool, problem)
        self.id = id
        self.tool = tool
        self.problem = problem

    def __str__(self) -> str:
        about = "" if self.tool is None else f" of {self.tool!r}"
        return f"approval {self.id}{about}: {self.problem}"


class UnknownApprovalError(ApprovalError, KeyError):
    """There is no such approval, or it was forgotten some time after it expired."""


class ApprovalPendingError(ApprovalError):
    """Nobody has decided yet.  Grant or deny it, then run the same program again."""


class ApprovalDeniedError(ApprovalError, PermissionError):
    """A human said no."""


class ApprovalExpiredError(ApprovalError):
    """It was not decided, or not used, in time."""


class ApprovalConsumedError(ApprovalError):
    """It was used already: an approval allows one act."""


class ApprovalMismatchError(ApprovalError, ValueError):
    """It was given for another tool, other arguments or another policy version."""
