"""What the ledger refuses."""

from __future__ import annotations

from techrevati.runtime._core.errors import TechrevatiError


class IdempotencyConflictError(TechrevatiError, ValueError):
    """A key was recorded before, with other content; the first record stands.

    Attributes:
        key: The idempotency key.
        differs: The names of what differs.
    """

    def __init__(self, key: str, differs: tuple[str, ...]) -> None:
        super().__init__(key, differs)
        self.key = key
        self.differs = differs

    def __str__(self) -> str:
        return f"the ledger has another record under the key {self.key!r}: {', '.join(self.differs)} differ"


class UnknownReservationError(TechrevatiError, KeyError):
    """No open reservation has this key: it was settled, released or never made."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"no open reservation has the key {self.key!r}"
