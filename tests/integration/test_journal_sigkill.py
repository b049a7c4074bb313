"""SIGKILL at every write of a paid agent: ledger, budget and journal share one SQLite file.

Twelve steps (six model calls over HTTP, six tools that leave a line in a file).  A process is killed right
before or right after its n-th write to the file, for every n, those of the ledger included; the next one
goes on with the same run, and settles what is in doubt by what the endpoint and the world have seen.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.chaos import ChaosServer
from techrevati.runtime.journal import InDoubtError, Journal
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.stores import SqliteStore
from techrevati.runtime.stores.sqlite_file import SqliteFile
from techrevati.runtime.usage import UsageSnapshot

SPAWN = multiprocessing.get_context("spawn")
MODEL, PRICES = "bill-small", ModelPricing(2.5, 10)
STEPS = 12
LATER_S = 3600.0


class Billed(NamedTuple):
    """What the endpoint has seen and charged so far."""

    requests: int
    usd: Decimal


def serve(pipe: Any) -> None:
    """An endpoint in a process of its own, so that the test may fork; answers each message with its bill."""
    with ChaosServer(models=(MODEL,), prices={MODEL: PRICES}) as server:
        pipe.send(server.base_url)
        while pipe.recv() is not None:
            server.wait_idle()
            pipe.send(Billed(server.bill.requests, server.bill.cost_usd or Decimal(0)))


@contextmanager
def endpoint() -> Iterator[tuple[str, Callable[[], Billed]]]:
    """Its address, and what asks for its bill."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(theirs,))
    process.start()
    try:
        base_url = ours.recv()

        def bill() -> Billed:
            ours.send("bill")
            answer: Billed = ours.recv()
            return answer

        yield base_url, bill
        ours.send(None)
        process.join(30)
    finally:
        process.kill()
        process.join()


def ask(base_url: str, number: int) -> dict[str, Any]:
    """One paid call."""
    request = {
        "model": MODEL,
        "max_tokens": 32,
        "messages": [{"role": "user", "content": f"Question {number}: " + "why? " * number}],
    }
    sent = urllib.request.Request(
        f"{base_url}/chat/completions", json.dumps(request).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(sent, timeout=30) as response:
        found: dict[str, Any] = json.loads(response.read())
        return found


def effect(folder: str, name: str) -> str:
    """What the world sees of a tool."""
    handle = os.open(f"{folder}/effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{name}\n".encode())
    os.close(handle)
    return name


def agent(folder: str, base_url: str, journal: Journal, ledger: SpendLedger) -> None:
    """Twelve steps."""
    budget = Budget("all", Decimal("1"), ledger=ledger)
    orchestrator = Orchestrator(
        "role", "phase", project_id="p", journal=journal, run_id="r", ledger=ledger, budget=budget
    )
    with orchestrator.session() as session:
        for n in range(STEPS // 2):
            answer, _ = session.run_turn(
                partial(ask, base_url, n), MODEL, input_tokens=100, max_output_tokens=32, key=f"turn {n}"
            )
            assert answer["usage"]["prompt_tokens"] > 0
            name = f"tool {n}"
            assert session.run_tool("t", effect, {"folder": folder, "name": name}, key=name) == name


def live(folder: str, base_url: str, dies_at: int, after: bool) -> int:
    """One life, in this process; how often it wrote to the file."""
    writes, write = [0], SqliteFile.write

    def counted(file: SqliteFile, work: Any, *, durable: bool = True) -> Any:
        writes[0] += 1
        if writes[0] == dies_at and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = write(file, work, durable=durable)
        if writes[0] == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    register_pricing(MODEL, PRICES)
    path = f"{folder}/run.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteFile, "write", counted)
        with (
            SqliteStore(path, durability="batched") as store,
            SpendLedger(path, durability="batched") as ledger,
        ):
            agent(folder, base_url, Journal(store, lease_seconds=600), ledger)
    return writes[0]


def resumed(folder: str, base_url: str, requests: Callable[[], int], usages: list[UsageSnapshot]) -> int:
    """Go on to the end, as somebody does who sees the endpoint and the world; how many doubts there were."""
    path, doubts = f"{folder}/run.db", 0
    clock = lambda: time.time() + LATER_S  # noqa: E731  # leases of the dead have ended
    with SqliteStore(path) as store, SpendLedger(path, clock=clock) as ledger:
        journal = Journal(store)
        while True:
            try:
                agent(folder, base_url, journal, ledger)
                break
            except InDoubtError as doubt:
                doubts += 1
                assert doubts == 1
                step = doubt.step
                assert journal.run("r").in_doubt == (step.key,)
                number = int(step.key.split()[1])
                if step.kind == "turn":
                    happened = requests() > number
                    result: Any = {"usage": {"prompt_tokens": 1}}
                    for lease in ledger.doubts():
                        if happened:
                            ledger.resolve(lease.key, usage=usages[number])
                        else:
                            ledger.resolve(lease.key, not_sent=True)
                else:
                    world = Path(folder, "effects")
                    happened = world.exists() and step.key in world.read_text().splitlines()
                    result = step.key
                journal.resolve("r", step.key, happened=happened, result=result)
        assert journal.run("r")[1:3] == ("completed", STEPS)
        assert journal.run("r").in_doubt == ()
    return doubts


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_sigkill_at_every_write(tmp_path: Path, after: bool) -> None:
    """Each call was made and billed once, each tool ran once, one doubt at most; the books equal the bill."""
    register_pricing(MODEL, PRICES)
    with endpoint() as (base_url, bill):
        folder = tmp_path / "whole"
        folder.mkdir()
        writes = live(str(folder), base_url, 0, after)
        assert writes >= 1 + 2 * STEPS + 1 + STEPS  # open, intents and outcomes, close; reserve and settle
        with SpendLedger(folder / "run.db") as ledger:
            usages = [record.usage for record in ledger.records()]
            assert len(usages) == STEPS // 2
            assert len({usage.input_tokens for usage in usages}) == STEPS // 2
            assert ledger.total() == bill().usd
        said = 0
        for dies_at in range(1, writes + 1):
            folder = tmp_path / str(dies_at)
            folder.mkdir()
            before = bill()
            pid = os.fork()
            if pid == 0:
                try:
                    live(str(folder), base_url, dies_at, after)
                finally:
                    os._exit(0)
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status), dies_at
            said += resumed(
                str(folder), base_url, lambda before=before: bill().requests - before.requests, usages
            )
            effects = Counter((folder / "effects").read_text().splitlines())
            assert effects == Counter({f"tool {n}": 1 for n in range(STEPS // 2)}), dies_at
            now = bill()
            assert now.requests - before.requests == STEPS // 2, dies_at
            with SpendLedger(folder / "run.db") as ledger:
                assert ledger.doubts() == [], dies_at
                assert not any(Budget("all", Decimal("1"), ledger=ledger).snapshot().reserved.values()), (
                    dies_at
                )
                assert ledger.total() == now.usd - before.usd, dies_at
        assert said >= STEPS  # an intent and no outcome: at least one point in each step
