"""What stands around a tool call: permission, guardrails before, guardrails after."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from techrevati.runtime.agent_events import (
    AgentEventName as Name,
    AgentEventStatus as Status,
    AgentFailureClass,
)
from techrevati.runtime.failures import classify
from techrevati.runtime.guardrails import GuardrailViolatedError, run_post_checks, run_pre_checks
from techrevati.runtime.orchestrator.errors import PermissionDeniedError
from techrevati.runtime.orchestrator.life import SessionLife
from techrevati.runtime.permissions import PermissionOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SessionTools(SessionLife):
    """Tools run behind the permissions and guardrails of the orchestrator."""

    def authorize(self, tool: str) -> PermissionOutcome:
        """Whether this session's role may use *tool*; yes when no permissions were given."""
        policy = self._config.permissions
        if policy is None:
            return PermissionOutcome(True)
        ask = getattr(policy, "authorize", None) or policy.check  # type: ignore[union-attr]
        outcome: PermissionOutcome = ask(self.role, tool)
        return outcome

    @contextmanager
    def _tool(self, tool: str) -> Iterator[Callable[[object], None]]:
        """Everything around one tool call; gives what must look at its result."""
        self._require_running()
        outcome = self.authorize(tool)
        if not outcome.allowed:
            self._blocked(tool, "permission", outcome.reason)
            raise PermissionDeniedError(outcome)
        self._check_before(tool)
        self.emit(Name.AGENT_TOOL_CALLED, Status.RUNNING, None, None, {"tool": tool})
        try:
            yield lambda value: self._check_after(tool, value)
        except BaseException as error:
            why = classify(error).failure_class if isinstance(error, GuardrailViolatedError) else None
            why = why or AgentFailureClass.TOOL_ERROR
            self.emit(
                Name.AGENT_TOOL_COMPLETED,
                Status.FAILED,
                why,
                self._redactor.error_text(error),
                {"tool": tool},
            )
            raise
        self.emit(Name.AGENT_TOOL_COMPLETED, Status.COMPLETED, None, None, {"tool": tool})

    def _check_before(self, tool: str) -> None:
        guardrails = self._config.guardrails
        if not guardrails:
            return
        try:
            run_pre_checks(guardrails, role=self.role, tool=tool)
        except GuardrailViolatedError as refusal:
            self.emit(Name.HOOK_PRE_TOOL, Status.RED, None, str(refusal), {"tool": tool})
            self._blocked(tool, refusal.guardrail, refusal.outcome.reason)
            raise
        self.emit(Name.HOOK_PRE_TOOL, Status.GREEN, None, None, {"tool": tool})

    def _check_after(self, tool: str, value: object) -> None:
        guardrails = self._config.guardrails
        if not guardrails:
            return
        try:
            run_post_checks(guardrails, value, role=self.role, tool=tool)
        except GuardrailViolatedError as refusal:
            self.emit(Name.HOOK_POST_TOOL, Status.RED, None, str(refusal), {"tool": tool})
            raise
        self.emit(Name.HOOK_POST_TOOL, Status.GREEN, None, None, {"tool": tool})

    def _blocked(self, tool: str, by: str, reason: str | None) -> None:
        self.emit(Name.AGENT_BLOCKED, Status.BLOCKED, None, reason, {"tool": tool, "by": by})
