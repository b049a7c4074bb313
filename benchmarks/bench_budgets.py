"""What it takes to reserve and settle a call: in memory, beside a peer, and in eight processes."""

from __future__ import annotations

import multiprocessing
import sqlite3
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import quantiles
from time import perf_counter, sleep

from benchmarks.harness import (
    Aim,
    Comparison,
    Effort,
    Figure,
    Subject,
    WrongAnswerError,
    answer,
    compare_all,
    floor,
)
from benchmarks.peers import LIMITERS
from techrevati.runtime.budgets import Budget
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.usage import UsageSnapshot

ONE_LIMIT, TAIL = Aim(5e-6, "s"), Aim(25e-3, "s")
MODEL, USAGE = "gpt-4o-mini", UsageSnapshot(input_tokens=800, output_tokens=200)
CODE = "reserve(model=model, input_tokens=800, max_output_tokens=300).settle(usage)\nresult = None"
PROCESSES, THINK_S, CALLS = 8, 0.002, 200


def _floor() -> Subject:
    return Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1)


def _settled(budget: Budget) -> Callable[[], str]:
    def look() -> str:
        snapshot = budget.snapshot()
        if not all(snapshot.settled.values()) or snapshot.reserved:
            raise WrongAnswerError(f"{snapshot}")
        return ""

    return look


def _ours(budget: Budget) -> Subject:
    names = {"reserve": budget.reserve, "model": MODEL, "usage": USAGE}
    return Subject("ours", CODE, names, check=_settled(budget))


def _peer(name: str) -> Subject:
    """It counts after the call, so there is nothing to reserve."""
    peer = import_module(name)
    peer.init(budget_usd=1e9)
    code = "result = record('gpt-4o-mini', tokens_in=800, tokens_out=200)"
    return Subject(name, code, {"record": peer.record_call}, check=lambda: "counts after the call")


def comparisons(*, peers: bool = False) -> list[Comparison]:
    """One limit of calls, one of money, and a sub-agent's budget inside a run's."""
    missing: list[Subject] = []
    for name in LIMITERS if peers else ():
        try:
            missing.append(_peer(name))
        except Exception as error:
            missing.append(Subject(name, "raise problem", {"problem": error}))
    calls = Budget("calls", limits={"model_calls": 10**12})
    money = Budget("money", 10**9)
    child = Budget("run", 10**9).child("agent", 10**9, {"model_calls": 10**12})
    return [
        Comparison("reserve and settle, a limit of calls", _floor(), [_ours(calls)], ONE_LIMIT),
        Comparison(
            "reserve and settle, a limit of US dollars", _floor(), [_ours(money), *missing], ONE_LIMIT
        ),
        Comparison("reserve and settle, in a sub-budget, three limits", _floor(), [_ours(child)]),
    ]


def _ours_at(path: str) -> Callable[[], object]:
    budget = Budget("shared", 10**6, ledger=SpendLedger(path))
    return lambda: budget.reserve(model=MODEL, input_tokens=800, max_output_tokens=300).settle(USAGE)


def _raw_at(path: str) -> Callable[[], object]:
    """Two synced transactions that each write one small row, and SQLite's own way to wait for others."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")

    def twice() -> None:
        for _ in range(2):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO row VALUES (NULL, 'lease')")
            connection.execute("COMMIT")

    return twice


def _work(
    of: Callable[[str], Callable[[], object]], path: str, calls: int, barrier: object, took: object
) -> None:
    call = of(path)
    call()  # the first one loads the price book
    barrier.wait()  # type: ignore[attr-defined]
    times = []
    for _ in range(calls):
        started_s = perf_counter()
        call()
        times.append(perf_counter() - started_s)
        sleep(THINK_S)
    took.put(times)  # type: ignore[attr-defined]


def _in_processes(
    of: Callable[[str], Callable[[], object]], path: str, processes: int, calls: int
) -> list[float]:
    """The percentiles of what each call took."""
    spawn = multiprocessing.get_context("spawn")
    barrier, took = spawn.Barrier(processes), spawn.Queue()
    workers = [spawn.Process(target=_work, args=(of, path, calls, barrier, took)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    times = [time for _ in workers for time in took.get(timeout=280)]
    for worker in workers:
        worker.join(30)
    return quantiles(times, n=100)


def fairness(processes: int = PROCESSES, calls: int = CALLS) -> Figure:
    """The slowest percent of what processes on one ledger file wait for a reservation and its settlement.

    A disk that others use decides it as much as we do: what two raw transactions of as many processes take
    at the same time of day stands beside it.
    """
    with tempfile.TemporaryDirectory() as folder:
        raw, path = str(Path(folder, "raw.db")), str(Path(folder, "spend.db"))
        connection = sqlite3.connect(raw)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, text TEXT)")
        connection.close()
        SpendLedger(path).close()
        least = _in_processes(_raw_at, raw, processes, calls)
        marks = _in_processes(_ours_at, path, processes, calls)
        with SpendLedger(path) as ledger:
            if sum(group.calls for group in ledger.by("model")) != processes * (calls + 1):
                raise WrongAnswerError("records are missing")
    return Figure(
        f"reserve and settle, {processes} processes on one file, {THINK_S * 1000:g} ms between: p99",
        "ours",
        marks[98],
        floor_seconds=least[98],
        aim=TAIL,
        note=f"p50 {marks[49] * 1000:.1f} ms; two raw transactions: {least[49] * 1000:.1f} ms",
    )


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """All figures."""
    return [*compare_all(comparisons(peers=peers), effort), fairness(calls=min(CALLS, 2 * effort.rounds))]
