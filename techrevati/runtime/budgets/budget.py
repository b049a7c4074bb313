"""A budget: limits for a window, what was settled and reserved in it, and who else is charged with it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import BudgetExceededError
from techrevati.runtime._core.log import announce, logger
from techrevati.runtime._core.tally import TALLY_PREFIX, UNITS, USD, Lease, Refusal
from techrevati.runtime.agent_events import AgentEvent, AgentEventName, AgentEventStatus
from techrevati.runtime.budgets.book import Charge, MemoryBook, RecordBook
from techrevati.runtime.budgets.renewal import Renewal
from techrevati.runtime.budgets.reservation import Reservation
from techrevati.runtime.budgets.windows import PERIODS, Window, window
from techrevati.runtime.pricing import (
    decimal_usd,
    output_limit,
    picodollars,
    usd,
    worst_case_picodollars,
)
from techrevati.runtime.stores.errors import StoreError
from techrevati.runtime.usage import UsageSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from techrevati.runtime._core.tally import Amount, Amounts
    from techrevati.runtime.budgets.book import Book, Crossing, Crossings, Records

    class EventTaker(Protocol):
        """Takes events, as every event sink does."""

        def emit(self, event: AgentEvent) -> None:
            """Take one event."""
            ...


announce("budgets")

ON_DOUBT = ("hold", "estimate", "release")
LEASE_S = 120.0
DEFAULT_PROJECT = "default"
UNNAMED = "(unnamed)"
_memory = MemoryBook()
_numbers = count(1)


class BudgetThreshold(NamedTuple):
    """A budget has reached a share of a limit; told once a window.

    Attributes:
        budget, window, unit: Which budget, which window of it, which limit.
        percent: 50, 80 or 100.
        used, limit: In US dollars for "usd", in seconds for "wall_seconds", else counted.
    """

    budget: str
    window: str
    unit: str
    percent: int
    used: Decimal | int
    limit: Decimal | int


class BudgetSnapshot(NamedTuple):
    """A budget at one moment; amounts by unit ("usd" in US dollars, "wall_seconds" in seconds).

    Attributes:
        settled, reserved, limits: What was used, what is reserved, what is allowed.
        window: Which window, "total" for one that never ends.
    """

    name: str
    window: str
    limits: Mapping[str, Decimal | int]
    settled: Mapping[str, Decimal | int]
    reserved: Mapping[str, Decimal | int]

    def remaining(self, unit: str = USD) -> Decimal | int:
        """What may still be reserved of a limited unit; below 0 when it is overspent."""
        return self.limits[unit] - self.settled.get(unit, 0) - self.reserved.get(unit, 0)


class Budget:
    """Limits that concurrent calls can never exceed together.  Safe for threads and tasks; with a *ledger*
    also for processes.

    Args:
        name: In a ledger, budgets of one name are one budget.
        limit_usd: US dollars a window; a model that nothing prices is then refused.
        per: None, "minute", "hour", "day" or "month": UTC calendar windows.  A call counts in the window
            in which it was reserved.
        limits: Limits of other units: "input_tokens" (cached ones included), "output_tokens",
            "reasoning_tokens", "total_tokens", "model_calls", "attempts", "tool_calls", "delegated_tasks",
            "turns", "wall_seconds".
        ledger: A ``SpendLedger``: reservations live in its file, settled calls are recorded there.
        on_doubt: What becomes of a reservation whose process died: "hold" counts it in full until
            ``ledger.resolve``; "estimate" counts its input; "release" gives it back.
        lease_seconds: How long a silent holder is believed to be alive; > 0.
        on_threshold: Called once a window at 50, 80 and 100 % of each limit, after every lock is released.
        event_sink: Is told thresholds and overruns.
        clock: Seconds since 1970.

    Raises:
        ValueError, TypeError: An argument is out of range; the text names it.
    """

    def __init__(
        self,
        name: str,
        limit_usd: float | Decimal | None = None,
        per: str | None = None,
        limits: Mapping[str, float] | None = None,
        ledger: Records | None = None,
        *,
        on_doubt: str = "hold",
        lease_seconds: float = LEASE_S,
        on_threshold: Callable[[BudgetThreshold], object] | None = None,
        event_sink: EventTaker | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name: str = arguments.text("name", name)
        if per is not None and per not in PERIODS:
            raise ValueError(f"per must be None or one of {', '.join(PERIODS)}; got {per!r}")
        self.per: str | None = per
        self._limits = _exact_limits(limit_usd, limits)
        self.ledger: Records | None = ledger
        if ledger is not None and not callable(getattr(ledger, "transact", None)):
            raise TypeError(f"ledger must be a SpendLedger, got {ledger!r}")
        if on_doubt not in ON_DOUBT:
            raise ValueError(f"on_doubt must be one of {', '.join(ON_DOUBT)}; got {on_doubt!r}")
        self._on_doubt = on_doubt
        self._lease_s = arguments.positive("lease_seconds", lease_seconds)
        self._on_threshold = on_threshold
        self._event_sink = event_sink
        self._clock = clock
        self._monotonic = monotonic
        self._book: Book = _memory if ledger is None else RecordBook(ledger)
        # Budgets of one process are told apart by themselves, those of a ledger by their names.
        self._id = f"{name}#{next(_numbers)}" if ledger is None else name
        self.parent: Budget | None = None
        self._chain: tuple[Budget, ...] = (self,)
        self._units: frozenset[str] = frozenset(self._limits)
        self._window = Window("", 0.0, 0.0)
        self._charge = Charge("", self._limits, 0.0)
        self._renewal = None if ledger is None else Renewal(self._lease_s, self._renew)
        self._holder = ""

    @property
    def limited(self) -> frozenset[str]:
        """The units that this budget or one above it limits."""
        return self._units

    def child(
        self,
        name: str,
        limit_usd: float | Decimal | None = None,
        limits: Mapping[str, float] | None = None,
        per: str | None = None,
    ) -> Budget:
        """A budget inside this one, for a sub-agent or one run: what it reserves is reserved here, too.

        In a ledger its name is this one's, a slash and *name*.
        """
        made = Budget(
            f"{self.name}/{name}",
            limit_usd,
            per,
            limits,
            self.ledger,
            on_doubt=self._on_doubt,
            lease_seconds=self._lease_s,
            on_threshold=self._on_threshold,
            event_sink=self._event_sink,
            clock=self._clock,
            monotonic=self._monotonic,
        )
        made.parent = self
        made._chain = (made, *self._chain)
        made._units = made._units | self._units
        return made

    # --- reserving ------------------------------------------------------------------------------------------

    def reserve(
        self,
        *,
        model: str | None = None,
        input_tokens: int = 0,
        max_output_tokens: int | None = None,
        project: str | None = None,
        key: str | None = None,
        user: str | None = None,
        session: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        provider: str | None = None,
        tier: str | tuple[str, ...] | None = None,
        max_cost_usd: float | Decimal | None = None,
        web_searches: int = 0,
        model_calls: int | None = None,
        attempts: int | None = None,
        tool_calls: int = 0,
        delegated_tasks: int = 0,
        turns: int = 0,
        wall_seconds: float | None = None,
        also: Budget | Sequence[Budget] = (),
    ) -> Reservation:
        """Take the most that a call may use out of this budget, its parents and *also*: all or none.

        A call of a model is one model call and one physical attempt: reserve once for each attempt, as each
        may be billed.

        Args:
            model, provider, tier: For the price; see ``cost_usd``.
            input_tokens: An upper bound, cached tokens included; see ``estimate_input_tokens(request)``.
            max_output_tokens: What the request allows; None takes the model's own limit.
            project, user, session, run, tags, key: For the ledger's record.
            max_cost_usd: The most it may cost, instead of the price book's worst case.
            tool_calls, delegated_tasks, turns: Reserved without a model unless one is given.
            wall_seconds: The most time it may take; needed where that is limited.
            also: Further budgets (a user's, a project's) that it is charged to together with this one.

        Raises:
            BudgetExceededError: It does not fit; ``reason`` "spent" or "busy", with ``retry_after``.
            UnknownModelError, UnknownPriceError: Money is limited and nothing prices the model.
            ValueError, TypeError: Something that is limited has no bound; the text says what to give.
            StoreError: The ledger cannot be used; nothing was reserved.
        """
        chain = self._chain
        units = self._units
        if also:
            chain, units = self._with(also)
        is_call = model is not None or not (tool_calls or delegated_tasks or turns)
        asked: dict[str, Amount] = {}
        if units:
            asked = self._worst_case(
                units,
                is_call,
                model,
                input_tokens,
                max_output_tokens,
                provider,
                tier,
                max_cost_usd,
                web_searches,
                wall_seconds,
            )
            one = 1 if is_call else 0
            for unit, amount in (
                ("model_calls", one if model_calls is None else model_calls),
                ("attempts", one if attempts is None else attempts),
                ("tool_calls", tool_calls),
                ("delegated_tasks", delegated_tasks),
                ("turns", turns),
            ):
                if amount and unit in units:
                    asked[unit] = arguments.count(unit, amount)
            asked = {unit: asked.get(unit, 0) for unit in units}  # what is limited is counted at the end
        now_s = self._clock()
        charges = [budget._charge_at(now_s) for budget in chain]
        about: dict[str, object] = {
            "model": model,
            "provider": provider,
            "tier": tier,
            "input_tokens": input_tokens,
        }
        if self.ledger is not None:
            about = self._about(model, provider, tier, project, user, session, run, tags)
            about["input_tokens"] = input_tokens
        lease = Lease(
            key if key is not None else f"{_process()}-{next(_numbers):x}",
            tuple([charge.tally for charge in charges]),
            asked,
            now_s,
            now_s + self._lease_s,
            _process(),
            about,
            self._on_doubt,
        )
        refused = self._book.reserve(charges, lease)
        if refused is not None:
            if self._sweep(now_s):
                refused = self._book.reserve(charges, lease)
            if refused is not None:
                raise self._exceeded(chain[refused.charge], charges[refused.charge], refused.why, now_s)
        made = Reservation(self, charges, lease, input_tokens, self._monotonic())
        if self._renewal is not None:
            self._renewal.watch(made)
        return made

    async def areserve(self, **call: object) -> Reservation:
        """:meth:`reserve` without blocking the event loop while a ledger is written.

        A cancelled wait gives back what was reserved meanwhile.
        """
        if self.ledger is None:
            return self.reserve(**call)  # type: ignore[arg-type]
        import asyncio
        from functools import partial

        loop = asyncio.get_running_loop()
        made = loop.run_in_executor(None, partial(self.reserve, **call))  # type: ignore[arg-type]
        try:
            return await asyncio.shield(made)
        except asyncio.CancelledError:
            made.add_done_callback(_give_back)
            raise

    def _worst_case(
        self,
        units: frozenset[str],
        is_call: bool,
        model: str | None,
        input_tokens: int,
        max_output_tokens: int | None,
        provider: str | None,
        tier: str | tuple[str, ...] | None,
        max_cost_usd: float | Decimal | None,
        web_searches: int,
        wall_seconds: float | None,
    ) -> dict[str, Amount]:
        asked: dict[str, Amount] = {}
        if type(input_tokens) is not int or input_tokens < 0:
            input_tokens = arguments.count("input_tokens", input_tokens)
        if (
            is_call
            and (units & _NEED_OUTPUT)
            and not (units & _NEED_OUTPUT <= _ONLY_USD and max_cost_usd is not None)
        ):
            if max_output_tokens is None:
                max_output_tokens = None if model is None else output_limit(model, provider=provider)
                if max_output_tokens is None:
                    raise ValueError(
                        f"max_output_tokens must be given: {self.name!r} limits "
                        f"{', '.join(sorted(units & _NEED_OUTPUT))}, and how much {model!r} may generate is "
                        "not known; give the request a maximum and reserve it"
                    )
            elif type(max_output_tokens) is not int or max_output_tokens < 0:
                max_output_tokens = arguments.count("max_output_tokens", max_output_tokens)
        output = max_output_tokens or 0
        if USD in units:
            if max_cost_usd is not None:
                arguments.number("max_cost_usd", max_cost_usd)
                asked[USD] = picodollars(max_cost_usd)
            elif model is not None:
                asked[USD] = worst_case_picodollars(
                    model,
                    input_tokens=input_tokens,
                    max_output_tokens=output,
                    provider=provider,
                    tier=tier,
                    web_searches=web_searches,
                )
            elif is_call and (input_tokens or output):
                raise ValueError(
                    f"model must be given: {self.name!r} limits US dollars, and what is not named cannot be "
                    "priced; or give max_cost_usd"
                )
        if (is_call and len(units) > 1) or USD not in units:
            for unit, amount in (
                ("input_tokens", input_tokens),
                ("output_tokens", output),
                ("reasoning_tokens", output),
                ("total_tokens", input_tokens + output),
            ):
                if amount and unit in units:
                    asked[unit] = amount
        if "wall_seconds" in units:
            if wall_seconds is None:
                raise ValueError(
                    f"wall_seconds must be given: {self.name!r} limits it; reserve the timeout of the call"
                )
            asked["wall_seconds"] = _milliseconds("wall_seconds", wall_seconds)
        return asked

    def _with(self, also: Budget | Sequence[Budget]) -> tuple[tuple[Budget, ...], frozenset[str]]:
        others = (also,) if isinstance(also, Budget) else also
        if not isinstance(others, Iterable) or not all(isinstance(one, Budget) for one in others):
            raise TypeError(f"also must be a Budget or a sequence of them, got {also!r}")
        chain = list(self._chain)
        for other in others:
            if other.ledger is not self.ledger:
                raise ValueError(
                    f"also must be budgets of the same ledger, or all without one: {self.name!r} and "
                    f"{other.name!r} cannot be charged together"
                )
            chain += [one for one in other._chain if one not in chain]
        return tuple(chain), frozenset().union(*(one._limits for one in chain))

    def _about(
        self,
        model: str | None,
        provider: str | None,
        tier: str | tuple[str, ...] | None,
        project: str | None,
        user: str | None,
        session: str | None,
        run: str | None,
        tags: Mapping[str, str] | None,
    ) -> dict[str, object]:
        about = {
            "project": project or DEFAULT_PROJECT,
            "model": model or "",
            "provider": provider,
            "tier": tier,
            "user": user,
            "session": session,
            "run": run,
            "tags": None if tags is None else dict(tags),
        }
        return {name: value for name, value in about.items() if value is not None}

    def _charge_at(self, now_s: float) -> Charge:
        current = self._window
        if not current.start_s <= now_s < current.end_s:
            current = window(self.per, now_s)
            self._charge = Charge(f"{TALLY_PREFIX}{self._id}:{current.name}", self._limits, current.end_s)
            self._window = current
        return self._charge

    # --- ending ---------------------------------------------------------------------------------------------

    def _end(
        self,
        charges: Sequence[Charge],
        lease: Lease,
        actual: Amounts,
        usage: UsageSnapshot | None,
        cost: float | Decimal | None,
        certainty: str,
    ) -> None:
        """Write the end of a lease; once the result is paid for, a disk that fails raises nothing."""
        ledger = self.ledger
        booking: dict[str, object] | None = None
        if (
            ledger is not None
            and usage is not None
            and (lease.about.get("model") or usage != UsageSnapshot())
        ):
            model = lease.about.get("model") or usage.model or UNNAMED
            booking = {
                **lease.about,
                "model": model,
                "key": lease.key,
                "usage": usage,
                "certainty": certainty,
            }
            if cost is not None:
                booking["cost"] = cost

        def settle() -> None:
            crossings = self._book.settle(charges, lease, actual, booking)
            self._tell_end(charges, lease, actual, crossings)

        try:
            settle()
        except StoreError as error:
            keep = getattr(ledger, "keep_settlement", None)
            if keep is None:
                raise
            logger("budgets").warning("a settlement waits for the disk: %s", error)
            keep(settle)

    def _tell_end(
        self, charges: Sequence[Charge], lease: Lease, actual: Amounts, crossings: Crossings
    ) -> None:
        for crossing in crossings:
            self._tell_threshold(charges[crossing.charge], crossing)
        for unit, amount in actual.items():
            asked = lease.asked.get(unit, 0)
            if amount > asked and unit != "wall_seconds":
                self._tell_overrun(lease.key, unit, amount, asked)

    def _renew(self, lease: Lease, seconds: float | None = None) -> None:
        self._book.renew(lease, self._clock() + (self._lease_s if seconds is None else seconds))

    def _sweep(self, now_s: float) -> bool:
        """Let the policy decide over doubts; whether something was given back."""
        changed = False
        if self._on_doubt == "hold":
            return False
        for lease in self._book.leases():
            if not lease.in_doubt(now_s) or lease.on_doubt == "hold":
                continue
            if not any(one._id in tally for tally in lease.tallies for one in self._chain):
                continue
            charges = [Charge(tally, {}, float("inf")) for tally in lease.tallies]
            sent = lease.about.get("input_tokens", 0)
            lost = Reservation(self, charges, lease, sent if isinstance(sent, int) else 0, self._monotonic())
            lost.release() if lease.on_doubt == "release" else lost.fail()
            changed = True
        return changed

    # --- telling --------------------------------------------------------------------------------------------

    def _exceeded(self, budget: Budget, charge: Charge, why: Refusal, now_s: float) -> BudgetExceededError:
        waits = [charge.end_s - now_s] if charge.end_s != float("inf") else []
        if why.reason == "busy":
            waits += [
                max(0.0, lease.expires_at - now_s)
                for lease in self._book.leases()
                if charge.tally in lease.tallies and not lease.in_doubt(now_s)
            ]
        retry_after = min(waits) if waits else None
        used = why.settled + why.reserved
        money = why.unit == USD
        return BudgetExceededError(
            usd(why.limit) if money else 0.0,
            usd(used) if money else 0.0,
            limit=None if money else float(_shown(why.unit, why.limit)),
            used=None if money else float(_shown(why.unit, used)),
            unit=None if money else why.unit,
            reason=why.reason,
            retry_after=retry_after,
            budget=budget.name,
        )

    def _tell_threshold(self, charge: Charge, crossing: Crossing) -> None:
        unit, percent = crossing.unit, crossing.percent
        name, _, window_name = charge.tally.removeprefix(TALLY_PREFIX).partition(":")
        name = name.partition("#")[0]
        used, limit = _shown(unit, crossing.used), _shown(unit, charge.limits[unit])
        told = BudgetThreshold(name, window_name, unit, percent, used, limit)
        detail = f"{name}: {percent} % of the limit of {told.limit} {unit} is used"
        data = {
            "budget": name,
            "window": window_name,
            "unit": unit,
            "percent": percent,
            "used": str(told.used),
        }
        self._emit(AgentEventName.BUDGET_THRESHOLD, AgentEventStatus.RED, detail, data)
        if self._on_threshold is not None:
            try:
                self._on_threshold(told)
            except Exception as error:
                logger("budgets").warning("on_threshold raised %s", type(error).__name__)

    def _tell_overrun(self, key: str, unit: str, amount: Amount, asked: Amount) -> None:
        detail = (
            f"{self.name}: a call used {_shown(unit, amount)} {unit} where {_shown(unit, asked)} was reserved"
        )
        logger("budgets").warning("%s", detail)
        data = {"budget": self.name, "key": key, "unit": unit}
        self._emit(AgentEventName.BUDGET_OVERRUN, AgentEventStatus.RED, detail, data)

    def _emit(
        self, name: AgentEventName, status: AgentEventStatus, detail: str, data: Mapping[str, object]
    ) -> None:
        if self._event_sink is not None:
            try:
                self._event_sink.emit(AgentEvent(name, status, detail=detail, data=data))
            except Exception as error:
                logger("budgets").warning("event_sink.emit raised %s", type(error).__name__)

    def snapshot(self) -> BudgetSnapshot:
        """What was used and what is reserved in the window of this moment."""
        charge = self._charge_at(self._clock())
        tally = self._book.tally(charge.tally)
        return BudgetSnapshot(
            self.name,
            self._window.name,
            *(
                {unit: _shown(unit, amount) for unit, amount in amounts.items()}
                for amounts in (self._limits, tally.settled, tally.reserved)
            ),
        )

    def __repr__(self) -> str:
        return f"Budget({self.name!r}, per={self.per!r}, limits={sorted(self._limits)})"

    def __del__(self) -> None:
        if getattr(self, "ledger", self) is None and hasattr(self, "_id"):
            _memory.forget(f"{TALLY_PREFIX}{self._id}:")


_NEED_OUTPUT = frozenset({USD, "output_tokens", "reasoning_tokens", "total_tokens"})
_ONLY_USD = frozenset({USD})
_process_id: tuple[int, str] = (0, "")


def _process() -> str:
    """A name of this process that no other process has or will have."""
    global _process_id
    pid = os.getpid()
    if _process_id[0] != pid:
        _process_id = (pid, f"{pid}-{os.urandom(6).hex()}")
    return _process_id[1]


def _exact_limits(limit_usd: float | Decimal | None, limits: Mapping[str, float] | None) -> dict[str, Amount]:
    exact: dict[str, Amount] = {}
    if limit_usd is not None:
        arguments.number("limit_usd", limit_usd)
        exact[USD] = picodollars(limit_usd)
    for unit, limit in (limits or {}).items():
        if unit not in UNITS or unit == USD:
            allowed = ", ".join(name for name in UNITS if name != USD)
            raise ValueError(f"limits must be of {allowed}; got {unit!r}")
        if unit == "wall_seconds":
            exact[unit] = _milliseconds("wall_seconds", limit)
        else:
            exact[unit] = arguments.count(unit, limit)
    return exact


def _milliseconds(name: str, seconds: float) -> int:
    return -int(-arguments.number(name, seconds) * 1000 // 1)


def _shown(unit: str, amount: Amount) -> Decimal | int:
    if unit == USD:
        return decimal_usd(amount)
    return Decimal(int(amount)) / 1000 if unit == "wall_seconds" else int(amount)


def _give_back(made: object) -> None:
    from asyncio import Future

    assert isinstance(made, Future)
    if not made.cancelled() and made.exception() is None:
        made.result().release()
