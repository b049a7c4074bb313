"""End a reservation: write what the call used, tell what came of it, and lose neither to a bad disk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from techrevati.runtime._core.labels import sayable
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.worker import ended, on_loop
from techrevati.runtime.stores.errors import StoreError
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from decimal import Decimal

    from techrevati.runtime._core.tally import Amounts, Lease
    from techrevati.runtime._core.worker import Worker
    from techrevati.runtime.budgets.book import Book, Charge, Crossings, Records
    from techrevati.runtime.budgets.telling import Telling

UNNAMED = "(unnamed)"


class Ends:
    """The end of one budget's reservations, in each colour.  Thread-safe.

    Args:
        book, ledger: Where it is written.
        telling: Who is told.
        worker: The ledger's thread for tasks; None where writing does not block.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        book: Book,
        ledger: Records | None,
        telling: Telling,
        worker: Worker | None,
        clock: Callable[[], float],
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._telling = telling
        self._worker = worker
        self._clock = clock

    def now(
        self,
        charges: Sequence[Charge],
        lease: Lease,
        actual: Amounts,
        usage: UsageSnapshot | None,
        cost: float | Decimal | None,
        certainty: str,
        failure: str = "",
    ) -> None:
        """Write the end of a lease and tell of it; once the result is paid for, a disk that fails raises
        nothing."""
        found = self._written(charges, lease, actual, usage, cost, certainty, failure)
        if found is not None:
            self._telling.end(charges, lease, actual, found)

    async def awaited(
        self,
        charges: Sequence[Charge],
        lease: Lease,
        actual: Amounts,
        usage: UsageSnapshot | None,
        cost: float | Decimal | None,
        certainty: str,
        failure: str = "",
    ) -> None:
        """:meth:`now` for tasks.  Cancelled, it still ends the lease; listeners are called by the loop."""
        future = self.soon(charges, lease, actual, usage, cost, certainty, failure)
        if future is not None:
            await ended(future)
            future.result()

    def soon(
        self,
        charges: Sequence[Charge],
        lease: Lease,
        actual: Amounts,
        usage: UsageSnapshot | None,
        cost: float | Decimal | None,
        certainty: str,
        failure: str = "",
    ) -> Future[Crossings | None] | None:
        """Have the end of a lease written and told; None when that is done already."""
        worker = self._worker
        if worker is None:
            self.now(charges, lease, actual, usage, cost, certainty, failure)
            return None
        import asyncio

        loop = asyncio.get_running_loop()

        def tell(future: Future[Crossings | None]) -> None:
            error = future.exception()
            if error is not None:
                logger("budgets").warning("a settlement failed: %s: %s", type(error).__name__, error)
                return
            found = future.result()
            if found or _overrun(lease, actual):
                on_loop(loop, partial(self._telling.end, charges, lease, actual, found or ()))

        written = partial(self._written, charges, lease, actual, usage, cost, certainty, failure)
        future = worker.submit(written)
        future.add_done_callback(tell)
        return future

    def _written(
        self,
        charges: Sequence[Charge],
        lease: Lease,
        actual: Amounts,
        usage: UsageSnapshot | None,
        cost: float | Decimal | None,
        certainty: str,
        failure: str = "",
    ) -> Crossings | None:
        """Write the end of a lease; None when it waits for the disk and will be told later."""
        ledger, book = self._ledger, self._book
        if ledger is None:
            return book.settle(charges, lease, actual, None)
        booking: dict[str, object] | None = None
        if usage is not None and (lease.about.get("model") or usage != UsageSnapshot()):
            model = lease.about.get("model") or sayable(usage.model or UNNAMED)
            booking = {
                **lease.about,
                "model": model,
                "key": lease.key,
                "usage": usage,
                "certainty": certainty,
            }
            if failure:
                booking["failure"] = failure
            if cost is not None:
                booking["cost"] = cost
        try:
            return book.settle(charges, lease, actual, booking)
        except StoreError as error:
            keep = getattr(ledger, "keep_settlement", None)
            if keep is None:
                raise
            logger("budgets").warning("a settlement waits for the disk: %s", error)
        if booking is not None:
            booking["at_s"] = self._clock()  # it is of this moment, and at its price, whenever it is written

        def settle_later() -> None:
            found = book.settle(charges, lease, actual, booking)
            self._telling.end(charges, lease, actual, found)

        keep(settle_later)
        return None


def _overrun(lease: Lease, actual: Amounts) -> bool:
    asked = lease.asked
    for unit, amount in actual.items():  # noqa: SIM110
        if amount > asked.get(unit, 0):
            return True
    return False
