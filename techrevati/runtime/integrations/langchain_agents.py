"""``create_agent`` of langchain 1: a middleware that guards its model calls and its tools.

Importing this needs the package langchain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.langchain import Answers, guard_model

try:
    from langchain.agents.middleware import AgentMiddleware
except ImportError as _missing:  # pragma: no cover
    raise ImportError("techrevati.runtime.integrations.langchain_agents needs langchain >= 1") from _missing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Unpack

    from techrevati.runtime.integrations.options import GuardOptions
    from techrevati.runtime.integrations.tool_guard import ToolGuard

__all__ = ["GuardMiddleware"]

_MODELS = 16  # models of one agent whose guarded copies are kept


class GuardMiddleware(AgentMiddleware):  # type: ignore[type-arg]
    """Guards the model calls and the tools of an agent.

    ``create_agent(model, tools, middleware=[GuardMiddleware(project="acme", budget=…, tools=…)])``
    Put it last, next to the model: what other middleware does again is then guarded again.  Refusals end the
    run with their own exceptions.  Thread-safe and task-safe.

    Args:
        tools: What tool calls pass; None leaves them as they are.
        options: Those of ``guard_model``.

    Raises:
        ValueError, TypeError: An option is out of range.
    """

    def __init__(self, tools: ToolGuard | None = None, **options: Unpack[GuardOptions]) -> None:
        super().__init__()
        CallGuard(**options)  # bad options are told now
        self._tool_guard = tools
        self._options = options
        self._models: dict[int, tuple[Any, Any]] = {}

    def _guarded(self, request: Any) -> Any:
        model = request.model
        found = self._models.get(id(model))
        if found is None:
            if len(self._models) >= _MODELS:
                self._models.clear()
            found = self._models[id(model)] = (model, guard_model(model, **self._options))
        return request.override(model=found[1])

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """One call of the model, guarded."""
        return handler(self._guarded(request))

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """One call of the model, guarded."""
        return await handler(self._guarded(request))

    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """One call of a tool, through permissions, guardrails and approvals."""
        if self._tool_guard is None:
            return handler(request)
        call = request.tool_call

        def run(arguments: Any) -> Any:
            return handler(request.override(tool_call={**call, "args": arguments}))

        return Answers(call["name"], call["id"]).call(self._tool_guard, call["args"], run)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """One call of a tool, through permissions, guardrails and approvals."""
        if self._tool_guard is None:
            return await handler(request)
        call = request.tool_call

        async def run(arguments: Any) -> Any:
            return await handler(request.override(tool_call={**call, "args": arguments}))

        return await Answers(call["name"], call["id"]).acall(self._tool_guard, call["args"], run)
