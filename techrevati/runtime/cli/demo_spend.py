"""The demo's requests on the books of a ledger, each from before it is sent, and the page about them.

Every physical request is a reservation of its own, made before it is sent and settled by its answer.  So a
request whose answer was lost on its way is on the books too: as an estimate, by what was sent.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from techrevati.runtime.budgets import Budget, Reservation, estimate_input_tokens
from techrevati.runtime.budgets.reservation import input_of
from techrevati.runtime.cli.report_page import page, timeline
from techrevati.runtime.cli.spend import show
from techrevati.runtime.failures import classify
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.stores import StoreError
from techrevati.runtime.usage import UsageNotFoundError, UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from techrevati.runtime._core.tally import Lease
    from techrevati.runtime.cli.conversation import Conversation
    from techrevati.runtime.cli.terminal import Terminal

LIMITS = {
    "model_calls": 1_000
}  # a run needs about 15; whose endpoint it is, and what that costs, is not known


def spend_files(events: Path) -> tuple[Path, Path]:
    """The ledger and the page, beside the events."""
    return events.with_name("spend.db"), events.with_name("report.html")


class Sums:
    """What records add up to.

    Attributes:
        calls, input_tokens, output_tokens: As counts; cached input included.
        cost_usd: Exactly.
    """

    def __init__(self) -> None:
        self.calls: int = 0
        self.input_tokens: int = 0
        self.output_tokens: int = 0
        self.cost_usd: Decimal = Decimal(0)

    def add(self, usage: UsageSnapshot, cost_usd: Decimal) -> None:
        """Count one record."""
        self.calls += 1
        self.input_tokens += input_of(usage)
        self.output_tokens += usage.output_tokens
        self.cost_usd += cost_usd


class Books:
    """The ledger of a run, open from its beginning to its end.

    A ledger that cannot be written is one line at the end; the run goes on without it.

    Args:
        events: Where the events are; the ledger lies beside them.
        project: What the run is about.
        run: The run's name; a new one when None.
        used_by: Says what a request whose answer was lost used, by its key; None where nobody can.

    Attributes:
        kept_by_guard: Whether a guarded client writes into them, so that attempts do not.
    """

    def __init__(
        self,
        events: Path,
        project: str,
        run: str | None = None,
        used_by: Callable[[str], UsageSnapshot | None] | None = None,
    ) -> None:
        self._events = events
        self._book, self._report = spend_files(events)
        self.project: str = project
        self.kept_by_guard: bool = False
        self._trouble: str = ""
        self._ledger: SpendLedger | None = None
        self._budget: Budget | None = None
        self.run: str = run or os.urandom(4).hex()
        self._used_by = used_by
        try:
            self._ledger = SpendLedger(self._book)
            self._budget = Budget("demo", per="day", limits=LIMITS, ledger=self._ledger)
        except (OSError, StoreError) as error:
            self._trouble = str(error)

    @property
    def ledger(self) -> SpendLedger | None:
        """Where it is written; None when it cannot be."""
        return None if self._trouble else self._ledger

    @property
    def budget(self) -> Budget | None:
        """What is reserved there; None when nothing can be."""
        return None if self._trouble else self._budget

    def attempt(self, model: str, role: str, session: str, talk: Conversation) -> BookedAttempt:
        """One physical request, for ``with``; reserved before it is sent."""
        if self._budget is None or self._trouble or self.kept_by_guard:
            return BookedAttempt(None)
        try:
            made = self._budget.reserve(
                model=model,
                input_tokens=estimate_input_tokens({"messages": talk.messages, "tools": talk.tools}),
                project=self.project,
                user=role,
                session=session,
                run=self.run,
            )
        except StoreError as error:
            self._trouble = str(error)
            return BookedAttempt(None)
        return BookedAttempt(made, self._used_by)

    def settle_doubts(self) -> int:
        """Settle what earlier processes of this run left open, by what the provider says; how many it was."""
        settled = 0
        for lease in self._open_leases():
            used = None if self._used_by is None else self._used_by(lease.key)
            if used is not None and self._ledger is not None:
                self._ledger.resolve(lease.key, usage=used)
                settled += 1
        return settled

    def unsettled(self) -> int:
        """How many reservations of this run are open: those of a process that died."""
        return len(self._open_leases())

    def _open_leases(self) -> list[Lease]:
        if self._ledger is None or self._trouble:
            return []
        return [lease for lease in self._ledger.leases() if lease.about.get("run") == self.run]

    def sums(self) -> tuple[Sums, Sums] | None:
        """What is measured of this run and what is estimated; None without a ledger."""
        if self._ledger is None or self._trouble:
            return None
        measured, estimated = Sums(), Sums()
        for record in self._ledger.records(run=self.run):
            (measured if record.certainty == "measured" else estimated).add(
                record.usage, record.cost or Decimal(0)
            )
        return measured, estimated

    def show(self, terminal: Terminal) -> None:
        """Print the sums of this ledger and write the page; trouble is one line."""
        terminal.title("Spend per project")
        try:
            if self._ledger is None or self._trouble:
                terminal.line(f"The spend is not on the books: {self._trouble}")
                return
            self._ledger.flush()
            show(terminal, self._ledger.by("project", "model"))
            told = timeline(str(self._events)) if self._events.is_file() else None
            text = page(self._ledger, told, {}, datetime.now(UTC))
            self._report.write_text(text, encoding="utf-8")
        except (OSError, StoreError) as error:
            terminal.line(f"The spend is not on the books: {error}")
            return
        terminal.line(f"Every request is on the books in {self._book}; {self._report} shows them.")

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()


class BookedAttempt:
    """One request on the books: from the worst case to what is known of it."""

    def __init__(
        self,
        reservation: Reservation | None,
        used_by: Callable[[str], UsageSnapshot | None] | None = None,
    ) -> None:
        self._reservation = reservation
        self._used_by = used_by

    @property
    def key(self) -> str:
        """What it is called on the books; "" when it is not there."""
        return "" if self._reservation is None else self._reservation.key

    def __enter__(self) -> Self:
        return self

    def answered(self, reply: object) -> None:
        """It came back; a reply that does not say what it used is counted by what was sent."""
        if self._reservation is None:
            return
        try:
            usage = UsageSnapshot.from_response(reply)
        except UsageNotFoundError:
            self._reservation.fail()
        else:
            self._reservation.settle(usage)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        reservation = self._reservation
        if reservation is None:
            return
        if isinstance(error, Exception) and self._used_by is not None and reservation.state == "open":
            used = self._used_by(reservation.key)
            if used is not None:  # the provider had answered, and bills it
                reservation.settle(used, failure=classify(error).kind.value)
        reservation.__exit__(kind, error, traceback)
