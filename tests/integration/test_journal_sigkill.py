"""SIGKILL before and after every write of a journal: finished steps happen once, doubts are said.

Twelve steps (six model calls, six tools) leave a line in a file for each effect.  A process kills itself
right before or right after its n-th write, for every n; the next one goes on with the same run.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from techrevati.runtime.journal import InDoubtError, Journal
from techrevati.runtime.orchestrator import Orchestrator
from techrevati.runtime.stores import SqliteStore
from techrevati.runtime.usage import UsageSnapshot

STEPS = 12
WRITES = 1 + 2 * STEPS + 1  # open, an intent and an outcome each, close


class DyingStore(SqliteStore):
    """Kills its process at its n-th write."""

    def __init__(self, path: str, dies_at: int, after: bool) -> None:
        super().__init__(path, durability="batched")
        self.left, self.after = dies_at, after

    def update(
        self,
        keys: Sequence[str],
        decide: Callable[[Mapping[str, bytes | None]], Any],
        *,
        durable: bool = True,
    ) -> Any:
        """One write."""
        self.left -= 1
        if self.left == 0 and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = super().update(keys, decide, durable=durable)
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def effect(folder: str, name: str) -> str:
    """What the world sees of a step."""
    handle = os.open(f"{folder}/effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{name}\n".encode())
    os.close(handle)
    return name


def agent(folder: str, store: SqliteStore) -> float:
    """Twelve steps; the input tokens they used."""
    orchestrator = Orchestrator("role", "phase", journal=Journal(store, lease_seconds=600), run_id="r")
    with orchestrator.session() as session:
        for n in range(STEPS // 2):
            name = f"turn {n}"
            found, _ = session.run_turn(lambda name=name: effect(folder, name), "m", UsageSnapshot(7, 1))
            assert found == name
            name = f"tool {n}"
            assert session.run_tool("t", effect, {"folder": folder, "name": name}) == name
        return session.tracker.total_input_tokens


def live(folder: str, dies_at: int, after: bool) -> None:
    """One life."""
    agent(folder, DyingStore(f"{folder}/run.db", dies_at, after))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_sigkill_at_every_write(tmp_path: Path, after: bool) -> None:
    """Each effect happened once; the step that was under way is the only doubt, and is said."""
    for dies_at in range(1, WRITES + 1):
        folder = tmp_path / str(dies_at)
        folder.mkdir()
        pid = os.fork()
        if pid == 0:
            live(str(folder), dies_at, after)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), dies_at
        store = SqliteStore(folder / "run.db")
        journal = Journal(store)
        doubts = 0
        while True:
            try:
                tokens = agent(str(folder), store)
                break
            except InDoubtError as doubt:
                doubts += 1
                assert doubts == 1
                key = doubt.step.key
                name = f"{doubt.step.kind} {int(key[1:]) // 2}"
                lines = (folder / "effects").read_text().split("\n") if (folder / "effects").exists() else []
                journal.resolve("r", key, happened=name in lines, result=name)
        effects = Counter((folder / "effects").read_text().splitlines())
        assert len(effects) == STEPS
        assert set(effects.values()) == {1}

        inside = (dies_at % 2 == 0) if after else (dies_at % 2 == 1)
        assert doubts == (inside and 2 <= dies_at < WRITES), dies_at
        assert tokens in (7 * STEPS // 2, 7 * STEPS // 2 - 7)  # a turn settled by hand has no usage
        assert journal.run("r").state == "completed"
        store.close()
