"""SIGKILL at every write of a paid agent: ledger, budget, journal and approvals share one SQLite file.

Twelve steps: six model calls over HTTP, one of them streamed, and six tools that leave a line in a file, one
of which a human must allow; the run waits for that and goes on.  A process is killed right before or right
after its n-th write to the file, for every n, those of the ledger and of the human included; the next one
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

from techrevati.runtime.approvals import ApprovalConsumedError, ApprovalPendingError, Approvals
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
STREAMED, ALLOWED = 2, 3  # which turn is streamed, which tool needs a human
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


@pytest.fixture(scope="module")
def paid() -> Iterator[tuple[str, Callable[[], Billed]]]:
    """An endpoint for all of them: its start takes longer than a run."""
    with endpoint() as found:
        yield found


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


def request(base_url: str, number: int, **more: object) -> urllib.request.Request:
    """What is asked, each time something else."""
    body = {
        "model": MODEL,
        "max_tokens": 32,
        "messages": [{"role": "user", "content": f"Question {number}: " + "why? " * number}],
        **more,
    }
    return urllib.request.Request(
        f"{base_url}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )


def ask(base_url: str, number: int) -> dict[str, Any]:
    """One paid call."""
    with urllib.request.urlopen(request(base_url, number), timeout=30) as response:
        found: dict[str, Any] = json.loads(response.read())
        return found


def ask_for_stream(base_url: str, number: int) -> Iterator[dict[str, Any]]:
    """One that answers piece by piece."""
    asked = request(base_url, number, stream=True, stream_options={"include_usage": True})
    with urllib.request.urlopen(asked, timeout=30) as response:
        for line in response:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])


def piece(chunk: dict[str, Any]) -> str | None:
    """The text of one chunk."""
    return chunk["choices"][0]["delta"].get("content") if chunk["choices"] else None


def effect(folder: str, name: str) -> str:
    """What the world sees of a tool."""
    handle = os.open(f"{folder}/effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{name}\n".encode())
    os.close(handle)
    return name


def agent(folder: str, base_url: str, journal: Journal, ledger: SpendLedger, approvals: Approvals) -> None:
    """Twelve steps."""
    budget = Budget("all", Decimal("1"), ledger=ledger)
    orchestrator = Orchestrator(
        "role", "phase", project_id="p", journal=journal, run_id="r", ledger=ledger, budget=budget
    )
    with orchestrator.session() as session:
        for n in range(STEPS // 2):
            key, bounds = f"turn {n}", {"input_tokens": 100, "max_output_tokens": 32}
            if n == STREAMED:
                opened = partial(ask_for_stream, base_url, n)
                assert "".join(session.run_stream(opened, MODEL, item=piece, key=key, **bounds))
            else:
                answer, _ = session.run_turn(partial(ask, base_url, n), MODEL, key=key, **bounds)
                assert answer["usage"]["prompt_tokens"] > 0
            name = f"tool {n}"
            allowed = approvals if n == ALLOWED else None
            arguments = {"folder": folder, "name": name}
            assert session.run_tool("t", effect, arguments, key=name, approval=allowed) == name


def lived(*given: Any) -> None:
    """The agent, and the human that it waits for."""
    approvals: Approvals = given[-1]
    try:
        agent(*given)
    except ApprovalPendingError as pending:
        if approvals.get(pending.id).state != "pending":
            pytest.fail("asked again")
        approvals.grant(pending.id, "Bea")
        agent(*given)


def live(folder: str, base_url: str, dies_at: int, after: bool) -> int:
    """One life, in this process; how often it wrote to the file."""
    writes, write = [0], SqliteFile.write

    def counted(file: SqliteFile, work: Any, *, durable: bool = True) -> Any:
        writes[0] += 1
        if writes[0] == dies_at and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        number = writes[0]
        try:
            return write(file, work, durable=durable)
        finally:  # also when it was refused, as the use of an approval that nobody gave
            if number == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    register_pricing(MODEL, PRICES)
    path = f"{folder}/run.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteFile, "write", counted)
        with (
            SqliteStore(path, durability="batched") as store,
            SpendLedger(path, durability="batched") as ledger,
        ):
            lived(folder, base_url, Journal(store, lease_seconds=600), ledger, Approvals(store))
    return writes[0]


def resumed(folder: str, base_url: str, requests: Callable[[], int], usages: list[UsageSnapshot]) -> int:
    """Go on to the end, as somebody does who sees the endpoint and the world; how many doubts there were."""
    path, doubts = f"{folder}/run.db", 0
    clock = lambda: time.time() + LATER_S  # noqa: E731  # leases of the dead have ended
    with (
        SqliteStore(path, durability="batched") as store,
        SpendLedger(path, clock=clock, durability="batched") as ledger,
    ):
        journal = Journal(store)
        while True:
            try:
                lived(folder, base_url, journal, ledger, Approvals(store))
                break
            except InDoubtError as doubt:
                doubts += 1
                assert doubts == 1
                step = doubt.step
                assert journal.run("r").in_doubt == (step.key,)
                number = int(step.key.split()[1])
                if step.kind in ("turn", "stream"):
                    happened = requests() > number
                    result: Any = ["why not"] if step.kind == "stream" else {"usage": {"prompt_tokens": 1}}
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


def used_once(folder: Path) -> None:
    """One question was put, and its answer is used up for everybody else."""
    with SqliteStore(folder / "run.db") as store:
        approvals = Approvals(store)
        (one,) = approvals.list()
        assert (one.state, one.decided_by, one.consumed_by) == ("consumed", "Bea", one.id)
        act = {"folder": str(folder), "name": f"tool {ALLOWED}"}
        with pytest.raises(ApprovalConsumedError):
            approvals.consume(one.id, "t", act)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_sigkill_at_every_write(tmp_path: Path, paid: tuple[str, Callable[[], Billed]], after: bool) -> None:
    """Each call was made and billed once, each tool ran once, one doubt at most, one approval used once; the
    books equal the bill."""
    register_pricing(MODEL, PRICES)
    base_url, bill = paid
    folder = tmp_path / "whole"
    folder.mkdir()
    begun = bill()
    writes = live(str(folder), base_url, 0, after)
    # Open, intents and outcomes, close; reserve and settle; ask, wait, grant, open again, use.
    assert writes >= 1 + 2 * STEPS + 1 + STEPS + 5
    with SpendLedger(folder / "run.db") as ledger:
        usages = [record.usage for record in ledger.records()]
        assert len(usages) == STEPS // 2
        assert len({usage.input_tokens for usage in usages}) == STEPS // 2
        assert all(record.certainty == "measured" for record in ledger.records())
        assert ledger.total() == bill().usd - begun.usd
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
        used_once(folder)
        now = bill()
        assert now.requests - before.requests == STEPS // 2, dies_at
        with SpendLedger(folder / "run.db") as ledger:
            assert ledger.doubts() == [], dies_at
            assert not any(Budget("all", Decimal("1"), ledger=ledger).snapshot().reserved.values()), dies_at
            assert ledger.total() == now.usd - before.usd, dies_at
    assert said >= STEPS  # an intent and no outcome: at least one point in each step
