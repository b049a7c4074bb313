"""langgraph: nodes that run side by side, in subgraphs, with updates of every form."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.circuit_breaker import BreakerRegistry
from techrevati.runtime.integrations import coverage
from techrevati.runtime.ledger import SpendLedger
from tests.integration.adapters import MAX_TOKENS, lc_messages
from tests.integration.guard_shapes import MODEL, endpoint
from tests.integration.test_langchain_models import bare


@pytest.fixture(autouse=True)
def counted_anew() -> None:
    """No test sees another's calls."""
    coverage(reset=True)


class Found(TypedDict):
    """A state whose messages are not called messages."""

    found: Annotated[list[Any], operator.add]


def test_nodes_that_fan_out_are_counted_one_by_one(ledger: SpendLedger) -> None:
    """``Send`` to five runs of one node: five calls, to the last token, under whatever name they answer."""
    from langgraph.graph import END, START, StateGraph
    from langgraph.types import Send

    from techrevati.runtime.integrations.langgraph import guarded_node

    budget = Budget("acme", 1, ledger=ledger)
    with endpoint() as server:
        model = bare(server)

        @guarded_node(
            model=MODEL, max_output_tokens=MAX_TOKENS, budget=budget, ledger=ledger, breaker=BreakerRegistry()
        )
        def look(state: Any) -> dict[str, Any]:
            return {"found": [model.invoke(lc_messages())]}

        graph: Any = StateGraph(Found)
        graph.add_node("look", look)
        graph.add_conditional_edges(START, lambda state: [Send("look", {"n": n}) for n in range(5)], ["look"])
        graph.add_edge("look", END)
        assert len(graph.compile().invoke({"found": []})["found"]) == 5
        server.wait_idle()
        assert server.bill.requests == len(list(ledger.records())) == 5
        assert ledger.total() == server.bill.cost_usd == budget.snapshot().settled["usd"]
    assert not any(budget.snapshot().reserved.values())


def test_an_interrupted_subgraph_is_resumed(ledger: SpendLedger) -> None:
    """The node runs again from its beginning: two requests, two records, the first an estimate."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.types import Command, interrupt

    from techrevati.runtime.integrations.langgraph import guarded_node

    with endpoint() as server:
        model = bare(server)

        @guarded_node(model=MODEL, max_output_tokens=MAX_TOKENS, ledger=ledger, breaker=BreakerRegistry())
        def ask(state: Any) -> Any:
            answer = model.invoke(lc_messages())
            interrupt("may I?")
            return Command(update={"messages": [answer]}, goto=END)

        inner: Any = StateGraph(MessagesState)
        inner.add_node("ask", ask)
        inner.add_edge(START, "ask")
        outer: Any = StateGraph(MessagesState)
        outer.add_node("inner", inner.compile())
        outer.add_edge(START, "inner")
        made = outer.compile(checkpointer=InMemorySaver())
        where: Any = {"configurable": {"thread_id": "t1"}}
        assert "__interrupt__" in made.invoke({"messages": [("user", "go")]}, where)
        assert "__interrupt__" not in made.invoke(Command(resume="yes"), where)
        server.wait_idle()
        assert server.bill.requests == 2
    interrupted, done = ledger.records()
    assert (interrupted.certainty, done.certainty) == ("estimated", "measured")


def said(tokens: int) -> AIMessage:
    used: Any = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}
    return AIMessage("hi", usage_metadata=used)


def test_the_usage_of_updates_of_every_form(ledger: SpendLedger) -> None:
    """The messages first, then messages under other names; sums that a program keeps are no usage."""
    from langgraph.types import Command

    from techrevati.runtime.integrations.langgraph import guarded_node

    @guarded_node(model=MODEL, max_output_tokens=9, ledger=ledger, breaker=BreakerRegistry())
    def node(update: Any) -> Any:
        return update

    totals = {"input_tokens": 900, "output_tokens": 900, "total_tokens": 1_800}
    for update in (
        {"messages": [said(1), said(2)], "draft": said(3)},
        {"messages": [("user", "hi")], "draft": said(4)},
        {"draft": [said(5)], "totals": totals},
        Command(update={"draft": said(6)}),
        [Command(goto="x"), Command(update={"messages": [said(7)]})],
        said(8),
        {"messages": [AIMessage("hi")], "totals": totals},
        None,
    ):
        node(update)
    measured = [one.usage.input_tokens for one in ledger.records() if one.certainty == "measured"]
    assert measured == [2, 4, 5, 6, 7, 8]


def test_what_langgraph_adds_to_a_node_is_no_input(ledger: SpendLedger) -> None:
    """Its configuration may be long; what is wrong with a decorator is told at once."""
    from langgraph.graph import END, START, MessagesState, StateGraph

    from techrevati.runtime.integrations.langgraph import delegated_node, guarded_node

    budget = Budget("acme", limits={"input_tokens": 2_000})

    @guarded_node(model=MODEL, max_output_tokens=9, budget=budget, breaker=BreakerRegistry())
    def ask(state: Any, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [said(len(config["configurable"]["text"]))]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    where: Any = {"configurable": {"text": "x" * 1_900}}
    graph.compile().invoke({"messages": [("user", "hi")]}, where)
    with pytest.raises(BudgetExceededError):
        graph.compile().invoke({"messages": [("user", "x" * 1_900)]}, where)
    with pytest.raises(ValueError, match="provider"):
        guarded_node(provider="")
    for decorator in (guarded_node(), delegated_node(budget)):
        with pytest.raises(TypeError, match=r"function|callable"):
            decorator(3)  # type: ignore[type-var]


class Answers:
    """A node that is an object."""

    async def __call__(self, state: Any) -> dict[str, Any]:
        return {"messages": [("ai", "found")]}


async def answers_bit_by_bit(state: Any) -> Any:
    """A node that gives its update as a stream."""
    yield {"messages": [("ai", "found")]}


@pytest.mark.parametrize("node", [Answers(), answers_bit_by_bit])
def test_a_delegated_node_is_of_any_colour(node: Any) -> None:
    """What langgraph takes as a node, it takes with the decorator."""
    from langgraph.graph import END, START, MessagesState, StateGraph

    from techrevati.runtime.integrations.langgraph import delegated_node

    budget = Budget("acme", limits={"delegated_tasks": 1})
    made = StateGraph(MessagesState)
    made.add_node("researcher", delegated_node(budget)(node))
    made.add_edge(START, "researcher")
    made.add_edge("researcher", END)
    graph = made.compile()
    answer = asyncio.run(graph.ainvoke({"messages": [("user", "go")]}))
    assert answer["messages"][-1].content == "found"
    assert budget.snapshot().settled == {"delegated_tasks": 1}
    with pytest.raises(BudgetExceededError):
        asyncio.run(graph.ainvoke({"messages": [("user", "go")]}))
