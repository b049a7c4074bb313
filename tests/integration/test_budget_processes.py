"""Many processes on one ledger file, some of them killed: the sums are right whatever happens.

The children say over a pipe what they were told; what they said is compared with the file.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from techrevati.runtime.budgets import Budget, BudgetExceededError
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.usage import UsageSnapshot

SPAWN = multiprocessing.get_context("spawn")
MODEL = "process-small"
ROUNDS = 200


def work(path: str, durability: str, limit: Decimal, rounds: int, go: object, pipe: object) -> None:
    """Reserve and settle as often as told; say each acknowledged step."""
    register_pricing(MODEL, ModelPricing(1, 1))
    ledger = SpendLedger(path, durability=durability)
    budget = Budget("shared", limit, ledger=ledger, lease_seconds=0.5)
    pipe.send(("ready", "", 0))  # type: ignore[attr-defined]
    go.wait()  # type: ignore[attr-defined]
    for number in range(rounds):
        key = f"{os.getpid()}-{number}"
        used = number % 10
        try:
            reservation = budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=0, key=key)
        except BudgetExceededError:
            pipe.send(("refused", key, 0))  # type: ignore[attr-defined]
            continue
        pipe.send(("reserved", key, 10))  # type: ignore[attr-defined]
        reservation.settle(UsageSnapshot(used))
        pipe.send(("settled", key, used))  # type: ignore[attr-defined]
    ledger.close()
    pipe.send(("done", "", 0))  # type: ignore[attr-defined]
    pipe.close()  # type: ignore[attr-defined]
    os._exit(0)


@pytest.mark.parametrize(("durability", "seed"), [("full", 5), ("batched", 5), ("batched", 6)])
def test_eight_processes_and_sigkill(tmp_path: Path, durability: str, seed: int) -> None:
    """Never over the limit, no acknowledged record lost, none counted twice, every lease accounted for."""
    path = str(tmp_path / "spend.db")
    rng = random.Random(seed)
    limit = Decimal("0.004")  # 4,000 tokens: about 800 calls of those 1,600
    go = SPAWN.Event()
    workers = []
    for number in range(8):
        ours, theirs = SPAWN.Pipe(duplex=False)
        dies_after = rng.randrange(20, 120) if number < 3 else None
        # Who is to be killed never comes to its end: long before, its pipe is full.
        rounds = ROUNDS if dies_after is None else 100 * ROUNDS
        process = SPAWN.Process(target=work, args=(path, durability, limit, rounds, go, theirs))
        process.start()
        theirs.close()
        workers.append((process, ours, dies_after))
    for _, pipe, _ in workers:
        assert pipe.recv()[0] == "ready"
    go.set()
    said: list[tuple[str, str, int]] = []
    for process, pipe, dies_after in workers:
        for _ in range(dies_after or 0):
            said.append(pipe.recv())
        if dies_after:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        try:
            while True:
                said.append(pipe.recv())
        except EOFError:
            process.join(30)
        assert process.exitcode == (-signal.SIGKILL if dies_after else 0)

    register_pricing(MODEL, ModelPricing(1, 1))
    ledger = SpendLedger(path)
    records = {record.key: record.usage.input_tokens for record in ledger.records()}
    settled = {key: tokens for what, key, tokens in said if what == "settled"}
    reserved = {key for what, key, _ in said if what == "reserved"}
    assert settled.items() <= records.items()  # nothing acknowledged is lost
    leases = {lease.key for lease in ledger.leases()}
    assert not leases & records.keys()
    assert reserved <= records.keys() | leases  # what was reserved was settled, or is still held
    assert len(leases) <= 3  # only the dead hold any

    budget = Budget("shared", limit, ledger=ledger)
    snapshot = budget.snapshot()
    assert snapshot.settled.get("usd", 0) == Decimal(sum(records.values())) / 10**6 == ledger.total()
    assert snapshot.reserved.get("usd", 0) == Decimal(10 * len(leases)) / 10**6
    assert snapshot.remaining() >= 0

    deadline = time.monotonic() + 30
    while len(ledger.doubts()) < len(leases):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for doubt in ledger.doubts():
        ledger.resolve(doubt.key, not_sent=True)
    assert not budget.snapshot().reserved
    assert ledger.doubts() == []
    ledger.close()


def test_eight_threads_on_one_file(tmp_path: Path) -> None:
    """Each with a ledger of its own: never over the limit, every settlement on the books, nothing held."""
    register_pricing(MODEL, ModelPricing(1, 1))
    path, limit = tmp_path / "spend.db", Decimal("0.004")
    start, used, errors = threading.Barrier(8), list[int](), list[BaseException]()

    def work(number: int) -> None:
        try:
            with SpendLedger(path, durability="batched") as ledger:
                budget = Budget("shared", limit, ledger=ledger)
                start.wait()
                for turn in range(ROUNDS):
                    try:
                        reservation = budget.reserve(model=MODEL, input_tokens=10, max_output_tokens=0)
                    except BudgetExceededError:
                        continue
                    reservation.settle(UsageSnapshot((number + turn) % 11))
                    used.append((number + turn) % 11)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with SpendLedger(path) as ledger:
        snapshot = Budget("shared", limit, ledger=ledger).snapshot()
        assert Decimal(sum(used)) / 10**6 == snapshot.settled["usd"] == ledger.total() <= limit
        assert ledger.leases() == []
        assert sum(group.calls for group in ledger.by("model")) == len(used)
        assert snapshot.remaining() < Decimal("0.0001")
