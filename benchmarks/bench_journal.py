"""What a journalled step costs over one durable commit of SQLite, and what a replayed one costs.

The raw commit inserts one row as long as an entry of the journal into a table of its own in write-ahead mode,
and waits for the disk.  A step of a journal is two commits of several rows; only the first one waits.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import Aim, Comparison, Effort, Figure, Subject, answer, compare_all, floor
from techrevati.runtime.journal import Journal, Replayer, RunJournal
from techrevati.runtime.stores import MemoryStore, SqliteStore

STEP_AIM = Aim(1.5)
REPLAY_AIM = Aim(1 / 50_000, "s")
STEPS = 1000
_ROW = b"x" * 150  # an entry: key, kind, hash, times, result


class RawFile:
    """One durable commit: the least that a step which must survive a power failure can cost."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA wal_autocheckpoint=2000")
        self._connection.execute("CREATE TABLE entry (n INTEGER PRIMARY KEY, value BLOB)")

    def commit(self) -> int:
        """Insert a row."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO entry (value) VALUES (?)", (_ROW,))
        self._connection.execute("COMMIT")
        return 1

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _run(stack: ExitStack, folder: Path, name: str, durability: str) -> RunJournal:
    store = SqliteStore(folder / name)
    stack.callback(store.close)
    return stack.enter_context(Journal(store, durability=durability, max_steps=10**7).open("bench"))


def recorded() -> Replayer:
    """A finished run of so many steps with small arguments and results."""
    journal = Journal(MemoryStore())
    with journal.open("r") as run:
        for n in range(STEPS):
            run.step(None, lambda n=n: {"n": n}, kind="tool", name="t", arguments={"n": n})  # type: ignore[misc]
    return Replayer(journal, "r")


def comparisons(stack: ExitStack) -> list[Comparison]:
    """Steps over raw commits; replayed steps over the floor."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    raw = RawFile(folder / "raw.db")
    stack.callback(raw.close)
    commit = Subject("one durable commit", "result = commit()", {"commit": raw.commit}, 1)
    step = "result = step(None, fn)"
    waits = _run(stack, folder, "intents.db", "intents").step
    waits_twice = _run(stack, folder, "full.db", "full").step
    base = Subject("floor", "result = floor(fn)", {"floor": floor, "fn": answer}, 1)
    again = (
        "run = replayer.open()\n"
        "for n in numbers:\n"
        "    result = run.step(None, fn, kind='tool', name='t', arguments={'n': n})"
    )
    plain = {"replayer": recorded(), "numbers": range(STEPS), "fn": answer}
    return [
        Comparison(
            'step, durability="intents"',
            commit,
            [Subject("ours", step, {"step": waits, "fn": answer}, 1)],
            STEP_AIM,
        ),
        Comparison(
            'step, durability="full"', commit, [Subject("ours", step, {"step": waits_twice, "fn": answer}, 1)]
        ),
        Comparison(
            "replayed step",
            base,
            [Subject("ours", again, plain, {"n": STEPS - 1}, operations=STEPS)],
            REPLAY_AIM,
        ),
    ]


def run(effort: Effort, *, peers: bool) -> list[Figure]:
    """All figures; no peer keeps a journal of this kind without a server."""
    with ExitStack() as stack:
        return compare_all(comparisons(stack), effort)
