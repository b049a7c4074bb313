"""Budgets: what is refused and why, what a call that ends in any way leaves behind, leases and doubts."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from techrevati.runtime._core.tally import UNITS, Tally, refusal, settle
from techrevati.runtime.agent_events import AgentEventName
from techrevati.runtime.budgets import (
    Budget,
    BudgetExceededError,
    BudgetSnapshot,
    BudgetThreshold,
    ReservationSettledError,
    estimate_input_tokens,
)
from techrevati.runtime.budgets.renewal import Keeper, Renewal
from techrevati.runtime.budgets.worst_case import WorstCase, milliseconds
from techrevati.runtime.circuit_breaker import CircuitOpenError
from techrevati.runtime.ledger import SpendLedger, UnknownReservationError
from techrevati.runtime.pricing import (
    PRICING_TABLE,
    ModelPricing,
    UnknownModelError,
    UnknownPriceError,
    cost_usd,
    register_pricing,
)
from techrevati.runtime.sinks import RingBufferEventSink
from techrevati.runtime.testing import FakeClock
from techrevati.runtime.usage import UsageSnapshot

MODEL = "budget-small"
DAY = 86_400.0
NOON = 20_000 * DAY + DAY / 2


@pytest.fixture(autouse=True)
def prices() -> None:
    register_pricing(MODEL, ModelPricing(1, 2))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture(params=["memory", "ledger"])
def make(request: pytest.FixtureRequest, clock: FakeClock) -> Callable[..., Budget]:
    """A budget of either kind."""
    ledger = SpendLedger(":memory:", clock=clock) if request.param == "ledger" else None

    def made(name: str = "acme", *args: object, **kwargs: object) -> Budget:
        return Budget(name, *args, ledger=ledger, clock=clock, **kwargs)  # type: ignore[arg-type]

    return made


@contextlib.contextmanager
def pricing_forgotten() -> Iterator[None]:
    """As in a process that did not register the price."""
    known = PRICING_TABLE.pop(MODEL)
    try:
        yield
    finally:
        PRICING_TABLE[MODEL] = known


def reserve(budget: Budget, tokens: int = 10, **more: object) -> object:
    return budget.reserve(model=MODEL, input_tokens=tokens, max_output_tokens=0, **more)  # type: ignore[arg-type]


def test_what_fits_is_reserved_and_the_rest_comes_back(make: Callable[..., Budget]) -> None:
    """The worst case is taken, the truth stays."""
    budget = make("acme", 0.001)
    with budget.reserve(model=MODEL, input_tokens=100, max_output_tokens=200) as reservation:
        assert budget.snapshot().reserved["usd"] == Decimal("0.0005") == reservation.cost_usd
        reservation.settle(UsageSnapshot(90, 10))
    assert budget.snapshot().settled["usd"] == Decimal("0.00011")
    assert not budget.snapshot().reserved
    assert budget.snapshot().remaining() == Decimal("0.00089")


def test_a_refusal_says_spent_or_busy(make: Callable[..., Budget], clock: FakeClock) -> None:
    """Busy while others may give back; spent until the window ends; refused whole, never shrunk."""
    budget = make("acme", 0.0001, "day", lease_seconds=30)
    first = reserve(budget, 60)
    with pytest.raises(BudgetExceededError, match="acme") as caught:
        reserve(budget, 60)
    assert (caught.value.reason, caught.value.retry_after) == ("busy", 30)
    assert budget.snapshot().reserved["usd"] == Decimal("0.00006")
    first.settle(UsageSnapshot(60))  # type: ignore[attr-defined]
    with pytest.raises(BudgetExceededError) as caught:
        reserve(budget, 60)
    assert (caught.value.reason, caught.value.retry_after) == ("spent", DAY / 2)
    assert (caught.value.budget_usd, caught.value.current_cost_usd) == (0.0001, 0.00006)
    for again in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):  # noqa: S301
        assert (again.reason, again.retry_after, again.budget) == ("spent", DAY / 2, "acme")
    clock.advance(DAY / 2)
    reserve(budget, 60)


@pytest.mark.parametrize(
    ("unit", "limit", "call"),
    [
        ("input_tokens", 15, {"model": MODEL, "input_tokens": 10}),
        ("output_tokens", 15, {"model": MODEL, "max_output_tokens": 10}),
        ("reasoning_tokens", 15, {"model": MODEL, "max_output_tokens": 10}),
        ("total_tokens", 15, {"model": MODEL, "input_tokens": 4, "max_output_tokens": 6}),
        ("model_calls", 1, {"model": MODEL}),
        ("model_calls", 1, {}),
        ("attempts", 1, {"model": MODEL}),
        ("tool_calls", 1, {"tool_calls": 1}),
        ("delegated_tasks", 1, {"delegated_tasks": 1}),
        ("turns", 1, {"turns": 1}),
        ("wall_seconds", 15, {"wall_seconds": 10}),
    ],
)
def test_every_limit_refuses_the_second(
    make: Callable[..., Budget], unit: str, limit: int, call: dict[str, object]
) -> None:
    """One fits, two do not; given back, another fits."""
    budget = make("acme", limits={unit: limit})
    first = budget.reserve(**call)  # type: ignore[arg-type]
    with pytest.raises(BudgetExceededError, match=unit) as caught:
        budget.reserve(**call)  # type: ignore[arg-type]
    assert (caught.value.unit, caught.value.limit, caught.value.reason) == (unit, limit, "busy")
    first.release()
    budget.reserve(**call)  # type: ignore[arg-type]


def test_calls_are_settled_once(make: Callable[..., Budget]) -> None:
    """A second settlement raises; a release after it does nothing."""
    budget = make("acme", 1)
    reservation = budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=0)
    with pytest.raises(TypeError, match="usage"):
        reservation.settle({"input_tokens": 3})  # type: ignore[arg-type]
    reservation.settle(UsageSnapshot(10))
    with pytest.raises(ReservationSettledError, match="settled"):
        reservation.settle(UsageSnapshot(10))
    reservation.release()
    assert budget.snapshot().settled["usd"] == Decimal("0.00001")


class Refused(Exception):
    status_code = 429


@pytest.mark.parametrize(
    ("error", "counted", "calls"),
    [
        (ConnectionRefusedError("nobody there"), 0, 0),
        (CircuitOpenError("b"), 0, 0),
        (Refused("429 Too Many Requests"), 0, 1),
        (TimeoutError("no answer"), 10, 1),
        (ConnectionResetError("cut"), 10, 1),
        (KeyboardInterrupt(), 10, 1),
        (asyncio.CancelledError(), 10, 1),
        (None, 10, 1),
    ],
)
def test_leaving_unsettled_releases_only_on_proof(
    make: Callable[..., Budget], error: BaseException | None, counted: int, calls: int
) -> None:
    """What may have been sent is counted as estimated; what was refused unbilled costs nothing."""
    budget = make("acme", 1, limits={"model_calls": 10})

    def run() -> None:
        with budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=50):
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    snapshot = budget.snapshot()
    assert not snapshot.reserved
    assert snapshot.settled.get("usd", 0) == Decimal(counted) / 10**6
    assert snapshot.settled.get("model_calls", 0) == calls
    if budget.ledger is not None and calls:
        (record,) = budget.ledger.records()  # type: ignore[attr-defined]
        assert record.certainty == ("estimated" if counted else "measured")


def test_a_call_that_costs_more_is_counted_and_stops_the_next(make: Callable[..., Budget]) -> None:
    """The provider billed more than the maximum: recorded, reported, and nothing more is let through."""
    sink = RingBufferEventSink()
    budget = make("acme", 0.0001, limits={"tool_calls": 5}, event_sink=sink)
    reserve(budget, 90).settle(UsageSnapshot(200))  # type: ignore[attr-defined]
    assert budget.snapshot().settled["usd"] == Decimal("0.0002")
    assert AgentEventName.BUDGET_OVERRUN in [event.event for event in sink.events]
    for call in ({"model": MODEL, "max_output_tokens": 0}, {"tool_calls": 1}):
        with pytest.raises(BudgetExceededError) as caught:
            budget.reserve(**call)  # type: ignore[arg-type]
        assert caught.value.reason == "spent"


def test_a_refusal_says_what_the_call_may_cost(make: Callable[..., Budget]) -> None:
    """In plain digits, however small; a reader sees why it did not fit though nothing was spent."""
    with pytest.raises(
        BudgetExceededError, match=r"\$0 of \$0\.00001 spent, and the call may cost \$0\.00009"
    ):
        reserve(make("tiny", 0.000_01), 90)
    counted = make("few", limits={"model_calls": 1})
    reserve(counted, 1)
    with pytest.raises(BudgetExceededError, match=r"and the call may use 1;") as caught:
        reserve(counted, 1)
    assert caught.value.asked == 1.0


def test_thresholds_are_told_once(make: Callable[..., Budget], clock: FakeClock) -> None:
    """At 50, 80 and 100 %, again in the next window; a listener that raises does no harm."""
    told: list[BudgetThreshold] = []

    def listen(threshold: BudgetThreshold) -> None:
        told.append(threshold)
        raise RuntimeError("listener")

    sink = RingBufferEventSink()
    budget = make("acme", 0.0001, "day", on_threshold=listen, event_sink=sink)
    for tokens in (49, 2, 1, 40, 8):
        reserve(budget, tokens).settle(UsageSnapshot(tokens))  # type: ignore[attr-defined]
    assert [(t.percent, t.used) for t in told] == [
        (50, Decimal("0.000051")),
        (80, Decimal("0.000092")),
        (100, Decimal("0.0001")),
    ]
    assert [event.event for event in sink.events] == [AgentEventName.BUDGET_THRESHOLD] * 3
    clock.advance(DAY)
    reserve(budget, 60).settle(UsageSnapshot(60))  # type: ignore[attr-defined]
    assert [t.percent for t in told[3:]] == [50]


def test_what_has_no_bound_is_refused_with_advice(make: Callable[..., Budget]) -> None:
    """Unpriced models, unknown maxima and unnamed models under a limit of money."""
    budget = make("acme", 1)
    with pytest.raises(UnknownModelError):
        budget.reserve(model="no such model anywhere", input_tokens=1, max_output_tokens=1)
    with pytest.raises(ValueError, match="max_output_tokens must be given"):
        budget.reserve(model=MODEL, input_tokens=1)
    with pytest.raises(ValueError, match="model must be given"):
        budget.reserve(input_tokens=1, max_output_tokens=1)
    with pytest.raises(ValueError, match="wall_seconds must be given"):
        make("time", limits={"wall_seconds": 3}).reserve(model=MODEL)
    with pytest.raises(ValueError, match="input_tokens"):
        budget.reserve(model=MODEL, input_tokens=-1, max_output_tokens=1)
    assert not budget.snapshot().reserved
    assert budget.reserve(model="gpt-5-mini", input_tokens=1).cost_usd is not None  # its own output limit
    budget.reserve(input_tokens=1, max_cost_usd=0.01).release()


def test_children_draw_from_their_parents(make: Callable[..., Budget]) -> None:
    """What a sub-agent takes is taken above, too; the smaller limit refuses; nobody is charged half."""
    parent = make("run", 0.0001)
    child = parent.child("agent", 0.00008)
    reservation = reserve(child, 50)
    assert parent.snapshot().reserved == {"usd": Decimal("0.00005")}
    with pytest.raises(BudgetExceededError, match="run/agent"):
        reserve(child, 40)
    reserve(parent, 40)
    with pytest.raises(BudgetExceededError, match=r"^run: "):
        reserve(child, 20)
    assert child.snapshot().reserved == {"usd": Decimal("0.00005")}
    reservation.settle(UsageSnapshot(50))  # type: ignore[attr-defined]
    assert child.snapshot().settled == parent.snapshot().settled == {"usd": Decimal("0.00005")}


def test_user_and_project_are_charged_together_or_not_at_all(make: Callable[..., Budget]) -> None:
    """``also`` names the others; budgets of different places cannot be charged together."""
    project, user = make("project", 1), make("user", limits={"total_tokens": 15})
    reserve(project, 10, also=user).settle(UsageSnapshot(10))  # type: ignore[attr-defined]
    with pytest.raises(BudgetExceededError, match="user"):
        reserve(project, 10, also=[user])
    assert project.snapshot().settled["usd"] == Decimal("0.00001")
    assert user.snapshot().settled["total_tokens"] == 10
    with pytest.raises(ValueError, match="charged together"):
        reserve(project, 10, also=Budget("x", 1, ledger=SpendLedger(":memory:")))
    with pytest.raises(TypeError, match="also"):
        reserve(project, 10, also="user")


def test_an_ancestor_that_two_share_is_charged_once(make: Callable[..., Budget]) -> None:
    """Two sub-agents of one run, charged together: the run pays one call, not two."""
    run = make("run", 1)
    left, right = run.child("left"), run.child("right")
    reservation = reserve(left, 10, also=right)
    assert run.snapshot().reserved == {"usd": Decimal("0.00001")}
    reservation.settle(UsageSnapshot(10))  # type: ignore[attr-defined]
    assert run.snapshot().settled == {"usd": Decimal("0.00001")}


class Held:
    """An open reservation."""

    def __init__(self, lease: str) -> None:
        self.state, self._lease = "open", lease


class Waits:
    """The thread of a keeper, one wait after the other; its time goes on by what it waits for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threading.Thread, "start", lambda _: None)
        self.now_s = 100.0
        self.waited: list[float] = []
        self.is_woken = False
        self.keeper = Keeper(clock=lambda: self.now_s, wait=self._wait)
        self.renewed: list[tuple[float, str]] = []
        self._meanwhile: dict[int, Callable[[], object]] = {}

    def renewal(self, lease_s: float) -> Renewal:
        def renew(lease: Any) -> None:
            self.renewed.append((self.now_s, lease))

        return Renewal(lease_s, renew, self.keeper)

    def run(self, **meanwhile: Callable[[], object]) -> None:
        """The thread to its end; ``after_3`` happens in the third wait."""
        self._meanwhile = {int(name.removeprefix("after_")): done for name, done in meanwhile.items()}
        self.keeper._run()

    def _wait(self, woken: threading.Event, seconds: float) -> None:
        self.waited.append(seconds)
        self._meanwhile.get(len(self.waited), lambda: None)()
        self.is_woken = woken.is_set()
        self.now_s += 0 if self.is_woken else seconds


def test_leases_are_renewed_well_before_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every third of a lease, so that two renewals may fail; and only what is still open."""
    waits, held = Waits(monkeypatch), Held("the lease")
    waits.renewal(1.5).watch(held)  # type: ignore[arg-type]
    waits.run(after_3=lambda: setattr(held, "state", "settled"))
    assert waits.waited == [0.5, 0.5, 0.5]
    assert waits.renewed == [(100.5, "the lease"), (101.0, "the lease")]


def test_the_thread_that_renews_ends_a_second_after_the_last_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the lease would have been; it looks once a second."""
    waits, held = Waits(monkeypatch), Held("long")
    waits.renewal(9.0).watch(held)  # type: ignore[arg-type]
    waits.run(after_5=lambda: setattr(held, "state", "released"))
    assert waits.waited == [1.0] * 5
    assert waits.renewed == [(103.0, "long")]
    assert not waits.keeper._watched


def test_a_short_lease_wakes_the_thread_of_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Budgets of a ledger share it, whatever their leases; each is renewed in its own time."""
    waits, long, short = Waits(monkeypatch), Held("long"), Held("short")
    waits.renewal(30.0).watch(long)  # type: ignore[arg-type]
    brief = waits.renewal(0.75)
    woken: list[bool] = []

    def settle() -> None:
        woken.append(waits.is_woken)
        long.state = short.state = "settled"

    waits.run(
        after_1=lambda: brief.watch(short),  # type: ignore[arg-type]
        after_2=lambda: woken.append(waits.is_woken),
        after_3=settle,
    )
    assert woken == [True, False]
    assert waits.waited == [1.0, 0.25, 0.25]
    assert waits.renewed == [(100.25, "short")]


@pytest.mark.skipif(sys.platform == "emscripten", reason="there are no threads")
def test_budgets_of_a_ledger_share_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty of them, each with a call under way; another ledger has its own."""
    monkeypatch.setattr("techrevati.runtime.budgets.renewal.IDLE_S", 0.01)
    before = set(threading.enumerate())
    with SpendLedger(":memory:") as ledger, SpendLedger(":memory:") as another:
        held = [
            Budget(f"b{n}", 1, ledger=one).reserve(model=MODEL, input_tokens=1, max_output_tokens=0)
            for one in (ledger, another)
            for n in range(50)
        ]
        new = set(threading.enumerate()) - before
        assert [thread.name for thread in new] == ["techrevati-leases"] * 2
        for reservation in held:
            reservation.release()
        for thread in new:
            thread.join(20)
            assert not thread.is_alive()


def test_wall_time_is_reserved_in_whole_milliseconds_and_never_too_little() -> None:
    """Rounded up."""
    assert [milliseconds("wall_seconds", s) for s in (0, 0.0001, 0.001, 0.0011, 1.5)] == [0, 1, 1, 2, 1500]


def test_what_is_reserved_for_others_refuses_nobody_who_asks_for_nothing() -> None:
    """Spent to the limit and more reserved, by somebody who used more than he said: a call that takes
    nothing of the unit goes on, and one that overspent stops all."""
    for settled, stops in ((10, False), (11, True)):
        tally = Tally({"turns": settled}, {"turns": 1})
        assert (refusal(tally, {"turns": 10}, {}) is not None) is stops
        why = refusal(tally, {"turns": 10}, {"turns": 1})
        assert why is not None
        assert why.reason == "spent"


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("name", {"name": ""}),
        ("per", {"per": "week"}),
        ("limit_usd", {"limit_usd": -1}),
        ("limits", {"limits": {"usd": 1}}),
        ("turns", {"limits": {"turns": 1.5}}),
        ("ledger", {"ledger": object()}),
        ("on_doubt", {"on_doubt": "guess"}),
        ("lease_seconds", {"lease_seconds": 0}),
    ],
)
def test_arguments_are_checked(name: str, kwargs: dict[str, object]) -> None:
    """Each is named."""
    with pytest.raises((ValueError, TypeError), match=name):
        Budget(**{"name": "acme", **kwargs})  # type: ignore[arg-type]


def test_months_are_calendar_months(make: Callable[..., Budget], clock: FakeClock) -> None:
    """December ends with the year."""
    clock.now = 1_798_700_000.0  # 2026-12-31
    budget = make("acme", 0.0001, "month")
    reserve(budget, 80).settle(UsageSnapshot(80))  # type: ignore[attr-defined]
    with pytest.raises(BudgetExceededError) as caught:
        reserve(budget, 80)
    assert caught.value.retry_after is not None
    clock.advance(caught.value.retry_after - 1)
    with pytest.raises(BudgetExceededError):
        reserve(budget, 80)
    clock.advance(1)
    reserve(budget, 80)
    assert budget.snapshot().window == "2027-01"


def test_memory_budgets_leave_nothing_behind() -> None:
    """A budget that is gone takes its sums with it."""
    from techrevati.runtime.budgets.budget import _memory

    for _ in range(50):
        reserve(Budget("gone", 1))
    gc.collect()
    reserve(Budget("last", 1))
    assert not [key for key in _memory._tallies if "gone" in key]
    assert len(_memory._leases) < 20


# --- leases and doubts ---


def test_a_silent_holder_is_a_doubt_until_resolved(clock: FakeClock) -> None:
    """It stays counted; then it is what it used, or nothing; each once."""
    ledger = SpendLedger(":memory:", clock=clock)
    budget = Budget("acme", 0.0001, ledger=ledger, clock=clock, lease_seconds=30)
    used = reserve(budget, 40, key="used", project="p")
    unsent = reserve(budget, 40, key="unsent")
    assert ledger.doubts() == []
    clock.advance(31)
    assert [(doubt.key, doubt.cost) for doubt in ledger.doubts()] == [
        ("unsent", Decimal("0.00004")),
        ("used", Decimal("0.00004")),
    ]
    with pytest.raises(BudgetExceededError):
        reserve(budget, 40)
    ledger.resolve("used", usage=UsageSnapshot(30))
    ledger.resolve("unsent", not_sent=True)
    assert ledger.doubts() == []
    assert budget.snapshot().settled == {"usd": Decimal("0.00003")}
    assert not budget.snapshot().reserved
    assert [(record.key, record.project) for record in ledger.records()] == [("used", "p")]
    with pytest.raises(UnknownReservationError):
        ledger.resolve("used", not_sent=True)
    with pytest.raises(ValueError, match="either"):
        ledger.resolve("used")
    used.settle(UsageSnapshot(35))  # type: ignore[attr-defined]  # late: it is on the books already
    assert ledger.total() == Decimal("0.00003")
    unsent.settle(UsageSnapshot(5))  # type: ignore[attr-defined]  # it was sent after all
    assert ledger.total() == Decimal("0.000035")
    assert budget.snapshot().settled == {"usd": Decimal("0.000035")}
    assert not budget.snapshot().reserved


def test_a_renewed_lease_is_no_doubt(clock: FakeClock) -> None:
    """And a late settlement of a doubt that nobody resolved counts as usual."""
    ledger = SpendLedger(":memory:", clock=clock)
    budget = Budget("acme", 1, ledger=ledger, clock=clock, lease_seconds=30)
    reservation = budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=0)
    clock.advance(20)
    reservation.renew()
    clock.advance(20)
    assert ledger.doubts() == []
    clock.advance(20)
    assert len(ledger.doubts()) == 1
    reservation.settle(UsageSnapshot(10))
    assert ledger.doubts() == []
    assert budget.snapshot().settled == {"usd": Decimal("0.00001")}


def test_without_a_thread_to_renew_with_a_reservation_holds_for_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the next one is renewed again."""
    renewed = threading.Event()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with SpendLedger(":memory:") as ledger:
        budget = Budget("acme", 1, ledger=ledger, lease_seconds=0.06)
        renewal = budget._renewal
        assert renewal is not None
        monkeypatch.setattr(renewal, "_renew", lambda _: renewed.set())
        with monkeypatch.context() as crowded:
            crowded.setattr(threading.Thread, "start", refuse)
            budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=0).settle(UsageSnapshot(10))
        with budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=0):
            assert renewed.wait(10)


@pytest.mark.parametrize(("policy", "left"), [("estimate", "0.00004"), ("release", "0")])
def test_a_policy_decides_over_doubts(
    make: Callable[..., Budget], clock: FakeClock, policy: str, left: str
) -> None:
    """When somebody else needs the room."""
    budget = make("acme", 0.0001, on_doubt=policy, lease_seconds=30)
    lost = budget.reserve(model=MODEL, input_tokens=40, max_output_tokens=20)
    with pytest.raises(BudgetExceededError):
        reserve(budget, 60)
    clock.advance(31)
    del lost  # nobody holds it any more
    gc.collect()
    reserve(budget, 60)
    assert budget.snapshot().settled.get("usd", 0) == Decimal(left)
    assert budget.snapshot().reserved["usd"] == Decimal("0.00006")


@pytest.mark.parametrize("policy", ["estimate", "release"])
def test_a_long_call_of_this_process_is_no_doubt(
    make: Callable[..., Budget], clock: FakeClock, policy: str
) -> None:
    """Its room is not given to others, and what it used is counted."""
    budget = make("acme", 0.0001, on_doubt=policy, lease_seconds=30)
    running = budget.reserve(model=MODEL, input_tokens=40, max_output_tokens=20)
    clock.advance(31)
    with pytest.raises(BudgetExceededError):
        reserve(budget, 60)
    running.settle(UsageSnapshot(40, 20))
    assert budget.snapshot().settled["usd"] == Decimal("0.00008")


def test_a_doubt_that_nothing_prices_here_needs_its_cost(clock: FakeClock) -> None:
    """In a process that does not know the caller's prices, it is refused, not taken for free."""
    ledger = SpendLedger(":memory:", clock=clock)
    budget = Budget("acme", 1, ledger=ledger, clock=clock, lease_seconds=30)
    lost = [
        budget.reserve(model=MODEL, input_tokens=40, max_output_tokens=0, key=key) for key in ("a", "b", "c")
    ]
    clock.advance(31)
    with pricing_forgotten():
        for usage in (UsageSnapshot(30), UsageSnapshot()):
            with pytest.raises(UnknownPriceError, match="register the price"):
                ledger.resolve("a", usage=usage)
        assert len(ledger.doubts()) == 3
        assert not list(ledger.records())
        ledger.resolve("a", usage=UsageSnapshot(30), cost=Decimal("0.25"))
        ledger.resolve("b", usage=UsageSnapshot(30, reported_cost_usd=Decimal("0.5")))
        ledger.resolve("c", not_sent=True)
    assert ledger.total() == budget.snapshot().settled["usd"] == Decimal("0.75")
    with pytest.raises(ValueError, match="cost"):
        ledger.resolve("c", not_sent=True, cost=1)
    del lost


@pytest.mark.parametrize("certainty", ["measured", "unknown"])
def test_books_and_budget_count_the_same_where_a_price_is_missing(
    make: Callable[..., Budget], certainty: str
) -> None:
    """The provider served a tier that nothing prices: the reserved maximum, as estimated."""
    budget = make("acme", 1)
    reservation = budget.reserve(model="gpt-3.5-turbo-instruct", input_tokens=40, max_output_tokens=20)
    most = reservation.cost_usd
    reservation.settle(UsageSnapshot(30, 5, tier="priority"), certainty=certainty)
    assert budget.snapshot().settled == {"usd": most}
    if isinstance(budget.ledger, SpendLedger):
        (record,) = budget.ledger.records()
        assert (record.cost, record.cost_source) == (most, "given")
        assert record.certainty == ("estimated" if certainty == "measured" else certainty)
        assert budget.ledger.total() == most


def test_a_key_is_used_once(make: Callable[..., Budget]) -> None:
    """Neither twice at once, nor for another call of the ledger."""
    budget = make("acme", 1)
    first = reserve(budget, key="k")
    with pytest.raises(ValueError, match="'k'"):
        reserve(budget, key="k")
    first.settle(UsageSnapshot(10))  # type: ignore[attr-defined]
    if budget.ledger is not None:
        with pytest.raises(ValueError, match="'k'"):
            reserve(budget, key="k")


def test_a_disk_that_fails_keeps_the_settlement(tmp_path: Path) -> None:
    """The paid result is not lost to an error, and the settlement is written later."""
    ledger = SpendLedger(tmp_path / "s.db", timeout_s=0.02)
    budget = Budget("acme", 1, ledger=ledger)
    reservation = budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=0)
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    reservation.settle(UsageSnapshot(10))
    assert ledger.pending == 1
    other.execute("ROLLBACK")
    other.close()
    assert ledger.total() == Decimal("0.00001")
    assert ledger.pending == 0
    assert budget.snapshot().settled == {"usd": Decimal("0.00001")}
    ledger.close()


def test_a_settlement_that_had_to_wait_tells_everything(tmp_path: Path) -> None:
    """Thresholds and overruns are told when it is written at last, once; the next reservation writes it."""
    told: list[BudgetThreshold] = []
    sink = RingBufferEventSink()
    ledger = SpendLedger(tmp_path / "s.db", timeout_s=0.02)
    budget = Budget("acme", 0.0001, ledger=ledger, on_threshold=told.append, event_sink=sink)
    first, second = reserve(budget, 40), reserve(budget, 20)
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    first.settle(UsageSnapshot(60))  # type: ignore[attr-defined]
    second.settle(UsageSnapshot(20))  # type: ignore[attr-defined]
    assert (ledger.pending, told, list(sink.events)) == (2, [], [])
    other.execute("ROLLBACK")
    other.close()
    reserve(budget, 10).release()  # type: ignore[attr-defined]
    assert ledger.pending == 0
    assert [(one.percent, one.used) for one in told] == [(50, Decimal("0.00006")), (80, Decimal("0.00008"))]
    assert [event.event for event in sink.events] == [
        AgentEventName.BUDGET_THRESHOLD,
        AgentEventName.BUDGET_OVERRUN,
        AgentEventName.BUDGET_THRESHOLD,
    ]
    ledger.close()


# --- at once ---


def test_threads_never_overspend(make: Callable[..., Budget]) -> None:
    """Eight threads reserve and settle as fast as they can; the sums are exact and the limit holds."""
    budget = make("acme", 0.0005, limits={"model_calls": 10_000})
    start = threading.Barrier(8)
    taken: list[int] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            start.wait()
            for _ in range(20):
                try:
                    reservation = reserve(budget, 10)
                except BudgetExceededError:
                    continue
                seen = budget.snapshot()
                assert seen.remaining() >= 0
                reservation.settle(UsageSnapshot(7))  # type: ignore[attr-defined]
                taken.append(7)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert budget.snapshot().settled["usd"] == Decimal(sum(taken)) / 10**6
    assert len(taken) in range(60, 72)
    assert not budget.snapshot().reserved


@pytest.mark.slow
def test_a_thousand_tasks_never_overspend(make: Callable[..., Budget]) -> None:
    """Some are cancelled while they hold a reservation: that comes back as what was sent."""
    budget = make("acme", 0.005)
    refused: list[int] = []
    half = asyncio.Event()

    async def call(number: int, gate: asyncio.Event) -> str:
        try:
            async with await budget.areserve(
                model=MODEL, input_tokens=10, max_output_tokens=0
            ) as reservation:
                await gate.wait()
                reservation.settle(UsageSnapshot(10))
                return "paid"
        except BudgetExceededError:
            refused.append(number)
            if len(refused) == 500:
                half.set()
            return "refused"

    async def main() -> list[object]:
        gate = asyncio.Event()
        tasks = [asyncio.create_task(call(number, gate)) for number in range(1000)]
        await half.wait()
        for task in tasks[::7]:
            task.cancel()
        gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    held = 1000 - outcomes.count("refused")
    assert held == 500
    assert budget.snapshot().settled["usd"] == Decimal("0.005")
    assert not budget.snapshot().reserved


# --- estimates ---


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=30),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=12,
    )
)
def test_an_estimate_is_no_less_than_the_bytes(request: object) -> None:
    """A byte-level tokenizer never makes more tokens than there are bytes."""

    def texts(value: object) -> int:
        if isinstance(value, str):
            return len(value.encode("utf-8", "surrogatepass"))
        if isinstance(value, dict):
            return sum(texts(name) + texts(item) for name, item in value.items())
        return sum(map(texts, value)) if isinstance(value, list) else 0

    assert estimate_input_tokens(request) >= texts(request)


@given(
    st.dictionaries(
        st.sampled_from(["input_tokens", "total_tokens", "model_calls", "turns"]), st.just(10**9)
    ),
    st.none() | st.just(100.0),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_a_plain_call_reserves_the_same_in_fewer_steps(
    limits: dict[str, float], limit_usd: float | None, given_tokens: int, made: int, inside: bool
) -> None:
    """What guards reserve for most calls is what :meth:`Budget.reserve` reserves, and settles alike."""

    def after(quickly: bool) -> list[BudgetSnapshot]:
        budget = Budget("quick", limit_usd, limits=limits)
        budget = budget.child("inside", 50) if inside else budget
        if quickly:
            reservation = budget._reserve_plain("gpt-5-mini", given_tokens, made, "openai")
            assert reservation is not None
        else:
            reservation = budget.reserve(
                model="gpt-5-mini", input_tokens=given_tokens, max_output_tokens=made, provider="openai"
            )
        seen = [budget.snapshot()]
        reservation.settle(UsageSnapshot(given_tokens // 2, made))
        return [*seen, budget.snapshot()]

    assert after(True) == after(False)


@pytest.mark.parametrize("limits", [{}, {"output_tokens": 1_000_000}])
def test_an_overrun_is_told_where_no_threshold_is_reached(limits: dict[str, float]) -> None:
    """Without a ledger, of money alone and of more; what stays within says nothing."""
    sink = RingBufferEventSink()
    budget = Budget("b", 1_000, limits=limits, event_sink=sink)
    for used, told in ((10, 0), (11, 1)):
        reservation = budget.reserve(model="gpt-5-mini", max_output_tokens=10)
        reservation.settle(UsageSnapshot(0, used))
        assert [event.event for event in sink.events].count(AgentEventName.BUDGET_OVERRUN) >= told
        assert bool(sink.events) is bool(told)


def test_where_more_must_be_said_a_plain_call_is_not_enough(tmp_path: Path) -> None:
    """Time has no bound here, and a ledger wants to know for whom; the refusal is the same."""
    assert Budget("timed", limits={"wall_seconds": 5})._reserve_plain("gpt-5-mini", 1, 1, None) is None
    with SpendLedger(tmp_path / "spend.db") as ledger:
        assert Budget("kept", 1, ledger=ledger)._reserve_plain("gpt-5-mini", 1, 1, None) is None
    small = Budget("small", 0.000001)
    with pytest.raises(BudgetExceededError) as refusal:
        small._reserve_plain("gpt-5-mini", 9_999, 9_999, None)
    assert (refusal.value.reason, refusal.value.budget) == ("spent", "small")
    assert not any(small.snapshot().reserved.values())


def test_an_estimate_counts_images_and_objects() -> None:
    """Images at their dearest; what is nested without end is refused."""
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    flat = b"a flat picture is a few bytes"
    for part in (
        image,
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"}},
        {"inline_data": {"mime_type": "image/png", "data": flat}},
        {"inlineData": {"mimeType": "image/webp", "data": "aaaa"}},
        {"image": {"format": "png", "source": {"bytes": flat}}},
    ):
        assert 40_000 < estimate_input_tokens([{"role": "user", "content": [part]}]) < 41_000
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested"):
        estimate_input_tokens(endless)


@given(
    units=st.frozensets(
        st.sampled_from([unit for unit in UNITS if unit != "wall_seconds"]),
    ),
    tokens=st.tuples(st.integers(0, 10**7), st.integers(0, 10**6)),
    tier=st.sampled_from([None, "batch"]),
    model=st.sampled_from(["gpt-4o-mini", "gpt-5", MODEL]),
)
def test_the_plain_call_is_the_general_one(
    units: frozenset[str], tokens: tuple[int, int], tier: str | None, model: str
) -> None:
    """What most calls are asks for as much as the same call said at length."""
    if model == MODEL:
        tier = None
    worst = WorstCase("acme", units)
    for _ in range(2):  # worked out, then remembered
        plain = worst.of_plain_call(model, *tokens, None, tier)
        general = worst.of_call(True, model, *tokens, None, tier, None, 0, None)
        ones = {unit: int(unit in ("model_calls", "attempts")) for unit in worst.counts}
        assert plain == {**general, **ones}
        assert set(plain) == units


@given(
    limit=st.one_of(st.integers(0, 300), st.fractions(0, 300)),
    amounts=st.lists(st.one_of(st.integers(0, 120), st.fractions(0, 120)), max_size=8),
)
def test_thresholds_are_exact_and_told_once(limit: int | Fraction, amounts: list[int | Fraction]) -> None:
    """Each is told with the settlement that reaches it, whatever the limit divides by."""
    tally, limits, told = Tally(), {"turns": limit}, list[int]()
    for number, amount in enumerate(amounts):
        if number == 4:
            limits = {"turns": limit}  # who settles brings limits of its own
        total = sum(amounts[: number + 1])
        crossed = settle(tally, {}, {"turns": amount}, limits)
        due = [percent for percent in (50, 80, 100) if amount and total >= Fraction(limit) * percent / 100]
        assert [percent for _, percent in crossed] == [percent for percent in due if percent not in told]
        told += [percent for _, percent in crossed]


def test_images_made_and_cached_audio_count_once() -> None:
    """They are parts of the output and of what was cached, in the budget as on the books."""
    with SpendLedger(":memory:") as ledger:
        most = {"input_tokens": 2000, "output_tokens": 2000, "total_tokens": 4000}
        budget = Budget("pictures", limits=most, ledger=ledger)
        usage = UsageSnapshot(
            output_tokens=500, output_image_tokens=490, cache_read_tokens=90, cache_read_audio_tokens=80
        )
        with budget.reserve(model=MODEL, input_tokens=100, max_output_tokens=600) as reservation:
            reservation.settle(usage)
        counted = {"input_tokens": 90, "output_tokens": 500, "total_tokens": 590}
        assert budget.snapshot().settled == counted
        assert [group.tokens for group in ledger.by("project")] == [590]
        lost = budget.reserve(model=MODEL, input_tokens=100, max_output_tokens=600, key="lost")
        ledger.resolve("lost", usage=usage)
        assert budget.snapshot().settled == {unit: 2 * count for unit, count in counted.items()}
        del lost


BAD_LABELS: list[tuple[dict[str, object], str]] = [
    ({"user": 123}, "user"),
    ({"user": ""}, "user"),
    ({"session": 7}, "session"),
    ({"run": "r" * 2_000}, "run"),
    ({"project": "p" * 2_000}, "project"),
    ({"project": "half \ud800"}, "project"),
    ({"tags": {"attempt": 2}}, "tags"),
    ({"tags": ["x"]}, "tags"),
    ({"tier": "nope"}, "tier"),
    ({"tier": 5}, "tier"),
    ({"input_tokens": -5}, "input_tokens"),
    ({"input_tokens": "many"}, "input_tokens"),
    ({"key": 5}, "key"),
    ({"key": ""}, "key"),
]


@pytest.mark.parametrize(("label", "named"), BAD_LABELS, ids=[str(one)[:30] for one, _ in BAD_LABELS])
def test_what_the_books_would_not_take_is_refused_before_the_call(
    label: dict[str, object], named: str
) -> None:
    """Not when it is paid for: nothing is reserved."""
    with SpendLedger(":memory:") as ledger:
        call: dict[str, object] = {"model": MODEL, "input_tokens": 10, "max_output_tokens": 0, **label}
        for budget in (Budget("acme", 1, ledger=ledger), Budget("no limit", ledger=ledger)):
            with pytest.raises((TypeError, ValueError), match=named):
                budget.reserve(**call)  # type: ignore[arg-type]
            assert not budget.snapshot().reserved
        assert not ledger.leases()


BAD_ENDS: list[tuple[dict[str, object], str]] = [
    ({"certainty": "measurd"}, "certainty"),
    ({"failure": "x" * 2_000}, "failure"),
    ({"failure": 3}, "failure"),
    ({"cost": -1}, "cost"),
    ({"cost": float("nan")}, "cost"),
    ({"cost": "1"}, "cost"),
]


@pytest.mark.parametrize(("end", "named"), BAD_ENDS, ids=[str(one)[:30] for one, _ in BAD_ENDS])
@pytest.mark.parametrize("awaited", [False, True])
def test_a_settlement_that_is_refused_leaves_the_reservation_open(
    make: Callable[..., Budget], end: dict[str, object], named: str, awaited: bool
) -> None:
    """What was paid for can still be settled; a budget without US dollars checks the cost, too."""
    budget = make("acme", limits={"model_calls": 5})
    reservation = budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=0)
    with pytest.raises((TypeError, ValueError), match=named):
        if awaited:
            asyncio.run(reservation.asettle(UsageSnapshot(10), **end))  # type: ignore[arg-type]
        else:
            reservation.settle(UsageSnapshot(10), **end)  # type: ignore[arg-type]
    assert reservation.state == "open"
    reservation.settle(UsageSnapshot(10))
    assert budget.snapshot().settled == {"model_calls": 1}
    assert not budget.snapshot().reserved


@pytest.mark.parametrize("durability", ["full", "batched"])
def test_a_name_that_no_file_can_hold_costs_no_record(tmp_path: Path, durability: str) -> None:
    """What a provider calls its model or its tier may be anything."""
    with SpendLedger(tmp_path / "spend.db", durability=durability) as ledger:
        strange = UsageSnapshot(10, model="m\ud800" * 600, tier="\udc80")
        Budget("acme", ledger=ledger).reserve(project="p").settle(strange, cost=1)
        ledger.record(project="q", model="m", usage=strange, cost=2)
        ledger.flush()
        assert [(group.group, group.cost) for group in ledger.by("project")] == [("p", 1), ("q", 2)]


def test_spent_is_told_where_another_limit_is_only_busy(make: Callable[..., Budget]) -> None:
    """In one budget and in a chain of them: to wait for the busy one would be in vain."""
    parent = make("acme", 1, limits={"model_calls": 1})
    child = parent.child("bot", 0.0001)
    child.reserve(model=MODEL, input_tokens=1, max_output_tokens=0).settle(UsageSnapshot(1))
    running = child.reserve(max_cost_usd=0.00008, model_calls=0, attempts=0)
    with pytest.raises(BudgetExceededError) as caught:
        reserve(child, 60)
    assert (caught.value.reason, caught.value.unit, caught.value.budget) == ("spent", "model_calls", "acme")
    assert caught.value.retry_after is None
    single = make("single", 0.0001, limits={"model_calls": 1})
    reserve(single, 1).settle(UsageSnapshot(1))  # type: ignore[attr-defined]
    also_running = single.reserve(max_cost_usd=0.00008, model_calls=0, attempts=0)
    with pytest.raises(BudgetExceededError) as caught:
        reserve(single, 60)
    assert (caught.value.reason, caught.value.unit) == ("spent", "model_calls")
    running.release()
    also_running.release()


def test_what_no_window_has_room_for_is_not_to_be_tried_again(make: Callable[..., Budget]) -> None:
    """The next day will refuse it as this one does."""
    budget = make("acme", 0.0001, "day")
    with pytest.raises(BudgetExceededError) as caught:
        reserve(budget, 101)
    assert (caught.value.reason, caught.value.retry_after) == ("spent", None)
    assert "again" not in str(caught.value)


def test_a_raised_limit_has_thresholds_of_its_own(tmp_path: Path) -> None:
    """Those that are not reached; what is reached, or was told, is not told again, by whatever process."""
    told: list[tuple[int, Decimal | int]] = []

    def spend(limit: float, tokens: int) -> None:
        with SpendLedger(tmp_path / "spend.db") as ledger:
            budget = Budget(
                "acme", limit, ledger=ledger, on_threshold=lambda one: told.append((one.percent, one.limit))
            )
            reserve(budget, tokens).settle(UsageSnapshot(tokens))  # type: ignore[attr-defined]

    spend(0.0001, 100)
    assert [percent for percent, _ in told] == [50, 80, 100]
    told.clear()
    spend(0.00018, 10)  # 110 of 180: half of it was reached before
    assert not told
    spend(0.00018, 40)
    assert told == [(80, Decimal("0.00018"))]
    spend(0.0002, 47)
    assert told[1:] == [(80, Decimal("0.0002"))]
    spend(0.0003, 1)
    for _ in range(20):  # programs that do not agree about the limit do not tell it again and again
        spend(0.0004, 1)
        spend(0.0003, 1)
    assert len(told) <= 4


def test_a_settlement_that_waited_for_the_disk_is_of_its_own_day(tmp_path: Path, clock: FakeClock) -> None:
    """On the books as in the budget, whenever it is written."""
    ledger = SpendLedger(tmp_path / "spend.db", timeout_s=0.001, clock=clock)
    budget = Budget("acme", 1, "day", ledger=ledger, clock=clock)
    reservation = reserve(budget, 10)
    then = datetime.fromtimestamp(clock(), UTC)
    with contextlib.closing(sqlite3.connect(tmp_path / "spend.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reservation.settle(UsageSnapshot(10))  # type: ignore[attr-defined]
        assert ledger.pending == 1
        other.execute("ROLLBACK")
    clock.advance(DAY)
    ledger.flush()
    (record,) = ledger.records()
    assert record.at == then
    assert [group.group for group in ledger.by("day")] == [f"{then:%Y-%m-%d}"]
    ledger.close()


def test_sums_are_exact_in_every_decimal_context() -> None:
    """A program that rounds its own decimals does not round the books' totals."""
    with SpendLedger(":memory:") as ledger, localcontext() as context:
        context.prec = 4
        budget = Budget("acme", Decimal("1234567.891"), limits={"model_calls": 9}, ledger=ledger)
        budget.reserve(model=MODEL, input_tokens=1, max_output_tokens=0).settle(UsageSnapshot(1))
        ledger.record(project="big", model=MODEL, usage=UsageSnapshot(1), cost=Decimal("7654321.123"))
        assert str(ledger.by("project").total) == str(ledger.total()) == "7654321.123001"
        assert str(budget.snapshot().remaining()) == "1234567.890999"
        assert budget.snapshot().remaining("model_calls") == 8


@pytest.mark.parametrize("cost", [None, Decimal("0.00000000000000000123")])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("certainty", ["estimated", "unknown"])
def test_what_a_silent_call_used_replaces_the_estimate(
    clock: FakeClock, cost: Decimal | None, others: int, certainty: str
) -> None:
    """Its process was taken for dead and was not: books, sums of days and budget count what it says."""
    with SpendLedger(":memory:", clock=clock) as ledger:
        most = {"input_tokens": 1000, "total_tokens": 1000, "model_calls": 10, "wall_seconds": 60}
        budget = Budget("acme", 1, limits=most, ledger=ledger, clock=clock, lease_seconds=30)
        for _ in range(others):  # another estimate of that day
            ledger.record(
                project="default", model=MODEL, usage=UsageSnapshot(7), certainty=certainty, cost=cost
            )
        silent = budget.reserve(
            model=MODEL, input_tokens=40, max_output_tokens=20, wall_seconds=1, key="silent"
        )
        clock.advance(31)
        ledger.resolve("silent", usage=UsageSnapshot(40), certainty=certainty, cost=cost)
        silent.settle(UsageSnapshot(30, 20))
        assert [(one.certainty, one.cost, one.usage) for one in ledger.records()][others:] == [
            ("measured", Decimal("0.00007"), UsageSnapshot(30, 20))
        ]
        assert sorted(group[:3] for group in ledger.by("certainty")) == sorted(
            [*[(certainty, 1, 7)] * others, ("measured", 1, 50)]
        )
        assert ledger.total() == sum(one.cost or 0 for one in ledger.records())
        settled = budget.snapshot().settled
        assert (settled["usd"], settled["input_tokens"]) == (Decimal("0.00007"), 30)
        assert (settled["total_tokens"], settled["model_calls"]) == (50, 1)
        assert not budget.snapshot().reserved


@pytest.mark.parametrize("limits", [None, {"model_calls": 10}])
def test_what_was_billed_stands_and_what_was_sent_counts_after_all(
    clock: FakeClock, limits: dict[str, int] | None
) -> None:
    """A measured answer is not replaced; a call that was resolved as unsent is recorded when it settles."""
    with SpendLedger(":memory:", clock=clock) as ledger:
        budget = Budget("acme", limits=limits, ledger=ledger, clock=clock, lease_seconds=30)
        billed, sent = (budget.reserve(model=MODEL, input_tokens=40, key=key) for key in ("billed", "sent"))
        clock.advance(31)
        ledger.resolve("billed", usage=UsageSnapshot(40))
        ledger.resolve("sent", not_sent=True)
        billed.settle(UsageSnapshot(30, 20))
        sent.settle(UsageSnapshot(5))
        assert {one.key: one.usage for one in ledger.records()} == {
            "billed": UsageSnapshot(40),
            "sent": UsageSnapshot(5),
        }


def test_audio_is_bounded_at_its_own_price(make: Callable[..., Budget]) -> None:
    """Of a model that speaks always, of one that only listens when it is said; text costs what text costs."""
    heard = UsageSnapshot(input_audio_tokens=1000, output_tokens=100)
    spoken = UsageSnapshot(input_audio_tokens=1000, output_audio_tokens=100)
    budget = make("acme", 5)
    for model, usage, said in (
        ("gpt-4o-audio-preview", spoken, {}),
        ("gpt-realtime", spoken, {}),
        ("gemini-2.5-flash", heard, {"audio": True}),
    ):
        call: dict[str, Any] = {"model": model, "input_tokens": 1000, "max_output_tokens": 100}
        reservation = budget.reserve(**call, **said)
        assert reservation.cost_usd is not None
        assert reservation.cost_usd >= cost_usd(model, usage)
        reservation.settle(usage)
    text = budget.reserve(model="gemini-2.5-flash", input_tokens=1000, max_output_tokens=100)
    assert text.cost_usd == cost_usd("gemini-2.5-flash", UsageSnapshot(1000, 100))
    text.release()
