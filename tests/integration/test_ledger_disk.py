"""Disks as they fail: read-only files and folders, and files that may not grow, in processes of their own.

The paid result is kept, the record waits in memory and is counted, and what was refused is written when the
disk is good again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from techrevati.runtime.budgets import Budget
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.pricing import ModelPricing, register_pricing
from techrevati.runtime.stores import StoreUnavailableError
from techrevati.runtime.usage import UsageSnapshot

SPAWN = multiprocessing.get_context("spawn")
NOBODY = 65_534
MODEL = "disk-small"
USAGE = UsageSnapshot(100, 50)
CALL = {"model": MODEL, "input_tokens": 100, "max_output_tokens": 50}


@pytest.fixture(autouse=True)
def prices() -> None:
    register_pricing(MODEL, ModelPricing(1, 2))


def as_nobody(folder: Path, work: Callable[[], object]) -> object:
    """What *work* returns in a forked child that has no right to override permissions."""
    read, write = os.pipe()
    for place in (folder, *folder.iterdir()):
        os.chown(place, NOBODY if os.geteuid() == 0 else -1, -1)
    pid = os.fork()
    if not pid:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(NOBODY)
            said: object = work()
        except BaseException:
            said = traceback.format_exc()
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        said = json.loads(answer.read())
    os.waitpid(pid, 0)
    return said


def warmed_up(folder: Path) -> Path:
    """A ledger file with one record; everything that the child needs is imported."""
    path = folder / "spend.db"
    with SpendLedger(path) as ledger:
        ledger.record(project="first", model=MODEL, usage=USAGE)
        Budget("warm", 1, ledger=ledger).reserve(**CALL).release()  # type: ignore[arg-type]
        assert ledger.total() > 0
    return path


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that somebody else can get to: pytest's own are for their user alone."""
    with TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        inner = Path(place) / "books"
        inner.mkdir()
        yield inner


@pytest.mark.parametrize("durability", ["full", "batched"])
def test_a_file_that_turned_read_only(folder: Path, durability: str) -> None:
    """A clear error; nothing that was paid is lost; with the right to write back, everything is written."""
    path = warmed_up(folder)

    def work() -> object:
        ledger = SpendLedger(path, durability=durability)
        budget = Budget("acme", 1, ledger=ledger)
        reserved = budget.reserve(**CALL)  # type: ignore[arg-type]
        ledger.close()
        for place in folder.iterdir():
            place.chmod(0o444)
        folder.chmod(0o555)
        said = []
        for attempt in (
            lambda: ledger.record(project="second", model=MODEL, usage=USAGE),
            lambda: budget.reserve(**CALL),  # type: ignore[arg-type]
        ):
            try:
                attempt()
            except StoreUnavailableError as error:
                said.append(str(error))
        reserved.settle(USAGE)
        waiting = ledger.pending
        folder.chmod(0o755)
        for place in folder.iterdir():
            place.chmod(0o644)
        ledger.flush()
        found = [len(said), said[0], waiting, ledger.pending, sorted(r.project for r in ledger.records())]
        ledger.close()
        return [*found, str(budget.snapshot().settled["usd"]), len(ledger.leases())]

    count, text, waiting, *after = as_nobody(folder, work)  # type: ignore[misc]
    assert (count, waiting) == (2, 2)
    assert "spend.db" in text
    assert any(word in text for word in ("read-only", "cannot open", "Permission denied"))
    assert after == [0, ["default", "first", "second"], "0.0002", 0]


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    """No ledger can be made there: said at once, with the file's name; reading one that is there works."""
    path = warmed_up(folder)

    def work() -> object:
        for place in folder.iterdir():
            place.chmod(0o444)
        folder.chmod(0o555)
        said = []
        for name in ("new.db", "spend.db"):
            try:
                ledger = SpendLedger(folder / name)
                ledger.record(project="x", model=MODEL, usage=USAGE)
            except StoreUnavailableError as error:
                said.append(str(error))
        with SpendLedger(path, read_only=True) as reader:
            return [*said, str(reader.total())]

    new, old, total = as_nobody(folder, work)  # type: ignore[misc]
    assert "new.db" in new
    assert "cannot open" in new
    assert "spend.db" in old
    assert total == "0.0002"


def full_disk(path: str, durability: str, answer: object) -> None:
    """A child whose files may not grow past what they have, and then may again."""
    register_pricing(MODEL, ModelPricing(1, 2))
    try:
        answer.send(filled_up(path, durability))  # type: ignore[attr-defined]
    except BaseException:
        answer.send(traceback.format_exc())  # type: ignore[attr-defined]


def filled_up(path: str, durability: str) -> object:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    ledger = SpendLedger(path, durability=durability)
    budget = Budget("acme", 1, ledger=ledger)
    written, error = 0, ""

    def fill() -> dict[str, object]:
        nonlocal written, error
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
        while not error and written < 5_000:
            try:
                ledger.record(project="many", model=MODEL, usage=USAGE, tags={"x": "y" * 900})
                written += 1
            except StoreUnavailableError as refused:
                error = str(refused)
        # SQLite made room by moving its log: now there is none at all.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, most))
        return {"usage": {"prompt_tokens": 100, "completion_tokens": 50}, "answer": "paid"}

    with Orchestrator("r", "p", "acme", budget=budget, ledger=ledger).session() as session:
        result, _ = session.run_turn(fill, model=MODEL, input_tokens=100, max_output_tokens=50)
    waiting = ledger.pending
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    ledger.flush()
    found = ledger.by("project")
    ledger.close()
    settled = budget.snapshot().settled["usd"]
    counted = [(group.group, group.calls) for group in found]
    return [
        result["answer"],
        error,
        written,
        waiting,
        ledger.pending,
        counted,
        str(settled),
        len(ledger.leases()),
    ]


@pytest.mark.parametrize("durability", ["full", "batched"])
def test_a_full_disk(tmp_path: Path, durability: str) -> None:
    """The turn's paid result comes back although nothing can be written; then every record is there, once."""
    ours, theirs = SPAWN.Pipe(duplex=False)
    child = SPAWN.Process(target=full_disk, args=(str(tmp_path / "spend.db"), durability, theirs))
    child.start()
    theirs.close()
    said = ours.recv()
    child.join(60)
    assert isinstance(said, list), said
    answer, error, written, waiting, pending, counted, settled, leases = said
    assert answer == "paid"
    assert "spend.db" in error
    assert 0 < written < 5_000
    assert waiting >= 1
    assert (pending, leases) == (0, 0)
    assert counted == [("acme", 1), ("many", written + 1)]
    assert settled == "0.0002"
