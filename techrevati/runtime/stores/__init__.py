"""Records that several threads, processes or machines share: one small Protocol, several places.

What decides (a budget, a shared breaker, a journal, an approval) is a pure function over a record; a store
loads the record, lets it decide and writes the answer only if nobody else wrote meanwhile.  ``MemoryStore``
serves one process, ``SqliteStore`` every process of a machine.

Values are ``bytes``: a store neither reads nor changes them.  Whoever stores JSON encodes it as UTF-8.
"""

from __future__ import annotations

from techrevati.runtime.stores.errors import (
    NewerSchemaError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from techrevati.runtime.stores.memory import MemoryStore
from techrevati.runtime.stores.protocol import Appended, Change, Entry, Store, Versioned
from techrevati.runtime.stores.sqlite import SqliteStore

__all__ = [
    "Appended",
    "Change",
    "Entry",
    "MemoryStore",
    "NewerSchemaError",
    "SqliteStore",
    "Store",
    "StoreCorruptError",
    "StoreError",
    "StoreLockedError",
    "StoreUnavailableError",
    "Versioned",
]
