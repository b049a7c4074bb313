"""One reservation: from the worst case to the truth, whatever happens to the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime._core.labels import CERTAINTIES, checked_certainty, optional_text
from techrevati.runtime._core.log import logger
from techrevati.runtime._core.tally import USD
from techrevati.runtime.budgets.worst_case import COUNTED
from techrevati.runtime.pricing import UnknownModelError, UnknownPriceError, picodollars
from techrevati.runtime.pricing.quotes import current_picodollars
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from decimal import Decimal
    from types import TracebackType
    from typing import Any, Self

    from techrevati.runtime._core.tally import Amount, Amounts, Lease
    from techrevati.runtime.budgets.book import Charge
    from techrevati.runtime.budgets.budget import Budget

NOTHING = UsageSnapshot()


class ReservationSettledError(TechrevatiError, RuntimeError):
    """A reservation was settled a second time; the first settlement stands."""

    def __init__(self, key: str, state: str) -> None:
        super().__init__(key, state)
        self.key = key
        self.state = state

    def __str__(self) -> str:
        return f"the reservation {self.key!r} is {self.state} already"


class Reservation:
    """What one call may use, taken out of every budget it concerns.  Thread-safe.

    Use it with ``with`` or ``async with`` and call :meth:`settle` when the usage is known.  Leaving the block
    without that gives everything back only if the exception proves that nothing was sent or billed; else the
    input that was sent is counted as estimated.

    Attributes:
        key: Becomes the key of the ledger's record.
        state: "open", "settled" or "released".
    """

    __slots__ = (
        "__weakref__",
        "_at_most",
        "_budget",
        "_charges",
        "_lease",
        "_started_s",
        "key",
        "state",
    )

    def __init__(
        self,
        budget: Budget,
        charges: Sequence[Charge],
        lease: Lease,
        started_s: float,
    ) -> None:
        self._budget = budget
        self._charges = charges
        self._lease = lease
        self._started_s = started_s
        self._at_most = False  # nothing prices the call: the reserved maximum is what it cost at most
        self.key: str = lease.key
        self.state: str = "open"

    @property
    def cost_usd(self) -> Decimal | None:
        """The reserved maximum in US dollars; None when no budget concerned limits money."""
        from techrevati.runtime.pricing import decimal_usd

        amount = self._lease.asked.get(USD)
        return None if amount is None else decimal_usd(amount)

    def settle(
        self,
        usage: UsageSnapshot,
        *,
        cost: float | Decimal | None = None,
        certainty: str = "measured",
        failure: str | None = None,
    ) -> None:
        """Count what was really used, give the rest back, and put it on the books.

        More than was reserved is counted in full, reported, and stops the next call.  Where US dollars were
        reserved and nothing prices what came of it (a tier that the book does not know), the reserved maximum
        is counted and recorded, as estimated.  A ledger that cannot
        be written keeps the settlement in memory and tries again (``ledger.pending``): nothing is raised,
        because the result is paid for.

        Args:
            usage: What the call used.
            cost: US dollars, if the caller knows better than the price book.
            certainty: "measured", "estimated" or "unknown".
            failure: What kind of failure ended the call, as ``classify`` names it; for reports.

        Raises:
            ReservationSettledError: It was settled or released before.
            TypeError, ValueError: An argument is out of range; the reservation stays open.
        """
        if (
            self.state != "open"
            or not isinstance(usage, UsageSnapshot)
            or certainty not in CERTAINTIES
            or cost is not None
            or failure
        ):
            self._check(usage, cost, certainty, failure)  # says what is wrong
        lease, budget = self._lease, self._budget
        asked = lease.asked
        if len(asked) == 1 and USD in asked:
            used = self._cost(usage, cost)
            actual: Amounts = {USD: used}
            overrun = used > asked[USD]
        else:
            actual = self._actual(usage, cost)
            overrun = any(amount > asked[unit] for unit, amount in actual.items())
        self.state = "settled"
        if budget.ledger is None:
            crossings = budget._book.settle(self._charges, lease, actual, None)
            if overrun or crossings:  # mostly there is nothing to tell
                budget._telling.end(self._charges, lease, actual, crossings)
        else:
            cost, certainty = self._known_cost(cost, certainty)
            budget._ends.now(self._charges, lease, actual, usage, cost, certainty, failure or "")

    async def asettle(
        self,
        usage: UsageSnapshot,
        *,
        cost: float | Decimal | None = None,
        certainty: str = "measured",
        failure: str | None = None,
    ) -> None:
        """:meth:`settle` for tasks: while a ledger's file is written, the event loop goes on.

        A cancelled wait still settles, and ends when that is done; cancelled twice, it ends at once.
        """
        self._check(usage, cost, certainty, failure)
        actual = self._settling(usage, cost)
        cost, certainty = self._known_cost(cost, certainty)
        await self._budget._ends.awaited(
            self._charges, self._lease, actual, usage, cost, certainty, failure or ""
        )

    def _check(
        self, usage: UsageSnapshot, cost: float | Decimal | None, certainty: str, failure: str | None
    ) -> None:
        """Refuse what the books do not take while the reservation can still be settled otherwise."""
        if not isinstance(usage, UsageSnapshot):
            raise TypeError(f"usage must be a UsageSnapshot, got {usage!r}")
        if self.state != "open":
            raise ReservationSettledError(self.key, self.state)
        if cost is not None:
            arguments.number("cost", cost)
        checked_certainty(certainty)
        if failure:
            optional_text("failure", failure)

    def _settling(self, usage: UsageSnapshot, cost: float | Decimal | None) -> Amounts:
        actual = self._actual(usage, cost)
        self.state = "settled"
        return actual

    def release(self) -> None:
        """Give everything back: nothing was sent.  After a settlement it does nothing."""
        if self.state == "open":
            self.state = "released"
            self._budget._ends.now(self._charges, self._lease, {}, None, None, "measured")

    async def arelease(self) -> None:
        """:meth:`release` for tasks; see :meth:`asettle`."""
        if self.state == "open":
            self.state = "released"
            await self._budget._ends.awaited(self._charges, self._lease, {}, None, None, "measured")

    def renew(self, seconds: float | None = None) -> None:
        """Say that the call still runs: the lease ends *seconds* from now (its own length when None).

        Reservations in a ledger are renewed by themselves while their process lives.
        """
        if self.state == "open":
            self._budget._renew(self._lease, seconds)

    def _actual(self, usage: UsageSnapshot, cost: float | Decimal | None) -> Amounts:
        asked = self._lease.asked
        if len(asked) == 1:
            (unit,) = asked
            if unit == USD:
                return {USD: self._cost(usage, cost)}
            if unit in COUNTED:
                return asked
        actual: dict[str, Amount] = {}
        output = -1
        for unit in asked:
            if unit == USD:
                actual[USD] = self._cost(usage, cost)
            elif unit in COUNTED:
                actual[unit] = asked[unit]
            elif unit == "wall_seconds":
                actual[unit] = round((self._budget._monotonic() - self._started_s) * 1000)
            else:
                if output < 0:
                    output = output_of(usage)
                if unit == "output_tokens":
                    actual[unit] = output
                elif unit == "reasoning_tokens":
                    actual[unit] = usage.reasoning_tokens
                else:
                    given = input_of(usage)
                    actual[unit] = given if unit == "input_tokens" else given + output
        return actual

    def _cost(self, usage: UsageSnapshot, cost: float | Decimal | None) -> Amount:
        if cost is not None:
            return picodollars(cost)
        if usage.reported_cost_usd is not None:
            return picodollars(usage.reported_cost_usd)
        about = self._lease.about.get
        model, tier = about("model") or usage.model, about("tier")
        if type(model) is not str and not isinstance(model, str):
            return self._lease.asked.get(USD, 0) if usage != NOTHING else 0
        if type(tier) is list:  # a lease out of a ledger
            tier = tuple(tier)
        try:
            return current_picodollars(model, usage, about("provider"), tier)  # type: ignore[arg-type]
        except (UnknownModelError, UnknownPriceError):
            # What it cost is not known: the reserved maximum is the only amount that cannot be too little.
            logger("budgets").warning("no price for model %r: the reserved maximum is counted", model)
            self._at_most = True
            return self._lease.asked.get(USD, 0)

    def _known_cost(self, cost: float | Decimal | None, certainty: str) -> tuple[float | Decimal | None, str]:
        """What the books say: where nothing prices the call, the same as the budget counts."""
        if not self._at_most:
            return cost, certainty
        return self.cost_usd, "estimated" if certainty == "measured" else certainty

    # --- leaving --------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.state != "open":
            return
        self.fail(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.afail(error)

    def fail(self, error: BaseException | None = None) -> None:
        """End it without a usage: what *error* does not prove unsent or unbilled is counted as sent.

        A request that the provider refused counts as a call and an attempt and costs nothing; one that was
        never sent is given back; of anything else the input is counted, as estimated, or as unknown if
        nobody said how much that is.
        """
        known = self._known_of(error)
        if known is not None:
            usage, certainty, failure = known
            self.release() if usage is None else self.settle(usage, certainty=certainty, failure=failure)

    async def afail(self, error: BaseException | None = None) -> None:
        """:meth:`fail` for tasks; see :meth:`asettle`."""
        known = self._known_of(error)
        if known is not None:
            usage, certainty, failure = known
            if usage is None:
                await self.arelease()
            else:
                await self.asettle(usage, certainty=certainty, failure=failure)

    def end_soon(
        self,
        usage: UsageSnapshot | None,
        error: BaseException | None = None,
        *,
        certainty: str = "measured",
    ) -> Future[Any] | None:
        """Settle it, or :meth:`fail` with *error*, from the thread of an event loop without waiting.

        An end that cannot be written yet is written later; see :meth:`settle`.  Gives what is still being
        written.
        """
        known = self._known_of(error) if usage is None else (usage, certainty, failure_of(error))
        if known is None or self.state != "open":
            return None
        used, certainty, failure = known
        actual: Amounts = {}
        if used is None:
            self.state = "released"
        else:
            actual = self._settling(used, None)
        cost, certainty = self._known_cost(None, certainty)
        return self._budget._ends.soon(self._charges, self._lease, actual, used, cost, certainty, failure)

    def _known_of(self, error: BaseException | None) -> tuple[UsageSnapshot | None, str, str] | None:
        """The usage of a call that ended with *error*, how it is known, and the kind of failure; no usage:
        it was never sent.

        None when the reservation has ended.
        """
        if self.state != "open":
            return None
        if error is not None:
            from techrevati.runtime.budgets.evidence import Proof, proof

            found = proof(error)
            if found is Proof.UNSENT:
                return None, "", ""
            if found is Proof.UNBILLED:
                return NOTHING, "measured", failure_of(error)
        sent = self._lease.about.get("input_tokens")
        if sent and isinstance(sent, int):
            return UsageSnapshot(sent), "estimated", failure_of(error)
        return NOTHING, "unknown", failure_of(error)

    def __repr__(self) -> str:
        return f"Reservation({self.key!r}, {self.state})"


def failure_of(error: BaseException | None) -> str:
    """The kind of failure that *error* is, for the books; "" for none."""
    if error is None:
        return ""
    from techrevati.runtime.failures import classify

    return classify(error).kind.value


def input_of(usage: UsageSnapshot) -> int:
    """Every token given to the model, cached ones included."""
    return (
        usage.input_tokens
        + usage.cache_write_tokens
        + usage.cache_read_tokens
        + usage.cache_write_1h_tokens
        + usage.input_audio_tokens
        + usage.input_image_tokens
    )


def output_of(usage: UsageSnapshot) -> int:
    """Every token that the model made; reasoning and images are among them."""
    return usage.output_tokens + usage.output_audio_tokens
