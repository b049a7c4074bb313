"""openai-agents: models, providers, tools and whole teams of agents, guarded.

A model that talks through an SDK client gets a guarded client, so that what counts is what was sent; any
other model is guarded where the runner calls it.  Importing this needs openai-agents.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from techrevati.runtime._core.likely_tokens import likely_tokens
from techrevati.runtime.integrations.answers import usage_of
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.delegation import adelegate, counts
from techrevati.runtime.integrations.guarded_streams import Heard, astream
from techrevati.runtime.integrations.model_request import ModelRequest
from techrevati.runtime.integrations.openai_agents_tools import (
    ending_runs,
    guard_tool,
    guarded_tool,
    guarded_tools,
)
from techrevati.runtime.integrations.sdk_clients import guard_with, is_client

try:
    from agents import Agent, FunctionTool, Handoff, MultiProvider, handoff as handoff_to
    from agents.models.interface import Model, ModelProvider
except ImportError as _missing:  # pragma: no cover
    raise ImportError("techrevati.runtime.integrations.openai_agents needs openai-agents") from _missing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any, Unpack

    from agents import ModelResponse, TResponseInputItem
    from agents.items import TResponseStreamEvent
    from agents.model_settings import ModelSettings
    from agents.tool_context import ToolContext

    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.integrations.options import GuardOptions
    from techrevati.runtime.integrations.physical_request import PhysicalRequest
    from techrevati.runtime.integrations.tool_guard import ToolGuard
    from techrevati.runtime.usage import UsageSnapshot

__all__ = ["GuardedModel", "GuardedProvider", "guard_agent", "guard_tool"]

_AGENTS = 256  # agents made by hand-offs whose guarded copies are kept
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class GuardedModel(Model):
    """A model whose every physical request is guarded, counted and charged to a project.

    The model given stays as it is; one that is guarded gets the new guard instead of the old.  The SDK's own
    retries are taken over: ``retry=``, else as many as its ``max_retries`` says; do not give the runner a
    retry policy, too.  Whatever else the model has is reached through.  Task-safe.

    Args:
        wrapped: The model.
        options: Those of ``CallGuard``: project, breaker, budget, retry, ledger, deadline, …

    Raises:
        ValueError, TypeError: An option is out of range.

    Runs raise ``CircuitOpenError``, ``BudgetExceededError`` and ``DeadlineExceededError`` beside the SDK's
    own exceptions.
    """

    def __init__(self, wrapped: Model, **options: Unpack[GuardOptions]) -> None:
        if not isinstance(wrapped, Model):
            raise TypeError(f"wrapped must be a Model of openai-agents, got {wrapped!r}")
        while isinstance(wrapped, GuardedModel):
            wrapped = wrapped.wrapped  # the new guard, instead of the old one
        self._guard: CallGuard | None = CallGuard(**options)
        self.wrapped: Model = wrapped
        client = getattr(wrapped, "_client", None)
        # Websockets do not pass through the client's requests.
        if is_client(client) and "WS" not in type(wrapped).__name__:
            made: Any = copy(wrapped)
            made._client = guard_with(client, self._guard)
            self.wrapped, self._guard = made, None

    def __getattr__(self, name: str) -> Any:
        if name in ("wrapped", "_guard"):
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    async def close(self) -> None:
        """Close the model inside."""
        await self.wrapped.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        await self.wrapped._cleanup_on_run_end(owner)

    def get_retry_advice(self, request: Any) -> Any:
        """What the model inside advises the runner."""
        return self.wrapped.get_retry_advice(request)

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Any],
        output_schema: Any,
        handoffs: list[Any],
        tracing: Any,
        **more: Any,
    ) -> ModelResponse:
        """One call, which may be several physical requests."""
        given = (system_instructions, input, model_settings, tools, output_schema, handoffs, tracing)
        guard = self._guard
        if guard is None:
            return await self.wrapped.get_response(*given, **more)

        async def send(made: PhysicalRequest) -> ModelResponse:
            answer = await made.in_time(self.wrapped.get_response(*given, **more))
            await made.afinish(_used(answer))
            return answer

        return await guard.acall(self._asked(given, more, "get_response"), send)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Any],
        output_schema: Any,
        handoffs: list[Any],
        tracing: Any,
        **more: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """One streamed call; tried again only until its first event."""
        if model_settings.include_usage is None:  # chat streams say what they used only when asked
            model_settings = replace(model_settings, include_usage=True)
        given = (system_instructions, input, model_settings, tools, output_schema, handoffs, tracing)
        guard = self._guard
        if guard is None:
            events: Any = self.wrapped.stream_response(*given, **more)
        else:
            events = astream(
                guard,
                self._asked(given, more, "stream_response"),
                lambda: self.wrapped.stream_response(*given, **more),
                _heard,
            )
        try:
            async for event in events:
                yield event
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    def _asked(self, given: tuple[Any, ...], more: Mapping[str, Any], shape: str) -> ModelRequest:
        instructions, items, settings, tools, output_schema, handoffs, _ = given
        kept = next(
            (name for name in ("previous_response_id", "conversation_id", "prompt") if more.get(name)), None
        )
        schemas = [
            (
                getattr(tool, "name", ""),
                getattr(tool, "description", ""),
                getattr(tool, "params_json_schema", {}),
            )
            for tool in tools
        ]
        named = [
            (handoff.tool_name, handoff.tool_description, handoff.input_json_schema) for handoff in handoffs
        ]
        answer = output_schema.json_schema() if output_schema and not output_schema.is_plain_text() else None
        model = getattr(self.wrapped, "model", None)
        return ModelRequest(
            type(self.wrapped).__module__.partition(".")[0],
            str(model) if model else None,
            f"openai-agents {shape}",
            content=[instructions, items, schemas, named, answer],
            max_output_tokens=settings.max_tokens,
            unbounded=kept,
        )


class GuardedProvider(ModelProvider):
    """A provider whose models are guarded: ``RunConfig(model_provider=GuardedProvider(project="acme", …))``.

    Args:
        wrapped: Where models come from; None takes openai-agents' own ``MultiProvider``.
        options: See ``GuardedModel``; all models share one breaker registry, budget and ledger.
    """

    def __init__(self, wrapped: ModelProvider | None = None, **options: Unpack[GuardOptions]) -> None:
        CallGuard(**options)  # bad options are told now
        self.wrapped: ModelProvider = MultiProvider() if wrapped is None else wrapped
        self._options = options

    def get_model(self, model_name: str | None) -> Model:
        """The guarded model of that name."""
        return GuardedModel(self.wrapped.get_model(model_name), **self._options)

    async def aclose(self) -> None:
        """Close the provider inside."""
        await self.wrapped.aclose()


def guard_agent(
    agent: Agent[Any],
    *,
    tools: ToolGuard | None = None,
    provider: ModelProvider | None = None,
    shares: Mapping[str, Budget] | None = None,
    **options: Unpack[GuardOptions],
) -> Agent[Any]:
    """A copy of *agent*, and of all it hands off to, that is guarded: its model and its function tools.

    Agents it hands off to draw on its budget, through a child of it that has their name; each hand-off is one
    of the ``delegated_tasks`` of the agent that hands off, refused before anything is sent.  An agent that is
    used as a tool is guarded before it becomes one, with a child of the budget:
    ``guard_agent(researcher, budget=acme.child("researcher", limit_usd=1)).as_tool(…)``; a call of that tool
    is a delegated task as well.

    Args:
        tools: What function tools, custom ones and those of MCP servers pass; None leaves them as they are.
        provider: Where models come from that are given by name; None takes ``MultiProvider``.
        shares: The budgets of agents by name, such as ``budget.child("researcher", limit_usd=1)``; the others
            get a child without limits of its own.
        options: See ``GuardedModel``.

    Raises:
        ValueError, TypeError: An argument is out of range.
    """
    guard = CallGuard(**options)
    provider = MultiProvider() if provider is None else provider
    made: dict[int, tuple[Agent[Any], Agent[Any]]] = {}

    def share(name: str, budget: Budget | None) -> Budget | None:
        given = None if shares is None else shares.get(name)
        return given if given is not None or budget is None else budget.child(name)

    def guarded(one: Agent[Any], budget: Budget | None) -> Agent[Any]:
        if id(one) in made:
            return made[id(one)][1]
        model = one.model if isinstance(one.model, Model) else provider.get_model(one.model)
        its: GuardOptions = {**options, "budget": budget}
        new = one.clone(model=GuardedModel(model, **its))
        made[id(one)] = one, new  # kept, as long as its id stands here
        new.tools = [used(tool, budget) for tool in one.tools]
        new.handoffs = [other_of(other, budget) for other in one.handoffs]
        if tools is not None:
            guarded_tools(new, tools)
        return new

    def used(tool: Any, budget: Budget | None) -> Any:
        if getattr(tool, "_is_agent_tool", False):
            told = tools is not None and tool.name in tools.delegates
            tool = _of_agent(tool, guard, None if told or not counts(budget) else budget)
        return tool if tools is None else guarded_tool(tool, tools)

    def other_of(other: Any, budget: Budget | None) -> Any:
        if isinstance(other, Handoff):
            return handed(other, budget)
        its = guarded(other, share(other.name, budget))
        # As the runner would make it, where there is something to count.
        return handed(handoff_to(its), budget, guard_it=False) if counts(budget) else its

    def handed(handoff: Handoff[Any, Any], budget: Budget | None, guard_it: bool = True) -> Handoff[Any, Any]:
        invoke = handoff.on_invoke_handoff

        async def on_invoke_handoff(context: Any, text: str) -> Any:
            await adelegate(budget, guard, _delegated(handoff.agent_name))
            other = await invoke(context, text)
            if not guard_it or not isinstance(other, Agent):
                return other
            if len(made) >= _AGENTS and id(other) not in made:  # a new one every time
                made.clear()
            return guarded(other, share(other.name, budget))

        return replace(handoff, on_invoke_handoff=on_invoke_handoff)

    return guarded(agent, options.get("budget"))


def _of_agent(tool: FunctionTool, guard: CallGuard, budget: Budget | None) -> FunctionTool:
    """A tool behind which an agent works: a task of *budget*, if any; told if nothing guards it."""
    invoke, made = tool.on_invoke_tool, copy(tool)
    agent = getattr(tool, "_agent_instance", None)

    async def on_invoke_tool(context: ToolContext[Any], text: str) -> Any:
        await adelegate(budget, guard, _delegated(tool.name))
        if isinstance(agent, Agent) and not isinstance(agent.model, GuardedModel):
            guard.passed_through("openai-agents", f"agent as tool {tool.name}", free=False)
        return await invoke(context, text)

    made.on_invoke_tool = ending_runs(on_invoke_tool)
    return made


def _delegated(to: str) -> ModelRequest:
    return ModelRequest("openai-agents", None, f"task for {to}")


def _used(answer: object) -> UsageSnapshot | None:
    used = usage_of(answer)
    return None if used is None or _empty(used) else used


def _empty(used: UsageSnapshot) -> bool:
    return not (used.input_tokens or used.output_tokens)


def _heard() -> Heard:
    def tokens(event: Any) -> int:
        said = getattr(event, "delta", None)
        return likely_tokens(said) if isinstance(said, str) else 0

    def usage(event: Any) -> UsageSnapshot | None:
        return _used(event.response) if getattr(event, "type", "") in _ENDS else None

    return Heard(tokens=tokens, usage=usage)
