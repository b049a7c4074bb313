"""A team of openai-agents on one budget: hand-offs draw on it, tools pass permissions.

``pip install techrevati-runtime openai-agents``.
The endpoint here is on this machine, fails now and then, and keeps the bill.
"""

from __future__ import annotations

import asyncio

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool
from agents.run import RunConfig
from openai import AsyncOpenAI

from techrevati.runtime import Budget, Retry, SpendLedger
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import ToolGuard, assert_guarded
from techrevati.runtime.integrations.openai_agents import guard_agent

QUIET = RunConfig(tracing_disabled=True)


@function_tool
def get_weather(location: str) -> str:
    """Current weather of a city."""
    return f"18C and rain in {location}"


async def main() -> None:
    """One question to the team."""
    with ChaosServer([Fault(FaultKind.UNAVAILABLE)]) as endpoint, SpendLedger(":memory:") as ledger:
        budget = Budget("acme", limit_usd=0.05, limits={"tool_calls": 5}, ledger=ledger)
        async with AsyncOpenAI(base_url=endpoint.base_url, api_key="any") as client:
            model = OpenAIChatCompletionsModel("gpt-5-mini", client)
            settings = ModelSettings(max_tokens=300)
            poet = Agent(name="poet", model=model, model_settings=settings)
            reporter = Agent(name="reporter", model=model, model_settings=settings, tools=[get_weather])
            reporter.handoffs = [poet]
            guarded = guard_agent(
                reporter,
                tools=ToolGuard(budget=budget),
                shares={"poet": budget.child("poet", limit_usd=0.01)},
                project="acme",
                budget=budget,
                ledger=ledger,
                retry=Retry(3, base_delay_seconds=0.05),
            )
            result = await Runner.run(guarded, "What is the weather in Paris?", run_config=QUIET)
            print(result.last_agent.name, "says:", result.final_output)
        endpoint.wait_idle()
        assert endpoint.bill.cost_usd == ledger.total(project="acme") > 0
        print("bill and ledger:", endpoint.bill.cost_usd)
        assert_guarded()


if __name__ == "__main__":
    asyncio.run(main())
