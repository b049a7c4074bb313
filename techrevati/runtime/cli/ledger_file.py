"""Open a ledger that must be there, or say in one line why that cannot be.

A command that only looks opens the file to read only: a file that is something else is never turned into a
ledger by looking at it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.ledger import SpendLedger
from techrevati.runtime.stores import StoreError
from techrevati.runtime.stores.sqlite_file import OLDER

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = "spend.db"
_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class LedgerFileError(TechrevatiError, ValueError):
    """The command cannot begin; its text is the line that the user sees."""


def opened(path: str, *, read_only: bool = True) -> SpendLedger:
    """The ledger in the file *path*.

    Raises:
        LedgerFileError: There is no such file, or it is no ledger.
    """
    if not Path(path).is_file():
        raise LedgerFileError(f"there is no file {path!r}")
    try:
        try:
            with SpendLedger(path, read_only=True) as looked:
                looked.total()
        except StoreError as error:
            if f"it has {OLDER} " not in str(error):
                raise
            SpendLedger(path).close()  # it is a ledger: it is brought forward, with everything in it
        return SpendLedger(path, read_only=read_only)
    except StoreError as error:
        text = str(error)
        raise LedgerFileError(f"{path} is no ledger" if "no such table" in text else text) from error


def since(text: str, clock: Callable[[], float]) -> datetime:
    """``90m``, ``24h``, ``7d`` or ``2w`` before now, or the date or time that *text* writes (UTC).

    Raises:
        LedgerFileError: It is neither.
    """
    found = _SPAN.fullmatch(text)
    try:
        if found is not None:
            span = timedelta(**{_UNITS[found[2]]: int(found[1])})
            return datetime.fromtimestamp(clock(), UTC) - span
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise LedgerFileError(f"--since must be like 90m, 24h, 7d, 2w or 2026-11-01, got {text!r}") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
