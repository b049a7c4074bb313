"""Every adapter as the conformance kit drives it: one model call, one tool call, on the chaos endpoint."""

from __future__ import annotations

import asyncio
import importlib
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.integrations import ToolGuard, guarded
from tests.integration.guard_shapes import (
    KEY,
    MODEL,
    NOTES,
    async_openai_client,
    openai_client,
)

MAX_TOKENS = 60
Options = dict[str, Any]


class Adapter(NamedTuple):
    """One way to call a model.

    Attributes:
        name: For people.
        needs: The packages it needs, as they are imported.
        ask: ``ask(server, options, take)`` makes one call and returns the text; *take* pieces of a stream at
            most, then it is left.
        streamed: Whether it is a stream.
        error: What a 503 comes out as without us: qualified names, the first that exists.
        task: Whether it runs in a task.
        tool: ``tool(guard, call_id)`` calls ``delete_file(path="a.txt")`` once; None where it has no tools.
    """

    name: str
    needs: tuple[str, ...]
    ask: Callable[[ChaosServer, Options, int | None], Any]
    streamed: bool = False
    error: tuple[str, ...] = ("openai.InternalServerError",)
    task: bool = False
    tool: Callable[[ToolGuard, str], Any] | None = None

    def available(self) -> bool:
        """Whether what it needs is installed."""
        try:
            for name in self.needs:
                importlib.import_module(name)
        except ImportError:
            return False
        return True

    def run(self, server: ChaosServer, options: Options, take: int | None = None) -> str:
        """One call, in a loop of its own where it is async; no task may be left."""
        if not self.task:
            return str(self.ask(server, options, take))

        async def go() -> str:
            text = await self.ask(server, options, take)
            await assert_no_task_left()
            return str(text)

        return asyncio.run(go())


async def assert_no_task_left() -> None:
    """But for those that are just closing."""
    for _ in range(50):
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(left)


def prompt() -> str:
    """Unlike every other one, so that nothing is taken for its retry."""
    return f"Call {uuid.uuid4().hex}."


def told(text: object) -> str:
    return text if isinstance(text, str) else "".join(part["text"] for part in text)  # type: ignore


# --- @guarded -----------------------------------------------------------------------------------------------


def messages() -> list[Any]:
    said = [{"role": "user", "content": prompt()}, {"role": "assistant", "content": "Yes?"}]
    return [*said, {"role": "user", "content": NOTES}]


def plain(server: ChaosServer, options: Options, take: int | None) -> str:
    with openai_client(server, max_retries=0) as client:

        @guarded(**options)
        def create(model: str, max_tokens: int, messages: list[Any]) -> Any:
            return client.chat.completions.create(model=model, max_tokens=max_tokens, messages=messages)

        return create(MODEL, MAX_TOKENS, messages()).choices[0].message.content


async def coroutine(server: ChaosServer, options: Options, take: int | None) -> str:
    async with async_openai_client(server, max_retries=0) as client:

        @guarded(**options)
        async def create(**body: Any) -> Any:
            return await client.chat.completions.create(**body)

        made = await create(model=MODEL, max_tokens=MAX_TOKENS, messages=messages())
        return made.choices[0].message.content


def _chunk_text(chunk: Any) -> str:
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def generator(server: ChaosServer, options: Options, take: int | None) -> str:
    with openai_client(server, max_retries=0) as client:

        @guarded(**options)
        def chunks(**body: Any) -> Iterator[Any]:
            with client.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}
            ) as stream:
                yield from stream

        made: Any = chunks(model=MODEL, max_tokens=MAX_TOKENS, messages=messages())
        return "".join(map(_chunk_text, _taken(made, take)))


async def async_generator(server: ChaosServer, options: Options, take: int | None) -> str:
    async with async_openai_client(server, max_retries=0) as client:

        @guarded(**options)
        async def chunks(**body: Any) -> Any:
            made = await client.chat.completions.create(
                **body, stream=True, stream_options={"include_usage": True}
            )
            async with made as stream:
                async for chunk in stream:
                    yield chunk

        made: Any = chunks(model=MODEL, max_tokens=MAX_TOKENS, messages=messages())
        return "".join([_chunk_text(chunk) async for chunk in _ataken(made, take)])


def _taken(stream: Any, take: int | None) -> Iterator[Any]:
    """At most *take* items, then it is closed."""
    try:
        for number, item in enumerate(stream, 1):
            yield item
            if number == take:
                break
    finally:
        stream.close()


async def _ataken(stream: Any, take: int | None) -> Any:
    number = 0
    try:
        async for item in stream:
            yield item
            number += 1
            if number == take:
                break
    finally:
        await stream.aclose()


# --- langchain ----------------------------------------------------------------------------------------------


_own_timeouts = count(60)


def own_timeout() -> float:
    """A timeout that no other model has.

    langchain keeps one HTTP client for each address and timeout; a test closes it, and ports come again.
    """
    return float(next(_own_timeouts))


def chat_openai(server: ChaosServer, options: Options) -> Any:
    from langchain_openai import ChatOpenAI

    from techrevati.runtime.integrations.langchain import guard_model

    made: Any = ChatOpenAI(
        model=MODEL,
        base_url=server.base_url,
        api_key=KEY,
        max_tokens=MAX_TOKENS,
        max_retries=2,
        timeout=own_timeout(),
    )
    guarded_model = guard_model(made, **options)
    assert type(guarded_model) is type(made)
    return guarded_model


def lc_messages() -> list[Any]:
    return [("user", prompt()), ("assistant", "Yes?"), ("user", NOTES)]


def lc_invoke(server: ChaosServer, options: Options, take: int | None) -> str:
    return told(chat_openai(server, options).invoke(lc_messages()).content)


def lc_stream(server: ChaosServer, options: Options, take: int | None) -> str:
    stream = chat_openai(server, options).stream(lc_messages())
    return "".join(told(chunk.content) for chunk in _taken(stream, take))


async def lc_ainvoke(server: ChaosServer, options: Options, take: int | None) -> str:
    model = chat_openai(server, options)
    async with model.root_async_client:
        return told((await model.ainvoke(lc_messages())).content)


async def lc_astream(server: ChaosServer, options: Options, take: int | None) -> str:
    model = chat_openai(server, options)
    async with model.root_async_client:
        stream = model.astream(lc_messages())
        return "".join([told(chunk.content) async for chunk in _ataken(stream, take)])


def lc_anthropic(server: ChaosServer, options: Options, take: int | None) -> str:
    from langchain_anthropic import ChatAnthropic

    from techrevati.runtime.integrations.langchain import guard_model

    made: Any = ChatAnthropic(
        model_name=MODEL, base_url=server.anthropic_base_url, api_key=KEY, max_tokens=MAX_TOKENS
    )
    return told(guard_model(made, **options).invoke(lc_messages()).content)


def lc_responses(server: ChaosServer, options: Options, take: int | None) -> str:
    from langchain_openai import ChatOpenAI

    from techrevati.runtime.integrations.langchain import guard_model

    made: Any = ChatOpenAI(
        model=MODEL, base_url=server.base_url, api_key=KEY, max_tokens=MAX_TOKENS, use_responses_api=True
    )
    return told(guard_model(made, **options).invoke(lc_messages()).content)


def lc_handler(server: ChaosServer, options: Options, take: int | None) -> str:
    from langchain_openai import ChatOpenAI

    from techrevati.runtime.integrations.langchain import GuardHandler

    retry = options.pop("retry", None)
    made: Any = ChatOpenAI(
        model=MODEL, base_url=server.base_url, api_key=KEY, max_tokens=MAX_TOKENS, max_retries=0
    )

    def once() -> str:
        handlers = {"callbacks": [GuardHandler(**options)]}
        return told(made.invoke(lc_messages(), config=handlers).content)

    return once() if retry is None else retry.call(once)


def lc_agent(server: ChaosServer, options: Options, take: int | None) -> str:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    from techrevati.runtime.integrations.langchain_agents import GuardMiddleware

    model: Any = ChatOpenAI(model=MODEL, base_url=server.base_url, api_key=KEY, max_tokens=MAX_TOKENS)
    agent = create_agent(model, [], middleware=[GuardMiddleware(**options)])
    asked: Any = {"messages": lc_messages()}
    return told(agent.invoke(asked)["messages"][-1].content)


async def lc_aagent(server: ChaosServer, options: Options, take: int | None) -> str:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    from techrevati.runtime.integrations.langchain_agents import GuardMiddleware

    model: Any = ChatOpenAI(
        model=MODEL, base_url=server.base_url, api_key=KEY, max_tokens=MAX_TOKENS, timeout=own_timeout()
    )
    agent = create_agent(model, [], middleware=[GuardMiddleware(**options)])
    asked: Any = {"messages": lc_messages()}
    async with model.root_async_client:
        return told((await agent.ainvoke(asked))["messages"][-1].content)


def _lc_delete(guard: ToolGuard) -> Any:
    from langchain_core.tools import tool

    from techrevati.runtime.integrations.langchain import guard_tool

    @tool
    def delete_file(path: str) -> str:
        """Delete a file."""
        return deleted(path)

    return guard_tool(delete_file, guard)


def lc_tool(guard: ToolGuard, call_id: str) -> str:
    call = {"type": "tool_call", "name": "delete_file", "args": {"path": "a.txt"}, "id": call_id}
    return _lc_delete(guard).invoke(call).content


async def lc_atool(guard: ToolGuard, call_id: str) -> str:
    call = {"type": "tool_call", "name": "delete_file", "args": {"path": "a.txt"}, "id": call_id}
    return (await _lc_delete(guard).ainvoke(call)).content


def lc_agent_tool(guard: ToolGuard, call_id: str) -> Any:
    """A tool call of an agent whose model says nothing but that call."""
    from langchain.agents import create_agent
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool

    from techrevati.runtime.integrations.langchain_agents import GuardMiddleware

    @tool
    def delete_file(path: str) -> str:
        """Delete a file."""
        return deleted(path)

    class Fake(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **more: Any) -> Any:
            return self

    call: Any = {"name": "delete_file", "args": {"path": "a.txt"}, "id": call_id, "type": "tool_call"}
    model = Fake(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("done")]))
    agent = create_agent(model, [delete_file], middleware=[GuardMiddleware(guard)])
    asked: Any = {"messages": [("user", "go")]}
    said = agent.invoke(asked)["messages"]
    return next(message.content for message in said if message.type == "tool")


# --- openai-agents ------------------------------------------------------------------------------------------


def _agent(server: ChaosServer, options: Options, *, responses: bool = False) -> Any:
    from agents import (
        Agent,
        ModelSettings,
        OpenAIChatCompletionsModel,
        OpenAIResponsesModel,
        set_tracing_disabled,
    )

    from techrevati.runtime.integrations.openai_agents import guard_agent

    set_tracing_disabled(True)
    client = async_openai_client(server, max_retries=2)
    model = (OpenAIResponsesModel if responses else OpenAIChatCompletionsModel)(MODEL, client)
    agent = Agent(name="writer", model=model, model_settings=ModelSettings(max_tokens=MAX_TOKENS))
    return guard_agent(agent, **options), client


async def oa_run(server: ChaosServer, options: Options, take: int | None) -> str:
    from agents import Runner

    agent, client = _agent(server, options)
    async with client:
        return str((await Runner.run(agent, messages())).final_output)


async def oa_stream(server: ChaosServer, options: Options, take: int | None) -> str:
    from agents.models.interface import ModelTracing

    agent, client = _agent(server, options)
    async with client:
        events = agent.model.stream_response(
            None, messages(), agent.model_settings, [], None, [], ModelTracing.DISABLED,
            previous_response_id=None, conversation_id=None, prompt=None,
        )  # fmt: skip
        deltas = [
            event.delta async for event in _ataken(events, take) if event.type == "response.output_text.delta"
        ]
        return "".join(deltas)


async def oa_streamed_run(server: ChaosServer, options: Options, take: int | None) -> str:
    from agents import Runner

    agent, client = _agent(server, options)
    async with client:
        result = Runner.run_streamed(agent, messages())
        async for _ in result.stream_events():
            pass
        return str(result.final_output)


async def oa_responses(server: ChaosServer, options: Options, take: int | None) -> str:
    from agents import Runner

    agent, client = _agent(server, options, responses=True)
    async with client:
        return str((await Runner.run(agent, messages())).final_output)


async def oa_responses_stream(server: ChaosServer, options: Options, take: int | None) -> str:
    from agents import Runner

    agent, client = _agent(server, options, responses=True)
    async with client:
        result = Runner.run_streamed(agent, messages())
        async for _ in result.stream_events():
            pass
        return str(result.final_output)


async def oa_tool(guard: ToolGuard, call_id: str) -> Any:
    from agents import function_tool
    from agents.tool_context import ToolContext

    from techrevati.runtime.integrations.openai_agents import guard_tool

    @function_tool
    def delete_file(path: str) -> str:
        """Delete a file."""
        return deleted(path)

    text = '{"path": "a.txt"}'
    context: Any = ToolContext(None, tool_name="delete_file", tool_call_id=call_id, tool_arguments=text)
    return await guard_tool(delete_file, guard).on_invoke_tool(context, text)


# --- pydantic-ai --------------------------------------------------------------------------------------------


def _pa_model(server: ChaosServer, options: Options) -> tuple[Any, Any]:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    client: Any = async_openai_client(server, max_retries=2)
    made = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))
    return GuardedModel(made, **options), client


async def pa_responses(server: ChaosServer, options: Options, take: int | None) -> str:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    client: Any = async_openai_client(server, max_retries=2)
    async with client:
        made = OpenAIResponsesModel(MODEL, provider=OpenAIProvider(openai_client=client))
        settings: Any = {"max_tokens": MAX_TOKENS}
        agent: Any = Agent(GuardedModel(made, **options), model_settings=settings)
        return str((await agent.run(NOTES, message_history=_pa_history())).output)


def _pa_history() -> list[Any]:
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

    return [ModelRequest(parts=[UserPromptPart(prompt())]), ModelResponse(parts=[TextPart("Yes?")])]


async def pa_run(server: ChaosServer, options: Options, take: int | None) -> str:
    from pydantic_ai import Agent

    model, client = _pa_model(server, options)
    async with client:
        settings: Any = {"max_tokens": MAX_TOKENS}
        agent: Any = Agent(model, model_settings=settings)
        return str((await agent.run(NOTES, message_history=_pa_history())).output)


async def pa_stream(server: ChaosServer, options: Options, take: int | None) -> str:
    from pydantic_ai import Agent

    model, client = _pa_model(server, options)
    async with client:
        settings: Any = {"max_tokens": MAX_TOKENS}
        agent: Any = Agent(model, model_settings=settings)
        async with agent.run_stream(NOTES, message_history=_pa_history()) as result:
            deltas = result.stream_text(delta=True, debounce_by=None)
            return "".join([text async for text in _ataken(deltas, take)])


async def pa_anthropic(server: ChaosServer, options: Options, take: int | None) -> str:
    from anthropic import AsyncAnthropic
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    client: Any = AsyncAnthropic(api_key=KEY, base_url=server.anthropic_base_url)
    async with client:
        provider = AnthropicProvider(anthropic_client=client)
        model: Any = GuardedModel(AnthropicModel(MODEL, provider=provider), **options)
        settings: Any = {"max_tokens": MAX_TOKENS}
        agent: Any = Agent(model, model_settings=settings)
        return str((await agent.run(NOTES, message_history=_pa_history())).output)


async def pa_tool(guard: ToolGuard, call_id: str) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.toolsets import FunctionToolset

    from techrevati.runtime.integrations.pydantic_ai import GuardedToolset

    def delete_file(path: str) -> str:
        """Delete a file."""
        return deleted(path)

    def say(history: Any, info: Any) -> ModelResponse:
        if len(history) > 1:
            return ModelResponse(parts=[TextPart("done")])
        call = ToolCallPart("delete_file", {"path": "a.txt"}, tool_call_id=call_id)
        return ModelResponse(parts=[call])

    toolset: Any = FunctionToolset([delete_file])
    agent: Any = Agent(FunctionModel(say), toolsets=[GuardedToolset(toolset, guard)])
    done = await agent.run("go")
    parts = [part for message in done.all_messages() for part in message.parts]
    return next(part.content for part in parts if isinstance(part, ToolReturnPart))


# --- langgraph ----------------------------------------------------------------------------------------------


def _graph(node: Any) -> Any:
    from langgraph.graph import END, START, MessagesState, StateGraph

    made = StateGraph(MessagesState)
    made.add_node("model", node)
    made.add_edge(START, "model")
    made.add_edge("model", END)
    return made.compile()


def lg_node(server: ChaosServer, options: Options, take: int | None) -> str:
    from langchain_openai import ChatOpenAI

    from techrevati.runtime.integrations.langgraph import guarded_node

    made: Any = ChatOpenAI(
        model=MODEL, base_url=server.base_url, api_key=KEY, max_tokens=MAX_TOKENS, max_retries=0
    )

    @guarded_node(model=MODEL, max_output_tokens=MAX_TOKENS, **options)
    def model(state: Any) -> dict[str, Any]:
        return {"messages": [made.invoke(state["messages"])]}

    return told(_graph(model).invoke({"messages": lc_messages()})["messages"][-1].content)


async def lg_anode(server: ChaosServer, options: Options, take: int | None) -> str:
    from langchain_openai import ChatOpenAI

    from techrevati.runtime.integrations.langgraph import guarded_node

    made: Any = ChatOpenAI(
        model=MODEL,
        base_url=server.base_url,
        api_key=KEY,
        max_tokens=MAX_TOKENS,
        max_retries=0,
        timeout=own_timeout(),
    )

    @guarded_node(model=MODEL, max_output_tokens=MAX_TOKENS, **options)
    async def model(state: Any) -> dict[str, Any]:
        return {"messages": [await made.ainvoke(state["messages"])]}

    async with made.root_async_client:
        return told((await _graph(model).ainvoke({"messages": lc_messages()}))["messages"][-1].content)


def lg_tool(guard: ToolGuard, call_id: str) -> Any:
    """A guarded tool in a ``ToolNode``."""
    from langchain_core.messages import AIMessage
    from langgraph.prebuilt import ToolNode

    call: Any = {"name": "delete_file", "args": {"path": "a.txt"}, "id": call_id, "type": "tool_call"}
    node = ToolNode([_lc_delete(guard)], handle_tool_errors=False)
    graph = _graph(node)
    said = graph.invoke({"messages": [AIMessage("", tool_calls=[call])]})["messages"]
    return said[-1].content


# --- the list -----------------------------------------------------------------------------------------------

DELETED: list[str] = []


def deleted(path: str) -> str:
    """What the tool does."""
    DELETED.append(path)
    return f"deleted {path}"


_LC = ("langchain_core", "langchain_openai")
_LC1 = (*_LC, "langchain.agents.middleware")
_OA, _PA, _LG = ("agents",), ("pydantic_ai",), (*_LC, "langgraph")
_LC_ERROR = ("langchain_openai.chat_models.base.OpenAIAPIError", "openai.InternalServerError")
_LCA_ERROR = ("langchain_anthropic.chat_models.AnthropicAPIError", "anthropic.InternalServerError")
_PA_ERROR = ("pydantic_ai.exceptions.ModelUnavailableError", "pydantic_ai.exceptions.ModelHTTPError")

ADAPTERS = [
    Adapter("@guarded, def", ("openai",), plain),
    Adapter("@guarded, async def", ("openai",), coroutine, task=True),
    Adapter("@guarded, generator", ("openai",), generator, streamed=True),
    Adapter("@guarded, async generator", ("openai",), async_generator, streamed=True, task=True),
    Adapter("langchain, invoke", _LC, lc_invoke, tool=lc_tool, error=_LC_ERROR),
    Adapter("langchain, stream", _LC, lc_stream, streamed=True, error=_LC_ERROR),
    Adapter("langchain, ainvoke", _LC, lc_ainvoke, task=True, tool=lc_atool, error=_LC_ERROR),
    Adapter("langchain, astream", _LC, lc_astream, streamed=True, task=True, error=_LC_ERROR),
    Adapter(
        "langchain, Anthropic", (*_LC, "langchain_anthropic"), lc_anthropic,
        error=_LCA_ERROR,
    ),
    Adapter("langchain, responses", _LC, lc_responses, error=_LC_ERROR),
    Adapter("langchain, callback", _LC, lc_handler, error=_LC_ERROR),
    Adapter("langchain, create_agent", _LC1, lc_agent, tool=lc_agent_tool, error=_LC_ERROR),
    Adapter("langchain, create_agent async", _LC1, lc_aagent, task=True, error=_LC_ERROR),
    Adapter("openai-agents, run", _OA, oa_run, task=True, tool=oa_tool),
    Adapter("openai-agents, run_streamed", _OA, oa_streamed_run, task=True),
    Adapter("openai-agents, model stream", _OA, oa_stream, streamed=True, task=True),
    Adapter("openai-agents, responses", _OA, oa_responses, task=True),
    Adapter("openai-agents, responses streamed", _OA, oa_responses_stream, task=True),
    Adapter("pydantic-ai, run", _PA, pa_run, task=True, error=_PA_ERROR, tool=pa_tool),
    Adapter("pydantic-ai, run_stream", _PA, pa_stream, streamed=True, task=True, error=_PA_ERROR),
    Adapter("pydantic-ai, responses", _PA, pa_responses, task=True, error=_PA_ERROR),
    Adapter("pydantic-ai, Anthropic", _PA, pa_anthropic, task=True, error=_PA_ERROR),
    Adapter("langgraph, node", _LG, lg_node, tool=lg_tool, error=_LC_ERROR),
    Adapter("langgraph, async node", _LG, lg_anode, task=True, error=_LC_ERROR),
]  # fmt: skip
