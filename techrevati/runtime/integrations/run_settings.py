"""What ``techrevati run`` tells the processes below it, as one environment variable."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from techrevati.runtime.budgets import Budget
    from techrevati.runtime.ledger import SpendLedger

VARIABLE = "TECHREVATI_RUN"
HOOK = Path(__file__).parent / "run_hook"
PER_RUN = "run"


class RunSettings(NamedTuple):
    """One run: for whom, what it may spend, and where its processes write.

    Attributes:
        run: Its id, in every record.
        project: For whom.
        ledger: The file of the ledger, absolute.
        notes: The folder where every process notes what it called, absolute.
        budget_usd: What it may spend; None limits nothing.
        per: "run": this run alone; "total" or a window: the project, in this ledger.
        observe_only: Refuse nothing.
        prices: A file of prices that count before the bundled ones, absolute; None adds none.
    """

    run: str
    project: str
    ledger: str
    notes: str
    budget_usd: Decimal | None = None
    per: str = PER_RUN
    observe_only: bool = False
    prices: str | None = None

    def load_prices(self) -> None:
        """Have the prices of the file count in this process.

        Raises:
            OSError, ValueError: It cannot be read, or holds something else.
        """
        if self.prices is None:
            return
        from techrevati.runtime.pricing import PriceBook, load_pricing_from_file, use_price_book

        if _of_models(self.prices):
            load_pricing_from_file(self.prices)
        else:
            use_price_book(PriceBook.load(self.prices))

    def budget(self, ledger: SpendLedger) -> Budget | None:
        """The budget that all processes share; None without a limit."""
        if self.budget_usd is None:
            return None
        from techrevati.runtime.budgets import Budget

        if self.per == PER_RUN:
            return Budget(f"run {self.run}", self.budget_usd, ledger=ledger)
        per = None if self.per == "total" else self.per
        return Budget(self.project, self.budget_usd, per=per, ledger=ledger)

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """*given* for a process of this run and all that it starts."""
        told = {**self._asdict(), "budget_usd": None if self.budget_usd is None else str(self.budget_usd)}
        path = given.get("PYTHONPATH")
        return {
            **given,
            VARIABLE: json.dumps(told),
            "PYTHONPATH": f"{HOOK}{os.pathsep}{path}" if path else str(HOOK),
        }

    @classmethod
    def here(cls) -> RunSettings:
        """Those of the run that this process is part of.

        Raises:
            KeyError: It is part of none.
            ValueError, TypeError: The variable holds something else.
        """
        told = json.loads(os.environ[VARIABLE])
        limit = told.pop("budget_usd")
        return cls(budget_usd=None if limit is None else Decimal(limit), **told)


def _of_models(path: str) -> bool:
    """Whether the file is a list of models as ``load_pricing_from_file`` reads it, and no price book."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return False
    return isinstance(content, dict) and isinstance(content.get("models"), dict)
