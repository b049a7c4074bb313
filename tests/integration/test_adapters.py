"""What is special to one adapter: models without an SDK client, hand-offs, interrupts, tools of a team."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from techrevati.runtime.approvals import Approvals
from techrevati.runtime.approvals.vocabulary import ApprovalConsumedError, ApprovalPendingError
from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker, CircuitOpenError
from techrevati.runtime.integrations import ToolGuard, coverage
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.retry_policy import Retry
from techrevati.runtime.sinks import RingBufferEventSink
from techrevati.runtime.stores.memory import MemoryStore
from tests.integration.adapters import chat_openai, lc_messages, messages
from tests.integration.guard_shapes import ANSWER, MODEL, Answer, endpoint


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls."""
    coverage(reset=True)


def at_once(attempts: int = 3) -> Retry:
    """A retry that waits for nothing."""

    async def asleep(seconds: float) -> None:
        return None

    return Retry(attempts, base_delay_seconds=0, sleep=lambda seconds: None, asleep=asleep)


def opened() -> CircuitBreaker:
    """An open breaker."""
    made = CircuitBreaker("api")
    made.force_open()
    return made


# --- pydantic-ai


class FlakyModel:
    """Makes a function model of pydantic-ai that fails at first and counts."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls = 0

    def _begin(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("the line is dead")

    def say(self, history: Any, info: Any) -> Any:
        """One answer."""
        from pydantic_ai.messages import ModelResponse, TextPart
        from pydantic_ai.usage import RequestUsage

        self._begin()
        usage = RequestUsage(input_tokens=7, output_tokens=3)
        return ModelResponse(parts=[TextPart("hello there")], usage=usage)

    async def stream(self, history: Any, info: Any) -> Any:
        """One answer in pieces."""
        self._begin()
        for piece in ("hello ", "there"):
            yield piece

    def model(self) -> Any:
        from pydantic_ai.models.function import FunctionModel

        return FunctionModel(self.say, stream_function=self.stream, model_name=MODEL)


def test_a_pydantic_ai_model_without_a_client(ledger: SpendLedger) -> None:
    """It is guarded where pydantic-ai calls it: retried, counted, refused."""
    from pydantic_ai import Agent

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    flaky = FlakyModel(failures=1)
    model = GuardedModel(
        flaky.model(), ledger=ledger, project="acme", retry=at_once(), breaker=BreakerRegistry()
    )
    agent: Any = Agent(model)
    assert asyncio.run(agent.run("hi")).output == "hello there"
    failed, done = ledger.records()
    assert (done.usage.input_tokens, done.usage.output_tokens) == (7, 3)
    assert (failed.failure, done.certainty, flaky.calls) == ("network", "measured", 2)
    with pytest.raises(CircuitOpenError):
        asyncio.run(Agent(GuardedModel(flaky.model(), breaker=opened())).run("hi"))
    assert flaky.calls == 2


def test_a_pydantic_ai_stream_without_a_client(ledger: SpendLedger) -> None:
    """So is its stream; left early, it is an estimate."""
    from pydantic_ai import Agent

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    flaky = FlakyModel()
    model = GuardedModel(flaky.model(), ledger=ledger, breaker=BreakerRegistry())

    async def go(take: int | None) -> str:
        agent: Any = Agent(model)
        text = ""
        async with agent.run_stream("hi") as result:
            async for piece in result.stream_text(delta=True, debounce_by=None):
                text += piece
                if take is not None:
                    break
        return text

    assert asyncio.run(go(None)) == "hello there"
    assert asyncio.run(go(1)) == "hello "
    whole, left = ledger.records()
    assert whole.certainty == "measured"
    assert left.certainty == "estimated"
    assert left.usage.output_tokens >= 1


def test_each_model_of_a_fallback_is_guarded(ledger: SpendLedger) -> None:
    """The second answers when the first is refused by its provider, and both are on the books."""
    from pydantic_ai import Agent
    from pydantic_ai.models.fallback import FallbackModel

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel

    first, second = FlakyModel(failures=9), FlakyModel()
    both = FallbackModel(first.model(), second.model(), fallback_on=(ConnectionError,))
    model = GuardedModel(both, ledger=ledger, breaker=BreakerRegistry())
    assert asyncio.run(Agent(model).run("hi")).output == "hello there"
    assert [record.failure for record in ledger.records()] == ["network", None]


# --- openai-agents


def fake_agents_model(answers: list[Any]) -> Any:
    """A model of openai-agents without a client, that gives *answers* in turn; exceptions are raised."""
    from agents import ModelResponse, Usage
    from agents.models.interface import Model

    class Fake(Model):
        model = MODEL
        calls = 0

        async def get_response(self, *args: Any, **more: Any) -> ModelResponse:
            type(self).calls += 1
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return ModelResponse(
                [answer], Usage(requests=1, input_tokens=7, output_tokens=3, total_tokens=10), None
            )

        def stream_response(self, *args: Any, **more: Any) -> Any:
            raise NotImplementedError

    return Fake()


def agents_text(text: str) -> Any:
    from openai.types.responses import ResponseOutputMessage, ResponseOutputText

    part = ResponseOutputText(annotations=[], text=text, type="output_text")
    return ResponseOutputMessage(id="m", content=[part], role="assistant", status="completed", type="message")


def agents_call(name: str, arguments: str = "{}", call_id: str = "c1") -> Any:
    from openai.types.responses import ResponseFunctionToolCall

    return ResponseFunctionToolCall(arguments=arguments, call_id=call_id, name=name, type="function_call")


def test_handoffs_draw_on_the_parents_budget(ledger: SpendLedger) -> None:
    """The team shares one budget; a share of it limits one agent; tools are guarded all over the team."""
    from agents import Agent, ModelSettings, Runner, function_tool, handoff, set_tracing_disabled

    from techrevati.runtime.integrations.openai_agents import guard_agent

    set_tracing_disabled(True)
    ran: list[str] = []

    @function_tool
    def look_up(word: str) -> str:
        """Look something up."""
        ran.append(word)
        return "found"

    def team(limit: int) -> tuple[Any, Budget]:
        writer = Agent(
            name="writer",
            model=fake_agents_model([agents_call("look_up", '{"word": "x"}', "c2"), agents_text("done")]),
            model_settings=ModelSettings(max_tokens=60),
            tools=[look_up],
        )
        triage = Agent(
            name="triage",
            model=fake_agents_model([agents_call("transfer_to_writer")]),
            model_settings=ModelSettings(max_tokens=60),
            handoffs=[handoff(writer)],
        )
        budget = Budget(f"acme-{limit}", 1, limits={"model_calls": 10}, ledger=ledger)
        shares = {"writer": budget.child("writer", limits={"model_calls": limit})}
        tools = ToolGuard(budget=Budget("tools", limits={"tool_calls": 1}))
        made = guard_agent(
            triage, tools=tools, shares=shares, budget=budget, ledger=ledger, breaker=BreakerRegistry()
        )
        return made, budget

    agent, budget = team(limit=5)
    result = asyncio.run(Runner.run(agent, "go"))
    assert (result.final_output, result.last_agent.name, ran) == ("done", "writer", ["x"])
    assert budget.snapshot().settled["model_calls"] == 3
    assert budget.snapshot().settled["usd"] == ledger.total() > 0
    agent, budget = team(limit=1)
    with pytest.raises(BudgetExceededError):
        asyncio.run(Runner.run(agent, "go"))
    assert budget.snapshot().settled["model_calls"] == 2


@pytest.mark.parametrize("explicit", [False, True])
def test_handoffs_are_delegated_tasks(explicit: bool) -> None:
    """An agent, or a ``Handoff`` to it: each is one task of who hands over; without one nobody is asked."""
    from agents import Agent, Runner, handoff, set_tracing_disabled

    from techrevati.runtime.integrations.openai_agents import guard_agent

    set_tracing_disabled(True)

    def team(limit: int, **options: Any) -> tuple[Any, Any, Budget]:
        model = fake_agents_model([agents_text("done")])
        writer = Agent(name="writer", model=model)
        triage = Agent(
            name="triage",
            model=fake_agents_model([agents_call("transfer_to_writer")]),
            handoffs=[handoff(writer) if explicit else writer],
        )
        budget = Budget("acme", limits={"model_calls": 10, "delegated_tasks": limit})
        return guard_agent(triage, budget=budget, breaker=BreakerRegistry(), **options), model, budget

    agent, _, budget = team(1)
    assert asyncio.run(Runner.run(agent, "go")).final_output == "done"
    assert budget.snapshot().settled == {"model_calls": 2, "delegated_tasks": 1}
    agent, model, budget = team(0)
    with pytest.raises(BudgetExceededError, match="delegated_tasks"):
        asyncio.run(Runner.run(agent, "go"))
    assert budget.snapshot().settled["model_calls"] == 1
    assert model.calls == 0
    coverage(reset=True)
    agent, _, budget = team(0, observe_only=True)
    assert asyncio.run(Runner.run(agent, "go")).final_output == "done"
    assert [(row.shape, row.refused) for row in coverage() if row.refused] == [("task for writer", 1)]


def test_an_agent_as_a_tool_is_a_delegated_task() -> None:
    """Once, whether the agent itself or the guard of its tools says so."""
    from agents import Agent, Runner, set_tracing_disabled

    from techrevati.runtime.integrations.openai_agents import guard_agent

    set_tracing_disabled(True)

    def run(budget: Budget, tools: ToolGuard | None) -> str:
        writer = Agent(name="writer", model=fake_agents_model([agents_text("draft")]))
        chief = Agent(
            name="chief",
            model=fake_agents_model([agents_call("write", '{"input": "x"}'), agents_text("done")]),
            tools=[writer.as_tool("write", "Writes.")],
        )
        guarded = guard_agent(chief, tools=tools, budget=budget, breaker=BreakerRegistry())
        text: str = asyncio.run(Runner.run(guarded, "go")).final_output
        return text

    for told in (False, True):
        budget = Budget("acme", limits={"delegated_tasks": 1})
        tools = ToolGuard(budget=budget, delegates=["write"]) if told else None
        assert run(budget, tools) == "done"
        assert budget.snapshot().settled == {"delegated_tasks": 1}


def test_a_tool_behind_which_an_agent_works_is_a_delegated_task() -> None:
    """pydantic-ai hands over by a tool: the guard of the tools is told which."""
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel
    from pydantic_ai.toolsets import FunctionToolset

    from techrevati.runtime.integrations.pydantic_ai import GuardedModel, GuardedToolset

    budget = Budget("acme", limits={"delegated_tasks": 1, "model_calls": 9})
    share = budget.child("researcher")
    researcher = Agent(GuardedModel(TestModel(custom_output_text="found"), budget=share))

    async def research() -> str:
        """Ask the researcher."""
        return (await researcher.run("look")).output

    async def look() -> str:
        """Look oneself."""
        return "seen"

    tools = GuardedToolset(
        FunctionToolset([research, look]), ToolGuard(budget=budget, delegates=["research"])
    )
    chief = Agent(GuardedModel(TestModel(), budget=budget), toolsets=[tools])
    assert "found" in asyncio.run(chief.run("go")).output
    assert budget.snapshot().settled == {"delegated_tasks": 1, "model_calls": 3}
    with pytest.raises(BudgetExceededError, match="delegated_tasks"):
        asyncio.run(chief.run("go"))
    with pytest.raises(TypeError, match="delegates"):
        ToolGuard(delegates="research")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_node_in_which_an_agent_works_is_a_delegated_task(asynchronous: bool) -> None:
    """langgraph: a node around a subgraph."""
    from langgraph.graph import END, START, MessagesState, StateGraph

    from techrevati.runtime.integrations.langgraph import delegated_node

    ran: list[str] = []

    def graph(budget: Budget, **options: Any) -> Any:
        if asynchronous:

            @delegated_node(budget, **options)
            async def researcher(state: MessagesState) -> dict[str, Any]:
                ran.append("researcher")
                return {"messages": [("ai", "found")]}
        else:

            @delegated_node(budget, **options)
            def researcher(state: MessagesState) -> dict[str, Any]:
                ran.append("researcher")
                return {"messages": [("ai", "found")]}

        made = StateGraph(MessagesState)
        made.add_node("researcher", researcher)
        made.add_edge(START, "researcher")
        made.add_edge("researcher", END)
        return made.compile()

    def run(compiled: Any) -> str:
        asked = {"messages": [("user", "go")]}
        answer = asyncio.run(compiled.ainvoke(asked)) if asynchronous else compiled.invoke(asked)
        text: str = answer["messages"][-1].content
        return text

    budget = Budget("acme", limits={"delegated_tasks": 1})
    assert run(graph(budget)) == "found"
    assert budget.snapshot().settled == {"delegated_tasks": 1}
    with pytest.raises(BudgetExceededError, match="delegated_tasks"):
        run(graph(budget))
    assert ran == ["researcher"]
    assert run(graph(budget, observe_only=True)) == "found"
    with pytest.raises(TypeError, match="budget"):
        delegated_node("acme")  # type: ignore[arg-type]


def test_an_agents_model_without_a_client_is_tried_again(ledger: SpendLedger) -> None:
    """Where the runner calls it."""
    from agents import Agent, Runner, set_tracing_disabled

    from techrevati.runtime.integrations.openai_agents import GuardedModel

    set_tracing_disabled(True)
    fake = fake_agents_model([ConnectionError("the line is dead"), agents_text("done")])
    model = GuardedModel(fake, ledger=ledger, retry=at_once(), breaker=BreakerRegistry())
    assert asyncio.run(Runner.run(Agent(name="a", model=model), "go")).final_output == "done"
    assert [record.failure for record in ledger.records()] == ["network", None]
    with pytest.raises(TypeError, match="wrapped must be a Model"):
        GuardedModel("gpt-5-mini")  # type: ignore[arg-type]


def test_a_guarded_provider(ledger: SpendLedger) -> None:
    """Every model that a run looks up by name is guarded."""
    from agents import Agent, OpenAIProvider, RunConfig, Runner, set_tracing_disabled

    from techrevati.runtime.integrations.openai_agents import GuardedProvider

    set_tracing_disabled(True)
    with endpoint() as server:

        async def go() -> str:
            provider = OpenAIProvider(base_url=server.base_url, api_key="any", use_responses=False)
            guarded = GuardedProvider(provider, project="acme", ledger=ledger, breaker=BreakerRegistry())
            config = RunConfig(model_provider=guarded)
            agent = Agent(name="a", model=MODEL)
            text = str((await Runner.run(agent, messages(), run_config=config)).final_output)
            await guarded.aclose()
            return text

        assert asyncio.run(go()) == ANSWER
        server.wait_idle()
        assert ledger.total(project="acme") == server.bill.cost_usd > 0


# --- langchain


def test_what_is_bound_to_a_langchain_model_stays_guarded(ledger: SpendLedger) -> None:
    """``bind_tools``, ``with_structured_output`` and ``batch`` go the same way."""
    with endpoint() as server:
        model = chat_openai(server, {"project": "acme", "ledger": ledger, "breaker": BreakerRegistry()})

        def look_up(word: str) -> str:
            """Look something up."""
            return word

        model.bind_tools([look_up]).invoke(lc_messages())
        assert isinstance(model.with_structured_output(Answer).invoke(lc_messages()), Answer)
        model.batch([lc_messages(), lc_messages()])
        server.wait_idle()
        assert server.bill.requests == len(list(ledger.records())) == 4
        assert ledger.total() == server.bill.cost_usd


def test_the_langchain_model_given_stays_as_it_is() -> None:
    """A guarded copy does not guard the original."""
    from langchain_openai import ChatOpenAI

    from techrevati.runtime.integrations.langchain import guard_model

    with endpoint() as server:
        made: Any = ChatOpenAI(model=MODEL, base_url=server.base_url, api_key="any", max_tokens=60)
        guarded = guard_model(made, breaker=opened())
        made.invoke(lc_messages())
        with pytest.raises(CircuitOpenError):
            guarded.invoke(lc_messages())
        assert server.bill.requests == 1
    assert "api" not in repr(coverage())


def test_a_langchain_model_without_a_client(ledger: SpendLedger) -> None:
    """It gets a callback that vetoes, counts, and estimates what is left early."""
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    from techrevati.runtime.integrations.langchain import guard_model

    usage: Any = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    answers = [AIMessage("hello", usage_metadata=usage), AIMessage("one two three")]
    fake = GenericFakeChatModel(messages=iter(answers))
    model = guard_model(fake, ledger=ledger, breaker=BreakerRegistry())
    assert model.invoke("hi").content == "hello"
    stream: Any = model.stream("hi")
    next(stream)
    stream.close()
    whole, left = ledger.records()
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (7, 3)
    assert (whole.certainty, left.certainty) == ("measured", "estimated")
    vetoed = guard_model(GenericFakeChatModel(messages=iter([])), breaker=opened())
    with pytest.raises(CircuitOpenError):
        vetoed.invoke("hi")
    with pytest.raises(CircuitOpenError):
        asyncio.run(vetoed.ainvoke("hi"))
    with pytest.raises(ValueError, match="retry"):
        guard_model(fake, retry=at_once())


# --- langgraph


def test_an_interrupt_is_no_failure(ledger: SpendLedger) -> None:
    """It passes to the graph; the breaker hears nothing; what is resumed is counted again."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph
    from langgraph.types import Command, interrupt

    from techrevati.runtime.integrations.langgraph import guarded_node

    breaker = CircuitBreaker("api", failure_threshold=1)
    sink = RingBufferEventSink(100)
    runs: list[str] = []

    @guarded_node(
        model=MODEL, max_output_tokens=9, breaker=breaker, ledger=ledger, retry=at_once(), event_sink=sink
    )
    def ask(state: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        runs.append(config["configurable"]["thread_id"])
        said = interrupt("may I?")
        return {"said": said, "usage": {"input_tokens": 2, "output_tokens": 1}}

    graph: Any = StateGraph(dict)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    made = graph.compile(checkpointer=InMemorySaver())
    where: Any = {"configurable": {"thread_id": "t1"}}
    assert "__interrupt__" in made.invoke({"question": "?"}, where)
    assert not breaker.is_open()
    assert made.invoke(Command(resume="yes"), where)["said"] == "yes"
    assert runs == ["t1", "t1"]
    interrupted, done = ledger.records()
    assert (interrupted.certainty, interrupted.failure) == ("estimated", None)
    assert (done.certainty, done.usage.input_tokens) == ("measured", 2)
    assert [event.event.value for event in sink.events] == ["model.abandoned", "model.called"]


# --- tools


def test_a_tool_guard_says_what_is_wrong() -> None:
    """Arguments are checked when it is made."""
    with pytest.raises(ValueError, match="ask_first"):
        ToolGuard(ask_first=["x"])
    with pytest.raises(ValueError, match="on_refusal"):
        ToolGuard(on_refusal="shout")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="permissions"):
        ToolGuard(permissions="all")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ask_first"):
        ToolGuard(ask_first="delete_file", approvals=Approvals(MemoryStore()))


def test_without_a_call_id_the_same_act_is_the_same_call() -> None:
    """Other arguments are another act; events hold names, never arguments."""
    sink = RingBufferEventSink(100)
    approvals = Approvals(MemoryStore())
    guard = ToolGuard(approvals=approvals, ask_first=["send"], event_sink=sink, project="acme")

    def send(arguments: Any) -> str:
        return f"sent {arguments['to']}"

    with pytest.raises(ApprovalPendingError) as pending:
        guard.call("send", {"to": "bob@example.com"}, send)
    approvals.grant(pending.value.id, "alice")
    assert guard.call("send", {"to": "bob@example.com"}, send) == "sent bob@example.com"
    with pytest.raises(ApprovalConsumedError):
        guard.call("send", {"to": "bob@example.com"}, send)
    with pytest.raises(ApprovalPendingError):
        guard.call("send", {"to": "eve@example.com"}, send)
    told = [event.event.value for event in sink.events]
    assert told == ["agent.blocked", "agent.tool_called", "agent.tool_completed", *["agent.blocked"] * 2]
    assert "bob@example.com" not in str([event.to_dict() for event in sink.events])
