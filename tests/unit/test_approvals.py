"""Approvals: one act, once, until it expires; everything else is no."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from techrevati.runtime.approvals import (
    ApprovalConsumedError,
    ApprovalDeniedError,
    ApprovalExpiredError,
    ApprovalMismatchError,
    ApprovalPendingError,
    Approvals,
    UnknownApprovalError,
)
from techrevati.runtime.stores import MemoryStore, SqliteStore
from techrevati.runtime.testing import FakeClock

ACT = ("transfer", {"to": "Ann", "usd": 5})


def test_a_grant_is_used_once() -> None:
    """Pending is no; granted is one yes; then it is no again."""
    approvals = Approvals(MemoryStore())
    name = approvals.request(*ACT, reason="large")
    with pytest.raises(ApprovalPendingError):
        approvals.consume(name, *ACT)
    approvals.grant(name, "Bea")
    assert approvals.consume(name, *ACT).decided_by == "Bea"
    with pytest.raises(ApprovalConsumedError):
        approvals.consume(name, *ACT)
    with pytest.raises(ApprovalConsumedError):
        approvals.grant(name, "Bea")


@pytest.mark.parametrize("act", [("transfer", {"to": "Ann", "usd": 6}), ("delete", ACT[1])])
def test_it_is_for_one_act(act: tuple[str, dict[str, object]]) -> None:
    """Other arguments or another tool are another act, and do not use it up."""
    approvals = Approvals(MemoryStore())
    name = approvals.request(*ACT)
    approvals.grant(name, "Bea")
    with pytest.raises(ApprovalMismatchError):
        approvals.consume(name, *act)
    approvals.consume(name, *ACT)


def test_a_new_policy_and_time_end_it() -> None:
    """Neither an old policy's nor an expired grant allows anything."""
    clock = FakeClock(1000.0)
    store = MemoryStore(clock=clock)
    old = Approvals(store, clock=clock)
    name = old.request(*ACT, expires=10)
    old.grant(name, "Bea")
    with pytest.raises(ApprovalMismatchError):
        Approvals(store, policy_version="2", clock=clock).consume(name, *ACT)
    clock.advance(10)
    with pytest.raises(ApprovalExpiredError):
        old.consume(name, *ACT)


@pytest.mark.parametrize("granted", [False, True])
def test_a_question_that_expired_is_put_again(granted: bool) -> None:
    """Under the same id, whether nobody answered or the answer was not used in time; an old yes is no yes."""
    clock = FakeClock(1000.0)
    approvals = Approvals(MemoryStore(clock=clock), clock=clock)
    approvals.request(*ACT, expires=10, id="mine")
    if granted:
        approvals.grant("mine", "Bea")
    clock.advance(9)
    assert approvals.request(*ACT, expires=10, id="mine") == "mine"
    assert approvals.get("mine").expires_at == 1010.0  # asking does not prolong
    clock.advance(1)
    approvals.request(*ACT, expires=10, id="mine")
    asked = approvals.get("mine")
    assert (asked.state, asked.expires_at, asked.decided_by) == ("pending", 1020.0, None)
    with pytest.raises(ApprovalPendingError):
        approvals.consume("mine", *ACT)
    approvals.grant("mine", "Cy")
    assert approvals.consume("mine", *ACT).decided_by == "Cy"


@pytest.mark.parametrize("end", ["used", "denied"])
def test_what_was_used_or_denied_is_not_asked_again(end: str) -> None:
    """However long ago, under the same policy; another policy is another question."""
    clock = FakeClock(1000.0)
    store = MemoryStore(clock=clock)
    approvals = Approvals(store, clock=clock)
    approvals.request(*ACT, expires=10, id="mine")
    if end == "denied":
        approvals.deny("mine", "Bea")
    else:
        approvals.grant("mine", "Bea")
        approvals.consume("mine", *ACT)
    before = approvals.get("mine")
    clock.advance(100)
    approvals.request(*ACT, expires=10, id="mine")
    assert approvals.get("mine") == before
    Approvals(store, policy_version="2", clock=clock).request(*ACT, expires=10, id="mine")
    assert approvals.get("mine").state == "pending"


def test_a_no_is_final() -> None:
    """Also after a yes that was not used."""
    approvals = Approvals(MemoryStore())
    name = approvals.request(*ACT)
    approvals.grant(name, "Bea")
    approvals.deny(name, "Cy")
    for use in (lambda: approvals.consume(name, *ACT), lambda: approvals.grant(name, "Bea")):
        with pytest.raises(ApprovalDeniedError):
            use()
    with pytest.raises(UnknownApprovalError):
        approvals.get("nothing")
    assert [one.state for one in approvals.list()] == ["denied"]


def race(path: str, name: str, go: object, said: object) -> None:
    """Try to use it when told."""
    approvals = Approvals(SqliteStore(path))
    go.wait(60)  # type: ignore[attr-defined]
    try:
        approvals.consume(name, *ACT)
        said.put(True)  # type: ignore[attr-defined]
    except ApprovalConsumedError:
        said.put(False)  # type: ignore[attr-defined]


def test_eight_processes_one_wins(tmp_path: Path) -> None:
    """A granted approval raced by eight processes is used by exactly one."""
    spawn = multiprocessing.get_context("spawn")
    path = str(tmp_path / "store.db")
    with SqliteStore(path) as store:
        name = Approvals(store).request(*ACT)
        Approvals(store).grant(name, "Bea")
    go, said = spawn.Barrier(8), spawn.Queue()
    workers = [spawn.Process(target=race, args=(path, name, go, said)) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert sorted(said.get(timeout=120) for _ in workers) == [False] * 7 + [True]
    for worker in workers:
        worker.join(30)
