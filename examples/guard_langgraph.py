"""A langgraph graph that asks a human before it acts: the model guarded, the act allowed once.

``pip install techrevati-runtime langgraph langchain-openai``.
The endpoint here is on this machine, fails now and then, and keeps the bill.
"""

from __future__ import annotations

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import SecretStr

from techrevati.runtime import Budget, Retry, SpendLedger
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import assert_guarded
from techrevati.runtime.integrations.langgraph import guarded_node

KEY = SecretStr("any")


def main() -> None:
    """Interrupt, resume, compare bill and ledger."""
    with ChaosServer([Fault(FaultKind.UNAVAILABLE)]) as endpoint, SpendLedger(":memory:") as ledger:
        model = ChatOpenAI(model="gpt-5-mini", base_url=endpoint.base_url, api_key=KEY, max_retries=0)

        @guarded_node(
            model="gpt-5-mini",
            max_output_tokens=300,
            budget=Budget("acme", limit_usd=0.05, ledger=ledger),
            project="acme",
            ledger=ledger,
            retry=Retry(3, base_delay_seconds=0.05),
        )
        def ask(state: MessagesState) -> dict[str, object]:
            return {"messages": [model.invoke(state["messages"], max_tokens=300)]}

        def publish(state: MessagesState) -> dict[str, object]:
            return {"messages": [HumanMessage(f"published: {interrupt('publish it?')}")]}

        graph = StateGraph(MessagesState)
        graph.add_sequence([("ask", ask), ("publish", publish)])
        graph.add_edge(START, "ask")
        app = graph.compile(checkpointer=InMemorySaver())
        where: RunnableConfig = {"configurable": {"thread_id": "1"}}
        app.invoke({"messages": [HumanMessage("Why is the sky blue?")]}, where)
        for message in app.invoke(Command(resume="yes"), where)["messages"]:
            print(f"{message.type}: {message.content}")
        endpoint.wait_idle()
        assert endpoint.bill.cost_usd == ledger.total(project="acme") > 0
        print("bill and ledger:", endpoint.bill.cost_usd)
        assert_guarded()


if __name__ == "__main__":
    main()
