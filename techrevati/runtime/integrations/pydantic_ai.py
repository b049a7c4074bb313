"""pydantic-ai models and toolsets, guarded.

A model that talks through an SDK client gets a guarded client, so that what counts is what was sent; any
other model (Google, Bedrock, a test's) is guarded where pydantic-ai calls it.  Importing this needs
pydantic-ai.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from techrevati.runtime._core.likely_tokens import likely_tokens
from techrevati.runtime.integrations.answers import usage_of
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.integrations.guarded_streams import NOTHING
from techrevati.runtime.integrations.model_request import ModelRequest
from techrevati.runtime.integrations.sdk_clients import guard_with, is_client
from techrevati.runtime.usage import UsageSnapshot

try:
    from pydantic_ai.models.wrapper import WrapperModel
    from pydantic_ai.toolsets import WrapperToolset
except ImportError as _missing:  # pragma: no cover
    raise ImportError("techrevati.runtime.integrations.pydantic_ai needs pydantic-ai") from _missing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any, Unpack

    from pydantic_ai import RunContext
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import KnownModelName, Model, ModelRequestParameters, StreamedResponse
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.toolsets import AbstractToolset, ToolsetTool

    from techrevati.runtime.integrations.options import GuardOptions
    from techrevati.runtime.integrations.physical_request import PhysicalRequest
    from techrevati.runtime.integrations.tool_guard import ToolGuard

__all__ = ["GuardedModel", "GuardedToolset"]

_PER_REQUEST = 512
_PER_IMAGE = 3_000


class GuardedModel(WrapperModel):
    """A model whose every physical request is guarded, counted and charged to a project.

    ``Agent(GuardedModel("openai:gpt-5-mini", project="acme", budget=…))``.  The model given stays as it is.
    The SDK's own retries are taken over: ``retry=``, else as many as its ``max_retries`` says.  A
    ``FallbackModel``, or another wrapper, is guarded in each model inside; a model that is guarded gets the
    new guard instead of the old.  Task-safe.

    Args:
        wrapped: The model, or its name.
        options: Those of ``CallGuard``: project, breaker, budget, retry, ledger, deadline, …

    Raises:
        ValueError, TypeError: An option is out of range.

    Runs raise ``CircuitOpenError``, ``BudgetExceededError`` and ``DeadlineExceededError`` beside the
    exceptions of pydantic-ai.
    """

    wrapped: Model

    def __init__(self, wrapped: Model | KnownModelName, **options: Unpack[GuardOptions]) -> None:
        super().__init__(wrapped if isinstance(wrapped, str) else _unguarded(wrapped))
        guard = CallGuard(**options)
        inside = _with_guarded_clients(self.wrapped, guard)
        self._guard: CallGuard | None = guard if inside is None else None
        if inside is not None:
            self.wrapped = inside

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """One call, which may be several physical requests."""
        guard = self._guard
        if guard is None:
            return await self.wrapped.request(messages, model_settings, model_request_parameters)

        async def send(made: PhysicalRequest) -> ModelResponse:
            answer = await made.in_time(
                self.wrapped.request(messages, model_settings, model_request_parameters)
            )
            await made.afinish(_used(answer))
            return answer

        return await guard.acall(
            _asked(self.wrapped, messages, model_settings, model_request_parameters, "request"), send
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """One streamed call; tried again only until the stream begins."""
        given = (messages, model_settings, model_request_parameters, run_context)
        guard = self._guard
        if guard is None:
            async with self.wrapped.request_stream(*given) as stream:
                yield stream
            return

        async def send(made: PhysicalRequest) -> tuple[PhysicalRequest, Any, StreamedResponse]:
            manager = self.wrapped.request_stream(*given)
            return made, manager, await made.in_time(manager.__aenter__())

        asked = _asked(self.wrapped, messages, model_settings, model_request_parameters, "request_stream")
        made, manager, stream = await guard.acall(asked, send)
        try:
            yield stream
        except BaseException as error:
            await made.afail(error, _estimate(stream, asked), closable=True)
            if not await manager.__aexit__(type(error), error, error.__traceback__):
                raise
        else:
            try:
                await manager.__aexit__(None, None, None)
            except BaseException as error:
                await made.afail(error, _estimate(stream, asked), closable=True)
                raise
            answer = stream.get()
            used = _used(answer)
            if getattr(answer, "state", "complete") == "complete":
                await made.afinish(used or _estimate(stream, asked), measured=used is not None)
            else:
                await made.aabandon(_estimate(stream, asked))


@dataclass
class GuardedToolset(WrapperToolset):  # type: ignore[type-arg]
    """A toolset whose calls pass a ``ToolGuard``: ``Agent(model, toolsets=[GuardedToolset(tools, guard)])``.

    A refusal ends the run with its own exception, or is told to the model; see ``ToolGuard``.
    """

    wrapped: AbstractToolset[Any]
    guard: ToolGuard

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """One call of a tool."""

        async def run(arguments: dict[str, Any]) -> Any:
            return await self.wrapped.call_tool(name, arguments, ctx, tool)

        return await self.guard.acall(name, tool_args, run, call_id=ctx.tool_call_id)


def _unguarded(model: Any) -> Any:
    """*model* without guards that are to be replaced; they stay around the one that was given."""
    if isinstance(model, GuardedModel):
        return _unguarded(model.wrapped)
    inner = getattr(model, "models", None)
    if isinstance(inner, list) and inner:
        made = copy(model)
        made.models = [_unguarded(one) for one in inner]
        return made
    if isinstance(model, WrapperModel):
        return _wrapped_anew(model, _unguarded(model.wrapped))
    return model


def _wrapped_anew(model: WrapperModel, wrapped: Any) -> Any:
    """The same wrapper around another model."""
    made: Any = object.__new__(type(model))  # copy() asks it for attributes, which it looks for inside
    vars(made).update(vars(model), wrapped=wrapped)
    return made


def _with_guarded_clients(model: Any, guard: CallGuard) -> Any:
    """A copy of *model* whose SDK clients are guarded; None where there are none."""
    inner = getattr(model, "models", None)
    if isinstance(inner, list) and inner:  # a FallbackModel
        made = copy(model)
        made.models = [_inside(one, guard) for one in inner]
        return made
    if isinstance(model, WrapperModel):
        found = _with_guarded_clients(model.wrapped, guard)
        return None if found is None else _wrapped_anew(model, found)
    provider = getattr(model, "_provider", None)
    client = getattr(provider, "_client", None)
    if provider is None or not is_client(client):
        return None
    provider, made = copy(provider), copy(model)
    provider._client = guarded = guard_with(client, guard)
    made._provider = provider
    if "client" in vars(made):
        made.client = guarded
    return made


def _inside(model: Any, guard: CallGuard) -> Any:
    found = _with_guarded_clients(model, guard)
    if found is None:
        found = GuardedModel(model)
        found._guard = guard
    return found


def _asked(
    model: Any,
    messages: list[ModelMessage],
    settings: ModelSettings | None,
    parameters: ModelRequestParameters,
    shape: str,
) -> ModelRequest:
    from pydantic_ai.messages import ModelMessagesTypeAdapter

    said: Any = {**(getattr(model, "settings", None) or {}), **(settings or {})}
    texts = ModelMessagesTypeAdapter.dump_json(messages)
    images = texts.count(b'"image-url"') + texts.count(b'"image/')
    tools = str([*parameters.function_tools, *parameters.output_tools])
    most = said.get("max_tokens")
    return ModelRequest(
        str(model.system),
        str(model.model_name),
        f"pydantic-ai {shape}",
        input_tokens=_PER_REQUEST + len(texts) + images * _PER_IMAGE + len(tools.encode()),
        max_output_tokens=most if type(most) is int else None,
    )


def _used(answer: object) -> UsageSnapshot | None:
    used = usage_of(answer)
    return None if used is None or used.to_dict() == NOTHING.to_dict() or _empty(used) else used


def _empty(used: UsageSnapshot) -> bool:
    return not (used.input_tokens or used.output_tokens or used.cache_read_tokens or used.cache_write_tokens)


def _estimate(stream: StreamedResponse, asked: ModelRequest) -> UsageSnapshot:
    answer = stream.get()
    text = "".join(str(getattr(part, "content", "") or getattr(part, "args", "")) for part in answer.parts)
    generated = likely_tokens(text)
    known = _used(answer)
    if known is None:
        return UsageSnapshot(asked.input_tokens, generated)
    return replace(known, output_tokens=max(known.output_tokens, generated))
