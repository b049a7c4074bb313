"""The stores that every conformance test runs on; a new store joins by one line in ``STORES``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from techrevati.runtime.stores import MemoryStore, SqliteStore, Store
from techrevati.runtime.testing import FakeClock


class Kind(NamedTuple):
    """How to make one, and who can share it."""

    name: str
    make: Callable[[Path, Callable[[], float]], Store]
    shared_by_processes: bool


STORES = (
    Kind("memory", lambda folder, clock: MemoryStore(clock=clock), False),
    Kind("sqlite", lambda folder, clock: SqliteStore(folder / "store.db", clock=clock), True),
    Kind(
        "sqlite-batched",
        lambda folder, clock: SqliteStore(folder / "store.db", durability="batched", clock=clock),
        True,
    ),
    Kind("sqlite-memory", lambda folder, clock: SqliteStore(":memory:", clock=clock), False),
)

__all__ = ["STORES", "FakeClock", "Kind"]
