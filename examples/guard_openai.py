"""One line around an OpenAI client: breaker, budget, retry and books for every model call.

``pip install techrevati-runtime openai``.  The endpoint here is on this machine,
fails now and then, and keeps the bill; take it away and the same lines talk to the provider.
"""

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

from techrevati.runtime import Budget, BudgetExceededError, Retry, SpendLedger
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import assert_guarded, coverage, guard

MODEL = "gpt-5-mini"
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Why is the sky blue?"}]


def main() -> None:
    """Spend a little, in two colours, until the budget says no."""
    troubles = [Fault(FaultKind.UNAVAILABLE), None, Fault(FaultKind.RATE_LIMIT, retry_after_s=0.2)]
    with ChaosServer(troubles) as endpoint, SpendLedger(":memory:") as ledger:
        budget = Budget("acme", limit_usd=0.01, ledger=ledger)
        retry = Retry(3, base_delay_seconds=0.05)

        with OpenAI(base_url=endpoint.base_url, api_key="any") as plain:
            client = guard(plain, project="acme", budget=budget, ledger=ledger, retry=retry)  # the one line
            client.chat.completions.create(model=MODEL, messages=QUESTION, max_completion_tokens=200)
            for chunk in client.chat.completions.create(
                model=MODEL, messages=QUESTION, max_completion_tokens=200, stream=True
            ):
                print(chunk.choices[0].delta.content or "", end="")
            print()
            try:
                client.chat.completions.create(model=MODEL, messages=QUESTION, max_completion_tokens=100_000)
            except BudgetExceededError as refusal:
                print("refused before it was sent:", refusal)

        async def ask() -> None:
            async with AsyncOpenAI(base_url=endpoint.base_url, api_key="any") as plain:
                client = guard(plain, project="acme", budget=budget, ledger=ledger, retry=retry)
                await client.chat.completions.create(
                    model=MODEL, messages=QUESTION, max_completion_tokens=200
                )

        asyncio.run(ask())
        endpoint.wait_idle()
        print(coverage())
        print("bill", endpoint.bill.cost_usd, "ledger", ledger.total(project="acme"))
        assert endpoint.bill.cost_usd == ledger.total(project="acme")
        assert_guarded()


if __name__ == "__main__":
    main()
