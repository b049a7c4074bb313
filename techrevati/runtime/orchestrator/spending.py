"""Turns on the books: reserved before the call, settled after, in a ledger that outlives the session."""

from __future__ import annotations

from fractions import Fraction
from threading import Lock
from typing import TYPE_CHECKING, TypedDict

from techrevati.runtime.budgets import Budget, Reservation, estimate_input_tokens
from techrevati.runtime.budgets.book import same_books
from techrevati.runtime.budgets.recounting import begins, recount
from techrevati.runtime.budgets.reservation import failure_of, input_of, output_of
from techrevati.runtime.orchestrator.turns import named
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future
    from decimal import Decimal
    from typing import Any

    from techrevati.runtime.journal import Step
    from techrevati.runtime.ledger import SpendLedger
    from techrevati.runtime.orchestrator.configuration import Orchestrator
    from techrevati.runtime.orchestrator.turn_layers import TurnTerms

_ZERO = UsageSnapshot()
_BOUND_BY_INPUT = frozenset({"usd", "input_tokens", "total_tokens"})


class _Asked(TypedDict):
    model: str | None
    input_tokens: int
    max_output_tokens: int | None
    project: str | None
    session: str
    run: str
    model_calls: int
    attempts: int
    turns: int
    wall_seconds: float | None


class TurnSpend:
    """The reservations of one attempt: with the budget, and with the ledger if that is another place.

    A call that was given up may still end, and only then is it known what it cost.  So the call says when it
    begins and ends; when the attempt fails while the call runs, the reservations stay open until its end is
    told late.

    Args:
        timed: Whether the call has a timeout, and so may be given up.
        in_task: Whether it runs in a task, whose cancellation nobody tells late.
    """

    def __init__(self, reservations: list[Reservation], *, timed: bool, in_task: bool) -> None:
        self._reservations = reservations
        self._timed = timed
        self._in_task = in_task
        self._lock = Lock()
        self._state = "new"
        self._own: BaseException | None = None  # what the call itself ended with
        self._given_up = False

    # --- told by the call itself, in the thread or task that runs it ---

    def began(self) -> None:
        """The call begins."""
        self._state = "runs"

    def ended(self, error: BaseException | None) -> None:
        """The call has ended: with an answer, or with *error*."""
        with self._lock:
            self._state, self._own = "ended", error
            nobody_tells = self._given_up and self._in_task and _is_cancellation(error)
        if nobody_tells:
            for reservation in self._reservations:
                reservation.end_soon(None, error)

    # --- told by who waits ---

    def settle(self, usage: UsageSnapshot) -> None:
        """The turn came back; one that does not say what it used is counted by what was sent."""
        for reservation in self._reservations:
            if reservation.state == "open":
                reservation.fail() if usage == _ZERO else reservation.settle(usage)

    async def asettle(self, usage: UsageSnapshot) -> None:
        """:meth:`settle` for tasks."""
        for reservation in self._reservations:
            if reservation.state == "open":
                await (reservation.afail() if usage == _ZERO else reservation.asettle(usage))

    def fail(self, error: BaseException) -> None:
        """The turn did not come back."""
        if isinstance(error, Exception) and self._is_told_late(error):
            return  # after Ctrl-C nobody may be there any more to be told
        for reservation in self._reservations:
            reservation.fail(error)

    async def afail(self, error: BaseException) -> None:
        """:meth:`fail` for tasks."""
        if not self._is_told_late(error):
            for reservation in self._reservations:
                await reservation.afail(error)

    def _is_told_late(self, error: BaseException) -> bool:
        if not self._timed:
            return False
        with self._lock:
            if self._state == "runs":
                self._given_up = True
                return True
            if self._state == "new" or self._own is error:
                return False
            return not (self._in_task and _is_cancellation(self._own))

    # --- told by a stream, at its end ---

    def end_stream(
        self, usage: UsageSnapshot | None, error: BaseException | None, certainty: str
    ) -> list[Future[Any]]:
        """It used *usage*, or nobody knows and it ended with *error*; gives what is still being written.

        It may end wherever it is collected, and so where no loop runs.
        """
        writing = []
        for reservation in self._reservations:
            if reservation.state != "open":
                continue
            if self._in_task and _in_loop():
                future = reservation.end_soon(usage, error, certainty=certainty)
                writing += [] if future is None else [future]
            elif usage is None:
                reservation.fail(error)
            else:
                reservation.settle(usage, certainty=certainty, failure=failure_of(error))
        return writing

    # --- told late ---

    def late(self, usage: UsageSnapshot | None, error: BaseException | None) -> None:
        """The call that nobody waited for has ended, in its own thread or on the loop."""
        known = None if usage == _ZERO else usage
        for reservation in self._reservations:
            if reservation.state != "open":
                continue
            if self._in_task:
                reservation.end_soon(known, error)
            elif known is None:
                reservation.fail(error)
            else:
                reservation.settle(known)


def _is_cancellation(error: BaseException | None) -> bool:
    from asyncio import CancelledError

    return isinstance(error, CancelledError)


def _in_loop() -> bool:
    from asyncio import get_running_loop

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


class SessionSpending:
    """What one session spends, for whom, and what its budget has left."""

    def __init__(self, config: Orchestrator, run_id: str, parent_id: str | None) -> None:
        self._budgets: list[Budget] = []
        ledger, budget = config.ledger, config.budget
        if budget is not None:
            self._budgets.append(budget)
        if ledger is not None and (budget is None or not same_books(budget.ledger, ledger)):
            self._budgets.append(Budget(f"session/{config.role}/{config.phase}", ledger=ledger))
        self._ledger: SpendLedger | None = ledger
        self._budget = budget
        self._project = config.project_id
        self._session = run_id
        self._run = parent_id or run_id

    @property
    def forgets(self) -> bool:
        """Whether a budget has no ledger, and so begins at nothing in each process."""
        return any(budget.ledger is None for budget in self._budgets)

    def begins(self, key: str) -> None:
        """That step of the journal begins: the budgets hear of it from its call."""
        for budget in self._budgets:
            if budget.ledger is None:
                begins(budget, self._session, key)

    def on_record(self, step: Step, counts: Mapping[str, int]) -> None:
        """That step happened in an earlier life; budgets that have not counted it do so now."""
        used, cost = UsageSnapshot.from_dict(step.usage or {}), Fraction(step.cost_picodollars)
        for budget in self._budgets:
            if budget.ledger is None:
                recount(budget, self._session, step.key, counts, used, cost, step.at_s)

    def begin(self, terms: TurnTerms) -> TurnSpend:
        """Reserve one attempt everywhere, or nowhere."""
        made: list[Reservation] = []
        try:
            for budget, asked in self._asked(terms):
                made.append(budget.reserve(**asked))
        except BaseException:
            for reservation in made:
                reservation.release()
            raise
        return TurnSpend(made, timed=terms.timeout is not None, in_task=False)

    async def abegin(self, terms: TurnTerms) -> TurnSpend:
        """:meth:`begin` for tasks."""
        made: list[Reservation] = []
        try:
            for budget, asked in self._asked(terms):
                made.append(await budget.areserve(**asked))
        except BaseException:
            for reservation in made:
                await reservation.arelease()
            raise
        return TurnSpend(made, timed=terms.timeout is not None, in_task=True)

    def _asked(self, terms: TurnTerms) -> Iterator[tuple[Budget, _Asked]]:
        model, usage, _, timeout, prompt, input_tokens, max_output_tokens, *_ = terms
        if input_tokens is None and usage is not None:
            input_tokens = input_of(usage)
        if max_output_tokens is None and usage is not None:
            max_output_tokens = output_of(usage)
        if input_tokens is None and prompt is not None:
            input_tokens = estimate_input_tokens(prompt)
        for budget in self._budgets:
            if input_tokens is None and budget.limited & _BOUND_BY_INPUT:
                raise ValueError(
                    f"input_tokens must be given: {budget.name!r} limits what a turn may use; give "
                    "run_turn input_tokens=… (see estimate_input_tokens), prompt=… or usage=…"
                )
            yield (
                budget,
                {
                    "model": named(model) or None,
                    "input_tokens": input_tokens or 0,
                    "max_output_tokens": max_output_tokens,
                    "project": self._project,
                    "session": self._session,
                    "run": self._run,
                    "model_calls": 1,
                    "attempts": 1,
                    "turns": 1,
                    "wall_seconds": timeout,
                },
            )

    def tool(self) -> None:
        """Count one tool call, or refuse it."""
        budget = self._budget
        if budget is not None and "tool_calls" in budget.limited:
            # A tool call counts once it starts, whatever becomes of it.
            budget.reserve(tool_calls=1, wall_seconds=0).settle(_ZERO)

    async def atool(self) -> None:
        """:meth:`tool` for tasks."""
        budget = self._budget
        if budget is not None and "tool_calls" in budget.limited:
            await (await budget.areserve(tool_calls=1, wall_seconds=0)).asettle(_ZERO)

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
