"""Sessions on the books: reserved before, settled after, carried over to the next session."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.deadlines import TurnTimeoutError
from techrevati.runtime.integrations.call_guard import CallGuard
from techrevati.runtime.journal import Journal
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.retry_policy import Recovery, RecoveryStep
from techrevati.runtime.stores import SqliteStore
from techrevati.runtime.usage import UsageSnapshot

MODEL = "session-small"
USAGE = UsageSnapshot(100, 50)


@pytest.fixture(autouse=True)
def prices() -> None:
    register_pricing(MODEL, ModelPricing(1, 2))


def test_turns_are_on_the_books(tmp_path: Path) -> None:
    """Whose they are is said; a second process finds what the first spent."""
    with SpendLedger(tmp_path / "spend.db") as ledger:
        desk = Orchestrator("r", "p", "acme", ledger=ledger)
        with desk.session() as session:
            session.run_turn(lambda: {"usage": {"prompt_tokens": 100, "completion_tokens": 50}}, model=MODEL)
            (record,) = ledger.records()
            assert (record.project, record.session, record.run) == ("acme", session.run_id, session.run_id)
            assert (record.usage.input_tokens, record.usage.output_tokens) == (100, 50)
            assert record.cost == Decimal("0.0002")
            assert ledger.leases() == []
    with (
        SpendLedger(tmp_path / "spend.db") as again,
        Orchestrator("r", "p", "acme", ledger=again).session() as s,
    ):
        s.run_turn(lambda: "x", model=MODEL, usage=USAGE)
        spend = s.summary()["spend"]
        assert spend == {"session_usd": "0.0002", "project_usd": "0.0004", "pending": 0}


def test_a_budget_refuses_before_the_call(tmp_path: Path) -> None:
    """Shared by sessions, and by the next process: what was spent stays spent."""
    calls = []
    for expected in (2, 0):
        ledger = SpendLedger(tmp_path / "spend.db")
        budget = Budget("acme", 0.0005, ledger=ledger)
        desk = Orchestrator("r", "p", "acme", budget=budget)
        done = 0
        with pytest.raises(BudgetExceededError), desk.session() as session:
            for _ in range(3):
                session.run_turn(lambda: calls.append(1), model=MODEL, usage=USAGE)
                done += 1
        assert done == expected
        assert session.summary()["spend"]["budget"]["settled"] == {"usd": "0.0004"}  # type: ignore[index]
        ledger.close()
    assert len(calls) == 2


def test_a_turn_without_a_bound_is_refused() -> None:
    """Where money is limited; a prompt, a bound or a usage gives one."""
    budget = Budget("acme", 1)
    with Orchestrator("r", "p", budget=budget).session() as session:
        with pytest.raises(ValueError, match="input_tokens must be given"):
            session.run_turn(lambda: "x", model=MODEL)
        session.run_turn(lambda prompt: "x", model=MODEL, prompt="hello", max_output_tokens=10)
        session.run_turn(lambda: "x", model=MODEL, input_tokens=10, max_output_tokens=10)
    assert not budget.snapshot().reserved


class RefusedError(Exception):
    status_code = 503


@pytest.mark.parametrize(
    ("error", "cost", "certainty"),
    [
        (RefusedError("down"), "0", "measured"),
        (ConnectionResetError("cut"), "0.0001", "estimated"),
        (KeyboardInterrupt(), "0.0001", "estimated"),
    ],
)
def test_failed_turns_are_charged_as_known(error: BaseException, cost: str, certainty: str) -> None:
    """An error of the provider costs nothing; what may have been sent is counted."""
    ledger = SpendLedger(":memory:")

    def fail() -> None:
        raise error

    with pytest.raises(type(error)), Orchestrator("r", "p", ledger=ledger).session() as session:
        session.run_turn(fail, model=MODEL, input_tokens=100, max_output_tokens=10)
    (record,) = ledger.records()
    assert (record.cost, record.certainty) == (Decimal(cost), certainty)
    assert ledger.leases() == []


def test_a_turn_that_timed_out_stays_reserved_until_it_ends() -> None:
    """What the abandoned call returns after all is what it cost."""
    ledger = SpendLedger(":memory:")
    budget = Budget("acme", 1, ledger=ledger)
    go, told = threading.Event(), threading.Event()

    class Sink:
        def emit(self, event: object) -> None:
            pass

        def record(self, model: str, usage: UsageSnapshot, cost_usd: float) -> None:
            told.set()

    def slow() -> dict[str, object]:
        go.wait(30)
        return {"usage": {"prompt_tokens": 100, "completion_tokens": 50}}

    with Orchestrator("r", "p", budget=budget, usage_sink=Sink()).session() as session:
        with pytest.raises(TurnTimeoutError):
            session.run_turn(slow, model=MODEL, timeout=0.01, input_tokens=100, max_output_tokens=100)
        assert budget.snapshot().reserved["usd"] == Decimal("0.0003")
        go.set()
        assert told.wait(30)
        for _ in range(1000):
            if not budget.snapshot().reserved:
                break
            threading.Event().wait(0.005)
    assert budget.snapshot().settled["usd"] == Decimal("0.0002")
    assert len(list(ledger.records())) == 1


def test_async_turns_and_cancellation() -> None:
    """A cancelled task settles to what was sent, for several turns at once."""
    budget = Budget("acme", 0.0006, limits={"turns": 10})

    async def main() -> list[object]:
        async with Orchestrator("r", "p", budget=budget).asession() as session:
            never = asyncio.Event()

            async def hang() -> None:
                await never.wait()

            tasks = [
                asyncio.create_task(session.arun_turn(hang, MODEL, input_tokens=100, max_output_tokens=50))
                for _ in range(4)
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert (
        sorted(type(outcome).__name__ for outcome in outcomes)
        == ["BudgetExceededError"] + ["CancelledError"] * 3
    )
    snapshot = budget.snapshot()
    assert (snapshot.settled["usd"], snapshot.settled["turns"]) == (Decimal("0.0003"), 3)
    assert not snapshot.reserved


class Stubborn:
    """A call that swallows its cancellation and goes on until told, then ends in one of four ways."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.go = asyncio.Event()

    async def __call__(self) -> object:
        if self.how == "cancelled at once":
            await self.go.wait()
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                continue
        if self.how == "answers":
            return {"usage": {"prompt_tokens": 80, "completion_tokens": 40}}
        if self.how == "says nothing":
            return "x"
        if self.how == "is refused":
            raise RefusedError("503")
        raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("how", "cost", "certainty"),
    [
        ("answers", "0.00016", "measured"),
        ("says nothing", "0.0001", "estimated"),
        ("is refused", "0", "measured"),
        ("is cancelled", "0.0001", "estimated"),
        ("cancelled at once", "0.0001", "estimated"),
    ],
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_late_async_turn_is_on_the_books(
    how: str, cost: str, certainty: str, on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reserved while the abandoned call runs; then what it really cost, once, and in the tracker, too."""
    monkeypatch.setattr("techrevati.runtime.deadlines.timeout.CANCELLATION_GRACE_SECONDS", 0.01)
    ledger = SpendLedger(tmp_path / "s.db" if on_disk else ":memory:")
    budget = Budget("acme", 1, ledger=ledger)

    async def main() -> None:
        async with Orchestrator("r", "p", budget=budget).asession() as session:
            call = Stubborn(how)
            with pytest.raises(TurnTimeoutError):
                await session.arun_turn(call, MODEL, timeout=0.01, input_tokens=100, max_output_tokens=100)
            late = how != "cancelled at once"
            assert budget.snapshot().reserved.get("usd", 0) == (Decimal("0.0003") if late else 0)
            call.go.set()
            for _ in range(3):
                await asyncio.sleep(0)
            if how == "answers":
                assert session.tracker.total_cost() == pytest.approx(0.00016)

    asyncio.run(main())
    if ledger.worker is not None:
        ledger.worker.close()
    (record,) = ledger.records()
    assert (record.cost, record.certainty) == (Decimal(cost), certainty)
    assert budget.snapshot().settled.get("usd", 0) == Decimal(cost)
    assert not budget.snapshot().reserved
    ledger.close()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("timed", [None, 30.0])
def test_a_timeout_of_the_call_itself_is_no_late_turn(timed: float | None, asynchronous: bool) -> None:
    """A call that raised a timeout of its own has ended: nothing more will come, nothing stays held."""
    budget = Budget("acme", 1)

    def inner() -> None:
        raise TurnTimeoutError(1)

    async def ainner() -> None:
        raise TurnTimeoutError(1)

    async def main() -> None:
        async with Orchestrator("r", "p", budget=budget).asession() as session:
            await session.arun_turn(ainner, MODEL, timeout=timed, input_tokens=100, max_output_tokens=10)

    with pytest.raises(TurnTimeoutError):
        if asynchronous:
            asyncio.run(main())
        else:
            with Orchestrator("r", "p", budget=budget).session() as session:
                session.run_turn(inner, MODEL, timeout=timed, input_tokens=100, max_output_tokens=10)
    assert not budget.snapshot().reserved
    assert budget.snapshot().settled["usd"] == Decimal("0.0001")


def test_a_turn_of_which_nothing_is_known_says_so() -> None:
    """No usage, and nobody said how much was sent: unknown, not an estimate of zero."""
    ledger = SpendLedger(":memory:")
    with Orchestrator("r", "p", ledger=ledger).session() as session:
        session.run_turn(lambda: "x", model=MODEL)
        session.run_turn(lambda: "x", model=MODEL, input_tokens=100)
        with pytest.raises(ConnectionResetError):
            session.run_turn(_reset, model=MODEL)
    assert [record.certainty for record in ledger.records()] == ["unknown", "estimated", "unknown"]
    assert [group.group for group in ledger.by("certainty")] == ["estimated", "unknown"]


def _reset() -> None:
    raise ConnectionResetError


def test_a_session_on_disk_does_not_block_its_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns and counted tools of async sessions write from another thread."""
    ledger = SpendLedger(tmp_path / "s.db")
    budget = Budget("acme", 1, limits={"tool_calls": 5}, ledger=ledger)
    threads: list[int] = []
    transact = ledger.transact

    def noted(*args: object) -> object:
        threads.append(threading.get_ident())
        return transact(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "transact", noted)

    async def main() -> None:
        async with Orchestrator("r", "p", budget=budget).asession() as session:
            await session.arun_turn(lambda: "x", MODEL, usage=USAGE)
            await session.arun_tool("t", lambda: 1)
            with pytest.raises(RefusedError):
                await session.arun_turn(_refused, MODEL, input_tokens=5, max_output_tokens=5)

    asyncio.run(main())
    assert len(threads) == 6
    assert threading.get_ident() not in threads
    ledger.close()


def _refused() -> None:
    raise RefusedError("503")


def test_tool_calls_are_counted() -> None:
    """The one past the limit does not run."""
    ran = []
    budget = Budget("acme", limits={"tool_calls": 2})
    with Orchestrator("r", "p", budget=budget).session() as session:
        session.run_tool("t", lambda: ran.append(1))
        session.run_tool("t", lambda: ran.append(2))
        with pytest.raises(BudgetExceededError, match="tool_calls"):
            session.run_tool("t", lambda: ran.append(3))
    assert ran == [1, 2]


@pytest.mark.parametrize("timed", [None, 30.0])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_attempt_of_a_recovered_turn_is_on_the_books(timed: float | None, asynchronous: bool) -> None:
    """The refused one costs nothing, the good one its usage; a budget that is spent is no reason to go on."""
    budget = Budget("acme", 0.0005, limits={"attempts": 10})
    recovery = Recovery(sleep=lambda seconds: None, asleep=_no_time)
    desk = Orchestrator("r", "p", budget=budget, recovery=recovery)
    answers: list[object] = [RefusedError(), "good", "good", "never"]

    def answer() -> object:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def turns() -> None:
        async with desk.asession() as session:
            for _ in range(3):
                await session.arun_turn(answer, model=MODEL, usage=USAGE, timeout=timed)

    with pytest.raises(BudgetExceededError):
        if asynchronous:
            asyncio.run(turns())
        else:
            with desk.session() as session:
                for _ in range(3):
                    session.run_turn(answer, model=MODEL, usage=USAGE, timeout=timed)
    assert answers == ["never"]
    snapshot = budget.snapshot()
    assert snapshot.settled == {"usd": Decimal("0.0004"), "attempts": 3}
    assert not any(snapshot.reserved.values())


async def _no_time(seconds: float) -> None:
    """Does not wait."""


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_model_may_change_between_attempts_and_within_one(asynchronous: bool) -> None:
    """A turn is reserved as the model that is asked then and booked as the one that answered."""
    register_pricing("other", ModelPricing(100, 100))
    asked = [MODEL]
    ledger = SpendLedger(":memory:")

    def switch(failure: object) -> None:
        asked.append("other")

    recovery = Recovery({RecoveryStep.SWITCH_PROVIDER: switch}, sleep=lambda s: None, asleep=_no_sleep)
    desk = Orchestrator("r", "p", ledger=ledger, recovery=recovery)

    def ask() -> str:
        if len(asked) == 1:
            raise ConnectionResetError("lost")
        return "answer"

    async def aask() -> str:
        return ask()

    if asynchronous:

        async def turn() -> dict[str, float]:
            async with desk.asession() as session:
                await session.arun_turn(aask, lambda: asked[-1], usage=USAGE)
                return session.tracker.per_model_summary()

        costs = asyncio.run(turn())
    else:
        with desk.session() as session:
            session.run_turn(ask, lambda: asked[-1], usage=USAGE)
            costs = session.tracker.per_model_summary()
    assert costs == {"other": pytest.approx(150 * 100 / 1e6)}
    assert [(one.model, one.certainty) for one in ledger.records()] == [
        (MODEL, "estimated"),
        ("other", "measured"),
    ]


async def _no_sleep(seconds: float) -> None: ...


def test_a_turn_on_record_is_not_spent_again(tmp_path: Path) -> None:
    """A resumed run reserves and books nothing for what an earlier life paid."""
    with SpendLedger(tmp_path / "spend.db") as ledger:
        for answer in ("x", "never"):
            desk = Orchestrator(
                "r", "p", "acme", ledger=ledger, journal=Journal(SqliteStore(tmp_path / "j.db")), run_id="r1"
            )
            with desk.session() as session:
                result, _ = session.run_turn(lambda answer=answer: answer, model=MODEL, usage=USAGE)
                assert result == "x"
            assert len(list(ledger.records())) == 1
            assert ledger.leases() == []


def test_two_handles_on_one_file_are_one_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn of a session, a guarded call and a reservation are recorded once."""
    monkeypatch.chdir(tmp_path)
    with SpendLedger("spend.db") as ledger, SpendLedger(tmp_path / "spend.db") as other:
        budget = Budget("acme", 1, ledger=other)
        desk = Orchestrator("r", "p", "acme", ledger=ledger, budget=budget)
        with desk.session() as session:
            session.run_turn(lambda: "x", model=MODEL, usage=USAGE)
            spend = session.summary()["spend"]
        assert spend["project_usd"] == spend["session_usd"] == "0.0002"  # type: ignore[index]
        assert CallGuard(project="acme", ledger=ledger, budget=budget)._budgets == [budget]
        user = Budget("ann", 1, ledger=ledger)
        both = user.reserve(model=MODEL, input_tokens=100, max_output_tokens=50, also=budget)
        both.settle(USAGE)
        assert len(list(ledger.records())) == 2
        assert budget.snapshot().settled["usd"] == Decimal("0.0004")
    memory, apart = SpendLedger(":memory:"), SpendLedger(":memory:")
    with pytest.raises(ValueError, match="same ledger"):
        Budget("a", ledger=memory).reserve(model=MODEL, also=Budget("b", ledger=apart))


def test_a_summary_does_not_wait_for_who_writes(tmp_path: Path) -> None:
    """It only reads, and what waits for the disk is counted in it."""
    with SpendLedger(tmp_path / "spend.db", timeout_s=0.001) as ledger:
        budget = Budget("acme", 1, ledger=ledger)
        desk = Orchestrator("r", "p", "acme", ledger=ledger, budget=budget)
        with contextlib.closing(sqlite3.connect(tmp_path / "spend.db", isolation_level=None)) as writer:

            def call() -> object:
                writer.execute("BEGIN IMMEDIATE")  # and it goes on for longer than the session waits
                return {"usage": {"prompt_tokens": 100, "completion_tokens": 50}}

            with desk.session() as session:
                session.run_turn(call, model=MODEL, input_tokens=100, max_output_tokens=50)
                spend = session.summary()["spend"]
            writer.execute("ROLLBACK")
        assert spend["pending"] == 1  # type: ignore[index]
        assert spend["budget"]["reserved"] == {"usd": "0.0002"}  # type: ignore[index]
        assert desk.budget is budget
        ledger.flush()
        assert budget.snapshot().settled == {"usd": Decimal("0.0002")}
