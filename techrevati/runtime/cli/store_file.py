"""Open the SQLite file of a store that must be there, or say in one line why that cannot be.

The file is first opened to read only: one that is something else is never turned into a store by looking at
it.
"""

from __future__ import annotations

from pathlib import Path

from techrevati.runtime._core.errors import TechrevatiError
from techrevati.runtime.stores import SqliteStore, StoreError
from techrevati.runtime.stores.sqlite import SCHEMA
from techrevati.runtime.stores.sqlite_file import OLDER, SqliteFile


class StoreFileError(TechrevatiError, ValueError):
    """The command cannot begin; its text is the line that the user sees."""


def opened(path: str) -> SqliteStore:
    """The store in the file *path*; one of an older version is brought forward.

    Raises:
        StoreFileError: There is no such file, or it is none of a ``SqliteStore``.
        StoreError: It cannot be used now.
    """
    if not Path(path).is_file():
        raise StoreFileError(f"there is no file {path!r}")
    looked = SqliteFile(path, {"store": SCHEMA}, read_only=True)
    try:
        looked.read(lambda _: None)
    except StoreError as error:
        if "it has no store" in str(error):
            raise StoreFileError(f"{path!r} is no file of a SqliteStore") from error
        if f"it has {OLDER} " not in str(error):
            raise
    finally:
        looked.close()
    return SqliteStore(path)
