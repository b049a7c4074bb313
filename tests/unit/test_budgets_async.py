"""Budgets in tasks: a file is never waited for on the loop's thread; cancellation leaves nothing behind."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime._core.worker import Worker, ended
from techrevati.runtime.budgets import Budget, BudgetExceededError, BudgetThreshold, Reservation
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.usage import UsageSnapshot

MODEL = "budget-async"
CALL = {"model": MODEL, "input_tokens": 10, "max_output_tokens": 0}


@pytest.fixture(autouse=True)
def prices() -> None:
    register_pricing(MODEL, ModelPricing(1, 2))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SpendLedger]:
    with SpendLedger(tmp_path / "spend.db") as made:
        yield made


class Gate:
    """Notes which threads write, and lets them through when told."""

    def __init__(self, ledger: SpendLedger, monkeypatch: pytest.MonkeyPatch) -> None:
        self.threads: list[int] = []
        self.entered, self.open = threading.Event(), threading.Event()
        self.open.set()
        write = ledger.transact

        def gated(*args: object) -> object:
            self.threads.append(threading.get_ident())
            self.entered.set()
            assert self.open.wait(30)
            return write(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(ledger, "transact", gated)

    async def someone_is_inside(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 30)

    def close(self) -> None:
        self.entered.clear()
        self.open.clear()


def test_files_are_written_by_another_thread(ledger: SpendLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to begin and to end; the loop goes on meanwhile, and calls the listeners."""
    told: list[tuple[int, int]] = []

    def listen(threshold: BudgetThreshold) -> None:
        told.append((threshold.percent, threading.get_ident()))

    budget = Budget("acme", 0.00006, ledger=ledger, on_threshold=listen)
    gate = Gate(ledger, monkeypatch)

    async def main() -> None:
        settled = await budget.areserve(**CALL)  # type: ignore[arg-type]
        gate.close()
        settling = asyncio.create_task(settled.asettle(UsageSnapshot(40)))
        await gate.someone_is_inside()  # and this loop runs on
        assert not settling.done()
        assert told == []
        gate.open.set()
        await settling
        await (await budget.areserve(**CALL)).arelease()  # type: ignore[arg-type]
        async with await budget.areserve(**CALL):  # type: ignore[arg-type]
            pass
        with pytest.raises(ConnectionRefusedError):
            async with await budget.areserve(**CALL):  # type: ignore[arg-type]
                raise ConnectionRefusedError
        with pytest.raises(BudgetExceededError):
            await budget.areserve(model=MODEL, input_tokens=11, max_output_tokens=0)

    asyncio.run(main())
    assert told == [(50, threading.get_ident()), (80, threading.get_ident())]
    assert gate.threads
    assert threading.get_ident() not in gate.threads
    assert len(set(gate.threads)) == 1
    assert budget.snapshot().settled == {"usd": Decimal("0.00005")}
    assert not budget.snapshot().reserved


@pytest.mark.parametrize("kind", ["none", "memory"])
def test_memory_needs_no_thread(kind: str) -> None:
    """What does not block is done at once, on this thread."""
    ledger = SpendLedger(":memory:") if kind == "memory" else None
    budget = Budget("acme", 1, ledger=ledger)
    before = threading.active_count() + (ledger is not None)  # a ledger's leases are renewed by a thread

    async def main() -> None:
        reservation = await budget.areserve(**CALL)  # type: ignore[arg-type]
        assert threading.active_count() <= before
        await reservation.asettle(UsageSnapshot(10))

    asyncio.run(main())
    assert budget.snapshot().settled == {"usd": Decimal("0.00001")}


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_reservation_is_given_back(
    ledger: SpendLedger, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """Whether its transaction had begun or waited behind another one."""
    budget = Budget("acme", 1, ledger=ledger)
    gate = Gate(ledger, monkeypatch)

    async def main() -> None:
        gate.close()
        other = asyncio.create_task(budget.areserve(**CALL))  # type: ignore[arg-type]
        await gate.someone_is_inside()
        second = asyncio.create_task(budget.areserve(**CALL))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        cancelled, kept = (other, second) if begun else (second, other)
        cancelled.cancel()
        await asyncio.sleep(0)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        if begun:
            assert len(ledger.leases()) <= 1  # its own is back when the cancellation is told
        await (await kept).arelease()

    asyncio.run(main())
    assert ledger.leases() == []
    assert not budget.snapshot().reserved
    assert not budget.snapshot().settled


@pytest.mark.parametrize("twice", [False, True])
def test_a_cancelled_settlement_settles(
    ledger: SpendLedger, monkeypatch: pytest.MonkeyPatch, twice: bool
) -> None:
    """The first cancellation waits for the books; the second does not, and they are written all the same."""
    told: list[int] = []
    budget = Budget("acme", 0.00001, ledger=ledger, on_threshold=lambda one: told.append(one.percent))
    gate = Gate(ledger, monkeypatch)

    async def main() -> None:
        reservation = await budget.areserve(**CALL)  # type: ignore[arg-type]
        gate.close()
        settling = asyncio.create_task(reservation.asettle(UsageSnapshot(10)))
        await gate.someone_is_inside()
        settling.cancel()
        await asyncio.sleep(0)
        assert not settling.done()
        if twice:
            settling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await settling
            gate.open.set()
        else:
            gate.open.set()
            with pytest.raises(asyncio.CancelledError):
                await settling
            assert ledger.leases() == []

    asyncio.run(main())
    assert ledger.worker is not None
    ledger.worker.close()
    assert budget.snapshot().settled == {"usd": Decimal("0.00001")}
    assert told == [50, 80, 100]


def test_a_loop_that_ends_leaves_no_lease(ledger: SpendLedger) -> None:
    """``asyncio.run`` cancels who still waits; each reservation is settled, given back or never made."""
    budget = Budget("acme", 1, ledger=ledger)
    running: list[asyncio.Task[None]] = []
    inside: list[int] = []

    async def call() -> None:
        async with await budget.areserve(**CALL):  # type: ignore[arg-type]
            inside.append(1)
            await asyncio.Event().wait()

    async def main() -> None:
        running.extend(asyncio.create_task(call()) for _ in range(50))
        while len(inside) < 10:  # noqa: ASYNC110
            await asyncio.sleep(0)

    asyncio.run(main())
    assert ledger.leases() == []
    assert len(running) == 50
    assert list(ledger.records())
    assert {record.certainty for record in ledger.records()} == {"estimated"}
    assert budget.snapshot().settled["usd"] == ledger.total()


def test_a_disk_that_fails_keeps_an_async_settlement(tmp_path: Path) -> None:
    """Nothing is raised to the task; it is pending, then written and told."""
    told: list[int] = []
    ledger = SpendLedger(tmp_path / "s.db", timeout_s=0.02)
    budget = Budget("acme", 0.00001, ledger=ledger, on_threshold=lambda one: told.append(one.percent))

    async def main() -> None:
        reservation = await budget.areserve(**CALL)  # type: ignore[arg-type]
        other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await reservation.asettle(UsageSnapshot(10))
        assert (ledger.pending, told) == (1, [])
        other.execute("ROLLBACK")
        other.close()

    asyncio.run(main())
    ledger.flush()
    assert told == [50, 80, 100]
    ledger.close()


@pytest.mark.slow
def test_a_thousand_tasks_on_one_file(tmp_path: Path) -> None:
    """Each is refused or settled, some are cancelled at any moment; never over, every lease is back."""
    ledger = SpendLedger(tmp_path / "s.db", durability="batched")
    budget = Budget("acme", 0.005, ledger=ledger)
    paid: list[int] = []

    async def call(number: int) -> str:
        try:
            async with await budget.areserve(**CALL) as reservation:  # type: ignore[arg-type]
                await asyncio.sleep(0)
                await reservation.asettle(UsageSnapshot(number % 10))
                paid.append(number % 10)
                return "paid"
        except BudgetExceededError:
            return "refused"

    async def main() -> list[object]:
        tasks = [asyncio.create_task(call(number)) for number in range(1000)]
        for number, task in enumerate(tasks):
            if number % 7 == 0:
                task.cancel()
            if number % 20 == 0:
                await asyncio.sleep(0)
            if number % 11 == 0:
                tasks[number // 2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert all(
        outcome in ("paid", "refused") or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes
    )
    assert outcomes.count("paid") == len(paid) > 300
    assert ledger.leases() == []
    snapshot = budget.snapshot()
    assert not snapshot.reserved
    assert Decimal(sum(paid)) / 10**6 <= snapshot.settled["usd"] == ledger.total() <= Decimal("0.005")
    ledger.close()


def test_the_arguments_are_those_of_reserve() -> None:
    """For editors and checkers; a wrong one is refused."""
    assert (
        inspect.signature(Budget.areserve).parameters.keys()
        == inspect.signature(Budget.reserve).parameters.keys()
    )
    assert inspect.iscoroutinefunction(Budget.areserve)
    with pytest.raises(TypeError, match="tokens"):
        asyncio.run(Budget("b").areserve(tokens=3))  # type: ignore[call-arg, arg-type]


def test_a_worker_keeps_the_order_and_starts_again() -> None:
    """Work is done in the order given; closed from inside, it does not wait for itself."""
    worker, done = Worker("test"), list[int]()
    futures = [worker.submit(lambda number=number: done.append(number)) for number in range(100)]  # type: ignore[misc]
    worker.submit(worker.close).result(10)
    worker.close()
    assert done == list(range(100))
    assert all(future.done() for future in futures)
    assert worker.submit(threading.get_ident).result(10) != threading.get_ident()

    async def waits() -> None:
        await ended(worker.submit(lambda: 1 / 0))

    asyncio.run(waits())  # the error is the future's, not the waiter's
    worker.close()


def test_a_reservation_ends_once_whoever_ends_it(ledger: SpendLedger) -> None:
    """Leaving after a settlement, failing after leaving: nothing is counted twice."""
    budget = Budget("acme", 1, ledger=ledger)

    async def main() -> None:
        async with await budget.areserve(**CALL) as reservation:  # type: ignore[arg-type]
            await reservation.asettle(UsageSnapshot(10))
        for late in late_ends(reservation):
            late()
        await reservation.afail(TimeoutError())
        await reservation.arelease()

    asyncio.run(main())
    assert ledger.total() == Decimal("0.00001")


def late_ends(reservation: Reservation) -> list[Callable[[], None]]:
    return [reservation.release, reservation.fail, lambda: reservation.end_soon(UsageSnapshot(3))]
