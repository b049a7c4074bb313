"""What can be wrong with the place where records are kept."""

from __future__ import annotations

from techrevati.runtime._core.errors import TechrevatiError


class StoreError(TechrevatiError):
    """Root of what a store raises; nothing was written.

    Attributes:
        place: Which store: a file or an address, never a password.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


class StoreUnavailableError(StoreError, OSError):
    """The store cannot be used now: locked by others, read-only, the disk is full or does not answer.

    The same operation may succeed later.  Nothing was written.

    Attributes:
        place: Which store.
        reason: What is wrong, for people.
        cause: "locked", "read-only", "full", "cannot open" or "input/output".
    """

    def __init__(self, place: str, reason: str, cause: str) -> None:
        super().__init__(place, reason)
        self.cause = cause


class StoreLockedError(StoreUnavailableError):
    """Others held the store for as long as it was waited for: trying again later may well succeed."""


class StoreCorruptError(StoreError):
    """The file is damaged or is no database at all; nothing in it was changed."""


class NewerSchemaError(StoreError):
    """A newer version of this package wrote the file; this one does not touch it.

    Attributes:
        found, known: The schema version of the file, and the newest one this package knows.
    """

    def __init__(self, place: str, part: str, found: int, known: int) -> None:
        super().__init__(
            place,
            f"its {part} schema is version {found}, this package knows up to {known}: update the package",
        )
        self.found = found
        self.known = known
