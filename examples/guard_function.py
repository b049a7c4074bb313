"""One decorator makes a function that calls a model guarded, counted and charged to a project.

``pip install techrevati-runtime openai``.  The endpoint here is on this machine,
fails now and then, and keeps the bill.
"""

from __future__ import annotations

from openai import OpenAI
from openai.types.chat import ChatCompletion

from techrevati.runtime import Budget, BudgetExceededError, Retry, SpendLedger
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import assert_guarded, guarded

MODEL = "gpt-5-mini"


def main() -> None:
    """Ask, be refused, compare bill and ledger."""
    with ChaosServer([Fault(FaultKind.UNAVAILABLE)]) as endpoint, SpendLedger(":memory:") as ledger:
        budget = Budget("acme", limit_usd=0.01, ledger=ledger)
        with OpenAI(base_url=endpoint.base_url, api_key="any", max_retries=0) as client:

            @guarded(project="acme", budget=budget, ledger=ledger, retry=Retry(3, base_delay_seconds=0.05))
            def ask(prompt: str, *, model: str = MODEL, max_tokens: int = 200) -> ChatCompletion:
                return client.chat.completions.create(
                    model=model,
                    max_completion_tokens=max_tokens,
                    messages=[{"role": "user", "content": prompt}],
                )

            print(ask("Why is the sky blue?").choices[0].message.content)
            try:
                ask("Write a book.", max_tokens=100_000)
            except BudgetExceededError as refusal:
                print("refused before it was sent:", refusal)
        endpoint.wait_idle()
        print("bill", endpoint.bill.cost_usd, "ledger", ledger.total(project="acme"))
        assert endpoint.bill.cost_usd == ledger.total(project="acme") > 0
        assert_guarded()


if __name__ == "__main__":
    main()
