"""The provider's bill equals our ledger: 24 workers on one budget, over real HTTP, some of them killed.

The endpoint keeps the bill as a provider would.  Whatever the workers do, what it charges is what the ledger
says, apart from the doubts that killed processes leave, and it is never more than the limit.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError, estimate_input_tokens
from techrevati.runtime.chaos import ChaosServer, Fault, FaultKind, Rule, Scenario
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.usage import UsageSnapshot

SPAWN = multiprocessing.get_context("spawn")
MODEL = "proof-small"
PRICES = ModelPricing(2.5, 10, cache_read_per_million=0.25)
WORKERS = 24
MAX_CALLS = 40  # of one worker; the budget ends long before
LIMIT = Decimal("0.05")
# Every fifth request is refused before it costs anything.
REFUSALS = Scenario("proof", (Rule(Fault(FaultKind.UNAVAILABLE), every=5),))
# What the HTTP client says of itself where a call waits next; each call comes to each of the first two.
MOMENTS = (
    "http11.send_request_headers.started",
    "http11.send_request_body.complete",
    "http11.receive_response_body.started",
)


def endpoint() -> ChaosServer:
    """A server that charges what the ledger expects."""
    return ChaosServer(REFUSALS, models=(MODEL,), prices={MODEL: PRICES})


def call(budget: Budget, base_url: str, number: int) -> None:
    """One guarded call; a refusal of the endpoint is its own affair, one of the budget is raised."""
    request = {
        "model": MODEL,
        "max_tokens": 64,
        "messages": [{"role": "user", "content": f"Question {number}: what does the lamp cost?"}],
    }
    with budget.reserve(
        model=MODEL, input_tokens=estimate_input_tokens(request), max_output_tokens=64, project="proof"
    ) as reservation:
        sent = urllib.request.Request(
            f"{base_url}/chat/completions", json.dumps(request).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(sent, timeout=30) as response:
            reservation.settle(UsageSnapshot.from_response(response.read()))


def work(budget: Budget, base_url: str, first: int) -> None:
    """Call until the budget says no."""
    for number in range(first, first + MAX_CALLS):
        try:
            call(budget, base_url, number)
        except BudgetExceededError:
            return
        except urllib.error.HTTPError as refused:
            refused.close()


def assert_books_agree(server: ChaosServer, ledger: SpendLedger, budget: Budget) -> None:
    """To the last digit, and within the limit; much of it was spent."""
    server.wait_idle()
    bill = server.bill
    assert bill.billed_requests < bill.requests < WORKERS * MAX_CALLS
    assert ledger.total() == bill.cost_usd == budget.snapshot().settled["usd"]
    assert LIMIT / 4 < ledger.total() <= LIMIT
    assert not any(budget.snapshot().reserved.values())
    assert ledger.doubts() == []


def test_threads(tmp_path: Path) -> None:
    """24 threads."""
    register_pricing(MODEL, PRICES)
    with endpoint() as server, SpendLedger(tmp_path / "spend.db", durability="batched") as ledger:
        budget = Budget("proof", LIMIT, ledger=ledger)
        threads = [
            threading.Thread(target=work, args=(budget, server.base_url, number * MAX_CALLS))
            for number in range(WORKERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        ledger.flush()
        assert_books_agree(server, ledger, budget)


class Tasks:
    """Calls in tasks, some of which are cancelled.

    Attributes:
        cut: Key to the most it may cost, of each call that was cancelled on its way.
        answered: The provider's id of each answered request to the key of its reservation.
    """

    def __init__(self, client: httpx.AsyncClient, budget: Budget, base_url: str, rng: random.Random) -> None:
        self._client, self._budget, self._url, self._rng = client, budget, base_url, rng
        self.cut: dict[str, Decimal] = {}
        self.answered: dict[str, str] = {}
        self._cancelling: list[asyncio.Task[None]] = []

    async def work(self, first: int, dies: tuple[int, str | None] | None) -> None:
        """Call until the budget says no.  *dies*: in which call it is cancelled, and when: see `_call`."""
        for number in range(MAX_CALLS):
            try:
                if dies is not None and dies[0] == number:
                    await self._call(first + number, dies[1] or "some steps later")
                else:
                    await self._call(first + number)
            except BudgetExceededError:
                return
            except httpx.HTTPStatusError:
                continue

    async def _call(self, number: int, dies: str | None = None) -> None:
        """One call.  *dies*: it is cancelled at this moment of `MOMENTS`, or some steps of the loop later."""
        task = asyncio.current_task()
        assert task is not None
        request = {
            "model": MODEL,
            "max_tokens": 64,
            "messages": [{"role": "user", "content": f"Question {number}: what does the lamp cost?"}],
        }
        async with await self._budget.areserve(
            model=MODEL, input_tokens=estimate_input_tokens(request), max_output_tokens=64, project="proof"
        ) as reservation:
            most = reservation.cost_usd
            assert most is not None
            if dies == "some steps later":
                self._cancelling.append(asyncio.create_task(self._cancel(task)))

            async def cancel_at(moment: str, _: object) -> None:
                if moment == dies:
                    task.cancel()

            try:
                response = await self._client.post(
                    f"{self._url}/chat/completions", json=request, extensions={"trace": cancel_at}
                )
                response.raise_for_status()
            except asyncio.CancelledError:
                self.cut[reservation.key] = most
                raise
            self.answered[response.headers["x-request-id"]] = reservation.key
            await reservation.asettle(UsageSnapshot.from_response(response.json()))

    async def _cancel(self, task: asyncio.Task[None]) -> None:
        """A few steps of the loop later: while it connects, sends, waits, reads or settles."""
        for _ in range(self._rng.randrange(2, 20)):
            await asyncio.sleep(0)
        task.cancel()


@pytest.mark.parametrize("where", ["anywhere", "in a call"])
@pytest.mark.parametrize("seed", [1, 2])
def test_tasks_and_cancellation(tmp_path: Path, seed: int, where: str) -> None:
    """24 tasks, a third of them cancelled at any moment: waiting for the books, for the answer, or settling.

    What was not cut is on the books to the last digit, call by call.  What was cut on its way is estimated
    and listed, and the bill for it is within what was reserved for it.
    """
    register_pricing(MODEL, PRICES)
    rng = random.Random(seed)
    with endpoint() as server, SpendLedger(tmp_path / "spend.db", durability="batched") as ledger:
        budget = Budget("proof", LIMIT, ledger=ledger)

        async def everybody() -> tuple[Tasks, list[object], int]:
            async with httpx.AsyncClient(timeout=30) as client:
                of = Tasks(client, budget, server.base_url, rng)
                dying = rng.sample(range(WORKERS), WORKERS // 3)
                dies_in: dict[int, tuple[int, str | None]] = {}
                if (
                    where == "in a call"
                ):  # two of them for certain: nobody's first call is refused by the budget
                    dies_in = {n: (rng.randrange(3), rng.choice((*MOMENTS, None))) for n in dying}
                    dies_in |= {dying[0]: (0, MOMENTS[0]), dying[1]: (0, MOMENTS[1])}
                tasks = [
                    asyncio.create_task(of.work(number * MAX_CALLS, dies_in.get(number)))
                    for number in range(WORKERS)
                ]
                cancelled = len(dies_in)
                for number in set(dying) - dies_in.keys():
                    for _ in range(rng.randrange(1, 150)):
                        await asyncio.sleep(0)
                    cancelled += tasks[number].cancel()
                return of, await asyncio.gather(*tasks, return_exceptions=True), cancelled

        of, outcomes, cancelled = asyncio.run(everybody())
        cut, answered = of.cut, of.answered
        ends = sum(isinstance(one, asyncio.CancelledError) for one in outcomes)
        assert all(one is None or isinstance(one, asyncio.CancelledError) for one in outcomes)
        assert 1 < ends <= cancelled
        assert where == "anywhere" or len(cut) > 1
        server.wait_idle()
        ledger.flush()
        bill = server.bill.cost_usd
        assert bill is not None
        assert server.dropped == 0
        lines = {one.request_id: one.cost_usd for one in server.injected}
        booked = {record.key: record for record in ledger.records()}
        for request_id, key in answered.items():
            assert booked[key].cost == lines[request_id]
        estimated = {key for key, record in booked.items() if record.certainty == "estimated"}
        assert estimated == cut.keys()
        assert all(booked[key].failure == "cancelled" for key in cut)
        measured = ledger.total(certainty="measured")
        rest = bill - measured  # what the provider charges for the calls that were cut
        assert rest == sum((cost or 0 for one, cost in lines.items() if one not in answered), Decimal(0))
        assert 0 <= rest <= sum(cut.values())
        assert ledger.total() == budget.snapshot().settled["usd"] <= LIMIT
        assert ledger.total() > LIMIT / 4
        assert ledger.leases() == []
        assert not any(budget.snapshot().reserved.values())


def process(path: str, base_url: str, first: int, ready: object) -> None:
    """Four threads in a process of their own."""
    register_pricing(MODEL, PRICES)
    ledger = SpendLedger(path)
    budget = Budget("proof", LIMIT, ledger=ledger, lease_seconds=0.5)
    threads = [
        threading.Thread(target=work, args=(budget, base_url, first + number * MAX_CALLS), daemon=True)
        for number in range(4)
    ]
    ready.wait()  # type: ignore[attr-defined]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ledger.close()


def test_processes_and_sigkill(tmp_path: Path) -> None:
    """Six processes of four threads; two are killed with calls under way.  What these calls cost is in doubt,
    held in full and listed; everything else is on the books to the last digit."""
    register_pricing(MODEL, PRICES)
    path = str(tmp_path / "spend.db")
    enough, killed = threading.Event(), threading.Event()
    seen: list[object] = []

    def count(record: object) -> None:
        seen.append(record)
        if len(seen) >= 12:
            enough.set()
            killed.wait(30)  # else a quick endpoint could be through with all of them before

    server = ChaosServer(REFUSALS, models=(MODEL,), prices={MODEL: PRICES}, on_request=count)
    with server:
        barrier = SPAWN.Barrier(6)
        workers = [
            SPAWN.Process(target=process, args=(path, server.base_url, number * 4 * MAX_CALLS, barrier))
            for number in range(6)
        ]
        for worker in workers:
            worker.start()
        assert enough.wait(60)
        for worker in workers[:2]:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
        killed.set()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 2 + [0] * 4
        server.wait_idle()
        billed = server.bill.cost_usd
        assert billed is not None

    with SpendLedger(path) as ledger:
        budget = Budget("proof", LIMIT, ledger=ledger)
        leases = ledger.leases()
        assert len(leases) <= 8  # the dead ones' threads
        snapshot = budget.snapshot()
        assert snapshot.settled["usd"] == ledger.total()
        held = snapshot.reserved.get("usd", Decimal(0))
        assert ledger.total() <= billed <= ledger.total() + held <= LIMIT
        if not leases:
            assert billed == ledger.total()
        end = time.monotonic() + 30
        while len(ledger.doubts()) < len(leases):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert sum((doubt.cost for doubt in ledger.doubts()), Decimal(0)) == held


def test_naive_counting_overspends() -> None:
    """Without reservations, whoever counts after the call goes over: the proof above proves something."""
    register_pricing(MODEL, PRICES)
    spent, lock, gate = [Decimal(0)], threading.Lock(), threading.Barrier(WORKERS)
    with ChaosServer(models=(MODEL,), prices={MODEL: PRICES}) as server:
        small = Decimal("0.0005")

        def naive(number: int) -> None:
            gate.wait()
            if spent[0] < small:
                budget = Budget("one call", 1)
                call(budget, server.base_url, number)
                with lock:
                    spent[0] += Decimal(str(budget.snapshot().settled["usd"]))

        threads = [threading.Thread(target=naive, args=(number,)) for number in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        server.wait_idle()
        assert server.bill.cost_usd == spent[0] > small
