"""Tools of openai-agents through a ``ToolGuard``: functions, those of MCP servers, custom ones.

The runner turns what a tool raises into a ``UserError``, unless it is one of its own exceptions.  A refusal
that ends a run is therefore made one of them, and stays what it was beside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from types import new_class
from typing import TYPE_CHECKING, Any

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.log import logger

try:
    import agents
    from agents import Agent, FunctionTool
    from agents.exceptions import AgentsException
except ImportError as _missing:  # pragma: no cover
    raise ImportError("techrevati.runtime.integrations.openai_agents needs openai-agents") from _missing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agents.tool_context import ToolContext

    from techrevati.runtime.integrations.tool_guard import ToolGuard

    Invoke = Callable[[Any, str], Awaitable[Any]]

_kinds: dict[type[TechrevatiError], type[TechrevatiError]] = {}


def guard_tool(tool: FunctionTool, guard: ToolGuard) -> FunctionTool:
    """A copy of *tool* whose calls pass *guard*.

    A refusal ends the run with its own exception, or is told to the model; see ``ToolGuard``.
    """
    if not isinstance(tool, FunctionTool):
        raise TypeError(f"tool must be a FunctionTool, got {tool!r}")
    invoke = tool.on_invoke_tool

    async def on_invoke_tool(context: ToolContext[Any], text: str) -> Any:
        try:
            arguments = json.loads(text) if text else {}
        except ValueError:
            arguments = None  # the tool says itself what is wrong with it
        if not isinstance(arguments, dict):
            arguments = None

        async def run(allowed: Mapping[str, object] | None) -> Any:
            return await invoke(context, text if allowed == arguments else json.dumps(allowed))

        return await guard.acall(tool.name, arguments, run, call_id=context.tool_call_id)

    made = copy(tool)
    made.on_invoke_tool = ending_runs(on_invoke_tool)
    return made


def guard_custom_tool(tool: Any, guard: ToolGuard) -> Any:
    """The same for a tool whose input is one text, not JSON."""
    invoke = tool.on_invoke_tool

    async def on_invoke_tool(context: ToolContext[Any], text: str) -> Any:
        async def run(allowed: Mapping[str, Any]) -> Any:
            return await invoke(context, allowed["input"])

        return await guard.acall(tool.name, {"input": text}, run, call_id=context.tool_call_id)

    made = copy(tool)
    made.on_invoke_tool = ending_runs(on_invoke_tool)
    return made


def guarded_tools(agent: Agent[Any], guard: ToolGuard) -> None:
    """Have the tools that *agent* gets from MCP servers pass *guard*, in its copies too."""
    kind: Any = type(agent)

    async def get_mcp_tools(self: Any, *args: Any, **more: Any) -> list[Any]:
        found = await kind.get_mcp_tools(self, *args, **more)
        return [guard_tool(tool, guard) if isinstance(tool, FunctionTool) else tool for tool in found]

    def body(namespace: dict[str, Any]) -> None:
        namespace.update(__module__=kind.__module__, __doc__=kind.__doc__, get_mcp_tools=get_mcp_tools)

    agent.__class__ = new_class(kind.__name__, (kind,), {}, body)


def guarded_tool(tool: Any, guard: ToolGuard) -> Any:
    """*tool* as it passes *guard*; what the runner or the provider runs by itself is only told."""
    if isinstance(tool, FunctionTool):
        return guard_tool(tool, guard)
    custom = getattr(agents, "CustomTool", None)  # of newer versions
    if custom is not None and isinstance(tool, custom):
        return guard_custom_tool(tool, guard)
    logger("integrations").warning(
        "%s of openai-agents is not guarded: no permission is asked for its calls", type(tool).__name__
    )
    return tool


def ending_runs(invoke: Invoke) -> Invoke:
    """*invoke*, whose refusals end the run as what they are."""

    async def invoked(context: Any, text: str) -> Any:
        try:
            return await invoke(context, text)
        except TechrevatiError as refusal:
            if not isinstance(refusal, AgentsException):
                refusal.__class__ = _passing(type(refusal))
            raise

    return invoked


def _passing(kind: type[TechrevatiError]) -> type[TechrevatiError]:
    """*kind*, as a class that the runner lets through."""
    made = _kinds.get(kind)
    if made is None:

        def reduce(self: Any) -> tuple[object, ...]:
            reduced: Any = kind.__reduce__(self)
            rebuild, (_, args, facts) = reduced
            return rebuild, (kind, args, {name: facts[name] for name in facts if name != "run_data"})

        def body(namespace: dict[str, Any]) -> None:
            namespace.update(
                __module__=kind.__module__,
                __qualname__=kind.__qualname__,
                __doc__=kind.__doc__,
                run_data=None,
            )
            namespace["__reduce__"] = reduce

        made = _kinds[kind] = new_class(kind.__name__, (kind, AgentsException), {}, body)
    return made
