"""A langchain agent: its model calls guarded, its tools through permissions, by one middleware.

``pip install techrevati-runtime langchain langchain-openai``.
The endpoint here is on this machine, fails now and then, and keeps the bill.
"""

from __future__ import annotations

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from techrevati.runtime import Budget, Retry, SpendLedger
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import ToolGuard, assert_guarded
from techrevati.runtime.integrations.langchain_agents import GuardMiddleware
from techrevati.runtime.permissions import PermissionMode, PermissionPolicy, RolePermissionConfig


def get_weather(location: str) -> str:
    """Current weather of a city."""
    return f"18C and rain in {location}"


def send_email(to: str, subject: str, body: str) -> str:
    """Send an email."""
    raise AssertionError("a reader sends nothing")


def main() -> None:
    """One question with a tool, one that the role may not have answered."""
    reader = RolePermissionConfig("reader", PermissionMode.READ_ONLY, denied_tools=["send_email"])
    tools = ToolGuard(role="reader", permissions=PermissionPolicy([reader]), on_refusal="tell")
    with ChaosServer([Fault(FaultKind.UNAVAILABLE)]) as endpoint, SpendLedger(":memory:") as ledger:
        budget = Budget("acme", limit_usd=0.05, ledger=ledger)
        retry = Retry(3, base_delay_seconds=0.05)
        guarding = GuardMiddleware(tools, project="acme", budget=budget, ledger=ledger, retry=retry)
        key = SecretStr("any")
        model = ChatOpenAI(model="gpt-5-mini", base_url=endpoint.base_url, api_key=key, max_tokens=300)
        agent = create_agent(model, [get_weather, send_email], middleware=[guarding])
        mail = "Send an email to bob@example.com with subject 'Hi' saying see you at noon"
        for asks in ("What is the weather in Paris?", mail):
            for message in agent.invoke({"messages": [HumanMessage(asks)]})["messages"]:
                print(f"{message.type}: {message.content}")
        endpoint.wait_idle()
        assert endpoint.bill.cost_usd == ledger.total(project="acme") > 0
        print("bill and ledger:", endpoint.bill.cost_usd)
        assert_guarded()


if __name__ == "__main__":
    main()
