"""A budget: limits for a window, what was settled and reserved in it, and who else is charged with it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from techrevati.runtime._core import arguments
from techrevati.runtime._core.errors import BudgetExceededError
from techrevati.runtime._core.labels import checked_tags, short_text
from techrevati.runtime._core.log import announce
from techrevati.runtime._core.tally import TALLY_PREFIX, UNITS, USD, Lease
from techrevati.runtime._core.worker import ended
from techrevati.runtime.budgets.book import Charge, MemoryBook, RecordBook, same_books
from techrevati.runtime.budgets.ends import Ends
from techrevati.runtime.budgets.holder import holder
from techrevati.runtime.budgets.recounting import NotedSteps
from techrevati.runtime.budgets.renewal import Renewal, keeper_of
from techrevati.runtime.budgets.reservation import Reservation
from techrevati.runtime.budgets.telling import Telling
from techrevati.runtime.budgets.vocabulary import BudgetSnapshot, shown
from techrevati.runtime.budgets.windows import PERIODS, window
from techrevati.runtime.budgets.worst_case import WorstCase, milliseconds
from techrevati.runtime.pricing import picodollars, usd
from techrevati.runtime.pricing.quotes import check_tier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from concurrent.futures import Future
    from decimal import Decimal
    from typing import Concatenate, ParamSpec

    from techrevati.runtime._core.tally import Amount
    from techrevati.runtime._core.worker import Worker
    from techrevati.runtime.budgets.book import Book, Records, Refused
    from techrevati.runtime.budgets.telling import EventTaker
    from techrevati.runtime.budgets.vocabulary import BudgetThreshold

    P = ParamSpec("P")

announce("budgets")

ON_DOUBT = ("hold", "estimate", "release")
LEASE_S = 120.0
DEFAULT_PROJECT = "default"
_memory = MemoryBook()
# What this process still holds, of budgets that may give back a lease in doubt: its holder is not dead.
_held: WeakValueDictionary[tuple[str, str], Reservation] = WeakValueDictionary()
_numbers = count(1)
_new_lease = tuple.__new__


def _same_arguments(
    reserve: Callable[Concatenate[Budget, P], Reservation],
) -> Callable[
    [Callable[..., Awaitable[Reservation]]], Callable[Concatenate[Budget, P], Awaitable[Reservation]]
]:
    """Give a coroutine function the arguments of *reserve*, for checkers and for ``inspect``."""

    def decorate(
        areserve: Callable[..., Awaitable[Reservation]],
    ) -> Callable[Concatenate[Budget, P], Awaitable[Reservation]]:
        areserve.__wrapped__ = reserve  # type: ignore[attr-defined]
        return areserve

    return decorate


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
        self.name: str = arguments.name("name", name)
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
        self._telling = Telling(name, on_threshold, event_sink)
        self._clock = clock
        self._monotonic = monotonic
        self._book: Book = _memory if ledger is None else RecordBook(ledger)
        # Budgets of one process are told apart by themselves, those of a ledger by their names.
        self._id = f"{name}#{next(_numbers)}" if ledger is None else name
        self.parent: Budget | None = None
        self._chain: tuple[Budget, ...] = (self,)
        self._worst = WorstCase(name, frozenset(self._limits))
        # One tuple, so that no thread ever sees a window and the charge of another.
        self._current: tuple[float, float, Charge, tuple[Charge, ...], tuple[str, ...]] = (
            *(0.0, 0.0),
            *(Charge("", self._limits, 0.0), (), ()),
        )
        self._noted = NotedSteps()
        self._renewal = None if ledger is None else Renewal(self._lease_s, self._renew, keeper_of(ledger))
        # Where the ledger is a file, tasks must not wait for it on the thread of their loop.
        self._worker: Worker | None = getattr(ledger, "worker", None)
        self._ends = Ends(self._book, ledger, self._telling, self._worker, clock)

    @property
    def limited(self) -> frozenset[str]:
        """The units that this budget or one above it limits."""
        return self._worst.units

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
            on_threshold=self._telling.on_threshold,
            event_sink=self._telling.event_sink,
            clock=self._clock,
            monotonic=self._monotonic,
        )
        made.parent = self
        made._chain = (made, *self._chain)
        made._worst = WorstCase(made.name, made._worst.units | self._worst.units)
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
        audio: bool = False,
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
            web_searches: How many searches of the provider's own it may run.
            audio: Whether audio is sent to a model that answers in text; of one that speaks it is expected.
            tool_calls, delegated_tasks, turns: Reserved without a model unless one is given.
            wall_seconds: The most time it may take; needed where that is limited.
            also: Further budgets (a user's, a project's) that it is charged to together with this one.

        Raises:
            BudgetExceededError: It does not fit; ``reason`` "spent" or "busy", with ``retry_after``.
            UnknownModelError, UnknownPriceError: Money is limited and nothing prices the model.
            ValueError, TypeError: Something that is limited has no bound; the text says what to give.
            StoreError: The ledger cannot be used; nothing was reserved.
        """
        chain, worst = self._chain, self._worst
        if also:
            chain, worst = self._with(also)
        asked: dict[str, Amount] = {}
        if (
            model is not None
            and type(input_tokens) is int
            and type(max_output_tokens) is int
            and input_tokens | max_output_tokens >= 0
            and max_cost_usd is model_calls is attempts is None
            and not (web_searches or audio or tool_calls or delegated_tasks or turns or worst.is_timed)
        ):
            asked = worst.of_plain_call(model, input_tokens, max_output_tokens, provider, tier)
        elif worst.units:
            is_call = model is not None or not (tool_calls or delegated_tasks or turns)
            asked = worst.of_call(
                is_call,
                model,
                input_tokens,
                max_output_tokens,
                provider,
                tier,
                max_cost_usd,
                web_searches,
                wall_seconds,
                audio,
            )
            if worst.counts:
                one = 1 if is_call else 0
                given = {
                    "model_calls": one if model_calls is None else model_calls,
                    "attempts": one if attempts is None else attempts,
                    "tool_calls": tool_calls,
                    "delegated_tasks": delegated_tasks,
                    "turns": turns,
                }
                for unit in worst.counts:
                    amount = given[unit]
                    asked[unit] = amount if amount == 1 else arguments.count(unit, amount)
        if self.ledger is None:
            here = ""  # nobody else ever sees it
            about: dict[str, object] = {
                "model": model,
                "provider": provider,
                "tier": tier,
                "input_tokens": input_tokens,
            }
        else:
            about = _about(model, provider, tier, project, user, session, run, tags)
            if key is not None:
                short_text("key", key)
            about["input_tokens"] = arguments.count("input_tokens", input_tokens)
            here = holder()
        return self._taken(chain, worst.is_timed, asked, key, here, about)

    def _reserve_plain(
        self, model: str, input_tokens: int, max_output_tokens: int, provider: str | None
    ) -> Reservation | None:
        """:meth:`reserve` of a call with both bounds given, both whole and >= 0, in fewer steps; None where
        more must be said: time is limited, or there is a ledger."""
        worst = self._worst
        if worst.is_timed or self.ledger is not None:
            return None
        asked = worst.of_plain_call(model, input_tokens, max_output_tokens, provider, None)
        about: dict[str, object] = {
            "model": model,
            "provider": provider,
            "tier": None,
            "input_tokens": input_tokens,
        }
        return self._taken(self._chain, False, asked, None, "", about)

    def _taken(
        self,
        chain: Sequence[Budget],
        is_timed: bool,
        asked: dict[str, Amount],
        key: str | None,
        here: str,
        about: dict[str, object],
    ) -> Reservation:
        """The reservation of *asked* in every budget of *chain*, by the process *here*."""
        now_s = self._clock()
        start_s, end_s, _, charges, tallies = self._current
        if len(chain) > 1 or not start_s <= now_s < end_s:
            charges = tuple([budget._charge_at(now_s) for budget in chain])
            tallies = tuple([charge.tally for charge in charges])
        lease = _new_lease(
            Lease,  # not by its own constructor, which takes twice as long
            (
                f"{here}-{next(_numbers)}" if key is None else key,
                tallies,
                asked,
                now_s,
                now_s + self._lease_s,
                here,
                about,
                self._on_doubt,
            ),
        )
        refused = self._book.reserve(charges, lease, key is None)
        if refused is not None:
            if self._sweep(now_s):
                refused = self._book.reserve(charges, lease, key is None)
            if refused is not None:
                raise self._exceeded(chain[refused.charge], charges[refused.charge], refused, now_s)
        made = Reservation(self, charges, lease, self._monotonic() if is_timed else 0.0)
        if self._renewal is not None:
            self._renewal.watch(made)
        if self._on_doubt != "hold":
            _held[tallies[0], lease.key] = made
        return made

    @_same_arguments(reserve)
    async def areserve(self, *args: object, **call: object) -> Reservation:
        """:meth:`reserve` for tasks: while a ledger's file is written, the event loop goes on.

        A cancelled wait ends when what was reserved meanwhile is given back; cancelled twice, it ends at
        once, and the reservation is given back behind it.
        """
        worker = self._worker
        if worker is None:
            return self.reserve(*args, **call)  # type: ignore[arg-type]
        import asyncio

        future: Future[Reservation] = worker.submit(partial(self.reserve, *args, **call))  # type: ignore[arg-type]
        try:
            await ended(future, patient=False)
        except asyncio.CancelledError:
            if not future.cancel():
                await ended(worker.submit(partial(_give_back, future)))
            raise
        return future.result()

    def _with(self, also: Budget | Sequence[Budget]) -> tuple[tuple[Budget, ...], WorstCase]:
        others = (also,) if isinstance(also, Budget) else also
        if not isinstance(others, Iterable) or not all(isinstance(one, Budget) for one in others):
            raise TypeError(f"also must be a Budget or a sequence of them, got {also!r}")
        chain = list(self._chain)
        for other in others:
            if not same_books(other.ledger, self.ledger):
                raise ValueError(
                    f"also must be budgets of the same ledger, or all without one: {self.name!r} and "
                    f"{other.name!r} cannot be charged together"
                )
            chain += [one for one in other._chain if one not in chain]
        return tuple(chain), WorstCase(self.name, frozenset().union(*(one._limits for one in chain)))

    def _charge_at(self, now_s: float) -> Charge:
        start_s, end_s, charge, _, _ = self._current
        if not start_s <= now_s < end_s:
            found = window(self.per, now_s)
            key = f"{TALLY_PREFIX}{self._id}:{found.name}"
            charge = Charge(key, self._limits, found.end_s, self.name, found.name)
            self._current = (found.start_s, found.end_s, charge, (charge,), (key,))
        return charge

    def _renew(self, lease: Lease, seconds: float | None = None) -> None:
        self._book.renew(lease, self._clock() + (self._lease_s if seconds is None else seconds))

    def _sweep(self, now_s: float) -> bool:
        """Let the policy decide over doubts; whether something was given back."""
        changed = False
        if self._on_doubt == "hold":
            return False
        here = holder()
        for lease in self._book.leases():
            if not lease.in_doubt(now_s) or lease.on_doubt == "hold":
                continue
            if (lease.tallies[0], lease.key) in _held and lease.holder in ("", here):
                continue  # a long call, or a machine that slept
            if not any(one._id in tally for tally in lease.tallies for one in self._chain):
                continue
            charges = [Charge(tally, {}, float("inf")) for tally in lease.tallies]
            lost = Reservation(self, charges, lease, self._monotonic())
            lost.release() if lease.on_doubt == "release" else lost.fail()
            changed = True
        return changed

    # --- telling --------------------------------------------------------------------------------------------

    def _exceeded(
        self, budget: Budget, charge: Charge, refused: Refused, now_s: float
    ) -> BudgetExceededError:
        why = refused.why
        waits = [charge.end_s - now_s] if charge.end_s != float("inf") else []
        if why.reason == "busy":
            waits += [
                max(0.0, lease.expires_at - now_s)
                for lease in self._book.leases()
                if charge.tally in lease.tallies and not lease.in_doubt(now_s)
            ]
        never = why.asked > why.limit  # no window has room for it
        retry_after = min(waits) if waits and not never else None
        used = why.settled + why.reserved
        money = why.unit == USD
        return BudgetExceededError(
            usd(why.limit) if money else 0.0,
            usd(used) if money else 0.0,
            limit=None if money else float(shown(why.unit, why.limit)),
            used=None if money else float(shown(why.unit, used)),
            unit=None if money else why.unit,
            reason=why.reason,
            retry_after=retry_after,
            budget=budget.name,
            asked=usd(why.asked) if money else float(shown(why.unit, why.asked)),
        )

    def snapshot(self) -> BudgetSnapshot:
        """What was used and what is reserved in the window of this moment."""
        charge = self._charge_at(self._clock())
        tally = self._book.tally(charge.tally)
        return BudgetSnapshot(
            self.name,
            charge.window,
            *(
                {unit: shown(unit, amount) for unit, amount in amounts.items()}
                for amounts in (self._limits, tally.settled, tally.reserved)
            ),
        )

    def __repr__(self) -> str:
        return f"Budget({self.name!r}, per={self.per!r}, limits={sorted(self._limits)})"

    def __del__(self) -> None:
        if getattr(self, "ledger", self) is None and hasattr(self, "_id"):
            _memory.forget(f"{TALLY_PREFIX}{self._id}:")


def _about(
    model: str | None,
    provider: str | None,
    tier: str | tuple[str, ...] | None,
    project: str | None,
    user: str | None,
    session: str | None,
    run: str | None,
    tags: Mapping[str, str] | None,
) -> dict[str, object]:
    texts = {
        "project": project or DEFAULT_PROJECT,
        "model": model or None,
        "provider": provider,
        "user": user,
        "session": session,
        "run": run,
    }
    # Checked now: what the ledger does not take must not be found out when the call is paid for.
    about: dict[str, object] = {
        name: short_text(name, text) for name, text in texts.items() if text is not None
    }
    if tier is not None:
        check_tier(tier)
        about["tier"] = tier
    if tags is not None:
        about["tags"] = dict(checked_tags(tags) or {})
    return about


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
            exact[unit] = milliseconds("wall_seconds", limit)
        else:
            exact[unit] = arguments.count(unit, limit)
    return exact


def _give_back(made: Future[Reservation]) -> None:
    if made.exception() is None:
        made.result().release()
