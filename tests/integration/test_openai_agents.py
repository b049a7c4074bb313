"""openai-agents, where a guard could be lost on the way: guarded twice, tools of servers, agents as tools."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import weakref
from typing import Any

import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.chaos import Fault, FaultKind, count_tokens
from techrevati.runtime.circuit_breaker import BreakerRegistry
from techrevati.runtime.integrations import ToolGuard, UnguardedCallsError, assert_guarded, coverage
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.permissions import (
    PermissionDeniedError,
    PermissionMode,
    PermissionPolicy,
    RolePermissionConfig,
)
from tests.integration.adapters import _agent, assert_no_task_left, messages
from tests.integration.guard_shapes import MODEL, async_openai_client, endpoint
from tests.integration.test_adapters import agents_call, agents_text, fake_agents_model


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls, and nothing is traced."""
    from agents import set_tracing_disabled

    set_tracing_disabled(True)
    coverage(reset=True)


def reader(*tools: str, **more: Any) -> ToolGuard:
    """May only read; all of *tools* need more."""
    policy = PermissionPolicy(
        [RolePermissionConfig("reader", PermissionMode.READ_ONLY)],
        dict.fromkeys(tools, PermissionMode.FULL_ACCESS),
    )
    return ToolGuard(role="reader", permissions=policy, **more)


def run(agent: Any) -> str:
    from agents import Runner

    return str(asyncio.run(Runner.run(agent, "go")).final_output)


@pytest.mark.parametrize("client", [True, False])
def test_a_guarded_model_gets_the_new_guard(client: bool, ledger: SpendLedger) -> None:
    """Instead of the old one, which is not asked any more: one record, in the new books."""
    from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner

    from techrevati.runtime.integrations.openai_agents import GuardedModel, guard_agent

    async def go(server: Any, new: SpendLedger) -> None:
        async with async_openai_client(server) as sdk:
            inner: Any = (
                OpenAIChatCompletionsModel(MODEL, sdk) if client else fake_agents_model([agents_text("x")])
            )
            model = GuardedModel(inner, ledger=ledger, breaker=BreakerRegistry())
            agent = Agent(name="a", model=model, model_settings=ModelSettings(max_tokens=60))
            again = guard_agent(agent, ledger=new, breaker=BreakerRegistry())
            await Runner.run(again, messages())

    with endpoint() as server, SpendLedger(":memory:") as new:
        asyncio.run(go(server, new))
        assert len(list(new.records())) == 1
    assert list(ledger.records()) == []


def mcp_server(ran: list[str]) -> Any:
    """A server with one tool."""
    from agents.mcp import MCPServer
    from mcp.types import CallToolResult, TextContent, Tool

    class Files(MCPServer):
        name = "files"  # type: ignore[assignment]

        async def connect(self) -> None: ...

        async def cleanup(self) -> None: ...

        async def list_tools(self, *args: Any, **more: Any) -> Any:
            schema: Any = {"type": "object", "properties": {}}
            return [Tool(name="delete_file", description="Deletes.", inputSchema=schema)]

        async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> Any:
            ran.append(tool_name)
            return CallToolResult(content=[TextContent(type="text", text="gone")])

        async def list_prompts(self) -> Any: ...

        async def get_prompt(self, name: str, arguments: Any = None) -> Any: ...

    return Files()


@pytest.mark.parametrize("copied", [False, True])
def test_tools_of_mcp_servers_need_permission(copied: bool) -> None:
    """As all tools do, in copies of the agent too; without permission they do not run."""
    pytest.importorskip("mcp")
    from agents import Agent

    from techrevati.runtime.integrations.openai_agents import guard_agent

    ran: list[str] = []

    def agent(tools: ToolGuard | None) -> Any:
        model = fake_agents_model([agents_call("delete_file"), agents_text("done")])
        made = Agent(name="a", model=model, mcp_servers=[mcp_server(ran)])
        guarded = guard_agent(made, tools=tools, breaker=BreakerRegistry())
        assert isinstance(guarded, Agent)
        return guarded.clone(name="b") if copied else guarded

    with pytest.raises(PermissionDeniedError):
        run(agent(reader("delete_file")))
    assert ran == []
    assert run(agent(ToolGuard())) == run(agent(None)) == "done"
    assert ran == ["delete_file"] * 2


def test_a_refusal_ends_the_run_with_its_own_exception() -> None:
    """Not with the runner's UserError; it has its facts, pickles, and copies as what it is."""
    from agents import Agent, function_tool

    from techrevati.runtime.integrations.openai_agents import guard_agent

    @function_tool
    def look_up() -> str:
        """Look something up."""
        raise AssertionError

    def agent(tools: ToolGuard) -> Any:
        model = fake_agents_model([agents_call("look_up")])
        return guard_agent(
            Agent(name="a", model=model, tools=[look_up]), tools=tools, breaker=BreakerRegistry()
        )

    with pytest.raises(PermissionDeniedError) as denied:
        run(agent(reader("look_up")))
    with pytest.raises(BudgetExceededError) as spent:
        run(agent(ToolGuard(budget=Budget("tools", limits={"tool_calls": 0}))))
    assert spent.value.unit == "tool_calls"
    for caught in (denied, spent):
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
        assert type(again) in (PermissionDeniedError, BudgetExceededError)
        assert str(again) == str(caught.value)


def test_an_agent_as_a_tool_that_nobody_guards_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Its model calls are on no budget: silence never means free."""
    from agents import Agent

    from techrevati.runtime.integrations.openai_agents import guard_agent

    def chief(writer: Any) -> Any:
        model = fake_agents_model([agents_call("write", '{"input": "x"}'), agents_text("done")])
        made = Agent(name="chief", model=model, tools=[writer.as_tool("write", "Writes.")])
        return guard_agent(made, breaker=BreakerRegistry())

    writer = Agent(name="writer", model=fake_agents_model([agents_text("draft")] * 2))
    run(chief(guard_agent(writer, breaker=BreakerRegistry())))
    assert_guarded()
    with caplog.at_level(logging.WARNING):
        run(chief(writer))
    assert "agent as tool write is not guarded" in caplog.text
    with pytest.raises(UnguardedCallsError, match="agent as tool write"):
        assert_guarded()


def test_a_tool_of_the_runner_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What the provider or the runner runs by itself passes no permission, and says so."""
    from agents import Agent, WebSearchTool

    from techrevati.runtime.integrations.openai_agents import guard_agent

    agent = Agent(name="a", model=fake_agents_model([]), tools=[WebSearchTool()])
    with caplog.at_level(logging.WARNING):
        guard_agent(agent)
        assert caplog.text == ""
        guard_agent(agent, tools=ToolGuard())
    assert "WebSearchTool of openai-agents is not guarded" in caplog.text


def test_each_agent_that_a_hand_off_makes_is_guarded() -> None:
    """One that is made anew for every hand-off is never taken for an earlier one, whatever its id."""
    from agents import Agent, Handoff, Runner

    from techrevati.runtime.integrations.openai_agents import GuardedModel, guard_agent

    made: list[str] = []

    async def fresh(context: Any, text: str) -> Any:
        made.append(f"fresh {len(made)}")
        return Agent(name=made[-1], model=fake_agents_model([agents_text(made[-1])]))

    there: Any = Handoff("go", "", {}, fresh, "fresh")
    calls = [agents_call("go") for _ in range(300)]
    triage = guard_agent(
        Agent(name="triage", model=fake_agents_model(calls), handoffs=[there]), breaker=BreakerRegistry()
    )
    for number in range(300):
        done = asyncio.run(Runner.run(triage, "go"))
        assert done.final_output == f"fresh {number}"
        assert isinstance(done.last_agent.model, GuardedModel)


def test_a_stream_that_ends_at_its_limit_is_measured(ledger: SpendLedger) -> None:
    """An incomplete response says what it used as a completed one does."""
    from agents import ModelSettings
    from agents.models.interface import Model, ModelTracing
    from openai.types.responses import Response, ResponseIncompleteEvent

    from techrevati.runtime.integrations.openai_agents import GuardedModel

    usage = {
        "input_tokens": 7, "output_tokens": 3, "total_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    response = Response.model_construct(id="r", model=MODEL, output=[], status="incomplete", usage=usage)

    class Short(Model):
        model = MODEL

        async def get_response(self, *args: Any, **more: Any) -> Any: ...

        async def stream_response(self, *args: Any, **more: Any) -> Any:
            yield ResponseIncompleteEvent.model_construct(response=response, type="response.incomplete")

    async def go() -> None:
        events = GuardedModel(Short(), ledger=ledger, breaker=BreakerRegistry()).stream_response(
            None, "hi", ModelSettings(), [], None, [], ModelTracing.DISABLED,
            previous_response_id=None, conversation_id=None, prompt=None,
        )  # fmt: skip
        assert len([event async for event in events]) == 1

    asyncio.run(go())
    (record,) = ledger.records()
    assert (record.certainty, record.usage.input_tokens, record.usage.output_tokens) == ("measured", 7, 3)


@pytest.mark.parametrize("mode", ["immediate", "after_turn"])
def test_a_streamed_run_is_cancelled(mode: str, ledger: SpendLedger) -> None:
    """At once the call is an estimate; after its turn it is measured.  No task, no reservation is left."""
    from agents import Runner

    budget = Budget("acme", 5, ledger=ledger)

    async def go(server: Any) -> None:
        agent, client = _agent(server, {"budget": budget, "ledger": ledger, "breaker": BreakerRegistry()})
        async with client:
            result = Runner.run_streamed(agent, messages())
            number = 0
            async for _ in result.stream_events():
                number += 1
                if number == 4:
                    result.cancel(mode=mode)  # type: ignore[arg-type]
            await assert_no_task_left()

    with endpoint(Fault(FaultKind.SLOW_STREAM, delay_s=0.02)) as server:
        asyncio.run(go(server))
        server.wait_idle()
        (record,) = ledger.records()
        assert record.certainty == ("estimated" if mode == "immediate" else "measured")
        assert record.usage.input_tokens == server.bill.input_tokens
        assert record.usage.output_tokens <= server.bill.output_tokens  # some may be on their way
    assert not any(budget.snapshot().reserved.values())


def test_a_guardrail_beside_the_call_ends_it(ledger: SpendLedger) -> None:
    """A tripwire of the agent cancels the call that runs beside it: an estimate, and nothing left."""
    from agents import GuardrailFunctionOutput, InputGuardrail, InputGuardrailTripwireTriggered, Runner

    budget = Budget("acme", 5, ledger=ledger)

    async def go(server: Any) -> None:
        async def trip(context: Any, agent: Any, text: Any) -> Any:
            while not server.injected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return GuardrailFunctionOutput(None, True)

        agent, client = _agent(server, {"budget": budget, "ledger": ledger, "breaker": BreakerRegistry()})
        agent.input_guardrails = [InputGuardrail(trip)]
        async with client:
            with pytest.raises(InputGuardrailTripwireTriggered):
                await Runner.run(agent, messages())
            await assert_no_task_left()

    with endpoint(Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=20)) as server:
        asyncio.run(go(server))
    (record,) = ledger.records()
    assert record.certainty == "estimated"
    assert not any(budget.snapshot().reserved.values())


def ask(model: Any, settings: Any = None, tools: Any = (), instructions: str = "", **more: Any) -> Any:
    """The arguments of one call of a model."""
    from agents import ModelSettings
    from agents.models.interface import ModelTracing

    kept = {"previous_response_id": None, "conversation_id": None, "prompt": None, **more}
    given = (instructions, "hi", settings or ModelSettings(), list(tools), None, [], ModelTracing.DISABLED)
    return given, kept


def fake_stream(pieces: list[str], seen: list[Any], usage: Any = None) -> Any:
    """A model without a client that streams *pieces*; notes its settings, and when it is closed."""
    from agents.models.interface import Model
    from openai.types.responses import Response, ResponseCompletedEvent, ResponseTextDeltaEvent

    class Streaming(Model):
        model = MODEL

        async def get_response(self, *args: Any, **more: Any) -> Any: ...

        async def stream_response(self, *args: Any, **more: Any) -> Any:
            seen.append(args[2].include_usage)
            try:
                for piece in pieces:
                    yield ResponseTextDeltaEvent.model_construct(
                        type="response.output_text.delta", delta=piece
                    )
                done = Response.model_construct(id="r", output=[], usage=usage)
                yield ResponseCompletedEvent.model_construct(type="response.completed", response=done)
            finally:
                seen.append("closed")

        async def close(self) -> None:
            seen.append("closed for good")

        def get_retry_advice(self, request: Any) -> Any:
            return f"advice for {request}"

    return Streaming()


def test_a_models_stream_that_is_left_is_closed_and_estimated(ledger: SpendLedger) -> None:
    """By what came of it; one that names no usage is an estimate, too."""
    from techrevati.runtime.integrations.openai_agents import GuardedModel

    seen: list[Any] = []

    async def go(take: int) -> None:
        model = GuardedModel(fake_stream(["x" * 40] * 3, seen), ledger=ledger, breaker=BreakerRegistry())
        given, kept = ask(model)
        events: Any = model.stream_response(*given, **kept)
        for _ in range(take):
            await anext(events)
        await events.aclose()
        assert seen == [True, "closed"]
        seen.clear()

    asyncio.run(go(2))
    asyncio.run(go(4))
    left, whole = ledger.records()
    assert (left.certainty, left.usage.output_tokens) == ("estimated", 2 * count_tokens("x" * 40))
    assert (whole.certainty, whole.usage.output_tokens) == ("estimated", 3 * count_tokens("x" * 40))


def test_what_a_caller_says_of_usage_stays() -> None:
    """Chat streams are asked for it only where the settings do not say."""
    from agents import ModelSettings

    from techrevati.runtime.integrations.openai_agents import GuardedModel

    async def go(said: bool | None) -> Any:
        seen: list[Any] = []
        model = GuardedModel(fake_stream([], seen), breaker=BreakerRegistry())
        given, kept = ask(model, ModelSettings(include_usage=said))
        assert [event async for event in model.stream_response(*given, **kept)]
        return seen[0]

    assert [asyncio.run(go(said)) for said in (None, True, False)] == [True, True, False]


def test_the_rest_of_a_model_is_reached() -> None:
    """Its advice to the runner, its end, its attributes; the provider's end as well."""
    from agents.models.interface import ModelProvider

    from techrevati.runtime.integrations.openai_agents import GuardedModel, GuardedProvider

    seen: list[Any] = []
    model = GuardedModel(fake_stream([], seen), breaker=BreakerRegistry())
    assert model.get_retry_advice("x") == "advice for x"
    assert model.model == MODEL
    asyncio.run(model.close())

    class Provider(ModelProvider):
        def get_model(self, model_name: Any) -> Any:
            seen.append(model_name)
            return fake_agents_model([agents_text("hi")])

        async def aclose(self) -> None:
            seen.append("provider closed")

    provider = GuardedProvider(Provider(), breaker=BreakerRegistry())
    assert isinstance(provider.get_model("a"), GuardedModel)
    asyncio.run(provider.aclose())
    assert seen == ["closed for good", "a", "provider closed"]
    with pytest.raises(TypeError, match="budget"):
        GuardedProvider(budget=3)  # type: ignore[typeddict-item]


def test_models_by_name_come_from_the_provider_that_is_given(ledger: SpendLedger) -> None:
    """Agents that hand off to each other are guarded once; each model is looked up by its name."""
    from agents import Agent
    from agents.models.interface import ModelProvider

    from techrevati.runtime.integrations.openai_agents import guard_agent

    names: list[Any] = []

    class Provider(ModelProvider):
        def get_model(self, model_name: Any) -> Any:
            names.append(model_name)
            return fake_agents_model([agents_text("hi")])

    one = Agent(name="one", model="first")
    two = Agent(name="two", model="second", handoffs=[one])
    one.handoffs = [two]
    team = guard_agent(one, provider=Provider(), ledger=ledger, breaker=BreakerRegistry())
    assert names == ["first", "second"]
    assert team.handoffs[0].handoffs[0] is team
    assert one.handoffs == [two]
    assert run(team) == "hi"
    assert len(list(ledger.records())) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_the_whole_request_is_bounded(streamed: bool) -> None:
    """Instructions, tools and the maximum; what the provider adds by itself cannot be."""
    from agents import ModelSettings, function_tool

    from techrevati.runtime.integrations.openai_agents import GuardedModel

    def look_up(word: str) -> str:
        return word

    seen: list[Any] = []
    tool = function_tool(look_up, description_override="x" * 5_000)
    budget = Budget("acme", limits={"input_tokens": 3_000, "output_tokens": 50})
    inner = fake_stream([], seen) if streamed else fake_agents_model([agents_text("hi")])
    model = GuardedModel(inner, budget=budget, breaker=BreakerRegistry())

    async def call(most: int = 50, **more: Any) -> None:
        given, kept = ask(model, ModelSettings(max_tokens=most), **more)
        if streamed:
            async for _ in model.stream_response(*given, **kept):
                pass
        else:
            await model.get_response(*given, **kept)

    for more in ({"most": 51}, {"tools": [tool]}, {"instructions": "x" * 5_000}):
        with pytest.raises(BudgetExceededError):
            asyncio.run(call(**more))
    with pytest.raises(ValueError, match="previous_response_id adds input"):
        asyncio.run(call(previous_response_id="r1"))
    assert seen == []
    asyncio.run(call())


def test_an_answer_that_names_no_usage_is_estimated(ledger: SpendLedger) -> None:
    """Zeros are the SDK's way not to know."""
    from agents import ModelResponse, Usage
    from agents.models.interface import Model

    from techrevati.runtime.integrations.openai_agents import GuardedModel

    class Silent(Model):
        model = MODEL

        async def get_response(self, *args: Any, **more: Any) -> Any:
            return ModelResponse([agents_text("hi")], Usage(), None)

        def stream_response(self, *args: Any, **more: Any) -> Any: ...

    model = GuardedModel(Silent(), ledger=ledger, breaker=BreakerRegistry())
    given, kept = ask(model)
    asyncio.run(model.get_response(*given, **kept))
    (record,) = ledger.records()
    assert record.certainty == "estimated"
    assert record.usage.input_tokens > 0


def test_a_model_over_websockets_is_guarded_where_the_runner_calls_it(ledger: SpendLedger) -> None:
    """Nothing of it passes through its client's requests."""
    from agents import ModelResponse, OpenAIResponsesModel, Usage

    from techrevati.runtime.integrations.openai_agents import GuardedModel

    class QuickWSModel(OpenAIResponsesModel):
        async def get_response(self, *args: Any, **more: Any) -> Any:
            used = Usage(requests=1, input_tokens=7, output_tokens=3, total_tokens=10)
            return ModelResponse([agents_text("hi")], used, None)

    async def go() -> None:
        async with async_openai_client(server) as sdk:
            model = GuardedModel(QuickWSModel(MODEL, sdk), ledger=ledger, breaker=BreakerRegistry())
            given, kept = ask(model)
            await model.get_response(*given, **kept)

    with endpoint() as server:
        asyncio.run(go())
    assert [record.usage.input_tokens for record in ledger.records()] == [7]


def test_a_tool_says_itself_what_is_wrong_with_its_arguments() -> None:
    """The guard lets broken JSON through to it; the tool that was given stays as it is."""
    from agents import function_tool
    from agents.tool_context import ToolContext

    from techrevati.runtime.integrations.openai_agents import guard_tool

    @function_tool
    def look_up(word: str) -> str:
        """Look something up."""
        return word

    before = look_up.on_invoke_tool
    guarded = guard_tool(look_up, ToolGuard())
    assert guarded is not look_up
    assert look_up.on_invoke_tool is before
    for text in ('{"word": "x"}', "not json", "[1]", ""):
        context: Any = ToolContext(None, tool_name="look_up", tool_call_id="c1", tool_arguments=text)
        said = asyncio.run(guarded.on_invoke_tool(context, text))
        assert said == asyncio.run(look_up.on_invoke_tool(context, text))
        assert (said == "x") == text.startswith("{")


def test_custom_tools_need_permission() -> None:
    """Tools of newer versions whose input is no JSON."""
    agents = pytest.importorskip("agents")
    if not hasattr(agents, "CustomTool"):
        pytest.skip("this version has none")
    from agents.tool_context import ToolContext

    from techrevati.runtime.integrations.openai_agents import guard_agent

    ran: list[str] = []

    async def shout(context: Any, text: str) -> str:
        ran.append(text)
        return text.upper()

    def tool(guard: ToolGuard) -> Any:
        made = agents.CustomTool(name="shout", description="Shouts.", on_invoke_tool=shout)
        (guarded,) = guard_agent(
            agents.Agent(name="a", model=fake_agents_model([]), tools=[made]), tools=guard
        ).tools
        context: Any = ToolContext(None, tool_name="shout", tool_call_id="c1", tool_arguments="hello")
        return asyncio.run(guarded.on_invoke_tool(context, "hello"))

    with pytest.raises(PermissionDeniedError):
        tool(reader("shout"))
    assert ran == []
    assert tool(ToolGuard()) == "HELLO"


def test_agents_that_hand_offs_make_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made for an earlier hand-off can be collected."""
    from agents import Agent, Handoff

    from techrevati.runtime.integrations import openai_agents

    monkeypatch.setattr(openai_agents, "_AGENTS", 4)
    made: list[Any] = []

    async def fresh(context: Any, text: str) -> Any:
        agent = Agent(name="fresh", model=fake_agents_model([agents_text("hi")]))
        made.append(weakref.ref(agent))
        return agent

    there: Any = Handoff("go", "", {}, fresh, "fresh")
    triage = Agent(
        name="t", model=fake_agents_model([agents_call("go") for _ in range(20)]), handoffs=[there]
    )
    guarded = openai_agents.guard_agent(triage, breaker=BreakerRegistry())
    for _ in range(20):
        assert run(guarded) == "hi"
    gc.collect()
    assert len(made) == 20
    assert sum(one() is not None for one in made) <= 8
