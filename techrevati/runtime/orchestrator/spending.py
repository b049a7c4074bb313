"""Turns on the books: reserved before the call, settled after, in a ledger that outlives the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime.budgets import Budget, Reservation, estimate_input_tokens
from techrevati.runtime.deadlines import TurnTimeoutError
from techrevati.runtime.orchestrator.turns import named
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.orchestrator.configuration import Orchestrator
    from techrevati.runtime.orchestrator.turns import TurnBounds

_ZERO = UsageSnapshot()
_BOUND_BY_INPUT = frozenset({"usd", "input_tokens", "total_tokens"})


class TurnSpend:
    """The reservations of one turn: with the budget, and with the ledger if that is another place."""

    def __init__(self, reservations: list[Reservation], *, outlives_timeout: bool) -> None:
        self._reservations = reservations
        self._outlives_timeout = outlives_timeout

    def settle(self, usage: UsageSnapshot) -> None:
        """The turn came back; one that does not say what it used is counted by what was sent."""
        for reservation in self._reservations:
            if reservation.state != "open":
                continue
            if usage == _ZERO:
                reservation.fail()
            else:
                reservation.settle(usage)

    def fail(self, error: BaseException) -> None:
        """The turn did not come back; one that only timed out may still, and stays reserved until it does."""
        if self._outlives_timeout and isinstance(error, TurnTimeoutError):
            return
        self.end(error)

    def end(self, error: BaseException) -> None:
        """The call itself ended with *error*."""
        for reservation in self._reservations:
            reservation.fail(error)


class SessionSpending:
    """What one session spends, for whom, and what its budget has left."""

    def __init__(self, config: Orchestrator, run_id: str, parent_id: str | None) -> None:
        self._budgets: list[Budget] = []
        ledger, budget = config.ledger, config.budget
        if budget is not None:
            self._budgets.append(budget)
        if ledger is not None and (budget is None or budget.ledger is not ledger):
            self._budgets.append(Budget(f"session/{config.role}/{config.phase}", ledger=ledger))
        self._ledger: SpendLedger | None = ledger
        self._budget = budget
        self._project = config.project_id
        self._session = run_id
        self._run = parent_id or run_id

    def begin(self, bounds: TurnBounds, *, outlives_timeout: bool) -> TurnSpend:
        """Reserve one attempt everywhere, or nowhere."""
        model, usage, prompt, input_tokens, max_output_tokens, timeout = bounds
        if input_tokens is None and usage is not None:
            input_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if max_output_tokens is None and usage is not None:
            max_output_tokens = usage.output_tokens
        if input_tokens is None and prompt is not None:
            input_tokens = estimate_input_tokens(prompt)
        made: list[Reservation] = []
        try:
            for budget in self._budgets:
                if input_tokens is None and budget.limited & _BOUND_BY_INPUT:
                    raise ValueError(
                        f"input_tokens must be given: {budget.name!r} limits what a turn may use; give "
                        "run_turn input_tokens=… (see estimate_input_tokens), prompt=… or usage=…"
                    )
                made.append(
                    budget.reserve(
                        model=named(model) or None,
                        input_tokens=input_tokens or 0,
                        max_output_tokens=max_output_tokens,
                        project=self._project,
                        session=self._session,
                        run=self._run,
                        model_calls=1,
                        attempts=1,
                        turns=1,
                        wall_seconds=timeout,
                    )
                )
        except BaseException:
            for reservation in made:
                reservation.release()
            raise
        return TurnSpend(made, outlives_timeout=outlives_timeout)

    def tool(self) -> None:
        """Count one tool call, or refuse it."""
        budget = self._budget
        if budget is not None and "tool_calls" in budget.limited:
            # A tool call counts once it starts, whatever becomes of it.
            budget.reserve(tool_calls=1, wall_seconds=0).settle(_ZERO)

    def summary(self) -> Mapping[str, object]:
        """What the project and this session have spent, and what the budget says; plain values."""
        told: dict[str, object] = {}
        ledger = self._ledger
        if ledger is not None:
            told["session_usd"] = _plain(ledger.total(session=self._session))
            if self._project is not None:
                told["project_usd"] = _plain(ledger.total(project=self._project))
            told["pending"] = ledger.pending
        if self._budget is not None:
            snapshot = self._budget.snapshot()
            told["budget"] = {
                "name": snapshot.name,
                "window": snapshot.window,
                "limits": {unit: _plain(amount) for unit, amount in snapshot.limits.items()},
                "settled": {unit: _plain(amount) for unit, amount in snapshot.settled.items()},
                "reserved": {unit: _plain(amount) for unit, amount in snapshot.reserved.items()},
            }
        return told


def _plain(amount: Decimal | int) -> str | int:
    return amount if isinstance(amount, int) else format(amount, "f")
