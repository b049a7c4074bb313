"""A pydantic-ai agent: its model guarded, its tools through permissions and a budget.

``pip install techrevati-runtime "pydantic-ai-slim[openai]"``.
The endpoint here is on this machine, fails now and then, and keeps the bill.
"""

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI
from pydantic_ai import Agent, FunctionToolset
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from techrevati.runtime import Budget, Retry, SpendLedger
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import ToolGuard, assert_guarded
from techrevati.runtime.integrations.pydantic_ai import GuardedModel, GuardedToolset


def get_weather(location: str) -> str:
    """Current weather of a city."""
    return f"18C and rain in {location}"


async def main() -> None:
    """One question with a tool, and one streamed answer."""
    with ChaosServer([Fault(FaultKind.UNAVAILABLE)]) as endpoint, SpendLedger(":memory:") as ledger:
        budget = Budget("acme", limit_usd=0.05, limits={"tool_calls": 5}, ledger=ledger)
        async with AsyncOpenAI(base_url=endpoint.base_url, api_key="any") as client:
            plain = OpenAIChatModel("gpt-5-mini", provider=OpenAIProvider(openai_client=client))
            retry = Retry(3, base_delay_seconds=0.05)
            model = GuardedModel(plain, project="acme", budget=budget, ledger=ledger, retry=retry)
            tools = GuardedToolset(FunctionToolset([get_weather]), ToolGuard(budget=budget))
            agent = Agent(model, toolsets=[tools], model_settings={"max_tokens": 300})
            print((await agent.run("What is the weather in Paris?")).output)
            async with agent.run_stream("Say hello.") as result:
                async for piece in result.stream_text(delta=True):
                    print(piece, end="")
            print()
        endpoint.wait_idle()
        assert endpoint.bill.cost_usd == ledger.total(project="acme") > 0
        print("bill and ledger:", endpoint.bill.cost_usd)
        assert_guarded()


if __name__ == "__main__":
    asyncio.run(main())
