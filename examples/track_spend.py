"""Track what a plain loop spends, with no session: reserve, call, settle.

``pip install techrevati-runtime``.

The limit is for one run; spend.db keeps what every run has spent, so a second run adds to the table.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from techrevati.runtime import BudgetExceededError
from techrevati.runtime.budgets import Budget
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.usage import UsageSnapshot


def ask(question: str) -> dict[str, object]:
    """Stands for a call of your SDK: what it returns has the shape of OpenAI's chat completions."""
    return {
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"message": {"role": "assistant", "content": f"Re: {question}"}}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 120, "total_tokens": 1020},
    }


def main() -> None:
    """Ask until the budget refuses."""
    with SpendLedger("spend.db") as ledger:
        run = f"mornings of {datetime.now(UTC).isoformat()}"
        budget = Budget(
            run, limit_usd=0.002, ledger=ledger
        )  # per="day" would limit all runs of a day together
        for number in range(100):
            try:
                with budget.reserve(
                    model="gpt-4o-mini", input_tokens=1000, max_output_tokens=200, project="mornings"
                ) as reserved:
                    reserved.settle(UsageSnapshot.from_response(ask(f"question {number}")))
            except BudgetExceededError as refusal:
                sys.stdout.write(f"refused before it was sent: {refusal}\n")
                break
        for group in ledger.by("project", "model"):
            sys.stdout.write(f"{group.group}: {group.calls} calls, {group.tokens} tokens, ${group.cost:f}\n")


if __name__ == "__main__":
    main()
