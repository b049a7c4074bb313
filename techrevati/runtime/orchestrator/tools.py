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
from techrevati.runtime.guardrails import GuardrailViolatedError
from techrevati.runtime.orchestrator.errors import PermissionDeniedError
from techrevati.runtime.orchestrator.life import SessionLife
from techrevati.runtime.permissions import PermissionOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from techrevati.runtime.orchestrator.spending import SessionSpending


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

    def _permit(self, tool: str) -> None:
        """Raise unless *tool* may be used now, and count it; with a journal it counts when it begins."""
        self._permitted(tool)
        spending: SessionSpending | None = getattr(self, "_spending", None)
        if spending is not None and self._run is None:
            spending.tool()

    async def _apermit(self, tool: str) -> None:
        """:meth:`_permit` for tasks."""
        self._permitted(tool)
        spending: SessionSpending | None = getattr(self, "_spending", None)
        if spending is not None and self._run is None:
            await spending.atool()

    def _permitted(self, tool: str) -> None:
        self._require_running()
        outcome = self.authorize(tool)
        if not outcome.allowed:
            self._blocked(tool, "permission", outcome.reason)
            raise PermissionDeniedError(outcome)

    @contextmanager
    def _tool(self, tool: str, arguments: Mapping[str, object] | None) -> Iterator[Callable[[object], None]]:
        """The events around one tool call; gives what is told its result."""
        loops = self._loops
        call = None if loops is None or arguments is None else loops.before_tool(tool, arguments)
        self.emit(Name.AGENT_TOOL_CALLED, Status.RUNNING, None, None, {"tool": tool})
        came: list[object] = []
        try:
            yield came.append
        except BaseException as error:
            if call is not None and loops is not None and isinstance(error, Exception):
                loops.after_tool(call, error)
            why = classify(error).failure_class if isinstance(error, GuardrailViolatedError) else None
            why = why or AgentFailureClass.TOOL_ERROR
            detail = self._redactor.error_text(error)
            self.emit(Name.AGENT_TOOL_COMPLETED, Status.FAILED, why, detail, {"tool": tool})
            raise
        if call is not None and loops is not None:
            loops.after_tool(call, came[-1] if came else None)
        self.emit(Name.AGENT_TOOL_COMPLETED, Status.COMPLETED, None, None, {"tool": tool})

    def _check_before(self, tool: str, arguments: Mapping[str, object] | None) -> Mapping[str, object] | None:
        if not len(self._guardrails):
            return arguments
        with self._hook(Name.HOOK_PRE_TOOL, tool):
            return self._guardrails.before(arguments, role=self.role, tool=tool)

    def _check_after(self, tool: str, value: object) -> Any:
        if not len(self._guardrails):
            return value
        with self._hook(Name.HOOK_POST_TOOL, tool):
            return self._guardrails.after(value, role=self.role, tool=tool)

    @contextmanager
    def _hook(self, name: Name, tool: str) -> Iterator[None]:
        """Tell what the guardrails said."""
        try:
            yield
        except GuardrailViolatedError as refusal:
            data: dict[str, object] = {"tool": tool}
            data.update(
                (key, value) for key in ("rule", "path") if (value := getattr(refusal.outcome, key, None))
            )
            self.emit(name, Status.RED, None, str(refusal), data)
            if name is Name.HOOK_PRE_TOOL:
                self._blocked(tool, refusal.guardrail, refusal.outcome.reason)
            raise
        self.emit(name, Status.GREEN, None, None, {"tool": tool})

    def _blocked(self, tool: str, by: str, reason: str | None) -> None:
        self.emit(Name.AGENT_BLOCKED, Status.BLOCKED, None, reason, {"tool": tool, "by": by})


def checked_arguments(arguments: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """The arguments of a tool call, which are names and values."""
    if arguments is None:
        return None
    if not hasattr(arguments, "items"):
        raise TypeError(f"arguments must be a mapping, got {type(arguments).__name__}")
    for name in arguments:
        if not isinstance(name, str):
            raise TypeError(f"arguments must have strings as keys, got a {type(name).__name__}")
    return dict(arguments)
