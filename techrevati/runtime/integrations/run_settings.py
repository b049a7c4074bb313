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
    """

    run: str
    project: str
    ledger: str
    notes: str
    budget_usd: Decimal | None = None
    per: str = PER_RUN
    observe_only: bool = False

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
