"""langchain, where a call could be lost, counted twice, or charged though nothing was sent."""

from __future__ import annotations

import asyncio
import gc
from typing import Annotated, Any

import openai
import pytest

from techrevati.runtime._core.collector import caught_up
from techrevati.runtime.approvals import Approvals
from techrevati.runtime.approvals.vocabulary import ApprovalPendingError
from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.circuit_breaker import BreakerRegistry, CircuitBreaker
from techrevati.runtime.guardrails import GuardrailOutcome
from techrevati.runtime.integrations import ToolGuard, coverage
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.sinks import RingBufferEventSink
from techrevati.runtime.stores.memory import MemoryStore
from tests.integration.adapters import (
    MAX_TOKENS,
    assert_no_task_left,
    chat_openai,
    lc_messages,
    own_timeout,
)
from tests.integration.guard_shapes import KEY, MODEL, endpoint


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls."""
    coverage(reset=True)


def bare(server: ChaosServer, **more: Any) -> Any:
    """A model that nothing guards."""
    from langchain_openai import ChatOpenAI

    made: Any = ChatOpenAI
    return made(
        model=MODEL,
        base_url=server.base_url,
        api_key=KEY,
        max_tokens=MAX_TOKENS,
        max_retries=0,
        timeout=own_timeout(),
        **more,
    )


def anthropic(server: ChaosServer) -> Any:
    from langchain_anthropic import ChatAnthropic

    made: Any = ChatAnthropic
    return made(model=MODEL, base_url=server.anthropic_base_url, api_key=KEY, max_tokens=MAX_TOKENS)


def fake(answers: int = 9) -> Any:
    """A model without an SDK client."""
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    used: Any = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    return GenericFakeChatModel(messages=iter(AIMessage("hi", usage_metadata=used) for _ in range(answers)))


def test_a_call_that_was_cancelled_holds_nothing(ledger: SpendLedger) -> None:
    """langchain tells its callbacks nothing of it: it is an estimate as soon as it is thrown away."""
    from techrevati.runtime.integrations.langchain import GuardHandler

    budget = Budget("acme", 1, ledger=ledger)
    breaker = CircuitBreaker("api", failure_threshold=1)

    async def go(server: ChaosServer) -> None:
        model = bare(server)
        handler = GuardHandler(budget=budget, ledger=ledger, breaker=breaker)
        async with model.root_async_client:
            task = asyncio.ensure_future(model.ainvoke(lc_messages(), config={"callbacks": [handler]}))
            while not server.injected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert any(budget.snapshot().reserved.values())
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await assert_no_task_left()

    with endpoint(Fault(FaultKind.SLOW_FIRST_TOKEN, delay_s=20)) as server:
        asyncio.run(go(server))
    gc.collect()
    caught_up()
    (record,) = ledger.records()
    assert record.certainty == "estimated"
    assert not any(budget.snapshot().reserved.values())
    assert not breaker.is_open()


@pytest.mark.filterwarnings("ignore:coroutine 'ahandle_event' was never awaited")  # langchain's own
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_what_another_handler_vetoes_was_not_sent(
    first: bool, asynchronous: bool, ledger: SpendLedger
) -> None:
    """Whichever of two handlers refuses: nothing is reserved, recorded or sent for the other."""
    from techrevati.runtime.integrations.langchain import GuardHandler

    budget = Budget("acme", 1, ledger=ledger)
    breaker = CircuitBreaker("api", failure_threshold=1)
    handlers = [
        GuardHandler(budget=budget, ledger=ledger, breaker=breaker),
        GuardHandler(budget=Budget("small", 0.000001), breaker=BreakerRegistry()),
    ]
    config: Any = {"callbacks": handlers if first else handlers[::-1]}

    async def go(model: Any) -> None:
        async with model.root_async_client:
            await model.ainvoke(lc_messages(), config=config)

    with endpoint() as server:
        with pytest.raises(BudgetExceededError, match="small"):
            if asynchronous:
                asyncio.run(go(bare(server)))
            else:
                bare(server).invoke(lc_messages(), config=config)
        gc.collect()
        assert not any(budget.snapshot().reserved.values())
        server.wait_idle()
        assert server.bill.requests == 0
    assert list(ledger.records()) == []
    assert not breaker.is_open()


def test_an_answer_from_the_cache_costs_nothing(ledger: SpendLedger) -> None:
    """langchain's cache answers without a request, and its callbacks hear of a call."""
    from langchain_core.caches import InMemoryCache

    from techrevati.runtime.integrations.langchain import GuardHandler

    budget = Budget("acme", 1, ledger=ledger)
    with endpoint() as server:
        model = bare(server, cache=InMemoryCache())
        asked = lc_messages()
        for _ in range(3):
            handler = GuardHandler(budget=budget, ledger=ledger, breaker=BreakerRegistry())
            model.invoke(asked, config={"callbacks": [handler]})
        server.wait_idle()
        assert server.bill.requests == len(list(ledger.records())) == 1
        assert ledger.total() == server.bill.cost_usd
    assert not any(budget.snapshot().reserved.values())


@pytest.mark.parametrize("manager", [False, True])
def test_a_model_without_a_client_gets_the_new_guard(manager: bool, ledger: SpendLedger) -> None:
    """Instead of the old one; callbacks of others, and the model given, stay as they are."""
    from langchain_core.callbacks import BaseCallbackHandler, CallbackManager

    from techrevati.runtime.integrations.langchain import guard_model

    heard: list[str] = []

    class Other(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **more: Any) -> None:
            heard.append("start")

    model = fake()
    model.callbacks = CallbackManager([Other()]) if manager else [Other()]
    with SpendLedger(":memory:") as old:
        first = guard_model(model, ledger=old, breaker=BreakerRegistry())
        second = guard_model(first, ledger=ledger, breaker=BreakerRegistry())
        second.invoke("hi")
        assert (len(list(old.records())), len(list(ledger.records())), len(heard)) == (0, 1, 1)
        first.invoke("hi")
        model.invoke("hi")
        assert (len(list(old.records())), len(list(ledger.records())), len(heard)) == (1, 1, 3)


def test_configured_models_are_guarded_or_refused(ledger: SpendLedger) -> None:
    """A model with other fields keeps its guarded client, or, where it makes a client anew, is refused."""
    from langchain_core.runnables import ConfigurableField

    from techrevati.runtime.integrations.langchain import guard_model

    options: Any = {"ledger": ledger, "breaker": BreakerRegistry()}
    field = ConfigurableField("limit")
    with endpoint() as server:
        model = chat_openai(server, options).configurable_fields(max_tokens=field)
        model.with_config(configurable={"limit": 50}).invoke(lc_messages())
        fakes = guard_model(fake(), **options).configurable_fields(name=ConfigurableField("name"))
        fakes.with_config(configurable={"name": "x"}).invoke("hi")
        assert len(list(ledger.records())) == 2
        with pytest.raises(TypeError, match=r"configurable_fields .*max_tokens"):
            guard_model(anthropic(server), **options).configurable_fields(max_tokens=field)
        made = guard_model(anthropic(server), **options).model_copy(update={"max_tokens": 50})
        made.invoke(lc_messages())
        assert "configurable_fields" not in repr(made)
        server.wait_idle()
        assert server.bill.requests == 2
        assert len(list(ledger.records())) == 3
        anthropic(server).configurable_fields(max_tokens=field)  # what nobody guards stays as it was


def test_several_answers_are_reserved() -> None:
    """``n`` answers may use ``n`` times the most of one."""
    from techrevati.runtime.integrations.langchain import GuardHandler

    budget = Budget("acme", limits={"output_tokens": MAX_TOKENS * 3})
    handler = GuardHandler(budget=budget, breaker=BreakerRegistry())
    with endpoint() as server:
        with pytest.raises(Exception, match="Only n = 1 is supported here"):  # it was sent
            bare(server, n=3).invoke(lc_messages(), config={"callbacks": [handler]})
        with pytest.raises(BudgetExceededError):
            bare(server, n=4).invoke(lc_messages(), config={"callbacks": [handler]})


class Seen:
    """A guardrail that notes the arguments it is shown."""

    name = "seen"

    def __init__(self) -> None:
        self.arguments: list[Any] = []

    def check_pre(self, *, role: str, tool: str, arguments: Any = None) -> GuardrailOutcome:
        """Let them pass, with another amount."""
        self.arguments.append(arguments)
        return GuardrailOutcome.rewrite({**arguments, "amount": 4})

    def check_post(self, value: object, *, role: str, tool: str) -> GuardrailOutcome:
        """Yes."""
        return GuardrailOutcome(True)


def test_what_langchain_adds_to_arguments_is_no_part_of_the_act() -> None:
    """An approval is for what the model asks; the state of the graph may be another when it resumes."""
    pytest.importorskip("langgraph.prebuilt")
    from langchain_core.messages import AIMessage, HumanMessage
    from langchain_core.tools import InjectedToolCallId, tool
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.prebuilt import InjectedState, ToolNode

    from techrevati.runtime.integrations.langchain import guard_tool

    def refund(
        amount: int,
        state: Annotated[dict[str, Any], InjectedState],
        tool_call_id: Annotated[str, InjectedToolCallId],
    ) -> str:
        """Refund."""
        return f"refunded {amount} after {len(state['messages'])} messages for {tool_call_id}"

    refund.__annotations__ = {
        "amount": int,
        "state": Annotated[dict[str, Any], InjectedState],
        "tool_call_id": Annotated[str, InjectedToolCallId],
        "return": str,
    }
    approvals, seen = Approvals(MemoryStore()), Seen()
    guard = ToolGuard(approvals=approvals, ask_first=["refund"], run="r", guardrails=[seen])
    made = StateGraph(MessagesState)
    made.add_node("tools", ToolNode([guard_tool(tool(refund), guard)], handle_tool_errors=False))
    made.add_edge(START, "tools")
    made.add_edge("tools", END)
    graph = made.compile()
    call: Any = {"name": "refund", "args": {"amount": 3}, "id": "c1", "type": "tool_call"}

    def go(*before: Any) -> str:
        asked: Any = {"messages": [*before, AIMessage("", tool_calls=[call])]}
        text: str = graph.invoke(asked)["messages"][-1].content
        return text

    with pytest.raises(ApprovalPendingError):
        go()
    approvals.grant("r/c1", "alice")
    assert go(HumanMessage("now")) == "refunded 4 after 2 messages for c1"
    assert seen.arguments == [{"amount": 3}] * 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_stream_that_is_left_counts_what_came(asynchronous: bool, ledger: SpendLedger) -> None:
    """The handler hears the pieces; a reader who goes away is no failure."""
    from techrevati.runtime.integrations.langchain import GuardHandler

    sink = RingBufferEventSink(9)
    handler = GuardHandler(ledger=ledger, breaker=BreakerRegistry(), event_sink=sink)
    config: Any = {"callbacks": [handler]}

    def leave(model: Any) -> None:
        stream = model.stream(lc_messages(), config=config)
        for _ in range(4):
            next(stream)
        stream.close()

    async def aleave(model: Any) -> None:
        async with model.root_async_client:
            stream = model.astream(lc_messages(), config=config)
            for _ in range(4):
                await anext(stream)
            await stream.aclose()

    with endpoint(Fault(FaultKind.SLOW_STREAM, delay_s=0.05)) as server:
        if asynchronous:
            asyncio.run(aleave(bare(server)))
        else:
            leave(bare(server))
    (record,) = ledger.records()
    assert (record.certainty, record.failure) == ("estimated", None)
    assert record.usage.output_tokens >= 3
    assert [event.event.value for event in sink.events] == ["model.abandoned"]


def test_a_stream_that_breaks_counts_what_came(ledger: SpendLedger) -> None:
    """And a call that was refused before anything came costs nothing."""
    from techrevati.runtime.integrations.langchain import GuardHandler

    handler = GuardHandler(ledger=ledger, breaker=BreakerRegistry())
    config: Any = {"callbacks": [handler]}
    faults = (Fault(FaultKind.MID_STREAM_ERROR, after_tokens=4), Fault(FaultKind.UNAVAILABLE))
    with endpoint(*faults) as server:
        model = bare(server)
        for _ in faults:
            with pytest.raises(openai.APIError):
                list(model.stream(lc_messages(), config=config))
    broken, refused = ledger.records()
    assert (broken.certainty, broken.usage.output_tokens) == ("estimated", 4)
    assert broken.failure is not None
    assert (refused.certainty, refused.usage.input_tokens, refused.usage.output_tokens) == ("measured", 0, 0)


def test_the_handler_reads_the_request_wherever_langchain_says_it(ledger: SpendLedger) -> None:
    """Tools are input; model and maximum may stand in the metadata alone; usage in the output of an LLM."""
    from uuid import uuid4

    from langchain_core.outputs import Generation, LLMResult

    from techrevati.runtime.integrations.langchain import GuardHandler

    budget = Budget("acme", 1, limits={"input_tokens": 3_000, "output_tokens": 90}, ledger=ledger)
    handler = GuardHandler(budget=budget, ledger=ledger, breaker=BreakerRegistry())
    metadata = {"ls_provider": "mine", "ls_model_name": MODEL, "ls_max_tokens": 50}
    first, second, third = uuid4(), uuid4(), uuid4()
    handler.on_llm_start({}, ["hello"], run_id=first, metadata=metadata, invocation_params={})
    assert budget.snapshot().reserved["output_tokens"] == 50
    with pytest.raises(BudgetExceededError, match="output_tokens"):
        handler.on_llm_start({}, ["hello"], run_id=second, metadata=metadata)
    used = {"token_usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
    handler.on_llm_end(LLMResult(generations=[[Generation(text="hi")]], llm_output=used), run_id=first)
    (record,) = ledger.records()
    assert (record.model, record.certainty) == (MODEL, "measured")
    assert (record.usage.input_tokens, record.usage.output_tokens) == (7, 3)
    params = {"tools": [{"description": "x" * 9_000}], "max_tokens": 1}
    with pytest.raises(BudgetExceededError, match="input_tokens"):
        handler.on_llm_start({}, ["hello"], run_id=third, metadata=metadata, invocation_params=params)


def test_calls_that_never_end_are_bounded(monkeypatch: pytest.MonkeyPatch, ledger: SpendLedger) -> None:
    """The oldest is settled as an estimate when there are too many."""
    from uuid import uuid4

    from techrevati.runtime.integrations import langchain

    monkeypatch.setattr(langchain, "_OPEN", 3)
    handler = langchain.GuardHandler(ledger=ledger, breaker=BreakerRegistry())
    runs = [uuid4() for _ in range(5)]
    for run in runs:
        handler.on_llm_start({}, ["hello"], run_id=run, metadata={"ls_model_name": MODEL})
    assert [record.certainty for record in ledger.records()] == ["estimated"] * 2
    handler.on_llm_error(ValueError("late"), run_id=runs[0])  # forgotten: nothing happens
    assert len(list(ledger.records())) == 2


def test_told_refusals_are_errors_of_the_tool() -> None:
    """The model sees that the call failed."""
    from langchain_core.tools import tool

    from techrevati.runtime.integrations.langchain import guard_tool
    from tests.integration.test_openai_agents import reader

    def look_up(word: str) -> str:
        """Look something up."""
        raise AssertionError

    call: Any = {"type": "tool_call", "name": "look_up", "args": {"word": "x"}, "id": "c1"}
    guarded = guard_tool(tool(look_up), reader("look_up", on_refusal="tell"))
    said = guarded.invoke(call)
    assert (said.status, said.tool_call_id, said.name) == ("error", "c1", "look_up")
    assert "was refused" in guarded.invoke({"word": "x"})


@pytest.mark.parametrize("asynchronous", [False, True])
def test_guardrails_rewrite_what_an_agents_tools_get(asynchronous: bool) -> None:
    """In the middleware of ``create_agent``, in both colours; the tool's own message is kept."""
    pytest.importorskip("langchain.agents.middleware")
    from langchain.agents import create_agent
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool

    from techrevati.runtime.integrations.langchain_agents import GuardMiddleware

    class Fake(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **more: Any) -> Any:
            return self

    def refund(amount: int) -> str:
        """Refund."""
        return f"refunded {amount}"

    seen = Seen()
    call: Any = {"name": "refund", "args": {"amount": 3}, "id": "c1", "type": "tool_call"}
    model = Fake(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("done")]))
    agent = create_agent(
        model,
        [tool(refund)],
        middleware=[GuardMiddleware(ToolGuard(guardrails=[seen]), breaker=BreakerRegistry())],
    )
    asked: Any = {"messages": [("user", "go")]}
    said = asyncio.run(agent.ainvoke(asked)) if asynchronous else agent.invoke(asked)
    assert next(message.content for message in said["messages"] if message.type == "tool") == "refunded 4"
    assert seen.arguments == [{"amount": 3}]


def test_a_middleware_keeps_a_few_guarded_models() -> None:
    """A model is guarded once, bad options are told at once, and models made for each call do not pile up."""
    pytest.importorskip("langchain.agents.middleware")
    from langchain.agents.middleware import ModelRequest

    from techrevati.runtime.integrations.langchain_agents import GuardMiddleware

    with pytest.raises(TypeError, match="budget"):
        GuardMiddleware(budget=3)  # type: ignore[typeddict-item]
    middleware = GuardMiddleware(breaker=BreakerRegistry())
    seen: list[Any] = []

    def asked(model: Any) -> Any:
        middleware.wrap_model_call(
            ModelRequest(model=model, messages=[]), lambda request: seen.append(request.model)
        )
        return seen[-1]

    model = fake()
    assert asked(model) is asked(model) is not model
    for _ in range(100):
        asked(fake())
    assert len(middleware._models) <= 16
    assert asked(model) is not model
