"""One line around an Anthropic client: breaker, budget, retry and books for every message, streams too.

``pip install techrevati-runtime anthropic``.  The endpoint here is
on this machine, fails now and then, and keeps the bill; without it the same lines talk to the provider.
"""

from __future__ import annotations

from anthropic import Anthropic
from anthropic.types import MessageParam

from techrevati.runtime import Budget, BudgetExceededError, Retry, SpendLedger
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind
from techrevati.runtime.integrations import assert_guarded, coverage, guard

MODEL = "claude-haiku-4-5"
QUESTION: list[MessageParam] = [{"role": "user", "content": "Why is the sky blue?"}]


def main() -> None:
    """Ask, stream, be refused, compare bill and ledger."""
    with ChaosServer([Fault(FaultKind.OVERLOADED)]) as endpoint, SpendLedger(":memory:") as ledger:
        budget = Budget("acme", limit_usd=0.01, ledger=ledger)
        retry = Retry(3, base_delay_seconds=0.05)
        with Anthropic(base_url=endpoint.anthropic_base_url, api_key="any") as plain:
            client = guard(plain, project="acme", budget=budget, ledger=ledger, retry=retry)  # the one line
            client.messages.create(model=MODEL, max_tokens=200, messages=QUESTION)
            with client.messages.stream(model=MODEL, max_tokens=200, messages=QUESTION) as stream:
                for text in stream.text_stream:
                    print(text, end="")
            print()
            try:
                client.messages.create(model=MODEL, max_tokens=8_000, messages=QUESTION)
            except BudgetExceededError as refusal:
                print("refused before it was sent:", refusal)
        endpoint.wait_idle()
        print(coverage())
        print("bill", endpoint.bill.cost_usd, "ledger", ledger.total(project="acme"))
        assert endpoint.bill.cost_usd == ledger.total(project="acme") > 0
        assert_guarded()


if __name__ == "__main__":
    main()
