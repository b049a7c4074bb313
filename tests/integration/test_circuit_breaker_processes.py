"""Six processes and one breaker in a SQLite file; some of them are killed.

Each child does what it is told over a pipe and says what became of it, so nothing depends on speed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from techrevati.runtime.circuit_breaker import CircuitBreaker, CircuitOpenError
from techrevati.runtime.stores import SqliteStore

SPAWN = multiprocessing.get_context("spawn")
PROCESSES = 6
LEASE_S, RECOVERY_S = 20.0, 10.0
PATIENCE_S = 60


def work(path: str, probes: int, pipe: Any) -> None:
    """Begin and end calls as told; the time is told, too."""
    now_s = 0.0
    breaker = CircuitBreaker(
        "api",
        3,
        RECOVERY_S,
        probes,
        lambda: now_s,
        probe_lease_seconds=LEASE_S,
        store=SqliteStore(path),
    )
    inside: list[Any] = []
    pipe.send("ready")
    while True:
        order, now_s = pipe.recv()
        if order == "begin":
            guard = breaker.guard()
            try:
                guard.__enter__()
            except CircuitOpenError as refusal:
                pipe.send(refusal.retry_after)
                continue
            inside.append(guard)
            pipe.send("admitted")
        elif order == "good":
            inside.pop().__exit__(None, None, None)
            pipe.send("ended")
        elif order == "bad":
            inside.pop().__exit__(ValueError, ValueError(), None)
            pipe.send("ended")
        else:
            pipe.send(breaker.state().value)


class Child:
    """A process, and what it says."""

    def __init__(self, path: Path, probes: int) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=work, args=(str(path), probes, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def said(self) -> Any:
        assert self.pipe.poll(PATIENCE_S)
        return self.pipe.recv()

    def tell(self, order: str, now_s: float) -> None:
        self.pipe.send((order, now_s))

    def ask(self, order: str, now_s: float) -> Any:
        self.tell(order, now_s)
        return self.said()

    def kill(self) -> None:
        pid = self.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.process.join(PATIENCE_S)


@pytest.fixture
def children(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Child]]:
    made = [Child(tmp_path / "state.db", getattr(request, "param", 1)) for _ in range(PROCESSES)]
    for child in made:
        assert child.said() == "ready"
    yield made
    for child in made:
        child.process.kill()
        child.process.join(PATIENCE_S)


def open_it(children: list[Child], now_s: float) -> None:
    """Three of them fail once each."""
    for child in children[:3]:
        assert child.ask("begin", now_s) == "admitted"
    for child in children[:3]:
        assert child.ask("bad", now_s) == "ended"


def test_one_opens_and_all_refuse(children: list[Child]) -> None:
    """Failures of three processes open it; the next call of every one of the six is refused."""
    open_it(children, 100.0)
    assert [child.ask("begin", 101.0) for child in children] == [RECOVERY_S - 1] * PROCESSES


@pytest.mark.parametrize("children", [1, 2], indirect=True)
def test_never_more_probes_than_permits_at_once(
    children: list[Child], request: pytest.FixtureRequest
) -> None:
    """Six ask at the same moment, round after round: as many as there are permits are let in."""
    permits = request.node.callspec.params["children"]
    open_it(children, 100.0)
    now_s = 110.0
    for _ in range(10):
        for child in children:
            child.tell("begin", now_s)
        said = [child.said() for child in children]
        probers = [child for child, word in zip(children, said, strict=True) if word == "admitted"]
        assert len(probers) == permits
        assert said.count(LEASE_S) == PROCESSES - permits
        for child in probers:
            assert child.ask("bad", now_s) == "ended"
        now_s += RECOVERY_S


def test_the_permit_of_a_killed_prober_comes_back_with_the_end_of_its_lease(children: list[Child]) -> None:
    open_it(children, 100.0)
    prober, *others = children
    assert prober.ask("begin", 110.0) == "admitted"
    prober.kill()
    assert others[0].ask("begin", 120.0) == LEASE_S - 10
    for child in others:
        child.tell("begin", 110.0 + LEASE_S)
    said = [child.said() for child in others]
    assert said.count("admitted") == 1
    assert others[said.index("admitted")].ask("good", 131.0) == "ended"
    assert {child.ask("state", 131.0) for child in others} == {"closed"}


def test_processes_killed_anywhere_leave_a_breaker_that_works(children: list[Child]) -> None:
    """Four are killed while they write as fast as they can; the others go on with one state."""
    for child in children:
        for _ in range(30):
            child.tell("begin", 100.0)
            child.tell("bad", 100.0) if child is children[0] else None
    for child in children[:4]:
        child.kill()
    left = children[4:]
    for child in left:
        assert {child.said() for _ in range(30)} <= {"admitted", RECOVERY_S}
    states = {child.ask("state", 100.0) for child in left}
    assert len(states) == 1
    assert [child.ask("begin", 500.0) for child in left].count("admitted") >= 1
