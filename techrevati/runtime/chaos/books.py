"""The server's books: every request from its arrival to its end, and the bill.

One lock, never held while anything waits.  Old records are dropped and counted; totals are kept apart and
stay exact.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from threading import Condition
from typing import TYPE_CHECKING

from techrevati.runtime._core.log import logger
from techrevati.runtime.chaos.bill import FREE, NOTHING, Bill, BilledUsage, InjectedRecord, ModelBill, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal


def is_chat(record: InjectedRecord) -> bool:
    """True for a request to a model, whatever became of it."""
    return record.path.endswith(("/chat/completions", "/responses", "/messages", "/embeddings"))


class Books:
    """Records by sequence number; safe to read while the server writes."""

    def __init__(
        self,
        history: int,
        listener: Callable[[InjectedRecord], object] | None = None,
        *,
        cost: Callable[[InjectedRecord], Decimal | None] = lambda record: None,
        ended: Callable[[InjectedRecord], object] = lambda record: None,
    ) -> None:
        """*cost* is that of a record's usage; *ended* hears of every record before anybody else.

        Both are called under the lock and belong to the server, not to its users.
        """
        self._listener = listener
        self._cost = cost
        self._ended = ended
        self._changed = Condition()
        self._settled: deque[InjectedRecord] = deque(maxlen=history)
        self._running: dict[int, tuple[InjectedRecord, BilledUsage]] = {}
        self._models: dict[str, ModelBill] = {}
        self._dropped = 0
        self._dropped_chats = 0

    def opened(self, record: InjectedRecord, expected: BilledUsage = NOTHING) -> None:
        """Note a request that is under way; *expected* is its usage if all goes well."""
        with self._changed:
            self._running[record.sequence] = (record, expected)

    def generated(self, sequence: int, output_tokens: int) -> None:
        """Note how much of the answer is generated, and that the input was used."""
        with self._changed:
            record, expected = self._running[sequence]
            billed = replace(expected, output_tokens=output_tokens) if expected != NOTHING else NOTHING
            record = replace(record, billed=billed)
            cost = FREE if billed == NOTHING else self._cost(record)
            self._running[sequence] = (replace(record, cost_usd=cost), expected)

    def settled(self, sequence: int, outcome: Outcome, at_s: float) -> None:
        """Close a request; what was noted as generated is billed. A second time changes nothing."""
        with self._changed:
            found = self._running.pop(sequence, None)
            if found is None:
                return
            record = replace(found[0], outcome=outcome, ended_s=at_s)
            line = self._models.get(record.model, ModelBill())
            self._models[record.model] = line.with_request(record.billed, record.cost_usd)
            if len(self._settled) == self._settled.maxlen:
                self._dropped += 1
                self._dropped_chats += is_chat(self._settled[0])
            self._settled.append(record)
            self._ended(record)
            self._changed.notify_all()
        if self._listener is not None:
            try:
                self._listener(record)
            except Exception:
                logger("chaos").warning("the listener of a ChaosServer raised", exc_info=True)

    @property
    def dropped(self) -> int:
        """Records that the bounded history no longer has."""
        with self._changed:
            return self._dropped

    @property
    def dropped_chats(self) -> int:
        """Those of them that asked a model."""
        with self._changed:
            return self._dropped_chats

    def records(self) -> tuple[InjectedRecord, ...]:
        """All records kept, in the order of arrival, running ones included."""
        with self._changed:
            running = [record for record, _ in self._running.values()]
            return tuple(sorted([*self._settled, *running], key=lambda one: one.sequence))

    def bill(self) -> Bill:
        """The bill as it stands now."""
        with self._changed:
            return Bill.of(self._models, [record for record, _ in self._running.values()])

    def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is under way; False when that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)

    def each_running(self, act: Callable[[int], None]) -> None:
        """Call *act* with the number of every request under way."""
        with self._changed:
            numbers = list(self._running)
        for number in numbers:
            act(number)
