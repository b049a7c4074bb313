"""What ledgers that nobody closed still write when the program ends."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from techrevati.runtime.ledger.ledger import SpendLedger

_open: WeakSet[SpendLedger] = WeakSet()
_is_hooked = False


def at_exit(ledger: SpendLedger) -> None:
    """Let *ledger* write what waits when the interpreter ends, if it is still there then."""
    global _is_hooked
    _open.add(ledger)
    if not _is_hooked:
        _is_hooked = True
        atexit.register(_write_all)


def _write_all() -> None:
    for ledger in list(_open):
        ledger._write_at_exit()
