"""Tools of any framework through permissions, guardrails, approvals and a budget.

``ToolGuard`` decides; how a framework calls its tools is its adapter's business.  The order: may the role use
the tool, do the guardrails let these arguments pass, has a human allowed this act, is there budget; then the
tool runs, and the guardrails see what it returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from techrevati.runtime._core import arguments as check
from techrevati.runtime._core.canonical import argument_hash
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.redactor import Redactor
from techrevati.runtime._core.scrub import error_text
from techrevati.runtime.agent_events import AgentEvent, AgentEventName as Name, AgentEventStatus as Status
from techrevati.runtime.approvals import ApprovalError, Approvals
from techrevati.runtime.budgets import Budget
from techrevati.runtime.guardrails import GuardrailChain, GuardrailViolatedError
from techrevati.runtime.permissions import PermissionDeniedError, PermissionEnforcer, PermissionPolicy
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from typing import Any

    from techrevati.runtime.guardrails import Guardrail
    from techrevati.runtime.sinks import EventSink

announce("integrations")

_NOTHING = UsageSnapshot()
REFUSALS = (PermissionDeniedError, GuardrailViolatedError, ApprovalError)


class ToldRefusal(str):
    """Why a tool was not run, or its result not shown, as a text for the model instead of an exception."""

    __slots__ = ()


class ToolGuard:
    """What is around the tool calls of one agent.  Thread-safe and task-safe as its parts.

    Args:
        role: Whose calls these are.
        permissions: Who may use which tool; everybody everything when None.
        guardrails: Asked before, and about what was returned; they may rewrite both.
        budget: Each call is one of its ``tool_calls``, where that is limited.
        delegates: Tools behind which another agent works: each call is also one of its ``delegated_tasks``.
        approvals: Where humans allow single acts.
        ask_first: Tools whose every call a human must allow.  The first try asks and raises
            ``ApprovalPendingError``; after a grant the same call runs once, and a second resume is refused.
        run: Names the run in the ids of approvals, ``run/call id``: call ids are only unique within one.
        on_refusal: "raise" what refused, or "tell" the model why and go on.  Budgets always raise.
        event_sink, redactor, project: Events of calls and refusals; names only, never arguments or results.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    def __init__(
        self,
        *,
        role: str = "agent",
        permissions: PermissionPolicy | PermissionEnforcer | None = None,
        guardrails: Iterable[Guardrail] | GuardrailChain = (),
        budget: Budget | None = None,
        delegates: Iterable[str] = (),
        approvals: Approvals | None = None,
        ask_first: Iterable[str] = (),
        run: str | None = None,
        on_refusal: Literal["raise", "tell"] = "raise",
        event_sink: EventSink | None = None,
        redactor: Redactor | None = None,
        project: str | None = None,
    ) -> None:
        check.text("role", role)
        if run is not None:
            check.text("run", run)
        if permissions is not None and not isinstance(permissions, (PermissionPolicy, PermissionEnforcer)):
            raise TypeError(f"permissions must be a PermissionPolicy, got {permissions!r}")
        if budget is not None and not isinstance(budget, Budget):
            raise TypeError(f"budget must be a Budget, got {budget!r}")
        if approvals is not None and not isinstance(approvals, Approvals):
            raise TypeError(f"approvals must be an Approvals, got {approvals!r}")
        for name, tools in (("ask_first", ask_first), ("delegates", delegates)):
            if isinstance(tools, str):
                raise TypeError(f"{name} must be a list of tool names, got {tools!r}")
        self._ask_first = frozenset(ask_first)
        if self._ask_first and approvals is None:
            raise ValueError("ask_first needs approvals=, where humans can allow the calls")
        if on_refusal not in ("raise", "tell"):
            raise ValueError(f"on_refusal must be 'raise' or 'tell', got {on_refusal!r}")
        self.role: str = role
        self.budget: Budget | None = budget
        self.delegates: frozenset[str] = frozenset(delegates)
        if isinstance(permissions, PermissionEnforcer):
            permissions = permissions.policy
        self._permissions: PermissionPolicy | None = permissions
        self._chain = guardrails if isinstance(guardrails, GuardrailChain) else GuardrailChain(guardrails)
        self._approvals = approvals
        self._run = run
        self._tells = on_refusal == "tell"
        self._sink = event_sink
        self._redactor = redactor
        self._project = project

    def call(
        self,
        tool: str,
        arguments: Mapping[str, object] | None,
        run: Callable[[Any], Any],
        *,
        call_id: str | None = None,
    ) -> Any:
        """What ``run(arguments)`` returns, as the guardrails left both.

        Args:
            call_id: The framework's name for this call, the same when the run is resumed.

        Raises:
            PermissionDeniedError, GuardrailViolatedError, ApprovalError: Refused, and nothing ran (but for a
                refusal of the result); with ``on_refusal="tell"`` a ``ToldRefusal`` is returned instead.
            BudgetExceededError: No tool call is left.
            Exception: What the tool raised.
        """
        try:
            self._permit(tool)
            arguments = self._chain.before(arguments, role=self.role, tool=tool)
            self._allowed(tool, arguments, call_id)
        except REFUSALS as refusal:
            return self._refused(tool, refusal)
        budget = self.budget
        if budget is not None and (tasks := self._counted(budget, tool)) is not None:
            budget.reserve(tool_calls=1, delegated_tasks=tasks, wall_seconds=0).settle(_NOTHING)
        self._tell(Name.AGENT_TOOL_CALLED, Status.RUNNING, tool)
        try:
            value = run(arguments)
        except BaseException as error:
            self._failed(tool, error)
            raise
        self._tell(Name.AGENT_TOOL_COMPLETED, Status.COMPLETED, tool)
        try:
            return self._chain.after(value, role=self.role, tool=tool)
        except REFUSALS as refusal:
            return self._refused(tool, refusal)

    async def acall(
        self,
        tool: str,
        arguments: Mapping[str, object] | None,
        run: Callable[[Any], Awaitable[Any]],
        *,
        call_id: str | None = None,
    ) -> Any:
        """:meth:`call` for tasks; approvals are looked up beside the event loop."""
        try:
            self._permit(tool)
            arguments = await self._chain.abefore(arguments, role=self.role, tool=tool)
            if tool in self._ask_first:
                import asyncio

                await asyncio.to_thread(self._allowed, tool, arguments, call_id)
        except REFUSALS as refusal:
            return self._refused(tool, refusal)
        budget = self.budget
        if budget is not None and (tasks := self._counted(budget, tool)) is not None:
            reserved = await budget.areserve(tool_calls=1, delegated_tasks=tasks, wall_seconds=0)
            await reserved.asettle(_NOTHING)
        self._tell(Name.AGENT_TOOL_CALLED, Status.RUNNING, tool)
        try:
            value = await run(arguments)
        except BaseException as error:
            self._failed(tool, error)
            raise
        self._tell(Name.AGENT_TOOL_COMPLETED, Status.COMPLETED, tool)
        try:
            return await self._chain.aafter(value, role=self.role, tool=tool)
        except REFUSALS as refusal:
            return self._refused(tool, refusal)

    # --- parts ----------------------------------------------------------------------------------------------

    def _counted(self, budget: Budget, tool: str) -> int | None:
        """How many delegated tasks a call is; None when *budget* limits nothing of it."""
        tasks = 1 if tool in self.delegates else 0
        if "tool_calls" in budget.limited or (tasks and "delegated_tasks" in budget.limited):
            return tasks
        return None

    def _permit(self, tool: str) -> None:
        if self._permissions is None:
            return
        outcome = self._permissions.authorize(self.role, tool)
        if not outcome.allowed:
            raise PermissionDeniedError(outcome)

    def _allowed(self, tool: str, arguments: Mapping[str, object] | None, call_id: str | None) -> None:
        """Ask a human the first time, use what was granted the next."""
        approvals = self._approvals
        if tool not in self._ask_first or approvals is None:
            return
        given = dict(arguments or {})
        asked = f"call of {tool} by {self.role}"
        if call_id is None:  # the same act again is the same call
            call_id = f"{tool}/{argument_hash(given)}"
        name = call_id if self._run is None else f"{self._run}/{call_id}"
        approvals.consume(approvals.request(tool, given, reason=asked, id=name), tool, given)

    def _refused(self, tool: str, refusal: Exception) -> ToldRefusal:
        self._tell(Name.AGENT_BLOCKED, Status.BLOCKED, tool, refusal)
        if not self._tells:
            raise refusal
        return ToldRefusal(f"{tool} was refused: {refusal}")

    def _failed(self, tool: str, error: BaseException) -> None:
        self._tell(Name.AGENT_TOOL_COMPLETED, Status.FAILED, tool, error)

    def _tell(self, name: Name, status: Status, tool: str, error: BaseException | None = None) -> None:
        if self._sink is None:
            return
        if self._redactor is None:
            self._redactor = Redactor()
        event = AgentEvent(
            name,
            status,
            role=self.role,
            project_id=self._project,
            detail=None if error is None else error_text(error),
            data={"tool": tool},
        )
        try:
            self._sink.emit(self._redactor.event(event))
        except Exception as trouble:
            logger("integrations").warning("event_sink.emit raised %s", type(trouble).__name__)
