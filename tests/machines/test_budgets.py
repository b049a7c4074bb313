"""Budgets under any order of reservations and settlements: never ``settled + reserved > limit``.

One machine runs on both shells, a budget of this process and one in a ledger, and holds them to sums kept in
plain dictionaries.  Starts and ends are separate rules, so that many calls are in flight at once.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from techrevati.runtime.budgets import Budget, BudgetExceededError, Reservation
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.testing import FakeClock
from techrevati.runtime.usage import UsageSnapshot

MODEL = "machine-small"  # a micro-dollar a token, in and out
PER_TOKEN = Fraction(1, 10**6)
LIMIT_USD, LIMIT_CALLS, USER_TOKENS, CHILD_USD = Decimal("0.0001"), 6, 150, Decimal("0.00006")


class BudgetMachine(RuleBasedStateMachine):
    """A project's budget with a child, and a user's budget that some calls are charged to as well."""

    in_ledger = False

    def __init__(self) -> None:
        super().__init__()
        register_pricing(MODEL, ModelPricing(1, 1, 1, 1))
        self.clock = FakeClock(1_000_000.0)
        self.ledger = SpendLedger(":memory:", clock=self.clock) if self.in_ledger else None
        self.told: list[tuple[str, str, int]] = []
        self.project = Budget(
            "project",
            LIMIT_USD,
            per="hour",
            limits={"model_calls": LIMIT_CALLS},
            ledger=self.ledger,
            clock=self.clock,
            lease_seconds=1e9,
            on_threshold=lambda t: self.told.append((f"{t.budget}{t.window}", t.unit, t.percent)),
        )
        self.child = self.project.child("agent", CHILD_USD)
        self.user = Budget("user", limits={"total_tokens": USER_TOKENS}, ledger=self.ledger, clock=self.clock)
        self.live: list[tuple[Reservation, dict[str, int], tuple[str, ...], int]] = []
        self.settled: dict[str, dict[str, Fraction]] = {}
        self.reserved: dict[str, dict[str, Fraction]] = {}
        self.calls = 0
        self.overrun = False

    def hour(self) -> str:
        return str(int(self.clock() // 3600))

    def limits(self, account: str) -> dict[str, Fraction]:
        if account.startswith("project"):
            return {"usd": Fraction(LIMIT_USD), "model_calls": Fraction(LIMIT_CALLS)}
        if account.startswith("child"):
            return {"usd": Fraction(CHILD_USD)}
        return {"total_tokens": Fraction(USER_TOKENS)}

    def add(
        self, book: dict[str, dict[str, Fraction]], account: str, tokens: int, calls: int, sign: int
    ) -> None:
        sums = book.setdefault(account, {})
        amounts = {
            "usd": tokens * PER_TOKEN,
            "model_calls": Fraction(calls),
            "total_tokens": Fraction(tokens),
        }
        for unit in self.limits(account):
            sums[unit] = sums.get(unit, Fraction()) + sign * amounts[unit]

    @rule(
        given=st.integers(0, 60),
        maximum=st.integers(0, 60),
        child=st.booleans(),
        user=st.booleans(),
        keyed=st.booleans(),
    )
    def start(self, given: int, maximum: int, child: bool, user: bool, keyed: bool) -> None:
        accounts = [f"project{self.hour()}"]
        if child:
            accounts.append("child")
        if user:
            accounts.append("user")
        self.calls += 1
        amounts = {
            "usd": (given + maximum) * PER_TOKEN,
            "model_calls": Fraction(1),
            "total_tokens": Fraction(given + maximum),
        }
        verdicts = set()
        for account in accounts:
            settled, reserved = self.settled.get(account, {}), self.reserved.get(account, {})
            for unit, limit in self.limits(account).items():
                spent, held, more = settled.get(unit, 0), reserved.get(unit, 0), amounts[unit]
                if spent > limit or (more and spent + more > limit):
                    verdicts.add("spent")
                elif more and spent + held + more > limit:
                    verdicts.add("busy")
        budget = self.child if child else self.project
        try:
            made = budget.reserve(
                model=MODEL,
                input_tokens=given,
                max_output_tokens=maximum,
                project="p",
                key=f"k{self.calls}" if keyed else None,
                also=self.user if user else (),
            )
        except BudgetExceededError as refusal:
            self.is_refused(refusal, verdicts)
            return
        assert not verdicts
        for account in accounts:
            self.add(self.reserved, account, given + maximum, 1, 1)
        self.live.append((made, {"given": given, "maximum": maximum}, tuple(accounts), self.calls))

    def is_refused(self, refusal: BudgetExceededError, verdicts: set[str]) -> None:
        assert refusal.reason in verdicts
        assert refusal.retry_after is None or refusal.retry_after >= 0

    @precondition(lambda self: self.live)
    @rule(
        nth=st.integers(0, 99),
        share=st.floats(0, 1),
        how=st.sampled_from(["settle", "release", "leave", "over"]),
    )
    def finish(self, nth: int, share: float, how: str) -> None:
        made, call, accounts, _ = self.live.pop(nth % len(self.live))
        used = calls = 0
        if how == "release":
            made.release()
        elif how == "leave":
            with made:
                pass
            used, calls = call["given"], 1
        else:
            output = int(call["maximum"] * share) + (call["maximum"] + 7 if how == "over" else 0)
            made.settle(UsageSnapshot(call["given"], output))
            used, calls = call["given"] + output, 1
            self.overrun = self.overrun or how == "over"
        for account in accounts:
            self.add(self.reserved, account, call["given"] + call["maximum"], 1, -1)
            if calls:
                self.add(self.settled, account, used, calls, 1)
        made.release()  # changes nothing any more

    @rule(seconds=st.sampled_from([1.0, 1800.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def the_books_agree(self) -> None:
        for budget, account in (
            (self.project, f"project{self.hour()}"),
            (self.child, "child"),
            (self.user, "user"),
        ):
            snapshot = budget.snapshot()
            for unit, limit in self.limits(account).items():
                settled = Fraction(self.settled.get(account, {}).get(unit, 0))
                reserved = Fraction(self.reserved.get(account, {}).get(unit, 0))
                assert Fraction(snapshot.settled.get(unit, 0)) == settled
                assert Fraction(snapshot.reserved.get(unit, 0)) == reserved
                assert self.overrun or settled + reserved <= limit

    @invariant()
    def thresholds_are_told_once(self) -> None:
        assert len(self.told) == len(set(self.told))

    @invariant()
    def the_ledger_has_every_settled_call(self) -> None:
        if self.ledger is not None:
            paid = sum(
                (Fraction(sums.get("usd", 0)) for name, sums in self.settled.items() if "project" in name),
                Fraction(),
            )
            assert Fraction(self.ledger.total()) == paid
            assert len(self.ledger.leases()) == len(self.live)


@pytest.mark.parametrize("in_ledger", [False, True], ids=["memory", "ledger"])
def test_budgets_hold(in_ledger: bool) -> None:
    """In one process and in a ledger's file."""
    machine = type("Machine", (BudgetMachine,), {"in_ledger": in_ledger})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=25 if in_ledger else 100, stateful_step_count=30, deadline=None),
    )
